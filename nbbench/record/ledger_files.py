"""Which ledgers speak: under which torch they were recorded, and which tell of the machine only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from nbbench.compiled import CompiledWork
from nbbench.growth import ScaledWork
from nbbench.host import PYTHON, HostWork
from nbbench.ledger import Ledger
from nbbench.record.asv_values import BadFileError
from nbbench.record.side_files import LedgerFile, ledger_path, read_ledgers

_Counted = TypeVar("_Counted", ScaledWork, CompiledWork)
_Work = TypeVar("_Work", Ledger, HostWork, ScaledWork, CompiledWork)

# How the end of memory or disk, or somebody's kill, reads; another run may well succeed.
_MACHINE = re.compile(
    r"memoryerror|out of memory|(?:can(?:not|'t)|not enough memory|failed to) allocate|not enough memory|"
    r"no space left|file too large|sigkill|\bkilled\b|sigterm|timed? ?out|resource temporarily unavailable",
    re.IGNORECASE,
)


def machine_failed(ledger: Ledger | HostWork | ScaledWork | CompiledWork) -> bool:
    """Whether a ledger is missing because of the machine (out of memory, killed), and not of the commit."""
    return bool(ledger.error) and _MACHINE.search(ledger.error) is not None


def torch_order(torch: str) -> tuple[int, ...]:
    """Torch versions in their order: 2.9.1 is older than 2.13.0."""
    return tuple(int(part) for part in re.findall(r"\d+", torch))


def evidence_torch(trees: Mapping[str, int], installed: str = "") -> str:
    """The torch under which trees are compared, of the numbers of trees on record by torch.

    That is the installed one, or else the newest, provided that it covers half of what the best one does:
    after an upgrade the first few trees do not take the evidence of all others away. Empty where there are
    none.
    """
    enough = max(trees.values(), default=0) / 2
    good = [torch for torch, count in trees.items() if count >= enough]
    if installed in good:
        return installed
    return max(good, key=torch_order, default="")


def kept_torch(results_dir: Path, trees: Iterable[str], installed: str) -> str:
    """The torch with which the ledgers of these trees on disk were recorded: see `evidence_torch`."""
    counts: dict[str, int] = {}
    for tree in filter(None, set(trees)):
        before, after = ledger_path(results_dir, tree, "*").name.split("*")
        for path in (results_dir / "ledger").glob(f"{before}*{after}"):
            torch = path.name.removeprefix(before).removesuffix(after)
            counts[torch] = counts.get(torch, 0) + 1
    return evidence_torch(counts, installed)


def kept_ledgers(results_dir: Path, tree: str, torch: str) -> Mapping[str, Ledger]:
    """The ledgers of a tree on disk by workload, but for those that tell of the machine only."""
    return _kept(results_dir, tree, torch, lambda file: file.ledgers)


def kept_host(results_dir: Path, tree: str, torch: str) -> Mapping[str, HostWork]:
    """The host work of a tree on disk by workload, counted under this Python; see `kept_ledgers`."""
    return _kept(results_dir, tree, torch, lambda file: file.host_under(PYTHON))


def kept_scales(results_dir: Path, tree: str, torch: str) -> Mapping[str, ScaledWork]:
    """What the scales of a tree counted, by name, under this Python; see `kept_ledgers`."""
    return _kept(results_dir, tree, torch, lambda file: _of_this_python(file.scaled))


def kept_compiled(results_dir: Path, tree: str, torch: str) -> Mapping[str, CompiledWork]:
    """The compiled work of a tree on disk by workload, recorded under this Python; see `kept_ledgers`."""
    return _kept(results_dir, tree, torch, lambda file: _of_this_python(file.compiled))


def _kept(
    results_dir: Path, tree: str, torch: str, part: Callable[[LedgerFile], Mapping[str, _Work]]
) -> dict[str, _Work]:
    try:
        found = part(read_ledgers(ledger_path(results_dir, tree, torch)))
    except BadFileError:
        return {}
    return {name: one for name, one in found.items() if not machine_failed(one)}


def _of_this_python(works: Mapping[str, _Counted]) -> dict[str, _Counted]:
    return {name: one for name, one in works.items() if one.python == PYTHON}


def lacking(results_dir: Path, tree: str, torch: str, workloads: Iterable[str]) -> list[str]:
    """Those of the workloads whose ledger, or what tensors do while it starts up, is not kept for a tree."""
    try:
        starts = set(read_ledgers(ledger_path(results_dir, tree, torch)).starts)
    except BadFileError:
        starts = set()
    kept = kept_ledgers(results_dir, tree, torch)
    return [name for name in workloads if name not in kept or name not in starts]
