"""Another package as subject: a profile in its project's pyproject.toml and a suite with one workload."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from e2e_project import MACHINE, Project

from tests.torture.tiny import ASV_CONF, git

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

PROFILE = """
[tool.nbbench]
plan = "FOCUS-1"
[tool.nbbench.subject]
package = "softfocus"
measured_path = "softfocus"
branch = "trunk"
environment = { SOFTFOCUS_QUIET = "1" }
[tool.nbbench.plans.FOCUS-1]
title = "Sharper"
[[tool.nbbench.plans.FOCUS-1.criteria]]
id = "bytes"
title = "bytes of a blur"
value = "suite.Counts.track_bytes_per_pixel(128)"
spec = 100000
[[tool.nbbench.plans.FOCUS-1.criteria]]
id = "work"
title = "operations of a blur"
value = "suite.Counts.track_operations(128)"
spec = 20
"""
WORKLOADS = """
from nbbench.workloads import Declared, Workload
WORKLOADS = [Workload.of("blur", 128 * 128, size=128)]
BENCHMARKS = [Declared("suite", families=("blur",))]
"""
SUITE = """
import importlib, os
from functools import partial
import torch
from nbbench.measure import recording
from .workloads import WORKLOADS

def build(size):
    image = torch.linspace(0, 1, size * size).reshape(size, size)
    run = lambda: importlib.import_module("softfocus.blur").blur(image)
    return recording.Case(f"blur-{size}", size * size, torch.float32, run)

CASES = {one.name: partial(build, **dict(one.params)) for one in WORKLOADS}

class Blur:
    params = [128]
    param_names = ["size"]
    version = "1"
    rounds = 1
    repeat = 3
    def setup(self, size):
        assert os.environ["SOFTFOCUS_QUIET"] == "1"
        torch.set_num_threads(1)
        self.run = build(size).run
    def time_run(self, size):
        self.run()

class Counts:
    params = [128]
    param_names = ["size"]
    version = "1"
    def setup_cache(self):
        found = recording.write([one.name for one in WORKLOADS])
        return {128: found["blur-128"]}
    def track_operations(self, cache, size):
        return cache[size].ops
    track_operations.unit = "operations"
    def track_bytes_per_pixel(self, cache, size):
        return cache[size].bytes_per_pixel
    track_bytes_per_pixel.unit = "B/pixel"

class Rate:
    version = "1"
    def track_frames(self):
        return importlib.import_module("softfocus.blur").RATE
    track_frames.unit = "frames/s"
    def track_lumens(self):
        return importlib.import_module("softfocus.blur").RATE
    track_lumens.unit = "lumens"
"""
BLUR = """import torch

RATE = {rate}  # what the benchmarks of Rate read

def blur(image: torch.Tensor) -> torch.Tensor:
    {comment}
    out = image
    for shift in (1, 2, 3, 4):
        {step}
    return out
"""
PLAIN = "out = (out + out.roll(shift, 0)) / 2"
SLOW = "out = (out + out.roll(shift, 0)).clone().double().float() / 2"
CULPRIT = 5  # of nine commits, counted from 1


@pytest.fixture(scope="module")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A package with a history of its own: nine commits, the fifth makes it slower."""
    folder = tmp_path_factory.mktemp("softfocus") / "clone"
    package = folder / "softfocus"
    package.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=trunk")
    (package / "__init__.py").write_text("")
    made = []
    for number in range(1, 10):
        step, rate = (SLOW, 30.0) if number >= CULPRIT else (PLAIN, 60.0)
        text = BLUR.format(comment=f"# revision {number}", step=step, rate=rate)
        (package / "blur.py").write_text(text)
        git(folder, "add", "--all")
        date = f"2025-03-{number:02d}T12:00:00+00:00"
        git(
            folder,
            "-c",
            f"user.date={date}",
            "commit",
            "--quiet",
            f"--date={date}",
            "-m",
            f"revision {number}",
        )
        made.append(git(folder, "rev-parse", "HEAD"))
    return folder, made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, hashes: tuple[Path, list[str]]) -> Project:
    folder = tmp_path_factory.mktemp("second")
    root = folder / "project"
    suite = root / "benchmarks"
    suite.mkdir(parents=True)
    (root / "asv.conf.json").write_text(json.dumps(ASV_CONF | {"project": "softfocus"}))
    (root / "pyproject.toml").write_text(PROFILE)
    (suite / "__init__.py").write_text("")
    for name, text in (("workloads", WORKLOADS), ("suite", SUITE)):
        (suite / f"{name}.py").write_text(text)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "ASV_", "GIT_"))}
    clean.pop("PYTHONPATH", None)
    made = Project(root, clean | {"HOME": str(folder), "NBBENCH_MACHINE": MACHINE, "COLUMNS": "200"})
    made.run("nbbench", "subject", "use", str(hashes[0]))
    made.run("asv", "machine", "--yes", "--machine", MACHINE)
    return made


