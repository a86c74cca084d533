"""Where a plan item stands: each criterion with its newest measured value and a verdict. No I/O."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nbbench import units
from nbbench.evidence import Folder, FolderState
from nbbench.model import Commit, Result, Status
from nbbench.plan.plan_folders import Known, folder_holding, newest_figure
from nbbench.plan.plans import Criterion, Plan


class PlanVerdict(StrEnum):
    """What a criterion's newest value says."""

    MEETS = "meets"
    MEETS_TESTS = "meets tests, misses spec"
    MISSES = "misses"
    STALE = "stale"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class CriterionState:
    """A criterion with its newest value; `value` is None where nothing was measured.

    `would_be` is the verdict that a stale value would have had. `folder` is an evidence folder that
    holds the value, and `folder_state` whether its files are still what they were; `source` is the file
    of asv's results that a benchmark's value stands in.
    """

    criterion: Criterion
    verdict: PlanVerdict
    value: float | None = None
    would_be: PlanVerdict | None = None
    commit: str = ""
    machine: str = ""
    measured_at: datetime | None = None
    derived: str = ""
    folder: str = ""
    folder_state: FolderState | None = None
    source: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanInput:
    """Everything that a judgement looks at.

    `results` are by benchmark name, `commits` in the branch's order (oldest first); `folders`
    carry the state of their files, newest last; `documents` are files found by pattern.
    """

    results: Mapping[str, Sequence[Result]]
    commits: Sequence[Commit]
    folders: Sequence[tuple[Folder, FolderState]] = ()
    documents: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Found:
    value: float
    commit: str
    machine: str = ""
    measured_at: datetime | None = None
    derived: str = ""
    folder: Known | None = None
    notes: tuple[str, ...] = ()
    source: str = ""


def judge_plan(plan: Plan, given: PlanInput, now: datetime) -> tuple[CriterionState, ...]:
    """Every criterion of the plan in its order."""
    return tuple(_judge(criterion, plan, given, now) for criterion in plan.criteria)


def overall(states: Iterable[CriterionState]) -> PlanVerdict:
    """The whole plan: not measured at all, misses something, meets everything, or stale (some unknown)."""
    verdicts = {state.verdict for state in states}
    if verdicts <= {PlanVerdict.NOT_MEASURED}:
        return PlanVerdict.NOT_MEASURED
    if verdicts & {PlanVerdict.MISSES, PlanVerdict.MEETS_TESTS}:
        return PlanVerdict.MISSES
    return PlanVerdict.MEETS if verdicts == {PlanVerdict.MEETS} else PlanVerdict.STALE


def series_name(text: str) -> tuple[str, tuple[str, ...]]:
    """`name(value, …)` as a benchmark's name and the texts of its parameter values."""
    name, bracket, rest = text.partition("(")
    values = rest.rstrip().removesuffix(")")
    return name.strip(), tuple(part.strip() for part in values.split(",")) if bracket and values else ()


def _judge(criterion: Criterion, plan: Plan, given: PlanInput, now: datetime) -> CriterionState:
    if criterion.document:
        return _document(criterion, given)
    found = _newest(criterion, given)
    if found is None:
        return CriterionState(criterion, PlanVerdict.NOT_MEASURED, notes=_why_missing(criterion, given))
    verdict = judge_value(criterion, found.value)
    stale = _stale(found, plan, given.commits, now)
    folder = found.folder
    damage: tuple[str, ...] = ()
    if folder and folder[1] is FolderState.CHANGED:
        damage = ("the folder's files no longer match its checksums",)
    elif folder and folder[1] is FolderState.MISSING:
        damage = ("the folder is gone",)
    return CriterionState(
        criterion,
        PlanVerdict.STALE if stale else verdict,
        value=found.value,
        would_be=verdict if stale else None,
        commit=found.commit,
        machine=found.machine,
        measured_at=found.measured_at,
        derived=found.derived,
        folder=folder[0].path if folder else "",
        folder_state=folder[1] if folder else None,
        source=found.source,
        notes=(*stale, *found.notes, *damage, *((criterion.note,) if criterion.note else ())),
    )


