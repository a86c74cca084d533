"""The one registry of metrics: what a figure means, which direction is better, what is worth a word.

A series' metric follows from its benchmark's name, its unit and asv's type. Settings declare the
directions of units that are not known here (`[tool.nbbench.units]`, README.md).
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

from nbbench import workloads
from nbbench.compiled import COMPILED_BYTES, COMPILED_SERIES, GRAPH_BREAKS
from nbbench.growth import ORDER_TRACK, STEPS, Quantity
from nbbench.host import HOST_TRACK, OF_TENSORS, OF_WARM_RUNS, HostMetric, host_metric
from nbbench.ledger import Ledger
from nbbench.model import ChangePoint, EventDirection, Phase, SeriesKey


class Role(StrEnum):
    """The part that a series plays in an event."""

    TIME = "time"  # seconds that a user waits
    WORK = "work"  # exact counts: operations, bytes, exponents
    DTYPE = "dtype"  # exact: upcast bytes, output dtype
    MEMORY = "memory"  # peak memory
    ALLOCATOR = "allocator"  # page faults
    HOST = "host"  # exact counts of Python's own work
    MACHINE = "machine"  # ceilings: never the subject's doing
    DERIVED = "derived"  # quotients of the others: evidence, never an event of its own
    OTHER = "other"  # another project's figures


class Better(StrEnum):
    """Which direction of a unit is better; of an unknown one nobody has said it."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Metric:
    """What one series measures.

    `least_effect` is the smallest log ratio that makes an event (of a noisy metric the setting
    `min_effect` takes its place); `least_change` the smallest difference, in the unit.
    """

    name: str
    unit: str
    better: Better
    exact: bool
    role: Role
    phase: Phase
    least_effect: float
    least_change: float = 0.0

    def direction(self, effect: float) -> EventDirection:
        """What a log ratio (or difference) after against before means; 0 is a change without direction."""
        if self.better not in (Better.LOWER, Better.HIGHER) or effect == 0:
            return EventDirection.CHANGE
        worse = (effect > 0) is (self.better is Better.LOWER)
        return EventDirection.REGRESSION if worse else EventDirection.IMPROVEMENT

    def counts(self, change: ChangePoint, min_effect: float | None = None) -> bool:
        """Whether a change is large enough for an event; `min_effect` is that of noisy metrics."""
        least = self.least_effect if self.exact or min_effect is None else min_effect
        return abs(change.effect) >= least and abs(change.after - change.before) >= self.least_change


# Factors between scales of one unit: of SI and binary prefixes, of minutes and hours.
_SCALES = (*(10.0**n for n in range(1, 16)), 1024.0, 1024.0**2, 1024.0**3, 60.0, 3600.0)
_SCALE_ERROR = 0.01


def may_be_a_change_of_unit(change: ChangePoint) -> bool:
    """Whether a noisy value moved by a factor between units: other units under one version read like that."""
    if change_metric(change).exact or not math.isfinite(change.effect):
        return False
    return any(abs(abs(change.effect) - math.log(scale)) <= _SCALE_ERROR for scale in _SCALES)


LEAST_EXACT = 1e-4
"""Log ratio below which a change of exact work is not recorded: scalars that are set up once a run move
totals in the sixth digit (`nbbench ledger` lists those too)."""
_LEAST_NOISY = 0.05
_LEAST_WORK = 0.01
# Operations without bytes cost dispatch time only: about 5 µs each, lost in a large frame.
_LEAST_OPERATIONS = 0.10
# A minor fault costs about 1.7 µs (docs/findings.md): fewer than this are lost in any run.
# Less than 2 MiB more at once is lost in any process (a 1024² frame of float32 has 4 MiB).
# A step of Python takes about 0.1 µs: fewer than a hundred are lost in any phase.
# Starting up takes milliseconds: ten operations of torch are 50 µs, 256 KiB as much as five of them.
_LEAST_CHANGE = {
    "faults": 1000.0,
    "B (exact)": float(2**21),
    "steps": 100.0,
    "B held": float(2**21),
    "tensor operations": 10.0,
    "B moved": float(2**18),
    "B alive": float(2**21),
}

