"""What would spoil a measurement here and now, each with a remedy: rules over `HostFacts`, without I/O.

A check fails when a measurement is impossible or its record would be wrong. Noise only warns: exact work is
the same on any machine, and the gate measures disturbed pairs again by itself. What a machine does not show
is not held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from nbbench import units
from nbbench.disturbance import OTHERS_CORES, STEAL_SHARE, WAITED_SHARE
from nbbench.measure.doctor_facts import CheckedFolder, HostFacts, Program
from nbbench.units import format_bytes, format_seconds

# AT-PERF-003 at 2048² in float64 keeps about 0.5 GiB alive, torch itself 0.25 GiB.
_LEAST_MEMORY = 2 * units.GIB
_LEAST_DISK = 1 * units.GIB
_SWAP_USED = 64 * 1024**2
_TIMER_S = 1e-6
_FAST_CLOCKS = frozenset({"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen", ""})
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
class DoctorCheck:
    """One finding; `remedy` is empty when there is nothing to do."""

    name: str
    level: Level
    finding: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing to look at: `says` gives the finding, `bad` whether that spoils figures, `remedy` what helps.

    `fact` names the fact that it may miss: where that is None, it is not visible here and nothing is said
    against it. `hidden` are other words for that.
    """

    name: str
    fact: str
    says: Callable[[HostFacts], str]
    bad: Callable[[HostFacts], bool]
    remedy: Callable[[HostFacts], str]
    level: Level = Level.WARN
    hidden: str = "not visible here"

    def check(self, facts: HostFacts) -> DoctorCheck:
        """The rule's finding on these facts."""
        if self.fact and getattr(facts, self.fact) is None:
            return DoctorCheck(self.name, Level.OK, self.hidden)
        if self.bad(facts):
            return DoctorCheck(self.name, self.level, self.says(facts), self.remedy(facts))
        return DoctorCheck(self.name, Level.OK, self.says(facts))


def run_checks(facts: HostFacts) -> list[DoctorCheck]:
    """All checks, in the order in which a reader should mend things."""
    first, rest = _RULES[:_BEFORE_FOLDERS], _RULES[_BEFORE_FOLDERS:]
    return [
        *(rule.check(facts) for rule in first),
        _subject(facts),
        *(_folder(folder) for folder in facts.folders),
        *(rule.check(facts) for rule in rest),
        *(_program(program) for program in facts.programs),
    ]


def worst(checks: Iterable[DoctorCheck]) -> Level:
    """The worst level among `checks`."""
    levels = {check.level for check in checks}
    return next((level for level in (Level.FAIL, Level.WARN) if level in levels), Level.OK)


def _subject(facts: HostFacts) -> DoctorCheck:
    """Without a registered subject and its branch there is nothing to measure."""
    if not facts.subject_exists:
        remedy = "register one: nbbench subject demo, or nbbench subject use PATH|URL"
        return DoctorCheck("subject", Level.FAIL, "no subject is registered", remedy)
    if not facts.branch_exists:
        remedy = "set branch in [tool.nbbench], or register another subject"
        return DoctorCheck("subject", Level.FAIL, f"the subject has no branch {facts.branch}", remedy)
    problem, remedy = facts.subject_problem
    if problem:
        return DoctorCheck("subject", Level.FAIL, problem, remedy)
    return DoctorCheck("subject", Level.OK, f"branch {facts.branch}")


def _folder(folder: CheckedFolder) -> DoctorCheck:
    """Results and state must be writable, with room for a run."""
    name = f"folder {PurePath(folder.path).name}"
    if not folder.writable:
        remedy = "change its permissions, or free the place if a file stands there"
        return DoctorCheck(name, Level.FAIL, f"{folder.path} cannot be written", remedy)
    if folder.free_bytes is None:
        return DoctorCheck(name, Level.OK, folder.path)
    finding = f"{folder.path}: {format_bytes(folder.free_bytes)} free"
    if folder.free_bytes < _LEAST_DISK:
        return DoctorCheck(name, Level.FAIL, finding, "free at least 1 GiB")
    return DoctorCheck(name, Level.OK, finding)


def _program(program: Program) -> DoctorCheck:
    """Criteria against another program can only be judged with it."""
    name = program.variable
    if not program.path:
        finding = "not set: criteria against this program stay open"
        return DoctorCheck(name, Level.WARN, finding, f"export {name}=PATH")
    if not program.runs:
        finding = f"{program.path} is not an executable file"
        return DoctorCheck(name, Level.FAIL, finding, f"correct {name}, or unset it")
    return DoctorCheck(name, Level.OK, program.path)


def _others(facts: HostFacts) -> str:
    load = "" if facts.load_one is None else f", load average {facts.load_one:.2f}"
    return f"others use {facts.others or 0.0:.2f} of {facts.processors} processors{load}"


def _crowded(facts: HostFacts) -> bool:
    """Whether threads share cores although each could have one."""
    return bool(facts.smt) and (facts.physical_cores or 0) < facts.threads <= facts.processors


def _cores(facts: HostFacts) -> str:
    if _crowded(facts):
        return f"{facts.threads} threads share {facts.physical_cores} cores"
    return f"{facts.physical_cores} cores, SMT {'on' if facts.smt else 'off'}"


