"""A real Slurm of two nodes, each in a network namespace: `--dask slurm`, and the job array of the docs."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest
from cluster_hosts import HEAD, canary_clock, hosts, slurm, tls_settings
from e2e_project import wait_until
from test_e2e_cluster import COMMITS, hashes, holding, new_project, place  # noqa: F401
from test_e2e_cluster_hosts import held, results_are_whole

pytest.importorskip("dask_jobqueue", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.e2e, pytest.mark.slurm]

NODES = ("n1", "n2")
DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"


class Site:
    """Slurm's hosts and a project there."""

    def __init__(self, network, project, environment):
        self.network, self.project, self.environment = network, project, environment

    def start(self, *command, **environment):
        """Start a command on the head, in the project."""
        return subprocess.Popen(
            self.network.command(HEAD, *command),
            cwd=self.project.root,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command, expect=0, **environment):
        """What a command on the head prints."""
        process = self.start(*command, **environment)
        told, _ = process.communicate()
        assert process.returncode == expect, told
        return told

    def nbbench(self, *arguments):
        """The command line of nbbench."""
        return self.project.command("nbbench", *arguments)

    def jobs(self):
        """The ids of Slurm's jobs."""
        return self.run("squeue", "--noheader", "--format=%A").split()


@pytest.fixture(scope="module")
def network():
    with hosts(*NODES) as there:
        yield there


@pytest.fixture(scope="module")
def slurm_environment(network):
    with slurm(network) as found:
        yield found


@pytest.fixture
def site(network, slurm_environment, tmp_path, hashes):  # noqa: F811
    project = new_project(tmp_path, hashes[0])
    jobs = {"CORES": "1", "MEMORY": "1GB", "WALLTIME": "00:20:00", "QUEUE": "main"}
    environment = {f"DASK_JOBQUEUE__SLURM__{name}": value for name, value in jobs.items()}
    environment |= {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s"}
    environment |= {"PYTHONPATH": canary_clock(tmp_path, 1.0)}
    made = Site(network, project, project.environment | slurm_environment | environment)
    yield made
    made.run("scancel", "--user=root")
    wait_until(lambda: not made.jobs())


def test_a_job_that_slurm_ends_is_followed_by_another(site, hashes, place):  # noqa: F811
    two = hashes[1][:2]
    given = ["--dask", "slurm:1", "--commits", ",".join(two), "--bench", "Rate"]
    with holding(place, site.start, *site.nbbench("run", *given)) as process:
        wait_until(lambda: process.poll() is not None or held(place))
        [first], jobs = held(place), site.jobs()
        site.run("scancel", *jobs)
        wait_until(lambda: not any(first in site.network.processes(host) for host in NODES))
        (place / "armed").unlink()
        told, _ = process.communicate()
    assert process.returncode == 0, told
    results_are_whole(site.project, two)
    wait_until(lambda: not site.jobs())


def test_a_job_that_slurm_does_not_take_is_refused(site):
    asked = site.nbbench("ledger", "--dask", "slurm:1")
    told = site.run(*asked, expect=2, DASK_JOBQUEUE__SLURM__QUEUE="nowhere")
    assert "Slurm takes no such job: " in told and "invalid partition" in told.lower(), told
    assert site.jobs() == [] and "Traceback" not in told


@pytest.mark.thorough
def test_an_interrupt_leaves_no_job(site, place, tmp_path):  # noqa: F811
    """All that Dask sends is encrypted."""
    site.environment |= tls_settings(tmp_path)
    with holding(place, site.start, *site.nbbench("ledger", "--dask", "slurm:2", "--json")) as process:
        wait_until(lambda: process.poll() is not None or held(place))
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate()
    assert process.returncode == 130, told
    wait_until(lambda: not site.jobs())
    assert not list(site.project.root.glob("slurm-*.out"))
    told = site.run(*site.nbbench("ledger", "--dask", "slurm:2", "--json"))
    found = json.loads(told[told.index("{\n") :] if not told.startswith("{") else told)
    assert len(found["steps"]) == 1
    assert len(list((site.project.root / "results" / "ledger").iterdir())) == COMMITS


@pytest.mark.thorough
def test_the_job_array_of_the_docs(site, hashes):  # noqa: F811
    script = re.search(r"```sh\n(#!/bin/sh\n#SBATCH.*?)```", DOCS.read_text(), re.S)[1]
    script = script.replace("0-7", "0-1").replace("* 31", "* 2").replace("+ 31", "+ 2")
    command = " ".join(site.project.command("nbbench"))
    (site.project.root / "array.sh").write_text(script.replace("nbbench run", f"{command} run --bench Rate"))
    site.run("sbatch", "--wait", "array.sh")
    for part in sorted((site.project.root / "array").iterdir()):
        site.run(*site.nbbench("import", part))
    store = sqlite3.connect(site.project.root / "results" / "nbbench.sqlite")
    rows = store.execute(
        "SELECT position, status FROM results JOIN commits ON commits.id = commit_id ORDER BY 1"
    )
    assert rows.fetchall() == [(number, "ok") for number in range(1, COMMITS + 1) for _ in range(2)]
    assert store.execute("SELECT COUNT(*) FROM projects").fetchone() == (1,)
