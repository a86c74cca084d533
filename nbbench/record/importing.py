"""Writing what was read from a results tree: each file replaces what it gave before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from nbbench.model import Benchmark, Decision, Machine, ProcessRecord
from nbbench.record import schema
from nbbench.record.asv_results import ParsedFile
from nbbench.record.engine import Database
from nbbench.record.ids import Ids
from nbbench.record.rows import SourceFile
from nbbench.record.shapes import dumps
from nbbench.record.side_files import LedgerFile
from nbbench.record.values import storable

# What a file gave; None for a bad file, of which only the reason is kept.
Payload = ParsedFile | Sequence[ProcessRecord] | LedgerFile | Decision | None


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
    """The part of the store that imports.

    What a file says is kept once for its path and content (a *source*), whichever trees hold it; a source
    that no tree holds any more leaves the database.
    """

    def __init__(self, engine: sa.Engine, project: str = "") -> None:
        super().__init__(engine, project)
        self._ids = Ids(self)

    def import_batch(self, items: Sequence[tuple[SourceFile, Payload]], place: str = "") -> Imported:
        """Put several files of the tree at `place` into the database in one transaction: all or none."""
        done = Imported()
        with self._forgetting() as connection:
            tree = self._tree(connection, place)
            there = self._files(connection, tree, [file.path for file, _ in items])
            for file, payload in items:
                before, source = there.get(storable(file.path), (None, None))
                if before and (before.sha256, before.status) == (file.sha256, file.status):
                    done.raced.add(file.path)
                elif payload is not None:  # what a bad file gave while it was good stays
                    source = self._source(connection, file, payload, done)
                self._note(connection, tree, file, source)
            self._drop_unused(connection)
        return done

    def files(self, place: str = "") -> dict[str, SourceFile]:
        """Every file of a tree that was imported or found bad, by path."""
        with self.reading() as connection:
            tree = self._find_tree(connection, place)
            return {path: file for path, (file, _) in self._files(connection, tree).items()}

    def places(self) -> list[tuple[str, str]]:
        """The trees of all projects: the project's name and the place."""
        p, t = schema.projects.c, schema.trees.c
        query = sa.select(p.name, t.place).join(schema.trees).order_by(p.name, t.place)
        with self.reading() as connection:
            return [(row.name, row.place) for row in connection.execute(query)]

    def refresh_files(self, files: Iterable[SourceFile], place: str = "") -> None:
        """Note the new size and time of files whose content is the same."""
        c = schema.tree_files.c
        with self.writing() as connection:
            tree = self._tree(connection, place)
            for file in files:
                where = (c.tree_id == tree, c.path == storable(file.path), c.sha256 == file.sha256)
                values = {"size": file.size, "mtime_ns": file.mtime_ns}
                connection.execute(sa.update(schema.tree_files).where(*where).values(values))

    def forget_files(self, paths: Iterable[str], place: str = "") -> None:
        """Take these files of a tree, and what only they gave, out of the database."""
        c = schema.tree_files.c
        with self._forgetting() as connection:
            tree = self._tree(connection, place)
            for path in paths:
                where = (c.tree_id == tree, c.path == storable(path))
                connection.execute(sa.delete(schema.tree_files).where(*where))
            self._drop_unused(connection)
            self._ids.forget()

    def save_machines(self, machines: Iterable[Machine]) -> None:
        """Keep the facts of these machines, in place of what was known."""
        insert = self.insert(schema.machines)
        statement = insert.on_conflict_do_update(
            index_elements=["project_id", "name"], set_={"facts": insert.excluded.facts}
        )
        with self.writing() as connection:
            for machine in machines:
                row = {"project_id": self.project_id, "name": machine.name, "facts": dumps(machine.facts)}
                connection.execute(statement, row)

    def declare_benchmarks(
        self, declared: Mapping[str, Benchmark], file: SourceFile, place: str = ""
    ) -> None:
        """Take over a benchmarks.json: units, kinds and parameter names by the benchmark's name."""
        table = schema.benchmarks
        with self.writing() as connection:
            for row in connection.execute(
                sa.select(table).where(table.c.project_id == self.project_id)
            ).all():
                if (new := declared.get(row.name)) is not None:
                    said = schema.BENCHMARK.row(new)
                    values = {name: said[name] for name in ("unit", "kind", "description", "param_names")}
                    connection.execute(sa.update(table).where(table.c.id == row.id).values(values))
            statement = self.insert(table).on_conflict_do_nothing()
            for benchmark in declared.values():
                new_row = schema.BENCHMARK.row(benchmark, project_id=self.project_id)
                connection.execute(statement, new_row)
            source = self._source(connection, file, None, Imported())
            self._note(connection, self._tree(connection, place), file, source)
            self._drop_unused(connection)

    def benchmarks(self) -> dict[str, Benchmark]:
        """What is known of each benchmark, by name (its latest version)."""
        table = schema.benchmarks
        query = sa.select(table).where(table.c.project_id == self.project_id).order_by(table.c.id)
        with self.reading() as connection:
            return {row.name: schema.BENCHMARK.noun(row) for row in connection.execute(query)}

    @contextmanager
    def _forgetting(self) -> Iterator[sa.Connection]:
        """A writing connection; when it is undone, so are the ids that it made."""
        try:
            with self.writing() as connection:
                yield connection
        except BaseException:
            self._ids.forget()
            raise

    def _source(self, connection: sa.Connection, file: SourceFile, payload: Payload, done: Imported) -> int:
        """The source of a file's content, filled where it is new."""
        parsed = payload if isinstance(payload, ParsedFile) else None
        table, key = schema.source_files, {"path": file.path, "sha256": file.sha256}
        row: dict[str, Any] = key | {
            "project_id": self.project_id,
            "kind": file.kind,
            "imported_at": datetime.now(UTC),
            "params": dumps(parsed.params if parsed else ()),
            "durations": dumps(parsed.durations if parsed else ()),
        }
        c = table.c
        where = (c.project_id == self.project_id, c.path == storable(file.path), c.sha256 == file.sha256)
        if (known := connection.execute(sa.select(c.id).where(*where)).scalar()) is not None:
            return int(known)
        number = int(connection.execute(sa.insert(table).returning(c.id), row).scalar_one())
        if isinstance(payload, ParsedFile):
            self._add_results(connection, payload, number, done)
        elif isinstance(payload, LedgerFile):
            said = {"source_id": number, "tree": payload.tree, "commit_hash": payload.commit}
            said["torch"] = payload.torch
            new = [
                schema.LEDGER.row(ledger, **said) | {"workload": name}
                for name, ledger in payload.workloads.items()
            ]
            done.ledgers += _add(connection, schema.ledgers, new)
        elif isinstance(payload, Decision):
            row = schema.DECISION.row(payload, source_id=number)
            done.decisions += _add(connection, schema.decisions, [row])
        elif payload is not None:
            new = [schema.RECORD.row(r, source_id=number, line=i) for i, r in enumerate(payload, 1)]
            done.telemetry += _add(connection, schema.process_records, new)
        return number

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
        place = {"source_id": source_id, "commit_id": commit}
        new = [schema.RESULT.row(result, series_id=number, **place) for number, result in latest.items()]
        done.results += _add(connection, schema.results, new)
        done.samples += sum(len(result.samples) for result in latest.values())
        done.series.update(latest)

    def _note(self, connection: sa.Connection, tree: int, file: SourceFile, source: int | None) -> None:
        """Write how a file lies in its tree."""
        row: dict[str, Any] = {
            "size": file.size,
            "mtime_ns": file.mtime_ns,
            "sha256": file.sha256,
            "status": file.status,
            "error": file.error,
            "source_id": source,
        }
        insert = self.insert(schema.tree_files)
        statement = insert.on_conflict_do_update(index_elements=["tree_id", "path"], set_=row)
        connection.execute(statement, row | {"tree_id": tree, "path": file.path})

    def _drop_unused(self, connection: sa.Connection) -> None:
        """Delete the sources that no tree holds, and what they gave."""
        table, files = schema.source_files, schema.tree_files
        held = sa.exists().where(files.c.source_id == table.c.id)
        query = sa.select(table.c.id).where(table.c.project_id == self.project_id, ~held)
        for number in connection.execute(query).scalars().all():
            for owned in schema.OWNED:
                connection.execute(sa.delete(owned).where(owned.c.source_id == number))
            connection.execute(sa.delete(table).where(table.c.id == number))

    def _find_tree(self, connection: sa.Connection, place: str) -> int:
        c = schema.trees.c
        query = sa.select(c.id).where(c.project_id == self.project_id, c.place == place)
        return int(connection.execute(query).scalar() or 0)

    def _tree(self, connection: sa.Connection, place: str) -> int:
        row = {"project_id": self.project_id, "place": place}
        connection.execute(self.insert(schema.trees).on_conflict_do_nothing(), row)
        return self._find_tree(connection, place)

    def _files(
        self, connection: sa.Connection, tree: int, paths: Sequence[str] | None = None
    ) -> dict[str, tuple[SourceFile, int | None]]:
        """The files of a tree with their sources, by path."""
        c, s = schema.tree_files.c, schema.source_files.c
        columns = c.path, s.kind, c.size, c.mtime_ns, c.sha256, c.status, c.error, c.source_id
        query = sa.select(*columns).outerjoin(schema.source_files).where(c.tree_id == tree)
        if paths is not None:
            query = query.where(c.path.in_([storable(path) for path in paths]))
        rows = connection.execute(query)
        return {row[0]: (SourceFile(row[0], row[1] or "", *row[2:-1]), row[-1]) for row in rows}


def _add(connection: sa.Connection, table: sa.Table, new: list[dict[str, Any]]) -> int:
    if new:
        connection.execute(sa.insert(table), new)
    return len(new)
