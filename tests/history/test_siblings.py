"""A short level that the series of a machine share is the commit's, where the machine did not move."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from history_samples import START, TIME, branch, find_changes, history, ledger, noisy, numbers, series, steps

from nbbench.history.confirmed import Work, work_sizes
from nbbench.history.together import PlaceEffects, PlaceTest
from nbbench.model import ProcessRecord
from nbbench.stats.expected import OWN_WAY
from nbbench.stats.known import place_tests

N, AT = 40, 20
SIZES = ("256", "512", "1024", "2048")
DRAWN = np.random.default_rng(8).permutation(N)
"""The turn in which each commit was measured."""


def beside(turns, *, slow=()):
    """Telemetry with quiet canaries; at the commits `slow` they took a tenth longer."""
    rng = np.random.default_rng(9)
    for commit, turn in zip(branch(N), turns, strict=True):
        speed = float(np.exp(0.005 * rng.standard_normal())) * (1.1 if commit.position in slow else 1.0)
        yield ProcessRecord(
            commit=commit.hash, environment="py-torch", benchmark=TIME[0], param_index=0, kind="run",
            started_at=START + timedelta(seconds=5 * int(turn)), wall_s=1.0, exit_code=0, machine="runner",
            extra=(("canary", {"frames_s": [0.01 * speed] * 2, "arithmetic_s": [0.001 * speed] * 2}),),
        )  # fmt: skip


def bump(*sizes, at=AT, length=1, factor=1.4):
    """Four series of one benchmark; those of `sizes` have a level of their own at commit `at`."""
    return [
        series(
            TIME,
            noisy(steps(N, 1.0, *(((at, factor), (at + length, 1 / factor)) if s in sizes else ())), seed=i),
            size=s,
        )
        for i, s in enumerate(SIZES)
    ]


def found(given, **options):
    return sorted({numbers(change)[0] for change in find_changes(history(*given, **options))})


@pytest.mark.parametrize("length", [1, 2])
def test_a_level_that_all_share_is_found_at_both_of_its_ends(length):
    given = bump(*SIZES, length=length)
    assert found(given, records=beside(DRAWN)) == [AT, AT + length]


def test_the_newest_commit_needs_no_second_one():
    assert found(bump(*SIZES, at=N), records=beside(DRAWN)) == [N]


def test_half_of_the_others_and_never_fewer_than_two_must_agree():
    given = bump(*SIZES[:3])
    assert found(given, records=beside(DRAWN)) == [AT, AT + 1]
    assert found(bump(*SIZES[:2]), records=beside(DRAWN)) == []
    assert found(given[:2], records=beside(DRAWN)) == []


def test_opposite_sides_do_not_agree():
    given = bump(SIZES[0]) + bump(SIZES[1], factor=0.7)[1:2] + bump()[2:]
    assert found(given, records=beside(DRAWN)) == []


def test_a_burst_in_the_order_of_measuring_is_the_machines():
    """Commit after commit, a mood of the machine lies over neighbours on the branch as a change does."""
    given = bump(*SIZES, length=2)
    assert found(given, records=beside(range(N))) == []
    assert found(given, records=beside(range(N, 0, -1))) == []


def test_without_canaries_nothing_is_confirmed():
    given = bump(*SIZES)
    assert found(given) == []
    silent = [replace(record, extra=()) for record in beside(DRAWN)]
    assert found(given, records=silent) == []


def test_a_slow_canary_speaks_against_it():
    assert found(bump(*SIZES), records=beside(DRAWN, slow=(AT,))) == []


def test_where_the_ledger_knows_the_work_it_decides():
    def trees(grown):
        per_commit = {f"tree{i}": 140.0 if i in grown else 100.0 for i in range(1, N + 1)}
        return {
            tree: {f"bandwidth-{s}-float32": ledger(f"bandwidth-{s}-float32", b) for s in SIZES}
            for tree, b in per_commit.items()
        }

    given = [
        replace(one, key=replace(one.key, params=(*one.key.params, ("dtype", "'float32'"))))
        for one in bump(*SIZES)
    ]
    assert found(given, records=beside(DRAWN)) == [AT, AT + 1]
    assert found(given, records=beside(DRAWN), ledgers=trees(())) == []
    assert found(given, records=beside(DRAWN), ledgers=trees((AT,))) == [AT, AT + 1]


def test_series_tell_of_each_other_by_the_commit_that_changed_their_work():
    """One whose first values were left out speaks of the same commit as the others; none hears itself."""
    commits = [c.hash for c in branch(N)]
    levels = np.repeat((0, 1), AT)
    values = np.array(noisy(steps(N, 1.0, (AT + 1, 1.3)), 0.01))
    late = np.where((np.arange(N) >= AT) & (np.arange(N) < AT + 2), np.nan, values)
    keys = [one.key for one in bump()]
    rows = values, late, values * 1.001, np.array(noisy(steps(N, 1.0), 0.01))
    elsewhere, unknown = (replace(keys[0], machine=name) for name in ("another", "unknown"))
    effects = PlaceEffects(
        PlaceTest(key, commits[at], effect, error, (0.0, 0.0))
        for key, one in zip((*keys[:4], elsewhere), (*rows, values), strict=True)
        for at, effect, error in place_tests(one, np.zeros(N), levels)
    )
    for key in keys[:4]:
        expected, spread = effects.of(key, commits)
        assert (expected[:AT] == 0.0).all()
        assert expected[AT:] == pytest.approx(math.log(1.3) * 3 / (3 + OWN_WAY), abs=0.01)
        assert (np.isinf(spread[:AT]).all(), (spread[AT:] < 0.2).all()) == (True, True)
    assert (effects.of(elsewhere, commits)[0] == 0.0).all()
    assert np.isinf(effects.of(unknown, commits)[1]).all()


def test_the_first_work_that_is_known_is_no_change():
    work = [None, Work(100.0, 10.0), None, Work(100.0, 20.0)]
    assert np.exp(work_sizes(work)) == pytest.approx(np.array([[100.0] * 4, [10.0, 10.0, 10.0, 20.0]]))
    assert (work_sizes([None, None]) == 0.0).all()
    assert (work_sizes([Work(0.0, 0.0)]) == 0.0).all()


@pytest.mark.parametrize("sharing", [5, 1])
def test_a_level_of_some_commits_is_a_burst_unless_all_that_stand_out_share_both_ends(sharing):
    stands = steps(N, 1.0, (AT, 1.4), (AT + 4, 1 / 1.4))
    given = [series(TIME, noisy(stands if i < sharing else [1.0] * N, seed=i), size=str(i)) for i in range(6)]
    assert found(given) == ([AT, AT + 4] if sharing == 5 else [])


def test_a_burst_that_begins_within_a_commit_is_none():
    ends = [(AT, AT + 4)] * 3 + [(AT + 1, AT + 4)] * 3
    given = [
        series(TIME, noisy(steps(N, 1.0, (a, 1.4), (b, 1 / 1.4)), seed=i), size=str(i))
        for i, (a, b) in enumerate(ends)
    ]
    assert found(given) == []
