"""Reading series, results, telemetry and ledgers: a few bulk queries, whatever the number of rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbbench.errors import UsageError
from nbbench.model import Commit, Machine, Point, ProcessRecord, Result, Series, SeriesKey
from nbbench.record import schema
from nbbench.record.engine import Database
from nbbench.record.schema import StoredLedger
from nbbench.record.shapes import AnyRow, unpack

if TYPE_CHECKING:  # numpy, which a command with nothing new does without
    import numpy as np
    from numpy.typing import NDArray

    from nbbench.record.columns import Column

# Series whose points are fetched together: few queries, and memory for one chunk only.
_CHUNK = 400


class StoreReading(Database):
    """The part of the store that reads what was measured in the project."""

    def series(self, **chosen: Any) -> list[Series]:
        """The series that match; see `iter_series`."""
        return list(self.iter_series(**chosen))

    def iter_series(
        self,
        *,
        benchmark: str | None = None,
        machine: str | None = None,
        samples: bool = True,
    ) -> Iterator[Series]:
        """The series that match, by name, with their points in commit order.

        `benchmark` is a regular expression found in the name, in asv's `name(value, …)` or in
        `SeriesKey.label`. Where two files give the same series and commit, the one that was
        measured last counts; commits that are not of the branch are left out. Without `samples`
        the points are lighter. Raises UsageError for a malformed expression.
        """
        from nbbench.record.columns import read_columns

        commits = self.commits()
        ranks = self.ranks({commit.hash: place for place, commit in enumerate(commits)})
        chosen = [one for one in self.series_keys(machine=machine) if _matches(benchmark, one[1])]
        for start in range(0, len(chosen), _CHUNK):
            chunk = chosen[start : start + _CHUNK]
            ids = [number for number, *_ in chunk]
            columns = dict(read_columns(self, ids, ranks))
            kept = self._samples(ids) if samples else {}
            for number, key, unit, kind in chunk:
                if number in columns:
                    points = _points(number, columns[number], commits, kept)
                    yield Series(key, unit, kind, points)

    def series_keys(self, *, machine: str | None = None) -> list[tuple[int, SeriesKey, str, str]]:
        """Id, key, unit and kind of every series that has results, by name."""
        b, s = schema.benchmarks.c, schema.series.c
        query = sa.select(s.id, *series_columns(), b.unit, b.kind).select_from(keyed_series())
        query = self._mine(query, schema.benchmarks).where(_measured())
        if machine is not None:
            query = query.where(s.machine == machine)
        with self.reading() as connection:
            found = [(row.id, key_from(row), row.unit, row.kind) for row in connection.execute(query)]
        return sorted(found, key=lambda item: _order(item[1]))

    def size(self, *, machine: str | None = None) -> tuple[int, int]:
        """How many series have results, and how many results they have."""
        series = self._mine(sa.select(schema.series.c.id).join(schema.benchmarks), schema.benchmarks)
        if machine is not None:
            series = series.where(schema.series.c.machine == machine)
        results = sa.select(sa.func.count()).select_from(schema.results)
        results = results.where(schema.results.c.series_id.in_(series))
        count = sa.select(sa.func.count()).select_from(series.where(_measured()).subquery())
        with self.reading() as connection:
            return connection.execute(count).scalar_one(), connection.execute(results).scalar_one()

    def commits(self) -> list[Commit]:
        """The commits of the branch in its order.

        Before the first placing, every commit by date.
        """
        c = schema.commits.c
        query = self._mine(sa.select(schema.commits), schema.commits).order_by(c.rank, c.date, c.hash)
        with self.reading() as connection:
            found = connection.execute(query).all()
        ranked = [row for row in found if row.rank] or found
        return [schema.COMMIT.noun(row) for row in ranked]

    def ranks(self, places: dict[str, int]) -> NDArray[np.int64]:
        """By a commit's row number its place among ``places`` (hash to place), -1 where it has none."""
        import numpy as np

        c = schema.commits.c
        with self.reading() as connection:
            ids = connection.execute(self._mine(sa.select(c.id, c.hash), schema.commits)).all()
        made = np.full(max((row.id for row in ids), default=0) + 1, -1, dtype=np.int64)
        for row in ids:
            made[row.id] = places.get(row.hash, -1)
        return made

    def commit(self, prefix: str) -> Commit | None:
        """The commit whose hash begins so, of the branch or not; None when there is none.

        Raises UsageError when several do.
        """
        wanted = prefix.strip().lower()
        if not wanted:
            return None
        alike = schema.commits.c.hash.startswith(wanted, autoescape=True)
        query = self._mine(sa.select(schema.commits), schema.commits).where(alike).limit(2)
        with self.reading() as connection:
            found = connection.execute(query).all()
        if len(found) > 1:
            raise UsageError(f"several commits begin with {prefix!r}", hint="give more digits")
        return schema.COMMIT.noun(found[0]) if found else None

    def measured_commits(self) -> list[Commit]:
        """The commits that have results, in no order."""
        measured = sa.exists().where(schema.results.c.commit_id == schema.commits.c.id)
        query = self._mine(sa.select(schema.commits).where(measured), schema.commits)
        with self.reading() as connection:
            return [schema.COMMIT.noun(row) for row in connection.execute(query)]

    def machines(self) -> list[Machine]:
        """Every machine with its facts, by name."""
        c = schema.files.c
        query = self._mine(sa.select(c.params), schema.files).where(c.kind == "machine", c.error == "")
        with self.reading() as connection:
            described = [_pairs(text) for text in connection.execute(query).scalars()]
        facts = {pairs[0][1]: pairs[1:] for pairs in described}
        return [Machine(name, facts.get(name, ())) for name in sorted({*facts, *self.measured_machines()})]

    def measured_machines(self) -> list[str]:
        """The names of the machines that have results, sorted."""
        query = self._mine(sa.select(schema.series.c.machine).join(schema.benchmarks), schema.benchmarks)
        with self.reading() as connection:
            return sorted(connection.execute(query.where(_measured()).distinct()).scalars())

    def file_setups(self) -> dict[tuple[str, str, str], dict[str, str]]:
        """With what each result file was measured (asv's `params`), by commit, machine and environment."""
        results, other = schema.results, schema.results.alias()
        files, s = schema.files, schema.series.c
        first = sa.select(sa.func.min(other.c.series_id)).where(other.c.file_id == files.c.id)
        query = (
            sa.select(files.c.params, schema.commits.c.hash, s.machine, s.environment)
            .select_from(schema.series.join(results).join(schema.commits).join(files))
            .where(results.c.series_id == first.scalar_subquery())
        )
        with self.reading() as connection:
            return {
                (row.hash, row.machine, row.environment): dict(_pairs(row.params))
                for row in connection.execute(self._mine(query, files))
            }

    def results(self, *, commit: str | None = None, benchmark: str | None = None) -> list[Result]:
        """The results of a commit (by the beginning of its hash) or of a benchmark's name.

        Where two files give the same series and commit, the one that was measured last counts.
        """
        table = schema.results
        query = (
            sa.select(table, *series_columns(), schema.benchmarks.c.unit, schema.commits.c.hash)
            .select_from(keyed_series().join(table).join(schema.commits))
            .order_by(table.c.started_at.asc().nulls_first(), table.c.file_id)
        )
        query = self._mine(query, schema.benchmarks)
        if commit is not None:
            query = query.where(schema.commits.c.hash.startswith(commit.lower(), autoescape=True))
        if benchmark is not None:
            query = query.where(schema.benchmarks.c.name == benchmark)
        with self.reading() as connection:
            last = {(row.commit_id, row.series_id): row for row in connection.execute(query)}
        return [
            schema.RESULT.noun(row, key=key_from(row), commit=row.hash, unit=row.unit)
            for _, row in sorted(last.items())
        ]

    def process_records(self, commit: str | None = None, benchmark: str | None = None) -> list[ProcessRecord]:
        """Telemetry in the order of time, of one commit (by prefix) or of one benchmark's name."""
        c = schema.process_records.c
        query = self._of_files(sa.select(schema.process_records), schema.process_records)
        query = query.order_by(c.started_at, c.file_id, c.line)
        if commit is not None:
            query = query.where(c.commit_hash.startswith(commit.lower(), autoescape=True))
        if benchmark is not None:
            query = query.where(c.benchmark == benchmark)
        with self.reading() as connection:  # a process that the files of two checkouts hold is one
            found = {
                (row.started_at, row.benchmark, row.param_index, row.kind, row.commit_hash): row
                for row in connection.execute(query)
            }
        return [schema.RECORD.noun(row) for row in found.values()]

    def ledgers(self, *, lines: bool = False) -> list[StoredLedger]:
        """Every ledger, by tree; with `lines` (and functions) on request."""
        table = schema.ledgers
        columns = [c for c in table.c if lines or c.name not in ("lines", "functions")]
        query = self._of_files(sa.select(*columns), table)
        query = query.order_by(table.c.tree, table.c.workload, table.c.torch, table.c.file_id)
        with self.reading() as connection:
            found = {(row.tree, row.workload, row.torch): row for row in connection.execute(query)}
        return [
            StoredLedger(row.tree, row.commit_hash, row.torch, schema.LEDGER.noun(row))
            for row in found.values()
        ]

    def _mine(self, query: Any, table: sa.Table) -> Any:
        """The rows of `table` that belong to the project."""
        return query.where(table.c.project_id == self.project_id)

    def _of_files(self, query: Any, table: sa.Table) -> Any:
        return query.where(table.c.file_id.in_(self._mine(sa.select(schema.files.c.id), schema.files)))

    def _samples(self, ids: list[int]) -> dict[tuple[int, int], bytes]:
        """Packed samples by series and file."""
        c = schema.results.c
        query = sa.select(c.series_id, c.file_id, c.samples)
        query = query.where(c.series_id.in_(ids), c.samples.is_not(None))
        with self.reading() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def series_columns() -> tuple[sa.ColumnElement[Any], ...]:
    """The columns from which `key_from` builds a key."""
    b, s = schema.benchmarks.c, schema.series.c
    return b.name, b.version, b.param_names, s.params.label("parameter_values"), s.machine, s.environment


