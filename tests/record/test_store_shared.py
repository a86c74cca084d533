"""Results that nobody here wrote: kedro's, from the shared folder beside the repository."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nbbench.model import Status
from nbbench.record.refresh import import_results

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("NBBENCH_SHARED_DATA") or ROOT.parent / "shared" / "data")
KEDRO = SHARED / "asv-results" / "kedro" / "results"


@pytest.mark.skipif(not KEDRO.is_dir(), reason="no shared data (set NBBENCH_SHARED_DATA)")
def test_kedro(store):
    report = import_results(store, KEDRO)
    values, series, commits = {}, set(), {}
    for path in KEDRO.glob("*/*.json"):  # counted here without nbbench's reader
        if path.name == "machine.json":
            continue
        file = json.loads(path.read_text())
        commits[file["commit_hash"]] = file["date"]
        for name, cells in file["results"].items():
            found = dict(zip(file["result_columns"], cells, strict=False))
            for i, value in enumerate(found["result"]):
                key = name, found["version"], file["env_name"], json.dumps(found["params"]), i
                series.add(key)
                values[key, file["commit_hash"]] = value
    assert (report.files_new, report.files_bad, report.odd_values) == (424, [], 0)
    assert (report.results, report.series) == (len(values), len(series)) == (17370, 171)
    counts = store.counts()
    assert len(commits) == 424
    assert (counts["commits"], len(store.machines())) == (424, 1)
    assert len({s.key.environment for s in store.iter_series()}) == 3
    assert counts["benchmarks"] == 84
    points = [point for s in store.iter_series() for point in s.points]
    assert sorted(p.value for p in points) == sorted(values.values())
    assert {p.status for p in points} == {Status.OK}
    order = [commits[c.hash] for c in store.commits()]
    assert order == sorted(order)
    assert {s.unit for s in store.iter_series(benchmark="benchmark_ocl")} == {"seconds"}
    assert {s.unit for s in store.iter_series(benchmark="benchmark_dummy")} == {"seconds"}  # asv's own
    again = import_results(store, KEDRO)
    assert (again.files_new, again.files_changed, again.files_unchanged) == (0, 0, 424)
