"""Writing what was read from a results tree: each file replaces what it gave before."""

import dataclasses
import hashlib
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

from nbbench.model import Benchmark, Commit, Decision, Machine, ProcessRecord, SeriesKey
from nbbench.record import schema
from nbbench.record.asv_results import ParsedFile, series_keys
from nbbench.record.engine import Connection, Database, lasting
from nbbench.record.read import series_digest
from nbbench.record.schema import SourceFile
from nbbench.record.shapes import dumps, storable, time_text
from nbbench.record.side_files import LedgerFile
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

    def add(self, more: "ImportReport") -> None:
        """Count what another report does, too."""
        for name in (one.name for one in dataclasses.fields(self)):
            setattr(self, name, getattr(self, name) + getattr(more, name))


_ONE_FILE = "WHERE project_id = ? AND place = ? AND path = ?"


# Rows of which the numbers of their series are kept (trees have some thousands of benchmarks), and files.
_MOST_MET, _MOST_LAYOUTS = 50_000, 500


class Importing(Database):
    """The part of the store that imports: every file of every tree, and what it gave.

    With ``keeps_rows`` results are rows, too: they are for SQL, and nothing else reads them.
    """

    keeps_rows = True
    _known: "_Known | None" = None

    @lasting
    def import_batch(
        self, items: Sequence[tuple[SourceFile, Payload]], place: str = "", report: ImportReport | None = None
    ) -> set[int]:
        """Put several files of the tree at `place` into the database in one transaction: all or none.

        Gives the series that got results. What a file gave before goes with its old content, also when it
        cannot be used any more. A file whose content the database refuses is kept as one of those.
        """
        given, report = report, ImportReport()
        touched: set[int] = set()
        was_known, self._known = self._known, None  # of what fails nothing stays
        with self.writing() as connection:
            query = f"SELECT * FROM files {_ONE_FILE}"
            found = (row for file, _ in items for row in connection.rows(query, self._file(place, file.path)))
            known = {row["path"]: schema.FILE.noun(row) for row in found}
            rows = _Rows(connection, self, was_known)
            for file, payload in items:
                before = known.get(storable(file.path))
                if before and (before.sha256, before.error) == (file.sha256, file.error):
                    update = f"UPDATE files SET size = ?, mtime_ns = ? {_ONE_FILE}"
                    connection.cursor(update, [file.size, file.mtime_ns, *self._file(place, file.path)])
                    report.files_unchanged += file.kind == "results" and not file.error
                    continue
                if payload is None and not file.error:
                    continue  # another process has imported a newer content meanwhile
                try:
                    with connection.part():
                        touched |= rows.put(place, file, payload, report)
                except self.refusals as error:
                    rows = _Rows(connection, self)  # those that it made are undone
                    file = dataclasses.replace(file, error=f"the database refuses it ({error})")
                    report.files_bad.append((escaped(file.path), file.error))
                    rows.put(place, file, None, report)
                if file.kind == "results" and not file.error:
                    if before:
                        report.files_changed += 1
                    else:
                        report.files_new += 1
        self._known = rows.known
        if given:
            given.add(report)
        return touched

    def forget_known(self) -> None:
        """Let go of the numbers of series that an import remembers."""
        self._known = None

    def files(self, place: str = "") -> dict[str, SourceFile]:
        """Every file of a tree that was imported or found bad, by path."""
        query = "SELECT * FROM files WHERE project_id = ? AND place = ?"
        return {one.path: one for one in self.nouns(schema.FILE, query, place)}

    def places(self) -> list[tuple[str, str]]:
        """The trees of all projects: the project's name and the place."""
        query = "SELECT DISTINCT p.name, f.place FROM projects p JOIN files f ON f.project_id = p.id"
        with self.reading() as connection:
            return sorted((name, place) for name, place in connection.cursor(query))

    @lasting
    def forget_files(self, paths: Collection[str], place: str = "") -> None:
        """Take these files of a tree, and what they gave, out of the database."""
        with self.writing() as connection:
            for path in paths:
                connection.cursor(f"DELETE FROM files {_ONE_FILE}", self._file(place, path))

    def benchmarks(self) -> dict[str, Benchmark]:
        """What is known of each benchmark, by name (its latest version)."""
        query = "SELECT * FROM benchmarks WHERE project_id = ? ORDER BY id"
        return {one.name: one for one in self.nouns(schema.BENCHMARK, query)}

    def _file(self, place: str, path: str) -> list[Any]:
        return [self.project_id, place, storable(path)]


