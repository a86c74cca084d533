"""What an exported folder states of one machine's results of a commit. No I/O."""

import math
from dataclasses import dataclass
from datetime import datetime

from nbbench.ledger import Ledger
from nbbench.model import Commit, Flag, NotJudged, Result, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Everything that one exported folder states; figures are of one machine.

    `machine` is what results call it, `facts` what asv recorded of it. `measuring_s` is the time of all
    measuring processes together. `baseline` are the results of the commit that was measured before. The
    environment and `torch_env` are those of the export.
    """

    stamp: str = ""
    cluster: str
    plan: str
    command: str
    commit: Commit
    branch: str
    machine: str
    facts: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    environment: tuple[str, ...] = ()
    torch_env: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    measuring_s: float = 0.0
    results: tuple[Result, ...] = ()
    baseline: tuple[Result, ...] = ()
    baseline_commit: Commit | None = None
    flags: tuple[Flag, ...] = ()
    ledgers: tuple[Ledger, ...] = ()
    not_judged: tuple[NotJudged, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 where the commit has a figure, else 4."""
        return 0 if any(result.status is Status.OK for result in self.results) else 4

    @property
    def both(self) -> list[tuple[Result, Result]]:
        """The series that have a figure at the baseline and now, with both results."""
        before = {result.key: result for result in self.baseline if _has_value(result)}
        there = [(before[now.key], now) for now in self.results if now.key in before and _has_value(now)]
        return [(old, now) for old, now in there if old.unit == now.unit]


def _has_value(result: Result) -> bool:
    return result.status is Status.OK and result.value is not None and math.isfinite(result.value)
