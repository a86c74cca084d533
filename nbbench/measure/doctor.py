"""What would spoil a measurement here and now, each with a remedy; pure functions of `Facts`.

A check fails when a measurement is impossible or its record would be wrong; noise only warns,
because the ledger is exact on any machine and the gate repeats contended rounds by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from nbbench.measure.doctor_facts import Facts, Folder
from nbbench.units import format_bytes, format_seconds

_GIB = 1024**3
# One tenth of a processor moves a 30 ms benchmark by a few per cent on two cores.
_OTHERS = 0.10
_STEAL = 0.01
_PRESSURE = 0.05
# AT-PERF-003 at 2048² in float64 keeps about 0.5 GiB alive, torch itself 0.25 GiB.
_MIN_MEMORY = 2 * _GIB
_MIN_DISK = 1 * _GIB
_SWAP_USED = 64 * 1024**2
_TIMER_S = 1e-6
_FAST_CLOCKS = frozenset({"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen"})
# A quiet laptop gives about 2 % and 1.5×; hosted runners twice that.
_SPIN_CV = 0.10
_SPIN_WORST = 3.0
_FIRST_YEAR = 2024  # before this project existed: a machine that lost its clock


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `remedy` is empty when there is nothing to do."""

    name: str
    level: Level
    finding: str
    remedy: str = ""


def run_checks(facts: Facts) -> list[Check]:
    """All checks, in the order in which a reader should mend things."""
    checks: list[Check] = []
    for check in _CHECKS:
        found = check(facts)
        checks += [found] if isinstance(found, Check) else found
    return checks


def worst(checks: Iterable[Check]) -> Level:
    """The worst level among `checks`."""
    levels = {check.level for check in checks}
    return next((level for level in (Level.FAIL, Level.WARN) if level in levels), Level.OK)


def check_git(facts: Facts) -> Check:
    """Commits are read and extracted with git."""
    if facts.git is None:
        return _fail("git", "git does not run", "install git")
    return _ok("git", facts.git)


def check_packages(facts: Facts) -> list[Check]:
    """asv's internals are used, so its minor version is pinned."""
    asv = facts.versions.get("asv")
    torch = facts.versions.get("torch")
    fits = asv is not None and asv.split(".")[:2] == ["0", "6"]
    return [
        _ok("asv", f"asv {asv}")
        if fits
        else _fail("asv", f"asv {asv}" if asv else "asv is not installed", "pip install 'asv==0.6.*'"),
        _ok("torch", f"torch {torch}")
        if torch
        else _fail("torch", "torch is not installed", "pip install torch"),
    ]


def check_subject(facts: Facts) -> Check:
    """Without a registered subject and its branch there is nothing to measure."""
    if not facts.subject_exists:
        remedy = "register one: nbbench subject demo, or nbbench subject use PATH|URL"
        return _fail("subject", "no subject is registered", remedy)
    if not facts.branch_exists:
        remedy = "set branch in [tool.nbbench], or register another subject"
        return _fail("subject", f"the subject has no branch {facts.branch}", remedy)
    return _ok("subject", f"branch {facts.branch}")


def check_folders(facts: Facts) -> list[Check]:
    """Results and state must be writable, with room for a run."""
    return [_folder(folder) for folder in facts.folders]


def check_clock(facts: Facts) -> Check:
    """Stamps and dates come from the clock."""
    year = facts.now.year
    if year < _FIRST_YEAR:
        return _fail(
            "clock", f"the clock says {facts.now:%Y-%m-%d}", "set the clock (timedatectl set-ntp true)"
        )
    return _ok("clock", f"{facts.now:%Y-%m-%d %H:%M} UTC")


def check_asv_machine(facts: Facts) -> Check:
    """A run without a terminal stops at asv's questions about an unknown machine."""
    if facts.machine in facts.asv_machines:
        return _ok("asv machine", facts.machine)
    known = ", ".join(facts.asv_machines) or "none"
    return _warn(
        "asv machine",
        f"asv does not know {facts.machine!r} (known: {known})",
        f"nbbench run adds it by itself; before a plain asv run: asv machine --yes --machine {facts.machine}",
    )


