"""From series to change points: exact commits, intervals over what was not measured, false discoveries."""

from __future__ import annotations

import math
import random

import history_samples as samples
import numpy as np
import pytest
from history_samples import (
    ABSENT,
    BYTES,
    FAULTS,
    TIME,
    UPCAST,
    branch,
    commit,
    find_changes,
    history,
    noisy,
    numbers,
    series,
    steps,
)

from nbbench.history.ledger_series import ledger_series
from nbbench.model import Commit, Point, Series, Status


def test_an_exact_counter_changes_at_the_exact_commit() -> None:
    (found,) = find_changes(history(series(BYTES, steps(12, 100, (7, 1.001)))))
    assert numbers(found) == (7, 7)
    assert (found.kind, found.p_value, found.worse) == ("exact", 0.0, True)
    assert (found.before, found.after) == (100.0, pytest.approx(100.1))


def test_every_change_of_an_exact_counter_is_found_even_for_one_commit() -> None:
    found = find_changes(history(series(BYTES, steps(12, 100, (5, 0.8), (6, 1.25)))))
    assert [numbers(c) for c in found] == [(5, 5), (6, 6)]
    assert [c.worse for c in found] == [False, True]


def test_unmeasured_commits_give_an_interval_from_the_one_after_the_last_old_level() -> None:
    values = steps(12, 100, (7, 2))
    values[5] = values[6] = values[7] = ABSENT  # commits 6, 7 and 8
    (found,) = find_changes(history(series(BYTES, values)))
    assert numbers(found) == (6, 9)


def test_a_broken_commit_widens_the_interval() -> None:
    values: list[float | None] = list(steps(12, 100, (7, 2)))
    values[6] = None
    (found,) = find_changes(history(series(BYTES, values)))
    assert numbers(found) == (7, 8)


def test_a_skipped_commit_widens_the_interval_like_an_unmeasured_one() -> None:
    one = series(BYTES, steps(12, 100, (7, 2)))
    points = tuple(
        Point(p.position, p.commit, None, Status.SKIPPED) if p.position in (6, 7) else p for p in one.points
    )
    (found,) = find_changes(history(Series(one.key, one.unit, one.kind, points)))
    assert numbers(found) == (6, 8)


def test_nan_and_infinities_are_missing_values() -> None:
    values = steps(12, 100, (7, 2))
    values[2], values[6] = math.nan, math.inf
    (found,) = find_changes(history(series(BYTES, values)))
    assert numbers(found) == (7, 8)


@pytest.mark.parametrize("fill", [math.nan, None, ABSENT])
@pytest.mark.parametrize("what", [BYTES, TIME])
def test_a_series_without_a_value_has_no_change(fill: float | None, what: tuple[str, str, str]) -> None:
    assert find_changes(history(series(what, [fill] * 12), commits=branch(12))) == []


def test_an_empty_history_has_no_change() -> None:
    assert find_changes(history()) == []
    assert find_changes(history(commits=branch(5))) == []


def test_from_zero_is_an_infinite_loss_and_to_zero_an_infinite_gain() -> None:
    up, down = find_changes(history(series(UPCAST, [0.0] * 4 + [504.0] * 4 + [0.0] * 4)))
    assert (up.effect, up.worse, numbers(up)) == (math.inf, True, (5, 5))
    assert (down.effect, down.worse, numbers(down)) == (-math.inf, False, (9, 9))


def test_a_noisy_step_is_found_and_its_interval_covers_the_commit() -> None:
    (found,) = find_changes(history(series(TIME, noisy(steps(40, 0.2, (21, 1.3)), 0.02))))
    lo, hi = numbers(found)
    assert lo <= 21 <= hi
    assert hi - lo <= 2
    assert found.effect == pytest.approx(math.log(1.3), abs=0.03)


def test_a_noisy_interval_reaches_back_over_unmeasured_commits() -> None:
    values = noisy(steps(40, 0.2, (21, 2.0)), 0.005)
    values[18] = values[19] = values[20] = ABSENT  # commits 19, 20 and 21
    (found,) = find_changes(history(series(TIME, values)))
    assert numbers(found) == (19, 22)


def test_changes_below_the_least_effect_are_left_out() -> None:
    slow = history(series(TIME, noisy(steps(40, 0.2, (21, 1.04)), 0.001)))
    assert find_changes(slow, min_effect=0.05) == []
    assert len(find_changes(slow, min_effect=0.01)) == 1


def test_the_machines_own_series_are_never_flagged() -> None:
    assert find_changes(history(series(samples.CEILING, noisy(steps(40, 1e10, (21, 0.5)), 0.01)))) == []


def test_order_is_by_position_and_not_by_date() -> None:
    line = [commit(i, day=100 - i) for i in range(1, 13)]  # every commit older than the one before
    one = series(BYTES, steps(12, 100, (7, 2)), line)
    shuffled = random.Random(1).sample(line, 12)
    mixed = Series(one.key, one.unit, one.kind, tuple(random.Random(2).sample(one.points, 12)))
    (found,) = find_changes(history(mixed, commits=shuffled))
    assert numbers(found) == (7, 7)
    assert found.after == 200.0


def test_commits_without_position_keep_the_stores_order() -> None:
    line = [commit(i, position=0, day=0) for i in (5, 3, 9, 1, 7, 2)]
    values = [100.0, 100.0, ABSENT, 200.0, 200.0, 200.0]
    (found,) = find_changes(history(series(BYTES, values, line), commits=line))
    assert numbers(found) == (9, 1)  # 3 was the last at the old level, 9 was not measured


