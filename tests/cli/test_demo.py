"""`nbbench demo` says whether what it flags is what was planted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nbbench.cli.demo import _wrong
from nbbench.model import Cause, Event, EventDirection, Flag, FlagState
from nbbench.subject.subjects.nanobragg.demo import PLANTED

REGRESSIONS = [one for one in PLANTED if one.regression]


def flag(commit: str, cause: str) -> Flag:
    event = Event(
        id=f"{commit[:8]}-slower",
        lo_commit=commit,
        hi_commit=commit,
        date=datetime(2025, 1, 1, tzinfo=UTC),
        subject="",
        direction=EventDirection.REGRESSION,
        cause=Cause(cause),
        effect=0.1,
    )
    return Flag(event, "P", FlagState.DETECTED)


def planted() -> list[Flag]:
    return [flag(str(one.hash), one.regression) for one in REGRESSIONS]


def test_the_planted_ones_pass() -> None:
    assert len(REGRESSIONS) == 6
    assert _wrong(PLANTED, planted()) == []


def test_a_second_event_of_a_planted_commit_is_no_other_commit() -> None:
    more = flag(str(REGRESSIONS[2].hash), "unexplained")
    assert _wrong(PLANTED, [*planted(), more]) == []


@pytest.mark.parametrize("wrong", ["missing", "cause", "extra"])
def test_anything_else_does_not(wrong: str) -> None:
    """A3"""
    flags = planted()
    if wrong == "missing":
        del flags[0]
    elif wrong == "cause":
        flags[0] = replace(flags[0], event=replace(flags[0].event, cause=Cause.UNEXPLAINED))
    else:
        flags.append(flag(str(PLANTED[10].hash), "unexplained"))
    assert len(_wrong(PLANTED, flags)) == 1