@pytest.fixture(scope="module")
def planned(project: Project, hashes) -> dict:
    return project.told("plan", "FOCUS-1", "--measure", hashes[1][0])


@pytest.fixture(scope="module")
def measured(project: Project, planned: dict) -> Project:
    told = project.told("run")
    assert [c["failed"] for c in told["commits"]] == [0] * 9
    return project


def test_a_plan_measures_what_it_lacks_and_nothing_else(planned: dict, hashes) -> None:
    assert planned["measured"]["commit"] == hashes[1][0]
    assert planned["measured"]["series"] == [
        f"suite.Counts.track_{name}(128)" for name in ("bytes_per_pixel", "operations")
    ]
    assert [one["verdict"] for one in planned["criteria"]] == ["meets", "meets"]


def test_every_commit_is_measured_and_the_declaration_exported(measured: Project, hashes) -> None:
    assert {c["hash"] for c in measured.told("commits")["commits"]} == set(hashes[1])
    assert '"blur-128"' in (measured.root / "results" / "workloads.jsonl").read_text()
    assert len(list((measured.root / "results" / "ledger").iterdir())) == 9


def test_the_planted_regression_is_found_with_its_line(measured: Project, hashes) -> None:
    flags = measured.told("regressions")["flags"]
    work = [f for f in flags if f["event"]["cause"] in ("work", "dtype")]
    assert {f["event"]["hi_commit"] for f in work} == {hashes[1][CULPRIT - 1]}
    worse = [f for f in work if f["event"]["direction"] == "regression"]  # of lumens nobody knows it
    assert {f["plan"] for f in worse} == {"FOCUS-1"}
    assert "softfocus/blur.py" in json.dumps(worse)


@pytest.mark.thorough
def test_explain_compares_the_work(measured: Project, hashes) -> None:
    before, after = hashes[1][CULPRIT - 2 : CULPRIT]
    told = measured.told("explain", before, after)
    (diff,) = told["diffs"]
    assert diff["workload"] == "blur-128"
    assert diff["bytes_after"] > 1.3 * diff["bytes_before"]
    assert "softfocus/blur.py" in json.dumps(diff["lines"])


def test_the_gate_blocks_it_and_passes_what_is_equal(measured: Project, hashes) -> None:
    before, after = hashes[1][CULPRIT - 2 : CULPRIT]
    blocked = measured.told("gate", before, after, "--policy", "ledger", expect=3)
    assert blocked["outcome"] == "regressed"
    passed = measured.told("gate", "--policy", "ledger")  # the tip against the commit before
    assert [passed["base"], passed["head"]] == hashes[1][-2:]
    assert passed["outcome"] == "unchanged"


def test_a_gate_of_a_plan_keeps_its_criteria(measured: Project, hashes) -> None:
    """The work is judged, too: both ends are on record."""
    before, after = hashes[1][CULPRIT - 2 : CULPRIT]
    asked = ("--plan", "FOCUS-1", "--policy", "work")
    lost = measured.told("gate", before, after, *asked, expect=3)
    found = {one["series"]: one["outcome"] for one in lost["verdicts"]}
    assert found["criterion work"] == "regressed" and found["criterion bytes"] == "unchanged"
    page = measured.run("nbbench", "gate", before, after, *asked, "--markdown", expect=3).stdout
    assert "criterion work" in page and len(page.splitlines()) <= 60  # read in a minute
    assert measured.told("gate", *hashes[1][1:3], *asked)["outcome"] == "unchanged"  # the same bytecode


