"""C1: what is not judged is counted with its reason, and what cannot run any more is a regression."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from history_samples import (
    ABSENT,
    BYTES,
    CEILING,
    TIME,
    branch,
    events,
    history,
    key,
    ledger,
    ledgers,
    noisy,
    numbers,
    series,
    steps,
)

from nbbench.history.changes import judge_history
from nbbench.history.ledger_series import ledger_series
from nbbench.host import HOST_TRACK
from nbbench.metrics import LEDGER_METRICS
from nbbench.model import (
    Cause,
    EventDirection,
    Flag,
    FlagState,
    NotJudged,
    NotJudgedReason,
    Point,
    Series,
    Status,
)
from nbbench.report.events import evidence_lines

N = 12
FLAT = noisy(steps(N, 0.2), 0.01)


def told(*found: Series) -> tuple[list[NotJudged], int]:
    done = judge_history(history(*found, commits=branch(N)))
    return done.not_judged, done.judged


def only(*found: Series) -> NotJudged:
    (one,) = told(*found)[0]
    return one


def skipped(values: list[float | None], since: int) -> Series:
    one = series(TIME, values)
    points = [replace(p, value=None, status=Status.SKIPPED) if p.position >= since else p for p in one.points]
    return replace(one, points=tuple(points))


def renamed(one: Series, **changes: str) -> Series:
    return replace(one, key=replace(one.key, **changes))


def part(values: list[float | None], first: int, last: int = N) -> list[float | None]:
    return [v if first <= i <= last else ABSENT for i, v in enumerate(values, start=1)]


def test_a_series_that_can_be_judged_is_counted() -> None:
    assert told(series(TIME, FLAT), series(BYTES, steps(N, 100.0))) == ([], 2)


def test_the_machines_own_series_are_never_judged_and_never_missed() -> None:
    assert told(series(CEILING, noisy(steps(3, 1e10)))) == ([], 0)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_too_short(count: int) -> None:
    """Two commits that are ten times apart show nothing, and that is said."""
    one = only(series(TIME, [1.0, 10.0, 10.0, 10.0, 10.0][:count]))
    assert (one.reason, one.detail) == (NotJudgedReason.TOO_SHORT, f"{count} of the 6 values that it takes")


@pytest.mark.parametrize("since", [8, 11, 12])
def test_what_ran_and_fails_at_the_newest_commits_is_a_regression(since: int) -> None:
    values = [v if i < since else None for i, v in enumerate(FLAT, start=1)]
    one = only(series(TIME, values))
    assert (one.reason, int(one.since[:8], 16)) == (NotJudgedReason.FAILING, since)
    (event,) = events(history(series(TIME, values), commits=branch(N)))
    assert (event.id, event.cause) == (f"{since:08x}-fails", Cause.FAILURE)
    assert event.direction is EventDirection.REGRESSION and math.isinf(event.effect)
    said = evidence_lines(Flag(event, "", FlagState.DETECTED))[0]
    assert said.startswith(f"{TIME[0]} fails since {since:08x}; it was ")


def test_what_failed_and_runs_again_is_no_regression() -> None:
    values = [None if i in (5, 6) else v for i, v in enumerate(FLAT, start=1)]
    assert told(series(TIME, values)) == ([], 1)
    assert events(history(series(TIME, values), commits=branch(N))) == []


def test_what_never_ran_is_no_regression_and_is_said() -> None:
    values: list[float | None] = [None] * N
    one = only(series(TIME, values))
    assert (one.reason, one.detail) == (NotJudgedReason.FAILING, "it never ran")
    assert events(history(series(TIME, values), commits=branch(N))) == []


def test_a_workload_that_fails_beside_one_that_becomes_slower_is_an_event_of_its_own() -> None:
    slow = series(TIME, noisy(steps(N, 0.2, (7, 2.0)), 0.01), n="1")
    fails = series(TIME, [v if i < 7 else None for i, v in enumerate(FLAT, start=1)], n="2")
    found = events(history(slow, fails, commits=branch(N)))
    assert {e.id for e in found} == {"00000007-slower", "00000007-fails"}


def test_skipped() -> None:
    one = only(skipped(FLAT, 9))
    assert (one.reason, int(one.since[:8], 16)) == (NotJudgedReason.SKIPPED, 9)
    assert only(skipped(FLAT, 1)).reason is NotJudgedReason.SKIPPED


def test_vanished() -> None:
    gone = series(TIME, part(FLAT, 1, 9), n="1")
    one = only(gone, series(TIME, FLAT, n="2"))
    assert (one.reason, int(one.since[:8], 16)) == (NotJudgedReason.VANISHED, 9)
    assert one.series == gone.key.label


def test_a_vanished_series_says_since_its_last_value() -> None:
    failed = [None if i > 7 else v for i, v in enumerate(FLAT, start=1)]
    one = next(n for n in told(series(TIME, part(failed, 1, 9), n="1"), series(TIME, FLAT, n="2"))[0])
    assert (one.reason, int(one.since[:8], 16)) == (NotJudgedReason.FAILING, 8)
    gone = [v if i <= 7 else ABSENT for i, v in enumerate(FLAT, start=1)]
    one = only(series(TIME, gone, n="1"), series(TIME, FLAT, n="2"))
    assert (one.reason, int(one.since[:8], 16)) == (NotJudgedReason.VANISHED, 7)


@pytest.mark.parametrize("factor", [3.0, 1.0])
@pytest.mark.parametrize("values", [5, 6])
def test_a_new_version_is_named_until_it_has_values_enough(factor: float, values: int) -> None:
    old = series(TIME, part(FLAT, 1, N - values))
    new = [factor * (v or 0) for v in steps(N, 0.2)]
    found, judged = told(old, renamed(series(TIME, part(new, N - values + 1)), version="2"))
    if values == 6:
        assert (found, judged) == ([], 1)
        return
    (one,) = found
    assert (one.reason, int(one.since[:8], 16)) == (NotJudgedReason.NEW_VERSION, N - values + 1)
    assert one.effect == pytest.approx(math.log(factor), abs=0.02)
    assert judged == 0


@pytest.mark.parametrize(("newest", "factor"), [(1, 3.0), (2, 3.0), (1, 0.5), (2, 1.15)])
def test_the_newest_commits_far_outside_the_level_are_not_judged(newest: int, factor: float) -> None:
    """Two values are no level, and no "no change" either."""
    values = noisy(steps(N, 0.2, (N - newest + 1, factor)), 0.01)
    one = only(series(TIME, values))
    assert (one.reason, int(one.since[:8], 16)) == (NotJudgedReason.TOO_RECENT, N - newest + 1)
    assert one.effect == pytest.approx(math.log(factor), abs=0.05)
    assert events(history(series(TIME, values), commits=branch(N))) == []


def test_what_came_back_or_stays_within_the_noise_is_judged() -> None:
    back = noisy(steps(N, 0.2, (N - 1, 3.0), (N, 1 / 3)), 0.01)
    assert told(series(TIME, back)) == ([], 1)
    within = noisy(steps(N, 0.2, (N, 1.1)), 0.05)
    assert told(series(TIME, within)) == ([], 1)
    third = noisy(steps(N, 0.2, (N - 2, 3.0)), 0.01)
    assert told(series(TIME, third)) == ([], 1)  # an event


def test_noise_alone_is_hardly_ever_too_recent() -> None:
    found, judged = told(*(series(TIME, noisy(steps(N, 0.2), 0.03, seed=i), n=str(i)) for i in range(200)))
    assert len(found) <= 2 and judged >= 198


def test_a_new_machine_at_each_run() -> None:
    """Each run on a machine of its own: nothing can be compared with anything."""
    runs = [renamed(series(TIME, part(FLAT, i, i)), machine=f"m{i}") for i in range(1, 5)]
    found, judged = told(*runs)
    assert judged == 0
    assert sorted(n.reason for n in found) == [NotJudgedReason.NEW_MACHINE] * 3 + [NotJudgedReason.TOO_SHORT]
    assert all(abs(n.effect) < 0.1 for n in found if n.effect is not None)


def test_another_environment() -> None:
    old = series(TIME, part(FLAT, 1, 8))
    new = renamed(series(TIME, part([2 * (v or 0) for v in FLAT], 9)), environment="other")
    found, _ = told(old, new)
    assert [n.reason for n in found] == [NotJudgedReason.OTHER_ENVIRONMENT]
    assert found[0].effect == pytest.approx(math.log(2), abs=0.03)
    assert "other: 4 of the 6 values" in found[0].detail


def test_a_gpu_is_not_compared_with_the_processor() -> None:
    """Both are too short, and neither is the other one's level, on one machine or on two."""
    old = series(TIME, part(FLAT, 1, 8))
    for machine in ("h100", old.key.machine):
        new = renamed(
            series(TIME, part([0.1 * (v or 0) for v in FLAT], 9)),
            machine=machine,
            environment=f"{old.key.environment}+cuda",
        )
        found, _ = told(old, new)
        assert [(n.reason, n.effect) for n in found] == [(NotJudgedReason.TOO_SHORT, None)]


