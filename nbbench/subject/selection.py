"""Which commits to measure, and in which order."""

import heapq
import re
from random import Random

from nbbench.errors import UsageError
from nbbench.model import Commit
from nbbench.subject.repository import Subject, list_commits

LEAST_TURNS = 3
"""Turns of measuring between a commit and its neighbours on the branch, in which a mood of the machine has
passed or shows at others: the orders of `nbbench run` have them, one commit after the other has not."""

_POSITIONS = re.compile(r"(\d{1,5})-(\d{1,5})")


def select(subject: Subject, span: str | None) -> list[Commit]:
    """Commits of a git range, or of positions `A-B` (both inclusive), oldest first.

    Raises UsageError for an unknown or reversed range, and for one in which nothing measured changed.
    """
    commits = list_commits(subject) if span and is_positions(span) else list_commits(subject, span)
    return by_position(commits, span, subject.measured_path)


def is_positions(span: str) -> bool:
    """Whether a range is one of positions, `21-245`."""
    return _POSITIONS.fullmatch(span) is not None


def by_position(commits: list[Commit], span: str | None, path: str) -> list[Commit]:
    """Commits at positions `A-B`, both inclusive; all of them without such a range.

    Raises UsageError where there is none; `path` is what is measured.
    """
    if match := _POSITIONS.fullmatch(span or ""):
        low, high = int(match[1]), int(match[2])
        if low > high:
            raise UsageError(f"range {span} runs backwards")
        commits = [c for c in commits if low <= c.position <= high]
    if not commits:
        hint = "the settings branch and measured_path say what is measured (NBBENCH_BRANCH, …)"
        raise UsageError(f"no commit in {span or 'the branch'} changed {path}", hint=hint)
    return commits


def with_predecessor(commits: list[Commit], branch: list[Commit]) -> list[Commit]:
    """A range with the measured commit that precedes it on the branch, which its first is compared with.

    The range as it is where nothing precedes it, or where its first commit is not of the branch.
    """
    places = {commit.hash: place for place, commit in enumerate(branch)}
    place = places.get(commits[0].hash, 0) if commits else 0
    return [branch[place - 1], *commits] if place else commits


def spread(commits: list[Commit], random: Random | None = None) -> list[Commit]:
    """Newest first, then oldest, then always the middle of the widest gap.

    A run that is cut short has then covered the range evenly, and every change point lies in as narrow an
    interval as the number of measured commits allows. Among gaps of one width the newest is taken, or one
    drawn by `random`: then what happens to the machine for a while falls on commits all over the range,
    where it is noise, and not on a few in a row, where it looks like their work (Fisher 1935, *The Design
    of Experiments*, on the random order of runs).
    """
    if len(commits) <= 2:
        return commits[::-1]
    order = [len(commits) - 1, 0]
    gaps = [_gap(0, len(commits) - 1, random)]
    while gaps:
        _, _, low, high = heapq.heappop(gaps)
        if high - low < 2:
            continue
        middle = (low + high) // 2
        order.append(middle)
        heapq.heappush(gaps, _gap(low, middle, random))
        heapq.heappush(gaps, _gap(middle, high, random))
    return [commits[i] for i in order]


def shuffled(commits: list[Commit], random: Random) -> list[Commit]:
    """In an order drawn by `random`, in which neighbours on the branch are measured LEAST_TURNS or more apart
    but for a few at its end: what happens to the machine at one of them does not reach the other."""
    left, order = random.sample(range(len(commits)), len(commits)), list[int]()
    while left:
        near = order[1 - LEAST_TURNS :]
        chosen = next((i for i in left if all(abs(i - other) > 1 for other in near)), left[0])
        left.remove(chosen)
        order.append(chosen)
    return [commits[i] for i in order]


def _gap(low: int, high: int, random: Random | None) -> tuple[int, float, int, int]:
    """A gap as a heap takes it: the widest first, then by lot or the newest."""
    return low - high, random.random() if random else -high, low, high
