"""Taking credentials out of environments and logs before they reach an evidence folder.

Two rules, because two mistakes are possible. In an *environment* everything is hidden unless its
name is on the allowlist, its name does not speak of a secret, and its value does not look like
one. In *text* everything is kept unless it looks like a credential (`credentials.py`): a known
token format, a value beside a word such as `password`, a login inside a URL, a private key, or a
long random string. Hexadecimal strings survive in text whatever their length, because a log is
full of commit hashes and checksums; a hexadecimal secret is caught by the name beside it, or by
`secret_values`, which finds the values that this very environment hides.

A scanner of leaks (detect-secrets and its like) was weighed: it judges single lines of source
files, gives no positions to replace, and its test of entropy takes every commit hash for a leak.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbbench.record.credentials import HARMLESS, Span, text_spans
from nbbench.record.tokens import class_changes, looks_random

REDACTED = "<redacted>"

# Variables that can change what a benchmark does; who runs it, and where, is nobody's business.
ENV_ALLOWLIST = frozenset(
    {
        *("CI", "COLUMNS", "CONDA_DEFAULT_ENV", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING"),
        *("CUDA_MODULE_LOADING", "CUDA_VISIBLE_DEVICES", "GLIBC_TUNABLES", "HIP_VISIBLE_DEVICES"),
        *("LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_CONF", "NO_COLOR"),
        *("NUMEXPR_MAX_THREADS", "NUMEXPR_NUM_THREADS", "PATH", "PYTEST_ADDOPTS"),
        *("PYTEST_CURRENT_TEST", "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTEST_PLUGINS", "PYTEST_XDIST_WORKER"),
        *("TERM", "TZ", "VIRTUAL_ENV"),
    }
)
ENV_PREFIXES = (
    *("ASV_", "ATEN_", "BLIS_", "DNNL_", "GOMP_", "KMP_", "LC_", "LIBOMP_", "MALLOC_", "MKL_"),
    *("NANOBRAGG_", "NBBENCH_", "NB_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTHON", "PYTORCH_", "TORCH"),
    *("TRITON_", "VECLIB_", "XDG_CACHE_"),
)
# Of these, what a command must be given again to do the same: not who measures, in which language, where.
_INFLUENCES = frozenset(
    {"GLIBC_TUNABLES", "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_CONF"}
    | {name for name in ENV_ALLOWLIST if name.startswith(("CUDA_", "HIP_", "NUMEXPR_", "PYTEST_"))}
)
_NO_INFLUENCE = ("ASV_", "LC_", "NBBENCH_", "XDG_CACHE_")
_INFLUENCE_PREFIXES = tuple(prefix for prefix in ENV_PREFIXES if prefix not in _NO_INFLUENCE)
# "key" alone would hide KEYBOARD; as a whole word of a name it is a secret more often than not.
_SECRET_NAME = re.compile(
    r"(?i)(passw(or)?d|passwd|passphrase|pwd$|secret|token(?!izers)|credential|(^|[_.-])auth($|[_.-])|authorization"
    r"|api_?key|access_?key|private_?key|account_?key|signing_?key|(^|[_.-])keys?$|cookie|session|dsn$|bearer)"
)
_NOT_SECRET_NAMES = frozenset({"PWD", "OLDPWD"})
_MIN_SECRET = 8  # shorter values would take innocent words out of a log
# A value of this length under a name that says nothing is a secret when it looks like one.
_MIN_UNNAMED = 12
_HASH_NAME = re.compile(r"(?i)(sha\d*|commit|revision|digest|checksum|hash|head|tree|ref)")
_HEX = re.compile(r"(?=.*[0-9])(?=.*[a-f])[0-9a-f-]{16,}|(?=.*[0-9])(?=.*[A-F])[0-9A-F-]{16,}")
_PASSWORD_LIKE = re.compile(r"(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)[^\s/\\:=]+")
_MIXED_SHARE = 0.4  # of neighbours that differ in class, as in tokens.py
_PATH = re.compile(r"(?:/[\w.+@-]+)+/?(?::(?:/[\w.+@-]+)+)*")
# What stands in variables called *_AUTH or *_TOKEN that hold no secret but a word about one.
_PLAIN_WORDS = frozenset(
    {"disabled", "enabled", "optional", "required", "password", "default", "interactive"}
)


def redacted_environment(environ: Mapping[str, str]) -> list[str]:
    """`NAME=value` for what may be shown and `NAME=<redacted>` for the rest, sorted by name.

    Line breaks in values are written as `\\n`, so that every variable keeps to its line.
    """
    lines = []
    for name, value in sorted(environ.items()):
        shown = value if may_show(name, value) else REDACTED
        shown = (
            shown.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r") if "\n" in shown else shown
        )
        # A credential pasted in front of an `=` by mistake stands where a name should.
        lines.append(f"{redact_text(name).encode('ascii', 'backslashreplace').decode()}={shown}")
    return lines


def influences(environ: Mapping[str, str], known: Iterable[str]) -> list[tuple[str, str]]:
    """The variables that can change what a command does, by name, beyond those that are `known`.

    The value of one that may not be shown is `<redacted>`.
    """
    told = set(known)
    return [
        (name, value if may_show(name, value) else REDACTED)
        for name, value in sorted(environ.items())
        if name not in told and (name in _INFLUENCES or name.startswith(_INFLUENCE_PREFIXES))
    ]


def may_show(name: str, value: str) -> bool:
    """Whether a variable may appear with its value: a known name and a harmless value."""
    allowed = name in ENV_ALLOWLIST or name.startswith(ENV_PREFIXES)
    return allowed and not is_secret_name(name) and redact_text(value) == value


def is_secret_name(name: str) -> bool:
    """Whether a variable's name says that its value is a secret."""
    return name not in _NOT_SECRET_NAMES and _SECRET_NAME.search(name) is not None


