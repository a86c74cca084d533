"""The commits of the branch in their order, and the ledgers as exact series over them: they exist for trees
that were never timed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from nbbench import metrics
from nbbench.host import HOST_TRACK
from nbbench.ledger import IMAGE, Ledger
from nbbench.metrics import phase_of
from nbbench.model import Commit, Phase, Point, Series, SeriesKey, Status


class CommitOrder:
    """Commits along the branch, oldest first.

    Commits with a position stand in the order of their positions, whatever their dates say.
    Others keep the place in which they were given (the store's order).
    """

    def __init__(self, commits: Iterable[Commit]) -> None:
        given = list(commits)
        placed = iter(sorted((c for c in given if c.position), key=lambda c: (c.position, c.date)))
        line = [next(placed) if commit.position else commit for commit in given]
        self.commits: tuple[Commit, ...] = tuple(line)
        self._index = {commit.hash: i for i, commit in enumerate(line)}

    def index(self, commit: str) -> int:
        """Place of a commit on the branch; -1 when it is unknown."""
        return self._index.get(commit, -1)

    def sort(self, points: Iterable[Point]) -> list[Point]:
        """Points in the order of their commits."""
        return sorted(points, key=lambda point: self._index[point.commit])

    def after(self, commit: str) -> str:
        """The commit that follows `commit` on the branch (it may not have been measured)."""
        return self.commits[min(self._index[commit] + 1, len(self.commits) - 1)].hash


ANY_MACHINE = "any"  # a ledger does not depend on the machine
LEDGER_SERIES = "ledger."  # what their benchmarks' names begin with
_VERSION = "1"


def ledger_series(
    commits: Sequence[Commit], ledgers: Mapping[str, Mapping[str, Ledger]], torch: str
) -> list[Series]:
    """One series for each workload and figure, over the commits whose tree has that ledger.

    `ledgers` are keyed by tree, then workload, all of one torch version, which is the series'
    environment. A ledger that failed is a failed point of what every other one counted: figures that are
    recorded for some trees only do not fail where nobody asked for them.
    """
    workloads = sorted({name for found in ledgers.values() for name in found})
    made = []
    for name in workloads:
        rows = [(c, ledgers[c.tree][name]) for c in commits if c.tree and name in ledgers.get(c.tree, {})]
        for metric, (unit, figure) in (metrics.LEDGER_METRICS | metrics.LEDGER_QUOTIENTS).items():
            key = SeriesKey(
                f"{LEDGER_SERIES}{metric}", _VERSION, (("workload", name),), ANY_MACHINE, f"torch{torch}"
            )
            points = [_point(commit, ledger, metric, figure) for commit, ledger in rows]
            # A tree that fails is one event, whatever else is counted of it.
            whole = None not in points and not metric.startswith(HOST_TRACK) and phase_of(key) is Phase.WARM
            kept = tuple(point for point in points if point and (whole or point.value is not None))
            if kept:
                made.append(Series(key, unit, "track", kept))
    return made


def _point(
    commit: Commit, ledger: Ledger, metric: str, figure: Callable[[Ledger], float | None]
) -> Point | None:
    """The figure of one ledger; None where it was not counted when the ledger was recorded, or varies.

    What stands for a scale has no pixels, and no figures but its orders.
    """
    if set(ledger.varies) - {IMAGE} and not metric.startswith(HOST_TRACK):
        return None
    if ledger.error or not (ledger.pixels or ledger.counts):
        return Point(commit.position, commit.hash, None, Status.FAILED)
    value = figure(ledger) if ledger.pixels else dict(ledger.counts).get(metric)
    return None if value is None else Point(commit.position, commit.hash, value, Status.OK)
