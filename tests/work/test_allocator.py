"""What malloc costs: verdicts by counts of faults, and the size at which a tensor is mapped."""

from __future__ import annotations

from dataclasses import replace

import pytest
from figure_samples import ALLOCATIONS, MIB

from nbbench.report.allocator import allocator_blocks, allocator_headline, allocator_verdict
from nbbench.work.allocator_cost import MALLOC_REMEDY, Allocation, Cost, Large

MAPPED, HEAP, NONE = ALLOCATIONS


class TestCost:
    def test_the_three_kinds(self):
        assert [row.cost for row in ALLOCATIONS] == [Cost.MAPPED, Cost.HEAP, Cost.NONE]
        assert [allocator_verdict(row) for row in ALLOCATIONS] == [
            "mmap threshold crossed: pays 257%",
            "heap given back: pays 65%",
            "none",
        ]

    def test_a_busy_machine_changes_no_verdict(self):
        assert allocator_verdict(replace(NONE, default_s=3.0)) == "none"
        faster = replace(HEAP, default_s=0.8)
        assert faster.cost is Cost.HEAP
        assert allocator_verdict(faster) == "heap given back: no measurable cost in time"

    def test_faults_that_the_remedy_leaves_are_not_mallocs(self):
        assert replace(HEAP, remedied_faults=HEAP.faults).cost is Cost.NONE

    def test_one_per_cent_of_the_moved_bytes(self):
        row = replace(NONE, work_bytes=4096 * 1000, remedied_faults=0.0)
        assert replace(row, faults=9.0).cost is Cost.NONE
        assert replace(row, faults=10.0).cost is Cost.HEAP

    def test_exactly_the_threshold_is_mapped(self):
        # malloc adds its header, so a tensor of 32 MiB asks for more than the ceiling.
        assert replace(HEAP, large=(Large("", 1, 32 * MIB),)).cost is Cost.MAPPED
        assert replace(HEAP, large=(Large("", 1, 32 * MIB - 4096),)).cost is Cost.HEAP


def crossing(row: Allocation) -> str:
    """What the report says of the frame from which on the largest tensor is mapped."""
    return next(
        (block for block in allocator_blocks("t", [row], []) if "mapped each time from" in str(block)), ""
    )


class TestCrossing:
    @pytest.mark.parametrize(
        ("bytes_a_pixel", "side"), [(8, "2,048"), (4, "2,897"), (24, "1,183"), (12, "1,673")]
    )
    def test_the_frame_that_crosses(self, bytes_a_pixel, side):
        pixels = 4096 * 4096
        row = replace(MAPPED, pixels=pixels, large=(Large("", 1, bytes_a_pixel * pixels),))
        assert f"a frame of n = {side};" in crossing(row)

    def test_points_are_no_frame(self):
        row = replace(MAPPED, pixels=100_000, large=(Large("", 1, 512 * 100_000),))
        assert "from 65,536 pixels on;" in crossing(row)

    def test_only_where_it_is_crossed(self):
        assert crossing(HEAP) == crossing(NONE) == ""


def test_headline_names_the_worst_and_the_remedy():
    told = allocator_headline(ALLOCATIONS)
    assert "slows 2 of 3 down, bandwidth-2048-float64 most (3.57×" in told
    assert MALLOC_REMEDY in told
    assert allocator_headline([NONE]) == "the default malloc costs nothing here"


class TestLargeTensors:
    @staticmethod
    def recorded(function, least):
        pytest.importorskip("torch")
        from nbbench.probe.allocations import LargeTensors

        with LargeTensors(source_root=__file__.rpartition("/")[0], least_bytes=least) as recorder:
            function()
        return recorder.lines

    def test_new_storages_by_line_views_and_in_place_left_out(self):
        torch = pytest.importorskip("torch")
        frame = torch.ones(64, 64, dtype=torch.float64)

        def work():
            view = frame.reshape(-1)[10:]
            view.add_(1)
            _ = frame + 1
            return torch.stack([frame, frame, frame])

        lines = self.recorded(work, 1024)
        sizes = sorted((one.largest, one.count) for one in lines.values())
        assert sizes == [(64 * 64 * 8, 1), (3 * 64 * 64 * 8, 1)]
        assert all("test_allocator.py:" in line and line.endswith("work") for line in lines)

    def test_small_ones_are_left_out(self):
        torch = pytest.importorskip("torch")
        assert self.recorded(lambda: torch.ones(4) + 1, 1024) == {}
