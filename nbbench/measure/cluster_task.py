"""What a worker does with its share of a run: a scratch project, the usual recording in it, its files.

A share is measured in a process of its own, which ends with the worker and as soon as nobody waits for it.
"""

import contextlib
import os
import platform
import re
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from nbbench import __version__
from nbbench.config import load_settings
from nbbench.errors import ConfigError, HostError, NbbenchError, UsageError
from nbbench.measure.asv_run import AsvChoice, end_group, measure_commits
from nbbench.measure.kernel import end_with_parent
from nbbench.measure.ledgers import HOST, LEDGERS, ensure_work
from nbbench.measure.machine import Host
from nbbench.measure.process_env import installed_torch
from nbbench.model import Commit
from nbbench.probe.device import on_cuda
from nbbench.probe.resources import usable_cores
from nbbench.record.asv_results import BENCHMARKS_JSON, MACHINE_JSON
from nbbench.subject.carried import unpack_trees
from nbbench.words import clean, last_line

_CANARY = """
from nbbench.probe.canary import reference_times
print(min(reference_times()["arithmetic_s"] for _ in range(5)))
"""
_ORDER = "order.json"
_LOOK_S = 0.5  # how often a worker asks whether its share is still wanted
_LAST_S = 10.0  # that a process has to end after an interrupt
_REFUSED = 2  # the exit code of what no other node would do better


@dataclass(frozen=True, slots=True)
class Node:
    """Where a worker runs: the host, its class of hardware, its cores, what must be as here (nbbench, torch
    and Python), and the seconds that the canary's arithmetic takes."""

    host: str
    hardware: str
    cores: int
    versions: tuple[str, str, str]
    canary_s: float


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """What is measured at every commit: ledgers of the `workloads`, or without any times by asv's `choice`.

    `environment` are the variables of nbbench and of the suite, `machine` the class to time on. Compared
    commits stay `together` on a node; `jobs` trees are recorded at a time.
    """

    environment: Mapping[str, str]
    workloads: tuple[str, ...] = ()
    choice: AsvChoice = field(default_factory=AsvChoice)
    machine: str = ""
    together: bool = False
    commits: tuple[Commit, ...] = ()
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of a share: the host, its files of results, what was said; why it was `refused`, or ''."""

    host: str
    files: Mapping[str, bytes]
    said: tuple[str, ...]
    refused: str = ""


def own_versions() -> tuple[str, str, str]:
    """What must be the same on every node, or figures of one run would not be comparable."""
    return __version__, installed_torch(), platform.python_version().rpartition(".")[0]


def look_at_node(environment: Mapping[str, str]) -> Node:
    """What a worker's node is. Raises HostError where the canary cannot run (no torch, say)."""
    command = [sys.executable, "-c", _CANARY]
    done = subprocess.run(command, capture_output=True, text=True, env=_environ(environment))
    if done.returncode:
        raise HostError(f"{platform.node()}: {last_line(done.stderr, 'the canary did not run')}")
    return Node(platform.node(), hardware_class(), usable_cores(), own_versions(), float(done.stdout))


def hardware_class() -> str:
    """The name of this machine's class: its processor and how many cores of it may be used."""
    model = re.sub(r"\((?:R|TM)\)|\b(?:CPU|Processor)\b|@.*", "", Host().cpu_model() or platform.machine())
    name = re.sub(r"[^A-Za-z0-9.]+", "-", model).strip("-.")[:60] or "unknown"
    return f"{name}-{usable_cores()}{'-cuda' if on_cuda() else ''}"


def share_files(results_dir: Path, machine: str, commits: Sequence[Commit]) -> dict[str, bytes]:
    """The files of a results folder that measuring these commits reads and writes, by their names."""
    patterns = [f"ledger/{commit.tree[:16]}-*.json.gz" for commit in commits if commit.tree]
    if machine:  # ledgers alone are of none
        patterns += [BENCHMARKS_JSON, f"{machine}/{MACHINE_JSON}"]
        for commit in commits:
            patterns += [f"{machine}/{commit.short}-*.json", f"{machine}/telemetry/{commit.short}-*.jsonl"]
    found = sorted({path for pattern in patterns for path in results_dir.glob(pattern)})
    kept = [path for path in found if path.is_file() and not path.is_symlink()]
    return {path.relative_to(results_dir).as_posix(): path.read_bytes() for path in kept}


def carry_out(work: WorkOrder, files: Mapping[str, bytes], pack: bytes) -> Brought:
    """Measure a share by the `files` of the project and of what is on record, and its trees in a git `pack`.

    Raises HostError, which names the host, for what may go well elsewhere.
    """
    from distributed import Status, get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        lasts = worker.status in (Status.running, Status.paused)  # cut off from the scheduler, it closes
        return lasts and task is not None and task.state != "cancelled"

    with tempfile.TemporaryDirectory(prefix="nbbench-", dir=worker.local_directory) as folder:
        root = Path(folder)
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        environment = _environ(work.environment)
        hashes = [commit.hash for commit in work.commits]
        unpack_trees(load_settings(root, environ=environment), pack, hashes)
        # asv keeps its list of machines in the home folder, which nodes may share.
        environment |= {"HOME": folder, "PYTHONUSERBASE": site.getuserbase()}
        code, said = _measure(root, msgspec.json.encode(work), environment, is_wanted)
        if code not in (0, _REFUSED):
            raise HostError(f"{platform.node()}: {said[-1] if said else f'exit {code}'}")
        found = share_files(root / "results", work.machine, work.commits)
        return Brought(platform.node(), found, said, said[-1] if code else "")


def _environ(given: Mapping[str, str]) -> dict[str, str]:
    """This worker's environment with the caller's settings of nbbench in place of its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("NBBENCH_", "ASV_"))}
    return own | dict(given)


def _measure(
    root: Path, order: bytes, environment: Mapping[str, str], is_wanted: Callable[[], bool]
) -> tuple[int, tuple[str, ...]]:
    """Run the measuring process to its end: its exit code and what it said."""
    (root / _ORDER).write_bytes(order)
    with (root / "output.txt").open("w+b") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "nbbench.measure.cluster_task"],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,  # an interrupt of the terminal is the caller's
        )
        try:
            while process.poll() is None and is_wanted():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_S)
        finally:
            if process.poll() is None:
                end_group(process, _LAST_S)
        output.seek(0)
        lines = output.read().decode("utf-8", "replace").splitlines()
    return process.returncode, tuple(text for line in lines if (text := clean(line)))


def main() -> int:
    """Measure what is ordered in the project of the current folder."""
    end_with_parent()  # a killed worker's share is measured elsewhere
    work = msgspec.json.decode(Path(_ORDER).read_bytes(), type=WorkOrder)
    settings = replace(load_settings(Path.cwd()), machine=work.machine)
    try:
        if work.workloads:
            names = list(work.workloads)
            ensure_work(settings, LEDGERS, work.commits, names, say=_say, jobs=work.jobs)
            ensure_work(settings, HOST, work.commits, names, say=_say)
        else:
            measure_commits(settings, work.commits, work.choice, show=_say, detail=_say)
    except NbbenchError as error:
        _say(str(error))
        return _REFUSED if isinstance(error, UsageError | ConfigError) else 1
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
