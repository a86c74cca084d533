"""Two dataflow recordings aligned: which steps of head give what base never had, and where that begins.

docs/first_difference.md is the definition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from nbbench.dataflow import OUTSIDE, CallSite, Dataflow, Step
from nbbench.work.line_match import LineMatch, SiteNames


@dataclass(frozen=True, slots=True)
class Origins:
    """Of one recording: the steps that give unknown values on the way to the image, in their order.

    `first` are those among them whose inputs are known: there a difference begins.
    """

    unknown: tuple[int, ...]
    first: tuple[int, ...]


class DataflowDiff:
    """Base and head of one workload.

    A value is *known* when the other side has one of equal content and dtype anywhere, so steps that were
    moved, renamed, inserted or reordered are none that differ as long as what they give is known.
    """

    def __init__(self, base: Dataflow, head: Dataflow, match: LineMatch | None) -> None:
        self.base, self.head = base, head
        self._names = SiteNames(base.sites, head.sites, match)
        self._at: dict[tuple[str, str], list[int]] = defaultdict(list)  # steps of base by site and operation
        for number in range(len(base.steps)):
            site = base.site(number)
            self._at[self._names.base(site), site.op].append(number)
        self._turns = list(_turns(head, self._names))
        self.of_head, self.of_base = origins(head, base), origins(base, head)

    @property
    def same_image(self) -> bool:
        """Whether both recordings have the same image to the bit."""
        return _key(self.base, self.base.image[0]) == _key(self.head, self.head.image[0])

    @property
    def places(self) -> int:
        """At how many lines of head values begin to differ by themselves."""
        sites = (self.head.site(step) for step in self.of_head.first)
        return len({(site.path, site.line) for site in sites})

    def counterpart(self, step: int) -> int | None:
        """The step of base at the site of a step of head: that with the same inputs, or of the same turn."""
        site, turn = self.head.site(step), self._turns[step]
        found = self._at[self._names.head(site), site.op]
        inputs = self.inputs(self.head, step)
        if turn < len(found) and self.inputs(self.base, found[turn]) == inputs:
            return found[turn]
        same = [one for one in found if self.inputs(self.base, one) == inputs]
        return same[0] if same else found[turn] if turn < len(found) else None

    def start(self) -> tuple[int | None, int | None]:
        """The step of head at which the image begins to differ, and the step of base to compare with it.

        Where a step took another value that base has elsewhere (zeros, another column), the step that gave
        the value is asked instead.
        """
        if not self.of_head.first:
            return None, next(iter(self.of_base.first), None)
        step = self.of_head.first[0]
        base = self.counterpart(step)
        for _ in self.head.steps:
            if base is None or (other := self._other_input(step, base)) is None:
                break
            before = self.counterpart(other)
            if before is not None and self.outputs(self.base, before) == self.outputs(self.head, other):
                break
            step, base = other, before
        return step, base if base is not None else self._nearest(step)

    def same_site(self, base: int | None, head: int) -> bool:
        """Whether a step of base stands where one of head does."""
        place = self._names.head(self.head.site(head))
        return base is not None and self._names.base(self.base.site(base)) == place

    def iteration(self, step: int) -> tuple[int, int]:
        """How often a step of head had run at its place in the code, with this time, and how often in all."""
        place = self.head.steps[step].site
        runs = [number for number, one in enumerate(self.head.steps) if one.site == place]
        return runs.index(step) + 1, len(runs)

    @staticmethod
    def inputs(flow: Dataflow, step: int) -> list[tuple[int, str]]:
        """The contents that a step took."""
        return [_key(flow, value) for value, _ in flow.steps[step].inputs if value >= 0]

    @staticmethod
    def outputs(flow: Dataflow, step: int) -> list[tuple[int, str]]:
        """The contents that a step gave."""
        return [_key(flow, value) for value in flow.steps[step].outputs]

    def _other_input(self, step: int, base: int) -> int | None:
        """The step of head that gave the first input which is not what base's step took; None: all are."""
        taken = [pair for pair in self.head.steps[step].inputs if pair[0] >= 0]
        before = self.inputs(self.base, base)
        if len(taken) != len(before):
            return None
        changed = (
            pair[1] for pair, old in zip(taken, before, strict=True) if _key(self.head, pair[0]) != old
        )
        producer = next(changed, OUTSIDE)
        return None if producer == OUTSIDE else producer

    def _nearest(self, step: int) -> int | None:
        """Where base has no step at the site: its own origin in the same lines, or its first."""
        mine = [one for one in self.of_base.first if self.same_site(one, step)]
        return next(iter([*mine, *self.of_base.first]), None)


def origins(flow: Dataflow, other: Dataflow) -> Origins:
    """From the image back through the values that `other` does not have."""
    known = {value.key for value in other.values}
    unknown = [value.key not in known for value in flow.values]
    if flow.image[0] < 0 or not unknown[flow.image[0]]:
        return Origins((), ())
    waiting, seen, first, found = [flow.image[1]], {OUTSIDE}, [], []
    while waiting:
        if (number := waiting.pop()) in seen:
            continue
        seen.add(number)
        step = flow.steps[number]
        before = [producer for value, producer in step.inputs if value < 0 or unknown[value]]
        waiting += before
        if any(unknown[value] for value in step.outputs):
            found.append(number)
            if not _takes_unknown(step, unknown):
                first.append(number)
    found.sort()
    return Origins(tuple(found), tuple(sorted(first) or found[:1]))


def _takes_unknown(step: Step, unknown: list[bool]) -> bool:
    """Whether another step gave it a value that is unknown; from outside is where a difference begins."""
    return any(value >= 0 and unknown[value] and maker != OUTSIDE for value, maker in step.inputs)


def _turns(flow: Dataflow, names: SiteNames) -> Iterator[int]:
    """For each step, how many steps of its site and operation came before it."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    by_site: dict[CallSite, tuple[str, str]] = {site: (names.head(site), site.op) for site in flow.sites}
    for number in range(len(flow.steps)):
        key = by_site[flow.site(number)]
        yield counts[key]
        counts[key] += 1


def _key(flow: Dataflow, value: int) -> tuple[int, str]:
    return flow.values[value].key
