"""What must hold for every history: nothing lost, nothing twice, no order of the input that matters."""

from __future__ import annotations

import itertools
import math
import random
from datetime import timedelta
from typing import Any

import history_samples as samples
import pytest
from history_samples import ABSENT, branch, change, commit, find_changes, history, ledger, numbers, series
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nbbench.gate.judge import gate_outcome, series_verdict, workload_verdicts
from nbbench.gate.rounds import GateSession, SeriesState
from nbbench.history.events import build_events
from nbbench.history.flags import attach_flags
from nbbench.history.ledger_series import CommitOrder
from nbbench.metrics import Role, change_role
from nbbench.model import ChangePoint, Commit, Decision, EventDirection, FlagState, NotJudged, Outcome
from nbbench.verdicts import Verdict
from nbbench.work.ledger_diff import diff_ledgers, log_ratio

FIXED = settings(derandomize=True, deadline=None, max_examples=100)
N = 24
ALL = branch(N)

WHATS = [
    samples.TIME,
    samples.BYTES,
    samples.OPERATIONS,
    samples.UPCAST,
    samples.PEAK_LIVE,
    samples.FAULTS,
    samples.BANDWIDTH,
    samples.OUTPUT,
    samples.DISPATCHED,
]
EXACT = {samples.BYTES, samples.OPERATIONS, samples.UPCAST, samples.PEAK_LIVE, samples.OUTPUT}
EXACT.add(samples.DISPATCHED)
effects = st.one_of(
    st.floats(0.11, 3.0), st.floats(-3.0, -0.11), st.sampled_from([math.inf, -math.inf, 0.2, -0.2])
)


@st.composite
def change_points(draw: Any) -> list[ChangePoint]:
    """Change points of a dozen series, each with its own disjoint ranges, as a detector gives them."""
    found = []
    for number, what in enumerate(draw(st.lists(st.sampled_from(WHATS), max_size=12))):
        edges = sorted(draw(st.sets(st.integers(2, N), max_size=6)))
        for lo, hi in zip(edges[::2], edges[1::2], strict=False):
            kind = "exact" if what in EXACT else "step"
            found.append(change(lo, hi - 1, draw(effects), what, kind, 1e8, n=str(number)))
    return found


@FIXED
@given(change_points())
def test_every_change_is_in_exactly_one_event(changes: list[ChangePoint]) -> None:
    events = build_events(history(commits=ALL), changes)
    inside = [id(c) for event in events for c in event.changes]
    assert len(inside) == len(set(inside))
    told = {id(c) for c in changes if change_role(c) is not Role.DERIVED}
    assert told <= set(inside)
    assert set(inside) <= {id(c) for c in changes}


@FIXED
@given(change_points())
def test_events_have_names_of_their_own_and_ranges_that_their_members_share(
    changes: list[ChangePoint],
) -> None:
    events = build_events(history(commits=ALL), changes)
    assert len({event.id for event in events}) == len(events)
    assert [numbers(e)[1] for e in events] == sorted(numbers(e)[1] for e in events)
    for event in events:
        lo, hi = numbers(event)
        assert lo <= hi
        assert any(change_role(c) is not Role.DERIVED for c in event.changes)
        for member in event.changes:
            first, last = numbers(member)
            assert first <= hi
            assert lo <= last
        if event.recovered_by:
            healers = [e for e in events if e.hi_commit == event.recovered_by]
            both = {event.direction, *(e.direction for e in healers)}
            assert len(both) > 1 or both == {EventDirection.CHANGE}
            assert numbers(healers[0])[1] >= hi


