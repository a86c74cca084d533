"""One series at two commits: what is concluded from the rounds, and when; the rounds are given."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbbench.budget import Budget
from nbbench.config import Settings
from nbbench.errors import UsageError
from nbbench.gate import bisect as rooms
from nbbench.gate.culprit import CommitMark, ComparedCommit, CulpritSearch
from nbbench.gate.rounds import CRASHES, MAX_ROUNDS
from nbbench.measure.pair import Pair, Sample
from nbbench.measure.paired import GateSeries
from nbbench.model import Commit
from nbbench.report.gate_sentences import evidence_text

SERIES = "bandwidth.Warm.time_run(512, 'float32')"
BASE, HEAD = (
    Commit(letter * 40, letter * 40, datetime(2026, 1, 5, tzinfo=UTC), letter, n)
    for n, letter in enumerate("ab", start=1)
)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch):
    """Have rounds of these pairs; what is left of them is returned."""

    def given(pairs: Iterable[Pair], labels: tuple[str, ...] = (SERIES,)) -> list[Pair]:
        left = list(pairs)

        class Runner:
            def discover(self, pattern: str) -> list[GateSeries]:
                return [GateSeries(n, 0, n, 60.0) for n in labels if re.search(pattern, n)]

            def measure(self, series):
                return [(item, left.pop(0)) for item in series]

            def renew(self) -> None:
                """Take more from the same list."""

        @contextmanager
        def paired_runner(*arguments):
            yield Runner()

        monkeypatch.setattr(rooms, "PairedRunner", paired_runner)
        return left

    return given


def pair(log_ratio: float) -> Pair:
    return Pair(Sample(1.0), Sample(math.exp(log_ratio)), log_ratio)


def compared(threshold: float = 0.0, budget: Budget | None = None) -> ComparedCommit:
    search = CulpritSearch(SERIES, (BASE, HEAD))
    if threshold:  # half of what bad lost
        search.made.append(ComparedCommit(1, CommitMark.BAD, 2 * threshold))
    given = budget or Budget(1e9)
    return rooms.compare_commit(Settings(root=Path("/")), search, 1, seed=1, budget=given)


WOBBLE = (0.001, -0.002, 0.0, 0.002, -0.001)


def test_slower_is_told_by_the_fewest_rounds_that_can(rounds) -> None:
    left = rounds(pair(0.3 + WOBBLE[n % 5]) for n in range(40))
    found = compared()
    assert found.mark is CommitMark.BAD and found.effect == pytest.approx(0.3, abs=0.01)
    assert 40 - len(left) <= 11
    said = r"change \+35\.\d %, interval \+\S+ % to \+\S+ % from \d+ rounds, lies beyond the floor.*"
    assert re.fullmatch(said, evidence_text(found.evidence))


@pytest.mark.parametrize("effect", [0.0, -0.3])
def test_not_slower(rounds, effect: float) -> None:
    rounds(pair(effect + WOBBLE[n % 5]) for n in range(40))
    assert compared().mark is CommitMark.GOOD


def test_a_threshold_divides_good_from_bad(rounds) -> None:
    for threshold, mark in ((0.1, CommitMark.BAD), (0.4, CommitMark.GOOD)):
        rounds(pair(0.25 + WOBBLE[n % 5]) for n in range(40))
        assert compared(threshold=threshold).mark is mark


def test_rounds_that_contradict_each_other_end_undecided(rounds) -> None:
    left = rounds(pair(0.3 * (-1) ** n) for n in range(100))
    found = compared()
    assert found.mark is CommitMark.UNCLEAR and len(left) == 100 - MAX_ROUNDS


def test_a_spent_budget_measures_nothing(rounds) -> None:
    left = rounds([pair(0.3)])
    found = compared(budget=Budget(0.0))
    assert (found.mark, found.effect) == (CommitMark.UNCLEAR, 0.0)
    assert evidence_text(found.evidence) == "nothing was measured"
    assert len(left) == 1


def test_too_few_rounds_are_given_no_interval(rounds) -> None:
    left = rounds([pair(0.3), pair(0.301)])
    found = compared(budget=Budget(50.0, lambda: 0.0 if left else 100.0))
    assert found.mark is CommitMark.UNCLEAR
    assert evidence_text(found.evidence) == "change +35.1 %, 2 rounds are too few for an interval"


def test_F4_a_large_change_is_a_factor(rounds) -> None:
    left = rounds([pair(4.0), pair(4.001)])
    found = compared(budget=Budget(50.0, lambda: 0.0 if left else 100.0))
    assert evidence_text(found.evidence) == "change 54.6×, 2 rounds are too few for an interval"


@pytest.mark.parametrize(("side", "broken"), [("base", BASE), ("head", HEAD)])
def test_a_side_that_cannot_run(rounds, side: str, broken: Commit) -> None:
    error = f"{broken.short} cannot run it: NameError: n_steps is not defined"
    sides = {"base": Sample(None), "head": Sample(None), side: Sample(None, error)}
    rounds([Pair(**sides)] * CRASHES)
    found = compared()
    assert (found.mark, found.effect) == (CommitMark.BROKEN, 0.0)
    assert evidence_text(found.evidence) == error


def test_one_series(rounds) -> None:
    labels = (SERIES, SERIES.replace("32", "64"))
    rounds([], labels)
    assert rooms.one_series(Settings(root=Path("/")), HEAD, re.compile("float32"), Budget(9.0)) == SERIES
    with pytest.raises(UsageError, match="matches 2 series; name one") as caught:
        rooms.one_series(Settings(root=Path("/")), HEAD, re.compile("Warm"), Budget(9.0))
    assert "--series 'bandwidth" in caught.value.hint
