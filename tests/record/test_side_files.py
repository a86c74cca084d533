"""Telemetry lines and ledger files."""

from __future__ import annotations

import dataclasses
import errno
import gzip
import json
import math
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.errors import HostError
from nbbench.growth import LineCounts, Quantity, ScaledWork
from nbbench.host import OF_TENSORS, PYTHON, HostCount, HostKind, HostMetric, HostPhase, HostWork
from nbbench.ledger import Ledger, LedgerLine
from nbbench.model import Phase, ProcessRecord
from nbbench.record import side_files
from nbbench.record.asv_values import BadFileError
from nbbench.record.packed import flat, pack
from nbbench.record.side_files import (
    LedgerFile,
    append_record,
    ledger_path,
    parse_records,
    read_ledgers,
    telemetry_path,
    write_ledgers,
)

RECORD = ProcessRecord(
    commit="c" * 40,
    environment="py3.11",
    benchmark="b.time_x",
    param_index=3,
    kind="run",
    started_at=datetime(2025, 10, 15, 11, 35, 31, 250_000, UTC),
    wall_s=1.5,
    exit_code=-9,
    timed_out=True,
    stderr_tail="größer\n",
    extra=(("threads", 2), ("flags", ["a", None])),
)
LEDGER = Ledger(
    workload="warm", pixels=64, ops=10, dispatched=11, bytes=6400, upcast_bytes=8, peak_live_bytes=512,
    bytes_by_dtype=(("float32", 6392), ("float64", 8)), image_sum="1.5", image_digest="abc",
    output_dtype="float32", image_blocks=(0.1, -2.0),
    lines=(LedgerLine("src/sim.py", 7, "run", "aten::mul", "float32", 2, 80, 4),), error="",
    fused_bytes=512, peak_line=("src/sim.py", 7, "run"), backward_ops=1, backward_bytes=12,
    notes=("ran eagerly",),
)  # fmt: skip


def test_where_files_lie(tmp_path):
    assert telemetry_path(tmp_path, "box", "0123456789", "py3.11-a/b") == (
        tmp_path / "box" / "telemetry" / "01234567-py3.11-a_b.jsonl"
    )
    assert ledger_path(tmp_path, "ab" * 20, "2.13.0+cpu").name == "abababababababab-torch2.13.0+cpu.json.gz"


def test_long_environment_names_are_asvs():
    asv = pytest.importorskip("asv.results")
    for name in ("x" * 127, "x" * 128, "ü" * 200):
        ours = telemetry_path(Path("r"), "box", "0" * 40, name)
        assert ours.stem == Path(asv.get_filename("box", "0" * 40, name)).stem


def test_a_record_survives(tmp_path):
    path = tmp_path / "deep" / "x.jsonl"
    later = dataclasses.replace(RECORD, started_at=datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=2))))
    append_record(path, RECORD)
    append_record(path, later)
    assert parse_records(path.read_bytes()) == ([RECORD, later], 0)
    lines = path.read_text(encoding="ascii").splitlines()
    assert json.loads(lines[0])["started_at"] == "2025-10-15T11:35:31.250000Z"
    assert json.loads(lines[0])["schema"] == 1


def test_what_json_lacks_is_not_written(tmp_path):
    append_record(tmp_path / "x", dataclasses.replace(RECORD, wall_s=math.nan, steal_s=math.inf))
    assert (tmp_path / "x").read_text().count("null") == RECORD.extra[1][1].count(None) + 2


@settings(max_examples=50, deadline=None)
@given(
    text=st.text(),
    seconds=st.floats(allow_nan=False, allow_infinity=False),
    number=st.integers(-(2**63), 2**63 - 1),
    when=st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
)
def test_any_record_survives(tmp_path_factory, text, seconds, number, when):
    path = tmp_path_factory.mktemp("t") / "x.jsonl"
    record = dataclasses.replace(
        RECORD, stderr_tail=text, wall_s=seconds, exit_code=number, started_at=when, extra=((text, seconds),)
    )
    append_record(path, record)
    assert parse_records(path.read_bytes()) == ([record], 0)


