"""Memory bandwidth: AT-PERF-003 and CLUSTER-PERF-001."""

from __future__ import annotations

import functools
import os
from statistics import median
from typing import Any, ClassVar

from nbbench.measure.recording import ledger_of, save
from nbbench.probe.ceiling import measure_ceiling
from nbbench.probe.device import device_clock
from nbbench.probe.resources import pin_malloc

from . import recording, subject
from .workloads import BANDWIDTH, DTYPES, SIZES

GIB = 2**30
BUILDERS = {"bandwidth": subject.bandwidth}
CASES = {one.name: functools.partial(subject.bandwidth, **dict(one.params)) for one in BANDWIDTH}


def refuse_large(size: int, dtype: str) -> None:
    """Skip frames above NBBENCH_MAX_FRAME_MB (2048² float64 is 33.6 MB), where one is set."""
    limit = float(os.environ.get("NBBENCH_MAX_FRAME_MB") or "inf")
    frame = size * size * subject.parse_dtype(dtype).itemsize / 1e6
    if frame > limit:
        raise NotImplementedError(f"a frame of {frame:.1f} MB is above NBBENCH_MAX_FRAME_MB={limit:g}")


class Warm:
    """A warm run of the simulator with malloc pinned: AT-PERF-003 without the allocator."""

    params: ClassVar[list[list[Any]]] = [SIZES, DTYPES]
    param_names: ClassVar[list[str]] = ["size", "dtype"]
    version = "1"
    rounds = 2
    repeat = (2, 5, 2.0)
    warmup_time = 0.05
    timeout = 120
    timer = staticmethod(device_clock)
    _case: subject.Case | None = None

    def setup(self, size: int, dtype: str) -> None:
        """Build once a process: asv calls setup before every sample, and a warm run is asked for."""
        if self._case is None:
            refuse_large(size, dtype)
            subject.prepare()
            self._case = subject.bandwidth(size, dtype)

    def time_run(self, size: int, dtype: str) -> None:
        """Seconds of one warm `Simulator.run()` (AT-PERF-003)."""
        assert self._case is not None
        self._case.run()

    time_run.unit = "seconds"  # type: ignore[attr-defined]


class PeakMemory:
    """Peak resident memory of a process that builds and runs once (AT-PERF-003)."""

    params: ClassVar[list[list[Any]]] = [SIZES, DTYPES]
    param_names: ClassVar[list[str]] = ["size", "dtype"]
    version = "1"
    timeout = 120

    def setup(self, size: int, dtype: str) -> None:
        """Pin the process; building is part of what is measured."""
        refuse_large(size, dtype)
        subject.prepare()

    def peakmem_run(self, size: int, dtype: str) -> None:
        """Bytes of ru_maxrss after construction and one run; subtract `Baseline.peakmem_nothing`."""
        subject.bandwidth(size, dtype).run()


class Baseline:
    """What a process costs that imports torch and the subject and does nothing."""

    version = "1"
    timeout = 60

    def setup(self) -> None:
        """Import and pin, as the measured processes do."""
        subject.prepare()
        subject.load()

    def peakmem_nothing(self) -> None:
        """Bytes of ru_maxrss without any work: the baseline of every peakmem_ figure."""


