"""The exact difference of host work between two commits, by workload and phase, down to the line; and what
laws of growth say: of one tree, checked against its record, and of two trees, by their orders.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nbbench.growth import LineCounts, Quantity, ScaledWork
from nbbench.host import (
    HOST_KINDS,
    OF_WARM_RUNS,
    HostCount,
    HostKind,
    HostMetric,
    HostPhase,
    HostSite,
    HostWork,
)
from nbbench.ledger import Ledger
from nbbench.metrics import least_change, least_effect
from nbbench.model import EvidenceRecord, Phase, to_plain
from nbbench.work.ledger_diff import log_ratio
from nbbench.work.line_match import LineMatch, LinePlace, SiteNames
from nbbench.workloads import Scale, Workload

_LINES_SHOWN, _PACKAGES_SHOWN = 3, 3
_FEW_MODULES = 10
_FEW_STEPS, _MUCH = 20, math.log(1.5)


@dataclass(frozen=True, slots=True)
class HostChange:
    """What one line did before and after; `where` is `path:line` in head, or in base where it is gone."""

    kind: HostKind
    where: str
    function: str
    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class HostDiff:
    """How a metric of one phase of a workload differs, and the lines that changed, the largest first."""

    workload: str
    phase: Phase
    metric: HostMetric
    before: int
    after: int
    lines: tuple[HostChange, ...]

    @property
    def effect(self) -> float:
        """log(after/before); infinite from nothing."""
        return log_ratio(self.before, self.after)

    @property
    def counts(self) -> bool:
        """Whether it is large enough for a verdict: relative and absolute, as the registry has it.

        Files and warnings count where each run has them; importing may import a few modules more. Where steps
        are few, half as many again count, too: a constructor that does everything twice.
        """
        moved, least = abs(self.after - self.before), least_change(self.metric)
        if self.metric is HostMetric.STEPS and abs(self.effect) > _MUCH:
            least = _FEW_STEPS
        if self.metric is HostMetric.MODULES and self.phase is Phase.IMPORT:
            least = _FEW_MODULES
        if self.metric in OF_WARM_RUNS and self.phase is not Phase.WARM:
            return False
        return moved >= least and abs(self.effect) > least_effect(self.metric)

    @property
    def figures(self) -> dict[str, Any]:
        """The totals and the lines that changed most, as JSON can hold them."""
        names = ("workload", "phase", "metric", "before", "after")
        shown = to_plain(self.lines[:_LINES_SHOWN])
        more = max(len(self.lines) - _LINES_SHOWN, 0)
        return {name: getattr(self, name) for name in names} | {"lines": shown, "more_lines": more}

    @property
    def record(self) -> EvidenceRecord:
        """The difference as evidence."""
        return EvidenceRecord("host", self.figures)


def diff_host(base: HostWork, head: HostWork, match: LineMatch | None) -> list[HostDiff]:
    """Every metric of every phase that differs in any line.

    A first run that changed by what the warm run changed is not told again. What does not repeat is left out,
    and so is what was recorded of one side alone.
    """
    found: list[HostDiff] = []
    base, head = base.beside(head), head.beside(base)
    if base.phases == head.phases:
        return found
    after = {one.phase: one for one in head.phases}
    varies = frozenset(base.varies), frozenset(head.varies)
    for old in base.phases:
        if (new := after.get(old.phase)) is not None:
            old, new, changes = _changes(old, new, match, varies)
            then, now = old.totals(), new.totals()
            for metric, kinds in HOST_KINDS.items():
                lines = tuple(one for one in changes if one.kind in kinds)
                if lines:
                    found.append(HostDiff(base.workload, old.phase, metric, then[metric], now[metric], lines))
    warm = {(d.metric, d.after - d.before) for d in found if d.phase is Phase.WARM}
    return [d for d in found if d.phase is not Phase.FIRST or (d.metric, d.after - d.before) not in warm]


def diff_all(
    base: Mapping[str, HostWork], head: Mapping[str, HostWork], match: LineMatch | None = None
) -> tuple[HostDiff, ...]:
    """The differences of all workloads that have figures on both sides; what counts comes first."""
    both = [(base[name], head[name]) for name in base if name in head]
    found = [d for old, new in both if not old.error and not new.error for d in diff_host(old, new, match)]
    return tuple(sorted(found, key=lambda d: (not d.counts, -abs(d.effect), d.workload, d.phase)))


def _imports_by_line(changes: list[HostChange]) -> list[HostChange]:
    """What one line imports as one change, by the names of the packages that most of it belongs to."""
    made = [one for one in changes if one.kind is not HostKind.MODULE]
    lines: dict[tuple[str, str], list[HostChange]] = defaultdict(list)
    for one in changes:
        if one.kind is HostKind.MODULE:
            lines[one.where, one.function].append(one)
    for (where, function), found in lines.items():
        names = {one.name for one in found}
        packages = Counter(_outermost(name, names) for name in sorted(names))
        said = ", ".join([name for name, _ in packages.most_common(_PACKAGES_SHOWN)])
        more = ", …" if len(packages) > _PACKAGES_SHOWN else ""
        before, after = sum(one.before for one in found), sum(one.after for one in found)
        made.append(HostChange(HostKind.MODULE, where, function, said + more, before, after))
    return made


def _outermost(module: str, names: Collection[str]) -> str:
    """The outermost package of a module that is among these names."""
    parts = module.split(".")
    around = (".".join(parts[:end]) for end in range(1, len(parts)))
    return next((name for name in around if name in names), module)


def not_repeating(
    base: HostWork, head: HostWork, match: LineMatch | None
) -> tuple[list[LinePlace], list[LinePlace]]:
    """The lines whose counts differ between two recordings of one tree, and those that do so since head."""
    places = [{(site.path, site.line) for site in one.varies} for one in (base, head)]
    since = [one for one in places[1] if (match.base_of(*one) if match else one) not in places[0]]
    return sorted(places[1] or places[0]), sorted(since)


def _changes(
    old: HostPhase, new: HostPhase, match: LineMatch | None, varies: tuple[frozenset[HostSite], ...]
) -> tuple[HostPhase, HostPhase, list[HostChange]]:
    """Both phases without what varies on either side, and what differs, site by site, the largest first."""
    names = SiteNames(old.counts, new.counts, match)
    named = ((old, names.base), (new, names.head))
    sides = [[(one, (one.kind, name(one))) for one in phase.counts] for phase, name in named]
    both = zip(sides, varies, strict=True)
    left_out = {place for counts, out in both for one, place in counts if out and one.site in out}
    if left_out:
        sides = [[(one, place) for one, place in counts if place not in left_out] for counts in sides]
        old, new = (HostPhase(old.phase, tuple(one for one, _ in counts)) for counts in sides)
    sites: dict[tuple[HostKind, str, str], tuple[list[HostCount], list[HostCount]]]
    sites = defaultdict(lambda: ([], []))
    for i, counts in enumerate(sides):
        for one, (kind, site) in counts:
            sites[kind, one.name, site][i].append(one)
    changes = []
    for (kind, name, _), (before, after) in sites.items():
        amounts = [sum(one.amount for one in side) for side in (before, after)]
        if amounts[0] != amounts[1]:
            most = max(after or before, key=lambda one: one.amount)
            where = f"{most.path}:{most.line}" if most.path else ""
            changes.append(HostChange(kind, where, most.function, name, *amounts))
    changes = _imports_by_line(changes)
    changes.sort(key=lambda c: (-abs(c.after - c.before), c.where, c.kind, c.name))
    return old, new, changes


@dataclass(frozen=True, slots=True)
class OrderChange:
    """A quantity that grows with another power of the parameter than before.

    `lines` are those that carry it: in head those that grow faster than anything in base did, or in base
    those that grew faster than anything does in head.
    """

    scale: str
    quantity: Quantity
    before: int
    after: int
    lines: tuple[LineCounts, ...]

    @property
    def record(self) -> EvidenceRecord:
        """The change as evidence, with the lines that count most."""
        lines = [
            {"where": f"{one.path}:{one.line}" if one.path else "", "function": one.function}
            for one in self.lines[:_LINES_SHOWN]
        ]
        told = {"scale": self.scale, "quantity": str(self.quantity), "lines": lines}
        return EvidenceRecord("order", {**told, "before": self.before, "after": self.after})


def diff_orders(base: ScaledWork, head: ScaledWork) -> list[OrderChange]:
    """Every quantity of a scale whose order both trees tell and that has another one in head.

    Counts cannot cancel out: a line that grows faster than its whole did before is new or changed.
    """
    found, orders = [], (base.orders, head.orders)
    for quantity in orders[0].keys() & orders[1].keys():
        before, after = orders[0][quantity], orders[1][quantity]
        if before != after:
            side, least = (head, before) if after > before else (base, after)
            lines = tuple(line for line, order in side.line_orders(quantity) if order > least)
            found.append(OrderChange(head.scale, quantity, before, after, lines))
    return sorted(found, key=lambda one: (one.before - one.after, list(Quantity).index(one.quantity)))


def diff_scales(base: Mapping[str, ScaledWork], head: Mapping[str, ScaledWork]) -> list[OrderChange]:
    """The changes of order of all scales that both trees have."""
    both = [(base[name], head[name]) for name in base if name in head]
    return [one for old, new in both if not old.error and not new.error for one in diff_orders(old, new)]


@dataclass(frozen=True, slots=True)
class ScaleLaws:
    """What a scale counted on one tree, and how its laws hold for the workloads that are on record.

    `off` is, by quantity and larger value of the parameter, how far off a law is, as a share of what was
    counted: 0.0 where it is exact. `large` is a value twice as large as any that the suite declares.
    """

    scaled: ScaledWork
    large: int
    off: Mapping[Quantity, Mapping[int, float]]


def scale_laws(
    scale: Scale,
    scaled: ScaledWork,
    workloads: Iterable[Workload],
    ledgers: Mapping[str, Ledger],
    host: Mapping[str, HostWork],
) -> ScaleLaws:
    """The laws of a scale, checked against the workloads that lie on it and are on record."""
    larger = scale.larger(workloads)
    exact = {quantity: law for quantity, law in scaled.laws.items() if law.exact}
    off: dict[Quantity, dict[int, float]] = {quantity: {} for quantity in exact}
    for value, one in larger:
        for quantity, count in _recorded(ledgers.get(one.name), host.get(one.name)).items():
            if quantity in exact:
                off[quantity][value] = float(abs(exact[quantity].at(value) - count) / max(count, 1))
    return ScaleLaws(scaled, 2 * max([scale.values[-1], *(value for value, _ in larger)]), off)


def _recorded(ledger: Ledger | None, host: HostWork | None) -> dict[Quantity, int]:
    """What is on record of a workload; not its first run, which depends on what ran before in its process."""
    found = {}
    if ledger is not None and not ledger.error:
        figures = (ledger.bytes, ledger.ops, ledger.peak_live_bytes, ledger.upcast_bytes)
        found = dict(zip(list(Quantity)[:4], figures, strict=True))
    for one in host.phases if host is not None else ():
        if one.phase is Phase.WARM:
            found[Quantity.WARM] = one.totals()[HostMetric.STEPS]
    return found
