"""Which roof is above a workload, and how near it is: given figures only, no clock."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from figure_samples import GB, MIB, ROOF, ROWS, ledger
from hypothesis import given
from hypothesis import strategies as st

from nbbench.ledger import LedgerLine
from nbbench.report.audits import roofline_headline
from nbbench.work.roofs import (
    Bound,
    cache_ceiling,
    classify,
    memory_ceiling,
    operation_bytes,
    with_write_allocate,
    working_set,
)


class TestBound:
    def test_a_frame_above_the_cache_streams_through_memory(self):
        row = classify(ledger("w", frame=32 * MIB), [0.5, 0.4, 0.6], ROOF)
        assert row.bound is Bound.MEMORY
        assert row.seconds == 0.5
        assert row.ceiling == 40.0 * GB
        assert row.fraction == pytest.approx(96 * MIB * 100 / 0.5 / (40 * GB))

    def test_a_working_set_that_fits_is_held_against_the_cache(self):
        row = classify(ledger("w", frame=MIB), [0.01], ROOF)
        assert row.bound is Bound.CACHE
        assert 80 * GB < row.ceiling < 160 * GB

    def test_operations_that_fit_in_a_larger_working_set(self):
        assert classify(ledger("w", frame=2 * MIB, alive=92 * MIB), [0.02], ROOF).bound is Bound.PARTLY
        # The next operation would find nothing in the cache any more.
        assert classify(ledger("w", frame=6 * MIB, alive=92 * MIB), [0.2], ROOF).bound is Bound.MEMORY

    def test_inputs_count_as_alive(self):
        one = ledger("w", frame=MIB, alive=20 * MIB)
        assert working_set(replace(one, fused_bytes=16 * MIB)) == 36 * MIB
        assert classify(replace(one, fused_bytes=16 * MIB), [0.01], ROOF).bound is Bound.PARTLY

    def test_faster_than_memory_is_never_called_memory(self):
        row = classify(ledger("w", frame=32 * MIB), [0.2], ROOF)  # 50 GB/s
        assert row.rate > memory_ceiling(ROOF)
        assert row.bound is Bound.PARTLY

    def test_calling_operations_is_the_larger_part(self):
        tiny = ledger("w", frame=8, operations=1000, views=400)  # 1.2 ms of calls
        assert classify(tiny, [0.0023], ROOF).bound is Bound.DISPATCH
        row = classify(tiny, [0.0025], ROOF)
        assert row.bound is Bound.CACHE
        assert row.dispatch_share == pytest.approx(0.48)

    def test_dispatch_has_no_bandwidth_ceiling_and_the_plain_mean(self):
        row = classify(ledger("w", frame=8, operations=1000, views=200), [0.0015], ROOF)
        assert (row.ceiling, row.fraction) == (None, None)
        assert row.operation_bytes == 20

    @pytest.mark.parametrize("seconds", [[], [0.1]])
    def test_nothing_measured_is_refused(self, seconds):
        empty = replace(ledger("w", frame=8), bytes=0 if seconds else 10)
        with pytest.raises(ValueError, match="no figures"):
            classify(empty, seconds, ROOF)

    @given(
        frame=st.integers(8, 2**28),
        alive=st.integers(0, 2**32),
        operations=st.integers(1, 5000),
        seconds=st.floats(1e-7, 1e3),
    )
    def test_never_above_the_memory_ceiling(self, frame, alive, operations, seconds):
        row = classify(ledger("w", frame=frame, alive=alive, operations=operations), [seconds], ROOF)
        if row.bound is Bound.MEMORY:
            assert row.fraction <= 1


def test_an_operation_is_weighted_by_its_bytes():
    one = ledger("w", frame=8)
    lines = (
        LedgerLine("a", 1, "f", "add", "float64", 1, 1000),
        LedgerLine("a", 2, "f", "mul", "float64", 100, 1000),
    )
    assert operation_bytes(replace(one, lines=lines)) == (1000 * 1000 + 1000 * 10) / 2000
    assert operation_bytes(replace(one, lines=(), bytes=240, ops=10)) == 24


class TestCacheCeiling:
    def test_on_the_measured_points(self):
        assert cache_ceiling(ROOF, MIB) == pytest.approx(160.0 * GB)
        assert cache_ceiling(ROOF, 128 * MIB) == pytest.approx(40.0 * GB)

    def test_between_them_on_a_line_in_logarithms(self):
        assert cache_ceiling(ROOF, 4 * MIB) == pytest.approx(math.sqrt(160 * 80) * GB)

    def test_a_small_operations_own_cost_is_not_the_caches(self):
        # Only 120 GB/s were measured at 128 KiB, because calls take their part.
        assert cache_ceiling(ROOF, 1024) == pytest.approx(160.0 * GB)

    def test_beyond_the_last_point(self):
        assert cache_ceiling(ROOF, 2**40) == pytest.approx(40.0 * GB)


def test_write_allocate_adds_one_array():
    found = with_write_allocate(ROOF)
    assert found == pytest.approx(
        {"copy": 60.0 * GB, "scale": 57.0 * GB, "add": 52.0 * GB, "triad": 48.0 * GB}
    )


def test_headline():
    assert (
        roofline_headline(ROWS) == "nearest to its roof: bandwidth-2048-float64 at 50% of the memory ceiling"
    )
    assert "no workload" in roofline_headline([ROWS[-1]])
