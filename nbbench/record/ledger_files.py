"""Which ledgers speak: under which torch they were recorded, and which tell of the machine only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nbbench.ledger import Ledger
from nbbench.record.asv_values import BadFileError
from nbbench.record.side_files import LedgerFile, ledger_path, read_ledgers

# How the end of memory or disk, or somebody's kill, reads; another run may well succeed.
_MACHINE = re.compile(
    r"memoryerror|out of memory|(?:can(?:not|'t)|not enough memory|failed to) allocate|not enough memory|"
    r"no space left|sigkill|\bkilled\b|sigterm|timed? ?out|resource temporarily unavailable",
    re.IGNORECASE,
)


def machine_failed(ledger: Ledger) -> bool:
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


def recorded_ledgers(results_dir: Path, tree: str, torch: str = "") -> tuple[str, Mapping[str, Ledger]]:
    """The ledgers of a tree on disk, and the torch that they were recorded under.

    Those of `torch` where there are any, else of the newest version; ("", {}) where there are none. A
    ledger that tells of the machine only is none.
    """
    found: dict[str, LedgerFile] = {}
    if tree:
        pattern = ledger_path(results_dir, tree, "*").name
        for path in sorted((results_dir / "ledger").glob(pattern)):
            try:
                one = read_ledgers(path)
            except BadFileError:
                continue
            if one.tree == tree:
                found[one.torch] = one
    for name in (torch, *sorted(found, key=torch_order, reverse=True)):
        if name in found:
            kept = {w: one for w, one in found[name].workloads.items() if not machine_failed(one)}
            if kept:
                return name, kept
    return "", {}