@dataclass(slots=True)
class _Known:
    """Numbers of benchmarks and series. They stay while no other process adds any: the `newest` tells."""

    newest: dict[str, int]
    benchmarks: dict[tuple[str, str], int]
    series: dict[str, int]
    met: dict[tuple[int, str, str], tuple[Benchmark, list[int]]] = field(default_factory=dict)
    layouts: dict[tuple[Any, ...], "_Layout"] = field(default_factory=dict)


class _Layout(NamedTuple):
    """The ``series`` of files with these ``rows`` in their order, also as bytes; what stands for them, and
    the place of the least one."""

    rows: tuple[Benchmark, ...]
    series: list[int]
    ids: bytes
    digest: str
    first: int


class _Rows:
    """The rows of a project that results refer to, by number; good for one transaction of the only writer."""

    def __init__(self, connection: Connection, store: Importing, known: "_Known | None" = None) -> None:
        self._connection = connection
        self._project = project = store.project_id
        self._keeps_rows = store.keeps_rows
        newest = {
            table: connection.one(f"SELECT max(id) FROM {table}") or 0 for table in ("benchmarks", "series")
        }
        self.known = known if known and known.newest == newest else self._read(newest)
        commits = connection.cursor("SELECT hash, id FROM commits WHERE project_id = ?", [project])
        self._commits: dict[str, int] = dict(commits.fetchall())

    def _read(self, newest: dict[str, int]) -> "_Known":
        query = (
            "SELECT b.name, b.version, b.id, s.digest, s.id FROM benchmarks b "
            "LEFT JOIN series s ON s.benchmark_id = b.id WHERE b.project_id = ?"
        )
        rows = self._connection.cursor(query, [self._project]).fetchall()
        benchmarks = {(name, of): number for name, of, number, *_ in rows}
        return _Known(newest, benchmarks, {digest: number for *_, digest, number in rows if digest})

    def put(self, place: str, file: SourceFile, payload: Payload, report: ImportReport) -> set[int]:
        """Write a file and what it gave, in place of what it was; gives the series that got results."""
        where = [self._project, place, storable(file.path)]
        self._connection.cursor(f"DELETE FROM files {_ONE_FILE}", where)
        if isinstance(payload, ParsedFile):
            file = dataclasses.replace(file, params=payload.params)
        elif isinstance(payload, Machine):
            file = dataclasses.replace(file, params=(("machine", payload.name), *payload.facts))
        number = self._new("files", schema.FILE.row(file, project_id=self._project, place=place))
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
            report.ledgers += self._connection.insert("ledgers", new)
        elif isinstance(payload, Decision):
            report.decisions += self._connection.insert(
                "decisions", [schema.DECISION.row(payload, file_id=number)]
            )
        elif isinstance(payload, Sequence):
            new = [schema.RECORD.row(r, file_id=number, line=i) for i, r in enumerate(payload, 1)]
            report.telemetry += self._connection.insert("process_records", new)
        return set()

    def _put_results(self, parsed: ParsedFile, number: int, report: ImportReport) -> set[int]:
        layout, results, commit = self._layout(parsed), parsed.results, self._commit(parsed)
        series = layout.series
        if not series:
            return set()
        began = results.began(layout.first)
        row = {
            "file_id": number,
            "commit_id": commit,
            "machine": storable(parsed.machine),
            "environment": storable(parsed.environment),
            "layout": layout.digest,
            "started_at": began and time_text(began),
            "samples": results.samples,
            "packed": layout.ids + results.figures,
            "details": results.details,
            "runs": results.runs,
            "sampled": results.sampled,
        }
        self._connection.insert("columns", [row])
        if self._keeps_rows:
            status, value, _, *more = results.lists(range(len(series)))
            columns = schema.RESULT.encoded([status, value, *more])
            names = ("file_id", "series_id", "commit_id", *(column.name for column in schema.RESULT.columns))
            cells = zip(repeat(number), series, repeat(commit), *columns)
            # Two values of a parameter may have the same repr; as in asv, the last one counts.
            self._connection.insert_cells("results", names, dict(zip(series, cells, strict=True)).values())
        report.samples += results.samples
        report.results += len(found := set(series))
        return found

    def _layout(self, parsed: ParsedFile) -> _Layout:
        """The series of a file; those of a machine mostly have the same ones."""
        known = self.known.layouts
        key = parsed.machine, parsed.environment, *map(id, parsed.rows)
        if key not in known:
            if len(known) >= _MOST_LAYOUTS:
                known.clear()
            series = [number for row in parsed.rows for number in self._series_of(row, parsed)]
            ids, first = struct.pack(f"<{len(series)}q", *series), series.index(min(series)) if series else 0
            known[key] = _Layout(parsed.rows, series, ids, hashlib.sha256(ids).hexdigest(), first)
        return known[key]

    def _declare(self, declared: Mapping[str, Benchmark]) -> None:
        """Take over a benchmarks.json: units, kinds and parameter names by the benchmark's name."""
        names = ("unit", "kind", "description", "param_names")
        statement = f"UPDATE benchmarks SET {', '.join(f'{n} = ?' for n in names)}"
        for name, _ in list(self.known.benchmarks):
            if (new := declared.get(name)) is not None:
                said = schema.BENCHMARK.row(new)
                values = [*(said[column] for column in names), self._project, name]
                self._connection.cursor(f"{statement} WHERE project_id = ? AND name = ?", values)
        for benchmark in declared.values():
            self._benchmark(benchmark)

    def _commit(self, parsed: ParsedFile) -> int:
        """The commit of a file; what is not known about it yet comes with `place_commits`."""
        commit = storable(parsed.commit)
        if commit not in self._commits:
            row = schema.COMMIT.row(Commit(commit, "", parsed.date, ""), rank=0, project_id=self._project)
            self._commits[commit] = self._new("commits", row)
        return self._commits[commit]

    def _benchmark(self, benchmark: Benchmark) -> int:
        key = storable(benchmark.name), storable(benchmark.version)
        if key not in self.known.benchmarks:
            row = schema.BENCHMARK.row(benchmark, project_id=self._project)
            self.known.benchmarks[key] = self._new("benchmarks", row)
        return self.known.benchmarks[key]

    def _series_of(self, of: Benchmark, parsed: ParsedFile) -> list[int]:
        """The numbers of a row's series; the files of a machine mostly have the same rows."""
        met = id(of), *(where := (parsed.machine, parsed.environment))
        if met not in self.known.met:
            if len(self.known.met) >= _MOST_MET:
                self.known.met.clear()
            self._benchmark(of)
            keys = series_keys(of, *where)
            self.known.met[met] = of, list(map(self._one_series, keys))
        return self.known.met[met][1]

    def _one_series(self, key: SeriesKey) -> int:
        digest = series_digest(key)
        if digest not in self.known.series:
            names = tuple(name for name, _ in key.params)
            row = {
                "digest": digest,
                "benchmark_id": self._benchmark(Benchmark(key.benchmark, key.version, "", "", names)),
                "machine": storable(key.machine),
                "environment": storable(key.environment),
                "params": dumps([value for _, value in key.params]),
            }
            self.known.series[digest] = self._new("series", row)
        return self.known.series[digest]

    def _new(self, table: str, row: dict[str, Any]) -> int:
        places = ", ".join("?" * len(row))
        statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places}) RETURNING id"
        number = int(self._connection.cursor(statement, list(row.values())).fetchone()[0])
        if table in self.known.newest:
            self.known.newest[table] = number
        return number
