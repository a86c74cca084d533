"""Which commits `nbbench run` hands to asv, and in which order; nothing is measured."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cli_project import Project

from nbbench.config import load_settings
from nbbench.measure import asv_run
from nbbench.model import Commit
from nbbench.subject.repository import list_commits, open_subject, register
from nbbench.subject.subjects.nanobragg import demo


@pytest.fixture
def asked(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """A project with the demo's history; what is asked of asv, by position."""
    demo.write_demo(project.root / "subject")
    register(load_settings(project.root), project.root / "subject")
    found: list[list[int]] = []

    def measure(settings: object, commits: Sequence[Commit], *_: object, **__: object) -> int:
        found.append([commit.position for commit in commits])
        return 0

    monkeypatch.setattr(asv_run, "measure_commits", measure)
    return found


def test_the_ends_come_first_and_neighbours_far_apart(project: Project, asked: list[list[int]]) -> None:
    assert project.run("run").exit_code == 4  # nothing measured is no success
    (order,) = asked
    assert sorted(order) == list(range(1, 15))
    assert order[:3] == [14, 1, 7]


def test_a_limit_keeps_its_commits_when_it_is_repeated(project: Project, asked: list[list[int]]) -> None:
    for _ in range(8):
        project.run("run", "--limit", "9")
    assert len({tuple(sorted(order)) for order in asked}) == 1
    assert len(set(map(tuple, asked))) > 1


def test_a_second_collection_has_no_structure(project: Project, asked: list[list[int]]) -> None:
    for _ in range(12):
        project.run("run", "--again")
    assert {tuple(sorted(order)) for order in asked} == {tuple(range(1, 15))}
    assert len({order[0] for order in asked}) > 1


def test_named_commits_are_taken_as_they_are_named(project: Project, asked: list[list[int]]) -> None:
    project.run("run", "3-3")
    commits = list_commits(open_subject(load_settings(project.root)))
    project.run("run", "--commits", ",".join(commits[at - 1].hash for at in (12, 14, 13)))
    assert asked == [[3], [12, 14, 13]]
