"""Bandwidth ceilings: STREAM's byte counts, best of repeats, first turn left out."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from nbbench.probe import ceiling  # noqa: E402

KERNELS = ("copy", "scale", "add", "triad")


class Clock:
    """A perf_counter under which the n-th timed kernel takes `durations[n]` seconds.

    The end of the four kernels of the first turn is never asked for.
    """

    def __init__(self, durations):
        self._told = [0.0] * len(KERNELS)
        for duration in durations:
            self._told += [self._told[-1], self._told[-1] + duration]
        self._told.reverse()

    def perf_counter(self):
        return self._told.pop()

    def monotonic(self):
        return 0.0


@pytest.fixture
def clock(monkeypatch):
    def use(durations):
        fake = Clock(durations)
        monkeypatch.setattr(ceiling, "time", fake)
        return fake

    return use


def test_rates_are_positive():
    found = ceiling.measure_ceiling(repeats=2, array_bytes=2**16)
    assert all(getattr(found, kernel) > 0 for kernel in KERNELS)
    assert found.array_bytes == 2**16
    assert found.threads == torch.get_num_threads()
    assert found.cache_bytes > 0


def test_two_arrays_for_copy_and_scale_three_for_add_and_triad(clock):
    clock([1.0] * 4)
    found = ceiling.measure_ceiling(repeats=1, array_bytes=8000)
    assert [getattr(found, kernel) for kernel in KERNELS] == [16000, 16000, 24000, 24000]


def test_first_turn_is_left_out_and_the_best_repeat_counts(clock):
    turns = [[4.0, 5.0, 6.0, 8.0], [2.0, 10.0, 3.0, 9.0], [8.0, 10.0, 12.0, 4.0]]
    clock([second for turn in turns for second in turn])
    found = ceiling.measure_ceiling(repeats=3, array_bytes=8000)
    assert [getattr(found, kernel) for kernel in KERNELS] == [16000 / 2, 16000 / 5, 24000 / 3, 24000 / 4]


def test_arrays_hold_whole_numbers_of_float64(clock):
    clock([1.0] * 4)
    found = ceiling.measure_ceiling(repeats=1, array_bytes=8007)
    assert found.array_bytes == 8000


def test_repeats_end_when_the_time_is_over(clock):
    """A4: on a slow or busy machine the best of two turns counts."""
    fake = clock([1.0] * 8)
    fake.monotonic = iter([0.0, ceiling.MOST_SECONDS + 1]).__next__
    assert ceiling.measure_ceiling(repeats=50, array_bytes=8000).copy == 16000


@pytest.mark.parametrize(("cache", "expected"), [(0, 128), (4, 64), (30, 120), (300, 128)])
def test_size_of_the_arrays_follows_the_cache_and_is_bounded(monkeypatch, clock, cache, expected):
    """A4: a last-level cache of 300 MiB costs no more than one of 32 MiB."""
    sizes = []
    expected *= 2**20

    def small(shape, value, **options):
        sizes.append(shape[0] * 8)
        return torch.zeros(10, dtype=torch.float64)

    class Torch:
        full = staticmethod(small)

        def __getattr__(self, name):
            return getattr(torch, name)

    clock([1.0] * 4)
    monkeypatch.setattr(ceiling, "torch", Torch())
    monkeypatch.setattr(ceiling, "last_level_cache_bytes", lambda: cache * 2**20)
    found = ceiling.measure_ceiling(repeats=1)
    assert found.array_bytes == expected
    assert found.cache_bytes == (cache or 32) * 2**20
    assert sizes == [expected] * 3


class TestCurve:
    def test_footprints_reach_from_the_first_cache_to_four_times_the_last(self):
        sizes = ceiling.curve_footprints(32 * 2**20)
        assert sizes[0] == 24 * 2**10
        assert all(after == 2 * before for before, after in itertools.pairwise(sizes))
        assert sizes[-2] < 128 * 2**20 <= sizes[-1]

    def test_footprints_are_bounded_for_a_large_cache(self):
        """A4"""
        assert ceiling.curve_footprints(300 * 2**20)[-2] < 3 * ceiling.LARGEST_ARRAY_BYTES

    def test_three_arrays_are_counted(self, monkeypatch):
        monkeypatch.setattr(ceiling, "best_seconds", lambda kernel, repeats: 0.5)
        assert ceiling.measure_curve([240, 4800]) == [(240, 480.0), (4800, 9600.0)]

    def test_real_rates_are_positive(self):
        assert all(rate > 0 for _, rate in ceiling.measure_curve([2**15], repeats=1))


class TestSeconds:
    def test_short_calls_are_repeated_and_the_best_sample_counts(self, clock):
        # One call takes 20 µs: samples of five calls, of which the faster took 50 µs.
        calls = []
        told = iter([0.0, 20e-6, 1.0, 1.0 + 75e-6, 2.0, 2.0 + 50e-6])
        clock([]).perf_counter = lambda: next(told)
        assert ceiling.best_seconds(lambda: calls.append(1), repeats=2) == pytest.approx(10e-6)
        assert len(calls) == 2 + 2 * 5

    def test_dispatch_costs_something(self):
        assert all(0 < seconds < 1 for seconds in ceiling.measure_dispatch(repeats=1))
