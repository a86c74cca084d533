"""Writing what was read from a results tree: each file replaces what it gave before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from nbbench.model import Benchmark, Decision, Machine, ProcessRecord
from nbbench.record import rows, schema
from nbbench.record.asv_results import ParsedFile
from nbbench.record.engine import Database
from nbbench.record.ids import Ids
from nbbench.record.rows import SourceFile
from nbbench.record.side_files import LedgerFile

# What a file gave; None for a bad file, of which only the reason is kept.
Payload = ParsedFile | Sequence[ProcessRecord] | LedgerFile | Decision | None

_OWNED = (schema.results, schema.process_records, schema.ledgers)


@dataclass(slots=True)
class Imported:
    """What one batch brought; `raced` are the paths of files that another process imported meanwhile."""

    results: int = 0
    samples: int = 0
    series: set[int] = field(default_factory=set)
    telemetry: int = 0
    ledgers: int = 0
    decisions: int = 0
    raced: set[str] = field(default_factory=set)


class Importing(Database):
    """The part of the store that imports."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self._ids = Ids(self)

    def import_parsed(self, parsed: ParsedFile, source: SourceFile) -> Imported:
        """Put one result file into the database in place of what it gave before."""
        return self.import_batch([(source, parsed)])

    def import_batch(self, items: Sequence[tuple[SourceFile, Payload]]) -> Imported:
        """Put several files into the database in one transaction: all of them or none."""
        done = Imported()
        with self._forgetting() as connection:
            there = self._sources(connection, [source.path for source, _ in items])
            for source, payload in items:
                before = there.get(schema.clean(source.path))
                if before and (before.sha256, before.status) == (source.sha256, source.status):
                    done.raced.add(source.path)
                    self._refresh(connection, source)
                else:
                    self._replace(connection, source, payload, before is not None, done)
        return done

    def sources(self) -> dict[str, SourceFile]:
        """Every file that was imported or found bad, by path."""
        with self.reading() as connection:
            return self._sources(connection)

    def refresh_sources(self, sources: Iterable[SourceFile]) -> None:
        """Note the new size and time of files whose content is the same."""
        with self.writing() as connection:
            for source in sources:
                self._refresh(connection, source)

    def forget_sources(self, paths: Iterable[str]) -> None:
        """Take these files and everything that they gave out of the database (decisions stay)."""
        table = schema.source_files
        with self.writing() as connection:
            for path in paths:
                number = connection.execute(sa.select(table.c.id).where(table.c.path == path)).scalar()
                if number is not None:
                    self._delete_owned(connection, number)
                    connection.execute(sa.delete(table).where(table.c.id == number))

    def save_machines(self, machines: Iterable[Machine]) -> None:
        """Keep the facts of these machines, in place of what was known."""
        insert = self.insert(schema.machines)
        statement = insert.on_conflict_do_update(
            index_elements=["name"], set_={"facts": insert.excluded.facts}
        )
        values = [{"name": m.name, "facts": rows.dumps(m.facts)} for m in machines]
        with self.writing() as connection:
            for row in values:
                connection.execute(statement, row)

    def declare_benchmarks(self, declared: Mapping[str, Benchmark], source: SourceFile) -> None:
        """Take over a benchmarks.json: units, kinds and parameter names by the benchmark's name.

        Files whose series carry other parameter names than it gives them become stale, so that
        importing in steps and importing at once end with the same database.
        """
        table = schema.benchmarks
        with self.writing() as connection:
            renamed = []
            for row in connection.execute(sa.select(table)).all():
                if (new := declared.get(row.name)) is None:
                    continue
                old = rows.benchmark_from(row)
                fits = len(new.param_names) == len(old.param_names)
                names = new.param_names if fits else old.param_names
                if names != old.param_names:
                    renamed.append(row.id)
                values = {"unit": new.unit, "kind": new.kind, "description": new.description}
                values["param_names"] = rows.dumps(names)
                connection.execute(sa.update(table).where(table.c.id == row.id).values(values))
            statement = self.insert(table).on_conflict_do_nothing()
            for benchmark in declared.values():
                connection.execute(statement, rows.benchmark_row(benchmark))
            _mark_stale(connection, renamed)
            self._source_id(connection, source)

    def benchmarks(self) -> dict[str, Benchmark]:
        """What is known of each benchmark, by name (its latest version)."""
        with self.reading() as connection:
            found = connection.execute(sa.select(schema.benchmarks).order_by(schema.benchmarks.c.id))
            return {row.name: rows.benchmark_from(row) for row in found}

    @contextmanager
    def _forgetting(self) -> Iterator[sa.Connection]:
        """A writing connection; when it is undone, so are the ids that it made."""
        try:
            with self.writing() as connection:
                yield connection
        except BaseException:
            self._ids.forget()
            raise

    def _replace(
        self, connection: sa.Connection, source: SourceFile, payload: Payload, known: bool, done: Imported
    ) -> None:
        number = self._source_id(connection, source, payload)
        if payload is None:
            return  # what the file gave while it was good stays
        if known:
            self._delete_owned(connection, number)
        if isinstance(payload, ParsedFile):
            self._add_results(connection, payload, number, done)
        elif isinstance(payload, LedgerFile):
            done.ledgers += _add(connection, schema.ledgers, rows.ledger_rows(payload, number))
        elif isinstance(payload, Decision):
            done.decisions += self._add_decision(connection, payload)
        else:
            new = [rows.record_row(record, number, i) for i, record in enumerate(payload, 1)]
            done.telemetry += _add(connection, schema.process_records, new)

    def _add_results(
        self, connection: sa.Connection, parsed: ParsedFile, source_id: int, done: Imported
    ) -> None:
        commit = self._ids.commit(connection, parsed)
        self._ids.machine(connection, parsed.machine)
        self._ids.environment(connection, parsed.environment, parsed)
        for benchmark in parsed.benchmarks:
            self._ids.benchmark(connection, benchmark)
        series = self._ids.series(connection, [result.key for result in parsed.results])
        # Two values of a parameter may have the same repr; as in asv, the last one counts.
        latest = {series[result.key]: result for result in parsed.results}
        new = [rows.result_row(result, source_id, number, commit) for number, result in latest.items()]
        done.results += _add(connection, schema.results, new)
        done.samples += sum(len(result.samples) for result in latest.values())
        done.series.update(latest)

    def _add_decision(self, connection: sa.Connection, decision: Decision) -> int:
        table = schema.decisions
        row = rows.decision_row(decision)
        if connection.execute(sa.select(table.c.id).where(table.c.digest == row["digest"])).first():
            return 0
        connection.execute(sa.insert(table), row)
        return 1

    def _source_id(self, connection: sa.Connection, source: SourceFile, payload: Payload = None) -> int:
        """Write a file's row and give its id."""
        table = schema.source_files
        parsed = payload if isinstance(payload, ParsedFile) else None
        row: dict[str, Any] = {
            "path": source.path,
            "kind": source.kind,
            "size": source.size,
            "mtime_ns": source.mtime_ns,
            "sha256": source.sha256,
            "status": source.status,
            "error": source.error,
            "imported_at": datetime.now(UTC),
            "params": rows.dumps(parsed.params if parsed else ()),
            "durations": rows.dumps(parsed.durations if parsed else ()),
        }
        statement = self.insert(table).on_conflict_do_update(index_elements=["path"], set_=row)
        return int(connection.execute(statement.returning(table.c.id), row).scalar_one())

    def _delete_owned(self, connection: sa.Connection, source_id: int) -> None:
        for table in _OWNED:
            connection.execute(sa.delete(table).where(table.c.source_id == source_id))

    def _refresh(self, connection: sa.Connection, source: SourceFile) -> None:
        table = schema.source_files
        where = (table.c.path == source.path) & (table.c.sha256 == source.sha256)
        values = {"size": source.size, "mtime_ns": source.mtime_ns}
        connection.execute(sa.update(table).where(where).values(values))

    def _sources(
        self, connection: sa.Connection, paths: Sequence[str] | None = None
    ) -> dict[str, SourceFile]:
        table = schema.source_files
        names = ("path", "kind", "size", "mtime_ns", "sha256", "status", "error")
        query = sa.select(*(table.c[name] for name in names))
        if paths is not None:
            query = query.where(table.c.path.in_(paths))
        return {row[0]: SourceFile(*row) for row in connection.execute(query)}


def _add(connection: sa.Connection, table: sa.Table, new: list[dict[str, Any]]) -> int:
    if new:
        connection.execute(sa.insert(table), new)
    return len(new)


def _mark_stale(connection: sa.Connection, benchmark_ids: Sequence[int]) -> None:
    files, results, series = schema.source_files, schema.results, schema.series
    if benchmark_ids:
        sources = sa.select(results.c.source_id).join(series).where(series.c.benchmark_id.in_(benchmark_ids))
        connection.execute(sa.update(files).where(files.c.id.in_(sources)).values(status="stale"))
