"""What exact work says of a series before its time is taken: nothing can have become slower, or who knows;
and what its counters do not see of a diff, so that time has to be looked at (docs/gate.md).
"""

import ast
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nbbench.host import (
    FIXED_COST_CALLS,
    IMPORT_WORKLOAD,
    TENSOR_CALLS,
    HostKind,
    HostMetric,
    HostWork,
    host_series,
)
from nbbench.ledger import FileDiff, ImageChange
from nbbench.model import EvidenceRecord, Outcome, Phase
from nbbench.subject.git import git
from nbbench.verdicts import Verdict
from nbbench.work.ledger_diff import LedgerDiff, tensor_counts
from nbbench.work.work_share import CostModel, Price, counted_as, price_of

if TYPE_CHECKING:
    from nbbench.gate.exact import ExactWork


_STATE = re.compile(r"torch\.|Tensor\.|UntypedStorage\.|os\.|ctypes\.")
"""Calls that shape what later phases work on: memory layout, threads, the environment."""

_LITERAL = re.compile(r"(?<![\w.])(?:\d[\w.]*(?:[eE][-+]?\d+)?|\.\d\w*|True|False|None)\b|'[^']*'|\"[^\"]*\"")
_PHASES = (Phase.IMPORT, Phase.CONSTRUCT, Phase.FIRST, Phase.WARM)


class Hidden(IntEnum):
    """How much of a change the counters may miss: nothing, what another value does, or a whole call."""

    NOTHING = 0
    VALUES = 1
    CALLS = 2


class Unseen(NamedTuple):
    """What of a phase may have become slower uncounted, and the line at which."""

    hidden: Hidden = Hidden.NOTHING
    where: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class CountedWork:
    """The change of a series' exact work.

    `equal` says that no count moved, `price` what moved costs of the series' time (None: counts do not
    tell), `unseen` what the counts miss; `floor` is the log ratio below which nothing counts.
    """

    equal: bool
    price: Price | None
    unseen: Unseen
    floor: float

    @property
    def settles(self) -> bool:
        """Whether nothing can have become slower, so that time need only be checked."""
        cheap = self.price is not None and self.price.hi <= self.floor
        return cheap and self.unseen.hidden is not Hidden.CALLS

    @property
    def sure(self) -> bool:
        """Whether that holds without any clean pair: not even a value in the program changed."""
        return self.settles and self.unseen.hidden is Hidden.NOTHING

    @property
    def record(self) -> EvidenceRecord:
        """What was counted, as evidence."""
        price, missed = self.price, self.unseen
        ends = {"lo": price.lo, "hi": price.hi} if price else {}
        where = {"where": missed.where, "name": missed.name} if missed.hidden is Hidden.CALLS else {}
        return EvidenceRecord("counted work", {"equal": self.equal, "settles": self.settles, **ends, **where})


class Changed(NamedTuple):
    """The code of head that the diff rewrites.

    `lines` are those of rewritten statements by path, `values` the statements with a number, a text or a
    truth value that base does not have there, as path and lines. `others` are files of the package that are
    not Python, `suspects` lines that the gate asks somebody to read.
    """

    lines: Mapping[str, frozenset[int]]
    values: tuple[tuple[str, frozenset[int]], ...] = ()
    others: tuple[str, ...] = ()
    suspects: tuple[EvidenceRecord, ...] = ()


def changed_code(files: Iterable[FileDiff], others: Iterable[str], source: Callable[[str], str]) -> Changed:
    """What a diff rewrites; lines that only moved are left out, whole statements are taken.

    `source` gives a file's text in head by its path.
    """
    left = Counter(line.strip() for file in files for hunk in file.hunks for line in hunk.removed)
    rewritten: dict[str, dict[int, str]] = {}
    for file in files:
        for hunk in file.hunks:
            for number, line in enumerate(hunk.added, start=hunk.head_start):
                text = line.strip()
                if left[text] > 0:
                    left[text] -= 1
                elif text and not text.startswith("#"):
                    rewritten.setdefault(file.head_path, {})[number] = text
    before = Counter(n for text, times in left.items() for n in _literals(text) * times)
    lines, values = {}, []
    for path, texts in rewritten.items():
        statements = _statements(source(path), texts)
        lines[path] = frozenset().union(*statements.values())
        for number, text in texts.items():
            new = Counter(_literals(text))
            values += [(path, statements[number])] if new - before else []
            before -= new
    return Changed(lines, tuple(values), tuple(others))


