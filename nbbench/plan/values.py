"""A criterion's value, from benchmark results or figures of evidence folders: how sure it is, and under which
conditions. No I/O.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from nbbench.captured import EvidenceFigure, Folder
from nbbench.history.ledger_series import ANY_MACHINE
from nbbench.history.telemetry import is_left_out
from nbbench.metrics import is_exact, phase_of
from nbbench.model import Phase, Result, Status
from nbbench.plan.plans import Criterion, Measured, Plan, PlanInput
from nbbench.probe.device import CUDA_MARK
from nbbench.units import format_number

FEWEST_SAMPLES = 5
"""Below these a noisy value has no interval of its own, so it gives no verdict."""


def series_name(text: str) -> tuple[str, tuple[str, ...]]:
    """`name(value, …)` as a benchmark's name and the texts of its parameter values."""
    name, bracket, rest = text.partition("(")
    values = rest.rstrip().removesuffix(")")
    return name.strip(), tuple(part.strip() for part in values.split(",")) if bracket and values else ()


def results_of(results: Mapping[str, Sequence[Result]], series: str) -> list[Result]:
    """The results of a series, which is named as `series_name` takes it."""
    name, values = series_name(series)
    return [one for one in results.get(name, ()) if tuple(value for _, value in one.key.params) == values]


def from_series(
    criterion: Criterion, plan: Plan, given: PlanInput
) -> tuple[Measured | None, tuple[str, ...]]:
    """The value at the newest commit where every series that it needs was measured together, as asked."""
    tables = {name: _usable(given.results, name, criterion.device) for name in criterion.series}
    if lacking := next((name for name, table in tables.items() if not table), None):
        how = " and ".join(sorted({str(one.status) for one in results_of(given.results, lacking)}))
        said = f"{lacking} {f'only {how}' if how else 'has no results'}"
        return None, () if criterion.device == "cuda" else (said,)
    shared = set.intersection(*(set(table) for table in tables.values()))
    order = {commit.hash: place for place, commit in enumerate(given.commits)}
    main = tables[criterion.value]
    places = sorted(shared, key=lambda p: (order.get(p[0], -1), _when(main[p])), reverse=True)
    other: tuple[str, ...] = ()
    for place in places:
        results = {name: table[place] for name, table in tables.items()}
        found = _measured(criterion, results, given)
        unlike = _unlike(criterion, plan, tuple(results.values()), given)
        if found and not unlike:
            return found, ()
        if found and not other:
            other = (f"{format_number(found.value)} at {found.commit[:8]} was measured {', '.join(unlike)}",)
    return None, other or ("its series were never measured together",)


def _usable(results: Mapping[str, Sequence[Result]], text: str, device: str) -> dict[tuple[str, str], Result]:
    """The results of a series on a device by commit and environment; of two the one measured last."""
    found: dict[tuple[str, str], Result] = {}
    for result in results_of(results, text):
        if result.status is not Status.OK or result.value is None:
            continue
        if (CUDA_MARK in result.key.environment) is not (device == "cuda"):
            continue
        place = result.commit, result.key.environment
        if place not in found or _when(result) >= _when(found[place]):
            found[place] = result
    return found


def _when(result: Result) -> float:
    return result.started_at.timestamp() if result.started_at else 0.0


def _measured(criterion: Criterion, results: Mapping[str, Result], given: PlanInput) -> Measured | None:
    """The criterion's value from the results of one commit; None where they give no number."""
    main = results[criterion.value]
    ends = _combined(criterion, results)
    if ends is None:
        return None
    most = max((_threads(result, given) for result in results.values()), default=0)
    return Measured(
        *ends,
        commit=main.commit,
        machine=main.key.machine,
        measured_at=min((r.started_at for r in results.values() if r.started_at), default=None),
        derived=_derivation(criterion),
        source="results/ledger"
        if main.key.machine == ANY_MACHINE
        else f"results/{main.key.machine}/{main.commit[:8]}-{main.key.environment}.json",
        doubts=tuple(_doubts(criterion, results.values(), given)),
        # They wait for each other where there are more of them than cores.
        notes=(f"oversubscribed: {most} threads on {given.cores} cores",)
        if given.cores and most > given.cores
        else (),
    )


def _unlike(criterion: Criterion, plan: Plan, results: Sequence[Result], given: PlanInput) -> tuple[str, ...]:
    """Under which other conditions than those of the criterion the results were measured."""
    if all(is_exact(result.unit) for result in results):
        return ()  # counts depend on none of them
    found = []
    pinned = [not re.search(plan.default_malloc or "(?!)", result.key.benchmark) for result in results]
    if criterion.malloc and any(is_pinned != (criterion.malloc == "pinned") for is_pinned in pinned):
        found.append(f"with malloc {'pinned' if any(pinned) else 'as it is by default'}")
    threads = {_threads(result, given) for result in results}
    if criterion.threads and threads != {criterion.threads}:
        known = " and ".join(str(n) for n in sorted(filter(None, threads))) or "an unrecorded number of"
        found.append(f"on {known} thread{'' if known == '1' else 's'} instead of {criterion.threads}")
    if criterion.compile and any(phase_of(result.key) is not Phase.COMPILED for result in results):
        found.append("without compiling")
    dtypes = {word for r in results for _, value in r.key.params for word in re.findall(r"float\d\d", value)}
    if criterion.dtype and dtypes - {criterion.dtype}:
        found.append(f"in {' and '.join(sorted(dtypes))} instead of {criterion.dtype}")
    return tuple(found)


def _threads(result: Result, given: PlanInput) -> int:
    """How many threads computed: the benchmark's own parameter, else what telemetry says (0: nothing)."""
    if (own := dict(result.key.params).get("threads", "")).isdecimal():
        return int(own)
    return given.threads.get((result.commit, result.key.environment, result.key.benchmark), 0)


