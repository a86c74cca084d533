"""The wall-clock history of the real branch, judged by what the ledger says.

The branch was measured again and again, commit after commit and in the order of `nbbench run`. Later parts
were recorded for one look at them: SINCE has been tuned on after that, SEEN and HELD_OUT have not. A
commit is an event of a series when its exact work differs from that of the commit before (by the product's
own rule, `nbbench.history.confirmed`) and its time differs by at least 10 %. How much the time differs is
read from the *other* recordings, over all commits of equal work, so that the noise of a series cannot make
its own truth. Changes between OPEN and 10 %, or so near to it that the other recordings cannot tell, are
neither right nor wrong; a commit with equal work is no event, whatever its time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nbbench.history.confirmed import Work, work_levels
from nbbench.ledger import Ledger
from nbbench.model import Commit
from nbbench.record.side_files import kept_torch, kept_work
from tests.bench.scorecard.metrics import Truth
from tests.bench.scorecard.planted import Order, one_by_one, with_bursts
from tests.bench.scorecard.record import SERIES
from tests.bench.scorecard.recorded import (
    aa_canaries,
    aa_residuals,
    beside,
    contention_ratios,
    load,
    value,
    waited,
)
from tests.bench.scorecard.recorded import contended as recorded_contended

RESULTS = Path(__file__).resolve().parents[3] / "results"
LEAST = np.log(1.10)
OPEN = np.log(1.05)
RECORDINGS = ("branch1", "branch2", "branch3")
"""Commit after commit; they tell the size of every event."""

SINCE = 2
"""The part that was held out for rules 26 and 27, and tuned on for rules 28."""

SEEN = (3, 4)
"""The parts held out for rules 28 and 29: nothing was tuned on them, but their figures were read."""

HELD_OUT = 5
"""The part of the data on which nothing was tuned and at which nobody looked before the table was made."""

PARTS = (
    ("branch1", "branch12", "branch13"),
    ("branch2", "branch3"),
    ("branch7", "branch10"),
    ("branch16", "branch17"),
    ("branch20", "branch21"),
    ("branch24", "branch25"),
)
DRAWN_PARTS = (
    ("branch4", "branch14"),
    ("branch5", "branch6"),
    ("branch8", "branch9"),
    ("branch18", "branch19"),
    ("branch22", "branch23"),
    ("branch26", "branch27"),
)
"""Recordings of each part; the drawn ones in the order in which `nbbench run` takes the commits. From
`branch12` on, and in that order, they have its canaries beside every value."""


def branch(
    half: int, *, drawn: bool = False, bursts: bool = False, names: tuple[str, ...] = ()
) -> list[Truth]:
    """One series a benchmark of the part ``half`` of the data, or of the recordings ``names``."""
    rng = np.random.default_rng([4, half])
    found = []
    for name in names or (DRAWN_PARTS if drawn else PARTS)[half]:
        together = []
        for series in range(_values(name).shape[1]):
            truth = _truth(name, series)
            if bursts:
                truth = _with_bursts(truth, series, rng, half)
            together.append(truth)
        found += _siblings(together)
    return found


def _siblings(together: list[Truth]) -> list[Truth]:
    """The series of one recording, each of which knows all."""
    machine = tuple(together)
    return [replace(one, siblings=machine, place=i) for i, one in enumerate(machine)]


def twice(half: int, *, drawn: bool = False, bursts: bool = False) -> list[Truth]:
    """The branch measured twice, by the mean of both logs; each confirms the other's short levels.

    Nothing was tuned on pairs, and the tuning half has none.
    """
    if half == 0:
        return []
    names = (DRAWN_PARTS if drawn else PARTS)[half]
    rng = np.random.default_rng([5, half])
    found = []
    for series in range(_values(names[0]).shape[1]):
        pair = [_truth(name, series, tested=names) for name in names]
        if bursts:
            pair = [_with_bursts(truth, series, rng, half) for truth in pair]
        found.append(_both(pair))
    return _siblings(found)


def _both(pair: list[Truth]) -> Truth:
    """Two collections of one series as one, on the commits of the first."""
    values = np.array([truth.values for truth in pair])
    marks = [np.zeros(t.values.size, dtype=bool) if t.contended is None else t.contended for t in pair]
    sung = [truth.canary for truth in pair if truth.canary is not None]
    return replace(
        pair[0],
        values=np.exp(np.log(values).mean(axis=0)),
        collections=values,
        contended=np.array(marks),
        canary=np.exp(np.log(sung).mean(axis=0)) if sung else None,
    )


def unchanged(half: int, order: Order = one_by_one) -> list[Truth]:
    """A/A recordings: one tree measured again and again, so that every report is a false alarm. With
    ``order`` each value is that of the commit which would have been measured then."""
    return _unchanged(aa_residuals(half), aa_canaries(half), order)


def unchanged_beside(half: int, name: str, order: Order = one_by_one) -> list[Truth]:
    """A/A series that were recorded with the canaries that `nbbench run` times, in one order for all: a
    commit is measured by every series in turn."""
    residuals, canaries = beside(half, name)
    turns = order(residuals[0].size, np.random.default_rng(6))
    part = slice(-turns.size, None) if half else slice(turns.size)
    return _siblings(
        [
            Truth(
                np.exp(one[turns]),
                canary=np.exp(canary[:, turns]),
                at=turns,
                contended=waited(name, i)[part][turns],
            )
            for i, (one, canary) in enumerate(zip(residuals, canaries, strict=True))
        ]
    )


def _unchanged(residuals: list[np.ndarray], canaries: list[np.ndarray], order: Order) -> list[Truth]:
    rng = np.random.default_rng(6)
    found: list[Truth] = []
    for start in range(0, len(residuals), len(SERIES)):  # each a recording
        turns = order(residuals[start].size, rng)
        part = slice(start, start + len(SERIES))
        pairs = zip(residuals[part], canaries[part], strict=True)
        found += _siblings(
            [Truth(np.exp(one[turns]), canary=np.exp(sung[:, turns]), at=turns) for one, sung in pairs]
        )
    return found


def contended(half: int) -> list[Truth]:
    """The branch as it was recorded while other processes came and went on the same core."""
    series = range(value(load()["branch_bursts_times"]).shape[1])
    return _siblings([_truth("branch_bursts", s) for s in series])[half::2]


def _truth(name: str, series: int, tested: tuple[str, ...] = ()) -> Truth:
    stored = load()
    position = stored[f"{name}_position"].astype(int)
    values = _values(name)[:, series]
    others = [other for other in RECORDINGS if other not in (name, *tested)]
    changes, open_places = _events(series, position, others)
    commits = tuple(_branch_commits()[int(place)] for place in position)
    work = list(SERIES)[series].replace("bandwidth-256", "bandwidth-512")
    known = np.isfinite(values)
    drawn = f"{name}_beside" in stored
    first = {i: next((j for j in range(i, values.size) if known[j]), i) for i in (*changes, *open_places)}
    return Truth(
        values,
        tuple(sorted({first[i] for i in changes})),
        tuple(sorted({first[i] for i in open_places})),
        ledgers=tuple(_ledgers(commit.tree).get(work) for commit in commits),
        commits=commits,
        contended=waited(name, series) if drawn else recorded_contended(name),
        canary=stored[f"{name}_beside"][:, series].T if drawn else None,
        at=stored[f"{name}_at"] if drawn else None,
    )


def _values(name: str) -> np.ndarray:
    """Times of a recording of the branch, (commits, series)."""
    stored = load()
    return stored[f"{name}_values"] if f"{name}_values" in stored else value(stored[f"{name}_times"])


@cache
def _branch_commits() -> dict[int, Commit]:
    """The branch's own commits by position."""
    lines = (json.loads(line) for line in (RESULTS / "commits.jsonl").read_text().splitlines())
    return {
        one["position"]: Commit(
            one["hash"], one["tree"], datetime.fromisoformat(one["date"]), "", one["position"]
        )
        for one in lines
        if one.get("position")
    }


