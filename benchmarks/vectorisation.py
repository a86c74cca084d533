"""Dtype vectorisation: CLUSTER-VEC-001, AT-PERF-006 and the loops that became tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from nbbench.measure.recording import ledger_of, save
from nbbench.probe.device import device_clock
from nbbench.probe.resources import measure

from . import recording, subject, workloads
from .workloads import DTYPES, POINTS

LOOP_EXPONENT = 0.5

# knob: build(n) small and large, ratio of the work between them
EXPONENTS: dict[str, tuple[Callable[[], subject.Case], Callable[[], subject.Case], float]] = {
    "tricubic": (lambda: subject.tricubic(64, "float32"), lambda: subject.tricubic(128, "float32"), 2),
    "sources": (lambda: subject.sources(16, 16), lambda: subject.sources(16, 32), 2),
    "multi_source": (lambda: subject.multi_source(16, 32), lambda: subject.multi_source(32, 32), 2),
    "oversample": (lambda: subject.oversample(4, 32), lambda: subject.oversample(8, 32), 4),
    "phi_steps": (lambda: subject.phi_steps(16, 32), lambda: subject.phi_steps(32, 32), 2),
    "mosaic_domains": (lambda: subject.mosaic_domains(16, 32), lambda: subject.mosaic_domains(32, 32), 2),
    "absorption": (lambda: subject.absorption(16, 32), lambda: subject.absorption(32, 32), 2),
}


def tricubic(points: int, dtype: str) -> subject.Case:
    """The interpolation case; a Python loop over points is skipped where it would take minutes.

    Whether there is a loop is told by counts (operations of 8 and 16 points), not by a clock.
    """
    if points > 1000:
        few, twice = (recording.operations(subject.tricubic(n, dtype)) for n in (8, 16))
        if subject.exponent(few, twice, 2) > LOOP_EXPONENT:
            raise NotImplementedError(
                f"a Python loop over points ({few} operations for 8, {twice} for 16): too slow for {points:,}"
            )
    return subject.tricubic(points, dtype)


BUILDERS: dict[str, Callable[..., subject.Case]] = {
    "tricubic": tricubic,
    "sources": lambda rows=63, columns=63: subject.sources(rows, columns),
    **{knob: getattr(subject, knob) for knob in workloads.KNOBS},
}
CASES: dict[str, Callable[[], subject.Case]] = {
    one.name: functools.partial(BUILDERS[one.family], *dict(one.params).values())
    for one in workloads.VECTORISATION
}


class _Timed:
    """Builds its case once a process and times `run`."""

    version = "1"
    rounds = 2
    repeat = (2, 5, 1.0)
    warmup_time = 0.05
    timeout = 120
    timer = staticmethod(device_clock)
    _case: subject.Case | None = None

    def build(self, *params: Any) -> subject.Case:
        """The case for these parameters."""
        raise NotImplementedError

    def setup(self, *params: Any) -> None:
        """Build once: asv calls setup before every sample, and a warm run is asked for."""
        if self._case is None:
            subject.prepare()
            self._case = self.build(*params)
            self._case.run()

    def run(self) -> None:
        """One run of the case."""
        assert self._case is not None
        self._case.run()


class Tricubic(_Timed):
    """Tricubic interpolation of structure factors over an 11³ grid (CLUSTER-VEC-001)."""

    params: ClassVar[list[list[Any]]] = [POINTS, DTYPES]
    param_names: ClassVar[list[str]] = ["points", "dtype"]

    def build(self, points: int, dtype: str) -> subject.Case:  # type: ignore[override]
        """Interpolation at `points` fractional Miller indices."""
        return tricubic(points, dtype)

    def time_interpolate(self, points: int, dtype: str) -> None:
        """Seconds of one call of `Crystal._tricubic_interpolation`."""
        self.run()


class Sources(_Timed):
    """Generation of 3,969 sources from a 63 × 63 divergence grid (vectorised at 90c3379e)."""

    def build(self) -> subject.Case:  # type: ignore[override]
        """The 63 × 63 grid."""
        return subject.sources(63, 63)

    def time_generate(self) -> None:
        """Seconds of one call of the generator."""
        self.run()


class _Knob(_Timed):
    """A whole 256² float32 simulation with one kind of loop turned up."""

    knob = ""
    param_names: ClassVar[list[str]] = ["n"]

    def build(self, count: int) -> subject.Case:  # type: ignore[override]
        """The simulation with `count` of whatever the knob turns."""
        return BUILDERS[self.knob](count)


class MultiSource(_Knob):
    """Several beam sources (AT-SRC-001; batched at c8f0a3b8 and 78e24693)."""

    knob = "multi_source"
    params: ClassVar[list[int]] = workloads.KNOBS["multi_source"]

    def time_run(self, count: int) -> None:
        """Seconds of one warm run with n sources."""
        self.run()


class Oversample(_Knob):
    """n × n subpixels (AT-PERF-006: oversample 3 vectorised ≥ 5× the loop)."""

    knob = "oversample"
    params: ClassVar[list[int]] = workloads.KNOBS["oversample"]

    def time_run(self, count: int) -> None:
        """Seconds of one warm run with n × n subpixels."""
        self.run()


class PhiSteps(_Knob):
    """Steps of the spindle rotation."""

    knob = "phi_steps"
    params: ClassVar[list[int]] = workloads.KNOBS["phi_steps"]

    def time_run(self, count: int) -> None:
        """Seconds of one warm run with n phi steps."""
        self.run()


class MosaicDomains(_Knob):
    """Mosaic domains of the crystal."""

    knob = "mosaic_domains"
    params: ClassVar[list[int]] = workloads.KNOBS["mosaic_domains"]

    def time_run(self, count: int) -> None:
        """Seconds of one warm run with n mosaic domains."""
        self.run()


class Absorption(_Knob):
    """Detector absorption in layers (AT-ABS-001; vectorised at 42c8935b)."""

    knob = "absorption"
    params: ClassVar[list[int]] = workloads.KNOBS["absorption"]

    def time_run(self, count: int) -> None:
        """Seconds of one warm run with n absorption layers."""
        self.run()


class Counts:
    """Exact figures of every vectorisation workload, recorded once a commit."""

    params: ClassVar[list[str]] = list(CASES)
    param_names: ClassVar[list[str]] = ["workload"]
    version = "1"
    timeout = 60

    def setup_cache(self) -> dict[str, dict[str, Any]]:
        """Ledgers of all workloads, exponents and dtype ratios in one process."""
        subject.prepare()
        ledgers: list[Any] = []
        cache = {name: recording.record(name, build, _keep(ledgers)) for name, build in CASES.items()}
        for knob, (small, large, ratio) in EXPONENTS.items():
            ends = [recording.record(knob, build, _counts) for build in (small, large)]
            error = next((end["error"] for end in ends if "error" in end), None)
            cache[f"exponent-{knob}"] = (
                {"error": error}
                if error
                else {"exponent": subject.exponent(ends[0]["operations"], ends[1]["operations"], ratio)}
            )
        for points in POINTS:
            cache[f"ratio-{points}"] = recording.record(
                "ratio", lambda n=points: tricubic(n, "float64"), _ratio
            )
        save(ledgers)
        return cache

    setup_cache.timeout = 300  # type: ignore[attr-defined]

    def track_operations(self, cache: Any, workload: str) -> float:
        """Operations of one run that move bytes; exact."""
        return recording.look_up(cache, workload, "operations")

    track_operations.unit = "operations"  # type: ignore[attr-defined]

    def track_bytes_per_point(self, cache: Any, workload: str) -> float:
        """Bytes read and written per pixel, point or source; exact."""
        return recording.look_up(cache, workload, "bytes_per_pixel")

    track_bytes_per_point.unit = "B/point"  # type: ignore[attr-defined]

    def track_upcast_bytes(self, cache: Any, workload: str) -> float:
        """Bytes per point produced wider than asked: 0 when dtype-neutral; exact."""
        return recording.look_up(cache, workload, "upcast_bytes_per_pixel")

    track_upcast_bytes.unit = "B/point"  # type: ignore[attr-defined]

    def track_output_dtype(self, cache: Any, workload: str) -> float:
        """Bits of the output's floating-point type (32, 64); exact."""
        return recording.look_up(cache, workload, "output_bits")

    track_output_dtype.unit = "dtype code"  # type: ignore[attr-defined]


