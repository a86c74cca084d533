"""Taking credentials out of environments and logs before they reach an evidence folder.

Two rules, because two mistakes are possible. In an *environment* everything is hidden unless its
name is on the allowlist, its name does not speak of a secret, and its value does not look like
one. In *text* everything is kept unless it looks like a credential: a known token format, a
value beside a word such as `password`, a login inside a URL, a private key, or a long random
string. Hexadecimal strings survive in text whatever their length, because a log is full of
commit hashes and checksums; a hexadecimal secret is caught by the name beside it, or by
`secret_values`, which finds the values that this very environment hides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from nbbench.collect.tokens import TOKEN_PATTERN, looks_random

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
# "key" alone would hide KEYBOARD; as a whole word of a name it is a secret more often than not.
_SECRET_NAME = re.compile(
    r"(?i)(passw(or)?d|passwd|passphrase|pwd$|secret|token(?!izers)|credential|(^|[_.-])auth($|[_.-])|authorization"
    r"|api_?key|access_?key|private_?key|account_?key|signing_?key|(^|[_.-])keys?$|cookie|session|dsn$|bearer)"
)
_NOT_SECRET_NAMES = frozenset({"PWD", "OLDPWD"})
_MIN_SECRET = 8  # shorter values would take innocent words out of a log

# Names that mean a secret whatever stands behind them …
_STRONG = (
    r"[A-Za-z0-9_.-]*(?:password|passwd|passphrase|secret|credential|api[_-]?key|access[_-]?key|account[_-]?key"
    r"|private[_-]?key|signing[_-]?key|auth[_-]?token|access[_-]?token|_auth|session[_-]?id|connect\.sid|csrftoken)"
)
# … and names that are common in programs: there the value must hold letters and digits, and be long.
_WEAK = r"(?:[A-Za-z0-9_.-]*(?:_key|_token|-token)|token|pwd|key|sig|sid)"
_VALUE = r"(?:\"[^\"\n]{4,}\"|'[^'\n]{4,}'|[^\s\"',;&<>]{6,})"
_WEAK_VALUE = r"[\"']?(?=[A-Za-z+/=_.:%-]*[0-9])(?=[0-9+/=_.:%-]*[A-Za-z])[A-Za-z0-9+/=_.:%-]{16,}[\"']?"
# `name=value`, `name: value`, `"name": "value"`, `--name value`; the value goes, the name stays.
_SEPARATOR = r"(?P<sep>[\"']?[ \t]{0,3}[=:][ \t]{0,3})"
_ASSIGNED = re.compile(rf"(?i)(?<![A-Za-z0-9_.-])(?P<name>{_STRONG}){_SEPARATOR}(?P<value>{_VALUE})")
_ASSIGNED_WEAK = re.compile(rf"(?i)(?<![A-Za-z0-9_.-])(?P<name>{_WEAK}){_SEPARATOR}(?P<value>{_WEAK_VALUE})")
_OPTION = re.compile(
    rf"(?i)(?<!\S)(?P<name>--?(?:[a-z-]*(?:password|passwd|passphrase|secret|token|api-?key)))(?P<sep>[ =])"
    rf"(?P<value>{_VALUE})"
)
_HEADER = re.compile(
    r"(?i)\b(?P<name>(?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]*(?:auth|key|token|secret)[a-z-]*)"
    r"(?P<sep>[\"']?[ \t]*:[ \t]*)(?P<value>[^\r\n\"']+)"
)
_SCHEME = re.compile(
    r"\b(?P<name>Bearer|Basic|SSWS|Digest|Negotiate)(?P<sep>[ \t]+)"
    r"(?=\S*[0-9=]|\S*[a-z][A-Z])(?P<value>[A-Za-z0-9._~+/=-]{8,})"
)
_URL_LOGIN = re.compile(
    r"(?P<name>\b[A-Za-z][A-Za-z0-9+.-]{1,20}://)(?P<value>[^\s/@:?#]*:[^\s@/]+|[^\s/@:]{16,})@"
)
_CURL_LOGIN = re.compile(r"(?P<name>(?<!\S)(?:-u|--user))(?P<sep>[ =]?)(?P<value>[^\s:]+:\S+)")
_NETRC = re.compile(
    r"(?P<name>\b(?:login[ \t]+\S+[ \t]+)?password)(?P<sep>[ \t]+)(?P<value>\S{4,})(?=[ \t]*$)", re.MULTILINE
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?)-----.*?(?:-----END (?P=kind)-----|\Z)", re.DOTALL
)
_NAMED_VALUES = (_HEADER, _ASSIGNED, _ASSIGNED_WEAK, _OPTION, _SCHEME, _CURL_LOGIN, _NETRC)
# Words that stand where a secret would and are none: flags, placeholders, masks.
_HARMLESS = re.compile(
    r"(?i)[\"']?(true|false|none|null|yes|no|on|off|\*+|x{3,}|\d{1,5}|<redacted>|<[a-z_ -]+>)[\"']?"
)
_LONG = 20
_LONG_WORD = re.compile(rf"[A-Za-z0-9+/=_-]{{{_LONG},}}")
_CONTEXT = 200
_IN_PATH = re.compile(r"(?:^|[\s\"'(=:\[])(?:~|\.{1,2})?/[^\s\"'()\[\]]*$")
_DIGEST_PREFIX = re.compile(r"(?i)(sha\d{1,3}|md5|blake2[bs])[-:=]$")


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
        lines.append(f"{name.encode('ascii', 'backslashreplace').decode()}={shown}")
    return lines


def may_show(name: str, value: str) -> bool:
    """Whether a variable may appear with its value: a known name and a harmless value."""
    allowed = name in ENV_ALLOWLIST or name.startswith(ENV_PREFIXES)
    return allowed and not is_secret_name(name) and redact_text(value) == value


def is_secret_name(name: str) -> bool:
    """Whether a variable's name says that its value is a secret."""
    return name not in _NOT_SECRET_NAMES and _SECRET_NAME.search(name) is not None


