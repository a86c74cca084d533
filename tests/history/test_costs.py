"""What open regressions still cost."""

from __future__ import annotations

import pytest
from report_samples import COMMITS, LEDGER_KEY, change, event, key

from nbbench.history.costs import costs_of
from nbbench.model import Cause, Event, EventDirection, Flag, FlagState
from nbbench.report.events import costs_blocks
from nbbench.report.text import as_text

PLACES = {commit.hash: place for place, commit in enumerate(COMMITS)}
LARGE = key(2048)


def flag(found: Event) -> Flag:
    return Flag(found, "PERF", FlagState.DETECTED)


DOUBLED = flag(
    event(
        "doubled",
        (5, 5),
        Cause.WORK,
        (
            change(key(), "seconds", (5, 5), 0.010, 0.020, True),
            change(LARGE, "seconds", (5, 5), 0.4, 0.5, True),
            change(LEDGER_KEY, "B/pixel", (5, 5), 10.0, 20.0, True),
        ),
    )
)
SLOWER = flag(event("slower", (9, 9), Cause.HOST, (change(key(), "seconds", (9, 9), 0.02, 0.024, True),)))
FASTER = flag(
    event(
        "faster",
        (12, 12),
        Cause.WORK,
        (change(LARGE, "seconds", (12, 12), 0.5, 0.3, False),),
        direction=EventDirection.IMPROVEMENT,
    )
)
NOT_CODE = flag(
    event("busy", (14, 14), Cause.CONTENTION, (change(LARGE, "seconds", (14, 14), 0.3, 0.9, True),))
)
COUNTED = flag(
    event("counted", (20, 20), Cause.WORK, (change(LEDGER_KEY, "B/pixel", (20, 20), 20.0, 30.0, True),))
)


def test_a_saving_is_a_share_of_what_the_series_takes_now() -> None:
    """0.4 → 0.5 s, later 0.3 s: a fifth of that is 60 ms, more than half of the small size's 24 ms."""
    waiting = [SLOWER, COUNTED, DOUBLED]
    first, second = costs_of(waiting, [FASTER, *waiting], PLACES)
    assert (first.event, first.series, first.now_s) == ("doubled", LARGE, 0.3)
    assert first.saved_s == pytest.approx(0.06) and first.lo_s < 0.06 < first.hi_s
    assert (second.event, second.now_s) == ("slower", 0.024)
    assert second.saved_s == pytest.approx(0.004)
    said = as_text(costs_blocks([first, second], waiting, 1))
    assert "The 1 costliest of 3 open regressions" in said and "60 ms" in said and "slower" not in said
    assert "Not timed, or not the code's doing: 1 other." in said


def test_what_is_not_the_codes_doing_is_no_work() -> None:
    assert costs_of([NOT_CODE], [NOT_CODE], PLACES) == []
