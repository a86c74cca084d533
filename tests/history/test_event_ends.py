"""Which two commits `nbbench explain EVENT` compares."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from work_samples import before

from nbbench.errors import UsageError
from nbbench.history import history as event_ends
from nbbench.measure import ledgers
from nbbench.model import Commit

COMMITS = [Commit(f"{n:040x}", f"tree{n}", datetime(2025, 1, n, tzinfo=UTC), "s", n) for n in range(1, 6)]
GOOD, BROKEN = {"w": before()}, {"w": before(error="NameError: x")}


@pytest.fixture
def ends(monkeypatch):
    """The positions compared for an event at commits 4 to 5, by what is on record and who records."""

    def of(kept, *, subject: bool, first: int = 4):
        store = SimpleNamespace(commits=lambda: COMMITS)
        monkeypatch.setattr(event_ends, "open_store", lambda settings: nullcontext(store))
        monkeypatch.setattr(ledgers, "ledger_torch", lambda settings, commits, say: "2.13.0")
        monkeypatch.setattr(event_ends, "subject_or_none", lambda settings: object() if subject else None)
        monkeypatch.setattr(
            ledgers,
            "known_work",
            lambda settings, commit, torch: SimpleNamespace(ledgers=kept.get(commit.position, {})),
        )
        event = SimpleNamespace(id="e", lo_commit=f"{first:040x}", hi_commit=COMMITS[4].hash)
        return tuple(commit.position for commit in event_ends.event_ends(None, event))

    return of


@pytest.mark.parametrize(
    ("kept", "subject", "expected"),
    [
        ({3: GOOD}, True, (3, 5)),
        ({3: BROKEN, 2: GOOD}, True, (2, 5)),
        ({1: GOOD}, True, (3, 5)),  # what is not on record can be recorded
        ({1: GOOD}, False, (1, 5)),  # without a subject it cannot
        ({3: BROKEN}, True, (2, 5)),
        ({}, False, (3, 5)),
    ],
)
def test_the_last_commit_before_it_that_can_be_compared(ends, kept, subject, expected) -> None:
    assert ends(kept, subject=subject) == expected


def test_the_first_commit_and_another_branch(ends) -> None:
    assert ends({}, subject=True, first=1) == (1, 5)
    with pytest.raises(UsageError, match="not of this branch"):
        ends({}, subject=True, first=77)
