"""Reading series, results, telemetry and ledgers: a few bulk queries, whatever the number of rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa

from nbbench.errors import UsageError
from nbbench.ledger import Ledger
from nbbench.model import Commit, Machine, Point, ProcessRecord, Result, Series, SeriesKey, Status
from nbbench.record import rows, schema
from nbbench.record.engine import Database
from nbbench.record.rows import AnyRow, StoredLedger

# Series whose points are fetched together: few queries, and memory for one chunk only.
_CHUNK = 400

_STATUS = {status.value: status for status in Status}


class Reading(Database):
    """The part of the store that reads what was measured."""

    def series(
        self,
        *,
        benchmark: str | None = None,
        machine: str | None = None,
        environment: str | None = None,
        kinds: Collection[str] | None = None,
        samples: bool = True,
    ) -> list[Series]:
        """The series that match; see `iter_series`."""
        return list(
            self.iter_series(
                benchmark=benchmark, machine=machine, environment=environment, kinds=kinds, samples=samples
            )
        )

    def iter_series(
        self,
        *,
        benchmark: str | None = None,
        machine: str | None = None,
        environment: str | None = None,
        kinds: Collection[str] | None = None,
        samples: bool = True,
    ) -> Iterator[Series]:
        """The series that match, by name, with their points in commit order.

        `benchmark` is a regular expression found in the name, in asv's `name(value, …)` or in
        `SeriesKey.label`. Commits without a position stand by their date. Where two files give
        the same series and commit, the one that was measured last counts. Without `samples`
        the points are lighter. Raises UsageError for a malformed expression.
        """
        pattern = _pattern(benchmark)
        with self.reading() as connection:
            ordered = enumerate(_ordered_commits(connection))
            places = {number: (rank, commit) for rank, (number, commit) in ordered}
            chosen = _chosen(connection, pattern, machine, environment, kinds)
            for start in range(0, len(chosen), _CHUNK):
                chunk = chosen[start : start + _CHUNK]
                found = _points(connection, [number for number, *_ in chunk], places, samples)
                for number, key, unit, kind in chunk:
                    if points := found.get(number):
                        yield Series(key, unit, kind, points)

    def series_keys(self, *, machine: str | None = None) -> list[tuple[int, SeriesKey, str, str]]:
        """Id, key, unit and kind of every series that has results, by name."""
        with self.reading() as connection:
            measured = set(connection.execute(sa.select(schema.series.c.id).where(_measured())).scalars())
            return [one for one in _chosen(connection, None, machine, None, None) if one[0] in measured]

    def size(self, *, machine: str | None = None) -> tuple[int, int]:
        """How many series have results, and how many results they have."""
        series = sa.select(schema.series.c.id)
        results = sa.select(sa.func.count()).select_from(schema.results)
        if machine is not None:
            series = series.join(schema.machines).where(schema.machines.c.name == machine)
            results = results.where(schema.results.c.series_id.in_(series))
        count = sa.select(sa.func.count()).select_from(series.where(_measured()).subquery())
        with self.reading() as connection:
            return connection.execute(count).scalar_one(), connection.execute(results).scalar_one()

    def commit_ids(self) -> dict[str, int]:
        """The id of every commit, by its hash."""
        c = schema.commits.c
        with self.reading() as connection:
            return {row.hash: row.id for row in connection.execute(sa.select(c.hash, c.id))}

    def commits(self) -> list[Commit]:
        """Every commit in the order of the series' points."""
        with self.reading() as connection:
            return [commit for _, commit in _ordered_commits(connection)]

    def commit(self, prefix: str) -> Commit | None:
        """The commit whose hash begins so; None when there is none.

        Raises UsageError when several do.
        """
        table = schema.commits
        wanted = prefix.strip().lower()
        if not wanted:
            return None
        query = sa.select(table).where(table.c.hash.startswith(wanted, autoescape=True)).limit(2)
        with self.reading() as connection:
            exact = connection.execute(sa.select(table).where(table.c.hash == wanted)).first()
            found = [exact] if exact else connection.execute(query).all()
        if len(found) > 1:
            raise UsageError(f"several commits begin with {prefix!r}", hint="give more digits")
        return rows.commit_from(found[0]) if found else None

    def machines(self) -> list[Machine]:
        """Every machine with its facts, by name."""
        table = schema.machines
        with self.reading() as connection:
            found = connection.execute(sa.select(table.c.name, table.c.facts).order_by(table.c.name))
            return [Machine(name, rows.pairs(facts)) for name, facts in found]

    def measured_machines(self) -> list[str]:
        """The names of the machines that have results, sorted."""
        c = schema.machines.c
        series = sa.select(schema.series.c.machine_id).where(_measured())
        with self.reading() as connection:
            return list(
                connection.execute(sa.select(c.name).where(c.id.in_(series)).order_by(c.name)).scalars()
            )

    def results(self, *, commit: str | None = None, benchmark: str | None = None) -> list[Result]:
        """Every stored result of a commit (by the beginning of its hash) or of a benchmark's name."""
        table = schema.results
        query = (
            sa.select(table, *series_columns(), schema.benchmarks.c.unit, schema.commits.c.hash)
            .select_from(keyed_series().join(table).join(schema.commits))
            .order_by(table.c.source_id, table.c.series_id)
        )
        if commit is not None:
            query = query.where(schema.commits.c.hash.startswith(commit.lower(), autoescape=True))
        if benchmark is not None:
            query = query.where(schema.benchmarks.c.name == benchmark)
        with self.reading() as connection:
            return [_result(row) for row in connection.execute(query)]

    def process_records(self, commit: str | None = None, benchmark: str | None = None) -> list[ProcessRecord]:
        """Telemetry in the order of time, of one commit (by prefix) or of one benchmark's name."""
        table = schema.process_records
        query = sa.select(table).order_by(table.c.started_at, table.c.source_id, table.c.line)
        if commit is not None:
            query = query.where(table.c.commit_hash.startswith(commit.lower(), autoescape=True))
        if benchmark is not None:
            query = query.where(table.c.benchmark == benchmark)
        with self.reading() as connection:
            return [rows.record_from(row) for row in connection.execute(query)]

    def ledger(self, tree: str, workload: str, torch: str | None = None) -> Ledger | None:
        """The ledger of a workload on a tree (by the beginning of its id), with its lines.

        Of several torch versions the newest counts, unless one is named.
        """
        found = self._ledgers(workload, lines=True, tree=tree, torch=torch)
        return max(found, key=lambda stored: _version(stored.torch)).ledger if found else None

    def ledgers(self, workload: str | None = None, *, lines: bool = False) -> list[StoredLedger]:
        """Every ledger, or those of one workload, by tree; with `lines` (and functions) on request."""
        return self._ledgers(workload, lines=lines)

    def _ledgers(
        self, workload: str | None, *, lines: bool, tree: str | None = None, torch: str | None = None
    ) -> list[StoredLedger]:
        table = schema.ledgers
        columns = [c for c in table.c if lines or c.name not in ("lines", "functions")]
        query = sa.select(*columns).order_by(table.c.tree, table.c.workload, table.c.torch)
        if workload is not None:
            query = query.where(table.c.workload == workload)
        if tree is not None:
            query = query.where(table.c.tree.startswith(tree, autoescape=True))
        if torch is not None:
            query = query.where(table.c.torch == torch)
        with self.reading() as connection:
            return [rows.ledger_from(row) for row in connection.execute(query)]


