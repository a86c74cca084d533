"""Trees measured by several workers: real processes of Dask, killed and interrupted while they measure."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager

import psutil
import pytest
from e2e_project import Project, wait_until
from test_e2e_second_subject import BLUR, PLAIN, PROFILE, SLOW, SUITE, WORKLOADS

from tests.torture.tiny import ASV_CONF, git

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
pytestmark = pytest.mark.e2e

COMMITS, CULPRIT = 4, 3
# A process that imports a commit writes its number down and waits: no machine is too fast to be killed.
HOLD = """
import os, time
from pathlib import Path
_place = Path({place!r})
if (_place / "armed").exists():
    (_place / f"{{os.getpid()}}").touch()
    while (_place / "armed").exists():
        time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where held commits write their processes."""
    return tmp_path_factory.mktemp("held")


@pytest.fixture(scope="module")
def hashes(tmp_path_factory, place):
    folder = tmp_path_factory.mktemp("clustered") / "clone"
    package = folder / "softfocus"
    package.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=trunk")
    (package / "__init__.py").write_text(HOLD.format(place=str(place)))
    made = []
    for number in range(1, COMMITS + 1):
        step = SLOW if number >= CULPRIT else PLAIN
        (package / "blur.py").write_text(BLUR.format(comment=f"# revision {number}", step=step, rate=number))
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", f"--date=2025-03-{number:02d}T12:00:00+00:00", "-m", f"{number}")
        made.append(git(folder, "rev-parse", "HEAD"))
    return folder, made


def new_project(folder, clone) -> Project:
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
    made = Project(root, clean | {"HOME": str(folder), "COLUMNS": "200"})
    made.run("nbbench", "subject", "use", str(clone))
    return made


@pytest.fixture(scope="module")
def project(tmp_path_factory, hashes) -> Project:
    return new_project(tmp_path_factory.mktemp("cluster"), hashes[0])


@contextmanager
def holding(place, start, *arguments):
    """A process that is started while imports of commits are held; in the end both are over."""
    (place / "armed").touch()
    process = start(*arguments)
    try:
        yield process
    finally:
        process.kill()
        for path in place.iterdir():
            path.unlink()


def measured(project: Project) -> dict[str, dict]:
    """asv's result files of the only machine, by the first eight digits of their commit."""
    return {
        path.name[:8]: json.loads(path.read_text())
        for path in project.root.glob("results/*/*-nbbench-*.json")
    }


def worker_of(pid: int) -> psutil.Process:
    """The worker of Dask that a measuring process belongs to: the server that it is forked of began there."""
    for above in psutil.Process(pid).parents():
        if "nbbench.measure.cluster_task" in above.cmdline():
            return above.parent()
    raise AssertionError(f"{pid} belongs to no worker")


def test_a_killed_worker_loses_nothing_and_nothing_is_there_twice(project, hashes, place):
    two = hashes[1][:2]
    given = ["--dask", "local:2", "--commits", ",".join(two), "--bench", "Rate", "--json"]
    with holding(place, project.start, "nbbench", "run", *given) as process:
        wait_until(lambda: process.poll() is not None or len(list(place.iterdir())) > 1)
        [held] = [path for path in place.iterdir() if path.name.isdigit()]
        worker_of(int(held.name)).kill()
        wait_until(lambda: not psutil.pid_exists(int(held.name)))
        (place / "armed").unlink()
        told, _ = process.communicate()
    assert process.returncode == 0, told
    found = measured(project)
    assert set(found) == {commit[:8] for commit in two}
    for number, commit in enumerate(two, 1):
        assert found[commit[:8]]["results"]["suite.Rate.track_frames"][0] == [number]
    [machine] = {path.parent.parent for path in project.root.glob("results/*/telemetry/*.jsonl")}
    records = [line for path in machine.glob("telemetry/*.jsonl") for line in path.read_text().splitlines()]
    assert len(records) == 2 * len(two)  # a process a benchmark
    assert project.processes() == []


@pytest.mark.thorough
def test_an_interrupt_ends_all_and_a_repeat_finishes(project, hashes, place):
    """Ledgers are recorded by both workers; exit 130 leaves no process."""
    with holding(place, project.start, "nbbench", "ledger", "--dask", "local:2", "--json") as process:
        wait_until(lambda: process.poll() is not None or len(list(place.iterdir())) > 2)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate()
    assert process.returncode == 130, told
    wait_until(lambda: project.processes() == [])
    found = project.told("ledger", "--dask", "local:2")
    assert [step["commit"] for step in found["steps"]] == [hashes[1][CULPRIT - 1]], found
    assert len(list((project.root / "results" / "ledger").iterdir())) == COMMITS
    again = project.run("nbbench", "ledger", "--dask", "local:2")
    assert "node" not in again.stderr  # nothing is lacking, so no worker is started


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("local:none", "is no number of workers"),
        ("nowhere", "is no address"),
        pytest.param("tcp://127.0.0.1:1", "no scheduler of Dask answers at tcp", marks=pytest.mark.thorough),
    ],
)
def test_what_is_no_cluster(project, where, words):
    refused = project.run("nbbench", "run", "--dask", where, expect=2)
    assert words in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.thorough
def test_encryption_without_certificates_is_no_internal_error(project):
    asked = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    refused = project.run("nbbench", "run", "--dask", "local:1", expect=2, **asked)
    assert "no scheduler of Dask answers at local:1 (" in refused.stderr and "Traceback" not in refused.stderr
