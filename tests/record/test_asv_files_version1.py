"""Result files of version 1: the same values as `asv update` gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from store_trees import results_in

from nbbench.model import Status
from nbbench.record.asv_results import parse_result_file
from nbbench.record.asv_values import BadFileError

PATH = Path("results/cheetah/05d283b9-py2.7-Cython-numpy1.8.json")
OLD = {
    "commit_hash": "05d283b9" * 5,
    "date": 1386688801000,
    "params": {"machine": "cheetah", "python": "2.7", "ram": 8804682956.8},
    "python": "2.7",
    "requirements": {"numpy": "1.8", "Cython": "", "a:b": None},
    "results": {
        "units.time_parse": 1.3200139999389649e-05,
        "units.mem_unit": 728,
        "units.time_failed": None,
        "units.time_sizes": {"result": [0.25, None], "params": [["10", "20"]]},
        "units.time_none": {"result": None, "params": [["1", "2"]]},
        "units.time_stats": {
            "result": [0.5],
            "params": [],
            "samples": [[0.4, 0.6]],
            "stats": [{"ci_99": [0.123456789, 0.6], "q_25": 0.45, "number": 3, "repeat": 2}],
        },
        "units.time_one": {
            "result": 0.5,
            "stats": {"ci_99": [0.4, 0.6], "q_25": 0.45, "q_75": 0.5, "number": 3, "repeat": 2},
        },
        "units.time_half": {
            "result": [1.0, None],
            "params": [["1", "2"]],
            "stats": [{"ci_99": [0.9, 1.1]}, None],
        },
    },
    "benchmark_version": {"units.time_parse": "abc"},
    "started_at": {"units.time_parse": 1386688802000},
    "duration": {"units.time_parse": 1.23456789, "<build>": 3.0},
    "version": 1,
}


def parse(content):
    return parse_result_file(json.dumps(content).encode(), PATH, {}, "cheetah")


def test_golden_values():
    parsed = parse(OLD)
    assert (parsed.environment, parsed.commit) == ("py2.7-Cython-a_b-numpy1.8", "05d283b9" * 5)
    names = [
        (r.key.benchmark.removeprefix("units."), *(v for _, v in r.key.params)) for r in results_in(parsed)
    ]
    found = dict(zip(names, results_in(parsed), strict=True))
    assert {name: (r.status, r.value) for name, r in found.items()} == {
        ("mem_unit",): (Status.OK, 728.0),
        ("time_failed",): (Status.FAILED, None),
        ("time_half", "1"): (Status.OK, 1.0),
        ("time_half", "2"): (Status.FAILED, None),
        ("time_none", "1"): (Status.FAILED, None),
        ("time_none", "2"): (Status.FAILED, None),
        ("time_one",): (Status.OK, 0.5),
        ("time_parse",): (Status.OK, 1.3200139999389649e-05),
        ("time_sizes", "10"): (Status.OK, 0.25),
        ("time_sizes", "20"): (Status.FAILED, None),
        ("time_stats",): (Status.OK, 0.5),
    }
    stats, plain = found["time_stats",], found["time_parse",]
    assert (stats.ci_lo, stats.ci_hi, stats.number, stats.samples) == (0.12346, 0.6, 3, (0.4, 0.6))
    assert (plain.key.version, plain.duration_s, str(plain.started_at)) == (
        "abc",
        1.2346,
        "2013-12-10 15:20:02+00:00",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"python": ...}, "missing key 'python'"),
        ({"results": {"a.time_x": {"params": []}}}, "missing key 'result'"),
        ({"results": {"a.time_x": {"result": 1, "stats": {"ci_99": 5}}}}, "asv does not convert"),
        ({"results": [1]}, "asv does not convert"),
        ({"duration": 5}, "asv does not convert"),
    ],
)
def test_what_asv_would_not_convert_is_named(change, reason):
    content = {name: value for name, value in (OLD | change).items() if value is not ...}
    with pytest.raises(BadFileError) as info:
        parse(content)
    assert reason in info.value.reason
