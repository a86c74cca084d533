"""The view model: model objects as rows of formatted figures, shared by every output.

Each row keeps only text and the few facts that decide order or colour, so that text, Markdown
and the page cannot disagree about a figure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nbbench import units
from nbbench.metrics import change_metric
from nbbench.model import ChangePoint, Commit, Event, Flag, FlagState, GateReport, NotJudged, Outcome, Verdict
from nbbench.words import clean, day, plural

# A reader looks for what still asks for a decision first.
_STATE_RANK = {
    FlagState.CONFIRMED: 0,
    FlagState.DETECTED: 1,
    FlagState.ACKNOWLEDGED: 2,
    FlagState.FIXED: 3,
    FlagState.VERIFIED: 4,
    FlagState.REJECTED: 5,
}
_WORTH_TELLING = 0.001
_NOT_JUDGED_SHOWN = 20
_MEMORY_UNITS = frozenset({"B (exact)"})  # held, not moved
_OPEN = frozenset({FlagState.CONFIRMED, FlagState.DETECTED})
_OUTCOME_RANK = {
    Outcome.REGRESSED: 0,
    Outcome.NOT_COMPARABLE: 1,
    Outcome.INCONCLUSIVE: 2,
    Outcome.ACKNOWLEDGED: 3,
    Outcome.IMPROVED: 4,
    Outcome.UNCHANGED: 5,
}


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One series' share in an event."""

    series: str
    before: str
    after: str
    change: str
    interval: str
    kind: str
    commits: str
    worse: bool
    machine: str
    environment: str
    source: ChangePoint


@dataclass(frozen=True, slots=True)
class FlagRow:
    """One event with its flag; `change` names the largest effects on time and on work."""

    event_id: str
    commits: str
    date: str
    change: str
    time_change: str
    work_change: str
    cause: str
    plan: str
    state: str
    series_count: int
    subject: str
    worse: bool
    is_open: bool
    evidence: tuple[str, ...]
    decisions: tuple[str, ...]
    recovered_by: str
    changes: tuple[ChangeRow, ...]
    reproduce: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RegressionsView:
    """Flags in reading order under one headline."""

    headline: str
    rows: tuple[FlagRow, ...]
    open_count: int
    not_judged: tuple[str, ...] = ()

    @property
    def regressions(self) -> tuple[FlagRow, ...]:
        """The rows that are losses."""
        return tuple(row for row in self.rows if row.worse)

    @property
    def improvements(self) -> tuple[FlagRow, ...]:
        """The rows that are gains."""
        return tuple(row for row in self.rows if not row.worse)


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """The gate's answer for one series."""

    series: str
    outcome: Outcome
    base: str
    head: str
    change: str
    interval: str
    floor: str
    rounds: int
    cause: str
    sentence: str
    reproduce: str


@dataclass(frozen=True, slots=True)
class GateView:
    """A gate report in reading order: regressed, inconclusive, improved, unchanged."""

    base: str
    head: str
    outcome: Outcome
    headline: str
    counts: tuple[tuple[Outcome, int], ...]
    rows: tuple[VerdictRow, ...]
    ledger_columns: tuple[str, ...]
    ledger: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    seed: int
    elapsed: str

    @property
    def counts_line(self) -> str:
        """`1 regressed, 0 inconclusive, 2 improved, 5 unchanged`."""
        return ", ".join(f"{count} {outcome}" for outcome, count in self.counts)


@dataclass(frozen=True, slots=True)
class CommitRow:
    """One commit; `measured` is free text about its results."""

    position: str
    commit: str
    date: str
    tree: str
    measured: str
    subject: str


def commit_range(lo: str, hi: str) -> str:
    """`abcd1234`, or `abcd1234..ef567890` when the culprit lies in an interval."""
    return lo[:8] if lo == hi else f"{lo[:8]}..{hi[:8]}"


def interval(lo: float | None, hi: float | None) -> str:
    """A log-ratio interval as `[+1.0 %, +3.0 %]`; `n/a` when it was not estimated."""
    if lo is None or hi is None or math.isnan(lo) or math.isnan(hi):
        return "n/a"
    return f"[{units.format_change(lo)}, {units.format_change(hi)}]"


def is_time(unit: str) -> bool:
    """True for durations, the unit in which people feel a regression."""
    return unit in ("seconds", "s")


def is_upcast(change: ChangePoint) -> bool:
    """True for bytes that came out wider than asked: their natural level is zero."""
    return change.key.benchmark.endswith("upcast_bytes")


