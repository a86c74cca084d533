"""Reading series, results, telemetry and ledgers: a few bulk queries, whatever the number of rows."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import msgpack

from nbbench.errors import UsageError
from nbbench.model import Commit, Machine, Point, ProcessRecord, Result, Series, SeriesKey
from nbbench.record import schema
from nbbench.record.engine import Connection, Database
from nbbench.record.result_arrays import PACKED_BYTES, STATES, PackedResults, series_in
from nbbench.record.schema import StoredLedger
from nbbench.record.shapes import digest_of, storable, unpack

if TYPE_CHECKING:  # numpy, which a command with nothing new does without
    import numpy as np
    from numpy.typing import NDArray

    StoredSeries: TypeAlias = tuple[
        SeriesKey, str, str, NDArray[np.int64], NDArray[np.float64], NDArray[np.int8], list[tuple[float, ...]]
    ]

_KEYED = "series s JOIN benchmarks b ON b.id = s.benchmark_id"
_KEY = "b.name, b.version, b.param_names, s.params AS parameter_values, s.machine, s.environment"
OF_FILES = "(SELECT project_id FROM files WHERE id = file_id) = ?"
"""That a row is of a file of the project: as a list of files it would be looked up row by row."""
RESULTS = f"coalesce(sum(length(packed)), 0) / {PACKED_BYTES}"
"""How many results `columns` has."""

_FILES = "columns r JOIN files f ON f.id = r.file_id JOIN commits c ON c.id = r.commit_id"

# Series whose points are fetched together: few queries, and memory for one chunk only.
_CHUNK = 400


class StoreReading(Database):
    """The part of the store that reads what was measured in the project."""

    def iter_series(self, benchmark: str | None = None) -> Iterator[Series]:
        """The series that match, by name, with their points in commit order.

        `benchmark` is a regular expression found in the name, in asv's `name(value, …)` or in
        `SeriesKey.label`. Where two files give the same series and commit, the one that was
        measured last counts; commits that are not of the branch are left out. Raises UsageError for a
        malformed expression.
        """
        commits = self.commits()
        for key, unit, kind, ranks, values, states, kept in self.iter_columns(benchmark):
            shown = [None if value != value else value for value in values.tolist()]
            taken = kept or [()] * len(shown)
            points = tuple(
                Point(commits[rank].position, commits[rank].hash, value, STATES[state], some)
                for rank, value, state, some in zip(
                    ranks.tolist(), shown, states.tolist(), taken, strict=True
                )
            )
            yield Series(key, unit, kind, points)

    def iter_columns(self, benchmark: str | None = None) -> Iterator[StoredSeries]:
        """The same as arrays: key, unit, kind, the commits' places in `commits` (n,), values (n,), NaN where
        there is none, states (n,) as STATES counts them, and the samples by point where there are
        any."""
        from nbbench.record.columns import read_columns

        ranks = self.ranks({commit.hash: place for place, commit in enumerate(self.commits())})
        chosen = [one for one in self.series_keys() if _matches(benchmark, one[1])]
        for start in range(0, len(chosen), _CHUNK):
            chunk = chosen[start : start + _CHUNK]
            ids = [number for number, *_ in chunk]
            columns = dict(read_columns(self, ids, ranks))
            kept = self._samples(ids)
            for number, key, unit, kind in chunk:
                if (one := columns.get(number)) is not None:
                    sources = one.sources.tolist() if kept else ()
                    taken = [unpack(kept.get((number, source))) for source in sources]
                    yield key, unit, kind, one.ranks, one.values, one.states, taken

    def series_keys(self) -> list[tuple[int, SeriesKey, str, str]]:
        """Id, key, unit and kind of every series that has results, by name."""
        query = f"SELECT s.id, {_KEY}, b.unit, b.kind FROM {_KEYED} WHERE b.project_id = ?"
        with self.reading() as connection:
            there = measured(connection, self.project_id)
            rows = (row for row in connection.rows(query, [self.project_id]) if row["id"] in there)
            found = [(row["id"], key_from(row), row["unit"], row["kind"]) for row in rows]
        name = attrgetter("benchmark", "version", "machine", "environment", "params")
        return sorted(found, key=lambda item: name(item[1]))

    def size(self) -> tuple[int, int]:
        """How many series have results, and how many results they have."""
        query = f"SELECT {RESULTS} FROM columns WHERE {OF_FILES}"
        with self.reading() as connection:
            results = int(connection.one(query, [self.project_id]))
            return len(measured(connection, self.project_id)), results

    def commits(self) -> list[Commit]:
        """The commits of the branch in its order.

        Before the first placing, every commit by date.
        """
        query = "SELECT * FROM commits WHERE project_id = ? ORDER BY rank, date, hash"
        with self.reading() as connection:
            found = connection.rows(query, [self.project_id])
            ranked = [row for row in found if row["rank"]] or found
            return [schema.COMMIT.noun(row) for row in ranked]

    def ranks(self, places: dict[str, int]) -> NDArray[np.int64]:
        """By a commit's row number its place among ``places`` (hash to place), -1 where it has none."""
        import numpy as np

        query = "SELECT id, hash FROM commits WHERE project_id = ?"
        with self.reading() as connection:
            ids = connection.cursor(query, [self.project_id]).fetchall()
        made = np.full(max((number for number, _ in ids), default=0) + 1, -1, dtype=np.int64)
        for number, name in ids:
            made[number] = places.get(name, -1)
        return made

    def commit(self, prefix: str) -> Commit | None:
        """The commit whose hash begins so, of the branch or not; None when there is none.

        Raises UsageError when several do.
        """
        wanted = prefix.strip().lower()
        if not wanted:
            return None
        query = "SELECT * FROM commits WHERE project_id = ? AND substr(hash, 1, ?) = ? LIMIT 2"
        with self.reading() as connection:
            found = connection.rows(query, [self.project_id, len(wanted), storable(wanted)])
            if len(found) > 1:
                raise UsageError(f"several commits begin with {prefix!r}", hint="give more digits")
            return schema.COMMIT.noun(found[0]) if found else None

    def measured_commits(self) -> list[Commit]:
        """The commits that have results, in no order."""
        there = "EXISTS (SELECT 1 FROM columns WHERE commit_id = commits.id)"
        return self.nouns(schema.COMMIT, f"SELECT * FROM commits WHERE project_id = ? AND {there}")

    def machines(self) -> list[Machine]:
        """Every machine with its facts, by name."""
        query = "SELECT params FROM files WHERE project_id = ? AND kind = 'machine' AND error = ''"
        with self.reading() as connection:
            described = [_pairs(text) for (text,) in connection.cursor(query, [self.project_id])]
        facts = {pairs[0][1]: pairs[1:] for pairs in described}
        names = sorted({*facts, *(machine for machine, _ in self.measured_environments())})
        return [Machine(name, facts.get(name, ())) for name in names]

    def measured_environments(self) -> list[tuple[str, str]]:
        """Every machine that has results with each of its environments."""
        query = f"SELECT DISTINCT machine, environment FROM columns WHERE {OF_FILES}"
        with self.reading() as connection:
            return [(machine, name) for machine, name in connection.cursor(query, [self.project_id])]

    def file_setups(self) -> dict[tuple[str, str, str], dict[str, str]]:
        """With what each result file was measured (asv's `params`), by commit, machine and environment."""
        query = f"SELECT c.hash, r.machine, r.environment, f.params FROM {_FILES} WHERE f.project_id = ?"
        with self.reading() as connection:
            rows = connection.cursor(query, [self.project_id])
            return {(commit, machine, of): dict(_pairs(params)) for commit, machine, of, params in rows}

    def file_times(self) -> dict[tuple[str, str, str], float]:
        """When the first series of each result file was measured (seconds of the epoch), by commit, machine
        and environment; files without such times are left out."""
        query = f"SELECT c.hash, r.machine, r.environment, r.started_at FROM {_FILES} "
        query += "WHERE f.project_id = ? AND r.started_at IS NOT NULL"
        with self.reading() as connection:
            rows = connection.cursor(query, [self.project_id])
            return {
                (commit, machine, of): datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
                for commit, machine, of, at in rows
            }

    def results(self, *, commit: str | None = None, benchmark: str | None = None) -> list[Result]:
        """The results of a commit (by the beginning of its hash) or of a benchmark's name.

        Where two files give the same series and commit, the one that was measured last counts.
        """
        asked, values = f"SELECT s.id, {_KEY}, b.unit FROM {_KEYED} WHERE b.project_id = ?", [self.project_id]
        query = "SELECT c.hash, commit_id, file_id, layout, packed, details, runs, samples, sampled "
        query += f"FROM {_FILES} WHERE f.project_id = ? AND substr(c.hash, 1, ?) = ?"
        begin = (commit or "").lower()
        last: dict[tuple[int, int], tuple[tuple[float, int], Result]] = {}
        places: dict[str, list[tuple[int, int]]] = {}
        with self.reading() as connection:
            rows = connection.rows(asked, values)
            wanted = {r["id"]: (key_from(r), r["unit"]) for r in rows if benchmark in (None, r["name"])}
            for name, number, file, layout, packed, *rest in connection.cursor(
                query, [self.project_id, len(begin), begin]
            ):
                if layout not in places:
                    places[layout] = [(p, one) for p, one in enumerate(series_in(packed)) if one in wanted]
                figures = packed[len(packed) // PACKED_BYTES * 8 :]
                lists = PackedResults(figures, *rest).lists([place for place, _ in places[layout]])
                for (_, series), *cells in zip(places[layout], *lists, strict=True):
                    status, value, samples, count, lo, hi, began, took = cells
                    key, unit = wanted[series]
                    when = (began.timestamp() if began else -math.inf), file
                    if (number, series) not in last or last[number, series][0] <= when:
                        one = Result(key, name, status, value, unit, samples, count, lo, hi, began, took)
                        last[number, series] = when, one
        return [one for _, (_, one) in sorted(last.items(), key=lambda item: item[0])]

    def samplings(self) -> Callable[[SeriesKey], dict[str, dict[str, str]]]:
        """How asv sampled a series at each commit: calls a sample (`number`), samples a result (`repeat`)."""
        from nbbench.record.columns import Samplings

        return Samplings(self, {key: number for number, key, *_ in self.series_keys()})

    def process_records(self, commit: str | None = None) -> list[ProcessRecord]:
        """Telemetry in the order of time, or of one commit (by prefix)."""
        query = f"SELECT * FROM process_records WHERE {OF_FILES}"
        values: list[Any] = [self.project_id]
        if commit is not None:
            query += " AND substr(commit_hash, 1, ?) = ?"
            values += [len(commit), commit.lower()]
        names = ("started_at", "benchmark", "param_index", "kind", "commit_hash")
        with self.reading() as connection:  # a process that the files of two checkouts hold is one
            rows = connection.rows(f"{query} ORDER BY started_at, file_id, line", values)
            found = {tuple(row[name] for name in names): row for row in rows}
            return [schema.RECORD.noun(row) for row in found.values()]

    def ledgers(self, *, lines: bool = False) -> list[StoredLedger]:
        """Every ledger, by tree; with `lines` on request."""
        columns = [c.name for c in schema.TABLES["ledgers"].columns]
        read = ", ".join(name for name in columns if lines or name != "lines")
        query = f"SELECT {read} FROM ledgers WHERE {OF_FILES} ORDER BY tree, workload, torch, file_id"
        with self.reading() as connection:
            rows = connection.rows(query, [self.project_id])
            found = {(row["tree"], row["workload"], row["torch"]): row for row in rows}
            return [
                StoredLedger(row["tree"], row["commit_hash"], row["torch"], schema.LEDGER.noun(row))
                for row in found.values()
            ]

    def _samples(self, ids: list[int]) -> dict[tuple[int, int], bytes]:
        """Packed samples by series and file."""
        query = f"SELECT file_id, layout, packed, sampled FROM columns WHERE samples > 0 AND {OF_FILES}"
        wanted, places = set(ids), dict[str, list[tuple[int, int]]]()
        found: dict[tuple[int, int], bytes] = {}
        with self.reading() as connection:
            for file, layout, packed, sampled in connection.cursor(query, [self.project_id]):
                if layout not in places:
                    places[layout] = [(p, one) for p, one in enumerate(series_in(packed)) if one in wanted]
                samples = msgpack.decode(sampled) if places[layout] else []
                found |= {(one, file): samples[place] for place, one in places[layout]}
        return found


def measured(connection: Connection, project: int | None = None) -> set[int]:
    """The numbers of all series that have results, or of those of a project."""
    where, values = ("", []) if project is None else (f"WHERE {OF_FILES}", [project])
    one_of_each = f"SELECT min(file_id) FROM columns {where} GROUP BY layout"
    rows = connection.cursor(f"SELECT packed FROM columns WHERE file_id IN ({one_of_each})", values)
    return {number for (packed,) in rows for number in series_in(packed)}


def key_from(row: Mapping[str, Any]) -> SeriesKey:
    """The key of a row with the columns of `_KEY`."""
    names, values = _texts(row["param_names"]), _texts(row["parameter_values"])
    if len(names) != len(values):
        names = tuple(f"param{i + 1}" for i in range(len(values)))  # asv's own default
    params = tuple(zip(names, values, strict=True))
    return SeriesKey(row["name"], row["version"], params, row["machine"], row["environment"])


@lru_cache(maxsize=4096)
def _texts(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in json.loads(text))


@lru_cache(maxsize=50_000)
def series_digest(key: SeriesKey) -> str:
    """What stands for a series in the database; the names of parameters are the benchmark's."""
    names = (storable(part) for part in (key.benchmark, key.version, key.machine, key.environment))
    return digest_of(*names, [value for _, value in key.params])


def _matches(pattern: str | None, key: SeriesKey) -> bool:
    values = ", ".join(value for _, value in key.params)
    texts = key.benchmark, f"{key.benchmark}({values})", key.label
    try:
        return pattern is None or any(re.search(pattern, text) for text in texts)
    except re.error as error:
        raise UsageError(f"not a regular expression: {pattern!r} ({error})") from error