def test_a_ledger_that_cannot_be_recorded_any_more_is_a_regression() -> None:
    workload = Series(
        replace(key("ledger.track_operations", "any"), params=(("workload", "'bandwidth-512-float32'"),)),
        "operations",
        "track",
        tuple(
            Point(
                c.position,
                c.hash,
                50.0 if c.position < 9 else None,
                Status.OK if c.position < 9 else Status.FAILED,
            )
            for c in branch(N)
        ),
    )
    (event,) = events(history(workload, commits=branch(N)))
    assert event.id == "00000009-fails"


def test_a_series_that_takes_turns_between_two_levels_is_no_list_of_events() -> None:
    """I2: it depends on where memory lies, not on commits."""
    values = noisy(([1.0] * 5 + [1.3] * 5) * 7, 0.005)
    line = branch(len(values))
    done = judge_history(history(series(TIME, values, line), commits=line))
    assert done.changes == []
    (one,) = done.not_judged
    assert one.reason is NotJudgedReason.MULTIMODAL
    assert one.detail == "13 turns between 1 s (50%), 1.302 s (50%): only their mixture is judged"


def test_a_regression_its_fix_and_another_regression_are_no_flips() -> None:
    values = noisy(([1.0] * 8 + [1.3] * 8) * 2, 0.005)
    line = branch(len(values))
    assert len(judge_history(history(series(TIME, values, line), commits=line)).changes) == 3


