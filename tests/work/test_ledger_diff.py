"""The exact difference of two ledgers, and when an image counts as changed."""

from __future__ import annotations

import math
from dataclasses import replace

import history_samples as samples
import pytest

from nbbench.ledger import LedgerLine
from nbbench.work.ledger_diff import compare_images, diff_ledgers, log_ratio

BASE = samples.ledger()


def test_the_same_ledger_differs_in_nothing() -> None:
    diff = diff_ledgers(BASE, BASE)
    assert diff.equal
    assert diff.lines == ()
    assert (diff.effect, diff.ops_effect, diff.image) == (0.0, 0.0, "same bits")
    assert not (diff.upcasts or diff.retyped or diff.recomposed)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(1, 2, math.log(2)), (0, 0, 0.0), (0, 5, math.inf), (5, 0, -math.inf), (4, 4, 0.0)],
)
def test_log_ratio_is_defined_for_zeros(before: float, after: float, expected: float) -> None:
    assert log_ratio(before, after) == pytest.approx(expected)


def test_totals_are_per_pixel_and_sizes_may_differ() -> None:
    head = replace(samples.ledger(per_pixel=120.0), pixels=2000)
    diff = diff_ledgers(BASE, head)
    assert diff.head.bytes_per_pixel == pytest.approx(60.0)
    assert diff.effect == pytest.approx(math.log(0.6))


def test_code_that_moved_to_other_lines_is_no_change() -> None:
    moved = tuple(replace(line, line=line.line + 40) for line in BASE.lines)
    assert diff_ledgers(BASE, replace(BASE, lines=moved)).lines == ()


def test_a_renamed_function_differs_in_lines_but_does_no_other_work() -> None:
    renamed = tuple(replace(line, function="compute") for line in BASE.lines)
    diff = diff_ledgers(BASE, replace(BASE, lines=renamed))
    assert len(diff.lines) == 2
    assert not diff.recomposed


def test_equal_totals_of_other_operations_are_recomposed() -> None:
    other = tuple(replace(line, op="aten.exp") for line in BASE.lines)
    diff = diff_ledgers(BASE, replace(BASE, lines=other))
    assert diff.equal
    assert diff.recomposed


def test_lines_of_one_function_are_added_up_and_the_largest_difference_leads() -> None:
    base = samples.ledger(lines=(("a", "aten.mul", 1000, 1), ("a", "aten.mul", 1000, 1)))
    head = samples.ledger(lines=(("a", "aten.mul", 5000, 3), ("b", "aten.add", 50_000, 2)))
    first, second = diff_ledgers(base, head).lines
    assert (first.function, first.before, first.after, first.count_after) == ("b", 0.0, 50.0, 2)
    assert (second.function, second.before, second.after) == ("a", 2.0, 5.0)
    assert (second.count_before, second.count_after, second.delta) == (2, 3, 3.0)


def test_a_line_that_is_gone_is_shown_where_it_was() -> None:
    gone = diff_ledgers(BASE, replace(BASE, lines=())).lines[0]
    assert gone.where == "simulator.py:10"
    assert gone.after == 0.0


def test_work_of_the_benchmark_itself_is_named_so() -> None:
    line = LedgerLine("", 0, "", "aten.sum", "float32", 1, 4000)
    assert diff_ledgers(BASE, replace(BASE, lines=(*BASE.lines, line))).lines[0].where == "(benchmark)"


def test_upcasts_count_in_both_directions_and_only_beyond_one_per_cent() -> None:
    wide = samples.ledger(upcast=50.0)
    assert diff_ledgers(BASE, wide).upcasts
    assert diff_ledgers(wide, BASE).upcasts
    assert not diff_ledgers(BASE, samples.ledger(upcast=0.5)).upcasts


def test_another_default_dtype_is_retyped() -> None:
    assert diff_ledgers(samples.ledger(dtype="float64"), BASE).retyped
    assert not diff_ledgers(samples.ledger(dtype=""), BASE).retyped


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ((1.0 + 3e-6,) * 64, "same within rounding"),
        ((1.0 + 9e-3,) * 64, "different"),
        ((1.02,) + (1.0,) * 63, "different"),
        ((1.001,) + (1.0,) * 63, "same within rounding"),
        ((math.nan,) + (1.0,) * 63, "different"),
        ((1.0,) * 63, "different"),
        ((0.0,) * 64, "different"),
    ],
)
def test_when_an_image_has_changed(blocks: tuple[float, ...], expected: str) -> None:
    head = replace(BASE, image_digest="other", image_blocks=blocks)
    assert compare_images(BASE, head)[0] == expected


def test_equal_bits_are_the_same_image_whatever_the_blocks() -> None:
    assert compare_images(BASE, replace(BASE, image_blocks=())) == ("same bits", 1.0)


def test_a_black_base_image_has_no_ratio() -> None:
    black = samples.ledger(image=0.0)
    assert math.isnan(compare_images(black, BASE)[1])
    assert math.isnan(compare_images(replace(BASE, image_sum=""), BASE)[1])
