"""`nbbench publish`: what it puts beside what is there, and what is left when it cannot."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cli_project import Project, write_results
from evidence_samples import metrics

STAMP = "20251015T113531Z"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "asv.conf.json").write_text(json.dumps({"version": 1, "project": "small", "repo": "."}))
    write_results(tmp_path, {"suite.time_a": [1.0] * 12 + [2.0] * 12})
    return Project(tmp_path)


def document(project: Project, name: str) -> Any:
    text = (project.root / "html" / "nbbench" / "data" / f"{name}.js").read_text(encoding="utf-8")
    return json.loads(text[text.index(",") + 1 : -3])


def published(project: Project) -> Path:
    done = project.run("publish", "--page-only")
    assert (done.exit_code, done.stderr) == (0, "")
    return project.root / "html"


def test_the_event_its_series_and_its_commits_are_there(project: Project) -> None:
    published(project)
    [event] = document(project, "start")["events"]
    assert (event["change"], event["lo"], event["hi"], event["open"]) == ("time 2×", 12, 12, True)
    [[number, label, before, after, *_]] = document(project, "event/0")["changes"]
    assert (label, before, after) == ("suite.time_a", "1 s", "2 s")
    [row] = document(project, "series")["rows"]
    assert document(project, f"series/{row[-1]}")["series"][str(number)]["v"] == [1] * 12 + [2] * 12


def test_a_new_site_takes_the_place_of_the_old_one(project: Project) -> None:
    html = published(project)
    (html / "nbbench" / "data" / "left.js").write_text("")
    write_results(project.root, {"suite.time_a": [1.0] * 24})
    published(project)
    assert document(project, "start")["events"] == []
    assert sorted(path.name for path in html.iterdir()) == ["index.html", "nbbench"]
    assert not (html / "nbbench" / "data" / "left.js").exists()
    assert not (html / "nbbench" / "data" / "event").exists()


def test_what_a_killed_publish_left_goes_with_the_next(project: Project) -> None:
    html = project.root / "html"
    for name in (".nbbench-4194305", ".nbbench-old-4194305", f".nbbench-{os.getppid()}", ".nbbench-mine"):
        (html / name / "data").mkdir(parents=True)  # no process has a number above 2**22
    published(project)
    kept = [".nbbench-mine", f".nbbench-{os.getppid()}", "index.html", "nbbench"]
    assert sorted(path.name for path in html.iterdir()) == sorted(kept)


def test_asvs_own_index_moves_aside_and_the_site_leads_to_it(project: Project) -> None:
    html = project.root / "html"
    html.mkdir()
    (html / "index.html").write_text('<script src="asv_ui.js"></script>')
    published(project)
    assert "asv_ui.js" in (html / "asv.html").read_text()
    assert document(project, "start")["asv"] is True
    published(project)
    assert document(project, "start")["asv"] is True and "asv_ui.js" not in (html / "index.html").read_text()


def test_evidence_is_linked_whatever_its_folder_is_called(project: Project) -> None:
    folder = project.root / "reports" / "a #1? <b>" / STAMP
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics()))
    (folder / "sha256.txt").write_text("")
    published(project)
    [one] = document(project, "evidence")
    assert one["path"] == f"reports/a #1? <b>/{STAMP}"
    assert one["address"] == f"../reports/a%20%231%3F%20%3Cb%3E/{STAMP}"


def test_what_cannot_be_written_leaves_the_old_site(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    html = published(project)
    before = {path: path.read_bytes() for path in html.rglob("*") if path.is_file()}
    put = Path.write_text

    def full(self: Path, *given: Any, **more: Any) -> int:
        if self.name == "start.js":
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return put(self, *given, **more)

    monkeypatch.setattr(Path, "write_text", full)
    done = project.run("publish", "--page-only")
    assert done.exit_code == 2 and "No space left" in done.stderr
    assert {path: path.read_bytes() for path in html.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in html.iterdir()) == ["index.html", "nbbench"]


def test_without_results_there_is_no_site(tmp_path: Path) -> None:
    (tmp_path / "asv.conf.json").write_text(json.dumps({"version": 1, "project": "small", "repo": "."}))
    done = Project(tmp_path).run("publish", "--page-only")
    assert done.exit_code == 4 and not (tmp_path / "html" / "index.html").exists()