class Traffic:
    """Counts, bandwidths and the allocator's penalty, recorded once a commit."""

    params: ClassVar[list[list[Any]]] = [SIZES, DTYPES]
    param_names: ClassVar[list[str]] = ["size", "dtype"]
    version = "1"
    timeout = 60

    def setup_cache(self) -> dict[str, dict[str, Any]]:
        """Every figure in one process: first with the default malloc, then pinned."""
        subject.prepare(malloc=False)
        cache: dict[str, dict[str, Any]] = {}
        pairs = [dict(one.params).values() for one in BANDWIDTH]
        for size, dtype in pairs:
            cache[f"{size}-{dtype}"] = recording.record(
                f"bandwidth-{size}-{dtype}",
                lambda size=size, dtype=dtype: _build(size, dtype),
                lambda case: {"default": recording.timed(case, repeat=2)},
            )
        pin_malloc()
        ledgers: list[Any] = []
        for size, dtype in pairs:
            found = cache[f"{size}-{dtype}"]
            if "error" not in found:
                more = recording.record(
                    f"bandwidth-{size}-{dtype}",
                    lambda size=size, dtype=dtype: _build(size, dtype),
                    lambda case, found=found, size=size: _figures(case, found, size, ledgers),
                )
                found.update(more)
        copy = measure_ceiling(repeats=3).copy
        for found in cache.values():
            if "error" not in found:
                found["copy_fraction"] = found["bandwidth"] / copy
        cache["machine"] = {"copy": copy}
        save(ledgers)
        return cache

    setup_cache.timeout = 300  # type: ignore[attr-defined]

    def track_operations(self, cache: Any, size: int, dtype: str) -> float:
        """Operations of one run that move bytes; exact (views and metadata excluded)."""
        return recording.look_up(cache, f"{size}-{dtype}", "operations")

    track_operations.unit = "operations"  # type: ignore[attr-defined]

    def track_dispatched(self, cache: Any, size: int, dtype: str) -> float:
        """All dispatched operations of one run, views and metadata included; exact."""
        return recording.look_up(cache, f"{size}-{dtype}", "dispatched")

    track_dispatched.unit = "operations"  # type: ignore[attr-defined]

    def track_bytes_per_pixel(self, cache: Any, size: int, dtype: str) -> float:
        """Bytes read and written per pixel of one run; exact."""
        return recording.look_up(cache, f"{size}-{dtype}", "bytes_per_pixel")

    track_bytes_per_pixel.unit = "B/pixel"  # type: ignore[attr-defined]

    def track_upcast_bytes(self, cache: Any, size: int, dtype: str) -> float:
        """Bytes per pixel produced wider than the asked dtype: 0 when dtype-neutral; exact."""
        return recording.look_up(cache, f"{size}-{dtype}", "upcast_bytes_per_pixel")

    track_upcast_bytes.unit = "B/pixel"  # type: ignore[attr-defined]

    def track_peak_live_bytes(self, cache: Any, size: int, dtype: str) -> float:
        """Largest sum of tensors alive at once during one run; exact (AT-PERF-003 peak memory)."""
        return recording.look_up(cache, f"{size}-{dtype}", "peak_live_bytes")

    track_peak_live_bytes.unit = "B (exact)"  # type: ignore[attr-defined]

    def track_bandwidth(self, cache: Any, size: int, dtype: str) -> float:
        """Achieved bandwidth: the ledger's bytes over the pinned median time."""
        return recording.look_up(cache, f"{size}-{dtype}", "bandwidth")

    track_bandwidth.unit = "B/s"  # type: ignore[attr-defined]

    def track_copy_fraction(self, cache: Any, size: int, dtype: str) -> float:
        """Achieved bandwidth over the copy ceiling of the same process (above 1: cache-resident)."""
        return recording.look_up(cache, f"{size}-{dtype}", "copy_fraction")

    track_copy_fraction.unit = "fraction of copy ceiling"  # type: ignore[attr-defined]

    def track_legacy_bandwidth(self, cache: Any, size: int, dtype: str) -> float:
        """AT-PERF-003's own figure: pixels · 8 B · 3 passes / default-malloc time, in GiB/s."""
        return recording.look_up(cache, f"{size}-{dtype}", "legacy")

    track_legacy_bandwidth.unit = "GiB/s (legacy)"  # type: ignore[attr-defined]

    def track_minor_faults(self, cache: Any, size: int, dtype: str) -> float:
        """Minor page faults of one warm run with the default malloc (CLUSTER-PERF-001)."""
        return recording.look_up(cache, f"{size}-{dtype}", "minor_faults")

    track_minor_faults.unit = "faults"  # type: ignore[attr-defined]

    def track_malloc_penalty(self, cache: Any, size: int, dtype: str) -> float:
        """Time with the default malloc over time with pinned thresholds (CLUSTER-PERF-001)."""
        return recording.look_up(cache, f"{size}-{dtype}", "malloc_penalty")

    track_malloc_penalty.unit = "ratio"  # type: ignore[attr-defined]


class DtypeRatio:
    """What double precision costs (AT-PERF-003: float64/float32 time ≥ 1.5 in the spec)."""

    params: ClassVar[list[int]] = SIZES
    param_names: ClassVar[list[str]] = ["size"]
    version = "1"
    timeout = 60

    setup_cache = Traffic.setup_cache

    def track_time_ratio(self, cache: Any, size: int) -> float:
        """Pinned float64 time over pinned float32 time, same process."""
        pinned = [recording.look_up(cache, f"{size}-{dtype}", "pinned_s") for dtype in DTYPES]
        return pinned[1] / pinned[0]

    track_time_ratio.unit = "ratio"  # type: ignore[attr-defined]


class Ceiling:
    """The machine itself, measured beside every commit: a jump here is no regression."""

    version = "1"
    timeout = 60

    setup_cache = Traffic.setup_cache

    def track_copy_ceiling(self, cache: Any) -> float:
        """Copy bandwidth of arrays four times the last-level cache (STREAM rules)."""
        return float(cache["machine"]["copy"])

    track_copy_ceiling.unit = "B/s"  # type: ignore[attr-defined]


def _build(size: int, dtype: str) -> subject.Case:
    refuse_large(size, dtype)
    return subject.bandwidth(size, dtype)


def _figures(case: subject.Case, found: dict[str, Any], size: int, ledgers: list[Any]) -> dict[str, Any]:
    """Pinned timings, then the ledger, which never runs inside a timed sample."""
    pinned = recording.timed(case)
    ledger = ledger_of(case)
    ledgers.append(ledger)
    default_s = found["default"]["wall_s"]
    return {
        **recording.counts(ledger),
        "pinned_s": pinned["wall_s"],
        "bandwidth": ledger.bytes / pinned["wall_s"],
        "legacy": size * size * 8 * 3 / default_s / GIB,
        "minor_faults": found["default"]["minor_faults"],
        "malloc_penalty": default_s / median([pinned["wall_s"]]),
    }
