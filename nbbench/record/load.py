"""Brings a results tree into the database: what is new, changed or gone, a batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbbench.model import Benchmark
from nbbench.record.asv_results import (
    BENCHMARKS_JSON,
    MACHINE_JSON,
    ParsedFile,
    linked_back,
    machine_folders,
    parse_benchmarks,
    parse_machine,
    parse_result_file,
    read_machine,
)
from nbbench.record.asv_values import BadFileError, read_bytes
from nbbench.record.decisions import find_decisions, parse_decision
from nbbench.record.importing import ImportReport, Payload
from nbbench.record.schema import SourceFile
from nbbench.record.shapes import storable
from nbbench.record.side_files import parse_ledgers, parse_records
from nbbench.record.store import Store
from nbbench.words import escaped

# A batch is what an interrupted import loses and how long other writers wait: about a second.
_BATCH_FILES = 64
_BATCH_RESULTS = 20_000


@dataclass(frozen=True, slots=True)
class _Found:
    """A file of the tree that may be imported, of the kind that `SourceFile` has."""

    path: Path
    kind: str
    machine: str = ""


def import_results(store: Store, results_dir: Path, *, place: str = "") -> ImportReport:
    """Import what is new or changed in `results_dir`; may be repeated and interrupted at any time.

    A file of the same size and time, or of the same content, is not read again. What is gone from the
    tree, and what a file gave that cannot be used any more, leaves the database. `place` tells trees of one
    project apart (two checkouts): of two measurements of the same, the newer counts. Raises StoreError when
    the database cannot be written.
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
        # A benchmark that is no longer declared keeps the names that it was imported with.
        self._declared: dict[str, Benchmark] = store.benchmarks()
        self._batch: list[tuple[SourceFile, Payload]] = []
        self._series: set[int] = set()

    def run(self) -> ImportReport:
        present = set()
        for found in _files(self._root):
            name = found.path.relative_to(self._root).as_posix()
            present.add(storable(name))
            self._take(found, name)
        self._flush()
        # A benchmarks.json that is gone leaves its names behind.
        gone = [path for path in self._known if path not in present and path != BENCHMARKS_JSON]
        self._report.files_gone = len(gone)
        if gone:
            self._store.forget_files(gone, self._place)
        self._report.series = len(self._series)
        return self._report

    def _take(self, found: _Found, name: str) -> None:
        known = self._known.get(storable(name))
        size, mtime_ns = _stat(found.path)
        # Bad files are tried again: they are few, and a newer nbbench may know better.
        if known and not known.error and (known.size, known.mtime_ns) == (size, mtime_ns):
            self._report.files_unchanged += found.kind == "results"
            return
        payload: Payload = None
        sha256 = error = ""
        try:
            if found.kind == "link":
                raise BadFileError(found.path, "a link that leads back into the results is not followed")
            data = read_bytes(found.path)
            sha256 = hashlib.sha256(data).hexdigest()
            if not (known and not known.error and known.sha256 == sha256):
                payload = self._parse(found, data)
        except BadFileError as bad:
            error = bad.reason
            self._report.files_bad.append((escaped(name), error))
            if known and (known.sha256, known.error) == (sha256, error):
                return
        self._batch.append((SourceFile(name, found.kind, size, mtime_ns, sha256, error), payload))
        results = sum(len(p.results) for _, p in self._batch if isinstance(p, ParsedFile))
        if len(self._batch) >= _BATCH_FILES or results >= _BATCH_RESULTS:
            self._flush()

    def _parse(self, found: _Found, data: bytes) -> Payload:
        """What a file holds. Raises BadFileError."""
        if found.kind == "results":
            parsed = parse_result_file(data, found.path, self._declared, found.machine)
            self._report.odd_values += parsed.odd_values
            return parsed
        if found.kind == "benchmarks":
            declared = parse_benchmarks(data, found.path)
            self._declared |= declared
            return declared
        if found.kind == "machine":
            return parse_machine(data, found.path)
        if found.kind == "telemetry":
            records, bad = parse_records(data)
            self._report.bad_lines += bad
            return records
        if found.kind == "ledger":
            return parse_ledgers(data, found.path)
        return parse_decision(data, found.path)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self._series |= self._store.import_batch(batch, self._place, self._report)


def _files(root: Path) -> Iterator[_Found]:
    """Every file of the tree, what describes others first. What is named like one and is none (a pipe, a
    link to nowhere) is among them: reading it says what it is."""
    if _is_there(root / BENCHMARKS_JSON):
        yield _Found(root / BENCHMARKS_JSON, "benchmarks")
    for link in linked_back(root):
        yield _Found(link, "link")
    folders = machine_folders(root)
    for folder in folders:
        machine = read_machine(folder).name
        if _is_there(folder / MACHINE_JSON):
            yield _Found(folder / MACHINE_JSON, "machine")
        for path in sorted(folder.glob("*.json")):
            if path.name != MACHINE_JSON:
                yield _Found(path, "results", machine)
    for folder in folders:
        for path in sorted(folder.glob("telemetry/*.jsonl")):
            yield _Found(path, "telemetry")
    for path in sorted(root.glob("ledger/*.json.gz")):
        yield _Found(path, "ledger")
    for path in find_decisions(root / "decisions"):
        yield _Found(path, "decision")


def _stat(path: Path) -> tuple[int, int]:
    """A file's size and time; of what has none, reading it says what it is."""
    try:
        found = path.stat()
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()
