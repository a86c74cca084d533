"""The dtype audit of a commit, taken in a warm process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.measure.ledgers import open_tree
from nbbench.measure.warm_runs import call, warm_server
from nbbench.model import Commit, to_plain
from nbbench.probe.verdicts import overall


def dtype_snapshot(
    settings: Settings,
    commit: Commit,
    *,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """The audit of one commit as a JSON-ready document.

    `verdict` is that of the worst case, `neutral` when all are, `nothing ran` when no case gave
    an answer. Raises InconclusiveError when the measuring process itself fails.
    """
    say(f"auditing the dtypes of {commit.short}")
    with warm_server() as server:
        environment = open_tree(settings, server, commit)
        try:
            told = call(settings, server, environment, "benchmarks.dtypes:write")
        except InconclusiveError as error:
            raise InconclusiveError(f"the dtypes of {commit.short} could not be audited: {error}") from error
    cases: list[dict[str, Any]] = told["cases"]
    return {
        "commit": to_plain(commit),
        "torch": told["torch"],
        "verdict": overall(case["verdict"] for case in cases),
        "counts": dict(Counter(case["verdict"] for case in cases)),
        "cases": cases,
    }