@FIXED
@given(change_points(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(changes: list[ChangePoint], rng: random.Random) -> None:
    shuffled = rng.sample(changes, len(changes))
    first, second = (build_events(history(commits=ALL), found) for found in (changes, shuffled))
    assert [(e.id, e.cause, e.effect, len(e.changes)) for e in first] == [
        (e.id, e.cause, e.effect, len(e.changes)) for e in second
    ]


@FIXED
@given(change_points())
def test_a_flag_is_found_again_by_its_own_name(changes: list[ChangePoint]) -> None:
    events = build_events(history(commits=ALL), changes)
    losses = [event for event in events if event.worse]
    assume(losses)
    told = [Decision(e.id, "P", FlagState.REJECTED, "", "", samples.START) for e in losses]
    flags = attach_flags(events, told, "P", ALL)
    assert [flag.event.id for flag in flags] == [event.id for event in losses]
    assert all(flag.state is FlagState.REJECTED for flag in flags)


levels = st.lists(
    st.sampled_from([100.0, 100.0, 100.0, 120.0, 250.0, 0.0, None, ABSENT]), min_size=2, max_size=N
)


@FIXED
@given(levels)
def test_exact_ranges_run_from_the_commit_after_the_old_level_to_the_first_new_value(
    values: list[float | None],
) -> None:
    measured = {i: v for i, v in enumerate(values, start=1) if v is not None and v != ABSENT}
    line = branch(len(values))
    found = find_changes(history(series(samples.BYTES, values, line), commits=line))
    changes = [change for change in found if change.kind != "fails"]
    places = sorted(measured)
    expected = [
        (before + 1, after)
        for before, after in itertools.pairwise(places)
        if measured[before] != measured[after]
    ]
    assert [numbers(c) for c in changes] == expected
    for found, (lo, hi) in zip(changes, expected, strict=True):
        assert (found.before, found.after) == (measured[lo - 1], measured[hi])


@FIXED
@given(
    st.permutations(list(range(1, 10))),
    st.lists(st.sampled_from([0, 1]), min_size=9, max_size=9),
    st.integers(-3, 3),
)
def test_placed_commits_stand_by_position_and_others_where_they_were(
    order: list[int], placed: list[int], day: int
) -> None:
    given_: list[Commit] = [
        commit(number, position=number * flag, day=day * number)
        for number, flag in zip(order, placed, strict=True)
    ]
    line = CommitOrder(given_).commits
    assert sorted(c.hash for c in line) == sorted(c.hash for c in given_)
    positions = [c.position for c in line if c.position]
    assert positions == sorted(positions)
    for before, after in zip(given_, line, strict=True):
        if not before.position:
            assert after is before
    assert CommitOrder(line).commits == line


amounts = st.floats(0.0, 1e6)


@FIXED
@given(amounts, amounts)
def test_log_ratio_is_antisymmetric(a: float, b: float) -> None:
    assert log_ratio(a, b) == pytest.approx(-log_ratio(b, a))


works = st.builds(
    lambda size, ops, upcast: ledger(per_pixel=size, ops=ops, upcast=min(upcast, size)),
    st.integers(1, 4000).map(float),
    st.integers(1, 10_000),
    st.sampled_from([0.0, 0.0, 5.0, 500.0]),
)


@FIXED
@given(works, works)
def test_a_ledger_verdict_turns_round_with_its_ends(a: Any, b: Any) -> None:
    there, back = (workload_verdicts(diff_ledgers(*ends))[0].outcome for ends in ((a, b), (b, a)))
    mirrored = {Outcome.REGRESSED: Outcome.IMPROVED, Outcome.IMPROVED: Outcome.REGRESSED}
    assert back is mirrored.get(there, there)


@FIXED
@given(st.lists(st.sampled_from(Outcome), max_size=8))
def test_a_gate_never_passes_what_it_has_not_shown(outcomes: list[Outcome]) -> None:
    verdicts = [Verdict(str(i), o, None, None, None, 0.03, 9) for i, o in enumerate(outcomes)]
    found = gate_outcome(verdicts)
    passes = {Outcome.UNCHANGED, Outcome.IMPROVED, Outcome.CHANGED, Outcome.ACKNOWLEDGED}
    assert (found in passes) == (bool(outcomes) and set(outcomes) <= passes)


@settings(FIXED, max_examples=40)
@given(
    st.lists(
        st.one_of(st.floats(-0.3, 0.3), st.sampled_from([math.nan, math.inf, 0.2, 0.2, 0.2])), max_size=40
    )
)
def test_a_series_blocks_only_after_a_confirmation_and_then_stays(rounds: list[float]) -> None:
    one = SeriesState("s", 0.03)
    session = GateSession([one], 0.01)
    for value in rounds:
        if one.settled:
            break
        one.add(value)
        session.conclude()
        found = series_verdict(one)
        if isinstance(found, NotJudged):  # no round gave a figure yet
            assert not one.log_ratios
            continue
        assert (found.outcome is Outcome.REGRESSED) == (one.confirmed is True)
        assert found.evidence
        if found.outcome in (Outcome.UNCHANGED, Outcome.IMPROVED):
            assert one.settled
    taken = len(one.log_ratios) + len(one.confirming)
    assert taken <= sum(map(math.isfinite, rounds))


@FIXED
@given(st.integers(2, 10), st.integers(0, 4), st.integers(0, 4), st.integers(0, 40))
def test_a_decision_survives_a_narrower_range(lo: int, width: int, shrink: int, day: int) -> None:
    wide = build_events(history(commits=ALL), [change(lo, lo + width, 0.3, samples.BYTES, "exact")])
    first = min(lo + shrink, lo + width)
    narrow = build_events(history(commits=ALL), [change(first, first, 0.3, samples.BYTES, "exact")])
    moment = samples.START + timedelta(days=day)
    (flag,) = attach_flags(
        narrow, [Decision(wide[0].id, "P", FlagState.ACKNOWLEDGED, "", "", moment)], "P", ALL
    )
    assert flag.state is FlagState.ACKNOWLEDGED
