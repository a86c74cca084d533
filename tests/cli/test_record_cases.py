"""What is recorded and shown, through the command line: titles, names of files, damaged and linked files."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from cli_project import Project

from nbbench.subject.subjects.nanobragg import demo
from tests.torture.tiny import git

TOKEN = "gh" + "p_" + "a1B2" * 9
BROKEN = "00000003-env.json"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clone") / "subject"
    demo.write_demo(path)
    return path


@pytest.mark.parametrize(
    ("title", "secret"),
    [
        ("password=hunter2 fix", "hunter2"),
        (f"use {TOKEN} for the mirror", TOKEN),
        ("clone from https://me:s3cr3tpw@host/x.git", "s3cr3tpw"),
    ],
)
def test_a_credential_in_a_commits_title_is_neither_kept_nor_shown(
    stepped: Project, clone: Path, tmp_path: Path, title: str, secret: str
) -> None:
    """J1, J2: titles pass the same redaction as everything else; what is harmless of them stays."""
    mine = tmp_path / "mine"
    shutil.copytree(clone, mine)
    git(mine, "checkout", "--quiet", demo.BRANCH)
    (mine / "src" / "nanobrag_torch" / "more.py").write_text("x = 1\n")
    git(mine, "add", "--all")
    git(mine, "commit", "--quiet", "-m", title)
    head = git(mine, "rev-parse", "HEAD")
    shown = []
    for number in (7, 8):  # the step and its neighbour are commits of this branch
        path = stepped.root / "results" / "m" / f"{number:08x}-env.json"
        commit = head if number == 7 else demo.TIP_HASH
        path.write_text(path.read_text().replace(f"{number:08x}" + "0" * 32, commit))
    for words in (
        *(
            ("subject", "use", str(mine)),
            ("subject", "show"),
            ("commits",),
            ("commits", "--json"),
            ("import",),
        ),
        *(("regressions", "--all"), ("regressions", "--json", "--all"), ("gate", "HEAD", "HEAD", "--json")),
        ("publish", "--no-asv") if "--no-asv" in stepped.run("publish", "--help").stdout else ("db", "info"),
    ):
        done = stepped.run(*words)
        shown.append(done.stdout + done.stderr)
    assert secret not in "".join(shown)
    assert "<redacted>" in shown[2] and title.split()[-1].split("://")[0] in shown[2]
    kept = [path for path in stepped.root.rglob("*") if path.is_file() and mine not in path.parents]
    assert not [path for path in kept if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "name", ["a\nskipped b", "a\x1b[2Jb", "a\rb", "a\u2028b", "a\u202eb", os.fsdecode(b"a\xffb")]
)
def test_a_files_name_is_one_line_whatever_it_holds(stepped: Project, name: str) -> None:
    """J11: one line in the list of what was skipped, with the odd characters escaped."""
    (stepped.root / "results" / "m" / f"{name}.json").write_text("{")
    done = stepped.run("import")
    lines = [line for line in done.stdout.splitlines() if line.startswith("skipped")]
    assert len(lines) == 1 and "\\" in lines[0] and lines[0].startswith("skipped m/a")
    assert done.stdout.isascii()
    done = stepped.run("regressions")
    (note,) = [line for line in (done.stdout + done.stderr).splitlines() if "cannot be used" in line]
    assert "m/a" in note and "not JSON" in note


def test_a_folder_that_leads_back_is_named_with_its_reason(stepped: Project) -> None:
    """J7: also where the link leads to the machine's own folder, or above the results."""
    results = stepped.root / "results"
    links = {"again": ".", "twin": "m", "up": ".."}
    for name, target in links.items():
        (results / name).symlink_to(target)
    done = stepped.run("import")
    assert done.exit_code == 0
    told = [line for line in done.stdout.splitlines() if line.startswith("skipped")]
    assert told == [
        f"skipped {name}: a link that leads back into the results is not followed" for name in links
    ]
    assert "12 new" in done.stdout


