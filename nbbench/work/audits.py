"""The roofline and the dtype audit of a commit, measured now in warm processes."""

import re
from collections import Counter
from typing import Any

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.ledger import Roof
from nbbench.measure.ledgers import open_tree, workload_ledgers, workload_names
from nbbench.measure.process_env import measuring
from nbbench.measure.warm_runs import Servers, call, measure_roof, measure_runs
from nbbench.model import Commit, to_plain
from nbbench.probe.verdicts import overall
from nbbench.words import Say
from nbbench.work.roofs import Achieved, classify


def measure_roofline(
    settings: Settings, commit: Commit, pattern: re.Pattern[str], *, say: Say
) -> tuple[Roof, list[Achieved], list[str]]:
    """Measure ceilings and workloads in one session of warm processes; with what should be known besides.

    Raises InconclusiveError when no workload runs.
    """
    notes: list[str] = []
    workload_names(settings, pattern)  # an unknown one is told before a server has started
    with measuring(settings.state_dir), Servers() as servers:
        server = servers.full
        ledgers = workload_ledgers(settings, commit, pattern, say=say, servers=servers)
        environment = open_tree(settings, server, commit)
        say("measuring the machine's ceilings")
        roof = measure_roof(settings, server, environment)
        seconds: dict[str, list[float]] = {}
        for number, (name, ledger) in enumerate(ledgers.items(), start=1):
            say(f"[{number}/{len(ledgers)}] {name}")
            try:
                if ledger.error:
                    raise InconclusiveError(f"{name}: {ledger.error}")
                seconds[name] = measure_runs(settings, server, environment, name)
            except InconclusiveError as error:
                notes.append(str(error))
    rows = [classify(ledgers[name], spent, roof) for name, spent in seconds.items()]
    if not rows:
        raise InconclusiveError(f"no workload of {commit.short} ran: {'; '.join(notes)}")
    return roof, rows, notes


def dtype_snapshot(settings: Settings, commit: Commit, *, say: Say) -> dict[str, Any]:
    """The audit of one commit as a JSON-ready document.

    `verdict` is that of the worst case, `neutral` when all are, `nothing ran` when no case gave
    an answer. Raises InconclusiveError when the measuring process itself fails.
    """
    say(f"auditing the dtypes of {commit.short}")
    with Servers() as servers:
        server = servers.full
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