def _spin(facts: HostFacts) -> str:
    found = facts.spin
    if found is None or not found.loops:
        return "the loop could not be timed"
    return f"a fixed loop varies by {found.cv * 100:.1f} %, worst {found.worst:.1f}× its median"


_RULES = (
    Rule("git", "", lambda f: f.git or "git does not run", lambda f: not f.git,
         lambda f: "install git", Level.FAIL),
    Rule("asv", "", lambda f: f"asv {f.versions.get('asv') or 'is not installed'}",
         lambda f: not f.versions.get("asv", "").startswith("0.6."),
         lambda f: "pip install 'asv==0.6.*'", Level.FAIL),
    Rule("torch", "", lambda f: f"torch {f.versions.get('torch') or 'is not installed'}",
         lambda f: "torch" not in f.versions, lambda f: "pip install torch", Level.FAIL),
    Rule("clock", "", lambda f: f"{f.now:%Y-%m-%d %H:%M} UTC", lambda f: f.now.year < _FIRST_YEAR,
         lambda f: "set the clock (timedatectl set-ntp true)", Level.FAIL),
    Rule("asv machine", "",
         lambda f: f"{f.machine} ({'known' if f.machine in f.asv_machines else 'not known'} to asv)",
         lambda f: f.machine not in f.asv_machines,
         lambda f: "nbbench run adds it by itself; before a plain asv run: "
                   f"asv machine --yes --machine {f.machine}"),
    Rule("other load", "others", _others, lambda f: (f.others or 0.0) > OTHERS_CORES,
         lambda f: "end or pause them, or measure at another hour"),
    Rule("steal", "steal", lambda f: f"the hypervisor takes {(f.steal or 0) * 100:.1f} % of the time",
         lambda f: (f.steal or 0) > STEAL_SHARE,
         lambda f: "use a dedicated host or another instance; trust the ledger meanwhile"),
    Rule("cpu pressure", "pressure",
         lambda f: f"processes waited for a processor {(f.pressure or 0) * 100:.1f} % of the last 10 s",
         lambda f: (f.pressure or 0) > WAITED_SHARE, lambda f: "let running work end first"),
    Rule("threads", "", lambda f: f"measuring uses {f.threads} of {f.processors} processors",
         lambda f: f.threads > f.processors,
         lambda f: f"set threads in [tool.nbbench] (or NBBENCH_THREADS) to {f.processors} or less"),
    Rule("smt", "physical_cores", _cores, _crowded,
         lambda f: f"set threads to {f.physical_cores}, or switch SMT off "
                   "(echo off > /sys/devices/system/cpu/smt/control)"),
    # Torch counts processors, not quota: above it, threads are stopped in mid-run.
    Rule("cpu quota", "quota",
         lambda f: f"the control group may use {f.quota:g} processors, measuring {f.threads}",
         lambda f: (f.quota or 0) < f.threads,
         lambda f: f"set threads to {max(1, int(f.quota or 1))}, or raise the quota", hidden="none"),
    # A clock that follows temperature and load changes every time.
    Rule("governor", "governor", lambda f: f"the frequency governor is {f.governor}",
         lambda f: f.governor != "performance", lambda f: "cpupower frequency-set -g performance"),
    Rule("turbo", "turbo", lambda f: "the clock may rise above its nominal frequency" if f.turbo else "off",
         lambda f: bool(f.turbo),
         lambda f: "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo "
                   "(AMD: echo 0 > …/cpu/cpufreq/boost)"),
    # Swapping and reclaim look like regressions of the allocator.
    Rule("memory", "memory_available", lambda f: f"{format_bytes(f.memory_available or 0)} available",
         lambda f: (f.memory_available or 0) < _LEAST_MEMORY,
         lambda f: "free memory, or leave the largest sizes out"),
    Rule("swap", "swap_used", lambda f: f"{format_bytes(f.swap_used or 0)} in use",
         lambda f: (f.swap_used or 0) > _SWAP_USED,
         lambda f: "end what uses memory, then swapoff -a and swapon -a", hidden="not in use"),
    # With `always`, page faults depend on how fragmented memory happens to be.
    Rule("huge pages", "hugepages", lambda f: f"transparent huge pages: {f.hugepages}",
         lambda f: f.hugepages == "always",
         lambda f: "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
    Rule("libc", "", lambda f: f.libc or "another C library than glibc",
         lambda f: f.libc != "glibc" or not f.mallopt,
         lambda f: "expect no allocator cause in verdicts, or measure on a glibc system"),
    Rule("timer", "",
         lambda f: f"resolution {format_seconds(f.timer_resolution_s)}, "
                   f"clock source {f.clock_source or 'unknown'}",
         lambda f: f.timer_resolution_s > _TIMER_S or (f.clock_source or "") not in _FAST_CLOCKS,
         lambda f: "raise the benchmarks' number, so that one sample takes longer"
         if f.timer_resolution_s > _TIMER_S else "boot with clocksource=tsc if the processor allows"),
    Rule("micro-noise", "", _spin,
         lambda f: f.spin is None or not f.spin.loops or f.spin.cv > _SPIN_CV or f.spin.worst > _SPIN_WORST,
         lambda f: "expect wide intervals: more rounds, or a quieter machine; run nbbench doctor again"),
)  # fmt: skip
_BEFORE_FOLDERS = 3
