"""`roofline` and `dtypes` without measuring: exit codes, JSON, bad input."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cli_project import Project

from nbbench.model import Commit, to_plain


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
        from nbbench.work import audits

        commit = Commit("a" * 40, "b" * 40, datetime(2025, 12, 12, tzinfo=UTC), "subject")
        subject = repository.Subject(project.root, "clone", "branch", "src")
        monkeypatch.setattr(repository, "open_subject", lambda settings: subject)
        monkeypatch.setattr(repository, "describe", lambda subject, name: commit)

        def run(verdict: str, *arguments: str):
            made = {
                "commit": to_plain(commit),
                "torch": "2.13.0",
                "verdict": verdict,
                "counts": {verdict: 0},
                "cases": [],
            }
            monkeypatch.setattr(audits, "dtype_snapshot", lambda *a, **k: made)
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

    def test_the_document_is_the_file_that_a_capture_keeps(self, audited) -> None:
        assert json.loads(audited("upcasts", "--json").stdout)["schema"] == "nbbench.dtype-snapshot/1"