def _doubts(criterion: Criterion, results: Iterable[Result], given: PlanInput) -> Iterator[str]:
    """Why values that are the criterion's own give no verdict."""
    for result in results:
        count = len(result.samples)
        if is_exact(result.unit):
            continue
        if is_left_out(given.disturbed, result.key, result.commit):
            yield f"other processes disturbed {result.key.label}"
        if 0 < count < FEWEST_SAMPLES and not _is_tracked(result):
            yield f"{result.key.label} has {count} samples; {FEWEST_SAMPLES} are the least that can tell"
    yield from few_cores(criterion, given)


def _combined(criterion: Criterion, results: Mapping[str, Result]) -> tuple[float, float, float] | None:
    """The value, put together as the criterion says, and the ends of its interval."""
    offset = results[criterion.minus].value or 0.0 if criterion.minus else 0.0
    value, lo, hi = (x - offset for x in _interval(results[criterion.value], criterion.margin))
    below = [1.0, 1.0, 1.0]
    if criterion.over:
        below = [x - offset for x in _interval(results[criterion.over], criterion.margin)]
    if min(below) <= 0:
        return None
    factor = criterion.scale / (criterion.per_pixel * criterion.pixels if criterion.per_pixel else 1.0)
    return value / below[0] * factor, lo / below[2] * factor, hi / below[1] * factor


def _interval(result: Result, margin: float) -> tuple[float, float, float]:
    """A result's value and where the true one lies: asv's 99 % interval, else the range of the samples.

    A noisy figure by itself, such as a tracked one of up to four runs, is taken as true within `margin`.
    """
    value = result.value or 0.0
    if is_exact(result.unit):
        return value, value, value
    few = len(result.samples) < FEWEST_SAMPLES
    if result.ci_lo is not None and result.ci_hi is not None and not (few and _is_tracked(result)):
        return value, result.ci_lo, result.ci_hi
    if not few:
        return value, min(result.samples), max(result.samples)
    return value, value - margin * abs(value), value + margin * abs(value)


def _is_tracked(result: Result) -> bool:
    """Whether each sample is a figure by itself, of many runs perhaps."""
    return result.key.benchmark.rpartition(".")[2].startswith("track_")


def _derivation(criterion: Criterion) -> str:
    """How the value was put together; empty where it is a series' own."""
    value = criterion.value if not criterion.minus else f"({criterion.value} − {criterion.minus})"
    over = criterion.over if not criterion.minus else f"({criterion.over} − {criterion.minus})"
    parts = [f"{criterion.scale:g} · {value}" if criterion.scale != 1 else value]
    parts += [over] if criterion.over else []
    parts += [f"({criterion.pixels:,} · {criterion.per_pixel:g} B)"] if criterion.per_pixel else []
    text = " / ".join(parts)
    return "" if text == criterion.value else text


def from_folders(criterion: Criterion, given: PlanInput) -> tuple[Measured | None, tuple[str, ...]]:
    """The newest figure of a captured folder that has the criterion's conditions; a whole folder first."""
    why_not: tuple[str, ...] = ()
    newest = sorted(given.folders, key=lambda folder: (not folder.damage, folder.stamp), reverse=True)
    for folder in newest if criterion.figure else ():
        figure = _figure(criterion, folder)
        if figure is None:
            continue
        if unlike := _unlike_folder(criterion, folder, given.machine):
            why_not = why_not or (f"{format_number(figure.value)} of {folder.stamp} was captured {unlike}",)
            continue
        doubts = ["other processes disturbed the captured test"] if "disturbed" in folder.kind else []
        reach = criterion.margin * abs(figure.value)
        return Measured(
            figure.value,
            figure.value - reach,
            figure.value + reach,
            folder.commit,
            folder.machine,
            folder.started_at,
            derived=f"{figure.name} of {figure.workload or folder.path}",
            folder=folder.path,
            damaged=bool(folder.damage),
            doubts=(*doubts, *few_cores(criterion, given)),
        ), ()
    return None, why_not


def _figure(criterion: Criterion, folder: Folder) -> EvidenceFigure | None:
    wanted, of = re.compile(f"(?i){criterion.figure}"), re.compile(criterion.test)
    for figure in folder.figures:
        same_dtype = not criterion.dtype or {*re.findall(r"float\d\d", figure.name)} <= {criterion.dtype}
        named = wanted.search(figure.name) and of.search(figure.workload)
        if same_dtype and named and figure.unit.startswith(criterion.unit):
            return figure
    return None


def _unlike_folder(criterion: Criterion, folder: Folder, machine: str) -> str:
    """Under which other conditions than those of the criterion a folder's figures were captured."""
    kinds = folder.kind.split()
    found = [f"on {folder.machine or 'a machine that it does not name'}"] if folder.machine != machine else []
    found += ["under a profiler"] if "profiled" in kinds else []
    found += ["with malloc pinned"] if "malloc-pinned" in kinds and criterion.malloc != "pinned" else []
    if ("compiled" in kinds) != bool(criterion.compile):
        found.append(
            "while Dynamo compiled" if "compiled" in kinds else "without anything compiled by Dynamo"
        )
    return ", ".join(found)


def few_cores(criterion: Criterion, given: PlanInput) -> list[str]:
    """That the machine has fewer cores than the criterion asks for, or that nobody knows; else empty."""
    if not criterion.cores or (given.cores or 0) >= criterion.cores:
        return []
    if given.cores is None:
        return [f"how many cores {given.machine} has is not recorded; {criterion.cores} are asked for"]
    return [f"{given.machine} has {given.cores} cores; {criterion.cores} are asked for"]
