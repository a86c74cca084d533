"""One event is one range, one direction, one phase, one cause (A3, F3, H9)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from history_samples import (
    BYTES,
    OPERATIONS,
    PEAK_LIVE,
    PEAK_MEMORY,
    TIME,
    branch,
    change,
    events,
    history,
    ledger,
    noisy,
    numbers,
    series,
    steps,
)

from nbbench.history.events import build_events
from nbbench.history.flags import attach_flags
from nbbench.ledger import Ledger
from nbbench.model import Cause, ChangePoint, Event, EventDirection, Phase
from nbbench.report.causes import evidence_sentences

N = 20
IMPORT = ("cold_start.ColdStart.timeraw_import", "seconds", "time")
STEPS_PER_SECOND = ("suite.Loop.track_speed", "steps/s", "track")
UNDECLARED = ("suite.Loop.track_quality", "quality", "track")
SMALL, LARGE = "bandwidth-512-float32", "bandwidth-1024-float32"


def work(before: dict[str, Ledger], after: dict[str, Ledger], at: int = 10) -> dict[str, dict[str, Ledger]]:
    """Ledgers by tree: those of every workload before commit `at`, and from it on."""
    return {f"tree{i}": (before if i < at else after) for i in range(1, N + 1)}


def of(workload: str, **told: float) -> dict[str, Ledger]:
    return {workload: ledger(workload, **told)}


def run(workload: str, effect: float, at: int = 10) -> ChangePoint:
    """A time of a workload."""
    size = workload.split("-")[1]
    return change(at, at, effect, TIME, size=size, dtype="'float32'")


def count(workload: str, effect: float, what: tuple[str, str, str], before: float = 1.0) -> ChangePoint:
    """An exact count of a workload."""
    size = workload.split("-")[1]
    return change(10, 10, effect, what, "exact", before, size=size, dtype="'float32'")


def made(ledgers: dict[str, dict[str, Ledger]], *changes: ChangePoint) -> list[Event]:
    return build_events(history(commits=branch(N), ledgers=ledgers), changes)


def test_importing_and_another_image_are_two_events() -> None:
    """F3: 45.9 times the import has nothing to do with another workload's image."""
    found = made(
        work(of(SMALL), of(SMALL, image=2.0, per_pixel=200.0)),
        change(10, 10, math.log(45.9), IMPORT),
        run(SMALL, 0.3),
        count(SMALL, 0.69, BYTES),
    )
    assert {(e.id, e.phase, e.cause) for e in found} == {
        ("0000000a-slower", Phase.WARM, Cause.IMAGE),
        ("0000000a-slower-import", Phase.IMPORT, Cause.UNEXPLAINED),
    }
    warm = next(e for e in found if e.phase is Phase.WARM)
    assert warm.effect == pytest.approx(0.3)


def test_two_causes_at_one_commit_are_two_events() -> None:
    found = made(
        work(of(SMALL) | of(LARGE), of(SMALL, image=2.0, per_pixel=200.0) | of(LARGE, per_pixel=150.0)),
        run(SMALL, 0.6),
        run(LARGE, 0.4),
        count(SMALL, 0.69, BYTES),
        count(LARGE, 0.41, BYTES),
    )
    found.sort(key=lambda e: e.id)
    assert [(e.id, e.cause, len(e.changes)) for e in found] == [
        ("0000000a-slower", Cause.IMAGE, 2),
        ("0000000a-slower-work", Cause.WORK, 2),
    ]
    for event, own, other in ((found[0], SMALL, LARGE), (found[1], LARGE, SMALL)):
        assert any(line.startswith(f"{own}: ") for line in evidence_sentences(event.evidence))
        assert not any(line.startswith(f"{other}: ") for line in evidence_sentences(event.evidence))


def test_a_workload_that_gains_does_not_hide_one_that_loses() -> None:
    """A3."""
    slower, faster = made(
        work(of(SMALL) | of(LARGE), of(SMALL, per_pixel=150.0) | of(LARGE, per_pixel=1.0, ops=2)),
        count(SMALL, 0.41, BYTES),
        count(LARGE, -4.6, BYTES),
        count(LARGE, -3.2, OPERATIONS),
    )
    assert (slower.direction, len(slower.changes)) == (EventDirection.REGRESSION, 1)
    assert (faster.direction, len(faster.changes)) == (EventDirection.IMPROVEMENT, 2)


