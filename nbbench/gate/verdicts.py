"""The gate's decisions: exact work first, then paired figures; pure functions of what was measured."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from nbbench import units
from nbbench.gate.acknowledged import Acknowledged, accepted_effect, covering
from nbbench.gate.session import SeriesState
from nbbench.history.causes.facts import describe_diff
from nbbench.metrics import least_effect
from nbbench.model import Cause, Commit, GateReport, NotJudged, NotJudgedReason, Outcome, Verdict
from nbbench.words import plural
from nbbench.work.ledger_diff import LedgerDiff, log_ratio

# More than this decides by itself; the ledger has no noise, so the limits are a matter of relevance,
# not of confidence.
LEDGER_TOLERANCE = least_effect("B/pixel")
OPS_TOLERANCE = least_effect("operations")
PEAK_TOLERANCE = least_effect("B (exact)")

_DECIDED = {
    "slower": Outcome.REGRESSED,
    "faster": Outcome.IMPROVED,
    "equivalent": Outcome.UNCHANGED,
    "undecided": Outcome.INCONCLUSIVE,
}
EXIT_BY_OUTCOME: Mapping[Outcome, int] = {
    Outcome.REGRESSED: 3,
    Outcome.INCONCLUSIVE: 4,
    Outcome.NOT_COMPARABLE: 4,
    Outcome.IMPROVED: 0,
    Outcome.UNCHANGED: 0,
    Outcome.ACKNOWLEDGED: 0,
}


@dataclass(frozen=True, slots=True)
class WorkFacts:
    """The exact work of base and head by workload.

    `diffs` are of workloads that ran on both sides, `lost` of those that ran at base and cannot at head (with
    why); `not_judged` are all others. `accepted_images` names workloads whose new image somebody accepted.
    """

    diffs: tuple[LedgerDiff, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)
    not_judged: tuple[NotJudged, ...] = ()
    accepted_images: Collection[str] = ()

    def incomparable(self, diff: LedgerDiff) -> bool:
        """Whether head computes another image that nobody said is right."""
        return diff.new_image and diff.workload not in self.accepted_images


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
            "base peak": units.format_bytes(d.peak_before),
            "head peak": units.format_bytes(d.peak_after),
            "image": str(d.image),
        }
        for d in diffs
    )


def work_verdicts(facts: WorkFacts, acknowledged: Sequence[Acknowledged] = ()) -> list[Verdict]:
    """The verdicts on exact work: what cannot run any more, then traffic and peak memory by workload."""
    found = [_lost_verdict(f"ledger {name}", reason) for name, reason in facts.lost.items()]
    for diff in facts.diffs:
        for verdict in filter(None, (traffic_verdict(diff), peak_verdict(diff))):
            said = _accepted(verdict, acknowledged)
            found.append(_other_image(said, diff) if facts.incomparable(diff) else said)
    return found


def traffic_verdict(diff: LedgerDiff) -> Verdict:
    """What bytes and operations of one workload say; the two are weighed by their cost.

    Its figures are those that decided: operations where bytes alone would not have.
    """
    worse = diff.effect > LEDGER_TOLERANCE or diff.ops_effect > OPS_TOLERANCE
    better = diff.effect < -LEDGER_TOLERANCE or diff.ops_effect < -OPS_TOLERANCE
    if worse and better:
        cost = diff.cost_effect
        worse, better = cost > LEDGER_TOLERANCE, cost < -LEDGER_TOLERANCE
    by_operations = (worse and diff.effect <= LEDGER_TOLERANCE) or (
        better and diff.effect >= -LEDGER_TOLERANCE
    )
    effect = diff.ops_effect if by_operations else diff.effect
    cause = Cause.IMAGE if diff.new_image else Cause.WORK
    if cause is Cause.WORK and (diff.upcasts or diff.retyped):
        cause = Cause.DTYPE
    return _exact_verdict(
        f"ledger {diff.workload}",
        Outcome.REGRESSED if worse else Outcome.IMPROVED if better else Outcome.UNCHANGED,
        (diff.ops_before, diff.ops_after) if by_operations else (diff.bytes_before, diff.bytes_after),
        effect,
        unit="operations" if by_operations else "B/pixel",
        floor=OPS_TOLERANCE if by_operations else LEDGER_TOLERANCE,
        sentence="same operations, same bytes" if diff.equal else "; ".join(describe_diff(diff)),
        cause=cause,
    )


def peak_verdict(diff: LedgerDiff) -> Verdict | None:
    """What the largest sum of live tensors says; None where a ledger does not have it (H3)."""
    if diff.peak_before <= 0 or diff.peak_after <= 0:
        return None
    effect = log_ratio(diff.peak_before, diff.peak_after)
    worse, better = effect > PEAK_TOLERANCE, effect < -PEAK_TOLERANCE
    sizes = f"{units.format_bytes(diff.peak_before)} → {units.format_bytes(diff.peak_after)}"
    lines = [f"{path}:{line} {name}" for path, line, name in (diff.peak_line_before, diff.peak_line_after)]
    where = f"at {lines[1]}" if lines[0] == lines[1] else f"at {lines[1]}, was at {lines[0]}"
    moved = f"{diff.workload}: peak memory {sizes} ({units.format_change(effect)}) {where}"
    return _exact_verdict(
        f"peak memory {diff.workload}",
        Outcome.REGRESSED if worse else Outcome.IMPROVED if better else Outcome.UNCHANGED,
        (diff.peak_before, diff.peak_after),
        effect,
        unit="B (exact)",
        floor=PEAK_TOLERANCE,
        sentence=moved if worse or better else "same peak of live tensors" if not effect else moved,
        cause=Cause.IMAGE if diff.new_image else Cause.WORK,
    )


def _exact_verdict(
    series: str,
    outcome: Outcome,
    values: tuple[float, float],
    effect: float,
    *,
    unit: str,
    floor: float,
    sentence: str,
    cause: Cause,
) -> Verdict:
    return Verdict(
        series=series,
        outcome=outcome,
        effect=effect if math.isfinite(effect) else None,
        effect_lo=None,
        effect_hi=None,
        floor=floor,
        rounds=0,
        sentence=sentence,
        cause=None if outcome is Outcome.UNCHANGED else cause,
        base_value=values[0],
        head_value=values[1],
        unit=unit,
    )


def _lost_verdict(series: str, reason: str, reproduce: str = "", rounds: int = 0) -> Verdict:
    """What ran at base and cannot run at head: a user loses all of it."""
    why = reason.splitlines()[0] if reason else "no reason given"
    said = f"runs at base but not at head: {why}"
    return Verdict(series, Outcome.REGRESSED, None, None, None, 0.0, rounds, said, None, reproduce)


def _other_image(verdict: Verdict, diff: LedgerDiff) -> Verdict:
    """Less or the same work for another image is neither a gain nor a pass; more work stays a regression."""
    if verdict.outcome is Outcome.REGRESSED:
        return verdict
    sentence = f"another image (sum × {diff.image_ratio:.6g}), so not like for like: {verdict.sentence}"
    return replace(verdict, outcome=Outcome.NOT_COMPARABLE, sentence=sentence, cause=Cause.IMAGE)


def series_verdict(state: SeriesState, cause: Cause | None) -> Verdict | NotJudged:
    """The verdict on one measured series, or why there is none."""
    if gone := _not_judged(state):
        return gone
    if "head" in state.skipped:
        return _lost_verdict(state.label, state.errors["head"], state.reproduce, state.rounds)
    if state.crashed == "head" and not state.log_ratios:
        return _lost_verdict(state.label, state.errors["head"], state.reproduce, state.rounds)
    found = _paired_verdict(state, cause)
    crashes = [f"{side} in {state.crashes[side]}" for side in ("base", "head") if state.crashes[side]]
    if not crashes:
        return found
    reason = state.errors.get("head") or state.errors["base"]
    said = f"crashed at {' and at '.join(crashes)} of {plural(state.rounds, 'round')}: {reason}"
    if state.crashed == "head":
        return replace(found, outcome=Outcome.REGRESSED, sentence=f"{said}; {found.sentence}", cause=None)
    if state.crashes["head"] and found.outcome is not Outcome.REGRESSED:
        found = replace(found, outcome=Outcome.INCONCLUSIVE)
    return replace(found, sentence=f"{said}; {found.sentence}")


def _not_judged(state: SeriesState) -> NotJudged | None:
    """Why nothing can be said of a series: base has no figure to compare with."""
    if "base" in state.skipped:
        both = "at base and at head" if "head" in state.skipped else "at base"
        return NotJudged(state.label, NotJudgedReason.SKIPPED, detail=f"{both}: {state.errors['base']}")
    if state.crashes["base"] and not state.log_ratios:
        return NotJudged(state.label, NotJudgedReason.FAILING, detail=f"at base: {state.errors['base']}")
    return None


def _paired_verdict(state: SeriesState, cause: Cause | None) -> Verdict:
    """What the rounds of a series say, accepted losses counted in."""
    if state.decision is None:
        reason = next(iter(state.errors.values()), "nothing was measured")
        if state.disturbed and not state.errors:
            reason = f"no pair could be measured: {state.disturbed}"
        none = (None, None, None)
        return Verdict(
            state.label, Outcome.INCONCLUSIVE, *none, state.floor, state.rounds, reason, None, state.reproduce
        )
    found = state.decision.estimate
    effects = [x + state.accepted if math.isfinite(x) else None for x in (found.effect, found.lo, found.hi)]
    outcome, sentence = _DECIDED[state.decision.decision], state.decision.reason
    if outcome is Outcome.REGRESSED and state.confirmed is None:
        outcome = Outcome.INCONCLUSIVE
        sentence += ", but the budget ended before the confirming re-run"
    elif outcome is Outcome.REGRESSED and not state.confirmed:
        outcome, sentence = Outcome.INCONCLUSIVE, f"{sentence}, but the confirming re-run does not agree"
    elif outcome is Outcome.REGRESSED:
        sentence += f"; confirmed by {len(state.confirming)} fresh rounds"
    if state.accepted:
        sentence = f"beyond the accepted {units.format_change(state.accepted)}: {sentence}"
        outcome = _against_accepted(outcome, effects[1], effects[2], state.floor)
    values = [median(state.values[side]) if state.values[side] else None for side in ("base", "head")]
    return Verdict(
        series=state.label,
        outcome=outcome,
        effect=effects[0],
        effect_lo=effects[1],
        effect_hi=effects[2],
        floor=state.floor,
        rounds=found.n + len(state.confirming),
        sentence=sentence,
        cause=cause if outcome is Outcome.REGRESSED else None,
        reproduce=state.reproduce,
        base_value=values[0],
        head_value=values[1],
        unit=state.unit,
    )


def _against_accepted(outcome: Outcome, lo: float | None, hi: float | None, floor: float) -> Outcome:
    """The outcome of a series with an accepted loss, where `outcome` counts from that and `lo` from base."""
    if outcome is Outcome.UNCHANGED:
        return Outcome.ACKNOWLEDGED
    if outcome is Outcome.IMPROVED and hi is not None and hi >= -floor:
        return Outcome.ACKNOWLEDGED if lo is not None and lo > floor else Outcome.UNCHANGED
    return outcome


def _accepted(verdict: Verdict, acknowledged: Sequence[Acknowledged]) -> Verdict:
    """A loss that somebody accepted, and that has not become worse, does not block."""
    if verdict.outcome is not Outcome.REGRESSED or verdict.effect is None:
        return verdict
    known = covering(acknowledged, verdict.series, verdict.unit)
    if not known or verdict.effect > accepted_effect(known, verdict.series, verdict.unit) + verdict.floor:
        return verdict
    sentence = f"{verdict.sentence}; acknowledged as {', '.join(one.name for one in known)}"
    return replace(verdict, outcome=Outcome.ACKNOWLEDGED, sentence=sentence)


def overall(verdicts: Sequence[Verdict], not_judged: Sequence[NotJudged] = ()) -> tuple[Outcome, str]:
    """Regressed if any is; not comparable; inconclusive if any is or what base lacks; else what remains.

    A series that skips itself is counted and no more: it would keep every gate from passing.
    """
    counts = {outcome: [v for v in verdicts if v.outcome is outcome] for outcome in Outcome}
    total = len(verdicts) + len(not_judged)
    if worse := counts[Outcome.REGRESSED]:
        return Outcome.REGRESSED, _worse_sentence(worse, total)
    if other := counts[Outcome.NOT_COMPARABLE]:
        return Outcome.NOT_COMPARABLE, (
            f"{len(other)} of {total} series are of another image: {other[0].series}: {other[0].sentence}"
        )
    missing = [one for one in not_judged if one.reason is not NotJudgedReason.SKIPPED]
    if open_ := counts[Outcome.INCONCLUSIVE]:
        return Outcome.INCONCLUSIVE, (
            f"cannot tell for {len(open_) + len(missing)} of {total} series: "
            f"{open_[0].series}: {open_[0].sentence}"
        )
    if missing:
        said = f"{len(missing)} of {total} series could not be judged"
        return Outcome.INCONCLUSIVE, f"{said}: {missing[0].series} is {missing[0].reason} {missing[0].detail}"
    if not verdicts:
        skip = f"nothing was judged: all of {total} series skip themselves"
        return Outcome.INCONCLUSIVE, skip if not_judged else "nothing was measured"
    left = f"; {len(not_judged)} not judged (skipped)" if not_judged else ""
    outcome, sentence = _passes(verdicts, counts)
    return outcome, sentence + left


def _worse_sentence(worse: Sequence[Verdict], total: int) -> str:
    most = max(worse, key=lambda v: math.inf if v.effect is None else v.effect)
    if most.effect is None:
        return f"{len(worse)} of {total} series are worse; {most.series} {most.sentence}"
    cause = f", cause: {most.cause}" if most.cause else ""
    return (
        f"{len(worse)} of {total} series are worse; the worst is {most.series} "
        f"({units.format_change(most.effect)}{cause})"
    )


def _passes(verdicts: Sequence[Verdict], counts: Mapping[Outcome, Sequence[Verdict]]) -> tuple[Outcome, str]:
    if known := counts[Outcome.ACKNOWLEDGED]:
        return Outcome.ACKNOWLEDGED, (
            f"{len(known)} of {len(verdicts)} series are worse as acknowledged, and no other is; "
            f"{known[0].series}: {known[0].sentence}"
        )
    if better := counts[Outcome.IMPROVED]:
        most = min(better, key=lambda v: v.effect or 0.0)
        return Outcome.IMPROVED, (
            f"no series is worse; {len(better)} of {len(verdicts)} improved, most {most.series} "
            f"({units.format_change(most.effect)})"
        )
    return Outcome.UNCHANGED, f"all {len(verdicts)} series are unchanged"


def unmeasured_report(base: Commit, head: Commit, sentence: str) -> GateReport:
    """A pass without measuring: base and head are the same program."""
    return GateReport(base.hash, head.hash, Outcome.UNCHANGED, sentence)


def build_report(
    base: Commit,
    head: Commit,
    work: WorkFacts,
    states: Sequence[SeriesState],
    *,
    acknowledged: Sequence[Acknowledged] = (),
    notes: Sequence[str] = (),
    seed: int = 0,
    elapsed_s: float = 0.0,
    machine: str = "",
) -> GateReport:
    """The whole report from exact work and measured series (either may be empty)."""
    exact = work_verdicts(work, acknowledged)
    cause = next((v.cause for v in exact if v.outcome is Outcome.REGRESSED), None)
    if cause is None and work.diffs and all(d.equal for d in work.diffs):
        cause = Cause.UNEXPLAINED
    judged = [series_verdict(state, cause) for state in states]
    paired = [one for one in judged if isinstance(one, Verdict)]
    verdicts = [*exact, *paired]
    not_judged = [*work.not_judged, *(one for one in judged if isinstance(one, NotJudged))]
    outcome, sentence = overall(verdicts, not_judged)
    return GateReport(
        base=base.hash,
        head=head.hash,
        outcome=outcome,
        sentence=sentence,
        verdicts=tuple(verdicts),
        ledger=ledger_rows(work.diffs),
        notes=tuple(notes),
        seed=seed,
        elapsed_s=elapsed_s,
        machine=machine,
        not_judged=tuple(not_judged),
    )
