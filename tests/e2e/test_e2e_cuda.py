"""`--device cuda` through the command line, on a GPU that is the processor (tests/samples/fake_gpu)."""

from __future__ import annotations

import json

import pytest
from e2e_project import MACHINE, REPOSITORY, planted

pytestmark = [pytest.mark.e2e, pytest.mark.thorough]

GPU = {"PYTHONPATH": str(REPOSITORY / "tests" / "samples" / "fake_gpu"), "NBBENCH_MAX_FRAME_MB": "5"}
TIP = planted(18)
WARM = ("--bench", r"Warm\.time_run\(512, 'float32'\)")


@pytest.fixture(scope="module")
def project(new_project):
    """The newest commit, measured on both devices under one machine's name."""
    made = new_project("cuda")
    made.run("nbbench", "run", "--commits", TIP, *WARM)
    suites = ("--bench", r"cuda\.", "--bench", r"bandwidth\.Ceiling")
    made.run("nbbench", "run", "--commits", TIP, "--device", "cuda", *WARM, *suites, **GPU)
    return made


def files(project):
    found = sorted((project.root / "results" / MACHINE).glob(f"{TIP[:8]}-*.json"))
    return {"cuda" if "+cuda" in path.name else "cpu": path for path in found}


def test_both_devices_keep_their_own_results(project):
    assert set(files(project)) == {"cpu", "cuda"}
    kept = [path.name for path in (project.root / "results" / "ledger").iterdir()]
    assert sum("+cuda." in name for name in kept) == 1


def test_samples_are_timed_by_events_and_the_gpu_is_watched(project):
    records = [r for r in project.telemetry(TIP) if "+cuda" in r.environment]
    timed = [dict(r.extra) for r in records if r.kind == "run" and "time_run" in r.benchmark]
    assert timed and all(one["device"] == "cuda" for one in timed)
    assert all(one["gpu"]["sm_hz"] == [345e6, 1980e6] for one in timed)  # idle before, at work after
    assert all(one["gpu"]["throttle"] == [["power cap"]] * 2 and set(one["canary"]) for one in timed)
    assert "gpu" in dict(next(r for r in records if r.kind == "setup_cache").extra)
    assert all("gpu" not in dict(r.extra) for r in project.telemetry(TIP) if "+cuda" not in r.environment)


def test_the_plan_takes_each_device_for_its_own_criteria(project):
    told = project.told("plan", "PERF-PYTORCH-004", expect=3)
    found = {c["criterion"]["id"]: c for c in told["criteria"]}
    assert found["AT-PERF-008 memory"]["found"]["value"] == 4321
    assert found["guard GPU image"]["verdict"] == "meets"
    # The fake has its tensors on the processor, and nothing less than all of them is found.
    assert found["AT-PERF-008 residency"]["verdict"] == "misses"
    for criterion in (found["AT-PERF-007 GPU vs C"], found["AT-PERF-002 GPU vs C"]):
        assert criterion["verdict"] == "not measured"
        assert len(criterion["notes"]) == 1 and criterion["notes"][0].startswith("needs a GPU")


def test_the_ledger_of_a_gpu_is_of_its_own(project):
    asked = ("ledger", TIP, "--bench", "bandwidth-512-float32", "--json")
    cpu = json.loads(project.run("nbbench", *asked).stdout)
    gpu = json.loads(project.run("nbbench", *asked, NBBENCH_DEVICE="cuda", **GPU).stdout)
    assert cpu == gpu
    kept = sorted(path.name for path in (project.root / "results" / "ledger").iterdir())
    assert len(kept) == 2 and "+cuda.json" in kept[0]
