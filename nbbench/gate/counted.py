"""What exact work says of a series before its time is taken: nothing can have become slower, or who knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from nbbench.gate.exact import ExactWork
from nbbench.gate.unseen import CountedWork, Hidden, unseen
from nbbench.host import IMPORT_WORKLOAD, HostMetric, host_series
from nbbench.ledger import ImageChange
from nbbench.model import EvidenceRecord, Outcome, Phase
from nbbench.verdicts import Verdict
from nbbench.work.ledger_diff import LedgerDiff, tensor_counts
from nbbench.work.price import CostModel, Price, counted_as, price_of

_PRICED = ("B/pixel", "operations", HostMetric.STEPS)
_MOVED = (Outcome.REGRESSED, Outcome.IMPROVED)


def counted_work(
    work: ExactWork, phase: Phase, workload: str | None, costs: CostModel, floor: float
) -> CountedWork | None:
    """What exact work says of a timed series; None where it was not counted on both sides.

    Starting up is compared for all workloads that were counted; a warm run needs its own.
    """
    warm = phase is Phase.WARM
    diffs = [one for one in work.diffs if not warm or one.workload == workload]
    names = {counted_as(name, work.sides) for name in (IMPORT_WORKLOAD, *(one.workload for one in diffs))}
    if not diffs or "" in names or any(side[name].varies for side in work.sides for name in names):
        return None
    if (missed := unseen(work.changed, [work.sides[1][name] for name in names]).get(phase)) is None:
        return None
    moved = [one for one in work.all_host if one.workload in names and one.phase is phase]
    others = any(one.metric is not HostMetric.STEPS or (one.counts and not warm) for one in moved)
    price: Price | None = Price(0.0, 0.0, 0.0, costs.points, costs.error)
    if phase in (Phase.FIRST, Phase.WARM):
        prices = [found for one in diffs if (found := _price(work, one, costs)) is not None]
        price = max(prices, key=lambda one: one.hi) if len(prices) == len(diffs) else None
    equal = not moved and price is not None and not (price.lo or price.hi)
    return CountedWork(equal, None if others else price, missed, floor)


def uncounted_calls(work: ExactWork) -> list[EvidenceRecord]:
    """What changed lines call of which counts do not tell how long it takes, each once."""
    if not work.sides:
        return []
    places = unseen(work.changed, work.sides[1].values()).values()
    calls = dict.fromkeys((one.where, one.name) for one in places if one.hidden is Hidden.CALLS)
    return [EvidenceRecord("uncounted call", {"where": where, "name": name}) for where, name in calls]


def _price(work: ExactWork, diff: LedgerDiff, costs: CostModel) -> Price | None:
    """The price of what a warm run does more; None where its operations, memory or image are others."""
    base, head = diff.base, diff.head
    others = diff.recomposed or base.dispatched != head.dispatched or diff.image is not ImageChange.SAME_BITS
    if others or tensor_counts(base) != tensor_counts(head) or head.peak_live_bytes > base.peak_live_bytes:
        return None
    found = price_of(costs, diff, work.sides)
    return found if math.isfinite(found.hi) else None


def with_prices(verdicts: Sequence[Verdict], work: ExactWork, costs: CostModel) -> list[Verdict]:
    """The verdicts on exact work with what it costs of a warm run, where tensors or Python's steps moved."""
    prices: dict[str, Price] = {}
    for diff in work.diffs:
        found = price_of(costs, diff, work.sides)
        if found.lo or found.hi:
            prices |= dict.fromkeys(
                (f"ledger {diff.workload}", host_series(diff.workload, Phase.WARM)), found
            )
    return [
        replace(one, evidence=(*one.evidence, prices[one.series].record))
        if one.series in prices and one.unit in _PRICED and one.outcome in _MOVED
        else one
        for one in verdicts
    ]
