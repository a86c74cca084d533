"""The product on a row of the scorecard: what a history holds goes in, the change points of its events come
out. There is no rule of detection here: `judge_history` and `build_events` are asked as `nbbench regressions`
asks them, with the settings of a project that sets none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np

from nbbench.config import Settings
from nbbench.history.changes import History, judge_history
from nbbench.history.events import build_events
from nbbench.history.ledger_series import ledger_series
from nbbench.history.telemetry import PROGRAMS
from nbbench.ledger import Ledger
from nbbench.model import Cause, ChangePoint, Commit, Event, Point, ProcessRecord, Series, SeriesKey, Status
from nbbench.workloads import Declared, Workload, Workloads, use_workloads
from tests.bench.scorecard.metrics import Truth

MACHINES = (Cause.ENVIRONMENT, Cause.CONTENTION)
"""An event with one of these causes says that the machine changed: it reports no change of the code."""

MIN_EFFECT = float(next(one.default for one in fields(Settings) if one.name == "min_effect"))
TORCH = "recorded"
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_MACHINE = "scorecard"


def places(
    truths: tuple[Truth, ...],
    least: float,
    *,
    telemetry: bool,
    ledger: bool,
    canary: bool,
    work: bool = False,
) -> list[list[int]]:
    """Where the product reports changes in each of the series of one machine (their ``truths``), which are
    judged together, as indices of their points: of a range the middle of what was measured in it.

    ``least`` is the least log ratio that is asked about; a user who asks for less than the default of
    `min_effect` sets it. ``telemetry``, ``ledger`` and ``canary`` say what is on record beside the values.
    With ``work`` an event that names a series' own work counts where no undisturbed time tells (`_untimed`).
    """
    names = [f"series{i}" for i in range(len(truths))]
    runs = (Declared(_key(name).benchmark, families=(name,)) for name in names)
    use_workloads(Workloads(tuple(Workload(f"{name}-recorded", 1) for name in names), tuple(runs)))
    try:
        history = _history(truths, names, telemetry=telemetry, ledger=ledger, canary=canary)
        effect = min(MIN_EFFECT, least)
        found = judge_history(history, min_effect=effect, jobs=1)
        events = build_events(history, found.changes, effect)
    finally:
        use_workloads(None)
    told = [(event, change) for event in events if event.cause not in MACHINES for change in event.changes]
    index = {commit.hash: i for i, commit in enumerate(history.commits)}
    timed = [
        {_middle(event, c, truth, index) for event, c in told if c.key == _key(name)}
        for name, truth in zip(names, truths, strict=True)
    ]
    if work:
        for name, truth, found_there in zip(names, truths, timed, strict=True):
            moved = {index[c.hi_commit] for _, c in told if _is_work_of(c, name)}
            # what was found at another place where its work moved belongs there
            alone = {k: found_there - (moved - {k}) for k in _untimed(truth, moved)}
            found_there |= {at for at, others in alone.items() if all(abs(at - k) > 2 for k in others)}
    return [sorted(places) for places in timed]


def _is_work_of(change: ChangePoint, name: str) -> bool:
    named = dict(change.key.params).get("workload", "").strip("'")
    return change.kind == "exact" and named == f"{name}-recorded"


def _untimed(truth: Truth, moved: set[int]) -> list[int]:
    """The places at which work ``moved`` that have no undisturbed value on one side, up to the next of them:
    the first values there."""
    known = np.isfinite(truth.values)
    none = np.zeros_like(known)
    waited = none if truth.contended is None else np.atleast_2d(truth.contended).all(axis=0)
    first = [i + int(np.argmax(known[i:])) for i in moved if known[i:].any()]
    edges = [0, *sorted(set(first)), known.size]
    clean = [bool((known & ~waited)[a:b].any()) for a, b in pairwise(edges)]
    pairs = zip(edges[1:], clean, clean[1:], strict=False)
    return [at for at, before, after in pairs if not (before and after)]


def _middle(event: Event, change: ChangePoint, truth: Truth, index: dict[str, int]) -> int:
    """The middle of the commits that an event and its change point both name, of those that were measured."""
    lo, hi = index[change.lo_commit], index[change.hi_commit]
    first, last = max(lo, index[event.lo_commit]), min(hi, index[event.hi_commit])
    lo, hi = (first, last) if first <= last else (lo, hi)
    measured = [i for i in range(lo, hi + 1) if np.isfinite(truth.values[i])]
    return measured[len(measured) // 2] if measured else hi


def _key(name: str) -> SeriesKey:
    return SeriesKey(f"recorded.{name}.time_run", "1", (), _MACHINE, "py")


def _history(
    truths: tuple[Truth, ...], names: list[str], *, telemetry: bool, ledger: bool, canary: bool
) -> History:
    commits = truths[0].commits or _made_commits(truths[0].values.size)
    series = [_series(name, truth, commits) for name, truth in zip(names, truths, strict=True)]
    work = dict(_work(truths, names, commits)) if ledger else {}
    records = tuple(
        record
        for name, truth in zip(names, truths, strict=True)
        for record in _records(name, truth, commits, telemetry=telemetry, canary=canary)
    )
    return History(
        series=[*series, *ledger_series(commits, work, TORCH)],
        commits=commits,
        ledgers=work,
        records=records,
        measured_at={(c.hash, _MACHINE, "py"): float(at) for c, at in zip(commits, truths[0].at, strict=True)}
        if truths[0].at is not None
        else {},
        repeats={
            _key(name): _twice(truth, commits)
            for name, truth in zip(names, truths, strict=True)
            if truth.collections is not None
        },
    )


def _made_commits(count: int) -> tuple[Commit, ...]:
    return tuple(Commit(f"{i:040x}", f"tree{i}", _BEGAN + timedelta(days=i), "", i + 1) for i in range(count))


def _series(name: str, truth: Truth, commits: tuple[Commit, ...]) -> Series:
    pairs = zip(commits, truth.values.tolist(), strict=True)
    points = tuple(Point(c.position, c.hash, v, Status.OK) for c, v in pairs if math.isfinite(v))
    return Series(_key(name), "seconds", "time", points)


def _work(
    truths: Iterable[Truth], names: list[str], commits: tuple[Commit, ...]
) -> Iterator[tuple[str, dict[str, Ledger]]]:
    for i, commit in enumerate(commits):
        pairs = zip(names, truths, strict=True)
        known = [(f"{name}-recorded", one.ledgers[i]) for name, one in pairs if one.ledgers]
        yield commit.tree, {name: replace(found, workload=name) for name, found in known if found}


def _twice(truth: Truth, commits: tuple[Commit, ...]) -> dict[str, tuple[float, float]]:
    assert truth.collections is not None
    ends = zip(commits, truth.collections.T.tolist(), strict=True)
    return {c.hash: (first, last) for c, (first, last) in ends if math.isfinite(first + last)}


def _records(
    name: str, truth: Truth, commits: tuple[Commit, ...], *, telemetry: bool, canary: bool
) -> Iterator[ProcessRecord]:
    """A process for each value (of two collections, two) of one second; its benchmark is this series'."""
    waited = np.atleast_2d(truth.contended) if telemetry and truth.contended is not None else None
    beside = truth.canary if canary else None
    if waited is None and beside is None:
        return
    at = np.arange(len(commits)) if truth.at is None else truth.at
    for i in np.flatnonzero(np.isfinite(truth.values)).tolist():
        extra: dict[str, object] = {}
        if beside is not None:
            pairs = zip(PROGRAMS, beside[:, i].tolist(), strict=True)
            extra["canary"] = {program: [seconds, seconds] for program, seconds in pairs}
        for mark, delay in enumerate([None] if waited is None else waited[:, i].tolist()):
            told = extra if delay is None else {**extra, "run_delay_s": float(delay), "collection": str(mark)}
            yield ProcessRecord(
                commit=commits[i].hash,
                environment="py",
                benchmark=_key(name).benchmark,
                param_index=0,
                kind="run",
                started_at=_BEGAN + timedelta(seconds=float(at[i])),
                wall_s=1.0,
                exit_code=0,
                machine=_MACHINE,
                extra=tuple(told.items()),
            )
