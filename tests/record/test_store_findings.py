"""Events, decisions, evidence folders and noise floors."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from store_trees import START, commit_hash, source

from nbbench.model import (
    Cause,
    ChangePoint,
    Decision,
    Event,
    EventDirection,
    EvidenceRecord,
    FlagState,
    NotJudged,
    NotJudgedReason,
    SeriesKey,
)

KEY = SeriesKey("suite.time_run", "v1", (("size", "512"),), "box", "py3.11")
WORSE = EventDirection.REGRESSION
CHANGE = ChangePoint(
    KEY, "seconds", "step", commit_hash(1), commit_hash(2), 1.0, 2.0, 0.69, 0.6, math.inf, 1e-9, WORSE
)
EVENT = Event(
    id="ev-1",
    lo_commit=commit_hash(1),
    hi_commit=commit_hash(2),
    date=START,
    subject="Make it wörse",
    direction=EventDirection.REGRESSION,
    cause=Cause.DTYPE,
    effect=0.69,
    evidence=(EvidenceRecord("work", {"bytes": 1.5, "lines": [{"op": "wörk"}]}), EvidenceRecord("nothing")),
    changes=(CHANGE, replace(CHANGE, key=replace(KEY, params=(("size", "1024"),)), kind="exact")),
    recovered_by=commit_hash(9),
)
DECISION = Decision("ev-1", "PLAN", FlagState.ACKNOWLEDGED, "because", "somebody", START)


def test_events_are_replaced_as_a_whole(store):
    assert store.events() == []
    assert store.run_info() == {}
    other = replace(
        EVENT, id="a-2", changes=(), recovered_by=None, direction=EventDirection.IMPROVEMENT, evidence=()
    )
    short = NotJudged("suite.time_run(512)", NotJudgedReason.TOO_SHORT, detail="3 commits")
    store.save_events([EVENT, other], {"alpha": 0.01, "at": START}, [short])
    assert store.events() == [EVENT, other]
    assert store.not_judged() == [short]
    assert store.run_info() == {"alpha": 0.01, "at": "2025-10-15T11:35:31Z"}
    store.save_events([other])
    assert store.events() == [other]
    assert store.run_info() == {}
    assert store.not_judged() == []


def test_events_keep_nan(store):
    nan = float("nan")
    store.save_events(
        [replace(EVENT, effect=nan, changes=(replace(CHANGE, p_value=nan, effect_lo=-math.inf),))]
    )
    (event,) = store.events()
    assert math.isnan(event.effect)
    assert math.isnan(event.changes[0].p_value)
    assert event.changes[0].effect_lo == -math.inf


def test_a_failed_save_keeps_the_old_events(store):
    store.save_events([EVENT])

    def events():
        yield replace(EVENT, id="new")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.save_events(events())
    assert store.events() == [EVENT]


def test_a_decision_that_two_files_hold_is_one(store):
    later = replace(DECISION, date=START + timedelta(days=1), expires=START + timedelta(days=30))
    for name, decision in (("b", later), ("a", DECISION), ("c", DECISION)):
        store.import_batch([(replace(source(name), kind="decision"), decision)])
    assert store.decisions() == [DECISION, later]
    store.forget_files(["a", "c"])
    assert store.decisions() == [later]
