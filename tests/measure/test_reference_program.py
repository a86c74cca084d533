"""The program that criteria compare with: built from the subject's sources, or named, and found by runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from cli_project import Project

from nbbench.config import Settings, load_settings
from nbbench.measure import reference
from nbbench.measure.process_env import tree_environment
from nbbench.subject.git import git
from nbbench.subject.repository import register

PROFILE = """
[tool.nbbench.subject]
branch = "main"
measured_path = "src"
[tool.nbbench.subject.reference]
variable = "C_BIN"
source = "c/sum.c"
flags = ["-O1"]
libraries = ["-lm"]
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project whose subject brings a C program."""
    monkeypatch.delenv("C_BIN", raising=False)
    monkeypatch.delenv("CC", raising=False)
    project, clone = tmp_path / "project", tmp_path / "clone"
    for name, text in {
        "project/asv.conf.json": "{}",
        "project/pyproject.toml": PROFILE,
        "clone/src/a.py": "",
        "clone/c/sum.c": "int main(void) { return 7; }\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    git(clone, ["init", "--quiet", "--initial-branch=main"])
    git(clone, ["add", "."])
    git(clone, ["-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "--quiet", "-m", "first"])
    found = load_settings(project)
    register(found, clone)
    return found


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that keeps what it was asked and makes a program out of nothing."""
    program = tmp_path / "bin" / "fake-cc"
    program.parent.mkdir()
    log = tmp_path / "asked"
    program.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo "fake-cc 1.2"; exit; fi\n'
        f'echo "$@" > {log}\n'
        "for each; do\n"
        'if [ "$last" = -o ]; then echo "#!/bin/sh" > "$each"; chmod +x "$each"; fi\n'
        "last=$each; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("CC", str(program))
    return log


def test_it_is_built_from_the_commit_s_source_and_runs_find_it(settings: Settings, compiler: Path) -> None:
    made = reference.build_reference(settings)
    assert Path(made.path).parent == settings.state_dir / "reference" and os.access(made.path, os.X_OK)
    assert (made.compiler, made.flags, len(made.commit)) == ("fake-cc 1.2", ("-O1", "-lm"), 40)
    asked = compiler.read_text().split()
    assert asked[0] == "-O1" and asked[-1] == "-lm" and "program.c" in asked[-2]
    assert tree_environment(settings, "", None, base={})["C_BIN"] == made.path
    # What the user names goes before it.
    assert tree_environment(settings, "", None, base={"C_BIN": "/mine"})["C_BIN"] == "/mine"
    kept = json.loads((settings.state_dir / "reference" / "program.json").read_text())
    assert kept["sha256"] == made.sha256 and kept["commit"] == made.commit
    Path(made.path).unlink()
    assert "C_BIN" not in tree_environment(settings, "", None, base={})


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_real_compiler_makes_a_real_program(settings: Settings) -> None:
    made = reference.build_reference(settings, "HEAD")
    assert os.waitstatus_to_exitcode(os.system(made.path)) == 7


def run(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    done = Project(settings.root).run("subject", "c-reference", *arguments)
    return done.exit_code, done.stdout, done.stderr


def test_a_program_from_elsewhere_is_named(settings: Settings, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("#!/bin/sh\n")
    code, _, said = run(settings, "use", str(mine))
    assert code == 2 and "is not an executable file" in said
    mine.chmod(0o755)
    code, shown, _ = run(settings, "use", str(mine), "--json")
    assert code == 0 and json.loads(shown)["path"] == str(mine)
    code, shown, _ = run(settings, "use", str(mine))
    assert code == 0 and str(mine) in shown and "built" not in shown
    assert reference.reference_environment(settings, {}) == {"C_BIN": str(mine)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"CC": "/no/such/cc"}, "there is no program '/no/such/cc'"),
        ({"CC": "false"}, "false fails"),
        ({"commit": "nope"}, "unknown commit 'nope'"),
        ({"source": "c/none.c"}, "git cat-file failed"),
        ({"source": ""}, "this subject has no reference program"),
        ({"source": "../x.c"}, "source must lie inside the subject"),
    ],
    ids=lambda one: one if isinstance(one, str) else next(iter(one)),
)
def test_what_cannot_be_built_is_said_and_keeps_what_was_there(
    settings: Settings, compiler: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], said: str
) -> None:
    before = reference.build_reference(settings)
    if "CC" in change:
        monkeypatch.setenv("CC", change["CC"])
    if "source" in change:
        profile = settings.root / "pyproject.toml"
        text = PROFILE.replace("c/sum.c", change["source"])
        profile.write_text(text if change["source"] else PROFILE.partition("[tool.nbbench.subject.ref")[0])
    code, _, error = run(settings, "build", *filter(None, [change.get("commit", "")]))
    assert code == 2 and said in error
    assert Path(before.path).is_file()
