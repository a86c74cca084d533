"""The one notion of a busy machine, and its limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nbbench.disturbance import (
    MACHINE_MOVED,
    OTHERS_CORES,
    STEAL_SHARE,
    WAITED_SHARE,
    Disturbance,
    DisturbedBy,
    busy_load,
    disturbance_of,
    mean_disturbance,
    typical_kept_waiting,
)
from nbbench.model import ProcessRecord

RECORD = ProcessRecord(
    commit="c", environment="e", benchmark="b", param_index=0, kind="run",
    started_at=datetime(2026, 1, 1, tzinfo=UTC), wall_s=2.0, exit_code=0, others_cpu_s=1.0, steal_s=0.2,
    extra=(("run_delay_s", 0.5),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("found", "causes"),
    [
        (Disturbance(), ()),
        (Disturbance(OTHERS_CORES, STEAL_SHARE, MACHINE_MOVED, WAITED_SHARE), ()),
        (Disturbance(others=0.3), (DisturbedBy.OTHERS,)),
        (Disturbance(steal=0.04), (DisturbedBy.STEAL,)),
        (Disturbance(canary=-0.2), (DisturbedBy.CANARY,)),
        (Disturbance(0.3, 0.1, 0.2, 0.1), tuple(DisturbedBy)),
    ],
)
def test_each_sign_has_its_limit(found: Disturbance, causes: tuple[DisturbedBy, ...]) -> None:
    assert (found.causes, found.disturbed) == (causes, bool(causes))


def test_others_on_a_spare_core_cost_a_stored_result_nothing() -> None:
    assert not typical_kept_waiting([Disturbance(others=1.0, waited=0.001)])
    assert not typical_kept_waiting([Disturbance(others=1.0)])  # nothing is known of its own waiting
    assert typical_kept_waiting([Disturbance(waited=0.06)])
    assert typical_kept_waiting([Disturbance(steal=0.04, waited=0.02)])


def test_shares_of_one_process() -> None:
    assert disturbance_of(RECORD) == Disturbance(others=0.5, steal=0.1, waited=0.25)
    assert disturbance_of(replace(RECORD, extra=())) == Disturbance(others=0.5, steal=0.1)
    assert disturbance_of(replace(RECORD, kind="setup_cache")) is None
    assert disturbance_of(replace(RECORD, wall_s=0.01)) is None


def test_the_mean_counts_the_processes_that_it_rests_on() -> None:
    found = mean_disturbance([RECORD, replace(RECORD, others_cpu_s=0.0), replace(RECORD, wall_s=0.01)])
    assert found == Disturbance(others=0.25, steal=pytest.approx(0.1), waited=0.25, processes=2)
    assert mean_disturbance([]) == Disturbance(processes=0)
    assert not mean_disturbance([]).disturbed


def test_the_typical_process_decides() -> None:
    waited, quiet, unknown = Disturbance(waited=0.5), Disturbance(waited=0.0), Disturbance(others=2.0)
    assert typical_kept_waiting([waited, waited, quiet, unknown])
    assert not typical_kept_waiting([waited, quiet, quiet])
    assert not typical_kept_waiting([unknown])


def test_a_load_is_held_against_the_processors() -> None:
    assert busy_load(1.1, 2)
    assert not busy_load(1.0, 2)
    assert not busy_load(None, 2)
