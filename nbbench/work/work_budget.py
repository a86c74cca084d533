"""Budgets of exact work: what a workload may cost at most; no I/O."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nbbench import metrics
from nbbench.compiled import COMPILED_SERIES
from nbbench.ledger import Ledger
from nbbench.metrics import Role

_ROLES = (Role.WORK, Role.MEMORY, Role.HOST)


@dataclass(frozen=True, slots=True, order=True)
class BudgetRow:
    """What one exact metric of a workload was when the budget was set, and may be at `most`, in `unit`."""

    workload: str
    metric: str
    unit: str
    value: float
    most: float


@dataclass(frozen=True, slots=True)
class WorkBudget:
    """The budgets of a project: exact per torch and Python version."""

    torch: str
    python: str
    rows: tuple[BudgetRow, ...]


@dataclass(frozen=True, slots=True)
class BudgetCheck:
    """Budgets held against a commit: rows above with their values, rows below, and rows without a value."""

    over: tuple[tuple[BudgetRow, float], ...]
    under: tuple[tuple[BudgetRow, float], ...]
    missing: tuple[BudgetRow, ...]
    held: int


def grown_rows(old: Iterable[BudgetRow], new: Iterable[BudgetRow]) -> list[tuple[BudgetRow, BudgetRow]]:
    """The rows that allow more than they did, before and after, whichever torch and Python counted."""
    before = {(row.workload, row.metric, row.unit): row for row in old}
    pairs = ((before.get((row.workload, row.metric, row.unit)), row) for row in new)
    return [(was, row) for was, row in pairs if was is not None and row.most > was.most]


def exact_figures(ledgers: Mapping[str, Ledger]) -> dict[tuple[str, str], tuple[str, float]]:
    """Unit and value of every exact metric of work, memory and host work, by workload and metric."""
    found: dict[tuple[str, str], tuple[str, float]] = {}
    for workload, ledger in ledgers.items():
        for metric, (unit, figure) in metrics.LEDGER_METRICS.items() if not ledger.error else ():
            if metric in COMPILED_SERIES or not (ledger.pixels or metric in dict(ledger.counts)):
                continue
            if metrics.unit_role(unit) in _ROLES and (value := figure(ledger)) is not None:
                found[workload, metric] = unit, value
    return found


def made_budget(ledgers: Mapping[str, Ledger], growth: float | None) -> tuple[BudgetRow, ...]:
    """A row for each exact figure, that may grow by `growth` (0.01: one per cent), else as the gate lets."""
    return tuple(
        BudgetRow(workload, metric, unit, value, _most(unit, value, growth))
        for (workload, metric), (unit, value) in sorted(exact_figures(ledgers).items())
    )


def _most(unit: str, value: float, growth: float | None) -> float:
    if growth is not None:
        return value * (1.0 + growth)
    few = max(metrics.least_change(unit) - 1.0, 0.0)  # of units that count whole things
    return max(value * math.exp(metrics.least_effect(unit)), value + few)


def check_budget(rows: Iterable[BudgetRow], ledgers: Mapping[str, Ledger]) -> BudgetCheck:
    """What of the budgets is exceeded, undercut and not known."""
    figures = exact_figures(ledgers)
    over, under, missing, held = [], [], [], 0
    for row in rows:
        unit, value = figures.get((row.workload, row.metric), ("", math.nan))
        if unit != row.unit:
            missing.append(row)
        elif value > row.most:
            over.append((row, value))
        else:
            held += 1
            if value < row.value:
                under.append((row, value))
    return BudgetCheck(tuple(over), tuple(under), tuple(missing), held)
