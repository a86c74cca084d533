"""Whether a command's environment already takes malloc out of the way. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

# glibc raises its own dynamic threshold up to this (mallopt(3), M_MMAP_THRESHOLD): less pins nothing away.
MMAP_CEILING = 32 * 2**20
_TUNABLES = {"mmap": "glibc.malloc.mmap_threshold", "trim": "glibc.malloc.trim_threshold"}
_VARIABLES = {"mmap": "MALLOC_MMAP_THRESHOLD_", "trim": "MALLOC_TRIM_THRESHOLD_"}
# They keep what is freed, instead of mapping large blocks anew.
_ALLOCATORS = re.compile(r"(?:^|[/: ])lib(jemalloc|tcmalloc|mimalloc)[\w.+-]*\.so")


def pinned_malloc(environment: Mapping[str, str]) -> str:
    """The variable that keeps malloc from mapping large blocks anew; empty where none does.

    Both thresholds must be set, above what glibc would come to by itself; or another allocator is preloaded.
    """
    pairs = (item.partition("=") for item in environment.get("GLIBC_TUNABLES", "").split(":"))
    tunables = {name.strip(): value for name, _, value in pairs}
    if all(_bytes(tunables.get(name, "")) > MMAP_CEILING for name in _TUNABLES.values()):
        return "GLIBC_TUNABLES"
    if all(_bytes(environment.get(name, "")) > MMAP_CEILING for name in _VARIABLES.values()):
        return " and ".join(_VARIABLES.values())
    found = _ALLOCATORS.search(environment.get("LD_PRELOAD", ""))
    return f"LD_PRELOAD ({found[1]})" if found else ""


def _bytes(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0
