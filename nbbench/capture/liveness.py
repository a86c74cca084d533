"""Whether the process that a file names is still the same one: pids are used again."""

from __future__ import annotations

import os
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The identity of this boot of this machine; empty where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def start_ticks(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 for one that does not exist or has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid: int, ticks: int, boot: str) -> bool:
    """Whether the process with this id, start and boot still runs here.

    A folder from another boot, or another machine, belongs to a process that is not alive here.
    """
    if pid <= 0 or boot != boot_id():
        return False
    if ticks:
        return start_ticks(pid) == ticks
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
