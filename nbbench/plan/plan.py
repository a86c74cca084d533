"""Where a plan item stands: each criterion with its newest measured value and a verdict. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REGRESSION
from nbbench.model import Commit, ProcessRecord, Result
from nbbench.plan.plans import Criterion, Measured, Plan, PlanInput, PlanInputs
from nbbench.plan.values import few_cores, from_folders, from_series
from nbbench.units import format_number


class PlanVerdict(StrEnum):
    """What a criterion's newest value says."""

    MEETS = "meets"
    MEETS_TESTS = "meets tests, misses spec"
    MISSES = "misses"
    STALE = "stale"
    CANNOT_TELL = "cannot tell"
    NOT_MEASURED = "not measured"


JUDGED = frozenset((PlanVerdict.MEETS, PlanVerdict.MEETS_TESTS, PlanVerdict.MISSES))


@dataclass(frozen=True, slots=True)
class CriterionState:
    """A criterion with its newest value; `found` is None where nothing was measured.

    `would_be` is the verdict that a stale value would have had. `document` is the file that was
    asked for.
    """

    criterion: Criterion
    verdict: PlanVerdict
    found: Measured | None = None
    would_be: PlanVerdict | None = None
    document: str = ""
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The evidence folder or the document behind the verdict; empty without one."""
        return self.document or (self.found.folder if self.found else "")


@dataclass(frozen=True, slots=True)
class MeasuringStep:
    """Benchmarks of one class, which share what they set up; seconds that they took before, where known."""

    name: str
    series: tuple[str, ...]
    expected_s: float | None = None


@dataclass(frozen=True, slots=True)
class PlanMeasured:
    """Where a plan stands at a commit on the machine that measured it just now.

    `before` are the states by what earlier commits have on record. `steps` ran; `left_out` says why no
    benchmark answers a criterion here, by its id. `results` and `records` are those of the steps.
    """

    commit: Commit
    machine: str
    states: tuple[CriterionState, ...]
    before: tuple[CriterionState, ...]
    steps: tuple[MeasuringStep, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    results: tuple[Result, ...] = ()
    records: tuple[ProcessRecord, ...] = ()

    @property
    def lost(self) -> list[CriterionState]:
        """Criteria that were met by this machine's figures, and are missed now."""
        missed = (PlanVerdict.MISSES, PlanVerdict.MEETS_TESTS)
        return [state for state in self.states if state.verdict in missed and self.was_met(state)]

    @property
    def unjudged(self) -> list[CriterionState]:
        """Criteria that were met, and of which nobody knows now."""
        return [state for state in self.states if state.verdict not in JUDGED and self.was_met(state)]

    @property
    def exit_code(self) -> int:
        """3 for a lost criterion, 4 for one that was met and is not known now, or where nothing is known."""
        if self.lost:
            return EXIT_REGRESSION
        judged = any(state.verdict in JUDGED for state in self.states)
        return EXIT_OK if judged and not self.unjudged else EXIT_INCONCLUSIVE

    def was_met(self, now: CriterionState) -> bool:
        """Whether the criterion was met by what this machine had on record before."""
        then = next(one for one in self.before if one.criterion.id == now.criterion.id)
        own = then.found is not None and then.found.machine == self.machine
        return own and PlanVerdict.MEETS in (then.verdict, then.would_be)


_DAMAGE = "the folder's files no longer match its checksums"


def judge_plan(plan: Plan, given: PlanInputs, now: datetime) -> tuple[CriterionState, ...]:
    """Every criterion of the plan in its order.

    Those of a GPU by what was measured on its machine; those that ask for more cores than this machine has
    by the first of the larger ones that has a value.
    """
    return tuple(
        _judge(criterion, plan, (one := _input_for(criterion, plan, given)), now, one is not given.own)
        for criterion in plan.criteria
    )


def _input_for(criterion: Criterion, plan: Plan, given: PlanInputs) -> PlanInput:
    """The machine whose figures a criterion is judged by."""
    if criterion.device == "cuda":
        return given.gpu
    larger = given.larger if few_cores(criterion, given.own) else ()
    fit = (one for one in larger if not few_cores(criterion, one) and from_series(criterion, plan, one)[0])
    return next(fit, given.own)


def plan_verdict(states: Iterable[CriterionState]) -> PlanVerdict:
    """The whole plan: not measured at all, misses something, meets everything, or is not known in part."""
    verdicts = {state.verdict for state in states}
    if verdicts <= {PlanVerdict.NOT_MEASURED}:
        return PlanVerdict.NOT_MEASURED
    if verdicts & {PlanVerdict.MISSES, PlanVerdict.MEETS_TESTS}:
        return PlanVerdict.MISSES
    if verdicts == {PlanVerdict.MEETS}:
        return PlanVerdict.MEETS
    return PlanVerdict.CANNOT_TELL if PlanVerdict.CANNOT_TELL in verdicts else PlanVerdict.STALE


