"""Brings a results tree into the database: what is new, changed or gone, a batch at a time."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nbbench.model import Benchmark
from nbbench.record.asv_results import (
    BENCHMARKS_JSON,
    ParsedFile,
    find_result_files,
    machine_folders,
    parse_benchmarks,
    parse_result_file,
    read_machine,
)
from nbbench.record.asv_values import BadFileError, read_bytes
from nbbench.record.decisions import find_decisions, parse_decision
from nbbench.record.engine import BadDataError
from nbbench.record.importing import Imported, Payload
from nbbench.record.rows import SourceFile
from nbbench.record.side_files import parse_ledgers, parse_records
from nbbench.record.store import Store
from nbbench.record.values import storable

# A batch is what an interrupted import loses and how long other writers wait: about a second.
_BATCH_FILES = 64
_BATCH_RESULTS = 20_000


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


@dataclass(frozen=True, slots=True)
class _Found:
    """A file of the tree that may be imported."""

    path: Path
    name: str
    kind: str
    size: int
    mtime_ns: int
    machine: str = ""


def import_results(store: Store, results_dir: Path, *, place: str = "") -> ImportReport:
    """Import what is new or changed in `results_dir`; may be repeated and interrupted at any time.

    A file of the same size and time, or of the same content, is not read again. What is gone from the
    tree leaves the database. `place` tells trees of one project apart (two checkouts): a result that both
    have counts once, and of two measurements the newer. Raises StoreError when the database cannot be
    written.
    """
    return _Import(store, results_dir, place).run()


class _Import:
    """One import: looks at every file, reads what is needed, writes batch by batch."""

    def __init__(self, store: Store, results_dir: Path, place: str) -> None:
        self._store = store
        self._root = results_dir
        self._place = place
        self._report = ImportReport()
        self._known: dict[str, SourceFile] = store.files(place)
        self._declared: Mapping[str, Benchmark] = {}
        self._batch: list[tuple[SourceFile, Payload]] = []
        self._same: list[SourceFile] = []
        self._series: set[int] = set()

    def run(self) -> ImportReport:
        files = list(_files(self._root))
        self._take_machines()
        self._take_benchmarks()
        for found in files:
            self._take(found)
        self._flush()
        if self._same:
            self._store.refresh_files(self._same, self._place)
        self._take_leave({storable(found.name) for found in files})
        self._report.series = len(self._series)
        return self._report

    def _take_machines(self) -> None:
        known = {machine.name: machine for machine in self._store.machines()}
        found = [m for folder in machine_folders(self._root) if (m := read_machine(folder)).facts]
        changed = [machine for machine in found if known.get(machine.name) != machine]
        if changed:
            self._store.save_machines(changed)

    def _take_benchmarks(self) -> None:
        """Read benchmarks.json; while it is damaged, what the database knows must do."""
        path = self._root / BENCHMARKS_JSON
        declared: dict[str, Benchmark] = {}
        if path.exists() or path.is_symlink():
            found = _found(self._root, path, "benchmarks")
            try:
                data = read_bytes(path)
                declared = parse_benchmarks(data, path)
            except BadFileError as error:
                self._report.files_bad.append((BENCHMARKS_JSON, error.reason))
            else:
                source, known = _source(found, data), self._known.get(BENCHMARKS_JSON)
                if known is None or known.sha256 != source.sha256:
                    self._store.declare_benchmarks(declared, source, self._place)
        # A benchmark that is no longer declared keeps the names that it was imported with.
        self._declared = {**self._store.benchmarks(), **declared}

    def _take(self, found: _Found) -> None:
        known = self._known.get(storable(found.name))
        # Bad files are tried again: they are few, and a newer nbbench may know better.
        same_stat = known and (known.size, known.mtime_ns) == (found.size, found.mtime_ns)
        if known and known.status == "ok" and same_stat:
            self._count(known)
            return
        try:
            data = read_bytes(found.path)
        except BadFileError as error:  # not remembered: the next import tries again
            self._report.files_bad.append((found.name, error.reason))
            return
        source = _source(found, data)
        if known and known.status == "ok" and known.sha256 == source.sha256:
            self._same.append(source)
            self._count(known)
            return
        payload = self._parse(found, data)
        if isinstance(payload, str):
            source = dataclasses.replace(source, status="bad", error=payload)
            self._count(source)
            payload = None
        self._batch.append((source, payload))
        results = sum(len(p.results) for _, p in self._batch if isinstance(p, ParsedFile))
        if len(self._batch) >= _BATCH_FILES or results >= _BATCH_RESULTS:
            self._flush()

    def _count(self, source: SourceFile) -> None:
        """Count a file that brings nothing new."""
        if source.status == "bad":
            self._report.files_bad.append((source.path, source.error))
        elif source.kind == "results":
            self._report.files_unchanged += 1

    def _parse(self, found: _Found, data: bytes) -> Payload | str:
        """What a file holds, or why it cannot be used."""
        try:
            if found.kind == "results":
                parsed = parse_result_file(data, found.path, self._declared, found.machine)
                self._report.odd_values += parsed.odd_values
                return parsed
            if found.kind == "telemetry":
                records, bad = parse_records(data)
                self._report.bad_lines += bad
                return records
            if found.kind == "ledger":
                return parse_ledgers(data, found.path)
            return parse_decision(data, found.path)
        except BadFileError as error:
            return error.reason

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        try:
            self._add(batch, self._store.import_batch(batch, self._place))
        except BadDataError as error:
            if len(batch) > 1:
                for item in batch:  # find the file that the database refuses
                    self._batch = [item]
                    self._flush()
                return
            reason = f"the database refuses it ({error})"
            refused = dataclasses.replace(batch[0][0], status="bad", error=reason)
            self._count(refused)
            self._store.import_batch([(refused, None)], self._place)

    def _add(self, batch: list[tuple[SourceFile, Payload]], done: Imported) -> None:
        for source, payload in batch:
            if source.kind != "results" or payload is None:
                continue
            if source.path in done.raced:
                self._report.files_unchanged += 1
            elif storable(source.path) in self._known:
                self._report.files_changed += 1
            else:
                self._report.files_new += 1
        for name in ("results", "samples", "telemetry", "ledgers", "decisions"):
            setattr(self._report, name, getattr(self._report, name) + getattr(done, name))
        self._series |= done.series

    def _take_leave(self, present: set[str]) -> None:
        """Take out what is gone from the tree. A benchmarks.json that is gone leaves its names behind."""
        gone = [path for path in self._known if path not in present and path != BENCHMARKS_JSON]
        self._report.files_gone = len(gone)
        if gone:
            self._store.forget_files(gone, self._place)


def _files(root: Path) -> Iterator[_Found]:
    for path, machine in find_result_files(root):
        yield _found(root, path, "results", machine)
    for kind, paths in (
        ("telemetry", (p for f in machine_folders(root) for p in sorted(f.glob("telemetry/*.jsonl")))),
        ("ledger", iter(sorted(root.glob("ledger/*.json.gz")))),
        ("decision", iter(find_decisions(root / "decisions"))),
    ):
        for path in paths:
            yield _found(root, path, kind)


def _found(root: Path, path: Path, kind: str, machine: str = "") -> _Found:
    name = path.relative_to(root).as_posix()
    try:
        stat = path.stat()
    except OSError:  # reading it says what it is
        return _Found(path, name, kind, -1, 0, machine)
    return _Found(path, name, kind, stat.st_size, stat.st_mtime_ns, machine)


def _source(found: _Found, data: bytes) -> SourceFile:
    digest = hashlib.sha256(data).hexdigest()
    return SourceFile(found.name, found.kind, found.size, found.mtime_ns, digest)
