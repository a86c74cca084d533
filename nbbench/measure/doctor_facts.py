"""What `nbbench doctor` looks at, gathered from this machine in about two seconds."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import platform
import re
import shutil
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nbbench.config import Settings
from nbbench.errors import NbbenchError
from nbbench.measure import kernel
from nbbench.measure.machine import Host, hugepages, load_now, torch_versions
from nbbench.probe.resources import usable_cores, usable_threads
from nbbench.record.machines import machine_name
from nbbench.subject.git import git_text
from nbbench.subject.profile import load_profile
from nbbench.subject.repository import open_subject

_SPIN_LOOP_S = 0.001  # long against the timer's resolution, short against a scheduler's slice


@dataclass(frozen=True, slots=True)
class CheckedFolder:
    """A folder (or the nearest one above it that exists): can it be written, is there room?"""

    path: str
    writable: bool
    free_bytes: int | None


@dataclass(frozen=True, slots=True)
class Program:
    """A program that a variable of the environment names ('' where it is not set)."""

    variable: str
    path: str
    runs: bool


@dataclass(frozen=True, slots=True)
class Spin:
    """A fixed loop timed for a second: spread and worst case relative to the median."""

    cv: float
    worst: float
    loops: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One look at the machine; None means that the fact is not to be had. Sizes in bytes.

    `threads` is how many measuring computes with, `others` the processors that others use meanwhile.
    """

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
    swap_used: int | None = None
    hugepages: str | None = None
    clock_source: str | None = None
    timer_resolution_s: float = 1e-9
    spin: Spin | None = None
    libc: str = ""
    mallopt: bool = True
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    folders: tuple[CheckedFolder, ...] = ()
    git: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    asv_machines: tuple[str, ...] = ()
    machine: str = ""
    subject_exists: bool = False
    branch: str = ""
    branch_exists: bool | None = None
    subject_problem: tuple[str, str] = ("", "")  # why the subject cannot be opened, and the remedy
    programs: tuple[Program, ...] = ()


def gather_facts(
    settings: Settings, environ: Mapping[str, str], *, root: Path = Path("/"), sample_s: float = 1.0
) -> HostFacts:
    """Look at this machine; takes about twice `sample_s`, idle first and then in a loop."""
    host = Host(root)
    memory = host.memory()
    others, steal = sample_others(root, sample_s)
    return HostFacts(
        processors=usable_cores(),
        physical_cores=host.physical_cores(),
        smt=host.smt_active(),
        threads=usable_threads(settings.threads),
        load_one=load_now().one,
        others=others,
        steal=steal,
        pressure=pressure(host),
        quota=host.cpu_quota(),
        governor=host.governor(),
        turbo=host.turbo(),
        memory_available=memory.get("MemAvailable"),
        swap_used=memory["SwapTotal"] - memory["SwapFree"] if "SwapFree" in memory else None,
        hugepages=hugepages(host),
        clock_source=host.read("sys/devices/system/clocksource/clocksource0/current_clocksource"),
        timer_resolution_s=time.get_clock_info("perf_counter").resolution,
        spin=spin(sample_s),
        libc=platform.libc_ver()[0],
        mallopt=_has_mallopt(),
        folders=tuple(_folder(path) for path in (settings.results_dir, settings.state_dir)),
        git=_git("--version"),
        versions=torch_versions(),
        asv_machines=_asv_machines(environ),
        machine=machine_name(settings),
        subject_exists=settings.subject_git.is_dir(),
        branch=settings.branch,
        branch_exists=_branch_exists(settings),
        subject_problem=_subject_problem(settings),
        programs=tuple(_program(name, environ.get(name, "")) for name in load_profile(settings).programs),
    )


def sample_others(root: Path, seconds: float) -> tuple[float | None, float | None]:
    """Processors used by others, and the share of all time stolen, while this process sleeps."""
    before, own_before, start = kernel.machine_times(str(root)), sum(os.times()[:4]), time.monotonic()
    time.sleep(seconds)
    after, own, elapsed = (
        kernel.machine_times(str(root)),
        sum(os.times()[:4]) - own_before,
        time.monotonic() - start,
    )
    if not any(before) or not any(after) or elapsed <= 0:
        return None, None
    others, steal = (now - then for now, then in zip(after, before, strict=True))
    return max(0.0, (others - own) / elapsed), max(0.0, steal / elapsed / (os.cpu_count() or 1))


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
    mean, middle = statistics.fmean(times), statistics.median(times)
    return Spin(cv=statistics.stdev(times) / mean, worst=max(times) / middle, loops=len(times))


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


def _has_mallopt() -> bool:
    try:
        return hasattr(ctypes.CDLL(None), "mallopt")
    except OSError:
        return False


def _folder(path: Path) -> CheckedFolder:
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
    return CheckedFolder(str(path), writable, free)


def _program(variable: str, path: str) -> Program:
    return Program(variable, path, bool(path) and Path(path).is_file() and os.access(path, os.X_OK))


def _git(*arguments: str, repository: Path | None = None) -> str | None:
    try:
        return git_text(repository, arguments, timeout_s=20)
    except NbbenchError:
        return None


def _asv_machines(environ: Mapping[str, str]) -> tuple[str, ...]:
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - as asv: some have no home
    try:
        known = json.loads((Path(home) / ".asv-machine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(sorted(name for name in known if name != "version")) if isinstance(known, dict) else ()


def _branch_exists(settings: Settings) -> bool | None:
    if not settings.subject_git.is_dir():
        return None
    reference = f"refs/heads/{settings.branch}^{{commit}}"
    found = _git("rev-parse", "--verify", "--quiet", reference, repository=settings.subject_git)
    return found is not None


def _subject_problem(settings: Settings) -> tuple[str, str]:
    """Why the registered subject cannot be opened (its clone is gone or shallow, say), and the remedy."""
    try:
        open_subject(settings)
    except NbbenchError as error:
        return str(error), error.hint
    return "", ""
