"""A project folder with hand-made asv results: the command line without measuring anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_project import ROOT, Project, write_results

from nbbench.plan import exporting


@pytest.fixture
def project(tmp_path: Path) -> Project:
    shutil.copy(ROOT / "asv.conf.json", tmp_path)
    return Project(tmp_path)


@pytest.fixture
def stepped(project: Project) -> Project:
    """Twelve commits; one benchmark becomes 30 % slower at the seventh, one stays."""
    level = [1.0, 1.004, 0.997, 1.002, 0.999, 1.001]
    write_results(
        project.root,
        {"suite.time_slow": level + [1.3 * v for v in level], "suite.time_same": level + level},
    )
    return project


@pytest.fixture(autouse=True)
def no_versions_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export asks torch for its versions, which takes seconds; where they matter, a test says so."""
    monkeypatch.setattr(exporting, "torch_env_text", lambda _: "what torch says\n")
