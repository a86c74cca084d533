"""AT-PERF-001 to 006 (specs/spec-a-performance.md), each under the conditions of its own test.

The tests compute on four threads, with malloc as it is by default. Where the machine has fewer cores the
plan says that a figure is oversubscribed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import fmean, median, pstdev
from typing import Any, ClassVar

import psutil
import torch

from nbbench.probe.device import device_clock, on_cuda, settle
from nbbench.probe.forked import forked
from nbbench.probe.resources import measure

from . import subject
from .workloads import DTYPES

FOUR = 4
POINTS = 10_000_000  # AT-PERF-004: arguments of sincg
VECTORS = 1_000_000  # AT-PERF-004: pairs of vectors
LARGE_BYTES = 8 * 2**30  # four times the 1.1 GiB of 2048², with room for what else runs
PROCESSES = 10  # of the reproducibility study of PERF-PYTORCH-004
THREE_LAYERS = {"detector_thick_um": 200.0, "detector_thicksteps": 3}  # AT-PERF-006
TRICLINIC = dict(zip(("cell_a", "cell_b", "cell_c"), (70.0, 80.0, 90.0), strict=True)) | {
    **dict(zip(("cell_alpha", "cell_beta", "cell_gamma"), (85.0, 95.0, 105.0), strict=True)),
    "N_cells": (8, 8, 8),
    "misset_deg": (10.0, 5.0, 3.0),
}


class _Timed:
    """Builds its case once a process, as its test does, and times warm runs."""

    version = "1"
    rounds = 2
    repeat = (3, 5, 4.0)
    warmup_time = 0.05
    timeout = 180
    timer = staticmethod(device_clock)
    _run: Callable[[], object] | None = None

    def build(self, *params: Any) -> Callable[[], object]:
        """What is timed."""
        raise NotImplementedError

    def threads(self, *params: Any) -> int:
        """How many compute."""
        return FOUR

    def setup(self, *params: Any) -> None:
        """Build once: asv calls setup before every sample, and a warm run is asked for."""
        if self._run is None:
            subject.prepare(malloc=False, threads=self.threads(*params))
            self._run = self.build(*params)
            self._run()

    def run(self) -> None:
        """One warm run."""
        assert self._run is not None
        self._run()


class Run(_Timed):
    """AT-PERF-001 (throughput, scaling) and AT-PERF-003 (dtypes, bandwidth)."""

    params: ClassVar[list[list[Any]]] = [[FOUR], [256, 512, 1024, 2048], DTYPES]
    param_names: ClassVar[list[str]] = ["threads", "size", "dtype"]

    def build(self, threads: int, size: int, dtype: str) -> Callable[[], object]:  # type: ignore[override]
        """The cubic crystal, N = 5, 6.2 Å."""
        return subject.bandwidth(size, dtype).run

    def time_run(self, threads: int, size: int, dtype: str) -> None:
        """Seconds of one warm run."""
        self.run()


class Large(_Timed):
    """The throughput of AT-PERF-001 at 4096², which the plan item wants documented."""

    params: ClassVar[list[list[Any]]] = [[FOUR], [4096], ["float32"]]
    param_names: ClassVar[list[str]] = ["threads", "size", "dtype"]

    def build(self, threads: int, size: int, dtype: str) -> Callable[[], object]:  # type: ignore[override]
        """The cubic crystal, N = 5, 6.2 Å. Skips where its tensors would have no room."""
        free = psutil.virtual_memory().available
        if free < LARGE_BYTES:
            raise NotImplementedError(f"needs {LARGE_BYTES / 2**30:.0f} GiB; {free / 2**30:.1f} are free")
        return subject.bandwidth(size, dtype).run

    def time_run(self, threads: int, size: int, dtype: str) -> None:
        """Seconds of one warm run."""
        self.run()


class Threads(_Timed):
    """AT-PERF-002: N = 10, 1.0 Å, 1024², on one, two, four and eight threads."""

    params: ClassVar[list[int]] = [1, 2, 4, 8]
    param_names: ClassVar[list[str]] = ["threads"]

    def threads(self, threads: int) -> int:  # type: ignore[override]
        """The parameter."""
        return threads

    def build(self, threads: int) -> Callable[[], object]:  # type: ignore[override]
        """AT-PERF-002's simulation."""
        return parallel_case().run

    def time_run(self, threads: int) -> None:
        """Seconds of one warm run."""
        self.run()


