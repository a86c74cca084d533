"""Whether the process that a file names is still the same one: pids are used again."""

from __future__ import annotations

from pathlib import Path


def boot_id() -> str:
    """The identity of this boot of this machine; empty where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
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
    return pid > 0 and ticks > 0 and boot == boot_id() and start_ticks(pid) == ticks
