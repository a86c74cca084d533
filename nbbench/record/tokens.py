"""What credentials look like: published token formats, and random strings in general."""

from __future__ import annotations

import itertools
import re

# One alternative for each published format; lengths are the shortest that the issuers use, so
# that words which merely begin alike (sk-learn, npm_config, key-value) stay.
_FORMATS = (
    # Clouds
    r"(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA)[A-Z0-9]{16}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"GOCSPX-[A-Za-z0-9_-]{20,}",
    r"ya29\.[A-Za-z0-9_-]{20,}",
    r"1//0[A-Za-z0-9_-]{20,}",
    r"[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{30,}",
    r"do[opr]_v1_[a-f0-9]{40,}",
    r"HRKU-[A-Za-z0-9_-]{20,}",
    r"(?:FlyV1 |fo1_|fm[12]_)[A-Za-z0-9_+/=,-]{20,}",
    r"LTAI[A-Za-z0-9]{12,}",
    r"tskey-[a-z]+-[A-Za-z0-9-]{10,}",
    r"(?:sbp|nfp)_[A-Za-z0-9]{30,}",
    r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{20,}",
    # Forges and package registries
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"gl(?:pat|ptt|dt|rt|cbt|ft|soat|agent|imt|oas)-[A-Za-z0-9_.-]{16,}",
    r"GR1348941[A-Za-z0-9_-]{16,}",
    r"ATATT3[A-Za-z0-9_=-]{20,}",
    r"ATBB[A-Za-z0-9]{20,}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_-]{16,}",
    r"rubygems_[a-f0-9]{40,}",
    r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{16,}",
    r"AKCp[A-Za-z0-9]{20,}",
    r"cio[A-Za-z0-9]{32}",
    r"oy2[a-z0-9]{43}",
    # Models and data
    r"hf_[A-Za-z0-9]{20,}",
    r"sk-(?=[A-Za-z0-9_-]*[0-9])[A-Za-z0-9_-]{20,}",
    r"gsk_[A-Za-z0-9]{30,}",
    r"r8_[A-Za-z0-9]{30,}",
    r"(?:pplx|xai|nvapi|fw|tvly)-[A-Za-z0-9_-]{24,}",
    r"dapi[a-f0-9]{32}(?:-\d)?",
    r"pat[A-Za-z0-9]{14}\.[a-f0-9]{40,}",
    # Chat, mail, payment
    r"xox[a-z]-[A-Za-z0-9-]{10,}",
    r"xapp-\d-[A-Za-z0-9-]{10,}",
    r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}",
    r"discord(?:app)?\.com/api/webhooks/\d+/[A-Za-z0-9_-]{20,}",
    r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",
    r"\d{8,10}:AA[A-Za-z0-9_-]{30,}",
    r"(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{10,}",
    r"whsec_[A-Za-z0-9+/=]{20,}",
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    r"key-[a-f0-9]{32}",
    r"[a-f0-9]{32}-us\d{1,2}",
    r"(?:SK|AC)[a-f0-9]{32}",
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    r"sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{20,}",
    r"EAAA[A-Za-z0-9_-]{40,}",
    r"EAAC[A-Za-z0-9]{30,}",
    r"xkeysib-[a-f0-9]{40,}[A-Za-z0-9-]*",
    # Operations
    r"hv[sbr]\.[A-Za-z0-9_-]{20,}",
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{40,}",
    r"gl(?:sa|c)_[A-Za-z0-9+/=_-]{20,}",
    r"NRAK-[A-Z0-9]{20,}",
    r"NRJS-[a-f0-9]{19,}",
    r"sntry[su]_[A-Za-z0-9+/=_-]{20,}",
    r"dt0[a-z]\d{2}\.[A-Z0-9]{20,}\.[A-Z0-9]{40,}",
    r"sq[pua]_[a-f0-9]{40}",
    r"PMAK-[a-f0-9]{20,}-[a-f0-9]{30,}",
    r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{20,}",
    r"pul-[a-f0-9]{40}",
    r"ops_eyJ[A-Za-z0-9_=-]{20,}",
    r"lin_(?:api|oauth)_[A-Za-z0-9]{20,}",
    r"(?:ntn|secret)_[A-Za-z0-9]{32,}",
    r"figd_[A-Za-z0-9_-]{20,}",
    r"CFPAT-[A-Za-z0-9_-]{30,}",
    r"EZ[AT]K[A-Za-z0-9]{40,}",
    r"phc_[A-Za-z0-9]{30,}|phx_[A-Za-z0-9]{30,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{40,}",
    r"ey[A-Za-z0-9_-]{15,}\.ey[A-Za-z0-9_-]{10,}\.?[A-Za-z0-9_-]*",
)
TOKEN_PATTERN = re.compile(rf"(?<![A-Za-z0-9_])(?:{'|'.join(_FORMATS)})")

