"""AT-PERF-001 to 006 as suites: the conditions of each test, and what the figures are made of."""

from __future__ import annotations

import inspect
import itertools
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import acceptance, compiled, subject
from nbbench.probe.device import DEVICE_VARIABLE


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each process is prepared with; nothing of the test's own process is pinned."""
    found: list[dict[str, Any]] = []
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    monkeypatch.setattr(subject, "prepare", lambda **asked: found.append(asked))
    return found


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The simulations that are built, and a word for each run."""
    found: list[Any] = []

    def simulation(name: str, size: int, dtype: torch.dtype, **fields: Any) -> subject.Case:
        found.append((size, dtype, fields))
        return subject.Case(name, size * size, dtype, lambda: found.append("run") or torch.ones(1))

    monkeypatch.setattr(subject, "simulation", simulation)
    return found


def suites() -> list[type]:
    classes = [one for _, one in inspect.getmembers(acceptance, inspect.isclass)]
    mine = [one for one in classes if one.__module__ == acceptance.__name__]
    return [one for one in mine if not one.__name__.startswith("_")]


@pytest.mark.parametrize("suite", [*suites(), compiled.Gain], ids=lambda one: one.__name__)
def test_every_suite_names_the_test_that_it_serves(suite: type) -> None:
    assert re.search(r"AT-PERF-00\d", suite.__doc__ or "")
    measured = [name for name in vars(suite) if name.startswith(("time_", "track_"))]
    assert measured and all(getattr(suite, name).__doc__ for name in measured)


def test_warm_runs_are_built_once_and_under_the_test_s_conditions(
    prepared: list[dict[str, Any]], simulated: list[Any]
) -> None:
    suite = acceptance.Run()
    for _ in range(2):  # asv calls setup before every sample
        suite.setup(4, 256, "float64")
        suite.time_run(4, 256, "float64")
    assert prepared == [{"malloc": False, "threads": 4}]
    assert simulated == [(256, torch.float64, {}), *["run"] * 3]


def test_threads_are_the_parameter(prepared: list[dict[str, Any]], simulated: list[Any]) -> None:
    for threads in acceptance.Threads.params:
        acceptance.Threads().setup(threads)
    assert [one["threads"] for one in prepared] == [1, 2, 4, 8]
    fields = {"crystal": {"N_cells": (10, 10, 10)}, "beam": {"wavelength_A": 1.0}}
    assert simulated[::2] == [(1024, torch.float32, fields)] * 4


def test_the_loop_covers_the_subpixels_of_one_pixel(simulated: list[Any]) -> None:
    """Nine detectors, moved by thirds of a pixel in both directions, around the place of the beam."""
    run = acceptance.subpixel_loop(256, 3)
    built = [fields["detector"] for _, _, fields in simulated]
    assert all(one["detector_thicksteps"] == 3 for one in built)
    centre = (256 * 0.1 + 0.1) / 2
    moved = [(one["beam_center_s"] - centre, one["beam_center_f"] - centre) for one in built]
    thirds = [0.1 / 3, 0.0, -0.1 / 3]
    assert moved == [pytest.approx(pair, abs=1e-12) for pair in itertools.product(thirds, thirds)]
    assert torch.equal(run(), torch.ones(1)) and simulated[9:] == ["run"] * 9


def test_suites_of_thickness_and_oversampling(simulated: list[Any]) -> None:
    acceptance.Oversampled().build(3)
    acceptance.Thickness().build(7)
    (size, _, fields), (small, _, layers) = simulated
    assert (size, fields["detector"]) == (256, {**acceptance.THREE_LAYERS, "oversample": 3})
    assert (small, layers["detector"]) == (64, {"detector_thick_um": 300.0, "detector_thicksteps": 7})


def test_a_rate_is_that_of_the_median_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([5.0, 1.0, 2.0, 3.0, 4.0, 100.0, 0.5])
    readings = iter(itertools.chain.from_iterable((0.0, each) for each in seconds))
    monkeypatch.setattr(acceptance, "device_clock", lambda: next(readings))
    runs: list[int] = []
    assert acceptance._rate(lambda: runs.append(1), 300) == 100.0
    assert len(runs) == 8  # one to warm up


def test_kernels_are_the_subject_s_own(
    monkeypatch: pytest.MonkeyPatch, prepared: list[dict[str, Any]]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(acceptance, "POINTS", 12)
    monkeypatch.setattr(acceptance, "VECTORS", 7)
    modules = {
        "utils.physics": SimpleNamespace(sincg=lambda u, n: asked.append((u.shape, u[0].item(), int(n)))),
        "utils.geometry": SimpleNamespace(dot_product=lambda a, b: asked.append((a.shape, b.shape))),
    }
    monkeypatch.setattr(subject, "load", modules.__getitem__)
    suite = acceptance.Kernels()
    suite.setup()
    assert suite.track_sincg() > 0 and suite.track_dot() > 0
    assert set(asked) == {((12,), -10.0, 5), ((7, 3), (7, 3))}


def test_the_largest_operation_is_a_share_of_all(
    monkeypatch: pytest.MonkeyPatch, prepared: list[dict[str, Any]], simulated: list[Any]
) -> None:
    monkeypatch.setattr(
        acceptance, "_operation_seconds", lambda run: ({"aten::mul": 3.0, "aten::sin": 1.0}, 5.0)
    )
    assert acceptance.HotPath().track_largest_operation() == 0.75
    assert acceptance.HotPath().track_tensor_time() == 0.8
    triclinic, layers = simulated
    assert triclinic[2]["crystal"]["misset_deg"] == (10.0, 5.0, 3.0) and triclinic[0] == 512
    assert layers[2]["detector"]["oversample"] == 2


def test_only_operations_of_tensors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    times, wall = acceptance._operation_seconds(lambda: torch.ones(100, 100).sin().sum().item())
    assert {"aten::sin", "aten::sum"} <= set(times) and all(name.startswith("aten::") for name in times)
    assert wall > 0 and min(times.values()) >= 0
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    with pytest.raises(NotImplementedError, match="tell nothing"):
        acceptance._operation_seconds(lambda: None)


def test_memory_is_what_the_process_grew_by(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([1000, 1000 + 2 * 2048**2 * 8 * 3])
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=next(sizes)))
    monkeypatch.setattr(acceptance.psutil, "Process", lambda: process)
    case = subject.Case("x", 1, torch.float64, lambda: torch.ones(1))
    monkeypatch.setattr(subject, "bandwidth", lambda size, dtype: case)
    assert acceptance.Memory().track_resident("float64") == 2.0


class TestVariation:
    def test_it_is_the_deviation_over_the_mean(self) -> None:
        assert acceptance._variation([1.0, 1.0, 1.0]) == 0.0
        assert acceptance._variation([0.9, 1.1]) == pytest.approx(10.0)

    def test_of_processes_each_is_a_fork_of_its_own(
        self, monkeypatch: pytest.MonkeyPatch, prepared: list[dict[str, Any]]
    ) -> None:
        seconds = iter([0.9, 1.1] * 5)
        asked: list[Any] = []
        monkeypatch.setattr(acceptance, "forked", lambda *what: asked.append(what) or next(seconds))
        assert acceptance.Variation().track_processes() == pytest.approx(10.0)
        assert asked == [(acceptance._warm_seconds, float)] * 10
        monkeypatch.setattr(acceptance, "forked", lambda *_: "the process was killed (SIGKILL)")
        with pytest.raises(subject.SubjectBroken, match="killed"):
            acceptance.Variation().track_processes()

    def test_of_simulators_each_runs_for_the_first_time(
        self, monkeypatch: pytest.MonkeyPatch, simulated: list[Any]
    ) -> None:
        walls = iter([1.0, 1.0, 1.0, 1.0, 1.0])
        monkeypatch.setattr(
            acceptance, "measure", lambda run, n: [SimpleNamespace(wall_s=next(walls))] * (run() is not None)
        )
        assert acceptance.Variation().track_simulators() == 0.0
        assert simulated.count("run") == 6 and simulated[0][0] == 1024


def test_compiling_is_only_measured_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NBBENCH_COMPILED", raising=False)
    cache = compiled.Gain().setup_cache()
    assert cache == {compiled.GAIN: {"error": "NotImplementedError: not asked for by NBBENCH_COMPILED=REGEX"}}


def test_eager_and_compiled_runs_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, prepared: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    """Half as long compiled, and eleven seconds for the first run: ten runs take as long either way."""
    case = subject.Case("x", 1, torch.float32, lambda: torch.arange(9.0))
    monkeypatch.setattr(compiled, "suite_cases", lambda: {"w": lambda: case})
    monkeypatch.setattr(torch, "compile", lambda run: lambda: run() * 1.0)
    seconds = {case.run: 2.0}
    monkeypatch.setattr(
        compiled, "measure", lambda run, n: [SimpleNamespace(wall_s=seconds.get(run, 1.0))] * n
    )
    clock = iter([0.0, 11.0])
    monkeypatch.setattr(compiled, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    compiled.tell_gain("w")
    told = capfd.readouterr().out
    assert '"speed_up": 2.0, "ten_runs": 1.0' in told and '"relative_error": 0.0' in told
    assert prepared == [{"malloc": False, "threads": 4}]
