"""The device that is measured: its clock, its cache, its allocator, proved without a GPU."""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from benchmarks import cuda  # noqa: E402
from nbbench.errors import ConfigError  # noqa: E402
from nbbench.probe import ceiling, device  # noqa: E402
from nbbench.probe.resources import PINNED_ENVIRONMENT, pinned_environment  # noqa: E402
from nbbench.probe.traffic import Traffic, TrafficLedger  # noqa: E402


class Gpu:
    """A stream that works off what was asked for while somebody waits; `now` are its milliseconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queue: list[float] = []  # milliseconds of kernels that were launched
        self.held = self.peak = 0

    def launch(self, milliseconds: float) -> None:
        self.queue.append(milliseconds)

    def synchronize(self) -> None:
        self.now += sum(self.queue)
        self.queue.clear()

    def Event(self, *, enable_timing: bool) -> Event:
        assert enable_timing
        return Event(self)

    def allocate(self, size: int) -> None:
        self.held += size
        self.peak = max(self.peak, self.held)

    def reset_peak_memory_stats(self) -> None:
        self.peak = self.held

    def memory_allocated(self) -> int:
        return self.held

    def max_memory_allocated(self) -> int:
        return self.peak


class Event:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.at = gpu, -1.0

    def record(self) -> None:
        self.at = self.gpu.now + sum(self.gpu.queue)

    def synchronize(self) -> None:
        self.gpu.synchronize()

    def elapsed_time(self, later: Event) -> float:
        """Milliseconds in single precision, as the driver tells them."""
        return float(torch.tensor(later.at - self.at, dtype=torch.float32))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    made = Gpu()
    monkeypatch.setenv(device.DEVICE_VARIABLE, "cuda")
    monkeypatch.setattr(torch, "cuda", made)
    monkeypatch.setattr(device, "_EVENTS", device.EventClock())
    yield made


def test_the_device_is_one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(device.DEVICE_VARIABLE, raising=False)
    assert (device.measured_device(), device.on_cuda()) == ("cpu", False)
    assert device.marked("2.11.0") == "2.11.0"
    monkeypatch.setenv(device.DEVICE_VARIABLE, "cuda")
    assert (device.measured_device(), device.on_cuda()) == ("cuda", True)
    assert (device.marked("2.11.0"), device.marked("")) == ("2.11.0+cuda", "")
    for wrong in ("gpu", "CUDA", "cuda:1", "mps"):
        with pytest.raises(ConfigError, match="NBBENCH_DEVICE is cpu or cuda"):
            device.measured_device({device.DEVICE_VARIABLE: wrong})


@pytest.mark.parametrize("before", [None, "cuda"])
def test_a_block_on_the_processor_leaves_the_device_as_it_was(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv(device.DEVICE_VARIABLE, raising=False)
    if before:
        monkeypatch.setenv(device.DEVICE_VARIABLE, before)
    with pytest.raises(ZeroDivisionError), cuda.on_cpu():
        assert not device.on_cuda()
        raise ZeroDivisionError
    assert device.measured_device() == (before or "cpu")


def test_only_a_process_that_measures_the_gpu_sees_one() -> None:
    assert pinned_environment({}) == PINNED_ENVIRONMENT
    there = pinned_environment({device.DEVICE_VARIABLE: "cuda"})
    assert "CUDA_VISIBLE_DEVICES" not in there and there["TORCHDYNAMO_DISABLE"] == "1"
    assert there["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"  # a server that asked the driver could not fork


def test_what_a_run_on_a_gpu_imports_is_imported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server of a suite, where Inductor starts no process that a fork would inherit."""
    monkeypatch.setenv(device.DEVICE_VARIABLE, "cpu")
    assert device.imported_by_runs() == ()
    monkeypatch.setenv(device.DEVICE_VARIABLE, "cuda")
    assert all(importlib.util.find_spec(name) for name in device.imported_by_runs())
    assert pinned_environment({device.DEVICE_VARIABLE: "cuda"})["TORCHINDUCTOR_COMPILE_THREADS"] == "1"