_HEX = re.compile(r"[0-9a-f-]+|[0-9A-F-]+")
_RUN = re.compile(r"[A-Za-z0-9]+")
_NAME_LIKE = re.compile(r"[A-Za-z_-]+[0-9]?")
# The length and alphabet of AWS's secret keys; a path of exactly this form is rarer than such a key.
_CLOUD_SECRET = re.compile(r"[A-Za-z0-9+][A-Za-z0-9/+]{39}")
_MIN_RANDOM = 20
# The share of neighbouring characters that differ in class (lower, upper, digit). A random
# base-62 string expects 0.62 and base-36 0.40; CamelCase words stay near 0.27 and names with
# numbers near 0.1. The limits keep nine of ten random strings of 20 characters, and more of longer ones.
_MIXED_SHARE = 0.40
_LETTERS_SHARE = 0.42
_SINGLE_CASE_SHARE = 0.20


def looks_random(word: str) -> bool:
    """Whether a word of letters, digits and `+/=_-` is a random string rather than a name or a path.

    Hexadecimal words (hashes, UUIDs) and plain numbers never are: logs are full of them.
    """
    if _HEX.fullmatch(word):
        return False
    if _CLOUD_SECRET.fullmatch(word) and _classes(word) == 3:
        return True
    if "/" in word and _is_path(word):
        return any(looks_random(part) for part in word.split("/") if len(part) >= _MIN_RANDOM)
    runs = _RUN.findall(word)
    if any(len(run) >= _MIN_RANDOM and not _HEX.fullmatch(run) and _is_mixed(run) for run in runs):
        return True
    # Random base64 is cut by its own `+/-_` once in 32 characters; joined, it is whole again.
    # Names cut by separators more often than that are judged by their parts alone.
    joined = "".join(runs)
    whole = len(joined) >= _MIN_RANDOM and len(runs) <= 1 + len(joined) // 8
    return whole and _classes(joined) == 3 and _is_mixed(joined)


def _is_path(word: str) -> bool:
    """Most of a path's letters stand in parts that read as words, in whatever case."""
    parts = [part for part in word.split("/") if part]
    wordy = sum(len(part) for part in parts if _is_wordy(part))
    return wordy * 2 >= sum(len(part) for part in parts)


def _is_wordy(part: str) -> bool:
    share = class_changes(part)
    return share < 0.35 or (share < 0.5 and _NAME_LIKE.fullmatch(part) is not None)


def _is_mixed(word: str) -> bool:
    kinds = _classes(word)
    if kinds == 1 or len(set(word)) < _MIN_RANDOM // 2:
        return False
    share = class_changes(word)
    if kinds == 3:
        return share >= _MIXED_SHARE
    if any(char.isdigit() for char in word):
        return share >= _SINGLE_CASE_SHARE
    return len(word) >= _MIN_RANDOM + 4 and share >= _LETTERS_SHARE


def class_changes(word: str) -> float:
    """The share of neighbours that differ in class."""
    classes = [_class(char) for char in word]
    return sum(a != b for a, b in itertools.pairwise(classes)) / max(1, len(word) - 1)


def _classes(word: str) -> int:
    return len({_class(char) for char in word})


def _class(char: str) -> str:
    return "digit" if char.isdigit() else "upper" if char.isupper() else "lower"