def test_a_torn_line_spoils_only_itself(tmp_path):
    path = tmp_path / "x.jsonl"
    append_record(path, RECORD)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    assert parse_records(path.read_bytes()) == ([RECORD], 1)
    append_record(path, RECORD)
    assert parse_records(path.read_bytes()) == ([RECORD, RECORD], 1)


def line(**changes):
    plain = flat(RECORD) | {"schema": 1} | changes
    return json.dumps(plain).encode()


def test_the_line_that_the_next_test_spoils():
    assert parse_records(line()) == ([RECORD], 0)


@pytest.mark.parametrize(
    "data",
    [
        b"x", b"[]", b"5", b"null", b"{}", b'{"schema": 1}', b"\xff\xfe", b"[" * 100_000, line()[:-1],
        line(schema=2), line(commit=5), line(commit="x" * 600), line(exit_code=2**70), line(exit_code=1.5),
        line(exit_code=True), line(wall_s="1"), line(started_at="2025-01-01T00:00:00"), line(started_at=5),
        line(timed_out=0), line(stderr_tail=None), line(extra=5), line(wall_s=10**400),
    ],
)  # fmt: skip
def test_lines_that_cannot_be_used(data):
    assert parse_records(data + b"\n\n") == ([], 1)


def test_unknown_and_missing_fields(tmp_path):
    plain = {
        "schema": 1,
        "commit": "c",
        "environment": "e",
        "benchmark": "b",
        "param_index": 0,
        "kind": "run",
    }
    plain |= {"started_at": "2025-10-15T11:35:31Z", "wall_s": 1, "exit_code": 0, "from the future": 5}
    ((record,), bad) = parse_records(json.dumps(plain | {"extra": [["a", 1]]}).encode())
    assert bad == 0
    assert (record.wall_s, record.user_s, record.extra) == (1.0, 0.0, (("a", 1),))


