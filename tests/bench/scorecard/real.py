"""The wall-clock history of the real branch, judged by what the ledger says.

The branch was measured several times, commit after commit. A commit is an event of a series when its exact
work differs from that of the commit before (beyond WORK_CHANGES) and its time differs by at least 10 %. How
much the time differs is read from the *other* recordings, over all commits of equal work, so that the noise
of a series cannot make its own truth. Changes between OPEN and 10 %, or so near to it that the other
recordings cannot tell, are neither right nor wrong; a commit with equal work is no event, whatever its time.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from nbbench.stats.short_levels import confirmed_by_repeats
from tests.bench.scorecard.metrics import Truth
from tests.bench.scorecard.planted import with_bursts
from tests.bench.scorecard.recorded import aa_canaries, aa_residuals, beside, contention_ratios, load, value
from tests.bench.scorecard.recorded import contended as recorded_contended

WORK_CHANGES = 1e-6
"""Operations or bytes that differ at all: commit 220 has one operation more, other values in it, and takes
35 % longer in every recording."""

LEAST = np.log(1.10)
OPEN = np.log(1.05)
SHORT = 3
"""Levels of fewer commits than this need the ledger's word (docs/statistics.md)."""

RECORDINGS = ("branch1", "branch2", "branch3")


def branch(half: int, *, bursts: bool = False) -> list[Truth]:
    """One series a benchmark: the first recording for tuning (0), the later ones for the table (1)."""
    names = RECORDINGS[:1] if half == 0 else RECORDINGS[1:]
    rng = np.random.default_rng([4, half])
    found = []
    for name in names:
        for series in range(value(load()[f"{name}_times"]).shape[1]):
            truth = _truth(name, series)
            if bursts:
                truth = _with_bursts(truth, series, rng, half)
            found.append(truth)
    return found


def twice(half: int, *, bursts: bool = False) -> list[Truth]:
    """The branch measured twice, by the mean of both logs; each confirms the other's short levels.

    The table has the second and third recording; nothing was tuned on pairs, and the tuning half has none.
    """
    if half == 0:
        return []
    rng = np.random.default_rng([5, half])
    found = []
    for series in range(value(load()["branch2_times"]).shape[1]):
        pair = [_truth(name, series, tested=("branch2", "branch3")) for name in ("branch2", "branch3")]
        if bursts:
            pair = [_with_bursts(truth, series, rng, half) for truth in pair]
        logs = np.log([truth.values for truth in pair])
        marks = [np.zeros(t.values.size, dtype=bool) if t.contended is None else t.contended for t in pair]
        usable = np.where(np.array(marks), np.nan, logs)
        repeated = confirmed_by_repeats(usable, 3) | confirmed_by_repeats(logs, 3)
        first = pair[0]
        found.append(
            Truth(
                np.exp(logs.mean(axis=0)),
                first.changes,
                first.open,
                confirmed=first.confirmed,
                repeated=repeated,
                contended=marks[0] | marks[1],
            )
        )
    return found


def unchanged(half: int) -> list[Truth]:
    """A/A recordings: one tree measured again and again, so that every report is a false alarm."""
    both = zip(aa_residuals(half), aa_canaries(half), strict=True)
    return [Truth(np.exp(residuals), canary=np.exp(canary)) for residuals, canary in both]


def unchanged_beside(half: int, name: str) -> list[Truth]:
    """A/A series that were recorded with the canaries that `nbbench run` times."""
    values, canaries = beside(half, name)
    return [Truth(np.exp(v), canary=np.exp(c)) for v, c in zip(values, canaries, strict=True)]


def contended(half: int) -> list[Truth]:
    """The branch as it was recorded while other processes came and went on the same core."""
    series = range(value(load()["branch_bursts_times"]).shape[1])
    return [_truth("branch_bursts", s) for s in series if s % 2 == half]


def _truth(name: str, series: int, tested: tuple[str, ...] = ()) -> Truth:
    stored = load()
    position = stored[f"{name}_position"].astype(int)
    values = value(stored[f"{name}_times"])[:, series]
    others = [other for other in RECORDINGS if other not in (name, *tested)]
    changes, open_places, level = _events(series, position, others)
    known = np.isfinite(values)
    first = {i: next((j for j in range(i, values.size) if known[j]), i) for i in (*changes, *open_places)}
    return Truth(
        values,
        tuple(sorted({first[i] for i in changes})),
        tuple(sorted({first[i] for i in open_places})),
        confirmed=_short_levels(level),
        contended=recorded_contended(name),
    )


