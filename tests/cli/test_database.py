"""The database through the command line: it follows the results, and keeps projects apart."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3

import pytest
from cli_project import Project, write_results

LEVEL = [1.0, 1.004, 0.997, 1.002, 0.999, 1.001]


def listed(project: Project, *more: str) -> dict[str, int]:
    """Each event with the number of its series."""
    done = project.run("regressions", "--json", "--all", *more)
    assert done.exit_code == 0, done.stderr
    return {flag["event"]["id"]: len(flag["event"]["changes"]) for flag in json.loads(done.stdout)["flags"]}


def foreign(folder, name, step_at, **conf):
    """Another project's results: a step at one of twelve commits, with other hashes."""
    root = folder / name
    values = LEVEL + LEVEL
    write_results(root, {f"{name}.time_x": [v * (2 if i >= step_at else 1) for i, v in enumerate(values)]})
    for path in (root / "results" / "m").glob("0*.json"):
        content = json.loads(path.read_text())
        content["commit_hash"] = name[0] + content["commit_hash"][1:]
        path.write_text(json.dumps(content))
    if conf:
        (root / "asv.conf.json").write_text(json.dumps(conf, indent=1))
    return root


def database(project: Project):
    return project.root / "results" / "nbbench.sqlite"


def test_what_is_deleted_is_gone_with_the_next_command(stepped):
    """D1: results."""
    assert list(listed(stepped)) == ["00000007-slower"]
    for number in range(7, 13):
        (stepped.root / "results" / "m" / f"{number:08x}-env.json").unlink()
    assert listed(stepped) == {}


def test_a_deleted_decision_is_gone_with_the_next_command(stepped):
    """D1."""
    assert stepped.run("flag", "00000007-slower", "rejected", "-m", "why").exit_code == 0
    assert json.loads(stepped.run("regressions", "--json").stdout)["flags"][0]["state"] == "rejected"
    (path,) = (stepped.root / "results" / "decisions").iterdir()
    path.unlink()
    assert json.loads(stepped.run("regressions", "--json").stdout)["flags"][0]["state"] == "detected"


def test_events_are_found_anew_when_only_the_commits_have_changed(stepped):
    """D2: here by a list that turns the history around."""
    assert list(listed(stepped)) == ["00000007-slower"]
    rows = [{"schema": 1, "kind": "nbbench-commits", "branch": "b"}]
    rows += [
        {"hash": f"{n:08x}" + "0" * 32, "tree": f"t{n}", "date": "2024-01-01T00:00:00Z", "position": 13 - n}
        for n in range(12, 0, -1)
    ]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (stepped.root / "results" / "commits.jsonl").write_text(text)
    assert list(listed(stepped)) == ["00000006-faster"]


def test_other_projects_have_histories_of_their_own(stepped, tmp_path):
    """D3, D4, I3: two foreign trees give two lists, and this project's stays what it was."""
    before = listed(stepped)
    a, b = foreign(tmp_path, "aa", 5), foreign(tmp_path, "bb", 8, project="B's", results_dir="results")
    for folder, name in ((a / "results", "aa"), (b, "B's")):
        done = stepped.run("import", str(folder))
        assert done.exit_code == 0, done.stderr
        assert f"`nbbench regressions --project {name!r}` judges it" in done.stdout
    assert list(listed(stepped, "--project", "aa")) == ["a0000006-slower"]
    assert list(listed(stepped, "--project", "B's")) == ["b0000009-slower"]
    assert listed(stepped) == before
    assert stepped.run("regressions", "--fail").exit_code == 3
    info = json.loads(stepped.run("db", "info", "--json").stdout)
    assert [name for name, _ in info["places"]] == ["B's", "aa", "nanoBragg PyTorch"]
    refused = stepped.run("regressions", "--project", "cc")
    assert refused.exit_code == 2
    assert "no project 'cc' is on record" in refused.stderr