class Exponent:
    """How the number of operations grows with the work (AT-PERF-006)."""

    params: ClassVar[list[str]] = list(EXPONENTS)
    param_names: ClassVar[list[str]] = ["loop"]
    version = "1"
    timeout = 60

    setup_cache = Counts.setup_cache

    def track_exponent(self, cache: Any, loop: str) -> float:
        """log2(ops(2n)/ops(n)): 0 when vectorised, 1 for a Python loop; exact."""
        return recording.look_up(cache, f"exponent-{loop}", "exponent")

    track_exponent.unit = "exponent"  # type: ignore[attr-defined]


class DtypeRatio:
    """What double precision costs the interpolation."""

    params: ClassVar[list[int]] = POINTS
    param_names: ClassVar[list[str]] = ["points"]
    version = "1"
    timeout = 60

    setup_cache = Counts.setup_cache

    def track_time_ratio(self, cache: Any, points: int) -> float:
        """float64 time over float32 time of the tricubic interpolation, same process."""
        return recording.look_up(cache, f"ratio-{points}", "ratio")

    track_time_ratio.unit = "ratio"  # type: ignore[attr-defined]


def _counts(case: subject.Case) -> recording.Record:
    case.run()  # caches of the subject are warm when the ledger is taken
    return recording.counts(ledger_of(case))


def _keep(ledgers: list[Any]) -> Callable[[subject.Case], recording.Record]:
    def function(case: subject.Case) -> recording.Record:
        case.run()
        ledgers.append(ledger_of(case))
        return recording.counts(ledgers[-1])

    return function


def _ratio(wide: subject.Case) -> recording.Record:
    """Fastest of alternating runs, so that drift of the machine hits both dtypes alike."""
    narrow = subject.tricubic(wide.pixels, "float32")
    best = [float("inf"), float("inf")]
    for _ in range(4):
        for i, case in enumerate((narrow, wide)):
            best[i] = min(best[i], measure(case.run, 1)[0].wall_s)
    return {"ratio": best[1] / best[0]}
