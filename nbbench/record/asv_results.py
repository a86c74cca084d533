"""Reads any asv results tree (file versions 1 and 2): ours or another project's.

The file's own parameter values rule; benchmarks.json gives only units, kinds and parameter
names. Nothing here writes, and nothing here knows the database.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from operator import ne
from pathlib import Path
from typing import Any

from nbbench.model import Benchmark, Machine, SeriesKey, Status
from nbbench.record.asv_values import (
    MAX_NAME,
    NOT_A_NUMBER,
    BadFileError,
    count,
    finite_samples,
    load_object,
    name_of,
    number,
    pairs,
    read_bytes,
    texts,
    timestamp,
)
from nbbench.record.result_arrays import NO_RESULTS, STATES, PackedResults, packed

API_VERSION = 2
MACHINE_JSON = "machine.json"
BENCHMARKS_JSON = "benchmarks.json"
# Folders of a results tree that hold nbbench's side files and never asv's results.
RESERVED_FOLDERS = frozenset({"ledger", "decisions", "telemetry", "calibration"})

# asv builds an environment's name of all requirements and hashes it in names of files only.
_LONGEST_ENVIRONMENT = 100_000
# A row that claims more parameter sets than this is damaged: asv runs a process for each.
_MAX_SETS = 1_000_000
_STATISTICS = ("samples", "stats_number", "stats_ci_99_a", "stats_ci_99_b")
_KIND = re.compile(r"^(timeraw|time|peakmem|mem|track)_", re.IGNORECASE)
# asv's own units; a track_ benchmark without a declaration has none that is known.
_UNITS = {"time": "seconds", "peakmemory": "bytes", "memory": "bytes"}
_KIND_NAMES = {"timeraw": "time", "peakmem": "peakmemory", "mem": "memory"}


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """Everything that one result file says; mappings are pairs sorted by name. The `results` of its `rows`
    lie one behind the other, those of a row in asv's order.

    `odd_values` counts what was not usable as it stood: infinite or non-numeric values
    (kept as failed), samples that are not finite numbers (left out) and malformed rows.
    """

    machine: str
    commit: str
    environment: str
    date: datetime
    params: tuple[tuple[str, str], ...] = ()
    rows: tuple[Benchmark, ...] = ()
    results: PackedResults = NO_RESULTS
    odd_values: int = 0


class KnownBenchmarks(dict[str, Benchmark]):
    """What benchmarks.json declares, by name. As files mostly repeat what others hold, each benchmark is
    remembered as it was read last."""

    def __init__(self, declared: Mapping[str, Benchmark]) -> None:
        super().__init__(declared)
        self._last: dict[str, tuple[str, Any, Benchmark]] = {}
        self._every: dict[tuple[Any, ...], Benchmark] = {}

    def measured(self, name: str, version: str, raw: Any) -> Benchmark | None:
        """The benchmark of a row, by its version and parameter values; None where the row is damaged."""
        if (last := self._last.get(name)) and last[0] == version and last[1] == raw:
            return last[2]
        if (params := _row_params(raw)) is None:
            return None
        made = _measured(name, version, params, self.get(name))
        made = self._every.setdefault((name, version, params), made)
        if params == tuple(map(tuple, raw or ())):  # numbers may be equal and read otherwise
            self._last[name] = version, raw, made
        return made


def machine_folders(results_dir: Path) -> list[Path]:
    """The folders of the tree that belong to a machine; links that lead back into the tree are none."""
    back = linked_back(results_dir)
    return [folder for folder in _folders(results_dir) if folder not in back]


def linked_back(results_dir: Path) -> list[Path]:
    """The links among the tree's folders that lead back into it: results would count twice, or never end."""
    whole = results_dir.resolve()
    return [
        folder
        for folder in _folders(results_dir)
        if folder.is_symlink()
        and (whole.is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(whole))
    ]


def _folders(results_dir: Path) -> list[Path]:
    there = sorted(results_dir.iterdir()) if results_dir.is_dir() else []
    return [f for f in there if f.name not in RESERVED_FOLDERS and not f.name.startswith(".") and f.is_dir()]