def test_one_name_for_two_projects_is_refused(stepped, tmp_path):
    """I3: never merged by accident."""
    assert stepped.run("import", str(foreign(tmp_path / "1", "aa", 5) / "results")).exit_code == 0
    other = foreign(tmp_path / "2", "aa", 8) / "results"
    refused = stepped.run("import", str(other))
    assert refused.exit_code == 2
    assert "a project 'aa' was imported from" in refused.stderr
    assert stepped.run("import", str(other), "--project", "another").exit_code == 0
    assert list(listed(stepped, "--project", "another")) == ["a0000009-slower"]


def test_the_newest_measurement_of_two_checkouts_counts(stepped, tmp_path):
    """D5: and the next command does not put one's own older files back."""
    other = tmp_path / "checkout" / "results"
    shutil.copytree(stepped.root / "results", other)
    for path in (other / "m").glob("0*.json"):
        content = json.loads(path.read_text())
        content["result_columns"].append("started_at")
        for name, row in content["results"].items():
            level = row[0][0] / 1.3 if name == "suite.time_slow" and row[0][0] > 1.2 else row[0][0]
            content["results"][name] = [[level], [], "1", 1_800_000_000_000]
        path.write_text(json.dumps(content))
    assert list(listed(stepped)) == ["00000007-slower"]
    assert stepped.run("import", str(other)).exit_code == 0
    for _ in range(2):
        assert listed(stepped) == {}
        assert stepped.run("regressions").exit_code == 0


@pytest.mark.parametrize("damage", ["doubled", "cut", "not a database"])
def test_a_rebuilt_database_is_what_the_results_say(stepped, tmp_path, damage):
    """J6."""
    before = listed(stepped)
    assert stepped.run("import", str(foreign(tmp_path, "aa", 5) / "results")).exit_code == 0
    path = database(stepped)
    if damage == "doubled":
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE results SET value = value * 2 WHERE file_id % 2")
        connection.close()
    else:
        for beside in path.parent.glob("nbbench.sqlite-*"):
            beside.unlink()
        path.write_bytes(path.read_bytes()[:30_000] if damage == "cut" else b"text " * 999)
        refused = stepped.run("regressions")
        assert refused.exit_code == 2
        assert "`nbbench db rebuild` makes it anew" in refused.stderr
    done = stepped.run("db", "rebuild")
    assert done.exit_code == 0, done.stderr
    assert "all tables made anew" in done.stdout
    assert listed(stepped) == before
    if damage == "doubled":
        assert (
            f"`nbbench import {tmp_path / 'aa' / 'results'}` brings back what came from there" in done.stdout
        )
    else:
        assert f"is not a database, or is damaged; it is now {path}.damaged" in done.stdout


def test_a_database_of_a_newer_nbbench_is_kept(stepped):
    """J6: it is not called damaged, the remedy is named, and nothing of it is lost."""
    before, path = listed(stepped), database(stepped)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = 'x' WHERE key = 'tables'")
        connection.execute("UPDATE meta SET value = '99.0' WHERE key = 'nbbench'")
    connection.close()
    for command in (["regressions"], ["import"], ["db", "info"], ["flag", "x", "confirmed", "-m", "y"]):
        refused = stepped.run(*command)
        assert refused.exit_code == 2
        assert "was written by a newer nbbench (99.0;" in refused.stderr
        assert "update nbbench" in refused.stderr and "damaged" not in refused.stderr
    done = stepped.run("db", "rebuild")
    assert done.exit_code == 0, done.stderr
    assert "was written by a newer nbbench (99.0;" in done.stdout and f"it is now {path}.newer" in done.stdout
    assert listed(stepped) == before
    with sqlite3.connect(f"{path}.newer") as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'nbbench'").fetchall() == [("99.0",)]


def test_a_flipped_date_is_said_with_a_hint_that_works(stepped):
    """J6."""
    before = listed(stepped)
    with sqlite3.connect(database(stepped)) as connection:
        connection.execute("UPDATE commits SET date = '2O25-13-45'")
    connection.close()
    refused = stepped.run("regressions")
    assert (refused.exit_code, "internal error" in refused.stderr) == (2, False)
    assert "`nbbench db rebuild`" in refused.stderr
    assert stepped.run("db", "rebuild").exit_code == 0
    assert listed(stepped) == before