def _literals(line: str) -> list[str]:
    return _LITERAL.findall(line.partition("#")[0])


def _statements(text: str, lines: Iterable[int]) -> dict[int, frozenset[int]]:
    """The lines of the statement, or of the head of a block, in which each of these lines stands."""
    found = {line: frozenset((line,)) for line in lines}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno or node.lineno
            span = frozenset(range(node.lineno, last + 1))
            found |= {line: found[line] | span for line in span & found.keys()}
    return found


def other_files(git_dir: Path, base_tree: str, head_tree: str) -> tuple[str, ...]:
    """Files of two trees that differ and are no Python, or have odd names; SubjectError without objects."""
    out = git(git_dir, ["diff-tree", "-r", "-z", "--name-only", "--no-renames", base_tree, head_tree])
    names = out.decode("utf-8", "replace").split("\0")
    return tuple(name for name in names if name and not (name.endswith(".py") and name.isascii()))


def unseen(changed: Changed, works: Iterable[HostWork]) -> dict[Phase, Unseen]:
    """What the counters may miss in each phase, from the calls that head makes on changed lines.

    `works` is the host work of head: importing, and the workloads that a series runs.
    """
    if changed.others:
        return dict.fromkeys(_PHASES, Unseen(Hidden.CALLS, changed.others[0]))
    works = tuple(works)
    ran = {(c.path, c.line) for work in works for p in work.phases for c in p.counts}
    valued = any((path, line) in ran for path, lines in changed.values for line in lines)
    found = dict.fromkeys(_PHASES, Unseen(Hidden.VALUES if valued else Hidden.NOTHING))
    for work in works:
        for phase in work.phases:
            for one in phase.counts:
                here = one.line in changed.lines.get(one.path, ())
                if one.kind is not HostKind.OUTSIDE or not here or FIXED_COST_CALLS.fullmatch(one.name):
                    continue
                if phase.phase is not Phase.IMPORT and TENSOR_CALLS.fullmatch(one.name):
                    continue
                place = Unseen(Hidden.CALLS, f"{one.path}:{one.line}", one.name)
                found[phase.phase] = max(found[phase.phase], place)
                state = Hidden.CALLS if _STATE.match(one.name) else Hidden.VALUES
                for later in _PHASES[_PHASES.index(phase.phase) + 1 :]:
                    found[later] = max(found[later], place._replace(hidden=state))
    return found


_PRICED = ("B/pixel", "operations", HostMetric.STEPS)
_MOVED = (Outcome.REGRESSED, Outcome.IMPROVED)


def counted_work(
    work: "ExactWork", phase: Phase, workload: str | None, costs: CostModel, floor: float
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


def uncounted_calls(work: "ExactWork") -> list[EvidenceRecord]:
    """What changed lines call of which counts do not tell how long it takes, each once."""
    if not work.sides:
        return []
    places = unseen(work.changed, work.sides[1].values()).values()
    calls = dict.fromkeys((one.where, one.name) for one in places if one.hidden is Hidden.CALLS)
    return [EvidenceRecord("uncounted call", {"where": where, "name": name}) for where, name in calls]


def _price(work: "ExactWork", diff: LedgerDiff, costs: CostModel) -> Price | None:
    """The price of what a warm run does more; None where its operations, memory or image are others."""
    base, head = diff.base, diff.head
    others = diff.recomposed or base.dispatched != head.dispatched or diff.image is not ImageChange.SAME_BITS
    if others or tensor_counts(base) != tensor_counts(head) or head.peak_live_bytes > base.peak_live_bytes:
        return None
    found = price_of(costs, diff, work.sides)
    return found if math.isfinite(found.hi) else None


def with_prices(verdicts: Sequence[Verdict], work: "ExactWork", costs: CostModel) -> list[Verdict]:
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
