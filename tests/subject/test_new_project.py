"""What a repository tells of its package, and the files of a new project."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from nbbench.config import find_root, load_settings
from nbbench.errors import UsageError
from nbbench.subject.new_project import (
    NewSubject,
    chosen_subject,
    likely_branch,
    likely_package,
    packages,
    project_files,
    top_level,
)
from tests.torture.tiny import git

LAYOUTS = {
    "flat": (
        ["softfocus/__init__.py", "softfocus/a/__init__.py", "tests/__init__.py", "setup.py"],
        "softfocus",
    ),
    "src": (["src/softfocus/__init__.py", "docs/__init__.py", "tools.py"], "src/softfocus"),
}


def repository(folder: Path, files: list[str], branch: str = "trunk") -> Path:
    folder.mkdir()
    git(folder, "init", "--quiet", f"--initial-branch={branch}")
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_package_is_found_where_it_lies(tmp_path: Path, layout: str) -> None:
    files, source = LAYOUTS[layout]
    place = repository(tmp_path / "clone", files)
    branch = likely_branch(place)
    found = packages(place, branch)
    assert (branch, found) == ("trunk", {"softfocus": source})
    new = chosen_subject(found, likely_package(found, str(place)), "", branch)
    assert (new.source, new.import_root) == (source, "src" if layout == "src" else ".")
    assert top_level(place / "softfocus" if layout == "flat" else place) == place


def test_main_goes_before_what_is_checked_out(tmp_path: Path) -> None:
    place = repository(tmp_path / "clone", ["a/__init__.py"], "main")
    git(place, "switch", "--quiet", "--create", "mine")
    assert likely_branch(place) == "main"
    with pytest.raises(UsageError, match="no commit on a branch 'gone'"):
        packages(place, "gone")
    with pytest.raises(UsageError, match="no git repository"):
        top_level(tmp_path)


def test_of_several_packages_the_one_named_like_the_repository_is_taken() -> None:
    found = {"one": "one", "soft_focus": "soft_focus"}
    assert likely_package(found, "https://host/group/Soft-Focus.git") == "soft_focus"
    assert likely_package(found, "/clones/other") == ""


@pytest.mark.parametrize(
    ("package", "source", "said"),
    [
        ("", "", "which package"),
        ("gone", "", "no package 'gone'"),
        ("", "src/not-a-name", "no name"),
        ("one", "../one", "no folder"),
        ("one", "two", "no folder"),
    ],
)
def test_what_does_not_fit_together_is_refused(package: str, source: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        chosen_subject({"one": "one", "two": "two"}, package, source, "main")


def test_a_package_inside_of_a_namespace() -> None:
    new = chosen_subject({}, "space.one", "src/space/one", "main")
    assert (new.package, new.source, new.import_root) == ("space.one", "src/space/one", "src")


def test_the_files_are_read_back_as_they_were_meant(tmp_path: Path) -> None:
    """A branch of any name: it stands in TOML and in JSON."""
    new = NewSubject("softfocus", "src/softfocus", 'fix/"odd"\\name')
    root = tmp_path / "clone" / "benchmarks"
    needed = {"lens": {"repository": '../odd "lens"', "path": "vendor/lens", "source": "lib"}}
    files = project_files(new, root, tmp_path / "clone", "softfocus.blur(size)", needed)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    conf = json.loads((root / "asv.conf.json").read_text())
    assert (conf["branches"], conf["plugins"]) == ([new.branch], [".nbbench.asv_plugin"])
    profile = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["nbbench"]["subject"]
    assert (profile["repository"], profile["dependencies"]) == ("..", needed)
    settings = load_settings(root, environ={})
    found = settings.package, settings.branch, settings.measured_path, settings.import_root
    assert found == ("softfocus", new.branch, "src/softfocus", "src")
    assert find_root(tmp_path / "clone") == root == find_root(root / "benchmarks")
    assert "return softfocus.blur(size)" in (root / "benchmarks" / "workloads.py").read_text()
    beside = project_files(new, root, None, "", {})
    assert "repository" not in beside[root / "pyproject.toml"]
    assert "raise NotImplementedError" in beside[root / "benchmarks" / "workloads.py"]
