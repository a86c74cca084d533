"""The gate's decisions: ledger first, then paired times; pure functions of what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from nbbench import units
from nbbench.gate.acknowledged import Acknowledged
from nbbench.gate.session import SeriesState
from nbbench.history.causes.facts import describe_diff
from nbbench.metrics import least_effect
from nbbench.model import Cause, Commit, GateReport, Outcome, Verdict
from nbbench.work.ledger_diff import BYTES_PER_OPERATION as BYTES_PER_OPERATION
from nbbench.work.ledger_diff import LedgerDiff

# More than this decides by itself; the ledger has no noise, so the limits are a matter of relevance,
# not of confidence.
LEDGER_TOLERANCE = least_effect("B/pixel")
OPS_TOLERANCE = least_effect("operations")

_OUTCOMES = {
    "slower": Outcome.REGRESSED,
    "faster": Outcome.IMPROVED,
    "equivalent": Outcome.UNCHANGED,
    "undecided": Outcome.INCONCLUSIVE,
}


def ledger_rows(diffs: Sequence[LedgerDiff]) -> tuple[dict[str, Any], ...]:
    """The exact part of the report: one row a workload."""
    return tuple(
        {
            "workload": d.workload,
            "base B/px": round(d.bytes_before, 3),
            "head B/px": round(d.bytes_after, 3),
            "bytes": units.format_change(d.effect),
            "base ops": d.ops_before,
            "head ops": d.ops_after,
            "upcast B/px": round(d.upcast_after - d.upcast_before, 3),
            "image": d.image,
        }
        for d in diffs
    )


def ledger_verdict(diff: LedgerDiff) -> Verdict:
    """What the exact work of one workload says; bytes against operations are weighed by their cost.

    Its figures are those that decided: operations where bytes alone would not have.
    """
    worse = diff.effect > LEDGER_TOLERANCE or diff.ops_effect > OPS_TOLERANCE
    better = diff.effect < -LEDGER_TOLERANCE or diff.ops_effect < -OPS_TOLERANCE
    if worse and better:
        cost = diff.cost_effect
        worse, better = cost > LEDGER_TOLERANCE, cost < -LEDGER_TOLERANCE
    outcome = Outcome.REGRESSED if worse else Outcome.IMPROVED if better else Outcome.UNCHANGED
    cause = Cause.IMAGE if diff.image == "changed" else Cause.WORK
    if cause is Cause.WORK and (diff.upcasts or diff.retyped):
        cause = Cause.DTYPE
    told = "; ".join(describe_diff(diff)) if not diff.equal else "same operations, same bytes"
    by_operations = (worse and diff.effect <= LEDGER_TOLERANCE) or (
        better and diff.effect >= -LEDGER_TOLERANCE
    )
    effect = diff.ops_effect if by_operations else diff.effect
    return Verdict(
        series=f"ledger {diff.workload}",
        outcome=outcome,
        effect=effect if math.isfinite(effect) else None,
        effect_lo=None,
        effect_hi=None,
        floor=OPS_TOLERANCE if by_operations else LEDGER_TOLERANCE,
        rounds=0,
        sentence=told,
        cause=None if outcome is Outcome.UNCHANGED else cause,
        base_value=diff.ops_before if by_operations else diff.bytes_before,
        head_value=diff.ops_after if by_operations else diff.bytes_after,
        unit="operations" if by_operations else "B/pixel",
    )


def _broken_verdict(workload: str, reason: str) -> Verdict:
    """A workload that head can no longer run: nobody can tell how fast it is."""
    return Verdict(
        series=f"ledger {workload}",
        outcome=Outcome.INCONCLUSIVE,
        effect=None,
        effect_lo=None,
        effect_hi=None,
        floor=LEDGER_TOLERANCE,
        rounds=0,
        sentence=f"runs at base but not at head: {reason.splitlines()[0] if reason else 'no reason given'}",
    )


def time_verdict(state: SeriesState, cause: Cause | None) -> Verdict:
    """The verdict on one timed series."""
    if state.decision is None:
        reason = state.errors[0] if state.errors else "nothing was measured"
        if state.disturbed and not state.errors:
            reason = f"no pair could be measured: {state.disturbed}"
        return Verdict(
            state.label, Outcome.INCONCLUSIVE, None, None, None, state.floor, 0, reason, None, state.reproduce
        )
    found = state.decision.estimate
    outcome = _OUTCOMES[state.decision.decision]
    sentence = state.decision.reason
    if outcome is Outcome.REGRESSED and state.confirmed is None:
        outcome, sentence = (
            Outcome.INCONCLUSIVE,
            f"{sentence}, but the budget ended before the confirming re-run",
        )
    elif outcome is Outcome.REGRESSED and not state.confirmed:
        outcome, sentence = Outcome.INCONCLUSIVE, f"{sentence}, but the confirming re-run does not agree"
    elif outcome is Outcome.REGRESSED:
        sentence = f"{sentence}; confirmed by {len(state.confirming)} fresh rounds"
    finite = [x if math.isfinite(x) else None for x in (found.effect, found.lo, found.hi)]
    return Verdict(
        series=state.label,
        outcome=outcome,
        effect=finite[0],
        effect_lo=finite[1],
        effect_hi=finite[2],
        floor=state.floor,
        rounds=found.n + len(state.confirming),
        sentence=sentence,
        cause=cause if outcome is Outcome.REGRESSED else None,
        reproduce=state.reproduce,
        base_value=median(state.base_s) if state.base_s else None,
        head_value=median(state.head_s) if state.head_s else None,
        unit="seconds",
    )


def _accepted(verdict: Verdict, acknowledged: Sequence[Acknowledged]) -> Verdict:
    """A loss that somebody accepted, and that has not become worse, does not block."""
    if verdict.outcome is not Outcome.REGRESSED:
        return verdict
    for known in acknowledged:
        if known.covers(verdict):
            sentence = f"{verdict.sentence}; acknowledged as {known.told}"
            return replace(verdict, outcome=Outcome.ACKNOWLEDGED, sentence=sentence)
    return verdict


def overall(verdicts: Sequence[Verdict]) -> tuple[Outcome, str]:
    """Regressed if any is; else inconclusive if any is or nothing was judged; else what remains."""
    counts = {outcome: [v for v in verdicts if v.outcome is outcome] for outcome in Outcome}
    if worse := counts[Outcome.REGRESSED]:
        most = max(worse, key=lambda v: math.inf if v.effect is None else v.effect)
        cause = f", cause: {most.cause}" if most.cause else ""
        return Outcome.REGRESSED, (
            f"{len(worse)} of {len(verdicts)} series are slower; the worst is {most.series} "
            f"({units.format_change(most.effect)}{cause})"
        )
    if other := counts[Outcome.NOT_COMPARABLE]:
        first = f"{other[0].series}: {other[0].sentence}"
        sentence = f"{len(other)} of {len(verdicts)} series are not comparable: {first}"
        return Outcome.NOT_COMPARABLE, sentence
    if open_ := counts[Outcome.INCONCLUSIVE]:
        return Outcome.INCONCLUSIVE, (
            f"cannot tell for {len(open_)} of {len(verdicts)} series: {open_[0].series}: {open_[0].sentence}"
        )
    if not verdicts:
        return Outcome.INCONCLUSIVE, "nothing was measured"
    if known := counts[Outcome.ACKNOWLEDGED]:
        return Outcome.ACKNOWLEDGED, (
            f"{len(known)} of {len(verdicts)} series are slower as acknowledged, and no other is; "
            f"{known[0].series}: {known[0].sentence}"
        )
    if better := counts[Outcome.IMPROVED]:
        most = min(better, key=lambda v: v.effect or 0.0)
        return Outcome.IMPROVED, (
            f"no series is slower; {len(better)} of {len(verdicts)} improved, most {most.series} "
            f"({units.format_change(most.effect)})"
        )
    return Outcome.UNCHANGED, f"all {len(verdicts)} series are unchanged"


def same_tree_report(base: Commit, head: Commit) -> GateReport:
    """Equal trees give equal results: a pass without measuring."""
    sentence = f"the measured source is the same tree ({head.tree[:12]}), so nothing can have become slower"
    return GateReport(base.hash, head.hash, Outcome.UNCHANGED, sentence)


def build_report(
    base: Commit,
    head: Commit,
    diffs: Sequence[LedgerDiff],
    states: Sequence[SeriesState],
    *,
    broken: Mapping[str, str] | None = None,
    acknowledged: Sequence[Acknowledged] = (),
    notes: Sequence[str] = (),
    seed: int = 0,
    elapsed_s: float = 0.0,
) -> GateReport:
    """The whole report from ledger differences and timed series (either may be empty)."""
    exact = [ledger_verdict(diff) for diff in diffs]
    cause = next((v.cause for v in exact if v.outcome is Outcome.REGRESSED), None)
    if cause is None and diffs and all(d.equal for d in diffs):
        cause = Cause.UNEXPLAINED
    lost = [_broken_verdict(name, reason) for name, reason in (broken or {}).items()]
    told_of = [*exact, *(time_verdict(state, cause) for state in states)]
    verdicts = lost + [_accepted(verdict, acknowledged) for verdict in told_of]
    outcome, sentence = overall(verdicts)
    told = list(notes)
    if any(d.image == "changed" for d in diffs):
        told.append("the image changed between base and head: the two are not like for like")
    return GateReport(
        base=base.hash,
        head=head.hash,
        outcome=outcome,
        sentence=sentence,
        verdicts=tuple(verdicts),
        ledger=ledger_rows(diffs),
        notes=tuple(told),
        seed=seed,
        elapsed_s=elapsed_s,
    )


EXIT_BY_OUTCOME: Mapping[Outcome, int] = {
    Outcome.REGRESSED: 3,
    Outcome.INCONCLUSIVE: 4,
    Outcome.NOT_COMPARABLE: 4,
    Outcome.IMPROVED: 0,
    Outcome.UNCHANGED: 0,
    Outcome.ACKNOWLEDGED: 0,
}
