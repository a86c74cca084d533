"""nbbench's own files beside asv's: telemetry as JSON lines, ledgers as compressed JSON.

Benchmark processes use this module too, so it needs the standard library and light modules only.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import gzip
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbbench.ledger import FunctionCost, Ledger, LedgerLine
from nbbench.model import ProcessRecord, to_plain
from nbbench.record.asv_values import BadFileError, load_object, read_bytes, unpacked
from nbbench.record.atomic import write_bytes

SCHEMA = 1
LEDGER_KIND = "nbbench-ledger"

# Longer names come from damaged lines only; the database indexes them.
_MAX_NAME = 500


@dataclass(frozen=True, slots=True)
class LedgerFile:
    """The ledgers of one tree under one torch version, by workload."""

    tree: str
    commit: str
    torch: str
    workloads: Mapping[str, Ledger]


def telemetry_path(results_dir: Path, machine: str, commit: str, environment: str) -> Path:
    """Where the telemetry of one commit in one environment lies, named as asv names its file."""
    if len(environment) >= 128:  # asv's own rule
        environment = "env-" + hashlib.md5(environment.encode(), usedforsecurity=False).hexdigest()
    return results_dir / machine / "telemetry" / f"{commit[:8]}-{_file_part(environment)}.jsonl"


def ledger_path(results_dir: Path, tree: str, torch: str) -> Path:
    """Where the ledgers of one tree under one torch version lie."""
    return results_dir / "ledger" / f"{tree[:16]}-torch{_file_part(torch)}.json.gz"


def append_record(path: Path, record: ProcessRecord) -> None:
    """Add one line to a telemetry file by a single write, so that processes may share it.

    A line that a killed process left unfinished is closed first and spoils only itself.
    """
    plain = {"schema": SCHEMA} | _no_nan(to_plain(record))
    data = json.dumps(plain, separators=(",", ":")).encode("ascii") + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            data = b"\n" + data
        if os.write(handle, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(handle)


def parse_records(data: bytes) -> tuple[list[ProcessRecord], int]:
    """The records of a telemetry file, and how many of its lines could not be used."""
    records, bad = [], 0
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            bad += 1
    return records, bad


def write_ledgers(path: Path, tree: str, commit: str, torch: str, ledgers: Mapping[str, Ledger]) -> None:
    """Write the ledgers of a tree, keeping the workloads that the file has already.

    The bytes depend on the content only, and a file that would not change is not touched.
    Raises BadFileError when the file there belongs to another tree or torch version.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        before = _ledgers_there(path)
        if before and (before.tree, before.torch) != (tree, torch):
            raise BadFileError(path, f"holds tree {before.tree} with torch {before.torch}, not {tree}")
        merged = {**(before.workloads if before else {}), **ledgers}
        content = {
            "schema": SCHEMA,
            "kind": LEDGER_KIND,
            "tree": tree,
            "commit": before.commit if before else commit,  # where this tree was first measured
            "torch": torch,
            "workloads": {name: _plain_ledger(merged[name]) for name in sorted(merged)},
        }
        text = json.dumps(content, separators=(",", ":"))
        _replace(path, gzip.compress(text.encode("ascii"), 9, mtime=0))


def read_ledgers(path: Path) -> LedgerFile:
    """The ledgers of a file. Raises BadFileError, which names the file and what is wrong."""
    return parse_ledgers(read_bytes(path), path)


def parse_ledgers(data: bytes, path: Path) -> LedgerFile:
    """The content of the ledger file at `path`; see `read_ledgers`."""
    top = load_object(unpacked(data, path), path)
    if top.get("kind") != LEDGER_KIND:
        raise BadFileError(path, "not a ledger file")
    if top.get("schema") != SCHEMA:
        raise BadFileError(path, f"ledger file of schema {top.get('schema')!r}; this nbbench reads {SCHEMA}")
    try:
        workloads = {str(name): _ledger(entry) for name, entry in top["workloads"].items()}
        return LedgerFile(_short(top["tree"]), _short(top["commit"]), _short(top["torch"]), workloads)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadFileError(path, f"damaged ledger file ({error!r})") from error


