"""A plan item's criteria as a table, and the attempt entry for the plan's log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from nbbench.evidence import FolderState
from nbbench.model import Flag, FlagState
from nbbench.plan.plan import CriterionState, PlanVerdict
from nbbench.plan.plans import Criterion, Plan
from nbbench.report.blocks import Block, Table, Title, as_markdown, as_text
from nbbench.report.markdown import code, escape
from nbbench.report.view import regressions_view
from nbbench.words import day, plural

_NOTHING = "—"


def plan_text(plan: Plan, states: Sequence[CriterionState], now: datetime) -> str:
    """For terminals: the headline, the table, then how values came about and what is wrong."""
    return as_text(_blocks(plan, states, now)) + "\n"


def plan_markdown(plan: Plan, states: Sequence[CriterionState], now: datetime) -> str:
    """The same as Markdown."""
    return as_markdown(_blocks(plan, states, now))


def plans_text(plans: Sequence[Plan]) -> str:
    """The known plans, one a line."""
    rows = [(plan.id, str(len(plan.criteria)), plan.title) for plan in plans]
    return as_text([Table(("plan", "criteria", "title"), rows, right=(1,))]) + "\n"


def attempt_markdown(
    plan: Plan, states: Sequence[CriterionState], flags: Sequence[Flag], now: datetime, commit: str
) -> str:
    """An entry for the plan's log: date, commit, result, metrics, artifacts, regressions, next actions."""
    measured = [state for state in states if state.value is not None]
    lines = [f"### Attempt {day(now)}: {escape(plan.id)} {escape(plan.title)}".rstrip(), ""]
    lines.append(f"- Date: {now:%Y-%m-%d %H:%M} UTC")
    lines.append(f"- Commit: {code(commit) if commit else 'none was measured'}")
    lines.append(f"- Result: {escape(headline(states))}")
    lines += ["- Metrics:", *[f"  - {_metric(state)}" for state in measured]]
    lines += [] if measured else ["  - none: nothing was measured"]
    lines += ["- Artifacts:", *_artifacts(states)]
    lines += ["- Open regressions:", *_open(flags)]
    lines += ["- Next actions:", *[f"  - {action}" for action in _actions(plan, states, flags)]]
    return "\n".join(lines) + "\n"


def headline(states: Sequence[CriterionState]) -> str:
    """How many criteria have which verdict, the worst news first."""
    counts = Counter(state.verdict for state in states)
    words = {
        PlanVerdict.MISSES: "missed",
        PlanVerdict.MEETS_TESTS: "met by the tests' threshold only",
        PlanVerdict.STALE: "stale",
        PlanVerdict.NOT_MEASURED: "not measured",
    }
    rest = [f"{counts[verdict]} {word}" for verdict, word in words.items() if counts[verdict]]
    met = f"{counts[PlanVerdict.MEETS]} of {plural(len(states), 'criterion', 'criteria')} met"
    return "; ".join([met, *rest])


def _blocks(plan: Plan, states: Sequence[CriterionState], now: datetime) -> list[Block]:
    rows = [_cells(state, now) for state in states]
    headers = ("criterion", "what", "spec", "tests", "newest", "age", "commit", "verdict", "folder")
    blocks: list[Block] = [
        Title(f"{plan.id} {plan.title}: {headline(states)}"),
        Table(headers, rows, right=(2, 3, 4, 5), codes=(6,)),
    ]
    told = [_about(state) for state in states]
    if lines := [line for line in told if line]:
        blocks.append("\n".join(lines))
    if folders := _folder_rows(states):
        blocks.append(Table(("evidence", "state"), folders))
    return blocks


def _cells(state: CriterionState, now: datetime) -> tuple[str, ...]:
    criterion = state.criterion
    return (
        criterion.id,
        criterion.title,
        "documented" if criterion.document else _limit(criterion, criterion.spec),
        _limit(criterion, criterion.asserts),
        _value(criterion, state.value),
        _age(now - state.measured_at) if state.measured_at else _NOTHING,
        state.commit[:8] or _NOTHING,
        _verdict(state),
        _folder_name(state),
    )


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
    if criterion.statistic == "cv":
        return f"{value * 100:.3g} %"
    return f"{value:.4g} {criterion.unit}".rstrip() if not criterion.figure else f"{value:.4g}"


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    if hours < 1:
        return f"{max(0, round(hours * 60))} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"


