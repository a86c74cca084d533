"""What is known of an event when its cause is asked for, and the sentences that several causes share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from nbbench import units
from nbbench.disturbance import Disturbance
from nbbench.ledger import ImageChange
from nbbench.metrics import Role, change_role
from nbbench.model import ChangePoint, EventDirection, Phase
from nbbench.words import plural
from nbbench.work.ledger_diff import LedgerDiff

Evidence = tuple[str, ...]
"""Sentences, the most telling first."""

NO_TELEMETRY = Disturbance(processes=0)
_LINES_SHOWN = 5
_SHOWN = 2
SAME_WORK = "the ledger is unchanged: same operations, same bytes"


@dataclass(frozen=True, slots=True)
class SetupChange:
    """Something of the measuring itself that differs between the last results before a step and the first
    after it: the processor, torch, threads, asv's `number`."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Facts:
    """An event before its cause is known.

    `diffs` are those of the workloads that its series run; `before` and `after` how busy the machine was;
    `ceiling` and `canary` the log ratios by which the machine's ceiling and the reference kernels moved (None
    and 0.0 where nothing is on record).
    """

    changes: tuple[ChangePoint, ...]
    direction: EventDirection
    phase: Phase = Phase.WARM
    diffs: tuple[LedgerDiff, ...] = ()
    before: Disturbance = NO_TELEMETRY
    after: Disturbance = NO_TELEMETRY
    ceiling: float | None = None
    canary: float = 0.0
    setup: tuple[SetupChange, ...] = ()

    @property
    def way(self) -> int:
        """+1 for a regression, -1 for an improvement, 0 for a change without direction."""
        return {EventDirection.REGRESSION: 1, EventDirection.IMPROVEMENT: -1}.get(self.direction, 0)

    def of(self, *roles: Role) -> list[ChangePoint]:
        """The change points of series that play one of these roles."""
        return [change for change in self.changes if change_role(change) in roles]

    @property
    def roles(self) -> set[Role]:
        """The roles of the event's series, without derived ones."""
        return {change_role(change) for change in self.changes} - {Role.DERIVED}

    @property
    def exact(self) -> list[ChangePoint]:
        """The change points of exact counters."""
        return [c for c in self.changes if c.kind == "exact" and change_role(c) is not Role.DERIVED]

    @property
    def work(self) -> Evidence:
        """What the ledgers say of the event's workloads, in sentences; empty where nothing moved."""
        return tuple(sentence for diff in _telling(self.diffs) for sentence in describe_diff(diff))

    @property
    def work_or_same(self) -> Evidence:
        """The same, or that nothing moved; empty without ledgers."""
        return self.work or ((SAME_WORK,) if self.diffs else ())


def _telling(diffs: Iterable[LedgerDiff]) -> list[LedgerDiff]:
    """The diffs worth a sentence: the two that moved most, or the first whose image changed."""
    moved = [d for d in diffs if d.changed]
    moved.sort(key=lambda d: (-abs(d.cost_effect), -abs(d.effect), not d.new_image, d.workload))
    return moved[:_SHOWN]


def describe_diff(diff: LedgerDiff) -> list[str]:
    """A ledger difference in sentences, largest lines named."""
    said = [
        f"{diff.workload}: {diff.base.bytes_per_pixel:,.1f} → {diff.head.bytes_per_pixel:,.1f} B/pixel "
        f"({units.format_change(diff.effect)}), {diff.base.ops:,} → {diff.head.ops:,} operations"
    ]
    if diff.retyped:
        said.append(f"{diff.workload}: the output is {diff.head.output_dtype}, was {diff.base.output_dtype}")
    if diff.upcasts:
        before, after = diff.base.upcast_per_pixel, diff.head.upcast_per_pixel
        said.append(f"{diff.workload}: {before:,.1f} → {after:,.1f} B/pixel wider than asked")
    if diff.new_image:
        said.append(f"{diff.workload}: the image changed (sum × {diff.image_ratio:.6g}): not like for like")
    elif diff.image is ImageChange.SAME_BITS:
        said.append(f"{diff.workload}: the image is bit-identical")
    paying = [line for line in diff.lines if abs(line.delta) >= 0.5]
    said += [
        f"{line.where} {line.function}: {line.op} {line.dtype} "
        f"{line.before:,.1f} → {line.after:,.1f} B/pixel "
        f"({line.count_before} → {line.count_after} calls)"
        for line in paying[:_LINES_SHOWN]
    ]
    if rest := paying[_LINES_SHOWN:]:
        said.append(f"{plural(len(rest), 'more line')} ({sum(line.delta for line in rest):+,.1f} B/pixel)")
    return said


def largest_changes(changes: Iterable[ChangePoint]) -> Evidence:
    """The two change points that moved most, in their own figures."""
    moved = sorted(changes, key=lambda c: (-abs(c.effect), c.key.label))
    return tuple(
        f"{c.key.label}: {units.format_value(c.before, c.unit)} → {units.format_value(c.after, c.unit)}"
        f"{_interval(c)}"
        for c in moved[:_SHOWN]
    )


def _interval(change: ChangePoint) -> str:
    """The 95 % interval of a noisy effect; exact ones have none."""
    ends = change.effect_lo, change.effect_hi
    if change.kind == "exact" or not all(math.isfinite(end) for end in ends):
        return ""
    return f" ({units.format_change(ends[0])} to {units.format_change(ends[1])})"
