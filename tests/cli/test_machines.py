"""Whose figures a command shows: one machine's, named; and what a run counts as measured."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_project import Project, write_results
from evidence_samples import metrics, run_metadata, write_evidence

from nbbench.config import load_settings
from nbbench.measure import asv_run
from nbbench.measure.process_env import installed_torch, require_gpu
from nbbench.model import Commit
from nbbench.probe import device
from nbbench.probe.device import DEVICE_VARIABLE
from nbbench.record.projects import machine_name
from nbbench.subject.repository import list_commits, open_subject, register
from nbbench.subject.subjects.nanobragg import demo

PLAN = """
[tool.nbbench.plans.P]
title = "Small plan"
stale_days = 100000
[[tool.nbbench.plans.P.criteria]]
id = "fast"
title = "fast enough"
value = "suite.time_x"
spec = 2.0
"""
ENVIRONMENT = f"nbbench-py{sys.version_info[0]}.{sys.version_info[1]}-torch{installed_torch()}"


@pytest.fixture
def twins(project: Project) -> Project:
    """The same two commits on two machines, one of them ten times as slow; all samples agree."""
    for machine, scale in (("bl7", 1.0), ("bl8", 10.0)):
        write_results(project.root, {"suite.time_x": [scale, scale * 1.01]})
        folder = project.root / "results"
        for path in sorted((folder / "m").iterdir()):
            text = path.read_text().replace('"m"', f'"{machine}"')
            (folder / machine).mkdir(exist_ok=True)
            (folder / machine / path.name).write_text(text)
            path.unlink()
        (folder / "m").rmdir()
    (project.root / "pyproject.toml").write_text(PLAN)
    return project


@pytest.mark.parametrize("command", [("plan", "P"), ("export",)], ids=" ".join)
def test_several_machines_are_never_mixed(twins: Project, command: tuple[str, ...]) -> None:
    """H5: refused with the names until one is chosen."""
    refused = twins.run(*command)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "results of several machines" in refused.stderr and "bl7, bl8" in refused.stderr
    unknown = twins.run(*command, "--machine", "bl9")
    assert unknown.exit_code == 2 and "nothing was measured on 'bl9'" in unknown.stderr


def test_the_plan_shows_one_machine_and_names_it(twins: Project) -> None:
    for machine, exit_code in (("bl7", 0), ("bl8", 3)):
        shown = twins.run("plan", "P", "--machine", machine)
        assert shown.exit_code == exit_code and f"measured on {machine}" in shown.stdout
        told = json.loads(twins.run("plan", "P", "--machine", machine, "--json").stdout)
        assert told["machine"] == machine
        assert {c["found"]["machine"] for c in told["criteria"]} == {machine}
        attempt = twins.run("plan", "P", "--machine", machine, "--attempt").stdout
        assert f"- Machine: {machine}" in attempt


def test_a_gpu_s_machine_is_no_second_one_of_the_processor_s(
    twins: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone with results of one machine, and of a GPU elsewhere, needs no `--machine`."""
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    for path in (twins.root / "results" / "bl8").glob("*-env.json"):
        path.write_text(path.read_text().replace('"env"', '"nbbench-py3.12-torch2.11.0+cuda"'))
        path.rename(path.with_name(path.name.replace("env", "nbbench-py3.12-torch2.11.0+cuda")))
    assert "measured on bl7" in twins.run("plan", "P").stdout
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    assert "measured on bl8" in twins.run("plan", "P").stdout
    monkeypatch.setenv(DEVICE_VARIABLE, "tpu")
    refused = twins.run("plan", "P")
    assert refused.exit_code == 2 and "NBBENCH_DEVICE is cpu or cuda, not 'tpu'" in refused.stderr


def test_the_gpu_of_a_machine_has_a_name_and_an_environment_of_its_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    settings, here, torch = load_settings(project.root), platform.node() or "unknown", installed_torch()
    assert machine_name(settings) == here
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    assert machine_name(settings) == f"{here}-cuda" and installed_torch() == f"{torch}+cuda"
    assert machine_name(load_settings(project.root, overrides={"machine": "h100"})) == "h100"


