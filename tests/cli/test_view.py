"""`nbbench view`: other projects' results, with odd files, without git, with their repository, and by URL."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli_project import write_results

from nbbench.cli import app
from tests.docs.schema_check import checked

VALUES = {"suite.time_a": [1.0] * 10 + [2.0] * 10}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NBBENCH_BRANCH", "elsewhere")  # settings are those of another project
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project's folder with results and what else may lie there."""
    folder = tmp_path / "theirs"
    write_results(folder, VALUES)
    results = folder / "results"
    (folder / "asv.conf.json").write_text('{"project": "<b>theirs</b>", "show_commit_url": "https://x.y/c/"}')
    os.mkfifo(results / "m" / "pipe.json")
    (results / "m" / "half.json").write_text('{"version": 2, "results"')
    (results / "again").symlink_to(".")
    (results / "notes").mkdir()
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = app.run(["view", *map(str, arguments)])
    told = capsys.readouterr()
    return code, told.out, told.err


def site(out: str) -> Path:
    return Path(out.strip().splitlines()[-1])


def start(page: Path) -> dict[str, Any]:
    text = (page.parent / "nbbench" / "data" / "start.js").read_text(encoding="utf-8")
    return dict(json.loads(text[text.index(",") + 1 : -3]))


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def git(repository: Path, *arguments: str, at: int = 0) -> str:
    date = f"{1_700_000_000 + at} +0000"
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
    names |= {"GIT_COMMITTER_EMAIL": "a@b", "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments],
        env=os.environ | names, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_folder_without_git(tree, capsys):
    before = listing(tree)
    code, out, err = run(capsys, tree)
    assert code == 0 and "skipped m/half.json: not JSON" in err and "skipped m/pipe.json" in err
    assert "skipped again" in err and "20 new, 0 changed" in err
    shown = start(site(out))
    assert [event["change"] for event in shown["events"]] == ["time 2×"]
    assert shown["title"] == "Changes of <b>theirs</b>" and shown["release"] == ["", -1]
    assert shown["commit_address"] == "https://x.y/c/"
    assert "<b>theirs" not in site(out).read_text(encoding="utf-8")
    assert listing(tree) == before  # nothing is written there
    (tree / ".asv").mkdir()
    (tree / "results").rename(tree / ".asv" / "results")  # where asv's own template suggests to put them
    code, out, err = run(capsys, tree)
    assert (
        code == 0 and "20 new, 0 changed" in err and start(site(out))["title"] == "Changes of <b>theirs</b>"
    )
    (tree / ".asv" / "results").rename(tree / "results")
    code, out, err = run(capsys, tree / "results")
    assert code == 0 and "0 new, 0 changed, 20 unchanged" in err and "nothing is new" in err
    write_results(tree, {name: [*found, 2.0] for name, found in VALUES.items()})
    code, out, err = run(capsys, tree / "results" / "m", "--json")
    assert code == 0 and "nothing is new" not in err
    document = checked(out)
    assert document["import"]["files_new"] == 1 and document["project"] == "<b>theirs</b>"
    assert len(start(Path(document["site"]))["commits"]) == 21


def test_the_repository_gives_order_titles_release_and_links(tree, tmp_path, capsys):
    """The dates run backwards."""
    clone = tmp_path / "clone"
    git(tmp_path, "init", "-q", "-b", "trunk", str(clone))
    git(clone, "remote", "add", "origin", "https://me:secret@example.org/them/theirs.git")
    files = sorted((tree / "results" / "m").glob("0*.json"))
    for number, path in enumerate(files):
        (clone / "code.py").write_text(str(number))
        git(clone, "add", ".")
        git(clone, "commit", "-q", "-m", f"Title {number} <i>", at=-1000 * number)
        if number == 4:
            git(clone, "tag", "v1", "-m", "annotated")
        content = json.loads(path.read_text()) | {"commit_hash": git(clone, "rev-parse", "HEAD")}
        path.write_text(json.dumps(content))
    (tree / "asv.conf.json").unlink()
    code, out, _ = run(capsys, tree, "--repo", clone, "--out", tmp_path / "out")
    shown = start(site(out))
    assert (code, site(out)) == (0, tmp_path / "out" / "index.html")
    assert [commit[2] for commit in shown["commits"]] == [f"Title {n} <i>" for n in range(20)]
    assert shown["release"] == ["v1", 4]
    assert shown["commit_address"] == "https://example.org/them/theirs/commit/"
    [event] = shown["events"]
    assert (event["lo"], event["hi"], event["change"]) == (10, 10, "time 2×")
    code, out, _ = run(capsys, tree)  # the repository is remembered
    assert (code, start(site(out))["release"]) == (0, ["v1", 4])
    other = tmp_path / "other"
    git(tmp_path, "init", "-q", str(other))
    (other / "code.py").write_text("")
    git(other, "add", ".")
    git(other, "commit", "-q", "-m", "Another history")
    code, _, err = run(capsys, tree, "--repo", other)
    assert code == 4 and "none of the 20 commits with results is of the branch" in err
    code, out, _ = run(capsys, tree)  # the wrong one is not remembered
    assert code == 0 and start(site(out))["release"] == ["", -1]


def test_a_url_is_cloned_and_brought_up_to_date(tmp_path, capsys):
    source = tmp_path / "bench.git"
    write_results(source / "asv", VALUES)
    (source / "asv" / "results" / "m" / "linked.json").symlink_to("/etc/passwd")
    git(tmp_path, "init", "-q", "-b", "main", str(source))
    git(source, "add", ".")
    git(source, "commit", "-q", "-m", "results")
    code, _, err = run(capsys, source.as_uri())
    assert code == 0 and "20 new" in err and "skipped m/linked.json: not JSON" in err
    write_results(source / "asv", {name: [*found, 2.0] for name, found in VALUES.items()})
    git(source, "add", ".")
    git(source, "commit", "-q", "-m", "more")
    code, _, err = run(capsys, source.as_uri())
    assert code == 0 and "1 new, 0 changed, 20 unchanged" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere",), 2, "nowhere is not a folder"),
        (("empty",), 2, "no asv results in empty"),
        (("bad",), 4, "can be used: 1 file skipped"),
        (("none",), 4, "no asv results in"),
        (("file:///me:pass@no/such.git",), 2, "git clone failed"),
        (("theirs", "--repo", "empty"), 2, "empty is no git repository on a branch"),
        (("theirs", "--repo", "no/such.git"), 2, "git clone failed"),
        (("theirs", "--out", "theirs/results/html"), 2, "--out lies in the results"),
        (("theirs", "--out", "theirs/asv.conf.json"), 2, "is not a folder"),
        (("theirs", "--out", "page"), 2, "holds another index.html"),
    ],
)
def test_what_cannot_be_viewed(tree, tmp_path, monkeypatch, capsys, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "page", "none", "bad/m"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "page" / "index.html").write_text("mine")
    for name in ("none", "bad"):
        (tmp_path / name / "benchmarks.json").write_text("{}")
    (tmp_path / "bad" / "m" / "x.json").write_text('{"version": 7}')
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "") and said in err and "hint:" in err and "pass@" not in err
