"""The project's budgets, kept in git beside the code that costs the work: written from one commit, held
against another."""

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, SubjectError, UsageError
from nbbench.host import IMPORT_WORKLOAD, PYTHON
from nbbench.ledger import Ledger
from nbbench.measure.ledgers import HOST, LEDGERS, ensure_work, workload_names
from nbbench.measure.process_env import torch_version
from nbbench.model import Commit, to_plain
from nbbench.record.asv_values import BadFileError, load_object, read_bytes
from nbbench.record.atomic import write_text
from nbbench.record.packed import noun_of
from nbbench.record.side_files import ledger_path, read_ledgers
from nbbench.subject.git import git, git_text
from nbbench.words import Say, plural
from nbbench.work.work_budget import BudgetRow, WorkBudget, exact_figures, grown_rows, made_budget

BUDGETS = "budgets.json"  # in the project's root, to be committed
_SCHEMA = "nbbench.budgets/1"
_NAMED = 3  # rows in a sentence


def counted_ledgers(settings: Settings, commit: Commit, names: Sequence[str], say: Say) -> dict[str, Ledger]:
    """Ledgers of these workloads with their host work, and of importing; what is missing is recorded.

    Raises InconclusiveError where nothing of the commit is on record then.
    """
    for kind in (LEDGERS, HOST):
        ensure_work(settings, kind, [commit], names, say=say)
    try:
        kept = read_ledgers(ledger_path(settings.results_dir, commit.tree, torch_version())).counted
    except (FileNotFoundError, BadFileError):
        kept = {}
    found = {name: one for name, one in kept.items() if name in (*names, IMPORT_WORKLOAD)}
    if not exact_figures(found):
        raise InconclusiveError(f"no exact work of {commit.short} could be recorded")
    return found


def set_budget(
    settings: Settings, commit: Commit, pattern: re.Pattern[str], growth: float | None, reason: str, say: Say
) -> tuple[WorkBudget, list[tuple[BudgetRow, BudgetRow]]]:
    """Write the exact work of a commit as the project's budget, rows of other workloads stay; with what grew.

    Raises UsageError, and writes nothing, where a row would allow more than before without a reason.
    """
    names = workload_names(settings, pattern)
    made = made_budget(counted_ledgers(settings, commit, names, say), growth)
    kept: tuple[BudgetRow, ...] = ()
    grown: list[tuple[BudgetRow, BudgetRow]] = []
    with suppress(UsageError):  # none, or a damaged one: git has the one before
        old = read_budget(settings)
        grown = grown_rows(old.rows, made)
        if _same_versions(old):
            renewed = {row.workload for row in made}
            kept = tuple(row for row in old.rows if row.workload not in renewed)
    if grown and not reason:
        named = ", ".join(f"{row.workload} {row.metric}" for _, row in grown[:_NAMED])
        more = f" and {len(grown) - _NAMED} more" if len(grown) > _NAMED else ""
        hint = "say why: --reason TEXT; it goes into the commit's message"
        raise UsageError(f"{plural(len(grown), 'row')} would allow more than now: {named}{more}", hint=hint)
    budget = WorkBudget(torch_version(), PYTHON, tuple(sorted((*kept, *made))))
    rows = ",\n  ".join(json.dumps(to_plain(row)) for row in budget.rows)
    head = f'"schema": "{_SCHEMA}",\n "torch": "{budget.torch}",\n "python": "{budget.python}"'
    write_text(settings.root / BUDGETS, f'{{{head},\n "rows": [\n  {rows}\n ]}}\n')
    return budget, grown


def commit_budget(settings: Settings, message: str) -> str:
    """Commit budgets.json alone, whatever else is staged; its hash, or '' where nothing changed.

    Raises UsageError where git refuses: outside of a repository, or without a name of the user.
    """
    try:
        git(settings.root, ["add", "--", BUDGETS])
        if not git(settings.root, ["status", "--porcelain", "--", BUDGETS]):
            return ""
        git(settings.root, ["commit", "--quiet", "--message", message, "--only", "--", BUDGETS])
        return git_text(settings.root, ["rev-parse", "HEAD"])
    except SubjectError as error:
        hint = "commit it by hand, with the reason"
        raise UsageError(f"{BUDGETS} is written, but not committed: {error}", hint=hint) from error


def read_budget(settings: Settings) -> WorkBudget:
    """The project's budget. Raises UsageError where there is none, or where it is none that can be read."""
    path = settings.root / BUDGETS
    if not path.exists():
        raise UsageError(
            f"there is no {BUDGETS}", hint="`nbbench budget set` makes it of a commit's exact work"
        )
    try:
        plain = load_object(read_bytes(path), path)
        if plain.pop("schema", None) != _SCHEMA:
            raise ValueError(f"its schema is not {_SCHEMA}")
        budget = noun_of(WorkBudget, plain)
        if not all(0.0 <= row.value <= row.most < math.inf for row in budget.rows):
            raise ValueError("a row's value or most is no usable number")
        return budget
    except (BadFileError, ValueError) as error:
        hint = "`nbbench budget set` makes it anew"
        raise UsageError(f"{BUDGETS} cannot be read: {error}", hint=hint) from error


def comparable_budget(settings: Settings) -> WorkBudget:
    """The project's budget, where it is of the torch and Python that run now.

    Raises InconclusiveError otherwise: exact work is exact for one version of each.
    """
    budget = read_budget(settings)
    if not _same_versions(budget):
        raise InconclusiveError(
            f"the budget is of torch {budget.torch} and Python {budget.python}; "
            f"{torch_version()} and {PYTHON} run here",
            hint="`nbbench budget set` renews it",
        )
    return budget


def _same_versions(budget: WorkBudget) -> bool:
    return (budget.torch, budget.python) == (torch_version(), PYTHON)