def test_a_timed_run_lasts_until_its_last_kernel(gpu: Gpu) -> None:
    gpu.launch(500.0)  # what was under way before is not the run's
    start = device.device_clock()
    for _ in range(3):
        gpu.launch(2.0)
    assert device.device_clock() - start == pytest.approx(0.006)
    assert gpu.queue == []


def test_readings_are_as_fine_after_hours(gpu: Gpu) -> None:
    device.device_clock()
    gpu.launch(4 * 3_600_000.0)  # in single precision an hour of milliseconds has steps of a quarter
    start = device.device_clock()
    gpu.launch(0.01)
    assert device.device_clock() - start == pytest.approx(1e-5, rel=1e-4)


def test_the_processor_needs_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(device.DEVICE_VARIABLE, raising=False)
    monkeypatch.setattr(torch, "cuda", None)
    device.settle()
    assert device.device_clock() <= device.device_clock()


def test_the_peak_is_that_of_the_run_alone(gpu: Gpu) -> None:
    gpu.allocate(1000)

    def run() -> None:
        gpu.allocate(70)
        gpu.allocate(-50)
        gpu.allocate(10)

    assert cuda.peak_allocated(run) == 70


@pytest.mark.parametrize(("cache", "size"), [(50 * 2**20, 200 * 2**20), (4 * 2**20, 64 * 2**20)])
def test_a_flush_writes_more_than_the_cache_each_time(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, cache: int, size: int
) -> None:
    monkeypatch.setattr(cuda, "device_cache_bytes", lambda: cache)
    monkeypatch.setattr(cuda, "measured_device", lambda: "meta")
    flush = cuda.CacheFlush()
    with TrafficLedger() as recorder:
        flush()
    assert recorder.traffic.by_dtype == {"uint8": 2 * size}


def test_ceilings_of_a_gpu_are_of_its_memory_by_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter(range(1000))
    monkeypatch.setattr(ceiling, "on_cuda", lambda: True)
    monkeypatch.setattr(ceiling, "measured_device", lambda: "meta")
    monkeypatch.setattr(ceiling, "device_cache_bytes", lambda: 50 * 2**20)
    monkeypatch.setattr(ceiling, "device_clock", lambda: float(next(told)))
    found = ceiling.measure_ceiling(repeats=1)
    assert (found.array_bytes, found.cache_bytes) == (200 * 2**20, 50 * 2**20)
    assert (found.copy, found.triad) == (400 * 2**20, 600 * 2**20)  # one second of the clock each
    assert ceiling.measure_dispatch(repeats=1) == (1.0, 1.0)


def _step(where: str) -> None:
    frame = torch.ones(3000, 3000, dtype=torch.float32, device=where)
    wide = frame.to(torch.float64) * 2.0
    wide.sum(dim=0).clamp_(max=1.0)
    (frame[::2] + wide[::2]).sqrt()


def test_the_ledger_counts_alike_on_another_device() -> None:
    """The meta device has storages of its own, as a GPU has; glibc maps none of them."""
    found: dict[str, Traffic] = {}
    for where in ("cpu", "meta"):
        with TrafficLedger(source_root=str(__file__).rpartition("/")[0]) as recorder:
            _step(where)
        found[where] = recorder.traffic
    mapped = {where: one.counts.pop("track_mapped_bytes") for where, one in found.items()}
    assert found["cpu"] == found["meta"]
    assert found["cpu"].peak_line[2] == "_step" and found["cpu"].ops > 5
    assert mapped["cpu"] > 0 and mapped["meta"] == 0


def test_fakes_have_what_torch_has() -> None:
    real = [name for name in vars(Gpu) if not name.startswith("_") and name not in ("launch", "allocate")]
    assert all(hasattr(torch.cuda, name) for name in real)
    assert isinstance(torch.cuda, types.ModuleType)