@cache
def _ledgers(tree: str) -> Mapping[str, Ledger]:
    """The committed ledgers of a tree. A frame of 256 × 256 is taken to do what one of 512 × 512 does."""
    return kept_work(RESULTS, tree, kept_torch(RESULTS, [tree], "")).ledgers


def _events(series: int, position: np.ndarray, others: list[str]) -> tuple[list[int], list[int]]:
    """Places of events and of open changes."""
    stored = load()
    work_at = {int(p): w for p, w in zip(stored["work_position"], stored["work"][:, series], strict=True)}
    level = work_levels([_work(work_at.get(place)) for place in position.tolist()])
    times = [_by_position(other, series, position) for other in others]
    return _by_size(np.log(np.array(times)), level)


def _by_size(logs: np.ndarray, level: np.ndarray) -> tuple[list[int], list[int]]:
    """Places at which a level of equal work, of those numbered `level` (n,), begins with an event, and with
    an open change, by the `logs` (recordings, n) of times."""
    longest = logs[:, level == np.argmax(np.bincount(level))]
    noise = 1.4826 * float(np.nanmedian(np.abs(longest - np.nanmedian(longest))))
    changes, open_places = [], []
    for k in range(1, level.max() + 1):
        before, after = logs[:, level == k - 1], logs[:, level == k]
        before, after = before[np.isfinite(before)], after[np.isfinite(after)]
        if before.size == 0 or after.size == 0:
            continue
        effect = abs(float(np.median(after) - np.median(before)))
        # two standard errors of a difference of medians
        error = 2.0 * 1.25 * noise * np.sqrt(1 / before.size + 1 / after.size)
        place = int(np.argmax(level == k))
        if effect - error >= LEAST:
            changes.append(place)
        elif effect + error >= OPEN:
            open_places.append(place)
    return changes, open_places


