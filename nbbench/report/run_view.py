"""The view of one occasion of measuring: what ran, what failed, what disturbed it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nbbench import units
from nbbench.disturbance import DisturbedBy, disturbance_of
from nbbench.model import Commit, ProcessRecord, Result, Status
from nbbench.words import clean, day, plural

_MANY = 20  # commits: from here on a run's cost is a question
_WRAPPER = "SubjectBroken: "
_WORKLOAD = re.compile(r"^[a-z_]+-[\w-]+: ")


@dataclass(frozen=True, slots=True)
class RunRow:
    """What became of one commit."""

    commit: str
    date: str
    ok: int
    failed: int
    skipped: int
    duration: str
    subject: str


@dataclass(frozen=True, slots=True)
class FailureRow:
    """A benchmark that did not give a figure, with the end of its error output."""

    commit: str
    what: str
    error: str


@dataclass(frozen=True, slots=True)
class RunView:
    """One run in one headline, a row for each commit, and what went wrong."""

    headline: str
    rows: tuple[RunRow, ...]
    failures: tuple[FailureRow, ...]
    disturbances: tuple[str, ...]
    notes: tuple[str, ...]


def run_view(
    results: Sequence[Result],
    *,
    records: Sequence[ProcessRecord] = (),
    commits: Sequence[Commit] = (),
    elapsed_s: float | None = None,
    notes: Sequence[str] = (),
    machine: str = "",
) -> RunView:
    """Summarise `results` of one machine by commit, in the order of `commits` and then of appearance.

    `records` is the telemetry of the same run: it names the errors and the disturbances.
    """
    known = {commit.hash: commit for commit in commits}
    seen = dict.fromkeys([*known, *(result.commit for result in results)])
    by_commit: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_commit[result.commit].append(result)
    rows = [_row(commit, known.get(commit), by_commit[commit]) for commit in seen if commit in by_commit]
    counts = Counter(result.status for result in results)
    return RunView(
        headline=_headline(len(rows), counts, elapsed_s, machine),
        rows=tuple(rows),
        failures=_failures(results, records),
        disturbances=_disturbances(records),
        notes=tuple(clean(note) for note in notes),
    )


def _row(commit: str, known: Commit | None, mine: Sequence[Result]) -> RunRow:
    counts = Counter(result.status for result in mine)
    durations = [result.duration_s for result in mine if result.duration_s is not None]
    return RunRow(
        commit=commit[:8],
        date=day(known.date) if known else "",
        ok=counts[Status.OK],
        failed=counts[Status.FAILED],
        skipped=counts[Status.SKIPPED],
        duration=units.format_seconds(sum(durations)) if durations else "",
        subject=clean(known.subject) if known else "",
    )


def run_plan_text(
    machine: str, commits: int, expected_s: float | None, *, again: bool = False, in_order: bool = False
) -> str:
    """What is about to be measured, in which order, and about how long it takes (`expected_s`, if known)."""
    way = "in a drawn order" if again else "newest first, then all over the range"
    cost = f", about {units.format_seconds(expected_s)} if none is measured yet" if expected_s else ""
    fewer = "" if commits <= _MANY else " (--limit N measures fewer)"
    order = "" if in_order else f"{way}; "
    return (
        f"measuring {plural(commits, 'commit')} on {machine}{cost}{fewer}: {order}interrupt at any time, "
        "repeat to resume"
    )


def run_payload(
    view: RunView, results: Sequence[Result], machine: str, commits: Sequence[Commit], elapsed_s: float
) -> dict[str, Any]:
    """The JSON document of one run: figures by commit, failures with their reasons, disturbances."""
    by_commit = {
        commit.hash: Counter(r.status for r in results if r.commit == commit.hash) for commit in commits
    }
    return {
        "machine": machine,
        "commits": [
            {"hash": c.hash, "position": c.position, **{str(s): by_commit[c.hash][s] for s in Status}}
            for c in commits
        ],
        "failures": list(view.failures),
        "disturbances": list(view.disturbances),
        "elapsed_s": elapsed_s,
    }


def _headline(commits: int, counts: Counter[Status], elapsed_s: float | None, machine: str) -> str:
    where = f" on {clean(machine)}" if machine else ""
    if not counts:
        return f"Nothing was measured{where}."
    shown = [status for status in Status if counts[status] or status is Status.OK]
    kinds = ", ".join(f"{counts[status]} {status}" for status in shown)
    text = f"{plural(commits, 'commit')} measured{where}: {kinds}"
    if elapsed_s:
        text += f", in {units.format_seconds(elapsed_s)} ({commits * 3600 / elapsed_s:.3g} commits an hour)"
    return text + "."


def _failures(results: Sequence[Result], records: Sequence[ProcessRecord]) -> tuple[FailureRow, ...]:
    """One row for each commit and reason: a broken commit fails dozens of benchmarks alike."""
    errors: dict[tuple[str, str], str] = {}
    for record in records:
        if record.exit_code != 0 or record.timed_out:
            errors.setdefault((record.commit, record.benchmark), _error(record))
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    failed = set()
    for result in results:
        if result.status is Status.FAILED:
            failed.add((result.commit, result.key.benchmark))
            error = errors.get((result.commit, result.key.benchmark), "no error output was kept")
            grouped[(result.commit, error)].append(clean(result.key.label))
    # A process can die outside any benchmark (discovery, setup_cache): that has no result row.
    for (commit, benchmark), error in errors.items():
        if (commit, benchmark) not in failed:
            grouped[(commit, error)].append(clean(benchmark) or "(no benchmark)")
    return tuple(
        FailureRow(commit[:8], what[0] + (f" and {len(what) - 1} more" if len(what) > 1 else ""), error)
        for (commit, error), what in grouped.items()
    )


def _error(record: ProcessRecord) -> str:
    if record.timed_out:
        return f"timed out after {units.format_seconds(record.wall_s)}"
    lines = [clean(line) for line in record.stderr_tail.splitlines() if line.strip()]
    if not lines:
        return f"exit code {record.exit_code}"
    # The suite's own wrapper and the workload's name say nothing that the row does not say.
    _, wrapped, reason = lines[-1].partition(_WRAPPER)
    return _WORKLOAD.sub("", reason) if wrapped else lines[-1]


def _disturbances(records: Sequence[ProcessRecord]) -> tuple[str, ...]:
    """What disturbed the benchmark processes, a line for each sign that is above its limit."""
    found = [(one, record) for record in records if (one := disturbance_of(record)) is not None]
    lines = []
    for sign, what in (
        (DisturbedBy.WAITED, "waited for a core"),
        (DisturbedBy.OTHERS, "shared the machine with other work"),
        (DisturbedBy.STEAL, "lost time to the hypervisor"),
    ):
        above = [(one.size(sign), record) for one, record in found if sign in one.causes]
        if above:
            most, worst = max(above, key=lambda pair: pair[0])
            lines.append(
                f"{len(above)} of {len(found)} processes {what}; worst: {clean(worst.benchmark)} at "
                f"{worst.commit[:8]}, {most:.2g} processors taken"
            )
    return tuple(lines)
