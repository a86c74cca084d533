"""The files of a results tree: which there are, which must be read, and what they hold."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nbbench.model import Benchmark
from nbbench.record.asv_results import (
    BENCHMARKS_JSON,
    MACHINE_JSON,
    KnownBenchmarks,
    linked_back,
    machine_folders,
    parse_benchmarks,
    parse_machine,
    parse_result_file,
    read_machine,
)
from nbbench.record.asv_values import BadFileError, read_bytes
from nbbench.record.decisions import find_decisions, parse_decision
from nbbench.record.importing import Payload
from nbbench.record.schema import SourceFile
from nbbench.record.side_files import parse_ledgers, parse_records


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of the tree that may be imported, of the kind that `SourceFile` has."""

    path: Path
    kind: str
    machine: str = ""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is new, changed or was bad, by its name in the tree; `known` is what it was."""

    found: TreeFile
    name: str
    size: int
    mtime_ns: int
    known: SourceFile | None


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file holds; `payload` is None for a bad one and for one whose content is known."""

    sha256: str = ""
    payload: Payload = None
    error: str = ""
    bad_lines: int = 0


class FileReader:
    """Reads files, in whichever process; nothing of the database is known there."""

    def __init__(self, declared: Mapping[str, Benchmark]) -> None:
        self._declared = KnownBenchmarks(declared)

    def read(self, new: NewFile) -> FileContent:
        """What a file holds, or why it cannot be used."""
        sha256, found, known = "", new.found, new.known
        try:
            if found.kind == "link":
                raise BadFileError(found.path, "a link that leads back into the results is not followed")
            data = read_bytes(found.path)
            sha256 = hashlib.sha256(data).hexdigest()
            if known and not known.error and known.sha256 == sha256:
                return FileContent(sha256)
            payload, bad_lines = self._parse(found, data)
        except BadFileError as bad:
            return FileContent(sha256, error=bad.reason)
        return FileContent(sha256, payload, bad_lines=bad_lines)

    def _parse(self, found: TreeFile, data: bytes) -> tuple[Payload, int]:
        """What a file holds, and how many bad lines. Raises BadFileError."""
        if found.kind == "results":
            return parse_result_file(data, found.path, self._declared, found.machine), 0
        if found.kind == "benchmarks":
            declared = parse_benchmarks(data, found.path)
            self._declared = KnownBenchmarks({**self._declared, **declared})
            return declared, 0
        if found.kind == "machine":
            return parse_machine(data, found.path), 0
        if found.kind == "telemetry":
            return parse_records(data)
        if found.kind == "ledger":
            return parse_ledgers(data, found.path), 0
        return parse_decision(data, found.path), 0


def tree_files(root: Path) -> Iterator[TreeFile]:
    """Every file of the tree, what describes others first. What is named like one and is none (a pipe, a
    link to nowhere) is among them: reading it says what it is."""
    if _is_there(root / BENCHMARKS_JSON):
        yield TreeFile(root / BENCHMARKS_JSON, "benchmarks")
    for link in linked_back(root):
        yield TreeFile(link, "link")
    folders = machine_folders(root)
    for folder in folders:
        machine = read_machine(folder).name
        if _is_there(folder / MACHINE_JSON):
            yield TreeFile(folder / MACHINE_JSON, "machine")
        for path in sorted(folder.glob("*.json")):
            if path.name != MACHINE_JSON:
                yield TreeFile(path, "results", machine)
    for folder in folders:
        for path in sorted(folder.glob("telemetry/*.jsonl")):
            yield TreeFile(path, "telemetry")
    for path in sorted(root.glob("ledger/*.json.gz")):
        yield TreeFile(path, "ledger")
    for path in find_decisions(root / "decisions"):
        yield TreeFile(path, "decision")


def size_and_time(path: Path) -> tuple[int, int]:
    """A file's size and time; of what has none, reading it says what it is."""
    try:
        found = path.stat()
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()