def _work(figures: np.ndarray | None) -> Work | None:
    """Operations and bytes of a commit as the product has them; None where it cannot run."""
    if figures is None or not np.isfinite(figures).all():
        return None
    return Work(bytes=float(figures[1]), operations=float(figures[0]))


def _by_position(name: str, series: int, position: np.ndarray) -> np.ndarray:
    stored = load()
    at = dict(
        zip(
            stored[f"{name}_position"].astype(int).tolist(),
            _values(name)[:, series],
            strict=True,
        )
    )
    return np.array([at.get(int(p), np.nan) for p in position])


def _with_bursts(truth: Truth, series: int, rng: np.random.Generator, half: int) -> Truth:
    """Five bursts of 1 to 6 values in a row, as slow as recorded contended processes of the same
    benchmark."""
    order = np.arange(truth.values.size) if truth.at is None else np.argsort(truth.at)
    values, contended = truth.values.copy(), np.zeros(truth.values.size, dtype=bool)
    values[order], contended[order] = with_bursts(
        truth.values[order], contention_ratios(half)[:, series], 5, rng
    )
    return replace(truth, values=values, contended=contended | truth.contended)


_TIMED = {
    "bandwidth.Warm.time_run": "bandwidth-{}-{}",
    "vectorisation.Absorption.time_run": "absorption-{}",
    "vectorisation.MosaicDomains.time_run": "mosaic_domains-{}",
    "vectorisation.MultiSource.time_run": "multi_source-{}",
    "vectorisation.Oversample.time_run": "oversample-{}",
    "vectorisation.PhiSteps.time_run": "phi_steps-{}",
    "vectorisation.Sources.time_generate": "sources-3969",
    "vectorisation.Tricubic.time_interpolate": "tricubic-{}-{}",
}
"""Benchmarks whose times are committed, and the workloads that they run."""


def committed() -> list[Truth]:
    """The committed times of the reference machine with their samples, and when asv began each; truth from
    the committed ledgers."""
    commits = {commit.hash: commit for commit in _branch_commits().values()}
    found: dict[str, list[_Row]] = {}
    at: dict[str, float] = {}
    for path in sorted((RESULTS / "reference-2core").glob("*.json")):
        content = json.loads(path.read_text())
        commit = commits.get(content.get("commit_hash", ""))
        entries = content.get("results", {})
        if commit is None or not (entries.get("bandwidth.Warm.time_run") or [None])[0]:
            continue
        at[commit.hash] = float(entries["bandwidth.Warm.time_run"][3])
        for benchmark, workload in _TIMED.items():
            if not (entry := entries.get(benchmark)) or not entry[0]:
                continue
            runs = [workload.format(*(value.strip("'") for value in each)) for each in product(*entry[1])]
            samples = entry[11] if len(entry) > 11 else [None] * len(runs)
            for name, median, taken in zip(runs, entry[0], samples, strict=True):
                done = _ledgers(commit.tree).get(name)
                # what was skipped is NaN
                if median is not None and math.isfinite(median) and done is not None and not done.error:
                    found.setdefault(name, []).append(_Row(commit, float(median), tuple(taken or ()), done))
    kept = [sorted(rows, key=lambda row: row.commit.position) for rows in found.values() if len(rows) >= 20]
    every = {row.commit.hash: row.commit for rows in kept for row in rows}
    line = sorted(every.values(), key=lambda commit: commit.position)
    times = np.array([at[commit.hash] for commit in line])
    return _siblings([replace(_from_rows(rows, line), at=times) for rows in kept])


class _Row(NamedTuple):
    """A committed result with its exact work."""

    commit: Commit
    value: float
    samples: tuple[float, ...]
    done: Ledger


def _from_rows(rows: list[_Row], line: list[Commit]) -> Truth:
    """Truth of one committed series along the ``line`` of all measured commits, by its own values."""
    level = work_levels([Work(bytes=row.done.bytes_per_pixel, operations=row.done.ops) for row in rows])
    changes, open_places = _by_size(np.log([[row.value for row in rows]]), level)
    known = {row.commit.hash: row for row in rows}
    index = [i for i, commit in enumerate(line) if commit.hash in known]
    along = [known.get(commit.hash) for commit in line]
    return Truth(
        np.array([np.nan if row is None else row.value for row in along]),
        tuple(index[place] for place in changes),
        tuple(index[place] for place in open_places),
        tuple(() if row is None else row.samples for row in along),
        ledgers=tuple(None if row is None else row.done for row in along),
        commits=tuple(line),
    )