def _judge(
    criterion: Criterion, plan: Plan, given: PlanInput, now: datetime, elsewhere: bool
) -> CriterionState:
    note, settles = filter(None, (criterion.note,)), tuple(filter(None, (criterion.missing,)))
    if path := given.documents.get(criterion.document, ""):
        return CriterionState(criterion, PlanVerdict.MEETS, document=path, notes=tuple(note))
    if criterion.document:
        why_not = settles or (f"no file {criterion.document}",)
        return CriterionState(criterion, PlanVerdict.NOT_MEASURED, notes=why_not)
    found, why = _newest_value(criterion, plan, given)
    if found is None:
        return CriterionState(criterion, PlanVerdict.NOT_MEASURED, notes=(*why, *settles))
    verdicts = {judge_value(criterion, value) for value in (found.value, found.lo, found.hi)}
    why = found.doubts
    if len(verdicts) > 1:
        ends = f"{format_number(found.lo)} to {format_number(found.hi)}"
        why += (f"a threshold lies within {ends}, where the value may be",)
    stale = _stale(found, plan, given.commits, now)
    verdict = PlanVerdict.CANNOT_TELL if why else judge_value(criterion, found.value)
    elsewhere = elsewhere or criterion.device == "cuda"
    place = (f"measured on {found.machine}",) if elsewhere else ()
    about = (*place, *stale, *found.notes, *([_DAMAGE] if found.damaged else []), *note)
    if why:
        settled = _again(plan.id, criterion, found, given, elsewhere)
        return CriterionState(criterion, verdict, found, notes=(*why, settled, *about))
    if stale:
        return CriterionState(criterion, PlanVerdict.STALE, found, would_be=verdict, notes=about)
    return CriterionState(criterion, verdict, found, notes=about)


def _again(plan: str, criterion: Criterion, found: Measured, given: PlanInput, elsewhere: bool) -> str:
    """What would settle a value that gives no verdict."""
    if few_cores(criterion, given):
        return f"a machine with {criterion.cores} cores settles it"
    if not found.source:
        return "another capture on an idle machine settles it"
    where = " --device cuda" if criterion.device == "cuda" else ""
    where += f" --machine {found.machine}" if elsewhere else ""
    command = f"nbbench plan {plan} --measure {found.commit[:8]} --again{where}"
    return f"`{command}` on an idle machine settles it"


def _newest_value(
    criterion: Criterion, plan: Plan, given: PlanInput
) -> tuple[Measured | None, tuple[str, ...]]:
    """The newer of what a benchmark and what a captured test measured; the other one is a note.

    Without a value, why there is none: nothing was measured, or something else.
    """
    series, why_not = from_series(criterion, plan, given) if criterion.value else (None, ())
    captured, unlike = from_folders(criterion, given)
    if series is None or captured is None:
        return series or captured, () if series or captured else (*why_not, *unlike)
    order = {commit.hash: place for place, commit in enumerate(given.commits)}

    def age(found: Measured) -> tuple[int, float]:
        return order.get(found.commit, -1), found.measured_at.timestamp() if found.measured_at else 0.0

    word, first, other = "benchmark", captured, series
    if age(series) > age(captured):
        word, first, other = "captured test", series, captured
    note = f"older, by the {word}: {format_number(other.value)} at {other.commit[:8]}"
    return replace(first, notes=(*first.notes, note)), ()


def judge_value(criterion: Criterion, value: float) -> PlanVerdict:
    """The verdict of an exact value against the specification's threshold, the tests', else our own."""

    def holds(limit: float | None) -> bool:
        return limit is not None and (value <= limit if criterion.op == "<=" else value >= limit)

    if holds(criterion.spec):
        return PlanVerdict.MEETS
    if holds(criterion.asserts):
        return PlanVerdict.MEETS if criterion.spec is None else PlanVerdict.MEETS_TESTS
    own = criterion.spec is None and criterion.asserts is None and holds(criterion.ours)
    return PlanVerdict.MEETS if own else PlanVerdict.MISSES


def _stale(found: Measured, plan: Plan, commits: Sequence[Commit], now: datetime) -> tuple[str, ...]:
    why = []
    if found.measured_at and now - found.measured_at > timedelta(days=plan.stale_days):
        why.append(f"measured more than {plan.stale_days:g} days ago")
    newest = max(commits, key=lambda commit: (commit.position, commit.date), default=None)
    here = next((commit for commit in commits if commit.hash == found.commit), None)
    if newest and here and newest.tree != here.tree:
        behind = newest.position - here.position
        why.append(f"{behind} commits behind {newest.short}" if behind > 0 else f"{newest.short} is newer")
    if newest and not here:
        why.append(
            "measured at a commit that is not on the branch" if found.commit else "its commit is not recorded"
        )
    return tuple(why)
