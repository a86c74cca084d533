"""Where credentials stand in a text: spans to take out, found line by line.

A token of a published format, a value beside a word such as `password`, a login inside a URL, a
long random string; and private keys, which alone go over several lines.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import TypeAlias

from nbbench.record.tokens import TOKEN_PATTERN, looks_random

Span: TypeAlias = tuple[int, int]

# Names that mean a secret whatever stands behind them …
_STRONG = (
    r"[A-Za-z0-9_.-]*(?:password|passwd|passphrase|secret|credential|api[_-]?key|access[_-]?key|account[_-]?key"
    r"|private[_-]?key|signing[_-]?key|auth[_-]?token|access[_-]?token|_auth|session[_-]?id|connect\.sid|csrftoken)"
)
# … and names that are common in programs: there the value must hold letters and digits, and be long.
_WEAK = r"(?:[A-Za-z0-9_.-]*(?:_key|_token|-token)|token|pwd|key|sig|sid)"
_VALUE = r"(?:\"[^\"\n]{4,}\"|'[^'\n]{4,}'|[^\s\"',;&<>]{6,})"
_WEAK_VALUE = (
    r"[\"']?(?=[A-Za-z+/=_.:%-]{0,200}[0-9])(?=[0-9+/=_.:%-]{0,200}[A-Za-z])[A-Za-z0-9+/=_.:%-]{16,}[\"']?"
)
# `name=value`, `name: value`, `"name": "value"`, `--name value`; the value goes, the name stays.
_SEPARATOR = r"(?:\\?[\"']?[ \t]{0,3}[=:][ \t]{0,3})"
_ASSIGNED = re.compile(rf"(?i)(?<![A-Za-z0-9_.-]){_STRONG}{_SEPARATOR}(?P<value>{_VALUE})")
_ASSIGNED_WEAK = re.compile(rf"(?i)(?<![A-Za-z0-9_.-]){_WEAK}{_SEPARATOR}(?P<value>{_WEAK_VALUE})")
_OPTION = re.compile(
    r"(?i)(?<!\S)--?(?:[a-z-]{0,40}(?:password|passwd|passphrase|secret|token|api-?key))[ =]"
    rf"(?P<value>{_VALUE})"
)
_HEADER = re.compile(
    r"(?i)\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]{0,40}(?:auth|key|token|secret)[a-z-]{0,40})"
    r"[\"']?[ \t]*:[ \t]*(?P<value>[^\r\n\"']+)"
)
_SCHEME = re.compile(
    r"\b(?:Bearer|Basic|SSWS|Digest|Negotiate)[ \t]+"
    r"(?=\S*[0-9=]|\S*[a-z][A-Z])(?P<value>[A-Za-z0-9._~+/=-]{8,})"
)
_URL_LOGIN = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://(?P<value>[^\s/@:?#]*:[^\s@/]+|[^\s/@:]{16,})@")
_CURL_LOGIN = re.compile(r"(?<!\S)(?:-u|--user)[ =]?(?P<value>[^\s:]+:\S+)")
_NETRC = re.compile(r"\b(?:login[ \t]+\S+[ \t]+)?password[ \t]+(?P<value>\S{4,})(?=[ \t]*$)", re.MULTILINE)
_NAMED_VALUES = (_HEADER, _ASSIGNED, _ASSIGNED_WEAK, _OPTION, _SCHEME, _CURL_LOGIN, _NETRC)
# One of these stands in every text that a pattern above matches. A search for plain words is ten
# times as fast as the patterns, and most lines of a log hold none.
_KEYWORDS = (
    *(
        "passw",
        "passphrase",
        "secret",
        "credential",
        "key",
        "auth",
        "session",
        "sid",
        "csrf",
        "token",
        "pwd",
        "sig",
    ),
    *("cookie", "bearer", "basic", "ssws", "digest", "negotiate", "-u"),
)
# Words that stand where a secret would and are none: flags, placeholders, masks.
HARMLESS = re.compile(
    r"(?i)[\"']?(true|false|none|null|yes|no|on|off|\*+|x{3,}|\d{1,5}|<redacted>|<[a-z_ -]+>)[\"']?"
)
_LONG = 20
_LONG_WORD = re.compile(rf"[A-Za-z0-9+/=_-]{{{_LONG},}}")
# Every format of tokens.py holds a run of this length.
_ANY_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{14}")
_CONTEXT = 200
_IN_PATH = re.compile(r"(?:^|[\s\"'(=:\[])(?:~|\.{1,2})?/[^\s\"'()\[\]]*$")
_DIGEST_PREFIX = re.compile(r"(?i)(sha\d{1,3}|md5|blake2[bs])[-:=]$")
_CHECKSUM = re.compile(r"sha(256|384|512)-")

_KEY_BEGIN = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}|\bPrivate-Lines: \d+")
_KEY_END = re.compile(r"-{4,5} ?END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-{4,5}|\bPrivate-MAC: \S+")
# A line inside a key: one word of base64 (whatever stands around it), a header, or nothing.
_KEY_LINE = re.compile(r"[^A-Za-z0-9+/=]*([A-Za-z0-9+/=]*|[A-Z][A-Za-z-]+: [^\n]*)[^A-Za-z0-9+/=]*")
# An RSA key of 16,384 bits is 13 kB; what goes on for longer is no key, and the log is wanted.
MAX_KEY = 32_768


def text_spans(text: str, secrets: Iterable[str] = ()) -> list[Span]:
    """The spans of `text` that hold credentials, or one of the exact values `secrets`; merged, in order."""
    found, _ = open_spans(text, secrets)
    return found


def open_spans(text: str, secrets: Iterable[str] = (), inside_key: bool = False) -> tuple[list[Span], bool]:
    """As `text_spans` for a piece of a stream, and whether a private key goes on behind it."""
    found, inside = _key_spans(text, inside_key)
    for secret in secrets:
        start = text.find(secret)
        while start >= 0:
            found.append((start, start + len(secret)))
            start = text.find(secret, start + 1)
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        found += [(start + lo, start + hi) for lo, hi in _line_spans(text[start:end])]
        start = end + 1
    return _merged(found), inside


def _line_spans(line: str) -> list[Span]:
    found: list[Span] = []
    if "://" in line:
        found += [match.span("value") for match in _URL_LOGIN.finditer(line)]
    if _ANY_TOKEN.search(line):
        found += [match.span() for match in TOKEN_PATTERN.finditer(line)]
        found += [match.span() for match in _LONG_WORD.finditer(line) if _is_secret_word(match)]
    lower = line.lower()
    if any(word in lower for word in _KEYWORDS):
        for pattern in _NAMED_VALUES:
            found += [_unquoted(match) for match in pattern.finditer(line) if not _is_harmless(match)]
    return found


def _is_harmless(match: re.Match[str]) -> bool:
    return HARMLESS.fullmatch(match["value"].strip()) is not None


def _unquoted(match: re.Match[str]) -> Span:
    value = match["value"]
    start, end = match.span("value")
    return (start + 1, end - 1) if value[0] in "\"'" and value[-1] == value[0] else (start, end)


def _is_secret_word(match: re.Match[str]) -> bool:
    word, line = match[0], match.string
    if not _looks_random(word) and "/" not in word:
        return False
    before = line[max(0, match.start() - _CONTEXT) : match.start()]
    if _DIGEST_PREFIX.search(before) or _CHECKSUM.match(word):
        return False  # a checksum in base64, as lock files write it
    # Inside a file's path slashes are separators for certain, so each part is judged alone.
    parts = word.split("/") if word.startswith("/") or _IN_PATH.search(before) else [word]
    return any(len(part) >= _LONG and _looks_random(part) for part in parts)


def _looks_random(word: str) -> bool:
    return _remembered(word) if len(word) <= _CONTEXT else looks_random(word)


# The words of a log repeat: test ids, paths, the names of functions.
_remembered = functools.lru_cache(maxsize=4096)(looks_random)


def _key_spans(text: str, inside: bool) -> tuple[list[Span], bool]:
    """Private keys; one without its END ceases where the text no longer looks like a key."""
    found: list[Span] = []
    position = 0
    while True:
        start = body = position
        if not inside:
            begin = _KEY_BEGIN.search(text, position)
            if begin is None:
                return found, False
            start, body = begin.span()
        end = _KEY_END.search(text, body, body + MAX_KEY)
        other = _KEY_BEGIN.search(text, body, end.start()) if end else None
        if end and not other:
            position, inside = end.end(), False
        else:
            position, inside = _body_end(text, body)
        found.append((start, position))
        if inside:
            return found, True


def _body_end(text: str, start: int) -> tuple[int, bool]:
    """Where a key without END ceases, and whether it may go on behind the text."""
    position = start
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        if position - start > MAX_KEY or not _KEY_LINE.fullmatch(text, position, end):
            return max(start, position - 1), False  # the line break stays
        position = min(end + 1, len(text))
    return position, True


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