@pytest.mark.parametrize("command", [("run", "--device", "cuda"), ("dtypes",)], ids=" ".join)
def test_without_a_gpu_nothing_is_measured(
    project: Project, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    demo.write_demo(project.root / "subject")
    register(load_settings(project.root), project.root / "subject")
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu" if "--device" in command else "cuda")  # put back afterwards
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(device, "_by_smi", lambda index: int("none"))
    require_gpu.cache_clear()
    refused = project.run(*command)
    assert refused.exit_code == 2
    assert "no GPU is found here (nvidia-ml-py is not installed; nvidia-smi: ValueError)" in refused.stderr
    assert "NBBENCH_DEVICE=cpu" in refused.stderr


def test_an_export_holds_one_machine_and_names_it(twins: Project) -> None:
    """H5, H6: nor is a difference of two single values a regression."""
    told = json.loads(twins.run("export", "--machine", "bl8", "--json").stdout)
    folder = Path(told["folder"])
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["machine_name"] == told["machine"] == "bl8"
    assert [s["value"] for s in metrics["series"]] == [10.1]
    (compared,) = metrics["comparisons"]
    assert compared["now"] == 10.1
    summary = (folder / "summary.md").read_text()
    assert "Machine bl8" in summary and "One value against one decides nothing" in summary
    assert "bl7" not in summary.partition("Not judged")[0]
    assert "--machine bl8" in (folder / "commands.txt").read_text()


def asv_file(machine: str, commit: Commit, values: dict[str, float | None], began: datetime) -> str:
    columns = ["result", "params", "version", "started_at", "duration"]
    stamp = int(began.timestamp() * 1000)
    return json.dumps(
        {
            "commit_hash": commit.hash,
            "env_name": ENVIRONMENT,
            "date": 1_700_000_000_000,
            "params": {"machine": machine},
            "python": "3.11",
            "requirements": {},
            "env_vars": {},
            "result_columns": columns,
            "results": {name: [[value], [], "1", stamp, 0.5] for name, value in values.items()},
            "durations": {},
            "version": 2,
        }
    )


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(project: Project, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`nbbench run --commits TIP --bench …` where asv gives these values; others may be there before."""
    demo.write_demo(project.root / "subject")
    register(load_settings(project.root), project.root / "subject")
    tip = list_commits(open_subject(load_settings(project.root)))[-1]
    own = platform.node()

    def write(machine: str, values: dict[str, float | None], began: datetime) -> None:
        folder = project.root / "results" / machine
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "machine.json").write_text(json.dumps({"machine": machine, "version": 1}))
        path = folder / f"{tip.short}-{ENVIRONMENT}.json"
        if path.exists():
            old = json.loads(path.read_text())
            new = json.loads(asv_file(machine, tip, values, began))
            path.write_text(json.dumps({**new, "results": {**old["results"], **new["results"]}}))
        else:
            path.write_text(asv_file(machine, tip, values, began))

    def go(
        values: dict[str, float | None],
        *arguments: str,
        before: dict[str, float | None] | None = None,
        elsewhere: dict[str, float | None] | None = None,
    ) -> tuple[int, str]:
        def measure(settings: object, commits: Sequence[Commit], *_: object, **__: object) -> int:
            if values:
                write(own, values, datetime.now(UTC))
            return 0

        long_ago = datetime(2025, 1, 1, tzinfo=UTC)
        for machine, there in ((own, before), ("bl8", elsewhere)):
            if there:
                write(machine, there, long_ago)
        monkeypatch.setattr(asv_run, "measure_commits", measure)
        done = project.run("run", "--commits", tip.hash, *arguments)
        return done.exit_code, done.stdout + done.stderr

    return go


def test_what_ran_decides_the_exit_code(run: Run) -> None:
    """C6: neither another machine's results nor another benchmark's make a failed run a success."""
    code, said = run({"s.time_b": None}, "--bench", "time_b", before={"s.time_a": 1.0})
    assert code == 4 and "1 failed" in said and " 0 ok" in said


@pytest.mark.parametrize("bench", ["time_b", "time_[bc]"])
def test_what_failed_here_is_no_success_because_it_ran_elsewhere(run: Run, bench: str) -> None:
    """C6: the same benchmark on another machine."""
    code, said = run({"s.time_b": None, "s.time_c": None}, "--bench", bench, elsewhere={"s.time_b": 1.0})
    assert code == 4 and " 0 ok" in said


def test_what_another_machine_measured_is_not_this_ones(run: Run) -> None:
    """H5: a second machine that measured nothing says so."""
    code, said = run({}, "--bench", "time_a", elsewhere={"s.time_a": 1.0})
    assert code == 4 and f"Nothing was measured on {platform.node()}" in said


def test_what_was_measured_already_is_a_success(run: Run) -> None:
    code, said = run({}, "--bench", "time_a", before={"s.time_a": 1.0})
    assert code == 0 and "nothing ran" in said and f"measured on {platform.node()}: 1 ok" in said


def test_one_figure_of_those_asked_for_is_a_success(run: Run) -> None:
    code, said = run({"s.time_a": 1.0, "s.time_b": None}, elsewhere={"s.time_c": 1.0})
    assert code == 0 and "1 ok, 1 failed" in said


def test_a_run_says_first_what_it_costs(run: Run, project: Project) -> None:
    """H14: the number of commits, and the machine."""
    run({"s.time_a": 1.0})
    done = project.run("run", "--bench", "time_a")
    assert f"measuring 14 commits on {platform.node()}: newest first" in done.stderr
    assert "--limit" not in done.stderr


def test_a_capture_at_a_commit_without_measured_changes_counts_for_its_tree(
    run: Run, project: Project
) -> None:
    """The branch's tip often changed no source: its figures are those of the newest recorded commit."""
    run({"s.time_a": 1.0})
    told = metrics(commit=demo.TIP_HASH, figures=[{"name": "ratio", "value": 3.0, "test": "t"}])
    write_evidence(
        project.root / "reports" / "cluster_C" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        told=told,
        run=run_metadata(machine_name=platform.node()),
    )
    (project.root / "pyproject.toml").write_text(
        PLAN.replace('value = "suite.time_x"', 'figure = "^ratio$"').replace(
            "[tool.nbbench.plans.P]", '[tool.nbbench]\nreports_root = "reports"\n[tool.nbbench.plans.P]'
        )
    )
    shown = json.loads(project.run("plan", "P", "--json").stdout)
    (criterion,) = shown["criteria"]
    tip = list_commits(open_subject(load_settings(project.root)))[-1]
    assert (criterion["verdict"], criterion["found"]["commit"]) == ("misses", tip.hash)