def _events(series: int, position: np.ndarray, others: list[str]) -> tuple[list[int], list[int], np.ndarray]:
    """Places of events and of open changes, and the number of the level of equal work at each place."""
    stored = load()
    work_at = {int(p): w for p, w in zip(stored["work_position"], stored["work"][:, series], strict=True)}
    level = np.zeros(position.size, dtype=int)
    last = None
    for i, place in enumerate(position.tolist()):
        now = work_at.get(place)
        level[i] = level[i - 1] if i else 0
        if now is None or not np.isfinite(now).all():
            continue
        if last is not None and (np.abs(np.log(now / last)) > WORK_CHANGES).any():
            level[i] += 1
        last = now
    times = [_by_position(other, series, position) for other in others]
    logs = np.log(np.array(times))
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
    return changes, open_places, level


def _by_position(name: str, series: int, position: np.ndarray) -> np.ndarray:
    stored = load()
    at = dict(
        zip(
            stored[f"{name}_position"].astype(int).tolist(),
            value(stored[f"{name}_times"])[:, series],
            strict=True,
        )
    )
    return np.array([at.get(int(p), np.nan) for p in position])


def _short_levels(level: np.ndarray) -> np.ndarray:
    """Points of levels of equal work of fewer than SHORT commits: what the ledger can vouch for."""
    sizes = np.bincount(level)
    return np.asarray(sizes[level] < SHORT)


def _with_bursts(truth: Truth, series: int, rng: np.random.Generator, half: int) -> Truth:
    """Five bursts of 1 to 6 commits as slow as recorded contended processes of the same benchmark."""
    values, contended = with_bursts(truth.values, contention_ratios(half)[:, series], 5, rng)
    return replace(truth, values=values, contended=contended | truth.contended)


def committed(results: Path) -> list[Truth]:
    """The committed results of the reference machine with their samples; truth from the committed ledgers."""
    import gzip

    commits = [json.loads(line) for line in (results / "commits.jsonl").read_text().splitlines()]
    order = {c["hash"]: c for c in commits if "hash" in c}
    work: dict[str, dict[str, tuple[float, float]]] = {}
    for path in sorted((results / "ledger").glob("*.json.gz")):
        content = json.loads(gzip.decompress(path.read_bytes()))
        work[content["tree"]] = {
            name: (w["ops"], w["bytes"]) for name, w in content["workloads"].items() if not w.get("error")
        }
    found: dict[tuple[str, str], list[tuple[int, float, tuple[float, ...], tuple[float, float]]]] = {}
    for path in sorted((results / "reference-2core").glob("*.json")):
        content = json.loads(path.read_text())
        commit = order.get(content.get("commit_hash", ""))
        entry = content.get("results", {}).get("bandwidth.Warm.time_run")
        if commit is None or not entry or not entry[0]:
            continue
        pairs = [(size, dtype.strip("'")) for size in entry[1][0] for dtype in entry[1][1]]
        samples = entry[11] if len(entry) > 11 else [None] * len(pairs)
        for pair, median, taken in zip(pairs, entry[0], samples, strict=True):
            done = work.get(commit["tree"], {}).get(f"bandwidth-{pair[0]}-{pair[1]}")
            if median is not None and done:
                row = (commit["position"], float(median), tuple(taken or ()), done)
                found.setdefault(pair, []).append(row)
    return [_from_rows(sorted(rows)) for rows in found.values() if len(rows) >= 20]


def _from_rows(rows: list[tuple[int, float, tuple[float, ...], tuple[float, float]]]) -> Truth:
    """Truth of one committed series: equal work is one level, whose time is the median over its commits."""
    values = np.array([row[1] for row in rows])
    work = np.log([row[3] for row in rows])
    jumps = (np.abs(np.diff(work, axis=0)) > WORK_CHANGES).any(axis=1)
    level = np.concatenate(([0], np.cumsum(jumps)))
    medians = [np.median(np.log(values[level == k])) for k in range(level.max() + 1)]
    effects = np.abs(np.diff(medians))
    places = [int(np.argmax(level == k)) for k in range(1, level.max() + 1)]
    return Truth(
        values,
        tuple(p for p, e in zip(places, effects, strict=True) if e >= LEAST),
        tuple(p for p, e in zip(places, effects, strict=True) if OPEN <= e < LEAST),
        tuple(row[2] for row in rows),
        confirmed=_short_levels(level),
    )
