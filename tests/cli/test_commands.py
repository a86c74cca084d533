"""The commands that work on results alone: output, exit codes, decisions, bad input."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import report_samples as samples
from cli_project import Project, write_results

from nbbench.config import load_settings
from nbbench.history import history
from nbbench.history.flags import attach_flags
from nbbench.measure import machine
from nbbench.model import Decision, Event, FlagState
from nbbench.plan import exporting
from nbbench.record.refresh import open_store
from nbbench.words import exactly

CULPRIT = f"{7:08x}"


def test_a_step_is_imported_detected_and_listed(stepped: Project) -> None:
    found = stepped.run("regressions", "--json")
    assert found.exit_code == 0
    told = json.loads(found.stdout)
    assert told["schema"] == "nbbench.regressions/3"
    (flag,) = told["flags"]
    assert flag["event"]["hi_commit"].startswith(CULPRIT)
    assert flag["plan"] == "PERF-PYTORCH-004"
    assert [c["key"]["benchmark"] for c in flag["event"]["changes"]] == ["suite.time_slow"]
    assert flag["event"]["effect"] == pytest.approx(0.262, abs=0.01)  # ln 1.3


def test_detect_is_another_name_of_regressions(stepped: Project) -> None:
    named, other = stepped.run("regressions", "--json"), stepped.run("detect", "--json")
    assert (other.exit_code, other.stdout) == (named.exit_code, named.stdout) and named.exit_code == 0


def test_regressions_can_fail_a_pipeline(stepped: Project) -> None:
    assert stepped.run("regressions", "--fail").exit_code == 3
    done = stepped.run(
        "flag", f"{CULPRIT}-slower", "acknowledged", "-m", "known; fix is planned", "--by", "Ada"
    )
    assert done.exit_code == 0
    assert stepped.run("regressions", "--fail").exit_code == 0


def test_decisions_survive_a_deleted_database(stepped: Project) -> None:
    stepped.run("flag", CULPRIT, "confirmed", "-m", "seen on two machines", "--by", "Ada")
    for path in (stepped.root / "results").glob("nbbench.sqlite*"):
        path.unlink()
    told = json.loads(stepped.run("regressions", "--json").stdout)
    (flag,) = told["flags"]
    assert flag["state"] == "confirmed"
    assert flag["decisions"][0]["person"] == "Ada"


def decide(project: Project, event: str, state: str, *more: str) -> tuple[int, str]:
    done = project.run("flag", event, state, "-m", "done", "--by", "Ada", *more)
    return done.exit_code, done.stdout + done.stderr


FIX = ("--commit", f"{19:08x}")


def recover(project: Project) -> None:
    """Twelve commits more, of which six are at the old level; as few that are slow could be a burst."""
    level = [1.0, 1.004, 0.997, 1.002, 0.999, 1.001]
    slow = [1.3 * value for value in [*level, *level]]
    write_results(
        project.root,
        {"suite.time_slow": [*level, *slow, *level], "suite.time_same": level * 4},
    )


def test_a_flag_moves_along_its_states_only(stepped: Project) -> None:
    """H8: `fixed` names a commit, `verified` needs a measurement."""
    recover(stepped)
    code, said = decide(stepped, CULPRIT, "verified")
    assert code == 2 and "cannot become verified" in said
    code, said = decide(stepped, CULPRIT, "fixed")
    assert code == 2 and "name it with --commit" in said
    assert decide(stepped, CULPRIT, "confirmed", *FIX)[0] == 2
    assert decide(stepped, CULPRIT, "fixed", "--commit", "ffffffff")[0] == 2
    for early in (CULPRIT, f"{1:08x}"):
        code, said = decide(stepped, CULPRIT, "fixed", "--commit", early)
        assert code == 2 and "cannot have fixed it" in said
    assert decide(stepped, CULPRIT, "fixed", *FIX)[0] == 0
    assert decide(stepped, CULPRIT, "verified")[0] == 0
    files = sorted((stepped.root / "results" / "decisions").iterdir())
    assert [json.loads(path.read_text())["reason"] for path in files] == [f"done (commit {19:08x})", "done"]


def test_verified_without_a_measurement_is_refused(stepped: Project) -> None:
    """H8: nothing after the culprit is back at its level."""
    assert decide(stepped, CULPRIT, "fixed", "--commit", f"{12:08x}")[0] == 0
    code, said = decide(stepped, CULPRIT, "verified")
    assert code == 4 and "no measurement on record" in said and "--bench 'suite" in said


def test_a_decision_is_of_one_event_alone() -> None:
    """H8: another event whose range touches the decided one keeps its state."""
    commits = [replace(samples.COMMITS[i], position=i + 1) for i in range(8)]

    def slower(lo: int, hi: int) -> Event:
        name = commits[hi].short if lo == hi else f"{commits[lo].short}..{commits[hi].short}"
        return replace(
            samples.FLAGS[1].event,
            id=f"{name}-slower",
            lo_commit=commits[lo].hash,
            hi_commit=commits[hi].hash,
        )

    def states(*events: Event) -> list[str]:
        flags = attach_flags(events, [decision], "P", commits)
        return [str(flag.state) for flag in flags]

    decision = Decision(slower(3, 5).id, "P", FlagState.VERIFIED, "", "Ada", samples.NOW)
    assert states(slower(2, 4), slower(3, 5), slower(5, 6)) == ["detected", "verified", "detected"]
    assert states(slower(2, 3), slower(4, 5), slower(5, 6)) == ["detected", "verified", "detected"]
    assert states(slower(6, 7)) == ["detected"]


@pytest.mark.parametrize("name", ["0", "0000000", "0000-slower", "a-faster", f"{7:08x}-faster", "x" * 8, ""])
def test_a_name_of_no_single_flag_is_refused(stepped: Project, name: str) -> None:
    """Small: `flag a-faster` changed the one flag whose hash begins with "a"."""
    levels = [v for v in (1.0, 1.4, 2.0) for _ in range(6)]
    noise = [1.0, 1.004, 0.997, 1.002, 0.999, 1.001] * 3
    write_results(stepped.root, {"suite.time_slow": [a * b for a, b in zip(levels, noise, strict=True)]})
    code, said = decide(stepped, name, "confirmed")
    assert code == 2 and ("no flag" in said or "fits 2 flags" in said)
    assert decide(stepped, f"{13:08x}-s", "confirmed")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("flag", "00000009", "confirmed", "-m", "x"), "no flag"),
        (("flag", CULPRIT, "confirmed", "-m", "  "), "needs a reason"),
        (("flag", CULPRIT, "acknowledged", "-m", "x", "--expires", "soon"), "number of days or a date"),
        (("flag", CULPRIT, "acknowledged", "-m", "x", "--expires", "2020-01-01"), "in the past"),
        (("flag", CULPRIT, "acknowledged", "-m", "x", "--expires", "99999999999"), "number of days"),
        (("flag", CULPRIT, "acknowledged", "-m", "x", "--expires", "999999"), "1 to 36,525 days"),
        (("flag", CULPRIT, "acknowledged", "-m", "x", "--expires", "²"), "number of days or a date"),
        (("flag", CULPRIT, "confirmed", "-m", "x", "--plan", "TYPO"), "no plan 'TYPO'"),
        (("regressions", "--plan", "TYPO"), "no plan 'TYPO'"),
        (("export", "deadbeef"), "no results of commit"),
        (("export", "--cluster", "../evil"), "not a cluster's name"),
        (("import", "nowhere"), "not a folder"),
        (("gate", "a", "b"), "no subject is registered"),
        (("gate", "a", "b", "--budget", "soon"), "--budget"),
        (("gate", "a", "b", "--floor", "much"), "floor"),
        (("commits",), "no subject is registered"),
        (("run",), "no subject is registered"),
        (("db", "info", "--db", "nonsense://x"), ""),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_2(
    stepped: Project, arguments: tuple[str, ...], told: str
) -> None:
    found = stepped.run(*arguments)
    assert found.exit_code == 2, found.stderr
    assert told in found.stderr
    assert "Traceback" not in found.stderr
    assert not (stepped.root / "reports").exists() or not list((stepped.root / "reports").rglob("*.json"))


@pytest.mark.parametrize("text", ["{bad", "[]", '{"version": 1 "project": "x"}'])
def test_an_asv_configuration_that_asv_cannot_read_is_one_sentence(project: Project, text: str) -> None:
    (project.root / "asv.conf.json").write_text(text)
    found = project.run("regressions")
    assert found.exit_code == 2
    assert "asv.conf.json is no configuration that asv can read" in found.stderr
    assert "Traceback" not in found.stderr


def test_what_asv_takes_besides_json_is_read(stepped: Project) -> None:
    path = stepped.root / "asv.conf.json"
    path.write_text(
        path.read_text().rstrip().rstrip("}").rstrip() + ", /* a remark */ 'show_commit_url': '#',}"
    )
    assert stepped.run("regressions").exit_code == 0


@pytest.mark.parametrize("text", ["tool = 3\n", "[tool]\nnbbench = 3\n"])
def test_settings_that_are_no_table_are_one_sentence(project: Project, text: str) -> None:
    (project.root / "pyproject.toml").write_text(text)
    found = project.run("plan")
    assert found.exit_code == 2
    assert "in pyproject.toml: Expected object, got int" in found.stderr


def test_nothing_measured_is_never_a_pass(project: Project) -> None:
    for command in (("regressions",), ("publish", "--page-only"), ("export",)):
        found = project.run(*command)
        assert found.exit_code in (2, 4), (command, found.stderr)
    (project.root / "results").mkdir(exist_ok=True)
    assert project.run("import").exit_code == 4


def test_import_counts_and_names_bad_files(stepped: Project) -> None:
    (stepped.root / "results" / "m" / f"{13:08x}-env.json").write_text('{"half')
    found = stepped.run("import")
    assert found.exit_code == 0
    assert "12 new" in found.stdout
    assert f"{13:08x}-env.json" in found.stdout
    again = stepped.run("import", "--json")
    assert json.loads(again.stdout)["files_unchanged"] == 12


def test_another_projects_results_import_from_a_folder(stepped: Project, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_results(other, {"foreign.time_x": [1.0, 2.0]})
    found = stepped.run("import", str(other / "results"))
    assert found.exit_code == 0
    assert "2 new" in found.stdout


def test_export_writes_a_whole_checked_folder(stepped: Project) -> None:
    from nbbench.record.stamp import verify_folder

    told = json.loads(stepped.run("export", "--json").stdout)
    folder = Path(told["folder"])
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "commands.txt", "summary.md", "metrics.json", "benchmark_results.json", "run_metadata.json",
        "env.txt", "torch_env.txt", "exit_code.txt", "sha256.txt",
    }  # fmt: skip
    assert verify_folder(folder) == []
    assert (folder / "exit_code.txt").read_text().strip() == "0"
    assert (folder / "torch_env.txt").read_text() == "what torch says\n"
    assert folder.parent.name == "cluster_CLUSTER-PERF-001"
    again = json.loads(stepped.run("export", "--json").stdout)
    assert again["folder"] != told["folder"]


def test_an_export_without_a_figure_is_no_success(project: Project) -> None:
    write_results(project.root, {"b.time_x": [None]})
    done = project.run("export")
    assert done.exit_code == 4, done.stderr
    (folder,) = (project.root / "reports").rglob("exit_code.txt")
    assert folder.read_text().strip() == "4"


def test_exported_environment_holds_no_secret(stepped: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "gh" + "p_" + "a1B2" * 9
    monkeypatch.setenv("MY_TOKEN", secret)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(exporting, "torch_env_text", machine.torch_env_text)  # the real one
    folder = Path(json.loads(stepped.run("export", "--json").stdout)["folder"])
    for path in folder.iterdir():
        assert secret not in path.read_text(), path.name
    text = (folder / "env.txt").read_text()
    assert "OMP_NUM_THREADS=2" in text
    assert "MY_TOKEN=<redacted>" in text
    torch_env = (folder / "torch_env.txt").read_text()
    assert "PyTorch version" in torch_env or "no answer within" in torch_env  # on a busy machine


def test_the_page_opens_offline(stepped: Project) -> None:
    assert stepped.run("publish", "--page-only").exit_code == 0
    html = (stepped.root / "html" / "index.html").read_text()
    assert CULPRIT in html
    assert "http:" not in html and "https:" not in html
    scripts = re.findall('<script src="(.*?)"', html)
    assert len(scripts) == html.count("<script") and all(path.startswith("nbbench/") for path in scripts)
    wanted = [*scripts, "nbbench/plotly.min.js", "nbbench/data/start.js", "nbbench/data/series/0.js"]
    assert all((stepped.root / "html" / path).is_file() for path in wanted)
    assert [path.name for path in (stepped.root / "html").iterdir() if path.name.startswith(".")] == []


def test_the_database_is_rebuilt_from_the_results(stepped: Project) -> None:
    before = json.loads(stepped.run("regressions", "--json").stdout)
    for path in (stepped.root / "results").glob("nbbench.sqlite*"):
        path.unlink()
    assert stepped.run("db", "rebuild").exit_code == 0
    assert json.loads(stepped.run("regressions", "--json").stdout) == before


def test_db_info_needs_a_database(project: Project) -> None:
    assert project.run("db", "info").exit_code == 2


def test_a_read_only_results_folder_is_one_sentence(project: Project) -> None:
    (project.root / "results").write_text("a file where the folder should be")
    found = project.run("regressions")
    assert found.exit_code == 2
    assert "Traceback" not in found.stderr


def test_settings_come_from_the_environment(stepped: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FLOOR", "3"), ("BUDGET_S", "nan"), ("BUDGET_S", "0s"), ("BUDGET_S", "soon")):
        with monkeypatch.context() as context:
            context.setenv(f"NBBENCH_{name}", value)
            found = stepped.run("regressions")
        assert found.exit_code == 2
        assert name.lower() in found.stderr
    monkeypatch.setenv("NBBENCH_BUDGET_S", "5m")
    assert load_settings(stepped.root).budget_s == 300


def test_committed_results_are_judged_on_a_fresh_clone(stepped: Project, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.copy(stepped.root / "asv.conf.json", clone)
    shutil.copytree(stepped.root / "results", clone / "results", ignore=shutil.ignore_patterns("*.sqlite*"))
    assert CULPRIT in Project(clone).run("regressions").stdout


def test_a_series_can_be_pasted_back_as_a_pattern() -> None:
    """What `gate` and `bisect` print to reproduce must survive the quotes in asv's names."""
    label = "bandwidth.Warm.time_run(512, 'float32')"
    [word] = shlex.split(exactly(label))
    assert re.fullmatch(word, label)
    assert not re.search(word, "bandwidth.Warm.time_run(512, 'float64')")


def test_events_of_older_rules_are_found_anew(stepped: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> int:
        return len(json.loads(stepped.run("regressions", "--json").stdout)["flags"])

    assert told() == 1
    folder = stepped.root / "results" / "other"
    shutil.copytree(stepped.root / "results" / "m", folder)
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text().replace('"m"', '"other"').replace("1.3", "1.0"))
        for row in content.get("results", {}).values():
            row[0] = [1.0]
        path.write_text(json.dumps(content))
    assert told() == 1
    with open_store(load_settings(stepped.root)) as store:
        store.save_events([], {**store.run_info(), "events": 0})
    assert told() == 0  # what is saved is believed
    monkeypatch.setattr(history, "RULES", history.RULES + 1)
    assert told() == 1