def judge_value(criterion: Criterion, value: float) -> PlanVerdict:
    """The verdict of a value against the specification's threshold, then against the tests'."""
    if criterion.spec is not None and _holds(value, criterion.op, criterion.spec):
        return PlanVerdict.MEETS
    if criterion.asserts is not None and _holds(value, criterion.op, criterion.asserts):
        return PlanVerdict.MEETS if criterion.spec is None else PlanVerdict.MEETS_TESTS
    return PlanVerdict.MISSES


def _holds(value: float, op: str, threshold: float) -> bool:
    return value <= threshold if op == "<=" else value >= threshold


def _document(criterion: Criterion, given: PlanInput) -> CriterionState:
    path = given.documents.get(criterion.document, "")
    if not path:
        why = criterion.missing or f"no file {criterion.document}"
        return CriterionState(criterion, PlanVerdict.NOT_MEASURED, notes=(why,))
    return CriterionState(
        criterion, PlanVerdict.MEETS, folder=path, notes=(criterion.note,) if criterion.note else ()
    )


def _newest(criterion: Criterion, given: PlanInput) -> _Found | None:
    """The newer of what a benchmark and what a captured test measured; the other one is a note."""
    series = _from_series(criterion, given) if criterion.value else None
    captured = _from_folders(criterion, given)
    if series is None or captured is None:
        return series or captured
    order = {commit.hash: place for place, commit in enumerate(given.commits)}

    def age(found: _Found) -> tuple[int, float]:
        return order.get(found.commit, -1), found.measured_at.timestamp() if found.measured_at else 0.0

    word, first, other = "benchmark", captured, series
    if age(series) > age(captured):
        word, first, other = "captured test", series, captured
    note = f"older, by the {word}: {other.value:.4g} at {other.commit[:8]}"
    return dataclasses.replace(first, notes=(*first.notes, note))


def _from_series(criterion: Criterion, given: PlanInput) -> _Found | None:
    """The value at the newest commit where every series that it needs was measured together."""
    names = [text for text in (criterion.value, criterion.over, criterion.minus) if text]
    tables = {name: _usable(given.results, name) for name in names}
    order = {commit.hash: place for place, commit in enumerate(given.commits)}
    places = set.intersection(*(set(table) for table in tables.values()))
    for place in sorted(
        places, key=lambda p: (order.get(p[0], -1), _when(tables[criterion.value][p])), reverse=True
    ):
        results = {name: table[place] for name, table in tables.items()}
        value = _combined(criterion, results)
        if value is None:
            continue
        moments = [result.started_at for result in results.values() if result.started_at]
        derived = _derivation(criterion)
        main = results[criterion.value]
        notes = _spread_note(main) if criterion.statistic == "cv" else ()
        notes = notes or (() if derived else _interval_note(criterion, main))
        commit, machine, environment = place
        parts = [(r.key.benchmark, r.value) for r in results.values() if r.value is not None]
        exact = criterion.statistic == "value"  # a folder holds values, not the samples behind them
        return _Found(
            value,
            commit,
            machine,
            min(moments, default=None),
            derived,
            folder_holding(parts, commit, given.folders) if exact else None,
            notes,
            f"results/{machine}/{commit[:8]}-{environment}.json",
        )
    return None


def _usable(results: Mapping[str, Sequence[Result]], text: str) -> dict[tuple[str, str, str], Result]:
    """The results of a series by commit, machine and environment; of two the one measured last."""
    name, values = series_name(text)
    found: dict[tuple[str, str, str], Result] = {}
    for result in results.get(name, ()):
        if tuple(value for _, value in result.key.params) != values:
            continue
        if result.status is not Status.OK or result.value is None:
            continue
        place = result.commit, result.key.machine, result.key.environment
        if place not in found or _when(result) >= _when(found[place]):
            found[place] = result
    return found


def _when(result: Result) -> float:
    return result.started_at.timestamp() if result.started_at else 0.0