def _folder_name(state: CriterionState) -> str:
    if not state.folder:
        return _NOTHING
    name = state.folder.rsplit("/", 1)[-1]
    damaged = state.folder_state not in (None, FolderState.WHOLE)
    return f"{name} ({state.folder_state})" if damaged else name


def _about(state: CriterionState) -> str:
    parts = [f"derived: {state.derived}"] if state.derived else []
    text = "; ".join([*parts, *state.notes])
    return f"{state.criterion.id}: {text}" if text else ""


def _folder_rows(states: Sequence[CriterionState]) -> list[tuple[str, str]]:
    found = {state.folder: state.folder_state for state in states if state.folder}
    whole = (None, FolderState.WHOLE)
    rows = [
        (path, state or "" if state in whole else f"{state}, do not quote it")
        for path, state in found.items()
    ]
    return rows + [(path, "benchmark results") for path in _sources(states)]


def _sources(states: Sequence[CriterionState]) -> list[str]:
    """The result files of the values that no evidence folder holds."""
    return list(dict.fromkeys(state.source for state in states if state.source and not state.folder))


def _metric(state: CriterionState) -> str:
    criterion = state.criterion
    limits = f"spec {_limit(criterion, criterion.spec)}"
    if criterion.asserts is not None:
        limits += f", tests {_limit(criterion, criterion.asserts)}"
    about = f"; {state.derived}" if state.derived else ""
    return (
        f"{escape(criterion.title)}: **{escape(_value(criterion, state.value))}** ({escape(limits)}) "
        f"{escape(_verdict(state))}, at {code(state.commit[:8])}{escape(about)}"
    )


def _artifacts(states: Sequence[CriterionState]) -> list[str]:
    found = {state.folder: state.folder_state for state in states if state.folder}
    whole = (None, FolderState.WHOLE)
    lines = [
        f"  - {code(path)}" + ("" if s in whole else f" **{s}: not quotable**") for path, s in found.items()
    ]
    lines += [f"  - {code(path)}: benchmark results" for path in _sources(states)]
    return lines or ["  - none (`nbbench export` or `nbbench capture` makes a folder)"]


def _open(flags: Sequence[Flag]) -> list[str]:
    rows = [row for row in regressions_view(flags).rows if row.is_open]
    lines = [
        f"  - {code(row.event_id)} at {code(row.commits)}: {escape(row.change)}, cause {escape(row.cause)}, "
        f"{escape(row.state)}"
        for row in rows
    ]
    return lines or ["  - none"]


def _actions(plan: Plan, states: Sequence[CriterionState], flags: Sequence[Flag]) -> list[str]:
    actions = [
        f"{escape(state.criterion.id)} misses: {escape(state.criterion.title)}"
        for state in states
        if PlanVerdict.MISSES in (state.verdict, state.would_be)
    ]
    actions += [
        f"{escape(state.criterion.id)} meets only the tests: {escape(state.criterion.title)}"
        for state in states
        if PlanVerdict.MEETS_TESTS in (state.verdict, state.would_be)
    ]
    undecided = [f for f in flags if f.state in (FlagState.DETECTED, FlagState.CONFIRMED) and f.event.worse]
    if open_ids := [f.event.id for f in undecided if f.event.recovered_by is None]:
        actions.append(
            f"decide about {plural(len(open_ids), 'open regression')}: `nbbench regressions --plan {plan.id}`"
        )
    stale = [state.criterion.id for state in states if state.verdict is PlanVerdict.STALE]
    missing = [state.criterion.id for state in states if state.verdict is PlanVerdict.NOT_MEASURED]
    actions += [f"measure anew (stale): {escape(', '.join(stale))}"] if stale else []
    actions += [f"measure: {escape(', '.join(missing))}"] if missing else []
    return actions or ["none: every criterion is met"]
