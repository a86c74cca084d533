"""A3: the demo's six planted regressions come from exact work, whatever the times say.

`data/demo_ledgers.json.gz` holds the exact work of the embedded subject's 14 trees (torch 2.13.0) and
the page faults of one recording, without any time.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from history_samples import find_changes

from nbbench.history.changes import History
from nbbench.history.events import build_events
from nbbench.history.ledger_series import ledger_series
from nbbench.ledger import Ledger
from nbbench.model import Cause, Commit, Event, Point, Series, SeriesKey, Status
from nbbench.report.causes import evidence_sentences

DATA = Path(__file__).parent / "data" / "demo_ledgers.json.gz"
PLANTED = [
    ("2a81ac23", Cause.WORK),
    ("a79d0677", Cause.DTYPE),
    ("a447e15f", Cause.WORK),
    ("6ff4a857", Cause.IMAGE),
    ("5798bdf2", Cause.ALLOCATOR),
    ("61ce01a9", Cause.WORK),
]
TIMED = [
    *(f"bandwidth-{size}-{dtype}" for size in (512, 1024) for dtype in ("float32", "float64")),
    *(f"tricubic-{points}-float32" for points in (1, 1000)),
]


@functools.cache
def recorded() -> tuple[tuple[Commit, ...], dict[str, dict[str, Ledger]], dict[str, dict[str, float]]]:
    """Commits, ledgers by tree and workload, and faults by parameters and commit."""
    told = json.loads(gzip.decompress(DATA.read_bytes()))
    commits = tuple(
        Commit(c["hash"], c["tree"], datetime.fromisoformat(c["date"]), "", c["position"])
        for c in told["commits"]
    )
    ledgers = {
        tree: {name: _ledger(name, one, told["images"]) for name, one in found.items()}
        for tree, found in told["ledgers"].items()
    }
    return commits, ledgers, told["faults"]


def _ledger(name: str, one: dict[str, Any], images: dict[str, Any]) -> Ledger:
    total, blocks = images[one["image"]]
    return Ledger(
        workload=name,
        pixels=one["pixels"],
        ops=one["ops"],
        dispatched=one["ops"],
        bytes=one["bytes"],
        upcast_bytes=one["upcast"],
        peak_live_bytes=one["peak"],
        bytes_by_dtype=(),
        image_sum=total,
        image_digest=one["image"],
        output_dtype=one["dtype"],
        image_blocks=tuple(blocks),
        lines=(),
        error=one["error"],
    )


def series(name: str, unit: str, kind: str, params: dict[str, str], values: Sequence[float | None]) -> Series:
    """A measured series of the demo's machine; None is a failure."""
    key = SeriesKey(name, "1", tuple(params.items()), "demo", "py3.11-torch2.13.0")
    points = tuple(
        Point(c.position, c.hash, v, Status.FAILED if v is None else Status.OK)
        for c, v in zip(recorded()[0], values, strict=True)
    )
    return Series(key, unit, kind, points)


def faults() -> list[Series]:
    """Page faults as they were recorded, in `bandwidth.Traffic.track_minor_faults`."""
    commits, _, found = recorded()
    made = []
    for named, values in found.items():
        size, dtype = named.split()
        row = [values.get(c.hash) for c in commits]
        made.append(
            series(
                "bandwidth.Traffic.track_minor_faults", "faults", "track", {"size": size, "dtype": dtype}, row
            )
        )
    return made


Times = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def times(made: Times, seed: int) -> list[Series]:
    """A time for each tree of each timed workload, made from the logarithms of its exact cost."""
    commits, ledgers, _ = recorded()
    rng = np.random.default_rng(seed)
    found = []
    for workload in TIMED:
        family, *values = workload.split("-")
        kept = [ledgers[c.tree].get(workload) for c in commits]
        runs = [one is not None and not one.error and bool(one.pixels) for one in kept]
        cost = [
            np.log(one.bytes + 5e4 * one.ops) if ok and one else np.nan
            for one, ok in zip(kept, runs, strict=True)
        ]
        told = np.exp(made(np.array(cost) - 20.0, rng))
        name, keys = ("bandwidth.Warm.time_run", ("size", "dtype"))
        if family == "tricubic":
            name, keys = ("vectorisation.Tricubic.time_interpolate", ("points", "dtype"))
        params = dict(zip(keys, (values[0], repr(values[1])), strict=True))
        row = [float(t) if np.isfinite(t) else None for t in told]
        found.append(series(name, "seconds", "time", params, row))
    return found


def detected(measured: Sequence[Series]) -> list[Event]:
    """What is found in the demo's exact work and these series."""
    commits, ledgers, _ = recorded()
    history = History((*ledger_series(commits, ledgers, "2.13.0"), *faults(), *measured), commits, ledgers)
    return build_events(history, find_changes(history))


def flags(events: Sequence[Event]) -> list[tuple[str, Cause]]:
    return [(e.hi_commit[:8], e.cause) for e in events if e.worse]


TIMES: dict[str, Times] = {
    "faithful": lambda cost, rng: cost + 0.02 * rng.standard_normal(cost.size),
    "noisy": lambda cost, rng: cost + 0.3 * rng.standard_normal(cost.size),
    "random": lambda cost, rng: -3 + 0.5 * rng.standard_normal(cost.size),
    "contradictory": lambda cost, rng: -cost + 0.3 * rng.standard_normal(cost.size),
    "busy": lambda cost, rng: cost + rng.exponential(0.4, cost.size),
    "all failed": lambda cost, _rng: np.full(cost.size, np.nan),
}


def test_the_six_are_found_without_any_time() -> None:
    assert flags(detected([])) == PLANTED


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", TIMES)
def test_the_six_are_found_whatever_the_times_say(kind: str, seed: int) -> None:
    found = detected(times(TIMES[kind], seed))
    assert flags(found) == PLANTED
    assert all(e.lo_commit == e.hi_commit for e in found if e.worse)


def test_sure_times_against_the_work_are_events_of_their_own() -> None:
    """Where a time rises for certain while the work falls, that is an event of its own; the six stay."""
    found = detected(times(lambda cost, rng: -cost + 0.001 * rng.standard_normal(cost.size), 1))
    worse = [e for e in found if e.worse]
    assert set(PLANTED) <= set(flags(worse))
    others = [e for e in worse if (e.hi_commit[:8], e.cause) not in PLANTED]
    assert all(c.unit == "seconds" for e in others for c in e.changes)


def test_a_point_that_became_slower_is_not_hidden_by_batches_that_became_faster() -> None:
    """A3: 2a81ac23 makes one point 4.14 times as many bytes, and a thousand points much faster."""
    here = [e for e in detected([]) if e.hi_commit.startswith("2a81ac23")]
    assert [e.id for e in here] == ["2a81ac23-slower", "2a81ac23-faster"]
    slower, faster = ({dict(c.key.params)["workload"].strip("'") for c in e.changes} for e in here)
    assert slower == {"tricubic-1-float32", "tricubic-1-float64"}
    assert faster == {"tricubic-1000-float32", "tricubic-1000-float64"}
    assert "88 → 113 operations" in evidence_sentences(here[0].evidence)[0]
