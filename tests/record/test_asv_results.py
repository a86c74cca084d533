"""The reader of asv's result files, on everything that such a file may hold."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_trees import results_in

from nbbench.model import Benchmark, Machine, Status
from nbbench.record.asv_results import (
    KnownBenchmarks,
    machine_folders,
    parse_benchmarks,
    parse_result_file,
    read_machine,
)
from nbbench.record.asv_values import NOT_A_NUMBER, BadFileError, load_object, read_bytes

COLUMNS = [
    "result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b",
    "stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples", "profile",
]  # fmt: skip
PATH = Path("results/box/0123abcd-py3.11.json")
HASH = "0123abcd" * 5


def file(rows=None, **changes):
    content = {
        "commit_hash": HASH,
        "env_name": "py3.11",
        "date": 1_740_745_761_250,
        "params": {"machine": "box", "num_cpu": 4},
        "python": "3.11",
        "requirements": {"torch": ""},
        "env_vars": {"A": "b"},
        "result_columns": COLUMNS,
        "results": rows or {},
        "durations": {"<build>": 2.5, "<setup_cache x>": None},
        "version": 2,
    }
    return json.dumps({k: v for k, v in (content | changes).items() if v is not ...}).encode()


def parse(rows=None, benchmarks=None, **changes):
    return parse_result_file(file(rows, **changes), PATH, benchmarks or {}, "box")


def declared(root):
    return parse_benchmarks(read_bytes(root / "benchmarks.json"), root / "benchmarks.json")


def values(parsed):
    return [(r.status, r.value) for r in results_in(parsed)]


def test_the_file_itself():
    parsed = parse()
    assert (parsed.machine, parsed.commit, parsed.environment) == ("box", HASH, "py3.11")
    assert parsed.date == datetime(2025, 2, 28, 12, 29, 21, 250_000, UTC)
    assert parsed.params == (("machine", "box"), ("num_cpu", "4"))
    assert (parsed.rows, parsed.odd_values) == ((), 0)


def test_a_full_row():
    row = [
        [1.0, 2.0], [["'a'", "'b'"]], "v", 1_740_746_051_230, 11.5, [0.9, -math.inf], [1.1, math.inf],
        [0.95, 1.9], [1.05, 2.1], [3, 1], [2, 1], [[1.0, 1.5, 0.5], [2.0]],
    ]  # fmt: skip
    declared = Benchmark("b.time_x", "other", "seconds", "time", ("letter",), (("'a'",),), "Words")
    parsed = parse({"b.time_x": row}, {"b.time_x": declared})
    first, second = results_in(parsed)
    assert first.key.label == "b.time_x(letter='a')"
    assert (first.key.version, first.key.machine, first.key.environment) == ("v", "box", "py3.11")
    assert (first.commit, first.unit, first.value, first.samples) == (HASH, "seconds", 1.0, (1.0, 1.5, 0.5))
    assert (first.number, first.ci_lo, first.ci_hi, first.duration_s) == (3, 0.9, 1.1, 11.5)
    assert first.started_at == datetime(2025, 2, 28, 12, 34, 11, 230_000, UTC)
    assert (second.ci_lo, second.ci_hi, second.samples) == (-math.inf, math.inf, (2.0,))
    assert list(parsed.rows) == [
        Benchmark("b.time_x", "v", "seconds", "time", ("letter",), (("'a'", "'b'"),), "Words")
    ]


def test_the_last_parameter_varies_fastest():
    parsed = parse({"b.time_x": [[1.0, 2.0, 3.0, 4.0], [["1", "2"], ["x", "y"]], "v"]})
    assert [[v for _, v in r.key.params] for r in results_in(parsed)] == [
        ["1", "x"], ["1", "y"], ["2", "x"], ["2", "y"],
    ]  # fmt: skip


def test_parameter_names_need_the_same_count():
    declared = {"b.time_x": Benchmark("b.time_x", "v", "s", "time", ("only",))}
    (result,) = results_in(parse({"b.time_x": [[1.0], [["1"], ["2"]], "v"]}, declared))
    assert result.key.params == (("param1", "1"), ("param2", "2"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.b.time_x", "time"), ("TimeSuite.timeraw_x", "time"), ("peakmem_x", "peakmemory"),
        ("C.mem_x", "memory"), ("C.track_x", "track"), ("C.other", ""), ("time_suite.C.other", ""),
    ],
)  # fmt: skip
def test_an_undeclared_benchmark_has_asvs_unit_of_its_kind(name, kind):
    parsed = parse({name: [[1.0], [], None]})
    unit = {"time": "seconds", "peakmemory": "bytes", "memory": "bytes"}.get(kind, "")
    assert parsed.rows[0] == Benchmark(name, "", unit, kind)
    assert results_in(parsed)[0].unit == unit


def test_what_asv_writes_for_no_value():
    rows = {"a.time_x": [None, [["1", "2"]], "v"], "b.time_x": [[math.nan, None], [["1", "2"]], "v"]}
    parsed = parse(rows)
    failed, skipped = (Status.FAILED, None), (Status.SKIPPED, None)
    assert values(parsed) == [failed, failed, skipped, failed]
    assert parsed.odd_values == 0


@pytest.mark.parametrize("odd", [math.inf, -math.inf, "text", [1.0], {"a": 1}, 10**400])
def test_odd_values_fail_and_count(odd):
    parsed = parse({"b.track_x": [[odd, 2], [["1", "2"]], "v"]})
    assert values(parsed) == [(Status.FAILED, None), (Status.OK, 2.0)]
    assert parsed.odd_values == 1


def test_samples_keep_what_is_a_number():
    samples = [[1.0, None, 2], [math.nan, math.inf, 3.0], None, "x", []]
    row = [[1.0] * 5, [list("abcde")], "v", *[None] * 8, samples]
    parsed = parse({"b.time_x": row})
    assert [r.samples for r in results_in(parsed)] == [(1.0, 2.0), (3.0,), (), (), ()]
    assert parsed.odd_values == 3


def test_rows_of_every_length():
    full = [[1.0], [], "v", 1, 2.0, [0.5], [1.5], [1.0], [1.0], [7], [8], [[1.0]], None]
    for length in range(len(full) + 1):
        (result,) = results_in(parse({"b.time_x": full[:length]}))
        assert (result.status is Status.OK) == (length >= 1)
        assert result.number == (7 if length >= 10 else None)


def test_columns_in_another_order():
    (result,) = results_in(parse({"b.time_x": ["v", [1.0]]}, result_columns=["version", "result"]))
    assert (result.value, result.key.version) == (1.0, "v")


@pytest.mark.parametrize(
    "row", [None, 5, "x", {"result": 1}, [[1.0], 5], [[1.0], ["ab"]], [None, [list("abcd")] * 12]]
)
def test_damaged_rows_are_left_out_and_counted(row):
    parsed = parse({"b.time_x": row, "b.time_y": [[1.0], [], "v"]})
    assert [r.key.benchmark for r in results_in(parsed)] == ["b.time_y"]
    assert parsed.odd_values == 1


def test_odd_figures_in_a_good_row():
    row = [[1.0, 2.0, 3.0], [["1", "2"]], 7, 1e300, "long", ["a", 0.5], [1.5], 3, None, [-1, 2**70]]
    first, second = results_in(parse({"b.time_x": row}))
    assert (first.started_at, first.duration_s, first.number, second.number) == (None, None, None, None)
    assert (first.ci_lo, first.ci_hi, second.ci_lo, second.ci_hi) == (None, 1.5, 0.5, None)
    assert first.key.version == "7"
    assert parse({"b.time_x": row}).odd_values == 1  # the third value of two


def test_names_of_every_kind():
    long = "'" + "ü" * 100_000 + "'"
    (result,) = results_in(parse({"süite.time_ß": [[1.0], [[long]], "v"]}))
    assert result.key.params == (("param1", long),)
    assert parse({"x" * 1000: [[1.0], [], "v"]}).odd_values == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"), (b"  \n", "empty"), (b"\x89PNG\r\n\x1a\n\x00", "not text"), (b"{", "not JSON"),
        (b"[" * 100_000, "nested too deeply"), (b"[]", "not a JSON object"), (b"{}", "version None"),
        (file(version=1, python=...), "missing key 'python'"), (file(version=3), "version 3"),
        (file(commit_hash=...), "no usable commit_hash"), (file(commit_hash=5), "no usable commit_hash"),
        (file(env_name=""), "no usable env_name"), (file(env_name="x" * 100_001), "no usable env_name"),
        (file(date=None), "no usable date"), (file(date="today"), "no usable date"),
        (file(date=1e300), "no usable date"), (file(results=[]), "no results"),
        (file(result_columns=...), "no result_columns"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(data, reason):
    with pytest.raises(BadFileError) as info:
        parse_result_file(data, PATH, {}, "box")
    assert str(info.value).startswith(f"{PATH}: ")
    assert reason in info.value.reason
    assert "\n" not in str(info.value)
    assert (info.value.path, info.value.exit_code) == (str(PATH), 2)


def test_half_written_files():
    data = file({"b.time_x": [[1.0], [], "v", 1, 2.0, [0.5], [1.5]]})
    for length in range(0, len(data), 7):
        with pytest.raises(BadFileError):
            parse_result_file(data[:length], PATH, {}, "box")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["b.time_x", "c"]), json_values | st.lists(json_values, max_size=13)))
def test_any_row_is_read_or_counted(rows):
    parsed = parse(rows)
    assert all((r.status is Status.OK) == (r.value is not None) for r in results_in(parsed))
    assert all(math.isfinite(x) for r in results_in(parsed) for x in r.samples)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_file_is_read_or_refused(data):
    with pytest.raises(BadFileError):
        parse_result_file(data, PATH, {}, "box")
    with contextlib.suppress(BadFileError):
        parse_benchmarks(data, PATH)


@settings(max_examples=50, deadline=None)
@given(data=st.data(), shape=st.lists(st.integers(1, 4), max_size=3))
def test_every_value_and_sample_survives(data, shape):
    params = [[f"p{i}{j}" for j in range(n)] for i, n in enumerate(shape)]
    size = math.prod(shape)
    finite = st.floats(allow_nan=False, allow_infinity=False)
    wanted = data.draw(st.lists(finite, min_size=size, max_size=size))
    samples = data.draw(st.lists(st.lists(finite, max_size=5), min_size=size, max_size=size))
    parsed = parse({"b.time_x": [wanted, params, "v", *[None] * 8, samples]})
    assert [r.value for r in results_in(parsed)] == wanted
    assert [list(r.samples) for r in results_in(parsed)] == samples
    assert [tuple(v for _, v in r.key.params) for r in results_in(parsed)] == list(itertools.product(*params))


def test_the_folders_of_machines(tmp_path):
    for name in ("box/machine.json", "tower/c.json", "ledger/x.json", "decisions/x.json", ".git/x.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "box" / "machine.json").write_text(
        '{"machine": "big box", "cpu": "x", "ram": 5, "version": 1}'
    )
    (tmp_path / "benchmarks.json").write_text("{}")
    assert [folder.name for folder in machine_folders(tmp_path)] == ["box", "tower"]
    assert machine_folders(tmp_path / "nowhere") == []
    assert read_machine(tmp_path / "box") == Machine("big box", (("cpu", "x"), ("ram", "5")))
    assert read_machine(tmp_path / "tower") == Machine("tower")


def test_reading_from_disk(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(BadFileError, match="cannot be read: No such file"):
        parse_result_file(read_bytes(path), path, {}, "box")
    path.write_bytes(file())
    assert parse_result_file(read_bytes(path), path, {}, "box").commit == HASH


def test_benchmarks(tmp_path):
    entry = {"param_names": ["n"], "params": [["1", "2"]], "type": "time", "unit": "seconds", "version": "v"}
    content = {"b.time_x": entry, "b.track_y": {}, "b.time_z": {"params": 5, "param_names": 5}, "version": 2}
    (tmp_path / "benchmarks.json").write_text(json.dumps(content))
    assert declared(tmp_path) == {
        "b.time_x": Benchmark("b.time_x", "v", "seconds", "time", ("n",), (("1", "2"),)),
        "b.track_y": Benchmark("b.track_y", "", "", "track"),
        "b.time_z": Benchmark("b.time_z", "", "", "time"),
    }
    (tmp_path / "benchmarks.json").write_text("{")
    with pytest.raises(BadFileError, match=r"benchmarks\.json: not JSON"):
        declared(tmp_path)


def _alike(read, plain):
    """Whether both are the same document, where NaN may stand as a text."""
    if isinstance(plain, float) and math.isnan(plain):
        return read == NOT_A_NUMBER or (isinstance(read, float) and math.isnan(read))
    if isinstance(plain, list):
        return len(read) == len(plain) and all(map(_alike, read, plain))
    if isinstance(plain, dict):
        return list(read) == list(plain) and all(_alike(read[key], plain[key]) for key in plain)
    return type(read) is type(plain) and read == plain


_TEXTS = st.text() | st.sampled_from(["NaN", '"NaN', "\\", '\\"', "Infinity", "\ud800", "a\\NaN"])
_CELLS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS
_DOCUMENTS = st.recursive(_CELLS, lambda c: st.lists(c) | st.dictionaries(_TEXTS, c), max_leaves=20)


@given(st.dictionaries(_TEXTS, _DOCUMENTS), st.booleans())
def test_a_document_is_read_as_python_reads_it(document, ascii_only):
    text = json.dumps(document, ensure_ascii=ascii_only)
    data = text.encode("utf-8", errors="surrogatepass")
    plain = json.loads(text)
    assert _alike(load_object(data, PATH, marked=True), plain)
    if not ascii_only or "NaN" not in text:
        assert _alike(load_object(data, PATH), plain)


def test_rows_of_equal_parameters_share_their_benchmark_and_odd_ones_do_not():
    declared = KnownBenchmarks({})
    for _ in range(2):
        for raw in (None, [["1", "2"], ["x"]], [[1]], [[True]], [[1.0]]):
            declared.measured("b.time_x", "v", raw)
    sizes = declared.measured("b.time_x", "v", [["1", "2"], ["x"]])
    assert sizes is declared.measured("b.time_x", "v", [["1", "2"], ["x"]])
    assert sizes is not declared.measured("b.time_x", "w", [["1", "2"], ["x"]])
    found = [declared.measured("b.time_x", "v", [[odd]]).params for odd in (1, True, 1.0, "1")]
    assert found == [(("1",),), (("True",),), (("1.0",),), (("1",),)]
    assert declared.measured("b.time_x", "v", 3) is None
