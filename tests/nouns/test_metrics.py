"""What a series measures follows from its name, unit and type; an event's direction from its members."""

from __future__ import annotations

import math

import history_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbbench.metrics import Better, Metric, Phase, Role, change_metric, change_role, metric_of, unit_better
from nbbench.model import EventDirection


def of(name: str, unit: str, kind: str = "track", **declared: Better) -> Metric:
    return metric_of(samples.key(name), unit, kind, declared)


GAINS = """steps/s, it/s, iterations/s, fps, FPS, GB/s, GiB/s, MB/s, B/s, GFLOP/s, GFLOPS, TFLOP/s, gflopss,
Mflops, samples/sec, tokens/second, items/min, events/ms, Hz, MHz, iops, qps, ns/day, steps per second,
frames per s, % of peak, percent of peak, fraction of copy ceiling, % of roofline, x, ×, speedup, speed-up,
x speedup, throughput, GiB/s (legacy), efficiency"""
COSTS = """seconds, s, ms, µs, us, ns, min, h, bytes, B, KiB, MB, GiB, B/pixel, B/point, operations, faults,
exponent, B (exact), s/it, ms/frame, seconds per step, MB/atom"""
UNKNOWN = """points, score, %, atoms, K, widgets, iterations, kcal/mol, eV, errors/s, misses/s, a/b"""


def listed(text: str) -> list[str]:
    return [" ".join(unit.split()) for unit in text.split(",")]


@pytest.mark.parametrize("unit", listed(GAINS))
def test_B1_rates_and_speedups_are_better_high(unit: str) -> None:
    assert unit_better(unit) is Better.HIGHER
    metric = of("other.track_x", unit)
    assert metric.direction(math.log(0.5)) is EventDirection.REGRESSION
    assert metric.direction(math.log(2.0)) is EventDirection.IMPROVEMENT


@pytest.mark.parametrize("unit", listed(COSTS))
def test_B1_costs_are_better_low(unit: str) -> None:
    metric = of("other.track_x", unit)
    assert metric.direction(math.log(2.0)) is EventDirection.REGRESSION
    assert metric.direction(math.log(0.5)) is EventDirection.IMPROVEMENT


@pytest.mark.parametrize("unit", listed(UNKNOWN))
def test_B1_an_undeclared_unit_has_no_direction_until_it_is_declared(unit: str) -> None:
    metric = of("other.track_x", unit)
    assert metric.better is Better.UNKNOWN
    assert {metric.direction(math.log(f)) for f in (0.5, 2.0)} == {EventDirection.CHANGE}
    higher = of("other.track_x", unit, **{unit: Better.HIGHER})
    assert higher.direction(math.log(0.5)) is EventDirection.REGRESSION
    neither = of("other.track_x", unit, **{unit: Better.NEITHER})
    assert neither.direction(math.log(0.5)) is EventDirection.CHANGE


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.track_speedup", Better.HIGHER),
        ("a.track_gflops", Better.HIGHER),
        ("a.track_gflopss", Better.HIGHER),
        ("a.track_runtime", Better.LOWER),
        ("a.track_peak_memory", Better.LOWER),
        ("a.track_score", Better.UNKNOWN),
        ("a.track_timed_steps", Better.UNKNOWN),
    ],
)
def test_where_asv_knows_no_unit_the_name_may_tell(name: str, expected: Better) -> None:
    assert of(name, "unit").better is of(name, "").better is expected
    assert of(name, "widgets").better is Better.UNKNOWN


def test_a_result_without_its_declaration_has_the_metric_of_its_name() -> None:
    """D8: benchmarks.json gives unit and type; without it detection and events must still agree."""
    for name, unit, kind in (("a.time_x", "seconds", "time"), ("a.peakmem_x", "bytes", "peakmemory")):
        assert (
            of(name, "", "")
            == of(name, unit, kind)
            == change_metric(samples.change(2, 2, 0.1, (name, "", "")))
        )
    assert of("a.time_x", "ms", "time").role is Role.TIME
    assert change_role(samples.change(2, 2, 0.1, ("a.time_x", "ms", "time"))) is Role.TIME


@given(st.text(max_size=30), st.floats(allow_nan=False, allow_infinity=False))
def test_any_unit_has_a_metric_and_opposite_effects_are_opposite(unit: str, effect: float) -> None:
    metric = of("a.track_x", unit)
    opposite = {
        EventDirection.REGRESSION: EventDirection.IMPROVEMENT,
        EventDirection.IMPROVEMENT: EventDirection.REGRESSION,
        EventDirection.CHANGE: EventDirection.CHANGE,
    }
    assert metric.direction(-effect) is opposite[metric.direction(effect)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cold_start.ColdStart.timeraw_import", Phase.IMPORT),
        ("cold_start.ColdStart.timeraw_import_all", Phase.IMPORT),
        ("cold_start.ColdStart.timeraw_construct", Phase.CONSTRUCT),
        ("cold_start.ColdStart.timeraw_first_run", Phase.FIRST),
        (samples.PEAK_MEMORY[0], Phase.MEMORY),
        (samples.PEAK_LIVE[0], Phase.MEMORY),
        ("ledger.track_peak_live_bytes", Phase.MEMORY),
        (samples.TIME[0], Phase.WARM),
        (samples.BYTES[0], Phase.WARM),
        ("other.time_import", Phase.WARM),
    ],
)
def test_phase_of_a_series(name: str, expected: Phase) -> None:
    assert of(name, "s").phase is expected


def test_few_faults_and_few_operations_make_no_event() -> None:
    few = samples.change(2, 2, math.log(2), samples.FAULTS, before=100, after=200)
    many = samples.change(2, 2, math.log(2), samples.FAULTS, before=5000, after=10_000)
    assert [change_metric(c).counts(c) for c in (few, many)] == [False, True]
    operations = samples.change(2, 2, 0.05, samples.OPERATIONS, "exact")
    assert not change_metric(operations).counts(operations)
    work = samples.change(2, 2, 0.05, samples.BYTES, "exact")
    assert change_metric(work).counts(work, min_effect=0.2)  # the setting is that of noisy ones
    assert not change_metric(samples.change(2, 2, 0.1)).counts(samples.change(2, 2, 0.1), min_effect=0.2)


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
    assert of(*what).role is expected


def test_the_role_of_a_change_is_that_of_its_series() -> None:
    assert change_role(samples.change(2, 2, 0.1)) is Role.TIME
    assert change_role(samples.change(2, 2, 0.1, samples.PEAK_MEMORY)) is Role.MEMORY
