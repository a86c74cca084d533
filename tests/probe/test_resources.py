"""Pins and meters of a benchmark process: page faults by count, never by time."""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from nbbench.probe import resources

# Allocates, touches and frees 64 MiB five times; prints the page faults of each turn.
FAULTS = """
import ctypes, json, resource, sys
from nbbench.probe.resources import pin_malloc
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
pinned = pin_malloc() if sys.argv[1] == "pinned" else None
faults = []
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(json.dumps([pinned, faults]))
"""


def faults(mode):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, mode], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the thresholds are glibc's")
class TestPinnedMalloc:
    def test_large_blocks_fault_once_instead_of_every_time(self):
        _, free = faults("default")
        pinned, kept = faults("pinned")
        assert pinned is True
        # A page may have any size, but a block that is mapped anew faults in at least one.
        assert min(free[1:]) >= 1
        assert sum(kept[1:]) < sum(free[1:])

    def test_may_be_repeated(self):
        code = "from nbbench.probe.resources import pin_malloc as p; print(p(), p())"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert done.stdout.split() == ["True", "True"]


def test_a_library_without_mallopt(monkeypatch):
    monkeypatch.setattr(resources.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert resources.pin_malloc() is False


def test_a_mallopt_that_refuses(monkeypatch):
    monkeypatch.setattr(resources.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda key, value: 0))
    assert resources.pin_malloc() is False


class TestThreads:
    @pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 1), (3, 2), (5, 4), (64, 4)])
    def test_all_cores_but_one_at_most_four(self, monkeypatch, cores, expected):
        monkeypatch.setattr(resources.os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
        assert resources.usable_threads() == expected

    def test_what_was_asked_for(self, monkeypatch):
        monkeypatch.setattr(resources.os, "sched_getaffinity", lambda pid: {0}, raising=False)
        assert resources.usable_threads(7) == 7

    def test_without_affinity(self, monkeypatch):
        monkeypatch.delattr(resources.os, "sched_getaffinity", raising=False)
        monkeypatch.setattr(resources.os, "cpu_count", lambda: None)
        assert resources.usable_threads() == 1


def test_torch_is_pinned_before_it_is_imported():
    assert resources.PINNED_ENVIRONMENT["CUDA_VISIBLE_DEVICES"] == "-1"
    assert resources.PINNED_ENVIRONMENT["TORCHDYNAMO_DISABLE"] == "1"
    code = "import sys, nbbench.probe.resources; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the measured function moves."""
    fake = SimpleNamespace(now=100.0)
    monkeypatch.setattr(resources, "time", SimpleNamespace(perf_counter=lambda: fake.now))
    return fake


class TestMeasure:
    def test_walls_and_number_of_runs(self, clock):
        steps = iter([1.0, 0.25, 4.0])

        def work():
            clock.now += next(steps)

        assert [run.wall_s for run in resources.measure(work, 3)] == [1.0, 0.25, 4.0]

    def test_budget_ends_it_but_never_before_the_first(self, clock):
        def work():
            clock.now += 2.0

        assert len(resources.measure(work, 10, budget_s=5.0)) == 3  # a run begins while time is left
        assert len(resources.measure(work, 10, budget_s=0.0)) == 1

    def test_garbage_collection_is_off_meanwhile_and_on_again(self):
        seen = []
        resources.measure(lambda: seen.append(gc.isenabled()), 2)
        assert seen == [False, False] and gc.isenabled()

        def fails():
            raise RuntimeError("boom")

        with pytest.raises(RuntimeError, match="boom"):
            resources.measure(fails, 2)
        assert gc.isenabled()

        gc.disable()
        try:
            resources.measure(lambda: None, 1)
            assert not gc.isenabled()
        finally:
            gc.enable()

    def test_differences_of_the_kernels_counters(self, monkeypatch):
        told = iter(
            SimpleNamespace(ru_stime=system_s, ru_minflt=faults)
            for system_s, faults in [(0.5, 10), (0.75, 110), (1.0, 200), (1.0, 200)]
        )
        monkeypatch.setattr(
            resources, "resource", SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: next(told))
        )
        first, second = resources.measure(lambda: None, 2)
        assert (first.system_s, first.minor_faults) == (0.25, 100)
        assert (second.system_s, second.minor_faults) == (0.0, 0)
