"""Taking credentials out of a stream of bytes, in constant memory.

What is given out is what `redact_text` makes of the same lines; every other byte passes as it
is, UTF-8 or not. A line is given out when it is complete; a line without end goes out in parts
that overlap by more than the longest credential, so that none escapes by standing on a cut.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from nbbench.record.credentials import MAX_KEY, Span, open_spans
from nbbench.record.redact import replace_spans, secret_values

# A line longer than this is given out before its end is seen.
_MAX_LINE = 131_072
# What stands before a value may say that it is a secret: `Authorization: `, a path's beginning.
_CONTEXT = 512
_WORD = re.compile(r"[A-Za-z0-9+/=_-]*")


class SecretFilter:
    """Give it the output of a program piece by piece; `flush` at the end gives what was held back."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._secrets = secret_values(environ)
        self._overlap = max([MAX_KEY, *map(len, self._secrets)])
        self._pending = bytearray()
        self._context = ""  # the end of what was given out of the present line
        self._inside_word = False  # a long random string began before and goes on
        self._key_size = 0  # characters since the BEGIN of a private key without END; 0 outside

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; give those that are settled, without credentials."""
        self._pending += data
        given = b""
        end = self._pending.rfind(b"\n") + 1
        if end:
            given = self._settle(end)
        while len(self._pending) > _MAX_LINE + self._overlap:
            given += self._part()
        return given

    def flush(self) -> bytes:
        """Give the rest, a last line without its end; the filter may then be used anew."""
        given = self._settle(len(self._pending))
        self._key_size = 0
        return given

    def _settle(self, size: int) -> bytes:
        """The first `size` bytes, which end where a line does."""
        text = self._context + self._take(size)
        spans, inside = self._spans(text)
        given = self._shown(text, len(text), spans)
        self._count_key(inside, len(text))
        self._context, self._inside_word = "", False
        return given

    def _part(self) -> bytes:
        """All but the overlap of a line that has not ended; no credential is cut."""
        before = len(self._context)
        text = self._context + self._take(len(self._pending))
        spans, inside = self._spans(text)
        cut = max(before, len(text) - self._overlap)
        for start, end in spans:
            if start < cut < end:
                cut = start if start > before else end
        given = self._shown(text, cut, spans)
        whole = cut == len(text)
        self._count_key(inside and whole, cut)
        self._inside_word = whole and not inside and _WORD.fullmatch(text[-1:]) is not None
        self._context = text[max(0, cut - _CONTEXT) : cut]
        self._pending += _encoded(text[cut:])
        return given

    def _take(self, size: int) -> str:
        data = bytes(self._pending[:size])
        del self._pending[:size]
        text = data.decode("utf-8", "surrogateescape")
        if self._inside_word:
            rest = _WORD.match(text)
            text = text[rest.end() :] if rest else text
        return text

    def _spans(self, text: str) -> tuple[list[Span], bool]:
        return open_spans(text, self._secrets, self._key_size > 0)

    def _count_key(self, inside: bool, size: int) -> None:
        self._key_size = self._key_size + size if inside else 0
        if self._key_size > MAX_KEY:
            self._key_size = 0

    def _shown(self, text: str, end: int, spans: list[Span]) -> bytes:
        """`text` from the context's end to `end`, without the spans; one mark stands for a whole key."""
        start = len(self._context)
        before = ""
        if self._key_size > 0:
            goes_on = bool(spans) and spans[0][0] == 0
            before = "" if goes_on else "\n"
            start = max(start, spans[0][1]) if goes_on else start
        inner = [
            (max(lo, start) - start, min(hi, end) - start) for lo, hi in spans if hi > start and lo < end
        ]
        return _encoded(before + replace_spans(text[start:end], inner))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
