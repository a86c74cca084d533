"""Reading series, results, telemetry and ledgers: a few bulk queries, whatever the number of rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbbench.errors import UsageError
from nbbench.ledger import Ledger
from nbbench.model import Commit, Machine, Point, ProcessRecord, Result, Series, SeriesKey
from nbbench.record import rows, schema
from nbbench.record.engine import Database
from nbbench.record.ledger_files import torch_order
from nbbench.record.schema import StoredLedger
from nbbench.record.shapes import AnyRow, pairs, unpack

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

        pattern = _pattern(benchmark)
        commits = self.commits()
        ranks = self.ranks({commit.hash: place for place, commit in enumerate(commits)})
        with self.reading() as connection:
            chosen = self._chosen(connection, machine, pattern)
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
        with self.reading() as connection:
            query = sa.select(schema.series.c.id).where(_measured())
            measured = set(connection.execute(query).scalars())
            found = self._chosen(connection, machine)
        return [one for one in found if one[0] in measured]

    def size(self, *, machine: str | None = None) -> tuple[int, int]:
        """How many series have results, and how many results they have."""
        series = self._mine(sa.select(schema.series.c.id).join(schema.benchmarks), schema.benchmarks)
        if machine is not None:
            series = series.join(schema.machines).where(schema.machines.c.name == machine)
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
        c = schema.commits.c
        wanted = prefix.strip().lower()
        if not wanted:
            return None
        query = self._mine(sa.select(schema.commits), schema.commits)
        with self.reading() as connection:
            exact = connection.execute(query.where(c.hash == wanted)).first()
            alike = query.where(c.hash.startswith(wanted, autoescape=True)).limit(2)
            found = [exact] if exact else connection.execute(alike).all()
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
        c = schema.machines.c
        query = self._mine(sa.select(c.name, c.facts), schema.machines).order_by(c.name)
        with self.reading() as connection:
            return [Machine(name, pairs(facts)) for name, facts in connection.execute(query)]

    def measured_machines(self) -> list[str]:
        """The names of the machines that have results, sorted."""
        c = schema.machines.c
        series = sa.select(schema.series.c.machine_id).where(_measured())
        query = self._mine(sa.select(c.name), schema.machines).where(c.id.in_(series)).order_by(c.name)
        with self.reading() as connection:
            return list(connection.execute(query).scalars())

    def results(self, *, commit: str | None = None, benchmark: str | None = None) -> list[Result]:
        """Every stored result of a commit (by the beginning of its hash) or of a benchmark's name."""
        table = schema.results
        query = (
            sa.select(table, *series_columns(), schema.benchmarks.c.unit, schema.commits.c.hash)
            .select_from(keyed_series().join(table).join(schema.commits))
            .where(schema.benchmarks.c.project_id == self.project_id)
            .order_by(table.c.source_id, table.c.series_id)
        )
        if commit is not None:
            query = query.where(schema.commits.c.hash.startswith(commit.lower(), autoescape=True))
        if benchmark is not None:
            query = query.where(schema.benchmarks.c.name == benchmark)
        with self.reading() as connection:
            return [
                schema.RESULT.noun(row, key=key_from(row), commit=row.hash, unit=row.unit)
                for row in connection.execute(query)
            ]

    def process_records(self, commit: str | None = None, benchmark: str | None = None) -> list[ProcessRecord]:
        """Telemetry in the order of time, of one commit (by prefix) or of one benchmark's name."""
        table = schema.process_records
        query = self._of_sources(sa.select(table), table)
        query = query.order_by(table.c.started_at, table.c.source_id, table.c.line)
        if commit is not None:
            query = query.where(table.c.commit_hash.startswith(commit.lower(), autoescape=True))
        if benchmark is not None:
            query = query.where(table.c.benchmark == benchmark)
        with self.reading() as connection:
            return [schema.RECORD.noun(row) for row in connection.execute(query)]

    def ledger(self, tree: str, workload: str, torch: str | None = None) -> Ledger | None:
        """The ledger of a workload on a tree (by the beginning of its id), with its lines.

        Of several torch versions the newest counts, unless one is named.
        """
        found = self._ledgers(workload, lines=True, tree=tree, torch=torch)
        return max(found, key=lambda stored: torch_order(stored.torch)).ledger if found else None

    def ledgers(self, workload: str | None = None, *, lines: bool = False) -> list[StoredLedger]:
        """Every ledger, or those of one workload, by tree; with `lines` (and functions) on request."""
        return self._ledgers(workload, lines=lines)

    def _ledgers(
        self, workload: str | None, *, lines: bool, tree: str | None = None, torch: str | None = None
    ) -> list[StoredLedger]:
        table = schema.ledgers
        columns = [c for c in table.c if lines or c.name not in ("lines", "functions")]
        query = self._of_sources(sa.select(*columns), table)
        query = query.order_by(table.c.tree, table.c.workload, table.c.torch, table.c.source_id)
        if workload is not None:
            query = query.where(table.c.workload == workload)
        if tree is not None:
            query = query.where(table.c.tree.startswith(tree, autoescape=True))
        if torch is not None:
            query = query.where(table.c.torch == torch)
        with self.reading() as connection:
            found = {(row.tree, row.workload, row.torch): row for row in connection.execute(query)}
        return [
            StoredLedger(row.tree, row.commit_hash, row.torch, schema.LEDGER.noun(row))
            for row in found.values()
        ]

    def _mine(self, query: Any, table: sa.Table) -> Any:
        """The rows of `table` that belong to the project."""
        return query.where(table.c.project_id == self.project_id)

    def _of_sources(self, query: Any, table: sa.Table) -> Any:
        sources = self._mine(sa.select(schema.source_files.c.id), schema.source_files)
        return query.where(table.c.source_id.in_(sources))

    def _chosen(
        self, connection: sa.Connection, machine: str | None, pattern: re.Pattern[str] | None = None
    ) -> list[tuple[int, SeriesKey, str, str]]:
        b = schema.benchmarks.c
        query = sa.select(schema.series.c.id, *series_columns(), b.unit, b.kind).select_from(keyed_series())
        query = self._mine(query, schema.benchmarks)
        if machine is not None:
            query = query.where(schema.machines.c.name == machine)
        found = [(row.id, key_from(row), row.unit, row.kind) for row in connection.execute(query)]
        if pattern is not None:
            found = [item for item in found if _matches(pattern, item[1])]
        return sorted(found, key=lambda item: _order(item[1]))

    def _samples(self, ids: list[int]) -> dict[tuple[int, int], bytes]:
        """Packed samples by series and source."""
        c = schema.results.c
        query = sa.select(c.series_id, c.source_id, c.samples)
        query = query.where(c.series_id.in_(ids), c.samples.is_not(None))
        with self.reading() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def series_columns() -> tuple[sa.ColumnElement[Any], ...]:
    """The columns from which `key_from` builds a key."""
    b = schema.benchmarks.c
    values = schema.series.c.params.label("parameter_values")
    machine, environment = schema.machines.c.name, schema.environments.c.name
    names = machine.label("machine"), environment.label("environment")
    return b.name, b.version, b.param_names, values, *names


def keyed_series() -> sa.Join:
    """The series with everything that `series_columns` names."""
    series = schema.series
    return series.join(schema.benchmarks).join(schema.machines).join(schema.environments)


def key_from(row: AnyRow) -> SeriesKey:
    """The key of a row with the columns of `series_columns`."""
    return rows.series_key(row, _texts(row.param_names), _texts(row.parameter_values))


@lru_cache(maxsize=4096)
def _texts(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _measured() -> sa.ColumnElement[bool]:
    """That a series has results: one probe of the index for each, not a pass over the results."""
    return sa.exists().where(schema.results.c.series_id == schema.series.c.id)


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise UsageError(f"not a regular expression: {text!r} ({error})") from error


def _matches(pattern: re.Pattern[str], key: SeriesKey) -> bool:
    values = ", ".join(value for _, value in key.params)
    return any(pattern.search(text) for text in (key.benchmark, f"{key.benchmark}({values})", key.label))


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
