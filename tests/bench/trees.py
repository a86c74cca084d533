"""`make trees`: other projects' asv results, viewed and counted: docs/trees.md.

NBBENCH_ASV_DATA names a folder of results trees (or of folders that hold one each). Each is given to `nbbench
view` as a user would, in a cache of its own, and its events are rated by rules that look at values alone.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
from tabulate import tabulate

from nbbench.history.curves import Curve, StoredCurves
from nbbench.history.history import RULES
from nbbench.history.ledger_series import CommitOrder
from nbbench.metrics import Role, metric_of
from nbbench.model import ChangePoint, Event
from nbbench.record.store import Store
from nbbench.record.viewed import view_settings

NEXT = 30
APART = 0.9
SIDE = 8
LEAST = math.log(1.1)
CLEAN_SIGMAS = 5.0
NEAR = 2

HEAD = f"""# Other projects' results

Written by `make trees`; do not edit. Each tree was given to `nbbench view`, without a repository, so its
commits stand by their dates. The rules look at nothing but values:

* An event *separates* where, in half of its series or more, a value of the {NEXT} before it and one of the
  {NEXT} after it stand on their sides in {APART:.0%} of all pairs (the area under the curve of Mann and
  Whitney 1947). It *holds* where {APART - 0.1:.0%} of the {NEXT} after lie beyond the middle between both
  levels. *Undone* are events that name the commit by which later ones had undone them. *Rated* are the
  events that have three values on both sides.
* *From level* is *or undone* where the values before an event begin with the series' event
  before it (three at least): a step that follows another within {NEXT} values leaves that one's level. The
  {NEXT} after it are as they are, whatever follows.
* A *clean step* is a place with {SIDE} values of a time on both sides that do not overlap, whose medians
  differ by 10 % and by {CLEAN_SIGMAS:.0f} sigmas of either side, and where the {NEXT} on both sides
  separate. It is found where an event has a change of that series there (± {NEAR} commits).

Rules were chosen on conda, django, empymod, kedro, xdsl and one half of numpy-bench. casabench, emg3d-bench,
geocat-comp-asv, MetPy-benchmark, mjwarp-asv, thematrix and uxarray-asv were fetched for this page alone, and
no rule was chosen on scipy-bench.

"""


@dataclass(frozen=True)
class Cost:
    """What a call of `nbbench view` took, in seconds and bytes; the processes it started are in it. The peak
    is of all of them together, each page of memory counted once, as seen four times a second."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Counted:
    """One event by the rules; all are None where it has too few values around it. `leaves` is whether it
    separates from the level that the event before it left behind."""

    event: Event
    separates: bool | None
    holds: bool | None
    leaves: bool | None

    @property
    def marked(self) -> bool:
        """Whether it says that it did not last."""
        return self.event.recovered_by is not None


def view(tree: Path, cache: Path) -> Cost:
    """One call of the command."""
    command = [sys.executable, "-m", "nbbench", "view", str(tree)]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    process, peak = psutil.Popen(command, env=environment, stdout=subprocess.DEVNULL), 0
    while process.poll() is None:
        peak = max(peak, _memory(process))
        with suppress(psutil.TimeoutExpired):
            process.wait(0.25)
    wall = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"nbbench view {tree} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(getattr(after, one) - getattr(before, one) for one in ("ru_utime", "ru_stime"))
    return Cost(wall, cpu, peak)