# Figures that say by themselves what they are. Exact ones repeat to the last digit on any machine
# with the same torch version, so any change is a change of the subject (docs/ledger.md).
_BY_UNIT: Mapping[str, tuple[Better, bool, Role, float]] = {
    "operations": (Better.LOWER, True, Role.WORK, _LEAST_OPERATIONS),
    **dict.fromkeys(
        ("B/pixel", "B/point", "exponent", "order", "graph breaks"),
        (Better.LOWER, True, Role.WORK, _LEAST_WORK),
    ),
    "B (exact)": (Better.LOWER, True, Role.MEMORY, _LEAST_NOISY),
    **dict.fromkeys(map(str, HostMetric), (Better.LOWER, True, Role.HOST, _LEAST_NOISY)),
    "tensor operations": (Better.LOWER, True, Role.HOST, _LEAST_OPERATIONS),
    "correlation": (Better.HIGHER, True, Role.DERIVED, _LEAST_NOISY),  # of images: no load moves it
    "relative error": (Better.LOWER, True, Role.DERIVED, _LEAST_NOISY),  # likewise
    "× fused": (Better.LOWER, True, Role.DERIVED, _LEAST_WORK),
    "dtype code": (Better.NEITHER, True, Role.DTYPE, _LEAST_WORK),
    "checksum": (Better.NEITHER, False, Role.OTHER, _LEAST_NOISY),
    "faults": (Better.LOWER, False, Role.ALLOCATOR, _LEAST_NOISY),
    "B (mapped)": (Better.LOWER, True, Role.ALLOCATOR, _LEAST_NOISY),
}


# Host work: unit and phase by the name of the series.
_HOST = {
    host_metric(metric, phase): (metric.value, phase)
    for phase in (Phase.IMPORT, Phase.CONSTRUCT, Phase.FIRST, Phase.WARM)
    for metric in HostMetric
    if metric not in OF_WARM_RUNS or phase is Phase.WARM
    if metric not in OF_TENSORS or phase in (Phase.CONSTRUCT, Phase.FIRST)  # a warm run has its ledger
}

_Figure = Callable[[Ledger], float | None]


def ledger_count(name: str, unit: str) -> tuple[str, _Figure]:
    """The metric of what a probe keeps under this name in `Ledger.counts`; `_BY_UNIT` tells of its unit."""
    return unit, lambda one: dict(one.counts).get(name)


LEDGER_METRICS: dict[str, tuple[str, _Figure]] = {
    "track_bytes_per_pixel": ("B/pixel", lambda one: one.bytes_per_pixel),
    "track_operations": ("operations", lambda one: float(one.ops)),
    "track_upcast_bytes": ("B/pixel", lambda one: one.upcast_bytes / one.pixels),
    "track_peak_live_bytes": ("B (exact)", lambda one: float(one.peak_live_bytes)),
    "track_mapped_bytes": ledger_count("track_mapped_bytes", "B (mapped)"),
    **{name: ledger_count(name, unit) for name, (unit, _) in _HOST.items()},
    GRAPH_BREAKS: ledger_count(GRAPH_BREAKS, "graph breaks"),
    COMPILED_BYTES: ledger_count(COMPILED_BYTES, "B/pixel"),
    **{one.metric: ledger_count(one.metric, "order") for one in Quantity},
}
"""The exact figures of a ledger by the names of their series: unit and value."""


LEDGER_QUOTIENTS: dict[str, tuple[str, _Figure]] = {
    "track_fusion_headroom": (
        "× fused",
        lambda one: one.bytes / one.fused_bytes if one.fused_bytes else None,
    ),
}
"""What is shown along the branch beside them, by which factor a perfect fusion moves less; parts decide."""


def is_exact(unit: str) -> bool:
    """Whether figures in this unit are counts that repeat to the last digit."""
    return unit in _BY_UNIT and _BY_UNIT[unit][1]