def _bytes_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.thorough
def test_a_harmless_edit_keeps_the_plan(measured: Project, hashes) -> None:
    module = hashes[0] / "softfocus" / "blur.py"
    text = module.read_text()
    module.write_text(text.replace("(1, 2, 3, 4)", "[1, 2, 3, 4]"))
    harmless = measured.told("gate", "--worktree", "--plan", "FOCUS-1")
    module.write_text(text)
    assert harmless["outcome"] == "unchanged"
    kept = [one["sentence"] for one in harmless["verdicts"] if one["series"] == "criterion bytes"]
    assert kept == ["met at base, and the gate found nothing that changed"]


def test_the_work_tree_is_judged_while_one_edits(measured: Project, hashes) -> None:
    """What is uncommitted or not even added counts, what git ignores does not; the clone is only read."""
    clone, text = hashes[0], (hashes[0] / "softfocus" / "blur.py").read_text()
    (clone / ".git" / "info" / "exclude").write_text("junk.py\n")
    for name in ("more", "junk"):
        (clone / "softfocus" / f"{name}.py").write_text(
            "def more(image):\n    return image.clone().clone()\n"
        )
    untouched = _bytes_of(clone / ".git")
    heavy = text.replace("return out", "from .more import more\n    return more(out)")
    (clone / "softfocus" / "blur.py").write_text(heavy)
    lost = measured.told("gate", "trunk", "--worktree", expect=3)
    assert "softfocus/more.py:2" in json.dumps(lost["verdicts"])
    assert measured.told("gate", "--worktree", expect=3)["head"] == lost["head"]
    assert _bytes_of(clone / ".git") == untouched
    subject = measured.root / ".nbbench" / "subject.git"
    names = git(subject, "ls-tree", "--name-only", lost["head"], "softfocus/").split()
    assert names == [f"softfocus/{name}.py" for name in ("__init__", "blur", "more")]
    assert git(subject, "rev-parse", f"{lost['head']}:softfocus") in json.dumps(lost["notes"])
    assert git(clone, "status", "--porcelain").split() == [
        "M",
        "softfocus/blur.py",
        "??",
        "softfocus/more.py",
    ]
    measured.run("nbbench", "gate", "trunk", hashes[1][0], "--worktree", expect=2)


def test_a_metric_is_judged_by_its_direction(measured: Project, hashes) -> None:
    """More frames a second are better, and half of them is a regression; of lumens nobody said it (B1)."""
    ends = hashes[1][CULPRIT - 2 : CULPRIT]
    asked = ("--policy", "time", "--bench", "Rate.track_", "--json")
    done = measured.run("hurried", "gate", *ends, *asked, expect=3, PYTHONPATH=str(Path(__file__).parent))
    found = {one["series"]: one for one in json.loads(done.stdout)["verdicts"]}
    assert {name: one["outcome"] for name, one in found.items()} == {
        "suite.Rate.track_frames": "regressed",
        "suite.Rate.track_lumens": "changed",
    }
    assert {(one["base_value"], one["head_value"]) for one in found.values()} == {(60.0, 30.0)}


def test_it_is_published_without_another_subjects_words(measured: Project) -> None:
    measured.run("nbbench", "publish")
    page = (measured.root / "html" / "index.html").read_text()
    assert "trunk" in page and "softfocus" in page
    assert "nanobrag" not in page.lower() and "PYTORCH-004" not in page


def test_laws_of_growth_need_scales(project: Project, hashes) -> None:
    """The suite declares none: said, with where to declare them."""
    done = project.run("nbbench", "ledger", hashes[1][0], "--scaling", expect=2)
    assert "this suite declares no scales" in done.stderr and "benchmarks/workloads.py" in done.stderr
