"""What the gate does not take for a gain: lines by which a program can tell that it is measured or hide its
work from the counts, and less work than the counts can vouch for (docs/agents.md)."""

import ast
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, SubjectError
from nbbench.gate.unseen import Changed, uncounted_calls
from nbbench.measure.ledgers import open_tree
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import measure_roof
from nbbench.model import Commit, EvidenceRecord, NotJudged, Outcome
from nbbench.probe.resources import usable_cores
from nbbench.subject.git import git_text, list_tree
from nbbench.subject.repository import open_subject
from nbbench.verdicts import Verdict
from nbbench.work.ledger_diff import LedgerDiff
from nbbench.work.roofs import unreachable_rate

if TYPE_CHECKING:
    from nbbench.gate.exact import ExactWork

_HARNESS = re.compile(r"(?i)nbbench|\bASV_|asv_runner|TORCHDYNAMO_DISABLE|TORCH_COMPILE_DISABLE")
_ASKS = re.compile(
    r"sys\.(modules|_getframe|_current_frames|[gs]ettrace|[gs]etprofile|monitoring)\b"
    r"|inspect\.(stack|currentframe|trace)\b|traceback\.(extract|walk)_stack\b"
    r"|torch\._C\b|torch\.utils\._python_dispatch\b|gc\.get_(objects|referrers)\b"
)
_MEASURING = "torch.", "time.", "timeit.", "builtins."  # what counts, and what tells the time
_MOST_DATA = 4096
"""Characters of one text, and eighths of that many numbers of one statement: more is data, not a program."""
_RATE_JUMP = 2.0  # a bandwidth that grew by more asks whether the machine has it
_PYTHONS_OWN = re.compile(r"(builtins\.)?\w+|(str|list|tuple|dict|set|frozenset|bytes|int|float)\.\w+")
_FLOATS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "complex128": 8, "complex64": 4}


def suspect_lines(changed: Changed, source: Callable[[str], str]) -> tuple[EvidenceRecord, ...]:
    """The rewritten lines that look at who calls them, at what measures, or that change other packages."""
    found: dict[tuple[str, str], None] = {}
    for path, lines in sorted(changed.lines.items()):
        try:
            tree = ast.parse(source(path))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        names = _imported(tree)
        told = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            if getattr(node, "lineno", 0) in lines and not (
                isinstance(node, ast.Constant) and id(node) in told
            ):
                for what in _suspicions(node, names):
                    found[f"{path}:{node.lineno}", what] = None  # type: ignore[attr-defined]
    return tuple(EvidenceRecord("suspect line", {"where": where, "what": what}) for where, what in found)