def read_machine(folder: Path) -> Machine:
    """The machine of a folder with the facts that asv recorded; without them it has the folder's name."""
    path = folder / MACHINE_JSON
    try:
        return parse_machine(read_bytes(path), path)
    except BadFileError:
        return Machine(folder.name)


def parse_machine(data: bytes, path: Path) -> Machine:
    """The machine that the machine.json at `path` describes. Raises BadFileError."""
    facts = load_object(data, path)
    name = facts.pop("machine", None)
    facts.pop("version", None)
    good = isinstance(name, str) and 0 < len(name) <= MAX_NAME
    return Machine(name if good else path.parent.name, pairs(facts))


def parse_benchmarks(data: bytes, path: Path) -> dict[str, Benchmark]:
    """The benchmarks that the benchmarks.json at `path` declares, by name. Raises BadFileError."""
    return {
        name: _declared(name, entry)
        for name, entry in load_object(data, path).items()
        if isinstance(entry, dict) and len(name) <= MAX_NAME
    }


def parse_result_file(
    data: bytes, path: Path, benchmarks: Mapping[str, Benchmark], machine: str
) -> ParsedFile:
    """The content of the result file at `path`. Raises BadFileError, which says what is wrong."""
    top = _as_version2(load_object(data, path, marked=True), path)
    columns, rows = top.get("result_columns"), top.get("results")
    if not isinstance(columns, list) or not isinstance(rows, dict):
        raise BadFileError(path, "not an asv result file (no results or no result_columns)")
    date = timestamp(top.get("date"))
    if date is None:
        raise BadFileError(path, "not an asv result file (no usable date)")
    names = [c if isinstance(c, str) else "" for c in columns]
    known = benchmarks if isinstance(benchmarks, KnownBenchmarks) else KnownBenchmarks(benchmarks)
    table = _Rows(known)
    for name, row in rows.items():
        table.add_row(name, row, names)
    return ParsedFile(
        machine=machine,
        commit=name_of(top, "commit_hash", path),
        environment=name_of(top, "env_name", path, _LONGEST_ENVIRONMENT),
        date=date,
        params=pairs(top.get("params")),
        rows=tuple(table.rows),
        results=packed(table.values, table.states, table.samples, table.details, table.runs),
        odd_values=table.odd,
    )


class _Rows:
    """Gathers the rows of one file."""

    def __init__(self, known: KnownBenchmarks) -> None:
        self.known, self.odd = known, 0
        self.rows: list[Benchmark] = []
        self.values, self.states = list[float](), b""
        self.samples: list[tuple[float, ...]] = []
        self.details: tuple[list[Any], ...] = [], [], []
        self.runs: list[tuple[datetime | None, float | None, int]] = []

    def add_row(self, name: str, row: Any, columns: list[str]) -> None:
        """Add one benchmark's row; asv drops trailing nulls, so columns may be missing."""
        cells = dict(zip(columns, row, strict=False)) if isinstance(row, list) else {}
        version = str(cells.get("version") or "")
        of = self.known.measured(name, version, cells.get("params"))
        if not isinstance(row, list) or of is None or max(len(name), len(version)) > MAX_NAME:
            self.odd += 1
            return
        size = math.prod(map(len, of.params))
        values = cells.get("result")
        if values is not None and not isinstance(values, list):
            values = [values]
        self.odd += max(0, len(values or ()) - size)
        states, figures = self._figures(_padded(values, size))
        samples, times, *ends = (_padded(cells.get(column), size) for column in _STATISTICS)
        self.rows.append(of)
        self.values += figures
        self.states += states
        self.samples += [() if one is None else self._samples(one) for one in samples]
        for kept, found in zip(self.details, (map(count, times), *map(_numbers, ends)), strict=True):
            kept += found
        self.runs.append((timestamp(cells.get("started_at")), number(cells.get("duration")), size))

    def _figures(self, values: list[Any]) -> tuple[bytes, list[float]]:
        if set(map(type, values)) == {float} and all(map(math.isfinite, values)):  # nearly always
            return bytes(len(values)), values
        told = [self._classify(value) for value in values]
        return bytes(STATES.index(status) for status, _ in told), [value for _, value in told]

    def _samples(self, raw: Any) -> tuple[float, ...]:
        kept, dropped = finite_samples(raw)
        self.odd += dropped
        return kept

    def _classify(self, raw: Any) -> tuple[Status, float]:
        """Asv writes null for failed and NaN for skipped; anything else must be a finite number."""
        if raw is None:
            return Status.FAILED, 0.0
        value = number(raw)
        if value is not None and math.isfinite(value):
            return Status.OK, value
        if raw == NOT_A_NUMBER or (isinstance(raw, float) and math.isnan(raw)):
            return Status.SKIPPED, 0.0
        self.odd += 1
        return Status.FAILED, 0.0