def unit_role(unit: str) -> Role:
    """The role of figures that say by their unit what they are."""
    return _BY_UNIT[unit][2] if unit in _BY_UNIT else Role.OTHER


def least_effect(unit: str) -> float:
    """The smallest log ratio of a metric in this unit that counts."""
    return _BY_UNIT[unit][3] if unit in _BY_UNIT else _LEAST_NOISY


def least_change(unit: str) -> float:
    """The smallest difference of a metric in this unit that counts."""
    return _LEAST_CHANGE.get(unit, 0.0)


# Series of our suites whose role their unit does not tell: their last name part, or the last two.
_ROLES: Mapping[str, Role] = {
    "track_upcast_bytes": Role.DTYPE,
    "track_output_dtype": Role.DTYPE,
    **{one.metric: Role.HOST for one in Quantity if one.of_host},
    "Ceiling.track_copy_ceiling": Role.MACHINE,
    "Traffic.track_dispatched": Role.DERIVED,  # views included: the count that moves bytes decides
    "Traffic.track_bandwidth": Role.DERIVED,
    "Traffic.track_copy_fraction": Role.DERIVED,
    "Traffic.track_legacy_bandwidth": Role.DERIVED,
    "Traffic.track_malloc_penalty": Role.DERIVED,  # a quotient of two times; the faults are counts
    "DtypeRatio.track_time_ratio": Role.DERIVED,
    "CRatio.track_time_ratio": Role.DERIVED,
}
_RATIOS_OF_TIME = frozenset({"track_time_ratio", "track_malloc_penalty"})
_PHASES = {
    "import": Phase.IMPORT,
    "import_all": Phase.IMPORT,
    "construct": Phase.CONSTRUCT,
    "first_run": Phase.FIRST,
}

_TIME = r"(?:[munµμ]?s|[mun]?secs?|(?:milli|micro|nano)?seconds?|min(?:ute)?s?|h(?:ours?)?|days?)"
_COST = re.compile(rf"{_TIME}|(?:[kmgt]i?)?b(?:ytes?)?", re.I)
_BAD_RATES = re.compile(
    r"\b(error|fail|fault|miss|drop|timeout|leak|retr|stall|crash|reject|abort|lost|loss|pause|evict|wait)",
    re.I,
)
_RATE = re.compile(
    rf"(?P<what>.*?)\s*(?:/|\bper\b)\s*{_TIME}|[kmgtpe]?(?:flops{{0,2}}|fps|bps|iops|qps|rps|tps|ips|hz)",
    re.I,
)
_GAIN = re.compile(
    r"(x|×|times faster|[a-z× -]*speed-?\s?ups?( factor| ratio)?|throughput|bandwidth"
    r"|(hit rate|efficiency|utili[sz]ation)( %)?"
    r"|(?:[kmgt]i?)?b(?:ytes?)?\s*(?:/|\bper\b)\s*(?:cycle|clock|clk)"
    r"|(%|percent|fraction|share) of ([\w-]+ )*(peak|ceiling|roof(line)?))",
    re.I,
)
_NO_UNIT = frozenset({"", "unit"})  # asv's own default for track_ benchmarks
_NAMED_GAIN = re.compile(r"(speed_?up|throughput|bandwidth|flops{1,2}|fps|per_sec(ond)?)s?$", re.I)
_NAMED_COST = re.compile(r"(^|_)(run_?time|time|seconds|duration|latency|memory|bytes)$", re.I)
_NOTHING: Mapping[str, Better] = MappingProxyType({})


def metric_of(key: SeriesKey, unit: str, kind: str = "", declared: Mapping[str, Better] = _NOTHING) -> Metric:
    """The metric of a series by its benchmark's name, its unit and asv's type of it.

    `kind` serves only benchmarks whose name does not tell asv's type. `declared` gives directions
    by unit, as the project's settings do (`Settings.directions`); what is declared wins.
    """
    return _metric(".".join(key.benchmark.split(".")[-2:]), unit, kind, declared.get(unit), phase_of(key))