def test_a_workload_has_the_direction_of_its_cost() -> None:
    """Many operations less for a few bytes more: faster, and no event of bytes."""
    (event,) = made(
        work(of(SMALL, ops=80_000), of(SMALL, ops=100, per_pixel=110.0)),
        count(SMALL, math.log(1.1), BYTES),
        count(SMALL, -math.log(800), OPERATIONS),
    )
    assert event.direction is EventDirection.IMPROVEMENT


def test_work_that_hardly_moved_does_not_explain_a_large_time() -> None:
    found = made(
        work(of(SMALL, ops=0), of(SMALL, ops=0, per_pixel=102.0)),
        run(SMALL, 0.5),
        count(SMALL, math.log(1.02), BYTES),
    )
    assert {(e.id, e.cause) for e in found} == {
        ("0000000a-slower", Cause.UNEXPLAINED),
        ("0000000a-slower-work", Cause.WORK),
    }


def test_a_time_whose_own_work_is_equal_is_not_booked_on_anothers() -> None:
    found = made(
        work(of(SMALL) | of(LARGE), of(SMALL, per_pixel=150.0) | of(LARGE)),
        count(SMALL, 0.41, BYTES),
        run(LARGE, 0.3),
    )
    assert {(e.cause, len(e.changes)) for e in found} == {(Cause.WORK, 1), (Cause.UNEXPLAINED, 1)}


def test_memory_joins_what_happened_at_its_commit_and_stands_alone_otherwise() -> None:
    more = count(SMALL, 0.5, PEAK_LIVE, 1e8)
    bytes_ = count(SMALL, 0.41, BYTES)
    ledgers = work(of(SMALL), of(SMALL, per_pixel=150.0))
    (both,) = made(ledgers, more, bytes_)
    assert (both.id, len(both.changes)) == ("0000000a-slower", 2)
    (alone,) = made({}, more)
    assert (alone.id, alone.phase) == ("0000000a-slower-memory", Phase.MEMORY)
    assert made({}, count(SMALL, 0.5, PEAK_LIVE, 1e6)) == []


def test_more_memory_beside_less_time_is_an_event_of_its_own() -> None:
    (memory, faster) = made(
        work(of(SMALL), of(SMALL, per_pixel=50.0)),
        count(SMALL, -0.69, BYTES),
        change(10, 10, 0.5, PEAK_MEMORY, "step", 1e9, size="512", dtype="'float32'"),
    )
    assert (memory.id, faster.id) == ("0000000a-slower-memory", "0000000a-faster")


def test_what_nobody_declared_is_a_change_and_never_flagged() -> None:
    """B1 and C1 meet here: "changed" is shown, and fails no build."""
    values = noisy(steps(N, 10.0, (11, 2.0)), 0.01)
    (event,) = events(history(series(UNDECLARED, values), commits=branch(N)))
    assert (event.id, event.direction) == ("0000000b-changed", EventDirection.CHANGE)
    assert attach_flags([event], [], "PLAN", branch(N)) == []
    (slower,) = events(history(series(STEPS_PER_SECOND, noisy(steps(N, 10.0, (11, 0.5)))), commits=branch(N)))
    assert slower.id == "0000000b-slower"


def test_the_headline_is_what_a_user_waits_for() -> None:
    """H9: three times as many scalar operations at equal bytes are no threefold time."""
    (few,) = made(
        work(
            of(SMALL, pixels=1_000_000, per_pixel=1e5, ops=193),
            of(SMALL, pixels=1_000_000, per_pixel=1e5, ops=604),
        ),
        count(SMALL, math.log(604 / 193), OPERATIONS),
    )
    assert few.predicted == few.effect
    assert 0 < few.effect < 0.25
    timed = made(
        work(of(SMALL), of(SMALL, per_pixel=300.0)),
        run(SMALL, 0.68),
        count(SMALL, math.log(3), BYTES),
    )[0]
    assert (timed.effect, timed.predicted) == (0.68, None)


def test_counts_of_few_trees_take_over_no_change_that_time_places_more_sharply() -> None:
    """A host count knows a wide range where only some trees were counted: the timed event keeps its own."""
    steps_of_import = ("ledger.track_host_steps_import", "steps", "track")
    timed = change(9, 11, 0.5, IMPORT)
    wide = change(3, 15, 0.4, steps_of_import, "exact", 1e5, workload="import")
    assert sorted(numbers(event) for event in made({}, timed, wide)) == [(3, 15), (9, 11)]
    sharp = change(10, 10, 0.4, steps_of_import, "exact", 1e5, workload="import")
    (event,) = made({}, timed, sharp)
    assert (numbers(event), event.cause) == ((10, 10), Cause.HOST)