def parallel_case() -> subject.Case:
    """AT-PERF-002's simulation: N = 10, 1.0 Å, 1024²."""
    fields = {"crystal": {"N_cells": (10, 10, 10)}, "beam": {"wavelength_A": 1.0}}
    return subject.simulation("parallel", 1024, torch.float32, **fields)


class Oversampled(_Timed):
    """AT-PERF-006: n × n subpixels of 256² with three layers of thickness, as one tensor."""

    params: ClassVar[list[int]] = [1, 3]
    param_names: ClassVar[list[str]] = ["n"]

    def build(self, n: int) -> Callable[[], object]:  # type: ignore[override]
        """The simulation with `n` × `n` subpixels."""
        return _layers(256, oversample=n)

    def time_run(self, n: int) -> None:
        """Seconds of one warm run."""
        self.run()


class Loop(_Timed):
    """AT-PERF-006: the same 3 × 3 subpixels one after the other, in a Python loop written here."""

    def build(self) -> Callable[[], object]:  # type: ignore[override]
        """Nine simulations whose detector is moved by thirds of a pixel, and their mean."""
        return subpixel_loop(256, 3)

    def time_run(self) -> None:
        """Seconds of one warm run of all nine."""
        self.run()


class Thickness(_Timed):
    """AT-PERF-006: one and seven layers of thickness, 64²."""

    params: ClassVar[list[int]] = [1, 7]
    param_names: ClassVar[list[str]] = ["layers"]

    def build(self, layers: int) -> Callable[[], object]:  # type: ignore[override]
        """The simulation with so many layers of 300 µm in all."""
        return _layers(64, detector_thick_um=300.0, detector_thicksteps=layers)

    def time_run(self, layers: int) -> None:
        """Seconds of one warm run."""
        self.run()


def _layers(size: int, **detector: Any) -> Callable[[], torch.Tensor]:
    return subject.simulation("layers", size, torch.float32, detector={**THREE_LAYERS, **detector}).run


def subpixel_loop(size: int, n: int, pixel_mm: float = 0.1) -> Callable[[], torch.Tensor]:
    """A run that computes n × n subpixels in a loop: what AT-PERF-006 calls the loop version.

    The beam's place on the detector moves against the subpixel's; the mean is the oversampled image.
    """
    centre = (size * pixel_mm + pixel_mm) / 2  # MOSFLM's, as the subject computes it
    shifts = [pixel_mm * ((i + 0.5) / n - 0.5) for i in range(n)]
    runs = [_layers(size, beam_center_s=centre - s, beam_center_f=centre - f) for s in shifts for f in shifts]

    def run() -> torch.Tensor:
        total = runs[0]()
        for each in runs[1:]:
            total = total + each()
        return total / len(runs)

    return run


class Kernels:
    """AT-PERF-004: the two hot operations alone."""

    version = "1"
    timeout = 120

    def setup(self) -> None:
        """As the tests: the default malloc and the default number of threads, here four."""
        subject.prepare(malloc=False, threads=FOUR)

    def track_sincg(self) -> float:
        """Evaluations of the subject's `sincg` a second, on ten million arguments, N = 5."""
        sincg = subject.load("utils.physics").sincg
        arguments = torch.linspace(-10, 10, POINTS, **subject.where())
        count = torch.tensor(5)
        return _rate(lambda: sincg(arguments, count), POINTS)

    track_sincg.unit = "evaluations/s"  # type: ignore[attr-defined]

    def track_dot(self) -> float:
        """Dot products of three components a second, on a million pairs."""
        generator = torch.Generator().manual_seed(0)
        a, b = (torch.randn(VECTORS, 3, generator=generator).to(**subject.where()) for _ in range(2))
        dot = subject.load("utils.geometry").dot_product
        return _rate(lambda: dot(a, b), VECTORS)

    track_dot.unit = "dot products/s"  # type: ignore[attr-defined]