def parse_time(value: Any) -> datetime:
    """An ISO 8601 time with Z or an offset, in UTC. Raises ValueError."""
    when = datetime.fromisoformat(value)
    if when.tzinfo is None:
        raise ValueError(f"time without an offset: {value}")
    return when.astimezone(UTC)


def _record(plain: dict[str, Any]) -> ProcessRecord:
    if plain["schema"] != SCHEMA:
        raise ValueError("unknown schema")
    fields = {k: plain[k] for k in _RECORD_KINDS if k in plain}
    return ProcessRecord(**{k: _RECORD_KINDS[k](v) for k, v in fields.items()})


def _short(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_NAME:
        raise ValueError("not a name")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _int(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError("not an integer of 64 bits")
    return value


def _float(value: Any) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("not a number")
    return float(value)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def _extra(value: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((_text(k), v) for k, v in (value.items() if isinstance(value, dict) else value))


_KINDS: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "datetime": parse_time,
    "tuple[tuple[str, Any], ...]": _extra,
}
_RECORD_KINDS = {f.name: _KINDS[str(f.type)] for f in dataclasses.fields(ProcessRecord)}
_RECORD_KINDS |= dict.fromkeys(("commit", "benchmark", "kind", "machine"), _short)
_LEDGER_KINDS: dict[str, Callable[[Any], Any]] = {
    f.name: _KINDS[str(f.type)] for f in dataclasses.fields(Ledger) if str(f.type) in ("str", "int")
}
_LATER = frozenset({"fused_bytes", "backward_ops", "backward_bytes"})


def _plain_ledger(ledger: Ledger) -> dict[str, Any]:
    plain: dict[str, Any] = _no_nan(to_plain(dataclasses.replace(ledger, lines=(), functions=())))
    plain["lines"] = [list(dataclasses.astuple(line)) for line in ledger.lines]
    plain["functions"] = [list(dataclasses.astuple(function)) for function in ledger.functions]
    return plain


def _ledger(entry: Mapping[str, Any]) -> Ledger:
    # Older files lack what came later; there it stays what it is without being measured.
    fields = {k: kind(entry[k]) for k, kind in _LEDGER_KINDS.items() if k in entry or k not in _LATER}
    path, line, function = entry.get("peak_line", ("", 0, ""))
    return Ledger(
        **fields,
        peak_line=(_text(path), _int(line), _text(function)),
        image_blocks=tuple(map(_float, entry.get("image_blocks", ()))),
        bytes_by_dtype=tuple((_text(dtype), _int(size)) for dtype, size in entry["bytes_by_dtype"]),
        lines=tuple(line_from(cells) for cells in entry["lines"]),
        functions=tuple(function_from(cells) for cells in entry.get("functions", ())),
        notes=tuple(map(_text, entry.get("notes", ()))),
    )


def line_from(cells: list[Any]) -> LedgerLine:
    """A ledger line from its compact form. Raises ValueError."""
    path, line, function, op, dtype, *counts = cells
    texts = (_text(path), _int(line), _text(function), _text(op), _text(dtype))
    return LedgerLine(*texts, *(_int(c) for c in counts))


def function_from(cells: list[Any]) -> FunctionCost:
    """The cost of a function from its compact form. Raises ValueError."""
    path, function, *counts = cells
    return FunctionCost(_text(path), _text(function), *(_int(c) for c in counts))


def _ledgers_there(path: Path) -> LedgerFile | None:
    """What the file holds; nothing when it is missing or damaged (it can be measured again)."""
    try:
        return read_ledgers(path)
    except BadFileError:
        return None


def _replace(path: Path, data: bytes) -> None:
    if not (path.exists() and path.read_bytes() == data):
        write_bytes(path, data)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder itself, so that no lock file lies among the results."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _file_part(name: str) -> str:
    return name.replace("/", "_").replace("\0", "_")


def _no_nan(value: Any) -> Any:
    """JSON has no NaN; it is read back from null."""
    if isinstance(value, dict):
        return {k: _no_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_no_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
