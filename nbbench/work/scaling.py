"""What laws of growth say: of one tree, checked against its record, and of two trees, by their orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nbbench.growth import LineCounts, Quantity, ScaledWork
from nbbench.host import HostMetric, HostWork
from nbbench.ledger import Ledger
from nbbench.model import EvidenceRecord, Phase
from nbbench.workloads import Scale, Workload

_LINES_SHOWN = 3


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
    placed = [(value, one.name) for one in workloads if (value := scale.value_of(one)) is not None]
    exact = {quantity: law for quantity, law in scaled.laws.items() if law.exact}
    off: dict[Quantity, dict[int, float]] = {quantity: {} for quantity in exact}
    for value, name in (one for one in placed if one[0] > scale.values[-1]):
        for quantity, count in _recorded(ledgers.get(name), host.get(name)).items():
            if quantity in exact:
                off[quantity][value] = float(abs(exact[quantity].at(value) - count) / max(count, 1))
    return ScaleLaws(scaled, 2 * max([scale.values[-1], *(value for value, _ in placed)]), off)


def _recorded(ledger: Ledger | None, host: HostWork | None) -> dict[Quantity, int]:
    """What is on record of a workload; not its first run, which depends on what ran before in its process."""
    found = {}
    if ledger is not None and not ledger.error:
        figures = (ledger.bytes, ledger.ops, ledger.peak_live_bytes, ledger.upcast_bytes)
        found = dict(zip(list(Quantity)[:4], figures, strict=True))
    for one in host.phases if host is not None else ():
        if one.phase is Phase.WARM:
            found[Quantity.WARM] = one.total(HostMetric.STEPS)
    return found
