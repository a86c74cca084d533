"""A plan item's criteria as a table, and the attempt entry for the plan's log."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from nbbench.history.ledger_series import ANY_MACHINE
from nbbench.model import Flag, NotJudged
from nbbench.plan.plan import CriterionState, PlanMeasured, PlanVerdict
from nbbench.plan.plans import Criterion, Measured, Plan
from nbbench.report import events
from nbbench.report.blocks import Block, Bullets, Head, Item, Table, Title
from nbbench.report.not_judged import not_judged_counts
from nbbench.report.run_view import disturbances, failures
from nbbench.units import format_seconds, format_value
from nbbench.words import clean, day, plural

_NOTHING = "—"


def plan_blocks(
    plan: Plan,
    states: Sequence[CriterionState],
    machine: str,
    now: datetime,
    measured: PlanMeasured | None = None,
) -> list[Block]:
    """The headline, what was measured for it just now, the table; how values came about and what is wrong."""
    headers = (
        *("criterion", "what", "spec", "tests", "ours", "newest", "interval", "age", "commit", "machine"),
        *("verdict", "evidence"),
    )
    at = f" at {measured.commit.short}" if measured else ""
    rows = [_cells(state, now) for state in states]
    blocks: list[Block] = [
        Title(f"{plan.id} {plan.title}{at}: {headline(states)}; measured on {_places(states, machine)}"),
        *(_measured_blocks(measured) if measured else ()),
        Table(headers, rows, right=(2, 3, 4, 5, 6, 7), codes=(8,), spare=(9, 11, 7, 1)),
    ]
    if lines := [f"{state.criterion.id}: {text}" for state in states if (text := _about(state))]:
        blocks.append("\n".join(lines))
    if evidence := _evidence(states):
        blocks.append(Table(("evidence", "state"), evidence))
    return blocks


def plan_rows(states: Sequence[CriterionState], now: datetime) -> list[tuple[str, ...]]:
    """The table's rows; behind each the path of its evidence, and how its value came about."""
    return [(*_cells(state, now), state.folder, _about(state)) for state in states]


def _measured_blocks(measured: PlanMeasured) -> list[Block]:
    """What was lost, what ran, what failed, and what nothing here can answer."""
    then = {one.criterion.id: one.found.commit[:8] for one in measured.before if one.found}
    told = (("LOST", measured.lost, "is missed now"), ("not known", measured.unjudged, "nobody knows of now"))
    lines = [
        f"{word}: {state.criterion.id}, which was met at {then[state.criterion.id]} and {what}"
        for word, states, what in told
        for state in states
    ]
    series = sum(len(step.series) for step in measured.steps)
    spent = sum(record.wall_s for record in measured.records)
    ran = f"measured just now: {plural(series, 'series', 'series')} in {format_seconds(spent)}"
    lines.append(ran if series else "nothing was left to measure here")
    failed = failures(measured.results, measured.records)
    lines += [f"failed: {what}: {clean(why)}" for _, what, why in failed]
    lines += [f"disturbed: {line}" for line in disturbances(measured.records)]
    reasons: dict[str, list[str]] = {}
    for name, why in measured.left_out.items():
        reasons.setdefault(why, []).append(name)
    lines += [f"left out: {', '.join(names)}: {clean(why)}" for why, names in reasons.items()]
    return [Bullets(lines)]


def measured_payload(measured: PlanMeasured) -> dict[str, Any]:
    """What a plan's measuring brought, for `--json`."""
    failed = failures(measured.results, measured.records)
    return {
        "commit": measured.commit.hash,
        "series": [text for step in measured.steps for text in step.series],
        "lost": [state.criterion.id for state in measured.lost],
        "not_known_now": [state.criterion.id for state in measured.unjudged],
        "left_out": dict(measured.left_out),
        "failures": [{"what": what, "error": error} for _, what, error in failed],
    }


def attempt_blocks(
    plan: Plan,
    states: Sequence[CriterionState],
    flags: Sequence[Flag],
    not_judged: Sequence[NotJudged],
    now: datetime,
    *,
    machine: str,
    commit: str,
) -> list[Block]:
    """An entry for the plan's log: date, commit, result, metrics, artifacts, regressions, next actions."""
    about = [f"Date: {now:%Y-%m-%d %H:%M} UTC", f"Commit: {commit or 'none was measured'}"]
    about += [f"Machine: {machine}", f"Result: {headline(states)}"]
    about += [f"Not judged: {not_judged_counts(not_judged)}"] if not_judged else []
    metrics = [_metric(state) for state in states if state.found is not None]
    artifacts = [Item(state, about=path) for path, state in _evidence(states)]
    waiting = [flag.event for flag in events.in_reading_order(flags) if events.is_open(flag)]
    regressions = [
        Item(f"{where}: {events.change_text(event)}, cause {event.cause}", about=event.id)
        for event in waiting
        for where in (events.commit_range(event.lo_commit, event.hi_commit),)
    ]
    return [
        Head(f"Attempt {day(now)}: {plan.id} {plan.title}"),
        Bullets(about),
        Bullets(metrics or ["none: nothing was measured"], "Metrics"),
        Bullets(artifacts or ["none (`nbbench export` or `nbbench capture` makes a folder)"], "Artifacts"),
        Bullets(regressions or ["none"], "Open regressions"),
        Bullets(_actions(plan, states, flags), "Next actions"),
    ]


