"""Two dataflow recordings aligned: which steps of head give what base never had, and where that begins:
the facts of "values first differ at …".

docs/first_difference.md is the definition.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nbbench.ledger import OUTSIDE, Dataflow
from nbbench.model import EvidenceRecord, to_plain
from nbbench.work.line_match import LineMatch, SiteNames


class FirstReason(StrEnum):
    """Why values first differ where they do."""

    DTYPE = "dtype"
    ORDER = "order of summation"
    RANDOM = "random numbers"
    PYTHON = "a value from Python"
    OPERATION = "another operation"
    VALUES = "values"


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """Where the values of a workload begin to differ on the way to its image, and why.

    `where` is `path:line` in head, `was` the step's place in base ('' for none); both are empty where torch
    dispatched nothing that differs. `relative` and `image` are the largest changes of an element over the
    largest element (None: cannot be compared); the image is `later` operations behind. `before` and `after`
    are what a dtype or a value was and is. `figures_before` and `figures_after` are the sum, the norm, the
    smallest and the largest element of what the step gave, in float64.
    """

    workload: str
    reason: FirstReason
    relative: float | None = None
    before: str = ""
    after: str = ""
    where: str = ""
    was: str = ""
    function: str = ""
    op: str = ""
    op_before: str = ""
    image: float | None = None
    later: int = 0
    figures_before: tuple[float, ...] = ()
    figures_after: tuple[float, ...] = ()

    @property
    def record(self) -> EvidenceRecord:
        """The difference as evidence."""
        return EvidenceRecord("first difference", to_plain(self))


_Key = tuple[int, str]
_Outputs = tuple[_Key, ...]
_ASKED = 1000  # steps of a site that are asked whether they took the same


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
        self._before = [value.key for value in base.values]
        self._after = [value.key for value in head.values]
        names = SiteNames(base.sites, head.sites, match)
        self._sites = [(names.base(site), site.op) for site in base.sites]
        self._head_sites = [(names.head(site), site.op) for site in head.sites]
        self._at: dict[tuple[str, str], list[int]] = defaultdict(list)  # steps of base by site and operation
        for number, step in enumerate(base.steps):
            self._at[self._sites[step.site]].append(number)
        self._head_at: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, step in enumerate(head.steps):
            self._head_at[self._head_sites[step.site]].append(number)
        # By site: the steps of base by what they give, those that are in base alone, the turns of head's.
        self._alone: dict[tuple[str, str], tuple[dict[_Outputs, int], list[int], dict[int, int]]] = {}
        self.of_base = _origins(base, self._before, self._after)
        self.of_head = _origins(head, self._after, self._before)

    @property
    def same_image(self) -> bool:
        """Whether both recordings have the same image to the bit."""
        return self._before[self.base.image[0]] == self._after[self.head.image[0]]

    def counterpart(self, step: int) -> int | None:
        """The step of base at the site of a step of head: one that gives the same, or else of those that
        are in base alone the one that takes the same, or the one of the same turn."""
        site = self._head_sites[self.head.steps[step].site]
        if site not in self._alone:
            before = {one: self._outputs(self.base, one) for one in self._at[site]}
            after = {one: self._outputs(self.head, one) for one in self._head_at[site]}
            given = set(after.values())
            first = {gave: one for one, gave in reversed(before.items())}
            left = [one for one, gave in before.items() if gave not in given]
            new = [one for one, gave in after.items() if gave not in first]
            self._alone[site] = first, left, {one: turn for turn, one in enumerate(new)}
        first, left, turns = self._alone[site]
        if (same := first.get(self._outputs(self.head, step))) is not None:
            return same
        inputs, turn = self.inputs(self.head, step), turns[step]
        usual = left[turn] if turn < len(left) else None
        if usual is not None and self.inputs(self.base, usual) == inputs:
            return usual
        return next((one for one in left[:_ASKED] if self.inputs(self.base, one) == inputs), usual)

    def start(self) -> tuple[int, int | None] | None:
        """The step of head at which the image begins to differ, and the step of base to compare with it.

        docs/first_difference.md has the rules. None where torch dispatched nothing that differs.
        """
        if not self.of_head.first:
            return None
        step = self._decided(self.of_head.first[0])
        base = self.counterpart(step)
        while base is not None and (other := self._other_input(step, base)) is not None:
            before = self.counterpart(other)
            if before is not None and self._outputs(self.base, before) == self._outputs(self.head, other):
                break
            step, base = other, before
        if base is None:  # base's own origin in the same lines, or its first
            here = [one for one in self.of_base.first if self.same_site(one, step)]
            base = next(iter([*here, *self.of_base.first]), None)
        return step, base

    def same_site(self, base: int | None, head: int) -> bool:
        """Whether a step of base stands where one of head does."""
        place = self._head_sites[self.head.steps[head].site][0]
        return base is not None and self._sites[self.base.steps[base].site][0] == place

    def inputs(self, flow: Dataflow, step: int) -> list[_Key]:
        """The contents that a step of base or head took."""
        keys = self._before if flow is self.base else self._after
        return [keys[value] for value, _ in flow.steps[step].inputs if value >= 0]

    def _outputs(self, flow: Dataflow, step: int) -> _Outputs:
        keys = self._before if flow is self.base else self._after
        return tuple(keys[value] for value in flow.steps[step].outputs)

    def _decided(self, step: int) -> int:
        """For a step that base has nowhere: the last number read before it that base read otherwise."""
        if self.counterpart(step) is None:
            for one in range(step - 1, -1, -1):
                value = self.head.steps[one].outputs[0]
                base = self.counterpart(one) if self.head.values[value].dtype == "number" else None
                if base is not None and self._after[value] != self._before[self.base.steps[base].outputs[0]]:
                    return one
        return step

    def _other_input(self, step: int, base: int) -> int | None:
        """The step of head that gave the first input which is not what base's step took; None: all are."""
        makers = [maker for value, maker in self.head.steps[step].inputs if value >= 0]
        took, before = self.inputs(self.head, step), self.inputs(self.base, base)
        pairs = zip(took, before, strict=False)
        other = (maker for maker, (one, two) in zip(makers, pairs, strict=False) if one != two)
        maker = next(other, OUTSIDE) if len(makers) == len(before) else OUTSIDE
        return None if maker == OUTSIDE else maker


def _origins(flow: Dataflow, keys: Sequence[_Key], other: Sequence[_Key]) -> Origins:
    """From the image back through the values that the other side does not have."""
    known = set(other)
    unknown = [key not in known for key in keys]
    if flow.image[0] < 0 or not unknown[flow.image[0]]:
        return Origins((), ())
    waiting, seen, first, found = [flow.image[1]], {OUTSIDE}, [], []
    while waiting:
        if (number := waiting.pop()) in seen:
            continue
        seen.add(number)
        step = flow.steps[number]
        waiting += [maker for value, maker in step.inputs if value < 0 or unknown[value]]
        if any(unknown[value] for value in step.outputs):
            found.append(number)
            given = [value for value, maker in step.inputs if value >= 0 and maker != OUTSIDE]
            if not any(unknown[value] for value in given):  # from outside is where a difference begins
                first.append(number)
    found.sort()
    return Origins(tuple(found), tuple(sorted(first) or found[:1]))
