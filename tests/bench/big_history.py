"""A database as large as the design's goal: 9,600 series of 1,200 commits, written without asv."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec import msgpack

from nbbench.model import Benchmark, Commit, SeriesKey
from nbbench.record import schema
from nbbench.record.engine import Connection
from nbbench.record.read import series_digest
from nbbench.record.shapes import dumps, time_text
from nbbench.record.store import Store

SERIES, COMMITS = 9600, 1200
BENCHMARKS = 12
NOISE = 0.02
STEP = 0.1
CULPRITS = 24
"""Every fourth series makes one step of 10 %, together with those that share its culprit."""

_START = datetime(2020, 1, 1, tzinfo=UTC)
_SAMPLES = 5
_SEED = 20261123


def write_history(url: str, series: int = SERIES, commits: int = COMMITS) -> int:
    """Fill a new SQLite database, file by file as an import does; gives its number of results."""
    with Store.open(url) as store, store.writing() as connection:
        _write_keys(connection, series, commits)
        for row in _files(series, commits):
            connection.insert("columns", [row])
    return series * commits


def _write_keys(connection: Connection, series: int, commits: int) -> None:
    """Everything that results refer to; its ids count from 1."""
    one = {"project_id": connection.one("SELECT id FROM projects")}
    names = [f"suite_{number}.time_run" for number in range(min(BENCHMARKS, series))]
    made = [schema.BENCHMARK.row(Benchmark(name, "1", "seconds", "time", ("size",)), **one) for name in names]
    connection.insert("benchmarks", made)
    keys = [SeriesKey(names[n % len(names)], "1", (("size", str(n)),), "m", "e") for n in range(series)]
    connection.insert(
        "series",
        [
            {"digest": series_digest(key), "benchmark_id": n % len(names) + 1, "machine": "m"}
            | {"environment": "e", "params": dumps([value for _, value in key.params])}
            for n, key in enumerate(keys)
        ],
    )
    days = [_START + timedelta(days=number) for number in range(commits)]
    line = [Commit(f"{n + 1:08x}{0:032x}", f"{n + 1:040x}", day, "", n + 1) for n, day in enumerate(days)]
    new = [schema.COMMIT.row(commit, rank=commit.position, **one) for commit in line]
    connection.insert("commits", new)
    files = [schema.SourceFile(f"m/{n:08x}-e.json", "results", 1, 1, "") for n in range(commits)]
    told = [schema.FILE.row(file, place="", **one) for file in files]
    connection.insert("files", told)


def _files(series: int, commits: int) -> Iterator[dict[str, object]]:
    """The results of one commit after the other."""
    rng = np.random.default_rng(_SEED)
    culprits = np.sort(rng.integers(commits // 20, commits, CULPRITS))
    first = np.where(np.arange(series) % 4 == 0, rng.choice(culprits, series), commits)
    level = rng.lognormal(-6.0, 1.0, series)
    ids = np.arange(1, series + 1, dtype="<i8").tobytes()
    details = msgpack.encode([[10] * series, *[[None] * series] * 2])
    for commit in range(commits):
        values = level * rng.lognormal(0.0, NOISE, series) * np.where(commit >= first, 1.0 + STEP, 1.0)
        samples = values[:, None] * rng.lognormal(0.0, NOISE, (series, _SAMPLES))
        began = _START + timedelta(days=commit)
        yield {
            "file_id": commit + 1,
            "commit_id": commit + 1,
            "machine": "m",
            "environment": "e",
            "layout": "one",
            "started_at": time_text(began),
            "samples": series * _SAMPLES,
            "packed": ids + values.astype("<f8").tobytes() + bytes(series),
            "details": details,
            "runs": msgpack.encode([(began, None, series)]),
            "sampled": msgpack.encode([one.astype("<f8").tobytes() for one in samples]),
        }