def series_columns() -> tuple[sa.ColumnElement[Any], ...]:
    """The columns from which `rows.series_key` builds a key."""
    b, s = schema.benchmarks.c, schema.series.c
    machine, environment = schema.machines.c.name, schema.environments.c.name
    return b.name, b.version, s.params, machine.label("machine"), environment.label("environment")


def keyed_series() -> sa.Join:
    """The series with everything that `series_columns` names."""
    series = schema.series
    return series.join(schema.benchmarks).join(schema.machines).join(schema.environments)


def _measured() -> sa.ColumnElement[bool]:
    """That a series has results: one probe of the index for each, not a pass over the results."""
    return sa.exists().where(schema.results.c.series_id == schema.series.c.id)


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise UsageError(f"not a regular expression: {text!r} ({error})") from error


def _chosen(
    connection: sa.Connection,
    pattern: re.Pattern[str] | None,
    machine: str | None,
    environment: str | None,
    kinds: Collection[str] | None,
) -> list[tuple[int, SeriesKey, str, str]]:
    b = schema.benchmarks.c
    query = sa.select(schema.series.c.id, *series_columns(), b.unit, b.kind).select_from(keyed_series())
    if machine is not None:
        query = query.where(schema.machines.c.name == machine)
    if environment is not None:
        query = query.where(schema.environments.c.name == environment)
    if kinds is not None:
        query = query.where(b.kind.in_(list(kinds)))
    found = [(row.id, rows.series_key(row), row.unit, row.kind) for row in connection.execute(query)]
    if pattern is not None:
        found = [item for item in found if _matches(pattern, item[1])]
    return sorted(found, key=lambda item: _order(item[1]))