def secret_values(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values of this environment that no log may repeat, the longest first.

    They are the values whose names speak of a secret, those that look like a credential, and
    those of names outside the allowlist that look like a password or a key. Values of several
    lines count line by line, and each in the spellings that programs give it: quoted for a URL,
    escaped in JSON or by `repr`, in base64, in hexadecimal.
    """
    found: set[str] = set()
    for name, value in environ.items():
        if _is_secret(name, value):
            inner = [value[start:end] for start, end in text_spans(value)]
            for text in (value, *inner):
                lines = text.splitlines()
                least = _MIN_SECRET if len(lines) <= 1 else _MIN_PART
                for line in map(str.strip, lines):
                    found |= _spellings(line) if len(line) >= least else set()
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


# A line of a value of several lines: shorter ones (a brace, a word) are everybody's.
_MIN_PART = 16


def _is_secret(name: str, value: str) -> bool:
    if is_secret_name(name):
        harmless = HARMLESS.fullmatch(value) or value.lower() in _PLAIN_WORDS
        return not harmless and not _is_plain_path(value)
    if redact_text(value) != value:
        return True
    if name in ENV_ALLOWLIST or name.startswith(ENV_PREFIXES) or len(value) < _MIN_UNNAMED:
        return False
    if _HEX.fullmatch(value):
        return not _HASH_NAME.search(name)
    return _PASSWORD_LIKE.fullmatch(value) is not None and class_changes(value) >= _MIXED_SHARE


def _is_plain_path(value: str) -> bool:
    return _PATH.fullmatch(value) is not None and not looks_random(value)


def _spellings(value: str) -> set[str]:
    data = value.encode("utf-8", "surrogateescape")
    return {
        value,
        urllib.parse.quote(value, safe="", errors="surrogateescape"),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        base64.b64encode(data).decode().rstrip("="),
        data.hex(),
    }


def redact_text(text: str, secrets: Iterable[str] | Mapping[str, str] = ()) -> str:
    """`text` with everything that looks like a credential replaced by `<redacted>`.

    `secrets` are exact values to take out as well, or an environment whose `secret_values` are.
    """
    return replace_spans(text, text_spans(text, _exact(secrets)))


def redact_tree(value: Any, secrets: Iterable[str] | Mapping[str, str] = ()) -> Any:
    """A JSON document with every string, keys included, as `redact_text` leaves it."""
    exact = _exact(secrets)
    if isinstance(value, str):
        return redact_text(value, exact)
    if isinstance(value, list | tuple):
        return [redact_tree(item, exact) for item in value]
    if isinstance(value, dict):
        return {redact_text(str(key), exact): redact_tree(item, exact) for key, item in value.items()}
    return value


def redact_argv(argv: Sequence[str], secrets: Iterable[str] | Mapping[str, str] = ()) -> list[str]:
    """The arguments of a command without credentials, one for one.

    Beyond `redact_text` of each: the argument behind `--token` and its like goes, and so does
    the value of `NAME=value` under a secret name.
    """
    exact = _exact(secrets)
    shown: list[str] = []
    before = ""
    for argument in argv:
        name, equals, value = argument.partition("=")
        secret = _SECRET_OPTION.fullmatch(before) and not HARMLESS.fullmatch(argument)
        if secret or (before in _LOGIN_OPTIONS and ":" in argument):
            shown.append(REDACTED)
        elif equals and not HARMLESS.fullmatch(value) and _names_secret(name):
            shown.append(f"{name}={REDACTED}")
        else:
            shown.append(redact_text(argument, exact))
        before = argument
    return shown


_SECRET_OPTION = re.compile(
    r"(?i)--?[a-z0-9-]*(password|passwd|passphrase|secret|token|api-?key|access-?key)"
)
_LOGIN_OPTIONS = frozenset({"-u", "--user", "--proxy-user"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _names_secret(name: str) -> bool:
    if _VARIABLE.fullmatch(name):
        return is_secret_name(name)
    return _SECRET_OPTION.fullmatch(name) is not None


def _exact(secrets: Iterable[str] | Mapping[str, str]) -> tuple[str, ...]:
    if isinstance(secrets, Mapping):
        return secret_values(secrets)
    return tuple(secret for secret in secrets if len(secret) >= _MIN_SECRET)


def replace_spans(text: str, spans: Iterable[Span]) -> str:
    """`text` with `<redacted>` in place of each span; spans are in order and do not overlap."""
    pieces = []
    position = 0
    for start, end in spans:
        pieces += [text[position:start], REDACTED]
        position = end
    return "".join([*pieces, text[position:]])