def test_flips_that_the_work_explains_are_events() -> None:
    line = branch(112)
    per_pixel = [100.0 if (i // 8) % 2 == 0 else 130.0 for i in range(112)]
    values = noisy([one / 100 for one in per_pixel], 0.005)
    found = {
        f"tree{i + 1}": {"bandwidth-512-float32": ledger(per_pixel=one)} for i, one in enumerate(per_pixel)
    }
    done = judge_history(history(series(TIME, values, line), commits=line, ledgers=found))
    assert len(done.changes) == 13


def test_a_burst_must_last_or_be_confirmed() -> None:
    """I2: others stay on a machine for 3 to 12 results; what is not over yet may be there to stay."""
    line = branch(40)

    def judged(first: int, last: int, **more: object) -> list[tuple[int, int]]:
        values = noisy([1.3 if first <= i < last else 1.0 for i in range(40)], 0.005)
        done = judge_history(history(series(TIME, values, line), commits=line, **more))
        return [numbers(one) for one in done.changes]

    work = [ledger(per_pixel=130.0 if 20 <= i < 24 else 100.0) for i in range(40)]
    assert judged(20, 24) == []
    assert judged(20, 26) == []
    assert judged(20, 27) == [(21, 21), (28, 28)]
    assert judged(36, 40) == [(37, 37)]
    assert judged(20, 24, ledgers=ledgers(work)) == [(21, 21), (25, 25)]
    # one operation more confirms a single commit, another image of equal work does not
    for told, found in (({"ops": 51}, [(21, 21), (22, 22)]), ({"image": 2.0}, [])):
        work = [ledger(**(told if i == 20 else {})) for i in range(40)]
        assert judged(20, 21, ledgers=ledgers(work)) == found


def test_a_tree_that_fails_is_one_event_whatever_was_counted_of_it() -> None:
    """Host work has figures in four phases, a peak is memory: one run that fails gives them all."""
    counts = tuple((name, 100.0) for name in LEDGER_METRICS if name.startswith(HOST_TRACK))
    good = replace(ledger(), counts=counts)
    for from_ in (1, N - 2):  # host work of few trees, too
        work = [replace(good, counts=counts if i >= from_ else ()) for i in range(1, N)]
        trees = ledgers([*work, replace(good, error="NameError: x", counts=())])
        found = history(*ledger_series(branch(N), trees, "2.13.0"), commits=branch(N), ledgers=trees)
        (event,) = events(found)
        assert event.cause is Cause.FAILURE
        failing = [one.reason for one in judge_history(found).not_judged]
        assert set(failing) <= {NotJudgedReason.FAILING}
