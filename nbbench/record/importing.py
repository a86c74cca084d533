"""Writing what was read from a results tree: each file replaces what it gave before."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import sqlalchemy as sa

from nbbench.model import Benchmark, Commit, Decision, Machine, ProcessRecord, SeriesKey
from nbbench.record import schema
from nbbench.record.asv_results import ParsedFile
from nbbench.record.engine import Database
from nbbench.record.schema import SourceFile
from nbbench.record.shapes import digest_of, dumps
from nbbench.record.side_files import LedgerFile
from nbbench.record.values import storable
from nbbench.words import escaped

Payload: TypeAlias = (
    ParsedFile | Mapping[str, Benchmark] | Machine | Sequence[ProcessRecord] | LedgerFile | Decision | None
)
"""What a file gave; None for a file that cannot be used, and for one whose content is known."""


@dataclass(slots=True)
class ImportReport:
    """What an import found and brought.

    The files are asv's result files, except that `files_bad` names every file that could not be
    used, with the reason; a file that is still bad is named each time. `files_gone` were
    imported once, are no longer in the tree and have left the database with it. `series` counts those
    that got results; `odd_values` what was not usable in result files, `bad_lines` in telemetry.
    `notes` are what else is to be known of the history: results that belong to no place in it.
    """

    files_new: int = 0
    files_changed: int = 0
    files_unchanged: int = 0
    files_bad: list[tuple[str, str]] = field(default_factory=list)
    files_gone: int = 0
    results: int = 0
    samples: int = 0
    series: int = 0
    telemetry: int = 0
    ledgers: int = 0
    decisions: int = 0
    odd_values: int = 0
    bad_lines: int = 0
    notes: list[str] = field(default_factory=list)


class Importing(Database):
    """The part of the store that imports: every file of every tree, and what it gave."""

    def import_batch(
        self, items: Sequence[tuple[SourceFile, Payload]], place: str = "", report: ImportReport | None = None
    ) -> set[int]:
        """Put several files of the tree at `place` into the database in one transaction: all or none.

        Gives the series that got results. What a file gave before goes with its old content, also when it
        cannot be used any more. A file whose content the database refuses is kept as one of those.
        """
        report = report or ImportReport()
        touched: set[int] = set()
        with self.writing() as connection:
            known = self._files(connection, place, [file.path for file, _ in items])
            rows = _Rows(connection, self.project_id)
            for file, payload in items:
                before = known.get(storable(file.path))
                if before and (before.sha256, before.error) == (file.sha256, file.error):
                    self._touch(connection, place, file)
                    report.files_unchanged += file.kind == "results" and not file.error
                    continue
                if payload is None and not file.error:
                    continue  # another process has imported a newer content meanwhile
                try:
                    with connection.begin_nested():
                        touched |= rows.put(place, file, payload, report)
                except (sa.exc.DataError, sa.exc.IntegrityError, OverflowError) as error:
                    rows = _Rows(connection, self.project_id)  # those that it made are undone
                    file = dataclasses.replace(file, error=f"the database refuses it ({error})")
                    report.files_bad.append((escaped(file.path), file.error))
                    rows.put(place, file, None, report)
                if file.kind == "results" and not file.error:
                    if before:
                        report.files_changed += 1
                    else:
                        report.files_new += 1
        return touched

    def files(self, place: str = "") -> dict[str, SourceFile]:
        """Every file of a tree that was imported or found bad, by path."""
        with self.reading() as connection:
            return self._files(connection, place)

    def places(self) -> list[tuple[str, str]]:
        """The trees of all projects: the project's name and the place."""
        p, f = schema.projects.c, schema.files.c
        query = sa.select(p.name, f.place).join(schema.files).distinct().order_by(p.name, f.place)
        with self.reading() as connection:
            return [(row.name, row.place) for row in connection.execute(query)]

    def forget_files(self, paths: Iterable[str], place: str = "") -> None:
        """Take these files of a tree, and what they gave, out of the database."""
        with self.writing() as connection:
            for path in paths:
                connection.execute(sa.delete(schema.files).where(*self._file(place, path)))

    def benchmarks(self) -> dict[str, Benchmark]:
        """What is known of each benchmark, by name (its latest version)."""
        table = schema.benchmarks
        query = sa.select(table).where(table.c.project_id == self.project_id).order_by(table.c.id)
        with self.reading() as connection:
            return {row.name: schema.BENCHMARK.noun(row) for row in connection.execute(query)}

    def _file(self, place: str, path: str) -> tuple[sa.ColumnElement[bool], ...]:
        c = schema.files.c
        return c.project_id == self.project_id, c.place == place, c.path == storable(path)

    def _touch(self, connection: sa.Connection, place: str, file: SourceFile) -> None:
        statement = sa.update(schema.files).where(*self._file(place, file.path))
        connection.execute(statement.values(size=file.size, mtime_ns=file.mtime_ns))

    def _files(
        self, connection: sa.Connection, place: str, paths: Sequence[str] | None = None
    ) -> dict[str, SourceFile]:
        c = schema.files.c
        query = sa.select(schema.files).where(c.project_id == self.project_id, c.place == place)
        if paths is not None:
            query = query.where(c.path.in_([storable(path) for path in paths]))
        return {row.path: schema.FILE.noun(row) for row in connection.execute(query)}


