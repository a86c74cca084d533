"""The dtype audit of a commit, taken in a warm process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.measure import warm_client
from nbbench.measure.ledgers import open_tree
from nbbench.measure.warm_runs import call, warm_server
from nbbench.model import Commit, to_plain
from nbbench.probe.verdicts import overall

_SCHEMA = "nbbench.dtype-snapshot/1"


def dtype_snapshot(
    settings: Settings,
    commit: Commit,
    *,
    say: Callable[[str], None] = lambda text: None,
    server: warm_client.WarmServer | None = None,
) -> dict[str, Any]:
    """The audit of one commit as a JSON-ready document with its own `schema` key.

    `verdict` is that of the worst case, `neutral` when all are, `nothing ran` when no case gave
    an answer. Raises InconclusiveError when the measuring process itself fails.
    """
    say(f"auditing the dtypes of {commit.short}")
    with warm_server(server) as warm:
        told = _audited(settings, warm, commit)
    cases: list[dict[str, Any]] = told["cases"]
    return {
        "schema": _SCHEMA,
        "commit": to_plain(commit),
        "torch": told["torch"],
        "verdict": overall(case["verdict"] for case in cases),
        "counts": _counts(cases),
        "cases": cases,
    }


def _counts(cases: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for case in cases:
        counts[case["verdict"]] = counts.get(case["verdict"], 0) + 1
    return counts


def _audited(settings: Settings, server: warm_client.WarmServer, commit: Commit) -> dict[str, Any]:
    environment = open_tree(settings, server, commit)
    try:
        found: dict[str, Any] = call(settings, server, environment, "benchmarks.dtypes:write")
    except InconclusiveError as error:
        raise InconclusiveError(f"the dtypes of {commit.short} could not be audited: {error}") from error
    return found