def _combined(criterion: Criterion, results: Mapping[str, Result]) -> float | None:
    def figure(name: str) -> float | None:
        if criterion.statistic == "cv":
            samples = results[name].samples
            mean = statistics.fmean(samples) if len(samples) > 1 else 0.0
            return statistics.stdev(samples) / mean if mean else None
        return results[name].value

    offset = results[criterion.minus].value or 0.0 if criterion.minus else 0.0
    value = figure(criterion.value)
    if value is None:
        return None
    value = (value - offset) * criterion.scale
    if criterion.over:
        below = figure(criterion.over)
        if below is None or below - offset <= 0:
            return None
        value /= below - offset
    return value / (criterion.per_pixel * criterion.pixels) if criterion.per_pixel else value


def _derivation(criterion: Criterion) -> str:
    """How the value was put together; empty where it is a series' own."""
    if criterion.statistic == "cv":
        return f"standard deviation / mean of the samples of {criterion.value}"
    value = criterion.value if not criterion.minus else f"({criterion.value} − {criterion.minus})"
    over = criterion.over if not criterion.minus else f"({criterion.over} − {criterion.minus})"
    parts = [f"{criterion.scale:g} · {value}" if criterion.scale != 1 else value]
    parts += [over] if criterion.over else []
    parts += [f"({criterion.pixels:,} · {criterion.per_pixel:g} B)"] if criterion.per_pixel else []
    text = " / ".join(parts)
    return "" if text == criterion.value else text


def _spread_note(result: Result) -> tuple[str, ...]:
    low, high = (units.format_value(end(result.samples), result.unit) for end in (min, max))
    return (f"{len(result.samples)} samples from {low} to {high}, contention included",)


def _interval_note(criterion: Criterion, result: Result) -> tuple[str, ...]:
    if result.ci_lo is None or result.ci_hi is None:
        return ()
    limits = [limit for limit in (criterion.spec, criterion.asserts) if limit is not None]
    if any(result.ci_lo < limit < result.ci_hi for limit in limits):
        return (f"a threshold lies inside the 99 % interval {result.ci_lo:.4g} to {result.ci_hi:.4g}",)
    return ()


def _from_folders(criterion: Criterion, given: PlanInput) -> _Found | None:
    """The newest figure of a captured folder; a whole folder is preferred to a damaged one."""
    pattern = criterion.figure or criterion.captured
    newest = newest_figure(pattern, criterion.test, criterion.unit, given.folders) if pattern else None
    if newest is None:
        return None
    figure, (folder, state) = newest
    text = f"{figure.name} of {figure.workload or folder.path}"
    return _Found(figure.value, folder.commit, folder.machine, folder.started_at, text, (folder, state))


def _stale(found: _Found, plan: Plan, commits: Sequence[Commit], now: datetime) -> tuple[str, ...]:
    why = []
    if found.measured_at and now - found.measured_at > timedelta(days=plan.stale_days):
        why.append(f"measured more than {plan.stale_days:g} days ago")
    by_hash = {commit.hash: commit for commit in commits}
    newest = max(commits, key=lambda commit: (commit.position, commit.date), default=None)
    here = by_hash.get(found.commit)
    if newest and here and newest.tree != here.tree:
        behind = newest.position - here.position
        why.append(f"{behind} commits behind {newest.short}" if behind > 0 else f"{newest.short} is newer")
    if newest and not here:
        why.append(
            "measured at a commit that is not on the branch" if found.commit else "its commit is not recorded"
        )
    return tuple(why)


def _why_missing(criterion: Criterion, given: PlanInput) -> tuple[str, ...]:
    if criterion.missing:
        return (criterion.missing,)
    for text in (criterion.value, criterion.over, criterion.minus):
        name, values = series_name(text)
        tried = [
            result
            for result in given.results.get(name, ())
            if tuple(value for _, value in result.key.params) == values
        ]
        if text and not _usable(given.results, text):
            how = {str(result.status) for result in tried}
            return (f"{text} {'only ' + ' and '.join(sorted(how)) if how else 'has no results'}",)
    return ("its series were never measured together",)