def _rate(function: Callable[[], object], count: int) -> float:
    """How many a second: the median of seven runs, by the device's clock."""
    function()
    seconds = []
    for _ in range(7):
        start = device_clock()
        function()
        seconds.append(device_clock() - start)
    return count / median(seconds)


class HotPath:
    """AT-PERF-004 and AT-PERF-006: where the time of one run goes, by torch's profiler."""

    version = "1"
    timeout = 120

    def setup(self) -> None:
        """As the tests."""
        subject.prepare(malloc=False, threads=FOUR)

    def track_largest_operation(self) -> float:
        """Share of the operation that takes most of a run's operations: triclinic, 512² (spec: 10 %)."""
        case = subject.simulation(
            "triclinic", 512, torch.float32, crystal=TRICLINIC, beam={"wavelength_A": 1.5}
        )
        times, _ = _operation_seconds(case.run)
        return max(times.values()) / sum(times.values())

    track_largest_operation.unit = "share of a run"  # type: ignore[attr-defined]

    def track_tensor_time(self) -> float:
        """Share of a run's time in tensor operations: oversample 2, three layers, 256² (spec: 95 %)."""
        times, wall = _operation_seconds(_layers(256, oversample=2))
        return sum(times.values()) / wall

    track_tensor_time.unit = "share of a run in tensors"  # type: ignore[attr-defined]


def _operation_seconds(run: Callable[[], object]) -> tuple[dict[str, float], float]:
    """Seconds of each operation by itself in one warm run on the host, and those of the whole run."""
    from torch.profiler import ProfilerActivity, profile

    if on_cuda():
        raise NotImplementedError("the host's times of a run on a GPU tell nothing of its operations")
    run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        run()
        wall = time.perf_counter() - start
    found = {one.key: one.self_cpu_time_total / 1e6 for one in profiler.key_averages()}
    return {name: seconds for name, seconds in found.items() if name.startswith("aten::")}, wall


class Memory:
    """AT-PERF-003: what stays resident after a run, over pixels · bytes · 3, 2048²."""

    params: ClassVar[list[str]] = DTYPES
    param_names: ClassVar[list[str]] = ["dtype"]
    version = "1"
    timeout = 120

    def setup(self, dtype: str) -> None:
        """As the tests."""
        subject.prepare(malloc=False, threads=FOUR)
        subject.load()
        gc.collect()

    def track_resident(self, dtype: str) -> float:
        """Resident memory by which construction and one run let the process grow, over the minimum."""
        process = psutil.Process()
        before = process.memory_info().rss
        case = subject.bandwidth(2048, dtype)
        image = case.run()
        grown = process.memory_info().rss - before
        del image
        return float(grown / (2048**2 * case.asked.itemsize * 3))

    track_resident.unit = "frames"  # type: ignore[attr-defined]


class Variation:
    """How far equal runs differ: AT-PERF-003 (five simulators), PERF-PYTORCH-004 (ten processes)."""

    version = "1"
    timeout = 300

    def track_simulators(self) -> float:
        """Coefficient of variation of the first run of five simulators, 1024²; per cent."""
        subject.prepare(malloc=False, threads=FOUR)  # as the tests
        subject.bandwidth(1024, "float32").run()
        cases = [subject.bandwidth(1024, "float32") for _ in range(5)]
        return _variation([measure(case.run, 1)[0].wall_s for case in cases])

    track_simulators.unit = "% variation"  # type: ignore[attr-defined]

    def track_processes(self) -> float:
        """Coefficient of variation of the warm run over ten processes, 1024²; per cent."""
        if on_cuda():
            raise NotImplementedError("a process that has opened CUDA cannot be forked")
        seconds = []
        for _ in range(PROCESSES):
            answer = forked(_warm_seconds, float)
            if isinstance(answer, str):
                raise subject.SubjectBroken(answer)
            seconds.append(answer)
        return _variation(seconds)

    track_processes.unit = "% variation"  # type: ignore[attr-defined]


def _warm_seconds() -> float:
    subject.prepare(malloc=False, threads=FOUR)  # not before: torch's threads do not outlive a fork
    case = subject.bandwidth(1024, "float32")
    case.run()
    settle()
    return median(run.wall_s for run in measure(case.run, 5))


def _variation(seconds: list[float]) -> float:
    return 100 * pstdev(seconds) / fmean(seconds)
