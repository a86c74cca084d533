"""What would spoil a measurement here and now, each with a remedy: one table of checks.

A check fails when a measurement is impossible or its record would be wrong. Noise only warns: exact work is
the same on any machine, and the gate measures disturbed pairs again by itself. What a machine does not show
is not held against it.
"""

import ctypes
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from nbbench import units
from nbbench.config import Settings
from nbbench.disturbance import OTHERS_CORES, STEAL_SHARE
from nbbench.errors import NbbenchError
from nbbench.measure import kernel
from nbbench.measure.machine import GOVERNOR, Host, torch_versions
from nbbench.measure.reference import reference_environment
from nbbench.probe.resources import usable_cores, usable_threads
from nbbench.subject.git import git_text
from nbbench.subject.profile import load_profile
from nbbench.subject.repository import open_subject
from nbbench.units import format_bytes

# AT-PERF-003 at 2048² in float64 keeps about 0.5 GiB alive, torch itself 0.25 GiB.
_LEAST_MEMORY = 2 * units.GIB
_LEAST_DISK = 1 * units.GIB
_SWAP_USED = 64 * 1024**2


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One finding; `remedy` is empty when there is nothing to do."""

    name: str
    level: Level
    finding: str
    remedy: str = ""


def _check(
    name: str,
    fact: Any,
    says: Callable[[Any], str],
    bad: Callable[[Any], bool],
    remedy: str,
    level: Level = Level.WARN,
) -> DoctorCheck:
    """One thing to look at: `says` gives the finding, `bad` whether that spoils figures, `remedy` what helps.

    A fact that is None is not visible here, and nothing is said against it.
    """
    if fact is None:
        return DoctorCheck(name, Level.OK, "not visible here")
    spoils = bad(fact)
    return DoctorCheck(name, level if spoils else Level.OK, says(fact), remedy if spoils else "")


def run_checks(
    settings: Settings, environ: Mapping[str, str], *, host: Host | None = None, sample_s: float = 1.0
) -> list[DoctorCheck]:
    """All checks, in the order in which a reader should mend things; looks at others for `sample_s`."""
    return [
        *_programs(),
        _subject(settings),
        *(_folder(path) for path in (settings.results_dir, settings.state_dir)),
        *_machine(settings, host or Host(), sample_s),
        *_reference(settings, environ),
    ]


def worst(checks: Iterable[DoctorCheck]) -> Level:
    """The worst level among `checks`."""
    levels = {check.level for check in checks}
    return next((level for level in (Level.FAIL, Level.WARN) if level in levels), Level.OK)


def _programs() -> tuple[DoctorCheck, ...]:
    """What measuring is done with."""
    version = torch_versions()
    return (
        _check("git", _git_version(), lambda v: v or "git does not run", lambda v: not v,
               "install git", Level.FAIL),
        _check("asv", version.get("asv", ""), lambda v: f"asv {v or 'is not installed'}",
               lambda v: not v.startswith("0.6."), "pip install 'asv==0.6.*'", Level.FAIL),
        _check("torch", version.get("torch", ""), lambda v: f"torch {v or 'is not installed'}",
               lambda v: not v, "pip install torch", Level.FAIL),
    )  # fmt: skip


def _machine(settings: Settings, host: Host, sample_s: float) -> tuple[DoctorCheck, ...]:
    """What the machine does to figures."""
    processors, threads, quota = usable_cores(), usable_threads(settings.threads), host.cpu_quota()
    others, steal = sample_others(sample_s)
    return (
        _check("other load", others, lambda v: f"others use {v:.2f} of {processors} processors",
               lambda v: v > OTHERS_CORES, "end or pause them, or measure at another hour"),
        _check("steal", steal, lambda v: f"the hypervisor takes {v * 100:.1f} % of the time",
               lambda v: v > STEAL_SHARE,
               "use a dedicated host or another instance; trust the ledger meanwhile"),
        _check("threads", threads, lambda v: f"measuring uses {v} of {processors} processors",
               lambda v: v > processors,
               f"set threads in [tool.nbbench] (or NBBENCH_THREADS) to {processors} or less"),
        # Torch counts processors, not quota: above it, threads are stopped in mid-run.
        _check("cpu quota", quota, lambda v: f"processors: {v:g} for the control group, {threads} measure",
               lambda v: v < threads, f"set threads to {max(1, int(quota or 1))}, or raise the quota"),
        # A clock that follows temperature and load changes every time.
        _check("governor", host.read(GOVERNOR), lambda v: f"the frequency governor is {v}",
               lambda v: v != "performance", "cpupower frequency-set -g performance"),
        # Swapping and reclaim look like regressions of the allocator.
        _check("memory", psutil.virtual_memory().available, lambda v: f"{format_bytes(v)} available",
               lambda v: v < _LEAST_MEMORY, "free memory, or leave the largest sizes out"),
        _check("swap", psutil.swap_memory().used, lambda v: f"{format_bytes(v)} in use",
               lambda v: v > _SWAP_USED, "end what uses memory, then swapoff -a and swapon -a"),
        # With `always`, page faults depend on how fragmented memory happens to be.
        _check("huge pages", host.hugepages(), lambda v: f"transparent huge pages: {v}",
               lambda v: v == "always", "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
        _check("libc", platform.libc_ver()[0], lambda v: v or "another C library than glibc",
               lambda v: v != "glibc" or not hasattr(ctypes.CDLL(None), "mallopt"),
               "expect no allocator cause in verdicts, or measure on a glibc system"),
    )  # fmt: skip


def _subject(settings: Settings) -> DoctorCheck:
    """Without a registered subject and its branch there is nothing to measure."""
    if not settings.subject_git.is_dir():
        remedy = "register one: nbbench subject demo, or nbbench subject use PATH|URL"
        return DoctorCheck("subject", Level.FAIL, "no subject is registered", remedy)
    try:
        reference = f"refs/heads/{settings.branch}^{{commit}}"
        git_text(settings.subject_git, ["rev-parse", "--verify", "--quiet", reference], timeout_s=20)
    except NbbenchError:
        remedy = "set branch in [tool.nbbench], or register another subject"
        return DoctorCheck("subject", Level.FAIL, f"the subject has no branch {settings.branch}", remedy)
    try:
        open_subject(settings)
    except NbbenchError as error:  # its clone is gone or shallow, say
        return DoctorCheck("subject", Level.FAIL, str(error), error.hint)
    return DoctorCheck("subject", Level.OK, f"branch {settings.branch}")


def _folder(path: Path) -> DoctorCheck:
    """Results and state must be writable, with room for a run.

    The folder, or the nearest one above it, is written to: root and read-only mounts fool permissions.
    """
    name, place = f"folder {path.name}", next(one for one in (path, *path.parents) if one.exists())
    probe = place / f".nbbench-doctor-{os.getpid()}"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
        free = shutil.disk_usage(place).free
    except OSError:
        remedy = "change its permissions, or free the place if a file stands there"
        return DoctorCheck(name, Level.FAIL, f"{path} cannot be written", remedy)
    finding = f"{path}: {format_bytes(free)} free"
    if free < _LEAST_DISK:
        return DoctorCheck(name, Level.FAIL, finding, "free at least 1 GiB")
    return DoctorCheck(name, Level.OK, finding)


def _reference(settings: Settings, environ: Mapping[str, str]) -> list[DoctorCheck]:
    """Criteria against another program can only be judged with it."""
    if (asked := load_profile(settings).reference) is None:
        return []
    name, named = asked.variable, {**environ, **reference_environment(settings, environ)}
    if not (path := named.get(asked.variable, "")):
        finding = "not set: criteria against this program stay open"
        remedy = f"nbbench subject c-reference build, or export {name}=PATH"
        return [DoctorCheck(name, Level.WARN, finding, remedy)]
    if not (Path(path).is_file() and os.access(path, os.X_OK)):
        finding = f"{path} is not an executable file"
        return [DoctorCheck(name, Level.FAIL, finding, f"correct {name}, or unset it")]
    return [DoctorCheck(name, Level.OK, path)]


def sample_others(seconds: float) -> tuple[float, float]:
    """Processors used by others, and the share of all time stolen, while this process sleeps."""
    before, own_before, start = kernel.machine_times(), sum(os.times()[:4]), time.monotonic()
    time.sleep(seconds)
    after, own = kernel.machine_times(), sum(os.times()[:4]) - own_before
    elapsed = max(time.monotonic() - start, 1e-9)
    others, steal = (now - then for now, then in zip(after, before, strict=True))
    return max(0.0, (others - own) / elapsed), max(0.0, steal / elapsed / (os.cpu_count() or 1))


def _git_version() -> str:
    try:
        return git_text(None, ["--version"], timeout_s=20)
    except NbbenchError:
        return ""