def keyed_series() -> sa.Join:
    """The series with everything that `series_columns` names."""
    return schema.series.join(schema.benchmarks)


def key_from(row: AnyRow) -> SeriesKey:
    """The key of a row with the columns of `series_columns`."""
    names, values = _texts(row.param_names), _texts(row.parameter_values)
    if len(names) != len(values):
        names = tuple(f"param{i + 1}" for i in range(len(values)))  # asv's own default
    params = tuple(zip(names, values, strict=True))
    return SeriesKey(row.name, row.version, params, row.machine, row.environment)


@lru_cache(maxsize=4096)
def _texts(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in json.loads(text))


def _measured() -> sa.ColumnElement[bool]:
    """That a series has results: one probe of the index for each, not a pass over the results."""
    return sa.exists().where(schema.results.c.series_id == schema.series.c.id)


def _matches(pattern: str | None, key: SeriesKey) -> bool:
    values = ", ".join(value for _, value in key.params)
    texts = key.benchmark, f"{key.benchmark}({values})", key.label
    try:
        return pattern is None or any(re.search(pattern, text) for text in texts)
    except re.error as error:
        raise UsageError(f"not a regular expression: {pattern!r} ({error})") from error


def _order(key: SeriesKey) -> tuple[Any, ...]:
    return key.benchmark, key.version, key.machine, key.environment, key.params


def _points(
    number: int, column: Column, commits: list[Commit], samples: dict[tuple[int, int], bytes]
) -> tuple[Point, ...]:
    from nbbench.record.columns import STATES

    points = []
    for rank, value, state, source in zip(
        column.ranks.tolist(), column.values.tolist(), column.states.tolist(), column.sources.tolist(),
        strict=True,
    ):  # fmt: skip
        commit = commits[rank]
        kept = unpack(samples.get((number, source)))
        measured = value if value == value else None
        points.append(Point(commit.position, commit.hash, measured, STATES[state], kept))
    return tuple(points)