def check_c_binary(facts: Facts) -> Check:
    """Criteria against the C program can only be judged with it."""
    if facts.c_binary is None:
        return _warn("NB_C_BIN", "not set: criteria against the C program stay open", "export NB_C_BIN=PATH")
    if not facts.c_binary_runs:
        return _fail(
            "NB_C_BIN", f"{facts.c_binary} is not an executable file", "correct NB_C_BIN, or unset it"
        )
    return _ok("NB_C_BIN", facts.c_binary)


def check_others(facts: Facts) -> Check:
    """Other processes move every timing."""
    if facts.others is None:
        return _ok("other load", "not visible here")
    load = "" if facts.load_one is None else f", load average {facts.load_one:.2f}"
    finding = f"others use {facts.others:.2f} of {facts.processors} processors{load}"
    if facts.others > _OTHERS:
        return _warn("other load", finding, "end or pause them, or measure at another hour")
    return _ok("other load", finding)


def check_steal(facts: Facts) -> Check:
    """Time that the hypervisor gives to other guests."""
    if facts.steal is None:
        return _ok("steal", "not visible here")
    finding = f"the hypervisor takes {facts.steal * 100:.1f} % of the time"
    remedy = "use a dedicated host or another instance; trust the ledger meanwhile"
    return _warn("steal", finding, remedy) if facts.steal > _STEAL else _ok("steal", finding)


def check_pressure(facts: Facts) -> Check:
    """Processes that wait for a processor, over the last ten seconds."""
    if facts.pressure is None:
        return _ok("cpu pressure", "not visible here")
    finding = f"processes waited for a processor {facts.pressure * 100:.1f} % of the last 10 s"
    bad = facts.pressure > _PRESSURE
    return (
        _warn("cpu pressure", finding, "let running work end first") if bad else _ok("cpu pressure", finding)
    )


def check_threads(facts: Facts) -> list[Check]:
    """More threads than processors, or than cores, fight each other."""
    checks = []
    finding = f"{facts.threads} threads on {facts.processors} processors"
    if facts.threads > facts.processors:
        remedy = f"set threads (or OMP_NUM_THREADS) to {facts.processors} or less"
        checks.append(_warn("threads", finding, remedy))
    else:
        checks.append(_ok("threads", finding))
    if facts.smt is None or facts.physical_cores is None:
        checks.append(_ok("smt", "not visible here"))
    elif facts.smt and facts.physical_cores < facts.threads <= facts.processors:
        switch = "echo off > /sys/devices/system/cpu/smt/control"
        remedy = f"set threads to {facts.physical_cores}, or switch SMT off ({switch})"
        checks.append(_warn("smt", f"{facts.threads} threads share {facts.physical_cores} cores", remedy))
    else:
        checks.append(_ok("smt", f"{facts.physical_cores} cores, SMT {'on' if facts.smt else 'off'}"))
    return checks


def check_quota(facts: Facts) -> Check:
    """Torch counts processors, not quota: above it, threads are stopped in mid-run."""
    if facts.quota is None or facts.quota >= facts.processors:
        return _ok("cpu quota", "none" if facts.quota is None else f"{facts.quota:g} processors")
    finding = f"the control group may use {facts.quota:g} of {facts.processors} processors"
    return _warn("cpu quota", finding, f"set threads to {max(1, int(facts.quota))}, or raise the quota")


def check_frequency(facts: Facts) -> list[Check]:
    """A clock that follows temperature and load changes every time."""
    checks = [_ok("governor", facts.governor or "not visible here")]
    if facts.governor not in (None, "performance"):
        remedy = "cpupower frequency-set -g performance"
        checks = [_warn("governor", f"the frequency governor is {facts.governor}", remedy)]
    if facts.turbo:
        remedy = "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo (AMD: echo 0 > …/cpu/cpufreq/boost)"
        checks.append(_warn("turbo", "the clock may rise above its nominal frequency", remedy))
    else:
        checks.append(_ok("turbo", "not visible here" if facts.turbo is None else "off"))
    return checks


