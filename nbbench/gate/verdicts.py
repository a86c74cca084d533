"""The gate's decisions from exact work and paired figures; pure functions of what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from nbbench import units
from nbbench.gate.acknowledged import Acknowledged
from nbbench.gate.session import SeriesState
from nbbench.gate.work_verdicts import WorkFacts, ledger_rows, lost_verdict, without_base, work_verdicts
from nbbench.model import Cause, Commit, NotJudged, NotJudgedReason, Outcome
from nbbench.verdicts import GateReport, Verdict
from nbbench.words import plural

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


def series_verdict(state: SeriesState, cause: Cause | None) -> Verdict | NotJudged:
    """The verdict on one measured series, or why there is none."""
    if gone := _not_judged(state):
        return gone
    if "head" in state.skipped:
        return lost_verdict(state.label, state.errors["head"], state.reproduce, state.rounds)
    if state.crashed == "head" and not state.log_ratios:
        return lost_verdict(state.label, state.errors["head"], state.reproduce, state.rounds)
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
    """Why nothing can be said of a series: no round of it began, or base has no figure to compare with."""
    if not (state.log_ratios or state.rounds or state.errors or state.disturbed):
        return NotJudged(state.label, NotJudgedReason.NOT_MEASURED, detail="within the budget")
    skipped = "base" in state.skipped
    if not skipped and (not state.crashes["base"] or state.log_ratios):
        return None
    errors = state.errors["base"], state.errors.get("head", "")
    skipped = skipped and (not errors[1] or "head" in state.skipped)
    return without_base(state.label, *errors, skipped=skipped)


def _paired_verdict(state: SeriesState, cause: Cause | None) -> Verdict:
    """What the rounds of a series say, accepted regressions counted in."""
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
    """The outcome with an accepted regression, where `outcome` counts from that and `lo` from base."""
    if outcome is Outcome.UNCHANGED:
        return Outcome.ACKNOWLEDGED
    if outcome is Outcome.IMPROVED and hi is not None and hi >= -floor:
        return Outcome.ACKNOWLEDGED if lo is not None and lo > floor else Outcome.UNCHANGED
    return outcome


def gate_outcome(verdicts: Sequence[Verdict], not_judged: Sequence[NotJudged] = ()) -> tuple[Outcome, str]:
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
    outcome, sentence = gate_outcome(verdicts, not_judged)
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
