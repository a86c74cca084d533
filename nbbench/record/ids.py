"""Row numbers of the things that results refer to, made on first use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from nbbench.model import Benchmark, Commit, SeriesKey
from nbbench.record import schema
from nbbench.record.asv_results import ParsedFile
from nbbench.record.engine import Database
from nbbench.record.rows import digest_of, series_digest
from nbbench.record.shapes import dumps


class Ids:
    """Remembers ids of one project within one open store; `forget` after a transaction that was undone
    and after rows were deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.forget()

    def forget(self) -> None:
        """Drop everything that was remembered."""
        self._ids: dict[tuple[str, Any], int] = {}
        self._series: dict[SeriesKey, int] = {}

    def commit(self, connection: sa.Connection, parsed: ParsedFile) -> int:
        """The commit of a file; what is not known about it yet comes with `place_commits`."""
        row = schema.COMMIT.row(Commit(parsed.commit, "", parsed.date, ""), rank=0)
        return self._id(connection, schema.commits, {"hash": parsed.commit}, row)

    def machine(self, connection: sa.Connection, name: str) -> int:
        """A machine by name."""
        return self._id(connection, schema.machines, {"name": name}, {"facts": "[]"})

    def environment(self, connection: sa.Connection, name: str, parsed: ParsedFile | None = None) -> int:
        """An environment by name, described by the first file that was measured in it."""
        row = {
            "name": name,
            "python": parsed.python if parsed else "",
            "requirements": dumps(parsed.requirements if parsed else ()),
            "env_vars": dumps(parsed.env_vars if parsed else ()),
        }
        return self._id(connection, schema.environments, {"digest": digest_of(name)}, row)

    def benchmark(self, connection: sa.Connection, benchmark: Benchmark) -> int:
        """One version of a benchmark."""
        key = {"name": benchmark.name, "version": benchmark.version}
        return self._id(connection, schema.benchmarks, key, schema.BENCHMARK.row(benchmark))

    def series(self, connection: sa.Connection, keys: Iterable[SeriesKey]) -> dict[SeriesKey, int]:
        """The ids of these series, after making those that are new."""
        missing = {key: series_digest(key) for key in keys if key not in self._series}
        if missing:
            new = [self._series_row(connection, key, digest) for key, digest in missing.items()]
            connection.execute(self._database.insert(schema.series).on_conflict_do_nothing(), new)
            self._read_series(connection, missing)
        return self._series

    def _read_series(self, connection: sa.Connection, digests: Mapping[SeriesKey, str]) -> None:
        found: dict[str, int] = {}
        wanted = sorted(set(digests.values()))
        s, b = schema.series.c, schema.benchmarks.c
        mine = (
            sa.select(s.digest, s.id).join(schema.benchmarks).where(b.project_id == self._database.project_id)
        )
        for start in range(0, len(wanted), 500):
            query = mine.where(s.digest.in_(wanted[start : start + 500]))
            found.update((digest, number) for digest, number in connection.execute(query))
        self._series |= {key: found[digest] for key, digest in digests.items() if digest in found}

    def _series_row(self, connection: sa.Connection, key: SeriesKey, digest: str) -> dict[str, Any]:
        names = tuple(name for name, _ in key.params)
        benchmark = Benchmark(key.benchmark, key.version, "", "", names)
        return {
            "digest": digest,
            "benchmark_id": self.benchmark(connection, benchmark),
            "machine_id": self.machine(connection, key.machine),
            "environment_id": self.environment(connection, key.environment),
            "params": dumps([value for _, value in key.params]),
        }

    def _id(
        self, connection: sa.Connection, table: sa.Table, key: dict[str, str], values: dict[str, Any]
    ) -> int:
        known = (table.name, tuple(key.values()))
        if known not in self._ids:
            project = self._database.project_id
            row = values | key | {"project_id": project}
            connection.execute(self._database.insert(table).on_conflict_do_nothing(), row)
            where = [table.c[name] == value for name, value in key.items()]
            query = sa.select(table.c.id).where(table.c.project_id == project, *where)
            self._ids[known] = connection.execute(query).scalar_one()
        return self._ids[known]