def check_memory(facts: Facts) -> list[Check]:
    """Swapping and reclaim look like allocator regressions."""
    checks = [_ok("memory", "not visible here")]
    if facts.memory_available is not None:
        finding = f"{format_bytes(facts.memory_available)} available"
        low = facts.memory_available < _MIN_MEMORY
        checks = [
            _warn("memory", finding, "free memory, or leave the largest sizes out")
            if low
            else _ok("memory", finding)
        ]
    if facts.swap_used is not None and facts.swap_used > _SWAP_USED:
        remedy = "end what uses memory, then swapoff -a and swapon -a"
        checks.append(_warn("swap", f"{format_bytes(facts.swap_used)} of swap in use", remedy))
    else:
        checks.append(_ok("swap", "not in use"))
    return checks


def check_hugepages(facts: Facts) -> Check:
    """With `always`, page faults depend on how fragmented memory happens to be."""
    if facts.hugepages == "always":
        remedy = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
        return _warn("huge pages", "transparent huge pages are always on", remedy)
    return _ok("huge pages", facts.hugepages or "not visible here")


def check_libc(facts: Facts) -> Check:
    """Allocator settings (GLIBC_TUNABLES, mallopt) are glibc's own."""
    if facts.libc == "glibc" and facts.mallopt:
        return _ok("libc", "glibc")
    remedy = "expect no allocator cause in verdicts, or measure on a glibc system"
    return _warn("libc", f"{facts.libc or 'another C library'} without glibc's allocator settings", remedy)


def check_timer(facts: Facts) -> Check:
    """A coarse timer, or one that costs a system call."""
    source = facts.clock_source or "unknown"
    finding = f"resolution {format_seconds(facts.timer_resolution_s)}, clock source {source}"
    if facts.timer_resolution_s > _TIMER_S:
        return _warn("timer", finding, "raise the benchmarks' number, so that one sample takes longer")
    if facts.clock_source and facts.clock_source not in _FAST_CLOCKS:
        return _warn("timer", finding, "boot with clocksource=tsc if the processor allows")
    return _ok("timer", finding)


def check_spin(facts: Facts) -> Check:
    """The machine's noise as a fixed loop sees it."""
    if facts.spin is None:
        return _warn("micro-noise", "the loop could not be timed", "run nbbench doctor again")
    finding = f"a fixed loop varies by {facts.spin.cv * 100:.1f} %, worst {facts.spin.worst:.1f}× its median"
    if facts.spin.cv > _SPIN_CV or facts.spin.worst > _SPIN_WORST:
        return _warn("micro-noise", finding, "expect wide intervals: more rounds, or a quieter machine")
    return _ok("micro-noise", finding)


_CHECKS: tuple[Callable[[Facts], Check | list[Check]], ...] = (
    check_git,
    check_packages,
    check_subject,
    check_folders,
    check_clock,
    check_asv_machine,
    check_c_binary,
    check_others,
    check_steal,
    check_pressure,
    check_threads,
    check_quota,
    check_frequency,
    check_memory,
    check_hugepages,
    check_libc,
    check_timer,
    check_spin,
)


def _folder(folder: Folder) -> Check:
    name = f"folder {PurePath(folder.path).name}"
    if not folder.writable:
        remedy = "change its permissions, or free the place if a file stands there"
        return _fail(name, f"{folder.path} cannot be written", remedy)
    if folder.free_bytes is None:
        return _ok(name, folder.path)
    finding = f"{folder.path}: {format_bytes(folder.free_bytes)} free"
    if folder.free_bytes < _MIN_DISK:
        return _fail(name, finding, "free at least 1 GiB")
    return _ok(name, finding)


def _ok(name: str, finding: str) -> Check:
    return Check(name, Level.OK, finding)


def _warn(name: str, finding: str, remedy: str) -> Check:
    return Check(name, Level.WARN, finding, remedy)


def _fail(name: str, finding: str, remedy: str) -> Check:
    return Check(name, Level.FAIL, finding, remedy)
