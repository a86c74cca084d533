"""`roofline` and `dtypes` without measuring: exit codes, JSON, bad input."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_project import Project

from nbbench.model import Commit


@pytest.mark.parametrize("command", [("roofline",), ("dtypes",)])
def test_measuring_needs_a_subject(project: Project, command: tuple[str, ...]) -> None:
    found = project.run(*command)
    assert found.exit_code == 2
    assert "no subject is registered" in found.stderr


class TestDtypes:
    @pytest.fixture
    def audited(self, project: Project, monkeypatch: pytest.MonkeyPatch):
        """`nbbench dtypes` with an audit that gave this verdict."""
        from nbbench.subject import repository
        from nbbench.work import dtypes

        commit = Commit("a" * 40, "b" * 40, datetime(2025, 12, 12, tzinfo=UTC), "subject")
        subject = repository.Subject(project.root, "clone", "branch", "src")
        monkeypatch.setattr(repository, "open_subject", lambda settings: subject)
        monkeypatch.setattr(repository, "describe", lambda subject, name: commit)

        def run(verdict: str, *arguments: str):
            made = {
                "commit": {"hash": commit.hash},
                "torch": "2.13.0",
                "verdict": verdict,
                "counts": {verdict: 0},
                "cases": [],
            }
            monkeypatch.setattr(dtypes, "dtype_snapshot", lambda *a, **k: made)
            return project.run("dtypes", *arguments)

        return run

    @pytest.mark.parametrize(
        ("verdict", "code"),
        [("neutral", 0), ("upcasts", 3), ("wrong output dtype", 3), ("falls back", 3), ("broken", 3),
         ("loses precision", 3), ("nothing ran", 4)],
    )  # fmt: skip
    def test_exit_code_follows_the_verdict(self, audited, verdict: str, code: int) -> None:
        found = audited(verdict)
        assert found.exit_code == code
        assert verdict in found.stdout

    def test_the_file_is_the_json_document(self, audited, tmp_path: Path) -> None:
        out = tmp_path / "dtype_snapshot.json"
        found = audited("upcasts", "--out", str(out), "--json")
        assert out.read_text() == found.stdout
        assert json.loads(found.stdout)["schema"] == "nbbench.dtype-snapshot/1"

    def test_a_folder_that_is_not_there(self, audited, tmp_path: Path) -> None:
        found = audited("neutral", "--out", str(tmp_path / "no" / "file.json"))
        assert found.exit_code == 2
        assert "the folder does not exist" in found.stderr
