"""What `nbbench init` gives to CI systems, run as they run it: their shell steps, upon a pull request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
import yaml
from e2e_project import REPOSITORY

from nbbench.host import PYTHON
from nbbench.measure.process_env import torch_version
from tests.e2e.test_e2e_second_subject import BLUR, PLAIN, PROFILE, SLOW, SUITE, WORKLOADS
from tests.torture.tiny import ASV_CONF, git

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

TEMPLATES = REPOSITORY / "nbbench" / "cli" / "templates"
STRICT = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")  # what `shell: bash` means to GitHub
_GH = """#!/bin/sh
# Answers as GitHub does, with the comments of the file `comments`.
case "$*" in
  "run download"*) mkdir -p report; cp "$REPORT/report.md" report/ ;;
  "api --paginate"*) cat comments ;;
  *) echo "$*" >> calls; cp body.md posted.md ;;
esac
"""


class Checkout(NamedTuple):
    """A repository whose merge commit is checked out, and a folder with the programs that steps call."""

    folder: Path
    tools: Path

    def step(self, script: str, **environment: str) -> subprocess.CompletedProcess:
        """Run a step as a CI system does."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "ASV_", "GIT_", "CI"))}
        clean |= {"PATH": f"{self.tools}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
        clean |= {"HOME": str(self.tools), "NBBENCH_MACHINE": "runner"}
        return subprocess.run(
            [*STRICT, script], cwd=self.folder, env=clean | environment, capture_output=True, text=True
        )


def _github(job: str, name: str) -> str:
    steps = yaml.safe_load((TEMPLATES / "github.yml").read_text())["jobs"][job]["steps"]
    return next(step["run"] for step in steps if step.get("name") == name)


def _write(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "a change")
    return git(folder, "rev-parse", "HEAD")


def _blur(step: str) -> dict[str, str]:
    return {"softfocus/blur.py": BLUR.format(comment="# a blur", step=step, rate=1.0)}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A package with a suite of its own, and two pull requests: `slow`, and `harmless`.

    Slow also changes the suite, so that nothing of the package would be run any more. Harmless has a budget
    that it exceeds.
    """
    place = tmp_path_factory.mktemp("pull")
    folder, tools = place / "clone", place / "tools"
    folder.mkdir()
    tools.mkdir()
    for name, text in {"nbbench": f'#!/bin/sh\nexec {sys.executable} -m nbbench "$@"\n', "gh": _GH}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    git(folder, "init", "--quiet", "--initial-branch=trunk")
    suite = {"benchmarks/__init__.py": "", "benchmarks/workloads.py": WORKLOADS, "benchmarks/suite.py": SUITE}
    project = {
        "asv.conf.json": json.dumps(ASV_CONF | {"project": "softfocus"}),
        "pyproject.toml": PROFILE,
        ".gitignore": ".nbbench/\nnbbench-report/\n",
    }
    _write(folder, {"softfocus/__init__.py": "", **_blur(PLAIN), **suite, **project})
    git(folder, "switch", "--quiet", "--create", "slow")
    idle = SUITE.replace('importlib.import_module("softfocus.blur").blur(image)', "image.clone()")
    assert idle != SUITE
    _write(folder, {**_blur(SLOW), "benchmarks/suite.py": idle})
    git(folder, "switch", "--quiet", "--create", "harmless", "trunk")
    row = {"workload": "blur-128", "metric": "track_operations", "unit": "operations", "value": 1, "most": 1}
    of = {"schema": "nbbench.budgets/1", "torch": torch_version(), "python": PYTHON}
    budget = json.dumps(of | {"rows": [row]})
    _write(folder, {**_blur(f"{PLAIN}  # in place"), "budgets.json": budget})
    return Checkout(folder, tools)


def _merge(repository: Checkout, branch: str) -> None:
    git(repository.folder, "switch", "--quiet", "--detach", "trunk")
    git(repository.folder, "merge", "--quiet", "--no-ff", "--no-edit", branch)


def _pull_request(repository: Checkout, branch: str, place: Path) -> tuple[Path, str]:
    """What GitHub's step uploads, and the summary of a job that fails with 3."""
    _merge(repository, branch)
    out, summary = place / "out", place / "summary.md"
    done = repository.step(
        _github("gate", "Gate"),
        OUT=str(out),
        ACCEPT="",
        RUNNER_TEMP=str(place),
        GITHUB_WORKSPACE=str(repository.folder),
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert done.returncode == 3, done.stdout + done.stderr
    return out, summary.read_text()


def test_a_pull_request_is_judged_by_the_suite_of_its_base(repository: Checkout, tmp_path: Path) -> None:
    """GitHub: the summary has the verdict, the report all that is uploaded; the exit code is the gate's."""
    out, summary = _pull_request(repository, "slow", tmp_path)
    assert summary == (out / "gate.md").read_text()
    assert summary.startswith("## ❌ REGRESSED")
    found = json.loads((out / "gate.json").read_text())
    assert found["base"] == git(repository.folder, "rev-parse", "trunk")
    assert found["head"] == git(repository.folder, "rev-parse", "HEAD")
    assert ElementTree.parse(out / "gate.xml").getroot().get("failures") != "0"
    assert len(list((out / "ledger").iterdir())) == 2
    _comments_once(repository, out, tmp_path)


def test_the_suite_of_head_does_not_judge_itself(repository: Checkout) -> None:
    """In the checkout of a changed suite the gate cannot tell: nothing of the package is run any more."""
    git(repository.folder, "switch", "--quiet", "--detach", "slow")
    done = repository.step("nbbench subject use . >&2; nbbench gate trunk HEAD --policy work --json")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "benchmarks/suite.py changed since base" in json.loads(done.stdout)["sentence"]


def _comments_once(repository: Checkout, out: Path, place: Path) -> None:
    """The first verdict is a new comment, the next one takes its place."""
    asked = {"REPORT": str(out), "GITHUB_RUN_ID": "1", "GITHUB_REPOSITORY": "o/r", "NUMBER": "7"}
    work = repository._replace(folder=place)
    (place / "comments").write_text("")
    calls = {"": "POST repos/o/r/issues/7/comments", "41\n42\n": "PATCH repos/o/r/issues/comments/41"}
    for known, call in calls.items():
        (place / "comments").write_text(known)
        done = work.step(_github("comment", "Comment"), **asked)
        assert done.returncode == 0, done.stderr
        last = (place / "calls").read_text().splitlines()[-1]
        assert last == f"api --silent --method {call} --field body=@body.md"
    assert (place / "posted.md").read_text() == "<!-- nbbench gate -->\n" + (out / "report.md").read_text()


def test_a_budget_that_is_exceeded_is_told_first(repository: Checkout, tmp_path: Path) -> None:
    """The gate passes, and the job fails: by the budget that head has."""
    out, summary = _pull_request(repository, "harmless", tmp_path)
    assert summary.startswith("## ❌ Budgets at ") and "1 row exceeded" in summary
    assert (out / "gate.md").read_text().splitlines()[0].startswith("## ✅")
    assert summary.splitlines()[-1] == (out / "gate.md").read_text().splitlines()[0]


def test_a_merge_request_with_the_same_program_passes(repository: Checkout) -> None:
    """GitLab: base is where the branch left the target. Its budget does not."""
    folder = repository.folder
    git(folder, "switch", "--quiet", "--detach", "harmless")
    [script] = yaml.safe_load((TEMPLATES / "gitlab.yml").read_text())["nbbench"]["script"]
    done = repository.step(
        script,
        CI_PROJECT_DIR=str(folder),
        CI_COMMIT_SHA=git(folder, "rev-parse", "HEAD"),
        CI_MERGE_REQUEST_DIFF_BASE_SHA=git(folder, "rev-parse", "trunk"),
        CI_MERGE_REQUEST_LABELS="bug,accept-images",
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert (folder / "nbbench-report" / "budget.md").read_text().startswith("## ❌ Budgets")
    assert (folder / "nbbench-report" / "gate.md").read_text().startswith("## ✅")
    assert json.loads((folder / "nbbench-report" / "gate.json").read_text())["outcome"] == "unchanged"
