"""Driving asv: which commits an occasion takes, a machine entry, progress, interrupts, what came of it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from nbbench.config import Settings
from nbbench.errors import HostError, UsageError
from nbbench.measure.kernel import end_with_parent, kept_awake
from nbbench.measure.process_env import asv_process_environment, installed_torch
from nbbench.model import Commit, ProcessRecord, Result, Status
from nbbench.probe.device import on_cuda
from nbbench.record.atomic import write_text
from nbbench.record.projects import machine_name
from nbbench.record.store import Store
from nbbench.subject.profile import load_profile
from nbbench.subject.repository import Subject, describe
from nbbench.subject.selection import select, shuffled, spread
from nbbench.units import format_clock
from nbbench.words import Say, last_line

_COMMIT_LINE = re.compile(r"For .* commit ([0-9a-f]{8})")
_NOTHING_SELECTED = "No benchmarks selected"
_LAST_ERROR = "Last error: "
_PREFIX = re.compile(r"^(\[ *[\d.]+%\])?[ ·]*")  # asv's progress in front of a message


def ensure_machine(settings: Settings) -> str:
    """Make asv know this machine and what it is, without questions; returns its name.

    Raises HostError where its file cannot be written.
    """
    name = machine_name(settings)
    path = Path(os.path.expanduser("~/.asv-machine.json"))  # noqa: PTH111 - as asv: some have no home
    with contextlib.suppress(OSError, ValueError):
        if name in json.loads(path.read_text(encoding="utf-8")):
            return name
    from asv.machine import Machine, MachineCollection  # its command keeps nothing but a name of ours
    from asv.util import UserError

    try:
        MachineCollection.save(name, {**Machine.get_defaults(), "machine": name})
    except (OSError, UserError) as error:
        raise HostError(f"asv cannot keep what this machine is in {path}: {error}") from error
    return name


def run_asv(settings: Settings, arguments: Sequence[str]) -> str:
    """Run an asv command to its end and return what it printed.

    Raises HostError with asv's last line when it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "asv", *arguments],
        cwd=settings.root,
        capture_output=True,
        text=True,
        errors="replace",
        env=asv_process_environment(settings),
    )
    if done.returncode:
        last = last_line(done.stdout + done.stderr, f"exit {done.returncode}")
        raise HostError(f"asv {arguments[0]} failed: {last}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class AsvChoice:
    """What asv runs at a commit.

    Without `bench` those that the subject's profile names run, on a GPU all. What is there already is skipped
    unless `again`, which appends samples; `quick` takes one of each. No process may take `timeout_s`.
    """

    bench: tuple[str, ...] = ()
    again: bool = False
    quick: bool = False
    timeout_s: float | None = None


def measure_commits(
    settings: Settings, commits: Sequence[Commit], choice: AsvChoice, *, show: Say, detail: Say
) -> int:
    """Measure `commits` in the given order with one asv process; returns asv's exit code.

    `show` gets one line a commit, `detail` every line of asv. An interrupt is passed on to asv and re-raised
    after it has ended; finished commits are kept. Raises UsageError when asv selects nothing.
    """
    machine = ensure_machine(settings)
    for path in _set_aside_damaged(settings.results_dir / machine, commits):
        show(f"{path.name} is damaged and was set aside: its commit is measured again")
    # Its place is the project's own: whoever measures holds the lock on it, and a kill leaves no litter.
    hashes = settings.state_dir / "commits.txt"
    hashes.parent.mkdir(parents=True, exist_ok=True)
    write_text(hashes, "".join(f"{c.hash}\n" for c in commits))  # replaces a link, never follows it
    command = [sys.executable, "-m", "asv", "run", f"HASHFILE:{hashes}", "--machine", machine]
    command += ["--append-samples"] if choice.again else ["--skip-existing", "--record-samples"]
    command += ["--quick"] if choice.quick else []
    usual = "" if on_cuda() else load_profile(settings).run_bench
    patterns = choice.bench or ([usual] if usual else [])
    command += [part for pattern in patterns for part in ("--bench", pattern)]
    environment = asv_process_environment(settings)
    if choice.timeout_s:
        # asv's own `--attribute timeout=` reaches only benchmarks that declare none.
        environment["NBBENCH_WATCHDOG_S"] = f"{choice.timeout_s:g}"
    return _follow(command, settings, environment, {c.short: c for c in commits}, show, detail)


def _set_aside_damaged(folder: Path, commits: Sequence[Commit]) -> list[Path]:
    """Rename result files that a full disk left half-written: asv refuses to go on from one."""
    damaged = []
    for path in (p for commit in commits for p in sorted(folder.glob(f"{commit.short}-*.json"))):
        try:
            whole = isinstance(json.loads(path.read_bytes()), dict)
        except (ValueError, RecursionError):
            whole = False
        if not whole:
            path.replace(path.with_name(f"{path.name}.damaged"))
            damaged.append(path)
    return damaged


def _follow(
    command: list[str],
    settings: Settings,
    environment: dict[str, str],
    commits: dict[str, Commit],
    show: Say,
    detail: Say,
) -> int:
    process = subprocess.Popen(
        command,
        cwd=settings.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,  # an interrupt reaches asv once, from here
        preexec_fn=partial(end_with_parent, signal.SIGINT),  # a kill of nbbench: nothing measures on unseen
    )
    progress = _Progress(commits, show)
    last: list[str] = []
    assert process.stdout is not None
    try:
        with kept_awake(process.pid):
            for line in process.stdout:
                last = [*last[-20:], line.rstrip()]
                detail(line.rstrip())
                progress.feed(line)
            code = process.wait()
    except BaseException:
        end_group(process, _LAST_S)
        raise
    if any(_NOTHING_SELECTED in line for line in last):
        raise UsageError("no benchmark matches --bench", hint="`asv run --bench just-discover` lists them")
    if code < 0:
        raise HostError(
            f"asv was ended by signal {-code}", hint="what is finished is kept: run again to resume"
        )
    if code == 1:
        said = [_PREFIX.sub("", line) for line in last]
        # Where no suite could be imported asv's last line says only that; the reason stands before it.
        said += [line.removeprefix(_LAST_ERROR) for line in said if line.startswith(_LAST_ERROR)]
        reason = last_line("\n".join(said), "no message")
        raise HostError(f"asv run failed: {reason}")
    return code


_LAST_S = 5.0
"""Seconds that asv has to end after an interrupt; a budget is kept to within ten (nbbench/budget.py)."""


def end_group(process: subprocess.Popen[Any], limit_s: float) -> None:
    """Interrupt a process with its whole group, which gets so long to end, and make sure that it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Progress:
    """One line when a commit starts: how far, how long, how long still."""

    def __init__(self, commits: dict[str, Commit], show: Say) -> None:
        self._commits, self._show = commits, show
        self._started, self._count = time.monotonic(), 0

    def feed(self, line: str) -> None:
        """Look at one line of asv's output."""
        if (match := _COMMIT_LINE.search(line)) is None:
            return
        spent, done, all_of_them = time.monotonic() - self._started, self._count, len(self._commits)
        left = f", {format_clock(spent / done * (all_of_them - done))} left" if done else ""
        self._count += 1
        commit = self._commits.get(match[1])
        title = f"{commit.date:%Y-%m-%d} {commit.subject[:60]}" if commit else ""
        self._show(f"[{self._count}/{all_of_them}, {format_clock(spent)}{left}] {match[1]} {title}")


@dataclass(frozen=True, slots=True)
class Occasion:
    """What is on record of the asked commits and benchmarks, on this machine and in this environment.

    `ran` are the results of this occasion; the others were there before. `tried` says whether it started a
    process at all: one that was killed leaves no result.
    """

    machine: str
    results: tuple[Result, ...]
    ran: tuple[Result, ...]
    records: tuple[ProcessRecord, ...]
    tried: bool = False

    @property
    def measured(self) -> int:
        """Figures that count: of what ran now, else (all was measured already) of what is there."""
        return sum(result.status is Status.OK for result in self.ran or (() if self.tried else self.results))


def chosen_commits(
    subject: Subject, span: str | None, named: str | None, limit: int | None, *, again: bool
) -> list[Commit]:
    """The commits to measure, in the order of measuring: a range or the branch, spread, or named ones.

    Raises UsageError for a range and names at once, and where there is no commit.
    """
    if named is not None:
        if span is not None:
            raise UsageError("give a RANGE or --commits, not both")
        found = [describe(subject, name.strip()) for name in named.split(",") if name.strip()]
        if not found:
            raise UsageError("--commits names no commit")
        placed = {c.hash: c for c in select(subject, None)}
        return list(dict.fromkeys(placed.get(c.hash, c) for c in found))[:limit]
    commits = select(subject, span)
    # the same N when it is repeated, in another order
    kept = {c.hash for c in spread(commits)[:limit]}
    commits, lots = [c for c in commits if c.hash in kept], Random()  # noqa: S311 -- no secret
    # spread, a machine that is slow at first would meet the same commits in both collections
    return shuffled(commits, lots) if again else spread(commits, lots)


def look_back(
    settings: Settings, store: Store, commits: Sequence[Commit], bench: Sequence[str], began: datetime
) -> Occasion:
    """What became of an occasion that `began` then."""
    machine = machine_name(settings)
    stored = [result for commit in commits for result in store.results(commit=commit.hash)]
    results = _of_this_place(settings, stored, bench)
    # Not by pattern: one that names parameters does not fit the name of a benchmark that was killed.
    others = {r.key.benchmark for r in stored} - {r.key.benchmark for r in results}
    found = [r for c in commits for r in store.process_records(commit=c.hash) if r.machine == machine]
    records = [record for record in found if record.benchmark not in others]
    ran = tuple(r for r in results if r.started_at is not None and r.started_at >= began)
    tried = any(record.started_at >= began for record in found)
    return Occasion(machine, tuple(results), ran, tuple(records), tried)


def measured_here(settings: Settings, result: Result) -> bool:
    """Whether a result is of this machine and environment."""
    # The mark of a GPU stands behind torch's version, so a version alone must end the name, or a part of it.
    environment = f"py{sys.version_info[0]}.{sys.version_info[1]}-torch{installed_torch()}-"
    return result.key.machine == machine_name(settings) and environment in f"{result.key.environment}-"


def _of_this_place(settings: Settings, results: Sequence[Result], bench: Sequence[str]) -> list[Result]:
    """Results of this machine and environment, of benchmarks that asv would choose by these patterns."""
    wanted = [re.compile(text) for text in bench]

    def is_asked(result: Result) -> bool:
        name = f"{result.key.benchmark}({', '.join(value for _, value in result.key.params)})"
        return not wanted or any(p.search(result.key.benchmark) or p.search(name) for p in wanted)

    return [r for r in results if measured_here(settings, r) and is_asked(r)]