def change_metric(change: ChangePoint) -> Metric:
    """The metric of the series in which a change was found; its own direction is on record in the change."""
    return metric_of(change.key, change.unit)


def change_role(change: ChangePoint) -> Role:
    """The role of the series in which a change was found."""
    return metric_of(change.key, change.unit).role


def phase_of(key: SeriesKey) -> Phase:
    """The phase that a series measures: as the suite declares it, else as far as its name tells."""
    module, _, name = key.benchmark.rpartition(".")
    kind, _, what = name.partition("_")
    if name.startswith(HOST_TRACK):
        return _HOST[name][1] if name in _HOST else Phase.WARM
    if name in COMPILED_SERIES:
        return Phase.COMPILED
    if name.startswith(ORDER_TRACK):
        return next((phase for phase, one in STEPS.items() if one.metric == name), Phase.WARM)
    if kind in ("peakmem", "mem") or name == "track_peak_live_bytes":
        return Phase.MEMORY
    if (declared := workloads.phase_of(key)) is not None:
        return declared
    return _PHASES.get(what, Phase.WARM) if module.partition(".")[0] == "cold_start" else Phase.WARM


@lru_cache(maxsize=4096)
def _metric(name: str, unit: str, kind: str, declared: Better | None, phase: Phase) -> Metric:
    short = name.rpartition(".")[2]
    kind = _KINDS.get(short.partition("_")[0].lower(), kind)
    unit = unit or {"time": "seconds", "memory": "bytes", "peakmemory": "bytes"}.get(kind, unit)
    better, exact, role, least = _BY_UNIT.get(
        unit, (_better(short, unit, kind), False, _noisy_role(unit, kind), _LEAST_NOISY)
    )
    role = _ROLES.get(short) or _ROLES.get(name) or role
    if role is Role.DTYPE:
        least = _LEAST_WORK
    return Metric(
        name=short,
        unit=unit,
        better=declared or better,
        exact=exact,
        role=role,
        phase=phase,
        least_effect=least,
        least_change=least_change(unit),
    )


# The beginnings of names that give asv's types.
_KINDS = {"time": "time", "timeraw": "time", "mem": "memory", "peakmem": "peakmemory", "track": "track"}


def _noisy_role(unit: str, kind: str) -> Role:
    if unit == "bytes" or kind in ("memory", "peakmemory"):
        return Role.MEMORY
    return Role.TIME if unit in ("seconds", "s") or kind == "time" else Role.OTHER


def _better(name: str, unit: str, kind: str) -> Better:
    if name in _RATIOS_OF_TIME:
        return Better.LOWER
    if unit.strip().lower() in _NO_UNIT:
        what = name.removeprefix("track_")
        named = Better.LOWER if _NAMED_COST.search(what) else Better.UNKNOWN
        return Better.HIGHER if _NAMED_GAIN.search(what) else named
    said = unit_better(unit)
    return Better.LOWER if said is Better.UNKNOWN and kind in ("time", "memory", "peakmemory") else said


@lru_cache(maxsize=1024)
def unit_better(unit: str) -> Better:
    """The direction that a unit's name tells: costs are better low, rates and speed-ups high."""
    text = " ".join(re.sub(r"\([^()]*\)\s*$", "", unit).split())
    if unit in _BY_UNIT:
        return _BY_UNIT[unit][0]
    if _COST.fullmatch(text):
        return Better.LOWER
    if (rate := _RATE.fullmatch(text)) is not None:
        return Better.UNKNOWN if _BAD_RATES.search(rate["what"] or "") else Better.HIGHER
    if _GAIN.fullmatch(text):
        return Better.HIGHER
    # A duration or a size of something: s/it, ms/frame, B/point, seconds per step.
    of = re.split(r"\s*/\s*|\s+per\s+", text, maxsplit=1)
    if len(of) == 2 and _COST.fullmatch(of[0]):
        return Better.LOWER
    return Better.UNKNOWN