def largest(changes: Iterable[ChangePoint]) -> ChangePoint | None:
    """The change of largest size; the first of equals, so that the answer repeats."""
    found = None
    for change in changes:
        if not math.isnan(change.effect) and (found is None or abs(change.effect) > abs(found.effect)):
            found = change
    return found


def headline_changes(event: Event) -> tuple[ChangePoint | None, ChangePoint | None]:
    """The event's largest changes in time and in exact work, in the event's own direction.

    Work is told by bytes where they moved, else by operations: an upcast from nothing to a few
    bytes is infinitely more, and says less.
    """
    same = [c for c in event.changes if c.worse == event.worse] or list(event.changes)
    exact = [c for c in same if change_metric(c).exact and not is_upcast(c)]
    moved = [c for c in exact if c.unit in ("B/pixel", "B/point") and abs(c.effect) >= _WORTH_TELLING]
    return (
        largest(c for c in same if is_time(c.unit)),
        largest(moved) or largest(c for c in exact if c.unit not in _MEMORY_UNITS),
    )


def change_row(change: ChangePoint) -> ChangeRow:
    """One change point as text; exact counters show no interval because they have no noise."""
    exact = change_metric(change).exact
    return ChangeRow(
        series=clean(change.key.label),
        before=units.format_value(change.before, change.unit),
        after=units.format_value(change.after, change.unit),
        change=units.format_change(change.effect),
        interval="exact" if exact else interval(change.effect_lo, change.effect_hi),
        kind=change.kind,
        commits=commit_range(change.lo_commit, change.hi_commit),
        worse=change.worse,
        machine=clean(change.key.machine),
        environment=clean(change.key.environment),
        source=change,
    )


def reproduce_commands(event: Event) -> tuple[str, ...]:
    """Commands that show the event again: its explanation, then a fresh gate over its range."""
    lo, hi = event.lo_commit[:12], event.hi_commit[:12]
    return (f"nbbench explain {clean(event.id)}", f"nbbench gate {lo}~1 {hi}")


def flag_row(flag: Flag, now: datetime | None = None) -> FlagRow:
    """One flag as text; with `now`, an acknowledgement past its expiry counts as open again."""
    event = flag.event
    time, work = headline_changes(event)
    time_text = units.format_change(time.effect) if time else ""
    work_text = units.format_change(work.effect) if work else ""
    parts = [f"{name} {text}" for name, text in (("time", time_text), ("work", work_text)) if text]
    state, is_open = _state(flag, now)
    ordered = sorted(event.changes, key=lambda c: (not is_time(c.unit), -abs(c.effect), c.key.label))
    return FlagRow(
        event_id=clean(event.id),
        commits=commit_range(event.lo_commit, event.hi_commit),
        date=day(event.date),
        change=", ".join(parts) or _other_change(event),
        time_change=time_text,
        work_change=work_text,
        cause=str(event.cause),
        plan=clean(flag.plan),
        state=state,
        series_count=len({change.key for change in event.changes}),
        subject=clean(event.subject),
        worse=event.worse,
        is_open=is_open and event.worse,
        evidence=tuple(clean(line) for line in event.evidence),
        decisions=tuple(
            clean(f"{day(d.date)} {d.state} by {d.person}: {d.reason}")
            + (f" (expires {day(d.expires)})" if d.expires else "")
            for d in flag.decisions
        ),
        recovered_by=event.recovered_by[:8] if event.recovered_by else "",
        changes=tuple(change_row(change) for change in ordered),
        reproduce=reproduce_commands(event),
    )


def _other_change(event: Event) -> str:
    """The largest change of an event that moved neither time nor work, named by what moved."""
    same = [c for c in event.changes if c.worse == event.worse] or list(event.changes)
    most = largest(same)
    if most is None:
        return units.format_change(event.effect)
    if most.unit == "bytes":
        return f"peak memory {units.format_change(most.effect)}"
    name = most.key.benchmark.rpartition(".")[2].removeprefix("track_")
    return f"{clean(name.replace('_', ' '))} {units.format_change(most.effect)}"