def test_what_an_import_holds_and_executes_belongs_to_it() -> None:
    """810 modules, 74 MiB and a few lines are one import; a loop beside it is an event of its own."""

    def host(name: str, unit: str, effect: float, before: float) -> ChangePoint:
        return change(
            10,
            10,
            effect,
            (f"ledger.track_host_{name}_import", unit, "track"),
            "exact",
            before,
            workload="import",
        )

    imported = [
        host("modules", "modules", 1.0, 100.0),
        host("memory", "B held", 2.0, 2.0**24),
        host("steps", "steps", 0.02, 700.0),
        change(9, 12, 3.0, IMPORT),
    ]
    (event,) = made({}, *imported)
    assert (numbers(event), event.cause, len(event.changes)) == ((10, 10), Cause.IMPORT, 4)
    both = made({}, *imported, host("files", "steps", 1.5, 1e5))
    assert {(e.cause, len(e.changes)) for e in both} == {(Cause.IMPORT, 4), (Cause.HOST, 1)}


def test_steps_that_grew_no_more_than_the_operations_follow_them() -> None:
    def steps_of(effect: float) -> ChangePoint:
        steps_of_run = ("ledger.track_host_steps_warm_run", "steps", "track")
        return change(10, 10, effect, steps_of_run, "exact", 1e5, workload=SMALL)

    def counted(effect: float) -> ChangePoint:
        return change(
            10, 10, effect, ("ledger.track_operations", "operations", "track"), "exact", 1e3, workload=SMALL
        )

    ledgers = work(of(SMALL), of(SMALL, ops=300))
    (event,) = made(ledgers, counted(0.5), steps_of(0.4))
    assert (event.cause, len(event.changes)) == (Cause.WORK, 2)
    assert {e.cause for e in made(ledgers, counted(0.5), steps_of(0.7))} == {Cause.WORK, Cause.HOST}
    assert {e.cause for e in made(ledgers, counted(0.5), steps_of(-0.4))} == {Cause.WORK, Cause.HOST}


def test_a_few_steps_of_python_explain_no_milliseconds() -> None:
    def steps_of(more: float) -> ChangePoint:
        steps_of_run = ("ledger.track_host_steps_warm_run", "steps", "track")
        return change(10, 10, math.log1p(more / 1e3), steps_of_run, "exact", 1e3, workload=SMALL)

    ledgers = work(of(SMALL), of(SMALL))
    slower = replace(run(SMALL, math.log(1.2)), before=0.025, after=0.030)
    assert [e.cause for e in made(ledgers, slower, steps_of(150))] == [Cause.HOST, Cause.UNEXPLAINED]
    assert [e.cause for e in made(ledgers, slower, steps_of(15_000))] == [Cause.HOST]
    starting = change(
        10, 10, 0.03, ("ledger.track_host_steps_import", "steps", "track"), "exact", 600.0, workload="import"
    )
    assert {e.cause for e in made({}, change(8, 12, 0.24, IMPORT), starting)} == {Cause.UNEXPLAINED}
    starting = replace(starting, effect=0.06)
    assert {e.cause for e in made({}, change(8, 12, 0.24, IMPORT), starting)} == {Cause.HOST}


def test_the_memory_of_a_process_belongs_to_what_is_imported() -> None:
    modules = ("ledger.track_host_modules_import", "modules", "track")
    steps_of_run = ("ledger.track_host_steps_warm_run", "steps", "track")
    found = made(
        {},
        change(10, 10, 3.0, modules, "exact", 10.0, workload="import"),
        change(10, 10, 0.5, steps_of_run, "exact", 1e4, workload=SMALL),
        change(8, 12, 0.3, PEAK_MEMORY),
    )
    assert {(e.cause, len(e.changes)) for e in found} == {(Cause.IMPORT, 2), (Cause.HOST, 1)}


def test_a_commit_that_fails_is_one_event() -> None:
    def fails(lo: int, hi: int, what: tuple[str, str, str], **params: object) -> ChangePoint:
        return change(lo, hi, math.inf, what, "fails", **params)

    (event,) = made(
        {},
        fails(10, 10, ("ledger.track_host_steps_construct", "steps", "track"), workload=SMALL),
        fails(10, 10, ("ledger.track_operations", "operations", "track"), workload=SMALL),
        fails(8, 12, TIME, size="512", dtype="'float32'"),
        fails(9, 11, IMPORT),
    )
    assert (event.id, numbers(event), len(event.changes)) == ("0000000a-fails", (10, 10), 4)
