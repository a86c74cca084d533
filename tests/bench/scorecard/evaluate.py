"""Run the methods over a row and keep the scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.bench.scorecard.metrics import Score, Truth, large_enough
from tests.bench.scorecard.peers import Method, asv_compare, ours, peers
from tests.bench.scorecard.rows import Row


@dataclass(frozen=True)
class Entry:
    """One method in one row; ``setting`` names the best one where there was a choice."""

    method: str
    setting: str
    score: Score
    why_not: str = ""


@dataclass(frozen=True)
class Result:
    """One row of the scorecard."""

    group: str
    name: str
    goal: str
    series: int
    changes: int
    entries: tuple[Entry, ...]


def evaluate(row: Row, *, mine: bool = False) -> Result:
    """Every method on the data of ``row``, or nbbench alone if ``mine``."""
    truths = row.data()
    canary = any(truth.canary is not None for truth in truths)
    methods = [ours(row.least)]
    if canary:
        methods.append(ours(row.least, canary=True))
    for ledger in (False, True) if row.ledger else (False,):
        if row.telemetry:
            methods.append(ours(row.least, telemetry=True, ledger=ledger))
            if canary:
                methods.append(ours(row.least, telemetry=True, ledger=ledger, canary=True))
        elif ledger:
            methods.append(ours(row.least, ledger=True))
    if row.telemetry and row.ledger:
        methods.append(ours(row.least, telemetry=True, ledger=True, canary=canary, work=True))
    if not mine:
        methods += peers()
    if row.samples and not mine:
        methods.append(asv_compare())
    entries = tuple(_best(method, truths, row.least) for method in methods) if truths else ()
    return Result(row.group, row.name, row.goal, len(truths), sum(len(t.changes) for t in truths), entries)


def _best(method: Method, truths: list[Truth], least: float) -> Entry:
    scored = [(name, _score(find, truths, least)) for name, find in method.settings.items()]
    if not scored:
        return Entry(method.name, "", Score(), method.why_not)
    name, score = max(scored, key=lambda pair: _merit(pair[1]))
    return Entry(method.name, name, score)


def _merit(score: Score) -> tuple[float, float]:
    """F1; without anything to find, few alarms."""
    return (0.0 if math.isnan(score.f1) else score.f1, -score.alarms)


def _score(find: object, truths: list[Truth], least: float) -> Score:
    score = Score()
    for truth in truths:
        score.add(truth, large_enough(truth.values, find(truth), least))  # type: ignore[operator]
    return score