def _matches(pattern: re.Pattern[str], key: SeriesKey) -> bool:
    values = ", ".join(value for _, value in key.params)
    return any(pattern.search(text) for text in (key.benchmark, f"{key.benchmark}({values})", key.label))


def _order(key: SeriesKey) -> tuple[Any, ...]:
    return key.benchmark, key.version, key.machine, key.environment, key.params


def _ordered_commits(connection: sa.Connection) -> list[tuple[int, Commit]]:
    """Commits with their ids by position; those without one go in between by their date."""
    table = schema.commits
    every = [(row.id, rows.commit_from(row)) for row in connection.execute(sa.select(table))]
    every.sort(key=lambda item: (item[1].date, item[1].hash))
    placed = sorted((item for item in every if item[1].position), key=lambda item: item[1].position)
    loose = [item for item in every if not item[1].position]
    merged: list[tuple[int, Commit]] = []
    for item in placed:
        while loose and loose[0][1].date < item[1].date:
            merged.append(loose.pop(0))
        merged.append(item)
    return merged + loose


def _points(
    connection: sa.Connection, ids: list[int], places: dict[int, tuple[int, Commit]], samples: bool
) -> dict[int, tuple[Point, ...]]:
    """The points of these series, by the series' id; `places` ranks the commits by their ids."""
    c = schema.results.c
    packed = c.samples if samples else sa.null().label("samples")
    query = (
        sa.select(c.series_id, c.commit_id, c.value, c.status, packed)
        .where(c.series_id.in_(ids))
        .order_by(c.started_at.asc().nulls_first(), c.source_id)
    )
    latest: dict[int, dict[int, Any]] = {number: {} for number in ids}
    for row in connection.execute(query).all():
        latest[row[0]][row[1]] = row  # the last one measured stays
    found = {}
    for number, by_commit in latest.items():
        points = []
        for commit_id in sorted(by_commit, key=places.__getitem__):
            _, commit = places[commit_id]
            _, _, value, status, data = by_commit[commit_id]
            points.append(Point(commit.position, commit.hash, value, _STATUS[status], rows.unpack(data)))
        found[number] = tuple(points)
    return found


def _result(row: AnyRow) -> Result:
    return Result(
        key=rows.series_key(row),
        commit=row.hash,
        status=_STATUS[row.status],
        value=row.value,
        unit=row.unit,
        samples=rows.unpack(row.samples),
        number=row.number,
        ci_lo=row.ci_lo,
        ci_hi=row.ci_hi,
        started_at=row.started_at,
        duration_s=row.duration_s,
    )


def _version(torch: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", torch))
