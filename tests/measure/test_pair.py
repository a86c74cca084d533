"""Slices, disturbances and reference kernels of an interleaved pair, without processes."""

from __future__ import annotations

import math

import pytest

from nbbench.disturbance import MACHINE_MOVED
from nbbench.measure.pair import Canaries, disturbed_by, figure, pair_of
from nbbench.measure.slices import Slices
from nbbench.probe.slices import MOST_SAMPLES, take_slice, waiting_s


def test_the_figure_is_the_mean_of_the_two_fastest() -> None:
    assert figure([4.0, 1.0, 9.0]) == pytest.approx(2.0)
    assert figure([3.0]) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ((1.0, 0.1, 0.0, False, 0.0), ""),
        ((1.0, 0.3, 0.0, False, 0.0), "other processes ran"),
        ((1.0, 0.0, 0.1, False, 0.0), "the hypervisor took time"),
        ((1.0, 0.0, 0.0, True, 0.0), "waited for a core"),
        ((1.0, 0.0, 0.0, False, 2 * MACHINE_MOVED), "the reference kernel's time jumped"),
        ((0.01, 0.03, 0.0, False, 0.0), ""),  # the machine counts in steps of 10 ms
    ],
)
def test_what_disturbs(facts: tuple[float, float, float, bool, float], told: str) -> None:
    assert disturbed_by(*facts) == told


def test_canaries_tell_drift_between_sides_and_jumps_within_one() -> None:
    steady = {"base": (1.0, 1.0), "head": (1.0, 1.0)}
    slow = {"base": (1.0, 1.0), "head": (1.21, 1.21)}
    jumped = {"base": (1.0, 2.0), "head": (1.0, 1.0)}
    assert Canaries(steady, steady).log_ratio == Canaries(steady, steady).jump == 0.0
    assert Canaries(slow, steady).log_ratio == pytest.approx(math.log(1.1))
    assert Canaries(slow, steady).jump == 0.0
    assert Canaries(steady, jumped).jump == pytest.approx(math.log(2))
    assert Canaries(jumped, steady).jump == 0.0  # the kernel that moves frames has no say


def test_a_slice_takes_at_least_one_sample_and_not_too_many() -> None:
    one = take_slice(lambda: 0.5, 0.0)
    assert len(one["samples"]) + one["spoilt"] == 1
    many = take_slice(lambda: 0.5, 60.0)
    assert len(many["samples"]) + many["spoilt"] == MOST_SAMPLES


def test_waiting_never_falls() -> None:
    before = waiting_s()
    assert 0.0 <= before <= waiting_s()


def taken(base: list[float], head: list[float], tries: int = 5) -> Slices:
    steady = {"base": (1.0, 1.0), "head": (1.0, 1.0)}
    canaries = {"frames_s": steady, "arithmetic_s": steady}
    return Slices({"base": base, "head": head}, canaries, tries, 1.0, 0.0, 0.0)


def test_slices_give_the_pair_s_log_ratio() -> None:
    found = pair_of(taken([1.0] * 5, [1.1] * 5, tries=7))
    assert found.log_ratio == pytest.approx(math.log(1.1))
    assert (found.slices, found.repeated, found.disturbed) == (5, 2, "")


def test_too_few_slices_are_a_disturbance() -> None:
    assert pair_of(taken([1.0] * 3, [1.1] * 3, tries=11)).disturbed == "waited for a core"


def test_no_clean_slice_is_a_disturbance_and_no_failure() -> None:
    found = pair_of(taken([], [], tries=11))
    assert found.disturbed
    assert not (found.base.error or found.head.error)
    assert math.isnan(found.log_ratio)
