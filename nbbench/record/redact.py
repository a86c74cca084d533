"""Taking credentials out of whatever leaves nbbench: towards a file, a page, a database, a terminal.

`redact_text` is for a text (a log, a line of an error, a name), `redact_value` for anything with structure
(dataclasses, mappings, sequences, JSON documents); what leaves may go through them twice without harm. Both
take out the exact secret values of an environment, and what `nbbench.credentials` finds by its form. Commit
hashes, checksums, base64, paths, test ids and numbers stay, and JSON stays JSON. A long random string with
neither format nor label stays as well, unless the environment holds it: it cannot be told from a checksum.

Environments are hidden unless a variable is on the allowlist, its name does not speak of a secret, and its
value does not look like one (`redacted_environment`).
"""

import base64
import dataclasses
import itertools
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias, TypeVar

from nbbench.credentials import (
    HARMLESS,
    LONGEST,
    REDACTED,
    Finder,
    Span,
    find_spans,
    looks_random,
    replace_spans,
    without_credentials,
)
from nbbench.subject.profile import shipped_variables

Secrets: TypeAlias = Iterable[str] | Mapping[str, str]
_T = TypeVar("_T")

# Variables that can change what a benchmark does, and those in which a reader looks for such.
ENV_ALLOWLIST = frozenset(
    {
        *("CI", "COLUMNS", "CONDA_DEFAULT_ENV", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING"),
        *("CUDA_MODULE_LOADING", "CUDA_VISIBLE_DEVICES", "GLIBC_TUNABLES", "HIP_VISIBLE_DEVICES", "HOME"),
        *("LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LD_PRELOAD", "LINES", "MALLOC_CONF", "NO_COLOR"),
        *("NUMEXPR_MAX_THREADS", "NUMEXPR_NUM_THREADS", "OLDPWD", "PATH", "PWD", "PYTEST_ADDOPTS"),
        *("PYTEST_CURRENT_TEST", "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTEST_PLUGINS", "PYTEST_XDIST_WORKER"),
        *("SHELL", "SHLVL", "TERM", "TMPDIR", "TZ", "VIRTUAL_ENV"),
    }
)
ENV_PREFIXES = (
    *("ASV_", "ATEN_", "BLIS_", "DNNL_", "GOMP_", "KMP_", "LC_", "LIBOMP_", "MALLOC_", "MKL_"),
    *shipped_variables(),
    *("NBBENCH_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTHON", "PYTORCH_", "TORCH"),
    *("TRITON_", "VECLIB_", "XDG_CACHE_"),
)
# Of these, what a command must be given again to do the same: not who measures, in which language, where.
_INFLUENCES = re.compile(
    r"GLIBC_TUNABLES|LD_(?:LIBRARY_PATH|PRELOAD)|MALLOC_CONF|(?:CUDA|HIP|NUMEXPR|PYTEST)_\w+"
    rf"|(?!ASV_|LC_|NBBENCH_|XDG_CACHE_)(?:{'|'.join(ENV_PREFIXES)})\w*"
)
# "key" alone would hide KEYBOARD; as a whole word of a name it is a secret more often than not.
_SECRET_NAME = re.compile(
    r"(?i)(passw(or)?d|passphrase|(^|[_.-])pass($|[_.-])|pwd$|secret|token(?!izers)|credential|(^|[_.-])auth($|[_.-])"
    r"|authorization|api_?key|access_?key|private_?key|account_?key|signing_?key|(^|[_.-])keys?$|cookie"
    r"|session_?(id|key|token)|dsn$|bearer)"
)
_NOT_SECRET_NAMES = frozenset({"PWD", "OLDPWD"})
_MIN_SECRET = 8  # shorter values would take innocent words out of a log
_MIN_LINE = 16  # of a value of several lines: shorter ones (a brace, a word) are everybody's
# A value of this length under a name that says nothing is a secret when it looks like one.
_MIN_UNNAMED = 12
_HEX = re.compile(r"(?=.*[0-9])(?=.*[a-f])[0-9a-f-]{16,39}|(?=.*[0-9])(?=.*[A-F])[0-9A-F-]{16,39}")
_PASSWORD_LIKE = re.compile(r"(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)[^\s/\\:=]+")
_MIXED_SHARE = 0.4  # of neighbours that differ in class; CamelCase words stay near 0.27, versions near 0.3
_PATH = re.compile(r"(?:/[\w.+@-]+)+/?(?::(?:/[\w.+@-]+)+)*")
# What stands in variables called *_AUTH or *_TOKEN that hold no secret but a word about one.
_PLAIN_WORDS = frozenset({"disabled", "enabled", "optional", "password", "default", "interactive"})


def redact_text(text: str, secrets: Secrets = ()) -> str:
    """`text` with everything that looks like a credential replaced by `<redacted>`.

    `secrets` are exact values to take out as well, or an environment whose `secret_values` are.
    """
    return without_credentials(text, _exact(secrets))


def redact_value(value: _T, secrets: Secrets = ()) -> _T:
    """The same value with every text in it, keys included, as `redact_text` leaves it.

    Dataclasses, mappings, lists, tuples and sets keep their types; numbers, enumerations, paths and
    bytes stay as they are.
    """
    return _redacted(value, _exact(secrets))  # type: ignore[no-any-return]


def _redacted(value: Any, exact: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return value if isinstance(value, Enum) else without_credentials(value, exact)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        return dataclasses.replace(value, **{name: _redacted(getattr(value, name), exact) for name in fields})
    if isinstance(value, Mapping):
        # A label names what stands beside it, here as in a text: {"password": "…"}.
        return {
            _redacted(key, exact): REDACTED if _is_labelled(key, item) else _redacted(item, exact)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_redacted(item, exact) for item in value)
    return value


def _is_labelled(key: Any, item: Any) -> bool:
    """Whether the key says that the text beside it is a secret; what stands in it is another matter."""
    if not isinstance(key, str) or not isinstance(item, str):
        return False
    return any(span.seen <= len(key) for span in find_spans(f"{key}={json.dumps(item[:1000])}"))


def redact_argv(argv: Sequence[str], secrets: Secrets = ()) -> list[str]:
    """The arguments of a command without credentials, one for one.

    They are judged as one line, so that the argument behind `--token` goes; of an argument in which a
    credential begins, everything behind it goes.
    """
    line = " ".join(argv)
    spans = find_spans(line, _exact(secrets))
    shown, start = [], 0
    for argument in argv:
        end = start + len(argument)
        inner = [
            Span(max(s.start, start) - start, min(s.end, end) - start, 0)
            for s in spans
            if s.start < end and s.end > start
        ]
        name, equals, value = argument.partition("=")
        if equals and name.isidentifier() and is_secret_name(name) and not HARMLESS.fullmatch(value):
            inner = [Span(len(name) + 1, len(argument), 0)]
        shown.append(replace_spans(argument, inner))
        start = end + 1
    return shown


def redacted_environment(environ: Mapping[str, str]) -> list[str]:
    """`NAME=value` for what may be shown and `NAME=<redacted>` for the rest, sorted by name.

    Line breaks in values are written as `\\n`, so that every variable keeps to its line.
    """
    secrets = secret_values(environ)
    lines = []
    for name, value in sorted(environ.items()):
        shown = value if may_show(name, value, secrets) else REDACTED
        if "\n" in shown or "\r" in shown:
            shown = shown.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        # A credential pasted in front of an `=` by mistake stands where a name should.
        lines.append(f"{redact_text(name).encode('ascii', 'backslashreplace').decode()}={shown}")
    return lines


def influences(environ: Mapping[str, str], known: Iterable[str]) -> list[tuple[str, str]]:
    """The variables that can change what a command does, by name, beyond those that are `known`.

    The value of one that may not be shown is `<redacted>`.
    """
    left_out, secrets = set(known), secret_values(environ)
    return [
        (name, value if may_show(name, value, secrets) else REDACTED)
        for name, value in sorted(environ.items())
        if name not in left_out and _INFLUENCES.fullmatch(name)
    ]


def may_show(name: str, value: str, secrets: Iterable[str] = ()) -> bool:
    """Whether a variable may appear with its value: a known name and a harmless value."""
    allowed = name in ENV_ALLOWLIST or name.startswith(ENV_PREFIXES)
    return allowed and not is_secret_name(name) and not find_spans(value, secrets)


def is_secret_name(name: str) -> bool:
    """Whether a variable's name says that its value is a secret."""
    return name not in _NOT_SECRET_NAMES and _SECRET_NAME.search(name) is not None


def secret_values(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values of this environment that nothing may repeat, the longest first.

    They are the values whose names speak of a secret, the credentials inside of values (a login of a URL,
    and its password alone), and values of names outside the allowlist that look like a password or a key.
    Values of several lines count line by line, and each in the spellings that programs give it: quoted
    for a URL, escaped in JSON or by `repr`, in base64, in hexadecimal.
    """
    found: set[str] = set()
    for name, value in environ.items():
        for text in (*([value] if _is_secret(name, value) else []), *_inner(value)):
            lines = text.splitlines()
            least = _MIN_SECRET if len(lines) <= 1 else _MIN_LINE
            for line in map(str.strip, lines):
                found |= _spellings(line) if len(line) >= least else set()
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def _inner(value: str) -> list[str]:
    """What of a value is a credential by itself; of `user:password` the password, too."""
    found = [value[span.start : span.end] for span in find_spans(value)]
    return found + [text.partition(":")[2] for text in found if "://" in value and ":" in text]


def _is_secret(name: str, value: str) -> bool:
    if find_spans(value):
        return True
    if is_secret_name(name):
        harmless = HARMLESS.fullmatch(value) or value.lower() in _PLAIN_WORDS
        return not harmless and not (_PATH.fullmatch(value) and not looks_random(value))
    if name in ENV_ALLOWLIST or name.startswith(ENV_PREFIXES) or len(value) < _MIN_UNNAMED:
        return False
    if _HEX.fullmatch(value):  # longer ones are commits and checksums
        return True
    changes = sum(_class(a) != _class(b) for a, b in itertools.pairwise(value)) / (len(value) - 1)
    return _PASSWORD_LIKE.fullmatch(value) is not None and changes >= _MIXED_SHARE


def _class(char: str) -> str:
    return "digit" if char.isdigit() else "upper" if char.isupper() else "lower"


def _spellings(value: str) -> set[str]:
    data = value.encode("utf-8", "surrogateescape")
    return {
        value,
        urllib.parse.quote(value, safe="", errors="surrogateescape"),
        urllib.parse.unquote(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        base64.b64encode(data).decode().rstrip("="),
        data.hex(),
        *_shortened(repr(value)),
    }


def _shortened(shown: str) -> Iterator[str]:
    """What pytest leaves of a value that it compares: `assert 'head...tail' == …`, or one of its locals.

    Its lengths (_pytest/assertion/util.py, _pytest/_io/saferepr.py) depend on the operator.
    """
    for size in (28, 30, 31, 240):
        head, tail = (size - 3) // 2, size - 3 - (size - 3) // 2
        if len(shown) > size:
            yield f"{shown[1:head]}...{shown[-tail:-1]}"


def _exact(secrets: Secrets) -> tuple[str, ...]:
    if isinstance(secrets, Mapping):
        return secret_values(secrets)
    return tuple(secret for secret in secrets if len(secret) >= _MIN_SECRET)


# A line longer than this is given out before its end is seen.
_MAX_LINE = 131_072


class SecretFilter:
    """Takes credentials out of a stream of bytes, in constant memory; `flush` gives what was held back.

    What is given out is what `redact_text` makes of the same lines; every other byte passes as it is, UTF-8
    or not. A line is given out when it is complete; one without end goes out in parts, none of which ends
    inside of a credential or between a credential and the words that give it away.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        secrets = secret_values(environ)
        self._finder = Finder(secrets)
        self._overlap = 2 * max([LONGEST, *map(len, secrets)])
        self._pending = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; give those that are settled, without credentials."""
        self._pending += data
        given = b""
        if b"\n" in data:
            given = self._settle(self._pending.rfind(b"\n") + 1)
        while len(self._pending) > _MAX_LINE + self._overlap:
            given += self._settle(len(self._pending), keep=self._overlap)
        return given

    def flush(self) -> bytes:
        """Give the rest, a last line without its end."""
        return self._settle(len(self._pending))

    def _settle(self, size: int, keep: int = 0) -> bytes:
        """The first `size` bytes but for some `keep` characters at their end, without credentials."""
        text = self._pending[:size].decode("utf-8", "surrogateescape")
        del self._pending[:size]
        spans = self._finder.spans(text)
        cut = len(text) - keep
        for span in reversed(spans):
            if keep and span.seen < cut < span.end:
                cut = span.seen or span.end
        self._pending[:0] = text[cut:].encode("utf-8", "surrogateescape")
        shown = replace_spans(text[:cut], [span for span in spans if span.end <= cut])
        return shown.encode("utf-8", "surrogateescape")