def regressions_view(
    flags: Sequence[Flag],
    now: datetime | None = None,
    not_judged: Sequence[NotJudged] = (),
    *,
    nothing_judged: bool = False,
) -> RegressionsView:
    """Losses before gains, open before settled, the largest effect first."""

    def order(flag: Flag) -> tuple[bool, int, float, str]:
        size = 0.0 if math.isnan(flag.event.effect) else abs(flag.event.effect)
        return (not flag.event.worse, _STATE_RANK[flag.state], -size, flag.event.id)

    rows = tuple(flag_row(flag, now) for flag in sorted(flags, key=order))
    open_rows = [row for row in rows if row.is_open]
    head = "Nothing could be judged." if nothing_judged else _headline(rows, len(open_rows))
    if not_judged:
        head = f"{head[:-1]}; {plural(len(not_judged), 'series', 'series')} not judged."
    lines = tuple(clean(_not_judged_line(one)) for one in not_judged[:_NOT_JUDGED_SHOWN])
    more = len(not_judged) - len(lines)
    return RegressionsView(head, rows, len(open_rows), (*lines, *([f"and {more} more"] if more > 0 else [])))


def _not_judged_line(one: NotJudged) -> str:
    since = f" since {one.since[:8]}" if one.since else ""
    return f"{one.series}: {one.reason}{since}" + (f" ({one.detail})" if one.detail else "")


def gate_view(report: GateReport) -> GateView:
    """The report's verdicts in reading order, with counts of every outcome."""

    def order(verdict: Verdict) -> tuple[int, float, str]:
        size = abs(verdict.effect) if verdict.effect is not None else 0.0
        return (_OUTCOME_RANK[verdict.outcome], 0.0 if math.isnan(size) else -size, verdict.series)

    counted = Counter(verdict.outcome for verdict in report.verdicts)
    columns = tuple(dict.fromkeys(str(key) for row in report.ledger for key in row))
    plain = [{str(key): value for key, value in row.items()} for row in report.ledger]
    return GateView(
        base=clean(report.base),
        head=clean(report.head),
        outcome=report.outcome,
        headline=f"{str(report.outcome).upper()}: {clean(report.sentence)}",
        counts=tuple(
            (outcome, counted[outcome])
            for outcome in _OUTCOME_RANK
            if counted[outcome] or outcome not in (Outcome.ACKNOWLEDGED, Outcome.NOT_COMPARABLE)
        ),
        rows=tuple(_verdict_row(verdict) for verdict in sorted(report.verdicts, key=order)),
        ledger_columns=columns,
        ledger=tuple(tuple(_cell(row.get(column)) for column in columns) for row in plain),
        notes=tuple(clean(note) for note in report.notes),
        seed=report.seed,
        elapsed=units.format_seconds(report.elapsed_s),
    )


def commit_rows(
    commits: Sequence[Commit], measured: Mapping[str, str] | None = None
) -> tuple[CommitRow, ...]:
    """Commits in the order given; `measured` says by full hash what is known of each."""
    return tuple(
        CommitRow(
            position=str(commit.position) if commit.position else "",
            commit=commit.short,
            date=day(commit.date),
            tree=commit.tree[:8],
            measured=clean((measured or {}).get(commit.hash, "")),
            subject=clean(commit.subject),
        )
        for commit in commits
    )


def _state(flag: Flag, now: datetime | None) -> tuple[str, bool]:
    unrecovered = not flag.event.recovered_by
    expires = flag.decisions[-1].expires if flag.decisions else None
    if flag.state is FlagState.ACKNOWLEDGED and expires and now and expires < now:
        return f"{flag.state} (expired {day(expires)})", unrecovered
    return str(flag.state), unrecovered and flag.state in _OPEN


def _headline(rows: Sequence[FlagRow], open_count: int) -> str:
    losses = [row for row in rows if row.worse]
    gains = len(rows) - len(losses)
    if not rows:
        return "No change is on record."
    head = plural(open_count, "open regression") if open_count else "No open regression"
    settled = len(losses) - open_count
    parts = [plural(settled, "settled or recovered", "settled or recovered")] if settled else []
    parts += [plural(gains, "improvement")] if gains else []
    return "; ".join([head, *parts]) + "."


def _verdict_row(verdict: Verdict) -> VerdictRow:
    return VerdictRow(
        series=clean(verdict.series) or "(all series)",
        outcome=verdict.outcome,
        base=_figure(verdict.base_value, verdict.unit),
        head=_figure(verdict.head_value, verdict.unit),
        change=units.format_change(verdict.effect),
        interval=interval(verdict.effect_lo, verdict.effect_hi),
        floor=f"±{verdict.floor * 100:.3g} %",
        rounds=verdict.rounds,
        cause=str(verdict.cause) if verdict.cause else "",
        sentence=clean(verdict.sentence),
        reproduce=clean(verdict.reproduce),
    )


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else units.format_value(value, unit)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.8g}"
    return clean(str(value))