def _as_version2(top: dict[str, Any], path: Path) -> dict[str, Any]:
    if (version := top.get("version")) == 1:
        from asv.results import Results  # a quarter of a second, which few trees need
        from asv.util import UserError

        try:
            return dict(Results.update_to_2(top))  # what `asv update` writes
        except (UserError, TypeError, ValueError, AttributeError, IndexError) as error:
            said = f"an asv result file of version 1 that asv does not convert ({error})"
            raise BadFileError(path, said) from error
    if version != API_VERSION:
        raise BadFileError(path, f"not an asv result file of version {API_VERSION} (version {version!r})")
    return top


def _padded(cell: Any, size: int) -> list[Any]:
    """A column of one row: as many entries as it has series, None where the file has none."""
    found = cell[:size] if isinstance(cell, list) else []
    return found + [None] * (size - len(found))


def _numbers(column: list[Any]) -> list[float | None]:
    if set(map(type, column)) == {float} and not any(map(ne, column, column)):  # nearly always; NaN is odd
        return column
    return list(map(number, column))


def _row_params(raw: Any) -> tuple[tuple[str, ...], ...] | None:
    """The parameter values of a row; None when the row is damaged."""
    if raw is None:
        return ()
    if not isinstance(raw, list) or not all(isinstance(values, list) for values in raw):
        return None
    if math.prod(len(values) for values in raw) > _MAX_SETS:
        return None
    return texts(raw)


def _declared(name: str, entry: Mapping[str, Any]) -> Benchmark:
    names = entry.get("param_names")
    return Benchmark(
        name=name,
        version=str(entry.get("version") or "")[:MAX_NAME],
        unit=str(entry.get("unit") or ""),
        kind=str(entry.get("type") or _kind(name)),
        param_names=tuple(map(str, names)) if isinstance(names, list) else (),
        params=_row_params(entry.get("params")) or (),
        description=str(entry.get("description") or entry.get("pretty_name") or ""),
    )


def _measured(
    name: str, version: str, params: tuple[tuple[str, ...], ...], declared: Benchmark | None
) -> Benchmark:
    """A benchmark as one file holds it: the file's version and values, the declaration's words."""
    names = declared.param_names if declared else ()
    if len(names) != len(params):
        names = tuple(f"param{i + 1}" for i in range(len(params)))  # asv's own default
    if declared is None:
        kind = _kind(name)
        return Benchmark(name, version, _UNITS.get(kind, ""), kind, names, params)
    return Benchmark(name, version, declared.unit, declared.kind, names, params, declared.description)


def _kind(name: str) -> str:
    """The kind that asv derives from the name of a function."""
    match = _KIND.match(name.rpartition(".")[2])
    return _KIND_NAMES.get(match[1], match[1]) if match else ""


def series_keys(of: Benchmark, machine: str, environment: str) -> tuple[SeriesKey, ...]:
    """The keys of a row in asv's order, in which the last parameter varies fastest; two are equal where two
    values of a parameter read the same."""
    return tuple(
        SeriesKey(of.name, of.version, tuple(zip(of.param_names, values, strict=True)), machine, environment)
        for values in product(*of.params)
    )