def test_commits_without_position_stay_between_those_with_one() -> None:
    line = [commit(1), commit(50, position=0), commit(2), commit(3)]
    (found,) = find_changes(history(series(BYTES, [1.0, 1.0, 2.0, 2.0], line), commits=line))
    assert numbers(found) == (2, 2)


def test_the_ledger_confirms_a_level_of_one_commit() -> None:
    values = noisy(steps(30, 0.2, (15, 0.8), (16, 1.25)), 0.01)
    assert find_changes(history(series(TIME, values))) == []
    work = samples.ledgers([samples.ledger(per_pixel=80.0 if i == 15 else 100.0) for i in range(1, 31)])
    found = find_changes(history(series(TIME, values), ledgers=work))
    assert [numbers(c) for c in found] == [(15, 15), (16, 16)]
    assert [c.worse for c in found] == [False, True]


def test_the_ledger_does_not_confirm_page_faults() -> None:
    """They flip by themselves where an image is about as large as the allocator's thresholds."""
    values = noisy(steps(30, 5000.0, (30, 80.0)), 0.01)
    work = samples.ledgers([samples.ledger(per_pixel=80.0 if i == 30 else 100.0) for i in range(1, 31)])
    assert find_changes(history(series(FAULTS, values), ledgers=work)) == []


def test_another_image_by_equal_work_confirms_no_level_of_time() -> None:
    """Eager tensor code takes as long whatever the numbers are; one operation more is another matter."""
    values = noisy(steps(30, 0.2, (15, 0.5), (16, 2.0)), 0.01)
    work = [samples.ledger(image=2.0 if i == 15 else 1.0) for i in range(1, 31)]
    assert find_changes(history(series(TIME, values), ledgers=samples.ledgers(work))) == []
    work[14] = samples.ledger(image=2.0, ops=51)
    assert len(find_changes(history(series(TIME, values), ledgers=samples.ledgers(work)))) == 2


def test_operations_without_bytes_confirm_as_well() -> None:
    values = noisy(steps(30, 0.2, (15, 0.5), (16, 2.0)), 0.01)
    work = samples.ledgers([samples.ledger(ops=20 if i == 15 else 50) for i in range(1, 31)])
    found = find_changes(history(series(TIME, values), ledgers=work))
    assert [numbers(c) for c in found] == [(15, 15), (16, 16)]


def _flat(count: int) -> list[Series]:
    rng = np.random.default_rng(11)
    return [
        series(TIME, [float(v) for v in np.exp(0.03 * rng.standard_normal(20))], branch(20), n=str(i))
        for i in range(count)
    ]


def test_false_discovery_control_drops_a_lone_weak_step_among_a_thousand_series() -> None:
    weak = series(TIME, noisy(steps(20, 0.2, (11, 1.07)), 0.03, seed=51), n="weak")
    (alone,) = find_changes(history(weak))
    assert 0.002 < alone.p_value < 0.01
    assert find_changes(history(weak, *_flat(999))) == []


def test_a_clear_step_survives_among_a_thousand_series() -> None:
    clear = series(TIME, noisy(steps(20, 0.2, (11, 1.6)), 0.03, seed=3), n="clear")
    (found,) = find_changes(history(clear, *_flat(999)))
    assert found.key == clear.key


def test_exact_series_are_no_tests_that_noisy_ones_must_pay_for() -> None:
    weak = series(TIME, noisy(steps(20, 0.2, (11, 1.07)), 0.03, seed=51), n="weak")
    exact = [series(BYTES, [100.0] * 20, n=str(i)) for i in range(999)]
    assert len(find_changes(history(weak, *exact))) == 1


def test_a_commit_list_is_not_needed_to_be_unique_in_date() -> None:
    same_day: list[Commit] = [commit(i, day=0) for i in range(1, 9)]
    (found,) = find_changes(history(series(BYTES, steps(8, 1, (3, 2)), same_day), commits=same_day))
    assert numbers(found) == (3, 3)


def test_ledgers_are_exact_series_of_their_own() -> None:
    work = [samples.ledger(error="boom") if i == 5 else samples.ledger(peak=1 + i // 5) for i in range(1, 9)]
    made = ledger_series(branch(10), samples.ledgers(work), "2.9.1")
    assert [(s.key.machine, s.key.environment) for s in made] == [("any", "torch2.9.1")] * 4
    assert [len(s.points) for s in made] == [8, 8, 8, 7]  # the peak fails with the rest of the run
    assert made[0].points[4].status is Status.FAILED
    (found,) = find_changes(history(*made))
    assert (found.unit, numbers(found)) == ("B (exact)", (5, 6))


# Page faults of the demo, as busy machines counted them: a hundred more or less are lost in any run, and must
# not move the step to the commit before it.
@pytest.mark.parametrize("few", [68.0, 132.5, 400.0])
def test_A3_a_few_page_faults_do_not_move_the_step(few: float) -> None:
    values = [1.5, 3.0, 2.5, 3.0, 3.5, 3.0, 4.5, 3.0, 2.0, 2.5, few, 9218.5, 9220.0, 9220.5]
    (found,) = find_changes(history(series(FAULTS, values)))
    assert numbers(found) == (12, 12)
    assert (found.before, found.after) == (3.0, 9220.0)