def test_processes_may_share_a_file(tmp_path):
    path = tmp_path / "x.jsonl"
    big = dataclasses.replace(RECORD, stderr_tail="x" * 20_000)
    threads = [
        threading.Thread(target=lambda: [append_record(path, big) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert parse_records(path.read_bytes()) == ([big] * 80, 0)


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda handle, data: len(data) - 1)
    with pytest.raises(OSError, match="No space left") as info:
        append_record(tmp_path / "x", RECORD)
    assert info.value.errno == errno.ENOSPC


def test_ledgers_survive(tmp_path):
    path = tmp_path / "ledger" / "x.json.gz"
    write_ledgers(path, LedgerFile("t" * 40, "c" * 40, "2.13.0", {"warm": LEDGER}))
    assert read_ledgers(path) == LedgerFile("t" * 40, "c" * 40, "2.13.0", {"warm": LEDGER})
    content = json.loads(gzip.decompress(path.read_bytes()))
    assert (content["schema"], content["kind"]) == (2, "nbbench-ledger")
    assert ["src/sim.py", 7, "run", "aten::mul", "float32", 2, 80, 4] in content["table"]
    assert [p.name for p in path.parent.iterdir()] == ["x.json.gz"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_ledgers_merge_to_the_same_bytes(tmp_path):
    one, two = tmp_path / "1", tmp_path / "2"
    other = dataclasses.replace(LEDGER, workload="sum", lines=(), error="RuntimeError: ü")
    write_ledgers(one, LedgerFile("t", "c", "2", {"warm": dataclasses.replace(LEDGER, ops=99)}))
    write_ledgers(one, LedgerFile("t", "later", "2", {"sum": other, "warm": LEDGER}))
    write_ledgers(two, LedgerFile("t", "c", "2", {"warm": LEDGER, "sum": other}))
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes()[4:8] == bytes(4)  # gzip's own time stamp
    assert read_ledgers(one).workloads == {"sum": other, "warm": LEDGER}
    assert read_ledgers(one).commit == "c"  # where the tree was first measured
    os.utime(one, ns=(1, 1))
    write_ledgers(one, LedgerFile("t", "c", "2", {"warm": LEDGER}))
    assert one.stat().st_mtime_ns == 1  # nothing new, nothing written


def test_ledgers_of_another_tree_are_not_replaced(tmp_path):
    write_ledgers(tmp_path / "x", LedgerFile("t", "c", "2", {"warm": LEDGER}))
    with pytest.raises(BadFileError, match="holds tree t with torch 2"):
        write_ledgers(tmp_path / "x", LedgerFile("other", "c", "2", {"warm": LEDGER}))


def test_a_damaged_ledger_file_is_measured_again(tmp_path):
    (tmp_path / "x").write_bytes(b"\x1f\x8b half")
    write_ledgers(tmp_path / "x", LedgerFile("t", "c", "2", {"warm": LEDGER}))
    assert read_ledgers(tmp_path / "x").workloads == {"warm": LEDGER}


def test_processes_may_merge_into_one_ledger_file(tmp_path):
    path = tmp_path / "x.json.gz"
    names = [f"w{n}" for n in range(12)]

    def write(name):
        write_ledgers(path, LedgerFile("t", "c", "2", {name: dataclasses.replace(LEDGER, workload=name)}))

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_ledgers(path).workloads) == sorted(names)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_ledgers(path, LedgerFile("t", "c", "2", {"warm": LEDGER}))
    before = path.read_bytes()

    def fail(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(HostError, match="the disk is full"):
        write_ledgers(path, LedgerFile("t", "c", "2", {"sum": LEDGER}))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def packed(**changes):
    workload = {"warm": flat(LEDGER)}
    content = {"schema": 1, "kind": "nbbench-ledger", "tree": "t", "commit": "c", "torch": "2"}
    return gzip.compress(json.dumps(content | {"workloads": workload} | changes).encode(), mtime=0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"), (b"{}", "not a gzip file"), (packed()[:-9], "not a gzip file"),
        (gzip.compress(b"[]"), "not a JSON object"), (gzip.compress(b"{"), "not JSON"),
        (packed(kind="x"), "not a ledger file"), (packed(schema=3), "schema 3"), (packed(tree=5), "damaged"),
        (packed(workloads=[]), "damaged"), (packed(workloads={"a": {}}), "damaged"),
        (packed(workloads={"a": flat(LEDGER) | {"lines": [[1]]}}), "damaged"),
        (packed(workloads={"a": flat(LEDGER) | {"peak_line": [1, 2, 3]}}), "damaged"),
    ],
    ids=range(12),
)  # fmt: skip
def test_ledger_files_that_cannot_be_used(tmp_path, data, reason):
    path = tmp_path / "x.json.gz"
    path.write_bytes(data)
    with pytest.raises(BadFileError) as info:
        read_ledgers(path)
    assert str(info.value).startswith(f"{path}: ")
    assert reason in info.value.reason
    with pytest.raises(BadFileError, match="cannot be read: No such file"):
        read_ledgers(tmp_path / "nowhere")


def test_a_count_in_place_of_a_phases_counts_is_damage(tmp_path):
    """One array of the file may stand in several places."""
    count, path = ["line", "a.py", 1, "f", "", 9], tmp_path / "x.json.gz"
    told = {"schema": 2, "kind": "nbbench-ledger", "tree": "t", "commit": "c", "torch": "2", "workloads": {}}
    for second, damaged in (([count], False), (count, True)):
        phases = [[Phase.CONSTRUCT, [count]], [Phase.WARM, second]]
        top = told | {"host": {"warm": {"workload": "warm", "python": PYTHON, "phases": phases}}}
        path.write_bytes(gzip.compress(json.dumps(pack(top)).encode()))
        if damaged:
            with pytest.raises(BadFileError, match="damaged"):
                read_ledgers(path)
        else:
            assert [len(phase.counts) for phase in read_ledgers(path).host["warm"].phases] == [1, 1]


@pytest.mark.parametrize(
    "later",
    [
        {"image_blocks": ()},
        {
            "fused_bytes": 0,
            "backward_ops": 0,
            "backward_bytes": 0,
            "peak_line": ("", 0, ""),
            "notes": (),
        },
    ],
    ids=["image_blocks", "fused_bytes"],
)
def test_ledgers_of_older_versions(tmp_path, later):
    plain = {k: v for k, v in flat(LEDGER).items() if k not in later}
    found = side_files.parse_ledgers(packed(workloads={"warm": plain}), tmp_path)
    assert found.workloads["warm"] == dataclasses.replace(LEDGER, **later)


def test_what_older_versions_kept_by_function_is_passed_over(tmp_path):
    plain = flat(LEDGER) | {"functions": [["src/sim.py", "run", 2, 80, 40, 1, 60]]}
    assert side_files.parse_ledgers(packed(workloads={"warm": plain}), tmp_path).workloads["warm"] == LEDGER


def test_scales_are_kept_beside_ledgers_and_their_orders_are_counts(tmp_path):
    lines = (LineCounts(Quantity.OPERATIONS, "sim.py", 7, "run", (8, 16, 24, 32)),)
    totals = ((Quantity.OPERATIONS, (9, 17, 25, 33)), (Quantity.PEAK, (1, 9, 2, 7)))
    scaled = ScaledWork("warm-N", "size", PYTHON, (8, 16, 24, 32), totals, lines)
    path = tmp_path / "one.json.gz"
    write_ledgers(path, LedgerFile("t", "c", "2.13.0", {"warm": LEDGER}, scaled={"warm-N": scaled}))
    write_ledgers(path, LedgerFile("t", "c", "2.13.0", {"other": LEDGER}))
    found = read_ledgers(path)
    assert found.scaled == {"warm-N": scaled} and set(found.workloads) == {"warm", "other"}
    assert found.counted["warm-N"].counts == ((Quantity.OPERATIONS.metric, 1.0),)
    elsewhere = dataclasses.replace(scaled, python="2.7")
    write_ledgers(
        path,
        LedgerFile(
            "t", "c", "2.13.0", {}, scaled={"warm-N": elsewhere, "bad-N": ScaledWork("", "", "", error="x")}
        ),
    )
    assert not {"warm-N", "bad-N"} & set(read_ledgers(path).counted)


def test_a_benchmark_process_needs_light_modules_only():
    code = """
import sys
before = set(sys.modules)
import nbbench.record.side_files
new = {name.partition(".")[0] for name in set(sys.modules) - before}
assert new <= set(sys.stdlib_module_names) | {"nbbench", "msgspec", "typing_extensions"}, new
assert {n for n in sys.modules if n.startswith("nbbench")} == {
    "nbbench", "nbbench.compiled", "nbbench.errors", "nbbench.growth", "nbbench.host",
    "nbbench.ledger", "nbbench.model",
    "nbbench.record", "nbbench.record.asv_values", "nbbench.record.atomic", "nbbench.record.packed",
    "nbbench.record.packed",
    "nbbench.record.side_files"}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_was_not_recorded_is_no_figure_of_nothing():
    """Tensors of starting up are recorded apart from the rest: neither is zero where it is not there."""
    phases = (HostPhase(Phase.CONSTRUCT, (HostCount(HostKind.LINE, "a.py", 1, "f", "", 9),)),)
    tensors = (HostPhase(Phase.CONSTRUCT, (HostCount(HostKind.OPERATION, "a.py", 1, "f", "mul", 3),)),)
    host, starts = HostWork("warm", PYTHON, phases), HostWork("warm", "", tensors)

    def counted(**sides):
        (ledger,) = LedgerFile("t", "c", "2", {"warm": LEDGER}, **sides).counted.values()
        return {name.removeprefix("track_host_"): value for name, value in ledger.counts if value}, len(
            ledger.counts
        )

    of_tensors = {"operations_construct": 3.0}
    assert counted(starts={"warm": starts}) == (of_tensors, len(OF_TENSORS))
    assert counted(host={"warm": host}) == ({"steps_construct": 9.0}, len(HostMetric) - len(OF_TENSORS))
    both = {"steps_construct": 9.0} | of_tensors
    assert counted(host={"warm": host}, starts={"warm": starts}) == (both, len(HostMetric))
