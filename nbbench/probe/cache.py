"""Sizes of the processor's caches, read in one place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

PRETENDED = "NBBENCH_CACHE_MB"
"""Variable that pretends a last-level cache of so many MiB, for tests of other machines."""

_CACHES = "sys/devices/system/cpu/cpu0/cache"
_SIZE = re.compile(r"(\d+)\s*([KMG]?)(?:i?B)?")


def cache_of_level(level: int, root: Path = Path("/")) -> int:
    """The size of the data or unified cache of this level, for one core; 0 where it is not known."""
    for index in sorted((root / _CACHES).glob("index*")):
        if _text(index / "level") == str(level) and _text(index / "type") != "Instruction":
            return parse_size(_text(index / "size"))
    return 0


def last_level_cache_bytes(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> int:
    """The size of the largest cache of the first processor; 0 where it is not known."""
    pretended = environ.get(PRETENDED, "")
    if pretended.isdigit() and int(pretended):
        return int(pretended) * 2**20
    return max((parse_size(_text(path)) for path in (root / _CACHES).glob("index*/size")), default=0)


def parse_size(text: str) -> int:
    """`32768K` in bytes; 0 for anything else."""
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[match[2]] if match else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
