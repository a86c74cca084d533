"""`nbbench init` in a package's repository: a project in one command, a workload of ten lines, a verdict."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch
from e2e_project import MACHINE, REPOSITORY, Project

from tests.docs.schema_check import checked
from tests.e2e.test_e2e_second_subject import CULPRIT, hashes  # noqa: F401 -- a fixture
from tests.torture.tiny import git

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

SUITE = '''
from nbbench.suite import workload

@workload(sizes=[32], phases=["warm run"])
def blur(size):
    """What users wait for."""
    import torch
    from softfocus.blur import blur

    image = torch.linspace(0, 1, size * size).reshape(size, size)
    return lambda: blur(image)
'''
PLAIN = """
def time_nothing():
    pass
"""


@pytest.fixture(scope="module")
def project(hashes: tuple[Path, list[str]]) -> Project:  # noqa: F811
    """The clone itself, in which the commands run as a user types them."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "ASV_", "GIT_"))}
    clean.pop("PYTHONPATH", None)
    home = hashes[0].parent / "home"
    home.mkdir()
    return Project(hashes[0], clean | {"HOME": str(home), "NBBENCH_MACHINE": MACHINE, "COLUMNS": "200"})


def test_a_package_has_its_first_verdict(project: Project, hashes) -> None:  # noqa: F811
    clone, (before, after) = project.root, hashes[1][CULPRIT - 2 : CULPRIT]
    told = project.told("init", "--ci", "github", "--ci", "gitlab")
    assert (told["package"], told["branch"], told["commits"]) == ("softfocus", "trunk", 9)
    assert "PROJECT: benchmarks #" in (clone / ".github" / "workflows" / "nbbench.yml").read_text()
    assert "PROJECT: benchmarks #" in (clone / ".gitlab" / "nbbench.yml").read_text()
    assert git(clone, "diff", "HEAD") == ""
    again = project.told("init", expect=2)
    assert "asv.conf.json" in again["error"] and "--force" in again["hint"]
    gate = ("gate", before, after, "--policy", "work")
    said = project.told(*gate, expect=4)
    assert "say in benchmarks/workloads.py what is to run" in json.dumps(said)
    suite = clone / "benchmarks" / "benchmarks"
    (suite / "workloads.py").write_text(SUITE)
    (suite / "plain.py").write_text(PLAIN)
    measured = project.told("run", "--commits", f"{before},{after}")
    assert [(one["failed"], one["ok"]) for one in measured["commits"]] == [(0, 4)] * 2
    lost = project.told(*gate, expect=3)
    assert "softfocus/blur.py" in json.dumps(lost["verdicts"])
    (suite / "workloads.py").write_text(SUITE.replace("(0, 1,", "(1, 2,"))
    changed = project.told("run", "--commits", after, expect=2)
    assert "blur-32 of benchmarks/workloads.py is another workload" in changed["error"]


@pytest.mark.thorough
def test_from_the_wheel_in_an_environment_of_its_own(hashes, tmp_path: Path) -> None:  # noqa: F811
    """What docs/other-packages.md tells a user, in its order; torch and the like come from where they are."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    folder, project, home = tmp_path / "venv", tmp_path / "project", tmp_path / "home"
    for one in (project, home):
        one.mkdir()
    source = tmp_path / "source"  # setuptools builds in the folder that it is given
    shutil.copytree(REPOSITORY / "nbbench", source / "nbbench", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    build = ["wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*pip, *build, tmp_path, source], check=True)
    venv.create(folder)
    python = folder / "bin" / "python"
    [wheel] = tmp_path.glob("nbbench-*.whl")
    subprocess.run(
        [*pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True
    )
    [packages] = (folder / "lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "ASV_", "GIT_", "PYTHONPATH"))
    }
    clean |= {"HOME": str(home), "NBBENCH_MACHINE": MACHINE, "COLUMNS": "200"}

    def command(*arguments: str, expect: int = 0) -> dict:
        done = subprocess.run(
            [folder / "bin" / "nbbench", *arguments, "--json"],
            cwd=project,
            env=clean,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return checked(done.stdout)

    before, after = hashes[1][CULPRIT - 2 : CULPRIT]
    assert command("init", "--repo", str(hashes[0]))["written"][0] == "asv.conf.json"
    (project / "benchmarks" / "workloads.py").write_text(
        SUITE.replace('["warm run"]', '["construct", "memory"]')
    )
    assert [one["failed"] for one in command("run")["commits"]] == [0] * 9
    flags = command("detect")["flags"]
    assert after in {one["event"]["hi_commit"] for one in flags if one["event"]["cause"] in ("work", "dtype")}
    assert "softfocus/blur.py" in json.dumps(command("explain", before, after)["diffs"])
    assert command("gate", before, after, "--policy", "work", expect=3)["outcome"] == "regressed"
    command("publish")
    assert (project / "html" / "index.html").is_file()
