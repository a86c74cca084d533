"""Synthetic histories that the tests of nbbench.history share: model objects, seeded noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from nbbench.history.changes import History, judge_history
from nbbench.history.confirmed import Repeats
from nbbench.history.events import build_events
from nbbench.history.facts import Setups
from nbbench.ledger import Ledger, LedgerLine
from nbbench.metrics import metric_of
from nbbench.model import (
    ChangePoint,
    Commit,
    Event,
    Point,
    ProcessRecord,
    Series,
    SeriesKey,
    Status,
)

START = datetime(2025, 9, 30, 12, tzinfo=UTC)
ABSENT = float("-inf")  # in a list of values: the commit was not measured at all
MACHINE = "runner"

TIME = ("bandwidth.Warm.time_run", "seconds", "time")
BYTES = ("bandwidth.Traffic.track_bytes_per_pixel", "B/pixel", "track")
OPERATIONS = ("bandwidth.Traffic.track_operations", "operations", "track")
DISPATCHED = ("bandwidth.Traffic.track_dispatched", "operations", "track")
UPCAST = ("bandwidth.Traffic.track_upcast_bytes", "B/pixel", "track")
PEAK_LIVE = ("bandwidth.Traffic.track_peak_live_bytes", "B (exact)", "track")
FAULTS = ("bandwidth.Traffic.track_minor_faults", "faults", "track")
PENALTY = ("bandwidth.Traffic.track_malloc_penalty", "ratio", "track")
BANDWIDTH = ("bandwidth.Traffic.track_bandwidth", "B/s", "track")
CEILING = ("bandwidth.Ceiling.track_copy_ceiling", "B/s", "track")
OUTPUT = ("vectorisation.Counts.track_output_dtype", "dtype code", "track")
PEAK_MEMORY = ("bandwidth.PeakMemory.peakmem_run", "bytes", "peakmemory")


def commit(
    number: int, *, position: int | None = None, tree: str | None = None, day: float | None = None
) -> Commit:
    """Commit number 1, 2, …: its hash begins with the number in hexadecimal digits."""
    return Commit(
        hash=f"{number:08x}" + "0" * 32,
        tree=f"tree{number}" if tree is None else tree,
        date=START + timedelta(days=number if day is None else day),
        subject=f"change {number}",
        position=number if position is None else position,
    )


def branch(length: int) -> tuple[Commit, ...]:
    return tuple(commit(i) for i in range(1, length + 1))


def key(name: str = TIME[0], machine: str = MACHINE, **params: str) -> SeriesKey:
    return SeriesKey(name, "1", tuple(params.items()), machine, "py-torch")


def series(
    what: tuple[str, str, str],
    values: Sequence[float | None],
    commits: Sequence[Commit] | None = None,
    machine: str = MACHINE,
    **params: str,
) -> Series:
    """One value for each commit: None is a failed measurement, ABSENT none at all."""
    line = branch(len(values)) if commits is None else commits
    points = tuple(
        Point(c.position, c.hash, v, Status.FAILED if v is None else Status.OK)
        for c, v in zip(line, values, strict=True)
        if v != ABSENT
    )
    return Series(key(what[0], machine, **params), what[1], what[2], points)


def steps(length: int, start: float, *changes: tuple[int, float]) -> list[float]:
    """`start` until commit number n, from which on the values are multiplied by f, for each (n, f)."""
    values = np.full(length, float(start))
    for number, factor in changes:
        values[number - 1 :] *= factor
    return [float(v) for v in values]


def noisy(values: Iterable[float], sigma: float = 0.01, seed: int = 0) -> list[float | None]:
    level = np.array(list(values))
    rng = np.random.default_rng(seed)
    return [float(v) for v in level * np.exp(sigma * rng.standard_normal(level.size))]


def ledger(workload: str = "bandwidth-512-float32", per_pixel: float = 100.0, **told: Any) -> Ledger:
    """A ledger of 1,000 pixels; `image` names its content, `lines` are (function, op, bytes, count)."""
    image = told.pop("image", 1.0)
    dtype = told.pop("dtype", "float32")
    lines = told.pop("lines", (("run", "aten.mul", int(per_pixel * 1000), 10),))
    return Ledger(
        workload=workload,
        pixels=told.pop("pixels", 1000),
        ops=told.pop("ops", 50),
        dispatched=told.pop("dispatched", 80),
        bytes=int(per_pixel * 1000),
        upcast_bytes=int(told.pop("upcast", 0.0) * 1000),
        peak_live_bytes=told.pop("peak", 4096),
        bytes_by_dtype=((dtype, int(per_pixel * 1000)),),
        image_sum=repr(image * 64),
        image_digest=told.pop("digest", repr(image)),
        output_dtype=dtype,
        image_blocks=(image,) * 64,
        lines=tuple(
            LedgerLine("simulator.py", 10 + i, function, op, dtype, count, size)
            for i, (function, op, size, count) in enumerate(lines)
        ),
        error=told.pop("error", ""),
    )


def ledgers(
    per_commit: Mapping[str, Ledger | None] | Sequence[Ledger | None],
) -> dict[str, dict[str, Ledger]]:
    """Ledgers by tree, one for each commit in order; None where there is none."""
    found = enumerate(per_commit, start=1)
    return {f"tree{i}": {one.workload: one} for i, one in found if isinstance(one, Ledger)}


def record(
    commit_number: int, *, others: float = 0.0, steal: float = 0.0, machine: str = MACHINE
) -> ProcessRecord:
    """One benchmark process of a second, in which others used so many seconds."""
    return ProcessRecord(
        commit=commit(commit_number).hash,
        environment="py-torch",
        benchmark=TIME[0],
        param_index=0,
        kind="run",
        started_at=START + timedelta(days=commit_number),
        wall_s=1.0,
        exit_code=0,
        others_cpu_s=others,
        steal_s=steal,
        machine=machine,
    )


def history(
    *found: Series,
    commits: Sequence[Commit] | None = None,
    ledgers: Mapping[str, Mapping[str, Ledger]] | None = None,
    records: Iterable[ProcessRecord] = (),
    repeats: Repeats | None = None,
    setups: Setups | None = None,
) -> History:
    longest = max((int(p.commit[:8], 16) for s in found for p in s.points), default=0)
    return History(
        series=found,
        commits=branch(longest) if commits is None else tuple(commits),
        ledgers=ledgers or {},
        records=tuple(records),
        repeats=repeats or {},
        setups=setups or Setups(),
    )


def find_changes(given: History, **options: Any) -> list[ChangePoint]:
    """The change points of a history, what fails at its end among them."""
    return judge_history(given, **options).changes


def events(given: History) -> list[Event]:
    return build_events(given, find_changes(given))


def numbers(found: Event | ChangePoint) -> tuple[int, int]:
    """The commit numbers of an event's or a change point's range."""
    return int(found.lo_commit[:8], 16), int(found.hi_commit[:8], 16)


def change(
    lo: int,
    hi: int,
    effect: float,
    what: tuple[str, str, str] = TIME,
    kind: str = "step",
    before: float = 1.0,
    **params: str,
) -> ChangePoint:
    """A change point by commit numbers; the sign and the unit say whether it is a regression."""
    return ChangePoint(
        key=key(what[0], **params),
        unit=what[1],
        kind=kind,
        lo_commit=commit(lo).hash,
        hi_commit=commit(hi).hash,
        before=before,
        after=float(before * np.exp(effect)),
        effect=effect,
        effect_lo=effect - 0.01,
        effect_hi=effect + 0.01,
        p_value=0.0 if kind == "exact" else 1e-6,
        direction=metric_of(key(what[0]), what[1]).direction(effect),
    )
