"""What is on record around a commit range: ledgers, telemetry, the setup."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from nbbench.disturbance import Disturbance, mean_disturbance
from nbbench.history.causes.facts import SetupChange, setup_changes
from nbbench.history.changes import History
from nbbench.history.order import CommitOrder
from nbbench.history.telemetry import machine_jump
from nbbench.host import IMPORT_WORKLOAD
from nbbench.ledger import Ledger
from nbbench.metrics import Role, change_role, phase_of
from nbbench.model import ChangePoint, EvidenceRecord, ProcessRecord, SeriesKey
from nbbench.work.host_diff import HostDiff, diff_all
from nbbench.work.ledger_diff import LedgerDiff, diff_ledgers
from nbbench.work.scaling import diff_scales
from nbbench.workloads import ledger_families, workload_of

_NEIGHBOURS = 5


class Around:
    """Ledgers, telemetry and setups by place on the branch."""

    def __init__(self, history: History) -> None:
        self.order: CommitOrder = CommitOrder(history.commits)
        self.commits = self.order.commits
        self._ledgers: Mapping[str, Mapping[str, Ledger]] = history.ledgers
        self._records = _by_commit(history.records)
        self._setups = history.setups
        self._tolerance = history.tolerance
        self._host, self._scaled = history.host, history.scaled
        self._diffs: dict[tuple[str, int, int], LedgerDiff | None] = {}

    def same_tree(self, lo: int, hi: int) -> bool:
        """Whether the measured paths are known to be the same before `lo` and up to `hi`."""
        trees = {commit.tree for commit in self.commits[max(lo - 1, 0) : hi + 1]}
        return len(trees) == 1 and hi > 0 and "" not in trees

    def diffs(self, key: SeriesKey, lo: int, hi: int) -> list[LedgerDiff]:
        """Ledger differences of what a series runs: its own workload, or all of its families where it is not
        known which. Empty where no ledger belongs to the series, or none is on record."""
        named = workload_of(key)
        if named is not None and (own := self._diff(named, lo, hi)) is not None:
            return [own]
        families = ledger_families(key)
        names = sorted(name for name in self._usable(hi) if families and name.startswith(families))
        return [diff for name in names if (diff := self._diff(name, lo, hi)) is not None]

    def _diff(self, workload: str, lo: int, hi: int) -> LedgerDiff | None:
        """`hi` against the nearest commit before `lo` that has a usable ledger of the workload's family.

        None where that one lacks the workload: what moved it may have happened before.
        """
        place = (workload, lo, hi)
        if place not in self._diffs:
            self._diffs[place] = self._find_diff(workload, lo, hi)
        return self._diffs[place]

    def _find_diff(self, workload: str, lo: int, hi: int) -> LedgerDiff | None:
        head = self._usable(hi).get(workload)
        family = workload.partition("-")[0] + "-"
        if head is None:
            return None
        for i in range(lo - 1, -1, -1):
            base = self._usable(i)
            if workload in base:
                return diff_ledgers(base[workload], head, tolerance=self._tolerance)
            if any(name.startswith(family) for name in base):
                return None
        return None

    def host(self, changes: Iterable[ChangePoint], lo: int, hi: int) -> tuple[HostDiff, ...]:
        """The host work behind these changes, by line: `hi` against the nearest commit before `lo` that has
        some on record. Lines are matched by their functions."""
        keys = [(c.unit, c.key) for c in changes if change_role(c) is Role.HOST]
        asked = {(unit, phase_of(key)) for unit, key in keys}
        names = {workload_of(key) for _, key in keys} | {IMPORT_WORKLOAD}
        if not asked or not (head := self._host(self.commits[hi].tree)):
            return ()
        kept = (self._host(self.commits[i].tree) for i in range(lo - 1, -1, -1))
        base = {n: one for n, one in next(filter(None, kept), {}).items() if n in names}
        return tuple(one for one in diff_all(base, head) if (one.metric, one.phase) in asked)

    def orders(self, changes: Iterable[ChangePoint], lo: int, hi: int) -> tuple[EvidenceRecord, ...]:
        """The changes of order behind these, with the lines: `hi` against the nearest scales before `lo`."""
        keys = [change.key for change in changes if change.unit == "order"]
        asked = {(workload_of(key), key.benchmark.rpartition(".")[2]) for key in keys}
        if not asked:
            return ()
        kept = (self._scaled(self.commits[i].tree) for i in range(lo - 1, -1, -1))
        found = diff_scales(next(filter(None, kept), {}), self._scaled(self.commits[hi].tree))
        return tuple(one.record for one in found if (one.scale, one.quantity.metric) in asked)

    def _usable(self, index: int) -> dict[str, Ledger]:
        found = self._ledgers.get(self.commits[index].tree, {})
        return {name: ledger for name, ledger in found.items() if not ledger.error and ledger.pixels}

    def disturbance(self, lo: int, hi: int, machines: Collection[str]) -> tuple[Disturbance, Disturbance]:
        """Disturbance of the commits measured just before `lo`, and from `hi` on."""
        before, after = self._records_around(lo, hi, machines)
        return mean_disturbance(before), mean_disturbance(after)

    def canary_jump(self, lo: int, hi: int, changes: Iterable[ChangePoint]) -> float:
        """How far the canaries beside the changed series moved, as a log ratio; 0.0 where they did not."""
        changes = tuple(changes)
        before, after = self._records_around(lo, hi, {c.key.machine for c in changes})
        return machine_jump(before, after, {c.key.benchmark for c in changes})

    def _records_around(
        self, lo: int, hi: int, machines: Collection[str]
    ) -> tuple[list[ProcessRecord], list[ProcessRecord]]:
        """Telemetry of the commits measured just before `lo`, and of those from `hi` on."""

        def gather(places: Iterable[int]) -> list[ProcessRecord]:
            measured = (self._records.get(self.commits[i].hash, []) for i in places)
            here = ([r for r in records if r.machine in machines or not r.machine] for records in measured)
            return [r for records in [found for found in here if found][:_NEIGHBOURS] for r in records]

        return gather(range(lo - 1, -1, -1)), gather(range(hi, len(self.commits)))

    def setup(self, lo: int, hi: int, changes: Iterable[ChangePoint]) -> tuple[SetupChange, ...]:
        """What of the measuring itself is another from `hi` on than before `lo`, for all of these series."""
        commits = [commit.hash for commit in self.commits]
        noisy = [c for c in changes if c.kind != "exact"]
        return setup_changes(self._setups, noisy, commits[:lo], commits[hi:])


def _by_commit(records: Iterable[ProcessRecord]) -> Mapping[str, list[ProcessRecord]]:
    grouped: dict[str, list[ProcessRecord]] = {}
    for record in records:
        grouped.setdefault(record.commit, []).append(record)
    return grouped
