"""Small results trees, and the content of a database without its row numbers."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nbbench.ledger import Ledger, LedgerLine
from nbbench.model import Benchmark, Commit, ProcessRecord, Result
from nbbench.record import schema
from nbbench.record.asv_results import ParsedFile, series_keys
from nbbench.record.importing import ImportReport
from nbbench.record.result_arrays import PACKED_BYTES, STATES, PackedResults, packed
from nbbench.record.schema import SourceFile
from nbbench.record.shapes import digest_of

COLUMNS = [
    "result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b",
    "stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples", "profile",
]  # fmt: skip
SIZES = ["64", "128"]
START = datetime(2025, 10, 15, 11, 35, 31, tzinfo=UTC)


def commit_hash(number: int) -> str:
    return f"{number:08x}" + "c0ffee00" * 4


def row(values, params=(SIZES,), version="v1", started=1_760_000_000_000, samples=None):
    stats = [[v * 0.9 if isinstance(v, float) else None for v in values], None]
    cells = [values, list(params), version, started, 1.5, *stats, None, None, None, None, samples]
    while cells and cells[-1] is None:
        cells.pop()
    return cells


def write_result(root: Path, number: int, rows: dict, machine="box", environment="py3.11", **changes) -> Path:
    """A result file of commit `number`, a day later for each number."""
    folder = root / machine
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"arch": "x86_64", "cpu": "a processor", "machine": machine, "version": 1}
    (folder / "machine.json").write_text(json.dumps(facts))
    content = {
        "commit_hash": commit_hash(number),
        "env_name": environment,
        "date": 1_760_000_000_000 + number * 86_400_000,
        "params": {"machine": machine, "python": "3.11"},
        "python": "3.11",
        "requirements": {"torch": "2.13.0"},
        "env_vars": {},
        "result_columns": COLUMNS,
        "results": rows,
        "durations": {"<build>": 0.25},
        "version": 2,
    } | changes
    path = folder / f"{commit_hash(number)[:8]}-{environment}.json"
    path.write_text(json.dumps(content))
    return path


def write_benchmarks(root: Path, names=("size",)) -> Path:
    entry = {
        "param_names": list(names),
        "params": [SIZES],
        "type": "time",
        "unit": "seconds",
        "version": "v1",
    }
    track = {"param_names": [], "params": [], "type": "track", "unit": "operations", "version": "v1"}
    content = {"suite.time_run": entry | {"name": "suite.time_run"}, "suite.track_ops": track, "version": 2}
    root.mkdir(parents=True, exist_ok=True)
    path = root / "benchmarks.json"
    path.write_text(json.dumps(content))
    return path


def write_tree(root: Path, commits: int = 10) -> Path:
    """A tree of `commits` result files with two benchmarks, three series."""
    write_benchmarks(root)
    for number in range(1, commits + 1):
        samples = [[0.1 * number, 0.2], [0.5, None]]
        rows = {"suite.time_run": row([0.1 * number, 0.5], samples=samples)}
        rows["suite.track_ops"] = row([float(100 * number)], params=())
        write_result(root, number, rows)
    return root


def record(number: int = 1, **changes) -> ProcessRecord:
    fields = {
        "commit": commit_hash(number), "environment": "py3.11", "benchmark": "suite.time_run",
        "param_index": 0, "kind": "run", "started_at": START + timedelta(minutes=number),
        "wall_s": 1.25, "exit_code": 0, "machine": "box", "minor_faults": 12, "stderr_tail": "ü\n",
        "extra": (("load", 0.5), ("flags", "x")),
    }  # fmt: skip
    return ProcessRecord(**fields | changes)


def ledger(workload="warm", ops=10, lines=3) -> Ledger:
    return Ledger(
        workload=workload, pixels=64, ops=ops, dispatched=ops + 1, bytes=6400, upcast_bytes=8,
        peak_live_bytes=512, bytes_by_dtype=(("float32", 6392), ("float64", 8)), image_sum="1.5",
        image_digest="abc", output_dtype="float32", image_blocks=(0.1, 0.0),
        lines=tuple(LedgerLine("src/sim.py", n, "run", "aten::mul", "float32", 2, 80) for n in range(lines)),
        fused_bytes=512, peak_line=("src/sim.py", 7, "run"), backward_ops=1, backward_bytes=12,
        notes=("größer",),
    )  # fmt: skip


def commit(number: int, position: int | None = None, **changes) -> Commit:
    place = number if position is None else position
    fields = {"hash": commit_hash(number), "tree": f"{number:040x}", "date": START + timedelta(days=number)}
    return Commit(**fields | {"subject": f"commit {number}", "position": place} | changes)


def source(name: str, digest: str = "0" * 64) -> SourceFile:
    return SourceFile(name, "results", 1, 1, digest)


def benchmark(name="suite.time_run", version="v1", names=("size",)) -> Benchmark:
    return Benchmark(name, version, "seconds", "time", tuple(names), (tuple(SIZES),))


def results_in(parsed: ParsedFile) -> list[Result]:
    """The results of a file one by one."""
    where = parsed.machine, parsed.environment
    keys = [(key, of.unit) for of in parsed.rows for key in series_keys(of, *where)]
    found = zip(keys, *parsed.results.lists(range(parsed.results.size)), strict=True)
    return [Result(key, parsed.commit, s, value, unit, *rest) for (key, unit), s, value, *rest in found]


def rows_of(results, declared=None) -> dict:
    """Results as the rows of a file, one in each; of the ``declared`` benchmark, where one is given."""
    made = []
    for one in results:
        key = one.key
        names, values = tuple(n for n, _ in key.params), tuple((value,) for _, value in key.params)
        plain = Benchmark(key.benchmark, key.version, one.unit, "", names)
        made.append(replace(declared or plain, name=key.benchmark, version=key.version, params=values))
    return {"rows": tuple(made), "results": packed_of(results)}


def packed_of(results) -> PackedResults:
    return packed(
        [one.value or 0.0 for one in results],
        bytes(STATES.index(one.status) for one in results),
        [one.samples for one in results],
        [[getattr(one, name) for one in results] for name in ("number", "ci_lo", "ci_hi")],
        [(one.started_at, one.duration_s, 1) for one in results],
    )


_VOLATILE = {"id", "mtime_ns"}


def put_parsed(store, parsed, name: str, digest: str | None = None):
    """One parsed result file, in place of what it gave before."""
    digest = digest_of(name, repr(parsed)) if digest is None else digest
    report = ImportReport()
    store.import_batch([(source(name, digest), parsed)], report=report)
    return report


def unpacked(packed: bytes) -> list[tuple]:
    """Series, value and state of each result of a file's columns."""
    size = len(packed) // PACKED_BYTES
    figures = struct.unpack(f"<{size}q{size}d{size}b", packed)
    return list(zip(figures[:size], figures[size : 2 * size], figures[2 * size :], strict=True))


def content(store) -> dict[str, list]:
    """Every table with names in place of row numbers, so that two databases can be compared."""
    with store.reading() as connection:
        tables = {name: connection.rows(f"SELECT * FROM {name}") for name in schema.TABLES}
    names = {
        "series_id": {row["id"]: row["digest"] for row in tables["series"]},
        "commit_id": {row["id"]: row["hash"] for row in tables["commits"]},
        "file_id": {row["id"]: (row["path"], row["sha256"]) for row in tables["files"]},
        "benchmark_id": {row["id"]: (row["name"], row["version"]) for row in tables["benchmarks"]},
        "project_id": {row["id"]: row["name"] for row in tables["projects"]},
    }
    measured = set()
    for row in tables["columns"]:
        told = unpacked(row["packed"])
        row["packed"] = str([(names["series_id"][number], *rest) for number, *rest in told])
        del row["layout"]
        measured |= {number for number, *_ in told}
    tables["series"] = [row for row in tables["series"] if row["id"] in measured]
    return {
        name: sorted(
            str({k: names.get(k, {}).get(v, v) for k, v in row.items() if k not in _VOLATILE}) for row in rows
        )
        for name, rows in tables.items()
    }