def secret_values(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values of this environment that no log may repeat, the longest first.

    They are the values whose names speak of a secret or which look like a credential.
    """
    found = {
        value
        for name, value in environ.items()
        if len(value) >= _MIN_SECRET and (is_secret_name(name) or redact_text(value) != value)
    }
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def redact_text(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with everything that looks like a credential replaced by `<redacted>`.

    `secrets` are exact values to take out as well (see `secret_values`).
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _MIN_SECRET:
            text = text.replace(secret, REDACTED)
    text = _PRIVATE_KEY.sub(REDACTED, text)
    text = _URL_LOGIN.sub(lambda m: f"{m['name']}{REDACTED}@", text)
    text = TOKEN_PATTERN.sub(REDACTED, text)
    for pattern in _NAMED_VALUES:
        text = pattern.sub(_hide_value, text)
    return _LONG_WORD.sub(_hide_random, text)


def _hide_value(match: re.Match[str]) -> str:
    if _HARMLESS.fullmatch(match["value"].strip()):
        return match[0]
    value = match["value"]
    quote = value[0] if value[0] in "\"'" and value[-1] == value[0] else ""
    return f"{match['name']}{match['sep']}{quote}{REDACTED}{quote}"


def _hide_random(match: re.Match[str]) -> str:
    word = match[0]
    before = match.string[max(0, match.start() - _CONTEXT) : match.start()]
    if _DIGEST_PREFIX.search(before) or re.match(r"sha(256|384|512)-", word):
        return word  # a checksum in base64, as lock files write it
    # Inside a file's path slashes are separators for certain, so each part is judged alone.
    parts = word.split("/") if _IN_PATH.search(before) or word.startswith("/") else [word]
    return REDACTED if any(len(part) >= _LONG and looks_random(part) for part in parts) else word