def _memory(process: psutil.Popen) -> int:
    """Proportional set size of a process and those it started, in bytes."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):  # it has ended
            total += one.memory_full_info().pss
    return total


class Tree:
    """The curves and events that the cache holds of a viewed tree."""

    def __init__(self, tree: Path, cache: Path) -> None:
        os.environ["XDG_CACHE_HOME"] = str(cache)
        settings = view_settings(str(tree), None)
        self.store = Store.open(settings.database_url, create=False, project=settings.project)
        self.order = CommitOrder(self.store.commits())
        self.events = self.store.events()
        self._curves = StoredCurves(self.store, self.order)
        self.changed = {c.key for e in self.events for c in e.changes}
        self.kept: dict[object, Curve] = {}
        self.clean, self.found = 0, 0
        placed: dict[object, list[tuple[int, int, bool]]] = {}
        for change in (c for e in self.events for c in e.changes if not c.fails):
            span = self.order.index(change.lo_commit), self.order.index(change.hi_commit)
            placed.setdefault(change.key, []).append((*span, change.effect > 0))
        self.begun = {key: sorted(hi for _, hi, _ in spans) for key, spans in placed.items()}
        self.missed: list[tuple[Curve, int]] = []
        for part in self._curves.parts():
            for _, curve in self._curves.read(part):
                if curve.key in self.changed:
                    self.kept[curve.key] = curve
                self._recall(curve, placed.get(curve.key, []))

    def _recall(self, curve: Curve, placed: Sequence[tuple[int, int, bool]]) -> None:
        if metric_of(curve.key, curve.unit, curve.kind).role is not Role.TIME:
            return
        places = np.array([self.order.index(commit) for commit in curve.commits])
        known = np.isfinite(curve.values) & (curve.values > 0)
        places, logs = places[known], np.log(curve.values[known])
        for step, up in clean_steps(logs):
            near = places[max(step - NEAR, 0)], places[min(step + NEAR, places.size - 1)]
            self.clean += 1
            if any(lo <= near[1] and near[0] <= hi and rises is up for lo, hi, rises in placed):
                self.found += 1
            else:
                self.missed.append((curve, int(places[step])))

    def counted(self) -> Iterator[Counted]:
        """Every event with what the values say of it."""
        for event in self.events:
            sides = [s for c in event.changes if (s := self.sides(c)) is not None]
            if not sides:
                yield Counted(event, None, None, None)
                continue
            apart = [_auc(before, after) for before, after, _, _ in sides]
            left = [_auc(before[-own:], after) for before, after, _, own in sides]
            held = [np.mean(after > middle) >= APART - 0.1 for _, after, middle, _ in sides]
            separates, leaves = (bool(np.median(areas) >= APART) for areas in (apart, left))
            yield Counted(event, separates, bool(np.mean(held) >= 0.5), leaves)

    def sides(self, change: ChangePoint) -> tuple[np.ndarray, np.ndarray, float, int] | None:
        """Up to NEXT values before and after a change and the middle of its levels, turned to rise; and how
        many of those before are at the level that it left (three at least)."""
        if change.fails or (curve := self.kept.get(change.key)) is None:
            return None
        places = np.array([self.order.index(commit) for commit in curve.commits])
        known = np.isfinite(curve.values)
        lo, hi = self.order.index(change.lo_commit), self.order.index(change.hi_commit)
        old = known & (places < lo)
        since = max((one for one in self.begun[change.key] if one < hi), default=0)
        before, after = curve.values[old][-NEXT:], curve.values[known & (places >= hi)][:NEXT]
        if min(before.size, after.size) < 3:
            return None
        way = 1.0 if change.after > change.before else -1.0
        own = max(int((old & (places >= since)).sum()), 3)
        return way * before, way * after, way * (change.before + change.after) / 2, own


def _auc(before: np.ndarray, after: np.ndarray) -> float:
    pairs = after[:, None] - before[None, :]
    return float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def clean_steps(logs: np.ndarray) -> list[tuple[int, bool]]:
    """The clean steps of logarithms of times (n,): first place of the new level, and whether it is higher."""
    if logs.size < 2 * SIDE:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(logs, SIDE)
    low, high, middle = windows.min(axis=1), windows.max(axis=1), np.median(windows, axis=1)
    sigma = 1.4826 * np.median(np.abs(windows - middle[:, None]), axis=1)
    before, after = slice(None, -SIDE), slice(SIDE, None)
    jump = middle[after] - middle[before]
    gap = np.maximum(low[after] - high[before], low[before] - high[after])
    clean = (gap > 0) & (
        np.abs(jump) >= np.maximum(LEAST, CLEAN_SIGMAS * np.maximum(sigma[after], sigma[before]))
    )
    found: list[tuple[int, bool]] = []

    def lasting(step: int) -> bool:
        apart = _auc(logs[max(step - NEXT, 0) : step], logs[step : step + NEXT])
        return max(apart, 1.0 - apart) >= APART

    for place in np.flatnonzero(clean)[np.argsort(-gap[clean])].tolist():
        if all(abs(place + SIDE - other) >= SIDE for other, _ in found) and lasting(place + SIDE):
            found.append((place + SIDE, bool(jump[place] > 0)))
    return found


def _trees(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))


def _row(name: str, tree: Tree) -> list[object]:
    every = [one for one in tree.counted() if one.separates is not None]
    apart, held = sum(bool(one.separates) for one in every), sum(bool(one.holds) for one in every)
    good = sum(bool(one.separates or one.marked) for one in every)
    left = sum(bool(one.leaves or one.marked) for one in every)
    size = max(len(every), 1)
    shares = (f"{count / size:.0%}" for count in (apart, held, good, left))
    steps = f"{tree.found / tree.clean:.1%} of {tree.clean:,}" if tree.clean else "none"
    return [
        name, tree.store.counts()["series"], f"{len(every)} of {len(tree.events)}", *shares, steps,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trees", description=__doc__)
    parser.add_argument("folder", nargs="?", default=os.environ.get("NBBENCH_ASV_DATA", ""))
    parser.add_argument("--only", default="", metavar="TEXT", help="trees whose name contains TEXT")
    parser.add_argument("--cache", type=Path, help="keep the databases there (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="file to write; standard output if not given")
    asked = parser.parse_args()
    if not asked.folder:
        raise SystemExit("name the folder of the trees, or set NBBENCH_ASV_DATA")
    events, costs = [], []
    with tempfile.TemporaryDirectory() as name:
        cache = asked.cache or Path(name)
        for folder in _trees(Path(asked.folder)):
            if asked.only in folder.name:
                first, again = view(folder, cache), view(folder, cache)
                events.append(_row(folder.name, Tree(folder, cache)))
                took = f"{first.wall_s:.1f} s", f"{first.cpu_s:.1f} s", f"{first.peak_bytes / 1e6:.0f} MB"
                costs.append([folder.name, *took, f"{again.wall_s:.2f} s"])
    heads = ["tree", "series", "events rated", "separate", "hold", "or undone", "from level", "clean steps"]
    table = tabulate(events, heads, tablefmt="pipe")
    cost = tabulate(costs, ("tree", "view", "processor time", "peak", "nothing new"), tablefmt="pipe")
    when = f"{datetime.now(UTC):%Y-%m-%d}, rules {RULES}"
    load = f"{when}: load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    page = f"{HEAD}{table}\n\n## What it takes\n\n{load}\n\n{cost}\n"
    print(page, file=asked.out.open("w", encoding="utf-8") if asked.out else sys.stdout, end="")


if __name__ == "__main__":
    main()
