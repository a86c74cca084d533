"""J3: what a run may not take away from asv's result files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from asv import results, util

from nbbench.measure import asv_hooks
from nbbench.measure.asv_environment import _LOST, NbbenchEnvironment

COMMIT = "a" * 40
BENCHMARK = {"name": "odd.track_it", "version": "1", "params": [["1", "2"]]}


@pytest.fixture(autouse=True)
def hooked(monkeypatch):
    monkeypatch.setattr(results.Results, "save", results.Results.save)
    monkeypatch.setattr(util, "write_json", util.write_json)
    monkeypatch.setattr(NbbenchEnvironment, "appends", False)
    monkeypatch.setattr(NbbenchEnvironment, "not_extracted", set())
    asv_hooks._write_whole_files()
    asv_hooks._keep_what_was_measured()


def save(folder, values, stderr=""):
    """A run of one benchmark, saved as asv does it."""
    made = results.Results({"machine": "m"}, {}, COMMIT, 0, "3.11", "nbbench-py3.11", {})
    made.load_data(str(folder))
    found = SimpleNamespace(
        result=values, samples=[None, None], number=[None, None], stderr=stderr, errcode=0, profile=None
    )
    made.add_result(BENCHMARK, found, started_at=datetime.now(UTC), record_samples=True)
    made.save(str(folder))


def kept(folder):
    (path,) = Path(folder, "m").iterdir()
    rows = json.loads(path.read_text())["results"]
    return rows["odd.track_it"][0] if "odd.track_it" in rows else "nothing"


@pytest.mark.parametrize(
    ("before", "now", "stderr", "appends", "after"),
    [
        (None, [1.0, None], _LOST, False, "nothing"),
        (None, [1.0, None], "ValueError", False, [1.0, None]),
        ([1.0, 2.0], [3.0, None], _LOST, False, [3.0, 2.0]),
        ([1.0, 2.0], [None, None], _LOST, True, [1.0, 2.0]),
        ([1.0, 2.0], [3.0, None], "ValueError", True, [3.0, 2.0]),
        ([1.0, 2.0], [3.0, None], "ValueError", False, [3.0, None]),
        ([1.0, None], [3.0, None], "ValueError", True, [3.0, None]),
    ],
)
def test_what_is_stored_of_a_failure(tmp_path, monkeypatch, before, now, stderr, appends, after):
    if before:
        save(tmp_path, before)
    monkeypatch.setattr(NbbenchEnvironment, "appends", appends)
    save(tmp_path, now, stderr)
    assert kept(tmp_path) == after


def test_a_commit_that_could_not_be_laid_out_keeps_what_it_had(tmp_path):
    save(tmp_path, [1.0, 2.0])
    NbbenchEnvironment.not_extracted.add(COMMIT)
    save(tmp_path, [None, None])
    assert kept(tmp_path) == [1.0, 2.0]


def test_a_file_is_replaced_when_the_new_one_is_complete(tmp_path):
    save(tmp_path, [1.0, 2.0])
    with pytest.raises(TypeError):
        util.write_json(str(next((tmp_path / "m").iterdir())), {"half": object()})
    assert json.loads((tmp_path / "m" / f"{COMMIT[:8]}-nbbench-py3.11.json").read_text())["results"]