def headline(states: Sequence[CriterionState]) -> str:
    """How many criteria have which verdict, the worst news first."""
    counts = Counter(state.verdict for state in states)
    words = {
        PlanVerdict.MISSES: "missed",
        PlanVerdict.MEETS_TESTS: "met by the tests' threshold only",
        PlanVerdict.CANNOT_TELL: "cannot tell",
        PlanVerdict.STALE: "stale",
        PlanVerdict.NOT_MEASURED: "not measured",
    }
    rest = [f"{counts[verdict]} {word}" for verdict, word in words.items() if counts[verdict]]
    met = f"{counts[PlanVerdict.MEETS]} of {plural(len(states), 'criterion', 'criteria')} met"
    return "; ".join([met, *rest])


def _places(states: Sequence[CriterionState], machine: str) -> str:
    """The machine that was asked for, and how many values are of which other one."""
    counts = Counter(state.found.machine for state in states if state.found and state.found.machine)
    others = (f"{count} on {name}" for name, count in counts.items() if name not in (machine, ANY_MACHINE))
    return ", ".join([machine, *others])


def _cells(state: CriterionState, now: datetime) -> tuple[str, ...]:
    criterion, found = state.criterion, state.found
    spec, asserts, ours = (_limit(criterion, x) for x in (criterion.spec, criterion.asserts, criterion.ours))
    evidence = state.folder or (found.source if found else "")
    name = evidence.rsplit("/", 1)[-1]
    return (
        criterion.id,
        criterion.title,
        "documented" if criterion.document else spec,
        asserts,
        ours,
        _value(criterion, found.value if found else None),
        _interval(criterion, found) if found else _NOTHING,
        _age(now - found.measured_at) if found and found.measured_at else _NOTHING,
        found.commit[:8] or _NOTHING if found else _NOTHING,
        found.machine or _NOTHING if found else _NOTHING,
        _verdict(state),
        f"{name} (changed)" if found and found.damaged else name or _NOTHING,
    )


def _interval(criterion: Criterion, found: Measured) -> str:
    """Where the true value lies; an exact one has no interval."""
    if found.lo == found.hi:
        return "exact"
    return f"{_value(criterion, found.lo)} to {_value(criterion, found.hi)}"


def _verdict(state: CriterionState) -> str:
    return f"{state.verdict} ({state.would_be})" if state.would_be else str(state.verdict)


def _limit(criterion: Criterion, limit: float | None) -> str:
    if limit is None:
        return _NOTHING
    sign = "≤" if criterion.op == "<=" else "≥"
    return f"{sign} {_value(criterion, limit)}"


def _value(criterion: Criterion, value: float | None) -> str:
    if value is None:
        return _NOTHING
    return format_value(value, "" if criterion.figure else criterion.unit)


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    if hours < 1:
        return f"{max(0, round(hours * 60))} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"


def _about(state: CriterionState) -> str:
    derived = state.found.derived if state.found else ""
    return "; ".join([f"derived: {derived}"] * bool(derived) + list(state.notes)).replace("`", "")


def _evidence(states: Sequence[CriterionState]) -> list[tuple[str, str]]:
    """What the verdicts rest on, and in which state it is: folders, documents, files of results."""
    found = [state.found for state in states if state.found]
    rows = {one.folder: "changed, do not quote it" if one.damaged else "whole" for one in found if one.folder}
    rows |= {state.document: "document" for state in states if state.document}
    rows |= {one.source: "benchmark results" for one in found if one.source and not one.folder}
    return list(rows.items())


def _metric(state: CriterionState) -> str:
    criterion, found = state.criterion, state.found
    assert found is not None
    named = (("spec", criterion.spec), ("tests", criterion.asserts), ("ours", criterion.ours))
    limits = ", ".join(f"{name} {_limit(criterion, limit)}" for name, limit in named if limit is not None)
    value = f"{criterion.title}: {_value(criterion, found.value)} ({limits}) {_verdict(state)}"
    return f"{value}, at {found.commit[:8]}" + (f"; {found.derived}" if found.derived else "")


def _actions(plan: Plan, states: Sequence[CriterionState], flags: Sequence[Flag]) -> list[Item | str]:
    of = {v: [s.criterion for s in states if v in (s.verdict, s.would_be)] for v in PlanVerdict}
    actions: list[Item | str] = [f"{one.id} misses: {one.title}" for one in of[PlanVerdict.MISSES]]
    actions += [f"{one.id} meets only the tests: {one.title}" for one in of[PlanVerdict.MEETS_TESTS]]
    if undecided := sum(events.is_open(flag) for flag in flags):
        decide = f"decide about {plural(undecided, 'open regression')}"
        actions.append(Item(decide, about=f"nbbench regressions --plan {plan.id}"))
    again = {
        PlanVerdict.CANNOT_TELL: "measure anew, more and undisturbed (cannot tell)",
        PlanVerdict.STALE: "measure anew (stale)",
        PlanVerdict.NOT_MEASURED: "measure",
    }
    for verdict, word in again.items():
        if ids := [state.criterion.id for state in states if state.verdict is verdict]:
            actions.append(f"{word}: {', '.join(ids)}")
    return actions or ["none: every criterion is met"]
