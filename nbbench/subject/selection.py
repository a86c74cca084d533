"""Which commits to measure, and in which order."""

from __future__ import annotations

import re

from nbbench.errors import UsageError
from nbbench.model import Commit
from nbbench.subject.repository import Subject, list_commits

_POSITIONS = re.compile(r"(\d{1,5})-(\d{1,5})")


def select(subject: Subject, span: str | None) -> list[Commit]:
    """Commits of a git range, or of positions `A-B` (both inclusive), oldest first.

    Raises UsageError for an unknown or reversed range.
    """
    if span and is_positions(span):
        return by_position(list_commits(subject), span)
    return list_commits(subject, span)


def is_positions(span: str) -> bool:
    """Whether a range is one of positions, `21-245`."""
    return _POSITIONS.fullmatch(span) is not None


def by_position(commits: list[Commit], span: str | None) -> list[Commit]:
    """Commits at positions `A-B`, both inclusive; all of them without a range."""
    match = _POSITIONS.fullmatch(span) if span else None
    if match is None:
        return commits
    low, high = int(match[1]), int(match[2])
    if low > high:
        raise UsageError(f"range {span} runs backwards")
    return [c for c in commits if low <= c.position <= high]


def spread(commits: list[Commit]) -> list[Commit]:
    """Newest first, then oldest, then always the middle of the widest gap.

    A run that is cut short has then covered the range evenly, and every change point lies in
    as narrow an interval as the number of measured commits allows.
    """
    if len(commits) <= 2:
        return commits[::-1]
    order = [len(commits) - 1, 0]
    gaps = [(0, len(commits) - 1)]
    while gaps:
        low, high = max(gaps, key=lambda gap: (gap[1] - gap[0], gap[1]))
        gaps.remove((low, high))
        if high - low < 2:
            continue
        middle = (low + high) // 2
        order.append(middle)
        gaps += [(low, middle), (middle, high)]
    return [commits[i] for i in order]