class _Rows:
    """The rows of a project that results refer to, by number; good for one transaction of the only writer."""

    def __init__(self, connection: sa.Connection, project: int) -> None:
        self._connection = connection
        self._project = project
        c, b, s = schema.commits.c, schema.benchmarks.c, schema.series.c
        commits = connection.execute(sa.select(c.hash, c.id).where(c.project_id == project))
        self._commits: dict[str, int] = {row.hash: row.id for row in commits}
        query = sa.select(b.name, b.version, b.id, s.digest, s.id.label("series"))
        query = query.select_from(schema.benchmarks.outerjoin(schema.series)).where(b.project_id == project)
        rows = connection.execute(query).all()
        self._benchmarks: dict[tuple[str, str], int] = {(row.name, row.version): row.id for row in rows}
        self._series: dict[str, int] = {row.digest: row.series for row in rows if row.digest}

    def put(self, place: str, file: SourceFile, payload: Payload, report: ImportReport) -> set[int]:
        """Write a file and what it gave, in place of what it was; gives the series that got results."""
        table = schema.files
        where = (table.c.project_id == self._project, table.c.place == place)
        self._connection.execute(sa.delete(table).where(*where, table.c.path == storable(file.path)))
        if isinstance(payload, ParsedFile):
            file = dataclasses.replace(file, params=payload.params)
        elif isinstance(payload, Machine):
            file = dataclasses.replace(file, params=(("machine", payload.name), *payload.facts))
        number = self._new(table, schema.FILE.row(file, project_id=self._project, place=place))
        if isinstance(payload, ParsedFile):
            return self._put_results(payload, number, report)
        if isinstance(payload, Mapping):
            self._declare(payload)
        elif isinstance(payload, LedgerFile):
            said = {"file_id": number, "tree": payload.tree, "commit_hash": payload.commit}
            new = [
                schema.LEDGER.row(ledger, **said, torch=payload.torch) | {"workload": name}
                for name, ledger in payload.counted.items()
            ]
            report.ledgers += self._add(schema.ledgers, new)
        elif isinstance(payload, Decision):
            report.decisions += self._add(schema.decisions, [schema.DECISION.row(payload, file_id=number)])
        elif isinstance(payload, Sequence):
            new = [schema.RECORD.row(r, file_id=number, line=i) for i, r in enumerate(payload, 1)]
            report.telemetry += self._add(schema.process_records, new)
        return set()

    def _put_results(self, parsed: ParsedFile, number: int, report: ImportReport) -> set[int]:
        commit = self._commit(parsed)
        for benchmark in parsed.benchmarks:
            self._benchmark(benchmark)
        # Two values of a parameter may have the same repr; as in asv, the last one counts.
        latest = {self._one_series(result.key): result for result in parsed.results}
        there = {"file_id": number, "commit_id": commit}
        new = [schema.RESULT.row(result, series_id=series, **there) for series, result in latest.items()]
        report.results += self._add(schema.results, new)
        report.samples += sum(len(result.samples) for result in latest.values())
        return set(latest)

    def _declare(self, declared: Mapping[str, Benchmark]) -> None:
        """Take over a benchmarks.json: units, kinds and parameter names by the benchmark's name."""
        c = schema.benchmarks.c
        for name, _ in list(self._benchmarks):
            if (new := declared.get(name)) is not None:
                said = schema.BENCHMARK.row(new)
                values = {column: said[column] for column in ("unit", "kind", "description", "param_names")}
                statement = sa.update(schema.benchmarks).where(c.project_id == self._project, c.name == name)
                self._connection.execute(statement.values(values))
        for benchmark in declared.values():
            self._benchmark(benchmark)

    def _commit(self, parsed: ParsedFile) -> int:
        """The commit of a file; what is not known about it yet comes with `place_commits`."""
        commit = storable(parsed.commit)
        if commit not in self._commits:
            row = schema.COMMIT.row(Commit(commit, "", parsed.date, ""), rank=0, project_id=self._project)
            self._commits[commit] = self._new(schema.commits, row)
        return self._commits[commit]

    def _benchmark(self, benchmark: Benchmark) -> int:
        key = storable(benchmark.name), storable(benchmark.version)
        if key not in self._benchmarks:
            row = schema.BENCHMARK.row(benchmark, project_id=self._project)
            self._benchmarks[key] = self._new(schema.benchmarks, row)
        return self._benchmarks[key]

    def _one_series(self, key: SeriesKey) -> int:
        digest = series_digest(key)
        if digest not in self._series:
            names = tuple(name for name, _ in key.params)
            row = {
                "digest": digest,
                "benchmark_id": self._benchmark(Benchmark(key.benchmark, key.version, "", "", names)),
                "machine": key.machine,
                "environment": key.environment,
                "params": dumps([value for _, value in key.params]),
            }
            self._series[digest] = self._new(schema.series, row)
        return self._series[digest]

    def _new(self, table: sa.Table, row: dict[str, Any]) -> int:
        number: int = self._connection.execute(sa.insert(table).returning(table.c.id), row).scalar_one()
        return number

    def _add(self, table: sa.Table, new: list[dict[str, Any]]) -> int:
        if new:
            self._connection.execute(sa.insert(table), new)
        return len(new)


@lru_cache(maxsize=50_000)
def series_digest(key: SeriesKey) -> str:
    """What stands for a series in the database; the names of parameters are the benchmark's."""
    names = (storable(part) for part in (key.benchmark, key.version, key.machine, key.environment))
    return digest_of(*names, [value for _, value in key.params])
