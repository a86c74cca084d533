"""The suites on a GPU: where their tensors go, what is counted there, what is skipped elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from asv_runner.benchmarks.mark import SkipNotImplemented

from benchmarks import bandwidth, cold_start, cuda, subject, vectorisation
from benchmarks.recording import agreement
from nbbench.probe.device import DEVICE_VARIABLE, device_clock


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")


def test_parts_of_the_subject_are_put_on_the_device_that_they_know(
    monkeypatch: pytest.MonkeyPatch, on_gpu: None
) -> None:
    def new(config: str, device: str = "nowhere", dtype: str = "float64") -> tuple[str, str, str]:
        return config, device, dtype

    def old(config: str, dtype: str = "float64") -> tuple[str, str]:
        return config, dtype

    extra = {"dtype": "float32", **subject.where()}
    assert subject._call(new, {"config": "c"}, extra) == ("c", "cuda", "float32")
    assert subject._call(old, {"config": "c"}, extra) == ("c", "float32")
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    assert subject.where() == {}


def test_a_run_ends_when_the_device_has_done_it(monkeypatch: pytest.MonkeyPatch, on_gpu: None) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("settled"))
    assert subject._guarded(lambda: order.append("launched") or "image") == "image"
    assert order == ["launched", "settled"]

    def late() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", late)
    with pytest.raises(subject.SubjectBroken, match="illegal memory access"):
        subject._guarded(lambda: None)


@pytest.mark.parametrize("suite", [bandwidth.Warm, vectorisation.Tricubic, cuda.L2Cold])
def test_timed_suites_read_the_clock_of_the_device(suite: type) -> None:
    assert suite().timer is device_clock  # type: ignore[attr-defined]


def test_start_up_on_a_gpu_ends_when_the_gpu_has_started(
    monkeypatch: pytest.MonkeyPatch, on_gpu: None
) -> None:
    suite = cold_start.ColdStart()
    statements = {name: getattr(suite, f"timeraw_{name}")() for name in ("construct", "first_run", "import")}
    for name in ("construct", "first_run"):
        timed, before = statements[name]
        assert timed.splitlines()[1] == "torch.cuda.synchronize()"
        assert "where = {'device': 'cuda'}" in before and before.count("**where") == 4
        compile(before, "", "exec")
    assert "cuda" not in "".join(statements["import"])
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    assert all("cuda" not in "".join(getattr(suite, f"timeraw_{name}")()) for name in statements)


def test_the_cache_is_flushed_before_every_sample(monkeypatch: pytest.MonkeyPatch, on_gpu: None) -> None:
    order: list[str] = []

    class Flush:
        def __call__(self) -> None:
            order.append("flush")

    case = subject.Case("x", 1, torch.float32, lambda: order.append("run") or torch.zeros(1))
    monkeypatch.setattr(cuda, "CacheFlush", Flush)
    monkeypatch.setattr(subject, "prepare", lambda: None)
    monkeypatch.setattr(subject, "bandwidth", lambda size, dtype: case)
    suite = cuda.L2Cold()
    for _ in range(2):  # asv calls setup before every sample
        suite.setup(512, "float32")
        suite.time_run(512, "float32")
    assert order == ["flush", "run"] * 2


def test_elsewhere_the_suite_skips_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    with pytest.raises(NotImplementedError, match="needs a GPU"):
        cuda.L2Cold().setup(512, "float32")
    cache = cuda.Facts().setup_cache()
    for asked in (
        lambda: cuda.Facts().track_large_elsewhere(cache, 512, "float32"),
        lambda: cuda.Agreement().track_correlation(cache, "bandwidth-512-float32"),
    ):
        with pytest.raises(SkipNotImplemented, match="needs a GPU: nbbench run --device cuda"):
            asked()


def test_what_a_gpu_tells_is_looked_up_by_size_and_by_workload(
    monkeypatch: pytest.MonkeyPatch, on_gpu: None
) -> None:
    def broken(size: int, dtype: str) -> subject.Case:
        if size == 2048:
            raise subject.SubjectBroken("CUDA out of memory")
        return subject.Case("x", 4, torch.float32, lambda: torch.ones(300, 300, device="meta"))

    monkeypatch.setattr(subject, "prepare", lambda: None)
    monkeypatch.setattr(subject, "bandwidth", broken)
    monkeypatch.setattr(cuda, "peak_allocated", lambda function: 77)
    monkeypatch.setattr(cuda, "device_cache_bytes", lambda: 2**20)
    image = torch.arange(9.0)
    monkeypatch.setattr(
        cuda,
        "suite_cases",
        lambda: dict.fromkeys(cuda.AGREEING, lambda: subject.Case("x", 9, torch.float32, lambda: image)),
    )
    facts, cache = cuda.Facts(), cuda.Facts().setup_cache()
    assert facts.track_peak_allocated(cache, 512, "float32") == 77
    assert facts.track_large_elsewhere(cache, 512, "float32") == 1  # `ones` on a device that is no GPU
    assert facts.track_host_waits(cache, 512, "float32") == 0
    assert facts.track_l2_share(cache, 1024, "float64") == 8.0
    with pytest.raises(subject.SubjectBroken, match="out of memory"):
        facts.track_l2_share(cache, 2048, "float32")
    assert cuda.Agreement().track_correlation(cache, "oversample-2") == pytest.approx(1.0)
    assert cuda.Agreement().track_relative_error(cache, "oversample-2") == 0.0


class TestResidency:
    def found(self, run: Any) -> cuda.LargeTensors:
        with cuda.Residency("meta") as seen:
            run()
        return seen.found

    def test_large_tensors_are_told_by_their_place(self) -> None:
        def run() -> None:
            there = torch.ones(cuda.LARGE, device="meta") * 2.0
            there.sum()
            torch.ones(cuda.LARGE - 1) * 2.0  # too small to matter
            torch.ones(cuda.LARGE).view(256, 256)[:10]  # one operation: views move nothing

        seen = self.found(run)
        assert (seen.on_device, seen.elsewhere, seen.elsewhere_names) == (3, 1, ("ones",))

    def test_a_copy_to_the_device_is_seen_and_so_is_each_operation_once(self) -> None:
        def run() -> None:
            frame = torch.zeros(cuda.LARGE)
            frame.to("meta") + 1.0

        seen = self.found(run)
        assert (seen.on_device, seen.elsewhere, seen.elsewhere_names) == (1, 2, ("_to_copy", "zeros"))

    def test_waiting_for_a_value_is_counted_where_the_device_has_it(self) -> None:
        with cuda.Residency("cpu") as seen:
            value = torch.ones(3).sum().item()
            if torch.ones(1) > 0:
                value += 1
        assert (seen.found.host_waits, value) == (2, 4.0)
        with cuda.Residency("meta") as seen:
            torch.ones(3).sum().item()
        assert seen.found.host_waits == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], (1.0, 0.0, 1.0)),
        ([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], (1.0, 1.0, 2.0)),
        ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0], (-1.0, 2 / 3, 1.0)),
        ([5.0, 5.0], [5.0, 5.0], (1.0, 0.0, 1.0)),
        ([5.0, 5.0], [5.0, 6.0], (0.0, 1 / 6, 10 / 11)),
        ([0.0, 0.0], [0.0, 0.0], (1.0, 0.0, 1.0)),
    ],
)
def test_how_alike_images_are(ours: list[float], theirs: list[float], expected: tuple[float, ...]) -> None:
    found = agreement(torch.tensor(ours), torch.tensor(theirs, dtype=torch.float64))
    assert tuple(found.values()) == pytest.approx(expected)


def test_a_hot_pixel_and_nan_are_no_agreement() -> None:
    image = torch.ones(100, 100).cumsum(0)
    hot = image.clone()
    hot[3, 3] = 1e6
    assert agreement(hot, image)["correlation"] < 0.1
    assert not agreement(image * torch.nan, image)["correlation"] >= 0.999
    with pytest.raises(ValueError, match="cannot be compared"):
        agreement(image, image[1:])
