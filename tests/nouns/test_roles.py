"""What a series says is told from its name, unit and type; an event's direction from its members."""

from __future__ import annotations

import math

import history_samples as samples
import pytest

from nbbench.roles import Role, change_role, direction, role, sign


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (samples.TIME, Role.TIME),
        (("cold.timeraw_import", "s", "track"), Role.TIME),
        (("other.time_x", "ms", "time"), Role.TIME),
        (samples.BYTES, Role.WORK),
        (samples.OPERATIONS, Role.WORK),
        (("vectorisation.Exponent.track_exponent", "exponent", "track"), Role.WORK),
        (samples.UPCAST, Role.DTYPE),
        (samples.OUTPUT, Role.DTYPE),
        (samples.PEAK_LIVE, Role.MEMORY),
        (samples.PEAK_MEMORY, Role.MEMORY),
        (samples.FAULTS, Role.ALLOCATOR),
        (samples.PENALTY, Role.DERIVED),
        (samples.CEILING, Role.MACHINE),
        (samples.BANDWIDTH, Role.DERIVED),
        (samples.DISPATCHED, Role.DERIVED),
        (("bandwidth.DtypeRatio.track_time_ratio", "ratio", "track"), Role.DERIVED),
        (("other.track_loss", "points", "track"), Role.OTHER),
    ],
)
def test_role_of_a_series(what: tuple[str, str, str], expected: Role) -> None:
    assert role(samples.key(what[0]), what[1], what[2]) is expected


def test_the_role_of_a_change_is_that_of_its_series() -> None:
    assert change_role(samples.change(2, 2, 0.1)) is Role.TIME
    assert change_role(samples.change(2, 2, 0.1, samples.PEAK_MEMORY)) is Role.MEMORY


def test_time_gives_the_direction_before_work_and_memory() -> None:
    slower = samples.change(2, 2, 0.1)
    less_work = samples.change(2, 2, -0.9, samples.BYTES, "exact")
    less_memory = samples.change(2, 2, -2.0, samples.PEAK_LIVE, "exact")
    assert direction([less_memory, less_work, slower]) == 1
    assert direction([less_memory, less_work]) == -1
    assert direction([less_memory]) == -1


def test_widths_that_grew_from_nothing_do_not_outvote_bytes() -> None:
    wider = samples.change(2, 2, math.inf, samples.UPCAST, "exact")
    halved = samples.change(2, 2, -0.69, samples.BYTES, "exact")
    assert direction([wider, halved]) == -1
    assert direction([wider]) == 1


def test_a_dtype_or_a_derived_figure_alone_has_no_direction() -> None:
    assert direction([samples.change(2, 2, -0.69, samples.OUTPUT, "exact")]) == 0
    assert direction([samples.change(2, 2, -0.69, samples.BANDWIDTH)]) == 0
    assert direction([]) == 0


def test_less_bandwidth_is_a_loss() -> None:
    assert sign(samples.change(2, 2, -0.2, samples.BANDWIDTH)) == 1
