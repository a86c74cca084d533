"""What `nbbench doctor` looks at, gathered from this machine in about two seconds."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nbbench.measure.machine import Host, hugepages, load_now

_SPIN_LOOP_S = 0.001  # long against the timer's resolution, short against a scheduler's slice


@dataclass(frozen=True, slots=True)
class Places:
    """The folders and names that the checks concern; the caller takes them from its settings."""

    results_dir: Path
    state_dir: Path
    subject_git: Path
    branch: str
    threads: int = 0
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder (or the nearest one above it that exists): can it be written, is there room?"""

    path: str
    writable: bool
    free_bytes: int | None


@dataclass(frozen=True, slots=True)
class Spin:
    """A fixed loop timed for a second: spread and worst case relative to the median."""

    cv: float
    worst: float
    loops: int


@dataclass(frozen=True, slots=True)
class Facts:
    """One look at the machine; None means that the fact is not to be had."""

    processors: int = 1
    physical_cores: int | None = None
    smt: bool | None = None
    threads: int = 1
    load_one: float | None = None
    others: float | None = None
    steal: float | None = None
    pressure: float | None = None
    quota: float | None = None
    governor: str | None = None
    turbo: bool | None = None
    memory_available: int | None = None
    memory_total: int | None = None
    swap_used: int | None = None
    hugepages: str | None = None
    clock_source: str | None = None
    timer_resolution_s: float = 1e-9
    spin: Spin | None = None
    libc: str = ""
    mallopt: bool = True
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    folders: tuple[Folder, ...] = ()
    git: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    asv_machines: tuple[str, ...] = ()
    machine: str = ""
    subject_exists: bool = False
    branch: str = ""
    branch_exists: bool | None = None
    c_binary: str | None = None
    c_binary_runs: bool = False


def gather(
    places: Places, environ: Mapping[str, str], *, root: Path = Path("/"), sample_s: float = 1.0
) -> Facts:
    """Look at this machine; takes about twice `sample_s`, idle first and then in a loop."""
    host = Host(root)
    memory = host.memory()
    usable = len(os.sched_getaffinity(0))
    others, steal = sample_others(host, sample_s)
    binary = environ.get("NB_C_BIN") or None
    return Facts(
        processors=usable,
        physical_cores=host.physical_cores(),
        smt=host.smt_active(),
        threads=places.threads or _threads(environ) or usable,
        load_one=load_now(root).one,
        others=others,
        steal=steal,
        pressure=pressure(host),
        quota=host.cpu_quota(),
        governor=host.governor(),
        turbo=host.turbo(),
        memory_available=memory.get("MemAvailable"),
        memory_total=memory.get("MemTotal"),
        swap_used=memory["SwapTotal"] - memory["SwapFree"] if "SwapFree" in memory else None,
        hugepages=hugepages(host),
        clock_source=host.read("sys/devices/system/clocksource/clocksource0/current_clocksource"),
        timer_resolution_s=time.get_clock_info("perf_counter").resolution,
        spin=spin(sample_s),
        libc=platform.libc_ver()[0],
        mallopt=_has_mallopt(),
        folders=tuple(_folder(path) for path in (places.results_dir, places.state_dir)),
        git=_git("--version"),
        versions=_versions(),
        asv_machines=_asv_machines(environ),
        machine=places.machine or platform.node() or "unknown",
        subject_exists=places.subject_git.is_dir(),
        branch=places.branch,
        branch_exists=_branch_exists(places),
        c_binary=binary,
        c_binary_runs=bool(binary) and Path(binary or "").is_file() and os.access(binary or "", os.X_OK),
    )


def sample_others(host: Host, seconds: float) -> tuple[float | None, float | None]:
    """Processors used by others, and the share of all time stolen, while this process sleeps."""
    before, own_before, start = _ticks(host), sum(os.times()[:4]), time.monotonic()
    time.sleep(seconds)
    after, own, elapsed = _ticks(host), sum(os.times()[:4]) - own_before, time.monotonic() - start
    if before is None or after is None or elapsed <= 0:
        return None, None
    hertz = os.sysconf("SC_CLK_TCK")
    busy = (after[0] - before[0]) / hertz - own
    steal = (after[1] - before[1]) / hertz
    return max(0.0, busy / elapsed), max(0.0, steal / elapsed / (os.cpu_count() or 1))


def spin(seconds: float) -> Spin | None:
    """Time a loop of about a millisecond over and over, without numpy and without the collector."""
    count = 1000
    while (duration := _loop(count)) < _SPIN_LOOP_S and count < 10**7:
        count = int(count * max(1.5, 1.2 * _SPIN_LOOP_S / max(duration, 1e-6)))
    collecting = gc.isenabled()
    gc.disable()
    try:
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            times.append(_loop(count))
    finally:
        if collecting:
            gc.enable()
    if len(times) < 2:
        return None
    return Spin(
        cv=statistics.stdev(times) / statistics.fmean(times),
        worst=max(times) / statistics.median(times),
        loops=len(times),
    )


def pressure(host: Host) -> float | None:
    """The share of the last 10 s in which some process waited for a processor."""
    found = re.search(r"some avg10=([\d.]+)", host.read("proc/pressure/cpu") or "")
    return float(found[1]) / 100 if found else None


def _loop(count: int) -> float:
    start = time.perf_counter()
    total = 0
    for index in range(count):
        total += index & 7
    return time.perf_counter() - start


def _ticks(host: Host) -> tuple[int, int] | None:
    """Busy and stolen clock ticks since boot; guest time is part of user time already."""
    fields = (host.read("proc/stat") or "").partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu" or not all(text.isdigit() for text in fields[1:9]):
        return None
    user, nice, system, _, _, irq, softirq, steal = (int(text) for text in fields[1:9])
    return user + nice + system + irq + softirq, steal


def _threads(environ: Mapping[str, str]) -> int:
    text = environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(text) if text.isdigit() else 0


def _has_mallopt() -> bool:
    try:
        return hasattr(ctypes.CDLL(None), "mallopt")
    except OSError:
        return False


def _folder(path: Path) -> Folder:
    """Try to write, rather than to read permissions: root and read-only mounts fool those."""
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    probe = place / f".nbbench-doctor-{os.getpid()}"
    writable = False
    with contextlib.suppress(OSError):
        probe.touch(exist_ok=False)
        writable = True
        probe.unlink()
    free = None
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(place).free
    return Folder(str(path), writable, free)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("asv", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _asv_machines(environ: Mapping[str, str]) -> tuple[str, ...]:
    home = Path(environ.get("HOME") or Path.home())
    try:
        known = json.loads((home / ".asv-machine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(sorted(name for name in known if name != "version")) if isinstance(known, dict) else ()


def _branch_exists(places: Places) -> bool | None:
    if not places.subject_git.is_dir():
        return None
    reference = f"refs/heads/{places.branch}^{{commit}}"
    return _git(f"--git-dir={places.subject_git}", "rev-parse", "--verify", "--quiet", reference) is not None