def _imported(tree: ast.AST) -> dict[str, str]:
    """What the names of a module's imports stand for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {one.asname or one.name: f"{node.module or ''}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            for one in node.names:
                name = one.name if one.asname else one.name.partition(".")[0]
                found[one.asname or name] = name
    return found


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _suspicions(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        if len(text) > _MOST_DATA:
            yield "data"
        elif match := _HARNESS.search(text):
            yield match[0]
    elif isinstance(node, ast.List | ast.Tuple | ast.Dict):
        if sum(isinstance(one, ast.Constant) for one in ast.walk(node)) > _MOST_DATA // 8:
            yield "data"
    elif isinstance(node, ast.Attribute | ast.Name):
        name = _dotted(node, names)
        if match := _ASKS.search(name) or _HARNESS.search(name):
            yield match[0]
        changes = isinstance(node.ctx, ast.Store | ast.Del) and isinstance(node, ast.Attribute)
        if changes and name.startswith(_MEASURING) and not name.startswith("torch.backends."):
            yield f"{name} ="
    elif isinstance(node, ast.Import | ast.ImportFrom):
        base = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
        for one in node.names:
            if match := _ASKS.search(base + one.name) or _HARNESS.search(base + one.name):
                yield match[0]
    elif isinstance(node, ast.Call):
        setter = _dotted(node.func, names) == "setattr"
        changed = [_dotted(one, names) for one in node.args[:1]]
        if setter and any(f"{name}.".startswith(_MEASURING) for name in changed):
            yield f"setattr of {changed[0].partition('.')[0]}"


def with_refusals(
    verdicts: Sequence[Verdict], work: "ExactWork", *, policy: str, reviewed: bool
) -> list[Verdict]:
    """The verdicts on exact work without the gains that counts cannot vouch for, and one on suspect lines.

    Under policy `both` time decides about what counts may miss. `reviewed` says that a person read the diff.
    """
    if reviewed:
        return list(verdicts)
    doubts = {f"ledger {diff.workload}": said for diff in work.diffs if (said := _doubt(diff))}
    calls = [one for one in uncounted_calls(work) if not _PYTHONS_OWN.fullmatch(one.figures["name"])]
    found = []
    for one in verdicts:
        doubt = doubts.get(one.series)
        if doubt is None and calls and policy == "work" and one.series.startswith("ledger "):
            doubt = EvidenceRecord("gain beside a call", calls[0].figures)
        if doubt is not None and one.outcome is Outcome.IMPROVED:
            one = replace(one, outcome=Outcome.INCONCLUSIVE, evidence=(doubt, *one.evidence))
        found.append(one)
    if suspects := work.changed.suspects:
        found.append(Verdict("the diff", Outcome.INCONCLUSIVE, evidence=suspects))
    return found


def _doubt(diff: LedgerDiff) -> EvidenceRecord | None:
    """Why less work is no gain: nothing at all is counted any more, or values are narrower than at base."""
    if diff.head.bytes == 0 < diff.base.bytes:
        return EvidenceRecord("nothing counted")
    before, after = (
        {name: _FLOATS[name] for name, _ in one.bytes_by_dtype if name in _FLOATS}
        for one in (diff.base, diff.head)
    )
    narrow = [name for name, size in after.items() if before and size < min(before.values())]
    return EvidenceRecord("narrower", {"dtypes": sorted(narrow)}) if narrow else None


class TimedWork(NamedTuple):
    """The exact work of a warm run at base and head, and the seconds that pairs measured of both."""

    diff: LedgerDiff
    base_s: float
    head_s: float


def with_possible_rates(
    settings: Settings,
    server: Callable[[], WarmServer],
    base: Commit,
    judged: Sequence[Verdict | NotJudged],
    timed: Mapping[str, TimedWork],
) -> list[Verdict | NotJudged]:
    """The verdicts on time without the gains for which head would have to move bytes faster than any cache.

    The ceilings are measured where a rate more than doubled, in a process that has nothing of the subject. A
    base that is too fast says that its series does not run the workload, and what torch.compile fuses is not
    what is counted: neither is refused. Nor is anything where the ceilings cannot be measured.
    """
    gains = {one.series for one in judged if isinstance(one, Verdict) and one.outcome is Outcome.IMPROVED}
    fast = {
        name: (one.diff.base.bytes / one.base_s, one.diff.head.bytes / one.head_s)  # bytes per second
        for name, one in timed.items()
        if name in gains and not one.diff.head.notes
    }
    fast = {name: rates for name, rates in fast.items() if rates[1] > _RATE_JUMP * rates[0]}
    if not fast:
        return list(judged)
    try:
        environment = open_tree(settings, server(), base, slot="ceilings", bare=True)
        most = unreachable_rate(measure_roof(settings, server(), environment), usable_cores())
    except InconclusiveError:
        return list(judged)
    found: list[Verdict | NotJudged] = []
    for one in judged:
        rates = fast.get(one.series, (0.0, 0.0))
        if isinstance(one, Verdict) and rates[0] <= most < rates[1]:
            said = EvidenceRecord("impossible rate", {"rate": rates[1], "most": most})
            one = replace(one, outcome=Outcome.INCONCLUSIVE, evidence=(said, *one.evidence))
        found.append(one)
    return found


def suite_verdicts(settings: Settings, base: Commit, head: Commit) -> list[Verdict]:
    """One where the suite lies in the subject's own repository, head changes it, and the folder does not have
    that of base: who changes the measure is not judged by it."""
    try:
        subject = open_subject(settings)
        common = git_text(settings.root, ["rev-parse", "--path-format=absolute", "--git-common-dir"])
        if Path(common) != Path(subject.source):
            return []
        prefix = git_text(settings.root, ["rev-parse", "--show-prefix"])
        suite = [prefix + name for name in ("benchmarks", "asv.conf.json")]
        sides = [
            {path: said.split()[2] for said, path in list_tree(subject.git_dir, one.hash, *suite)}
            for one in (base, head)
        ]
    except SubjectError:
        return []
    changed = sorted(path for path in {*sides[0], *sides[1]} if sides[0].get(path) != sides[1].get(path))
    if f"{prefix}asv.conf.json" not in sides[0]:
        return []  # base has no suite yet
    here = {path: _blob_of(settings.root / path.removeprefix(prefix)) for path in changed}
    other = [path for path in changed if here[path] != sides[0].get(path)]
    said = EvidenceRecord("another suite", {"paths": other})
    return [Verdict("the suite", Outcome.INCONCLUSIVE, evidence=(said,))] if other else []


def _blob_of(path: Path) -> str | None:
    """git's name of a file's content; None where there is none."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