def test_a_rebuild_spares_what_is_no_database(stepped, tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_text("precious " * 999)
    refused = stepped.run("db", "rebuild", "--db", f"sqlite:///{path}")
    assert refused.exit_code == 2
    assert path.read_text() == "precious " * 999


def test_a_mistyped_database_makes_no_folders(stepped, tmp_path):
    refused = stepped.run("import", "--db", f"sqlite:///{tmp_path}/no/such/x.db")
    assert refused.exit_code == 2
    assert f"there is no folder {tmp_path}/no/such" in refused.stderr
    assert not (tmp_path / "no").exists()


def test_the_reason_is_shown_where_all_files_are_bad(project, tmp_path):
    """G1: version-1 files."""
    folder = tmp_path / "old" / "results" / "m"
    folder.mkdir(parents=True)
    for number in range(346):
        (folder / f"{number:08x}-env.json").write_text('{"version": 1, "commit_hash": "x"}')
    refused = project.run("import", str(folder.parent))
    assert refused.exit_code == 4
    assert "346 files skipped" in refused.stderr
    assert "of version 1 that asv does not convert" in refused.stderr


@pytest.mark.parametrize("content", ["", "{", '{"version": 1}', "<<<<<<< HEAD"])
def test_own_files_that_cannot_be_used_are_said_by_every_verdict(stepped, content):
    """G1, C1: neither "measure first" where all are bad, nor silence where some are."""
    files = sorted((stepped.root / "results" / "m").glob("0*.json"))
    for path in files[:4]:
        path.write_text(content)
    assert "4 files of the results cannot be used" in stepped.run("regressions").stderr
    for path in files:
        path.write_text(content)
    database(stepped).unlink()
    for command in (("regressions", "--fail"), ("publish", "--page-only")):
        done = stepped.run(*command)
        assert done.exit_code == 4
        assert "12 files of the results cannot be used" in done.stderr
        assert "nbbench run" not in done.stderr


def test_results_deep_in_a_project_have_its_name(project, tmp_path):
    """G1, D4: not that of their folder, which many projects share."""
    root = foreign(tmp_path, "pp", 5, project="pump", results_dir="data/asv")
    (root / "data").mkdir()
    (root / "results").rename(root / "data" / "asv")
    for given in (root, root / "data" / "asv", root / "data" / "asv" / "m"):
        assert json.loads(project.run("import", str(given), "--json").stdout)["project"] == "pump"


def test_the_folder_of_a_project_or_machine_stands_for_its_results(project, tmp_path):
    """G1."""
    root = foreign(tmp_path, "aa", 5, project="a", results_dir="results")
    for given in (root, root / "results" / "m", root / "results"):
        done = project.run("import", str(given))
        assert done.exit_code == 0, done.stderr
        assert ("taken" in done.stderr) == (given.name != "results")
    (root / "results" / "benchmarks.json").unlink()
    done = project.run("import", str(root / "results" / "m"))
    assert done.exit_code == 0
    assert "is one machine's: the whole tree" in done.stderr


def test_odd_files_stop_no_import(stepped):
    """J7: the exit code is 0 while something could be used."""
    folder = stepped.root / "results" / "m"
    (folder / "dangling.json").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.json")
    (folder / "zero.json").symlink_to("/dev/zero")
    done = stepped.run("import")
    assert done.exit_code == 0
    for name, reason in (("dangling", "cannot be read"), ("pipe", "not a file but a pipe")):
        assert f"skipped m/{name}.json: {reason}" in done.stdout
    assert list(listed(stepped)) == ["00000007-slower"]


def test_options_may_stand_before_the_command(stepped):
    """I4."""
    from nbbench.cli import app

    assert app.run(["--root", str(stepped.root), "--quiet", "import"]) == 0