@pytest.mark.parametrize("damage", ["cut", "empty", "pipe", "old"])
def test_what_rested_on_a_damaged_file_is_not_shown_as_current(stepped: Project, damage: str) -> None:
    """J6, J7: it leaves the history until the file is whole again, and every verdict says so."""
    for number in range(1, 6):  # one commit is left before the step, so that it is no step without the file
        (stepped.root / "results" / "m" / f"{number:08x}-env.json").unlink()
    paths = [stepped.root / "results" / "m" / f"{number:08x}-env.json" for number in range(7, 13)]
    before = json.loads(stepped.run("regressions", "--json", "--all").stdout)
    whole = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.unlink()
        if damage == "pipe":
            os.mkfifo(path)
        else:
            path.write_bytes({"cut": whole[path][:90], "empty": b"", "old": b'{"version": 1}'}[damage])
    for _ in range(2):
        done = stepped.run("regressions", "--all")
        assert "6 files of the results cannot be used, so left out" in done.stdout + done.stderr
        told = json.loads(stepped.run("regressions", "--json", "--all").stdout)
        assert told["flags"] == []
    for path, data in whole.items():
        path.unlink()
        path.write_bytes(data)
    again = json.loads(stepped.run("regressions", "--json", "--all").stdout)
    assert again["flags"] == before["flags"]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("commits", "date", "'2O25-01-01'"),
        ("results", "started_at", "'yesterday'"),
        ("events", "changes", "x'00ff'"),
        ("events", "evidence", "'['"),
        ("files", "params", "'{'"),
    ],
)
def test_a_value_that_was_changed_by_hand_is_said_with_a_remedy_that_works(
    stepped: Project, table: str, column: str, value: str
) -> None:
    """J6: no internal error, whichever table it lies in."""
    before = json.loads(stepped.run("regressions", "--json", "--all").stdout)["flags"]
    with sqlite3.connect(stepped.root / "results" / "nbbench.sqlite") as connection:
        connection.execute(f"UPDATE {table} SET {column} = {value}")
    connection.close()
    done = stepped.run("regressions", "--all")
    assert done.exit_code in (0, 2), done.stderr
    if done.exit_code:
        assert "does not parse" in done.stderr and "`nbbench db rebuild`" in done.stderr
    done = stepped.run("db", "rebuild")
    assert done.exit_code == 0, done.stderr
    assert json.loads(stepped.run("regressions", "--json", "--all").stdout)["flags"] == before


@pytest.mark.parametrize("tag", ["HEAD", "origin/x", demo.BRANCH.rpartition("/")[2]])
def test_a_tag_redirects_no_name_of_a_branch(project: Project, clone: Path, tmp_path: Path, tag: str) -> None:
    """E4: nor does one that is called as a part of the branch, or as something that git means itself."""
    mine = tmp_path / "mine"
    shutil.copytree(clone, mine)
    git(mine, "update-ref", f"refs/tags/{tag}", demo.PLANTED[0].hash or "")
    assert project.run("subject", "use", str(mine)).exit_code == 0
    told = json.loads(project.run("gate", demo.BRANCH, f"refs/heads/{demo.BRANCH}", "--json").stdout)
    assert (told["base"], told["head"]) == (demo.TIP_HASH, demo.TIP_HASH)


def test_another_clone_never_replaces_the_list_of_this_history(stepped: Project, clone: Path) -> None:
    """D6: whatever is registered, and whichever command looks at it."""
    kept = stepped.root / "results" / "commits.jsonl"
    rows = [{"schema": 1, "kind": "nbbench-commits", "branch": "b"}]
    rows += [
        {"hash": f"{n:08x}" + "0" * 32, "tree": f"t{n}", "date": "2024-01-01T00:00:00Z", "position": n}
        for n in range(1, 13)
    ]
    kept.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    before = kept.read_bytes()
    assert stepped.run("subject", "use", str(clone)).exit_code == 0
    for words in (("import",), ("regressions",), ("db", "rebuild"), ("subject", "show")):
        assert stepped.run(*words).exit_code == 0
    assert kept.read_bytes() == before
    assert "another history" in stepped.run("import").stdout


def test_a_clone_that_became_shallow_is_refused_with_the_remedy(
    project: Project, clone: Path, tmp_path: Path
) -> None:
    """E5: and where nothing was registered before."""
    cut = tmp_path / "cut"
    git(tmp_path, "clone", "--quiet", "--depth=3", f"file://{clone}", str(cut))
    for place in (str(cut), f"file://{cut}"):
        done = project.run("subject", "use", place)
        assert done.exit_code == 2 and "shallow" in done.stderr
        assert project.run("subject", "show").exit_code == 2
