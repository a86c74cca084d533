"""Trees measured by other hosts: workers of Dask in network namespaces of their own, cut off and killed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest
from cluster_hosts import HEAD, canary_clock, hosts, tls_settings
from e2e_project import Project, wait_until
from test_e2e_cluster import COMMITS, hashes, holding, measured, new_project, place  # noqa: F401

from nbbench.measure.cluster_task import hardware_class
from tests.docs.schema_check import checked

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
pytestmark = pytest.mark.e2e

PORT = 8786


@pytest.fixture(scope="module")
def network():
    with hosts("n1", "n2", "n3") as there:
        yield there


@pytest.fixture
def project(tmp_path, hashes) -> Project:  # noqa: F811
    return new_project(tmp_path, hashes[0])


class Cluster:
    """A scheduler of Dask on the head, and workers on nodes."""

    def __init__(self, network, project, stack, secure):
        self.network, self.project, self.stack = network, project, stack
        self.address = f"{'tls' if secure else 'tcp'}://{network.address(HEAD)}:{PORT}"
        # That a host is cut off is noticed after the least time that Dask can be told.
        self.environment = project.environment | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s"}
        self.environment |= tls_settings(network.folder) if secure else {}
        given = ["--host", network.address(HEAD), "--port", PORT, "--no-dashboard", "--no-show"]
        self.start(HEAD, "-m", "distributed.cli.dask_scheduler", *given)

    def start(self, host, *arguments, **environment):
        """Start a Python process on a host."""
        folder = self.project.root.parent / host
        folder.mkdir(exist_ok=True)
        output = self.stack.enter_context((folder / "output.txt").open("ab"))
        return subprocess.Popen(
            self.network.command(host, sys.executable, *arguments),
            cwd=folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def work(self, host, step=1.0):
        """Start a worker whose canary takes `step` seconds."""
        given = ["--nthreads", 1, "--resources", "nbbench=1", "--no-dashboard"]
        given += ["--host", self.network.address(host)]
        clock = canary_clock(self.project.root.parent, step)
        self.start(host, "-m", "distributed.cli.dask_worker", self.address, *given, PYTHONPATH=clock)

    def wait_for(self, workers):
        """Wait until so many workers are there."""
        code = f"import distributed; distributed.Client({self.address!r}).wait_for_workers({workers})"
        command = self.network.command(HEAD, sys.executable, "-c", code)
        subprocess.run(command, env=self.environment, check=True)

    def nbbench(self, *arguments):
        """Start nbbench on the head."""
        command = self.network.command(HEAD, *self.project.command("nbbench", *arguments))
        return subprocess.Popen(
            command,
            cwd=self.project.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def measuring(self):
        """The ids of the processes of shares, by host."""
        return {
            host: [pid for pid, line in self.network.commands(host).items() if "cluster_task" in line]
            for host in self.network.nodes
        }


@pytest.fixture
def secure():
    """Whether all is encrypted."""
    return False


@pytest.fixture
def cluster(network, project, secure):
    with ExitStack() as stack:
        yield Cluster(network, project, stack, secure)
        for host in network.nodes:
            network.join(host)
        for host in (HEAD, *network.nodes):
            network.kill(host)


def held(folder):
    """The processes that wait in the import of a commit, in the order in which they came there."""
    paths = [path for path in folder.iterdir() if path.name.isdigit()]
    return [int(path.name) for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns)]


def results_are_whole(project, commits):
    """Every commit has its own figure and a record for each of its two processes."""
    found = measured(project)
    assert set(found) == {commit[:8] for commit in commits}
    for number, commit in enumerate(commits, 1):
        assert found[commit[:8]]["results"]["suite.Rate.track_frames"][0] == [number]
    lines = [
        line
        for path in project.root.glob("results/*/telemetry/*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert len(lines) == 2 * len(commits)


def test_two_commits_stay_together_on_nodes_like_their_class(cluster, network, project, hashes, place):  # noqa: F811
    """n3's canary disagrees; the node that has begun is cut off, and both commits go to the other one."""
    for host, step in (("n1", 1.0), ("n2", 1.0), ("n3", 1.5)):
        cluster.work(host, step)
    cluster.wait_for(3)
    compared = hashes[1][:2]
    given = ["--dask", cluster.address, "--commits", ",".join(compared), "--bench", "Rate"]
    with holding(place, cluster.nbbench, "run", *given) as process:
        wait_until(lambda: process.poll() is not None or held(place))
        [first] = held(place)
        [begun] = [host for host in network.nodes if first in network.processes(host)]
        network.cut(begun)
        wait_until(lambda: process.poll() is not None or len(held(place)) > 1)
        wait_until(lambda: not cluster.measuring()[begun])  # who is cut off stops by itself
        (place / "armed").unlink()
        told, _ = process.communicate()
    assert process.returncode == 0, told
    [other] = {"n1", "n2"} - {begun}
    assert "n3 is set aside: its canary is 50% slower than its class's" in told
    assert f"{other}: {compared[0][:8]}, {compared[1][:8]}" in told
    results_are_whole(project, compared)


