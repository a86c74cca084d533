"""Whatever is put in comes out again, on both engines."""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_trees import START, commit_hash, ledger, put_parsed, record, rows_of, source

from nbbench.model import Result, SeriesKey, Status
from nbbench.record.asv_results import ParsedFile
from nbbench.record.side_files import LedgerFile

SETTINGS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
numbers = itertools.count(1)

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
texts = st.text(max_size=200)  # NUL too
floats = st.floats(allow_nan=True, allow_infinity=True)
finite = st.floats(allow_nan=False, allow_infinity=False)
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
counts = st.integers(0, 2**63 - 1)


@st.composite
def results(draw):
    values = draw(st.lists(texts, max_size=3))
    pairs = tuple((f"param{i + 1}", value) for i, value in enumerate(values))
    key = SeriesKey(draw(names), draw(names), pairs, "box", "env")
    value = draw(st.none() | finite)
    return Result(
        key=key,
        commit="",
        status=draw(st.sampled_from([Status.FAILED, Status.SKIPPED])) if value is None else Status.OK,
        value=value,
        samples=draw(st.lists(floats, max_size=20).map(tuple)),
        number=draw(st.none() | counts),
        ci_lo=draw(st.none() | floats),
        ci_hi=draw(st.none() | floats),
        started_at=draw(st.none() | times),
        duration_s=draw(st.none() | finite),
    )


def exact(result):
    """Comparable with NaN and signed zeros among the samples; an interval's NaN is none."""
    lo, hi = (None if x is not None and math.isnan(x) else x for x in (result.ci_lo, result.ci_hi))
    result = replace(result, ci_lo=lo, ci_hi=hi)
    return replace(result, samples=()), struct.pack(f"<{len(result.samples)}d", *result.samples)


@SETTINGS
@given(found=st.lists(results(), max_size=8, unique_by=lambda r: r.key))
def test_results(store, found):
    number = next(numbers)
    commit = commit_hash(number)
    found = [replace(r, commit=commit) for r in found]
    parsed = ParsedFile("box", commit, "env", START, **rows_of(found))
    done = put_parsed(store, parsed, f"box/{number}.json")
    assert (done.results, done.samples) == (len(found), sum(len(r.samples) for r in found))
    back = {r.key: exact(r) for r in store.results(commit=commit)}
    assert back == {r.key: exact(r) for r in found}
    points = {s.key: s.points for s in store.iter_series()}
    for result in found:
        mine = [p for p in points[result.key] if p.commit == commit]
        assert [(p.value, p.status) for p in mine] == [(result.value, result.status)]


@SETTINGS
@given(data=st.data())
def test_telemetry(store, data):
    name = f"box/telemetry/{next(numbers)}.jsonl"
    wall = data.draw(floats)
    new = record(
        benchmark=data.draw(names), stderr_tail=data.draw(texts.filter(lambda t: "\0" not in t)),
        wall_s=wall, minor_faults=data.draw(counts), started_at=data.draw(times),
        commit=f"{next(numbers):040d}", timed_out=data.draw(st.booleans()),
    )  # fmt: skip
    store.import_batch([(replace(source(name), kind="telemetry"), [new])])
    (back,) = store.process_records(commit=new.commit)
    assert math.isnan(back.wall_s) if math.isnan(wall) else back.wall_s == wall
    assert replace(back, wall_s=0.0) == replace(new, wall_s=0.0)


def test_ledgers_and_their_torch_versions(store):
    tree = "ab" * 20
    for torch, ops in (("2.9.1", 1), ("2.13.0+cpu", 2)):
        file = LedgerFile(tree, "c" * 40, torch, {"warm": ledger(ops=ops), "sum": ledger("sum", lines=0)})
        store.import_batch([(replace(source(f"ledger/{torch}"), kind="ledger"), file)])
    found = {(s.torch, s.ledger.workload): s.ledger for s in store.ledgers(lines=True)}
    assert found["2.13.0+cpu", "warm"] == ledger(ops=2) and found["2.9.1", "warm"] == ledger(ops=1)
    assert [s.torch for s in store.ledgers(lines=True)] == ["2.13.0+cpu", "2.9.1"] * 2
    assert all(s.ledger.lines == () for s in store.ledgers())
    assert len(store.ledgers()) == 4


@pytest.mark.parametrize("size", [1, 10_000])
def test_sample_counts(store, size):
    key = SeriesKey("b.time_x", "1", (), "box", "env")
    samples = tuple(float(i) for i in range(size))
    result = Result(key, "c" * 40, Status.OK, 1.0, samples=samples)
    parsed = ParsedFile("box", "c" * 40, "env", START, **rows_of([result]))
    assert put_parsed(store, parsed, "box/1.json").samples == size
    assert next(store.iter_series()).points[0].samples == samples
