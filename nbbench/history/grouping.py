"""Which change points belong together: groups by commit range and direction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nbbench.history.order import CommitOrder
from nbbench.metrics import Better, Role, change_metric, change_role
from nbbench.model import ChangePoint, SeriesKey
from nbbench.workloads import ledger_families

_EXPLAINED_SHARE = 0.5


@dataclass(slots=True)
class Group:
    """Change points of different series in the places `lo` … `hi` of the branch.

    `direction` is +1 for a loss, -1 for a gain, 0 while nothing has a direction; `sharp` says
    that an exact counter fixed the range.
    """

    lo: int
    hi: int
    drift: bool = False
    sharp: bool = False
    changes: list[ChangePoint] = field(default_factory=list)
    direction: int = 0
    weight: float = 0.0
    keys: set[SeriesKey] = field(default_factory=set)
    _said: tuple[int, float] = (0, 0.0)

    def add(self, change: ChangePoint, *, own: bool = True) -> None:
        """Take a change point in; the one that says most gives the direction.

        `own` says that its range is not wider than the group's: guests do not make room for
        greater guests.
        """
        self.changes.append(change)
        self.keys.add(change.key)
        said = say(change)
        if said > self._said:
            self._said, self.direction = said, sign(change)
        if own and math.isfinite(change.effect):
            self.weight = max(self.weight, abs(change.effect))

    def overlaps(self, lo: int, hi: int) -> bool:
        """Whether a range shares a commit with this one."""
        return self.lo <= hi and lo <= self.hi

    def narrow(self, lo: int, hi: int) -> None:
        """What two ranges with one cause have in common."""
        self.lo, self.hi = max(self.lo, lo), min(self.hi, hi)


def group_changes(changes: Sequence[ChangePoint], order: CommitOrder) -> list[Group]:
    """Group change points; those of commits that `order` does not know are left out.

    Exact ones come first, sharp ranges before wide ones: all that changed in the same commits
    is one group, and a wide range joins a group inside it that has its direction. A noisy step
    joins the group that it overlaps in its direction (where no counter fixed that, one of its own
    workloads), or begins one. Drifts have no commit of their own and keep to themselves. Derived figures
    only join. No group takes a series twice.
    """
    placed = [c for c in sorted(changes, key=_name) if min(_span(c, order)) >= 0]
    derived = [c for c in placed if change_role(c) is Role.DERIVED]
    rest = [c for c in placed if change_role(c) is not Role.DERIVED]
    groups: list[Group] = []
    exact = [c for c in rest if c.kind == "exact"]
    for change in sorted(exact, key=lambda c: (_width(c, order), _span(c, order))):
        _join_exact(groups, change, *_span(change, order))
    noisy = [c for c in rest if c.kind != "exact"]
    for change in sorted(noisy, key=lambda c: (-abs(c.effect), _span(c, order))):
        _join_noisy(groups, change, *_span(change, order))
    for change in derived:
        _join_derived(groups, change, *_span(change, order))
    return _distinct(groups)


def _name(change: ChangePoint) -> tuple[object, ...]:
    """Breaks ties, so that the result does not depend on the order of the series."""
    key = change.key
    return key.benchmark, key.version, key.params, key.machine, key.environment, change.lo_commit


def _span(change: ChangePoint, order: CommitOrder) -> tuple[int, int]:
    lo, hi = order.index(change.lo_commit), order.index(change.hi_commit)
    return min(lo, hi), hi


def _width(change: ChangePoint, order: CommitOrder) -> int:
    lo, hi = _span(change, order)
    return hi - lo


def _join_exact(groups: list[Group], change: ChangePoint, lo: int, hi: int) -> None:
    home = next((g for g in groups if (g.lo, g.hi) == (lo, hi) and change.key not in g.keys), None)
    if home is None:
        home = _best(_fitting(groups, change, lo, hi), hi)
    if home is None:
        home = Group(lo, hi, sharp=True)
        groups.append(home)
    own = home.lo <= lo and hi <= home.hi
    home.narrow(lo, hi)
    home.add(change, own=own)


def _join_noisy(groups: list[Group], change: ChangePoint, lo: int, hi: int) -> None:
    home = _best(_fitting(groups, change, lo, hi), hi)
    if home is None:
        home = Group(lo, hi, drift=change.kind == "drift")
        groups.append(home)
    elif not home.sharp and not home.drift:
        home.narrow(lo, hi)
    home.add(change, own=not home.sharp or (home.lo <= lo and hi <= home.hi))


def _join_derived(groups: list[Group], change: ChangePoint, lo: int, hi: int) -> None:
    drift = change.kind == "drift"
    home = _best([g for g in groups if g.drift == drift and g.overlaps(lo, hi)], hi)
    if home is not None:
        home.add(change)


def _fitting(groups: Iterable[Group], change: ChangePoint, lo: int, hi: int) -> list[Group]:
    drift, way = change.kind == "drift", sign(change)
    return [
        g
        for g in groups
        if g.overlaps(lo, hi)
        and g.direction in (0, way)
        and g.drift == drift
        and change.key not in g.keys
        and _plausible(g, change, lo, hi)
    ]


def _plausible(group: Group, change: ChangePoint, lo: int, hi: int) -> bool:
    """Whether a change that may have come earlier or later is of the group's making.

    Inside a sharp group's range it is. From a wider range it joins only what explains half of it:
    else a loop that was turned up somewhere between two commits would be booked on whatever
    sharp change lies between them. Where no counter fixed the range, other commits than the group's would
    narrow it, so the change must be of the same kind.
    """
    if not group.sharp:
        return (group.lo, group.hi) == (lo, hi) or group.drift or _alike(group, change)
    if (group.lo <= lo and hi <= group.hi) or not math.isfinite(change.effect):
        return True
    return group.weight >= _EXPLAINED_SHARE * abs(change.effect)


def _alike(group: Group, change: ChangePoint) -> bool:
    """Whether a noisy change may tell where the group's happened: it is of the same workloads (construction
    and import, of which the ledger says nothing, only of themselves)."""
    families = ledger_families(change.key)
    return any(
        ledger_families(c.key) == families and (families or c.key.benchmark == change.key.benchmark)
        for c in group.changes
    )


def _best(groups: Sequence[Group], hi: int) -> Group | None:
    return max(groups, key=lambda g: (g.weight, -abs(g.hi - hi)), default=None)


def _distinct(groups: Iterable[Group]) -> list[Group]:
    """Groups of the same range and direction as one: they could not be told apart by name."""
    found: dict[tuple[int, int, bool], Group] = {}
    for group in groups:
        key = group.lo, group.hi, group.direction > 0
        if key in found:
            for change in group.changes:
                found[key].add(change)
        else:
            found[key] = group
    return list(found.values())


# What a user waits for says whether an event is a regression; without it exact work, and so on down. A width
# that grew from nothing (an infinite effect) must not outvote bytes and operations.
_SAYS = (Role.TIME, Role.WORK, Role.DTYPE, Role.ALLOCATOR, Role.MEMORY, Role.OTHER)


def say(change: ChangePoint) -> tuple[int, float]:
    """How much a change point says about an event's direction: greater tuples say more, (0, 0) nothing."""
    metric = change_metric(change)
    if metric.role not in _SAYS or metric.better is Better.NEITHER:
        return 0, 0.0
    return len(_SAYS) - _SAYS.index(metric.role), abs(change.effect)


def direction(changes: Iterable[ChangePoint]) -> int:
    """+1 for a regression, -1 for an improvement, 0 where nothing has a direction (a dtype alone)."""
    said = [(say(change), change) for change in changes]
    telling = [item for item in said if item[0][0]]
    return sign(max(telling, key=lambda item: item[0])[1]) if telling else 0


def sign(change: ChangePoint) -> int:
    """+1 for a regression, -1 for an improvement."""
    return 1 if change.worse else -1
