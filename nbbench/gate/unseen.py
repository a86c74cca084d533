"""What the counters of exact work do not see of a diff, so that time has to be looked at (docs/gate.md).

A call to the outside counts as one, however long it takes. So a changed line that makes one may cost more
with equal counts, unless its cost is known to be fixed, or is a tensor operation that the ledger counts. Nor
is it seen what another value makes of a call that stands elsewhere.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from nbbench.host import HostKind, HostWork
from nbbench.ledger import FileDiff
from nbbench.model import EvidenceRecord, Phase
from nbbench.subject.git import git
from nbbench.work.price import Price

_FIXED = re.compile(
    r"__build_class__|len|isinstance|issubclass|getattr|hasattr|setattr|callable|id|abs|iter|next|super"
    r"|list\.append|dict\.(get|keys|values|items)|set\.add|str\.(startswith|endswith)"
    r"|math\.(?!factorial|comb|perm|gcd|lcm|prod|fsum|dist|sumprod)\w+|importlib\._bootstrap\..*"
    r"|Tensor\.(size|dim|numel|element_size|stride|item)|torch\._tensor\.Tensor\.(__len__|__iter__)"
)
"""Calls whose cost does not depend on what they are given; what is imported is counted."""

_TENSORS = re.compile(
    r"(torch\.(linalg\.|special\.|nn\.functional\.|_tensor\.Tensor\.)?|Tensor\.)"
    r"(?!set_|use_|get_|save|load|compile|manual_|from_|numpy|tolist|untyped_|storage|share_|pin_|apply|map_"
    r"|as_strided|contiguous|permute|transpose|movedim|moveaxis|swap|expand|t$|unfold|requires_grad|backward)\w+"
)
"""Operations that are counted by bytes, but while importing. Views that change the order of memory are
not among them: the same bytes can then take longer."""

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
    not Python.
    """

    lines: Mapping[str, frozenset[int]]
    values: tuple[tuple[str, frozenset[int]], ...] = ()
    others: tuple[str, ...] = ()


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
                if one.kind is not HostKind.OUTSIDE or not here or _FIXED.fullmatch(one.name):
                    continue
                if phase.phase is not Phase.IMPORT and _TENSORS.fullmatch(one.name):
                    continue
                place = Unseen(Hidden.CALLS, f"{one.path}:{one.line}", one.name)
                found[phase.phase] = max(found[phase.phase], place)
                state = Hidden.CALLS if _STATE.match(one.name) else Hidden.VALUES
                for later in _PHASES[_PHASES.index(phase.phase) + 1 :]:
                    found[later] = max(found[later], place._replace(hidden=state))
    return found
