"""Which commits are measured and in which order: even coverage however early a run is cut short."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.config import load_settings
from nbbench.errors import UsageError
from nbbench.model import Commit
from nbbench.subject.repository import register
from nbbench.subject.selection import LEAST_TURNS, select, shuffled, spread
from nbbench.subject.subjects.nanobragg import demo

FIXED = settings(derandomize=True, deadline=None, max_examples=150)


def history(count):
    when = datetime(2025, 1, 1, tzinfo=UTC)
    return [Commit(f"{i:040x}", f"{i:040x}", when, f"commit {i}", i) for i in range(1, count + 1)]


class TestSpread:
    @FIXED
    @given(st.integers(min_value=0, max_value=300))
    def test_every_commit_once(self, count):
        commits = history(count)
        assert sorted(c.position for c in spread(commits)) == [c.position for c in commits]

    @FIXED
    @given(st.integers(min_value=1, max_value=300))
    def test_newest_first_then_oldest(self, count):
        order = [c.position for c in spread(history(count))]
        assert order[:2] == [count, 1][: len(order)]

    @FIXED
    @given(st.integers(min_value=2, max_value=300), st.data())
    def test_the_largest_gap_of_any_prefix_is_bounded(self, count, data):
        length = data.draw(st.integers(min_value=2, max_value=count))
        done = sorted(c.position for c in spread(history(count))[:length])
        largest = max(b - a for a, b in pairwise(done))
        # No order can do better than an even spread; halving the widest gap is within twice that.
        assert largest <= 2 * -(-(count - 1) // (length - 1))

    @FIXED
    @given(st.integers(min_value=2, max_value=200))
    def test_the_widest_gap_is_always_the_next_to_be_halved(self, count):
        order = [c.position for c in spread(history(count))]
        for length in range(2, len(order)):
            done = sorted(order[:length])
            gaps = [(b - a, a, b) for a, b in pairwise(done)]
            low, high = next((a, b) for _, a, b in gaps if a < order[length] < b)
            assert high - low == max(gaps)[0]
            assert abs((order[length] - low) - (high - order[length])) <= 1

    @FIXED
    @given(st.integers(min_value=0, max_value=100), st.integers())
    def test_drawn_orders_cover_as_evenly(self, count, seed):
        drawn = [c.position for c in spread(history(count), Random(seed))]
        assert sorted(drawn) == list(range(1, count + 1))
        assert drawn[:3] == [c.position for c in spread(history(count))][:3]
        for length in range(2, count + 1):
            done = sorted(drawn[:length])
            assert max(b - a for a, b in pairwise(done)) <= 2 * -(-(count - 1) // (length - 1))

    def test_a_burst_hits_no_neighbours(self):
        # one of the six values that a burst of contention spoils at most: a spike, and no level
        drawn = [c.position for c in spread(history(245), Random(1))]
        bursts = [sorted(drawn[at : at + 6]) for at in range(len(drawn) - 5)]
        side_by_side = [any(c - a <= 2 for a, c in zip(six, six[2:], strict=False)) for six in bursts]
        assert sum(side_by_side) <= 1

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 30, 245])
    def test_a_shuffled_order_keeps_neighbours_apart(self, count):
        commits = history(count)
        order = [c.position for c in shuffled(commits, Random(3))]
        assert sorted(order) == [c.position for c in commits]
        turn = {position: at for at, position in enumerate(order)}
        near = [p for p in range(1, count) if abs(turn[p] - turn[p + 1]) < LEAST_TURNS]
        assert len(near) <= 3
        assert order != sorted(order) or count < 30

    def test_draws_differ_by_seed(self):
        assert spread(history(50), Random(1)) != spread(history(50), Random(2))
        assert spread(history(50), Random(1)) == spread(history(50), Random(1))

    def test_input_stays_as_it_is(self):
        commits = history(10)
        spread(commits)
        assert commits == history(10)

    @pytest.mark.parametrize(
        ("count", "expected"), [(0, []), (1, [1]), (2, [2, 1]), (3, [3, 1, 2]), (5, [5, 1, 3, 4, 2])]
    )
    def test_by_hand(self, count, expected):
        assert [c.position for c in spread(history(count))] == expected


class TestSelect:
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory):
        root = tmp_path_factory.mktemp("project")
        (root / "asv.conf.json").write_text('{"project": "nanoBragg PyTorch"}')
        demo.write_demo(root / "subject")
        return register(load_settings(root, environ={}), root / "subject")

    def test_whole_branch(self, subject):
        assert [c.position for c in select(subject, None)] == list(range(1, 15))

    def test_positions(self, subject):
        assert [c.position for c in select(subject, "3-7")] == [3, 4, 5, 6, 7]
        assert [c.position for c in select(subject, "14-14")] == [14]
        assert [c.position for c in select(subject, "12-99999")] == [12, 13, 14]
        with pytest.raises(UsageError, match="no commit in 20-30 changed src/"):
            select(subject, "20-30")

    def test_git_range(self, subject):
        commits = select(subject, None)
        span = f"{commits[1].short}..{commits[4].short}"
        assert [c.position for c in select(subject, span)] == [3, 4, 5]

    def test_backwards(self, subject):
        with pytest.raises(UsageError, match="range 7-3 runs backwards"):
            select(subject, "7-3")
        commits = select(subject, None)
        with pytest.raises(UsageError, match="no commit in"):
            select(subject, f"{commits[4].hash}..{commits[1].hash}")

    @pytest.mark.parametrize(
        "span", ["3-", "-3", "3-7-9", "3 - 7", "three-seven", "123456-7", "no..where", "-3..7"]
    )
    def test_unknown(self, subject, span):
        with pytest.raises(UsageError, match="unknown commit"):
            select(subject, span)