@pytest.mark.thorough
def test_classes_of_hardware_are_machines_of_their_own(cluster, network, project, hashes):  # noqa: F811
    """n3 has another processor and one core; its class is measured when all are asked for."""
    with network.processor("n3", "Old Chip"):
        for host in network.nodes:
            cluster.work(host)
        cluster.wait_for(3)
    given = ["run", "--dask", cluster.address, "--commits", hashes[1][0], "--bench", "Rate", "--json"]

    def measure(*more):
        process = cluster.nbbench(*given, *more)
        said = process.communicate()[0]
        assert process.returncode == 0, said
        return said, {path.name for path in project.root.glob("results/*") if (path / "telemetry").is_dir()}

    most = hardware_class()
    said, machines = measure()
    assert machines == {most}
    assert "n3 is set aside: is of another class: Old-Chip-1 (--machine Old-Chip-1 measures there" in said
    said, machines = measure("--machine", "all")
    assert machines == {most, "Old-Chip-1"} and "set aside" not in said
    found = checked(said[said.index("{\n") :])
    assert (found["machine"], [one["machine"] for one in found["others"]]) == (most, ["Old-Chip-1"])
    assert [one["commits"][0]["ok"] for one in (found, *found["others"])] == [2, 2]
    facts = json.loads((project.root / "results" / "Old-Chip-1" / "machine.json").read_text())
    assert facts["cpu"] == "Old Chip"


@pytest.mark.thorough
@pytest.mark.parametrize(("seed", "secure"), [(0, False), (1, False), (2, True)])
def test_nodes_are_killed_and_cut_off_at_random(cluster, network, project, hashes, seed):  # noqa: F811
    """Whatever the nodes do, all is measured once, and the ledgers are those of one machine."""
    chance, over = random.Random(seed), threading.Event()
    for host in network.nodes:
        cluster.work(host)

    def disturb(host):
        before = cluster.measuring()[host]
        wait_until(lambda: over.is_set() or cluster.measuring()[host] != before)
        over.wait(chance.uniform(0, 3))
        if chance.random() < 0.5:
            network.kill(host)
        else:
            network.cut(host)
            over.wait(chance.uniform(0, 20))
            network.join(host)
        if not any("dask_worker" in line for line in network.commands(host).values()):
            cluster.work(host)

    def disturb_some():
        for _ in range(6):
            if not over.is_set():
                disturb(chance.choice(network.nodes))

    disturber = threading.Thread(target=disturb_some)
    disturber.start()
    try:
        run = cluster.nbbench("run", "--dask", cluster.address, "--bench", "Rate", "--json")
        told, _ = run.communicate()
        ledger = cluster.nbbench("ledger", "--dask", cluster.address, "--json")
        told_ledger, _ = ledger.communicate()
    finally:
        over.set()
        disturber.join()
    assert run.returncode == 0, told
    assert ledger.returncode == 0, told_ledger
    results_are_whole(project, hashes[1])
    assert len(list((project.root / "results" / "ledger").iterdir())) == COMMITS
