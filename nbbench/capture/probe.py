"""After a captured run: the same tree's workload in warm processes, to say why figures are what they are.

The exact ledger, the copy ceiling, and the same runs with malloc as it is and with its thresholds
pinned. Whatever cannot be found out is a sentence in the result, never an exception.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from nbbench.captured import Capture, Diagnosis, MallocTrial, Usage
from nbbench.config import Settings
from nbbench.disturbance import Disturbance
from nbbench.errors import NbbenchError
from nbbench.ledger import Ledger
from nbbench.measure import warm_client
from nbbench.measure.ledgers import known_ledgers
from nbbench.measure.lock import measuring
from nbbench.measure.process_env import server_environment, tree_environment, without_malloc_settings
from nbbench.model import Commit
from nbbench.subject.git import git_text
from nbbench.subject.profile import CaptureWorkload, load_profile
from nbbench.subject.tree import extract_tree

_BUDGET_S = 30.0
_GRACE_S = 15.0  # a step that began in time may end
_FIRST_S = 120.0  # the pair that matters most gets this long: with ten others on a core it needs it


def diagnose(
    settings: Settings,
    capture: Capture,
    workload: CaptureWorkload,
    *,
    test_threads: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Diagnosis:
    """Measure the subject's bandwidth workload of the captured tree, as its profile says.

    The first trials matter most: once the budget is spent no further one begins. `test_threads` is what the
    test computed with.
    """
    cores = len(os.sched_getaffinity(0))
    if not capture.commit:
        return Diagnosis(error="the subject is not a git checkout, so its source tree has no name")
    if not capture.tree:
        return Diagnosis(error=f"commit {capture.commit[:8]} has no {settings.measured_path}")
    say(f"diagnosing tree {capture.tree[:8]}: ledger, malloc, copy ceiling (about {_BUDGET_S:.0f} s)")
    try:
        with measuring(settings.state_dir):
            return _measure(settings, capture, workload, min(test_threads, cores), cores)
    except (NbbenchError, OSError) as error:
        return Diagnosis(error=str(error))


def _measure(
    settings: Settings, capture: Capture, workload: CaptureWorkload, test_threads: int, cores: int
) -> Diagnosis:
    commit = Commit(capture.commit, capture.tree, datetime.fromtimestamp(0, UTC), "")
    repository = Path(capture.cwd, git_text(Path(capture.cwd), ["rev-parse", "--git-common-dir"])).resolve()
    trees = settings.env_dir / "trees"
    folder = extract_tree(repository, commit.hash, commit.tree, settings.measured_path, trees)
    dirty = "the work tree has uncommitted changes, which the diagnosis does not see"
    notes = [dirty] if capture.changes_before else []
    plain, removed = without_malloc_settings(os.environ)
    if removed:
        notes.append(f"the diagnosis ran without {', '.join(removed)}")
    environment = tree_environment(settings, commit.tree, folder, commit=commit.hash, base=plain)
    server = warm_client.WarmServer(environment=server_environment(plain))
    with closing(server), tempfile.TemporaryDirectory(dir=server.scratch) as scratch:
        preload = list(load_profile(settings).preload)
        benchmarks = str(settings.root / "benchmarks")
        server.open_suite([environment["NBBENCH_TREE"]], benchmarks, preload, environment)
        jobs = _Jobs(server, environment, Path(scratch), time.monotonic() + _BUDGET_S, notes)
        dtypes = {dtype for _, dtype in workload.trials}
        wanted = {*workload.trials, *((size, dtype) for size in workload.ledgers for dtype in dtypes)}
        names = {pair: workload.workload.format(size=pair[0], dtype=pair[1]) for pair in sorted(wanted)}
        found = jobs.run(
            "the copy ceiling", "benchmarks.diagnosis:measure_ceilings", {"test_threads": test_threads}
        )
        ledgers = known_ledgers(settings, commit)
        if missing := [name for name in names.values() if name not in ledgers]:
            jobs.run("the ledger", "nbbench.measure.recording:write", {"workloads": missing}, answers=False)
            ledgers = known_ledgers(settings, commit)
        trials: dict[tuple[int, str], dict[str, Any]] = {}
        # The test's own dtype first.
        for size, dtype in sorted(workload.trials, key=lambda pair: pair[1] != found.get("default_dtype")):
            given = {"size": size, "dtype": dtype}
            limit_s = 0.0 if trials else _FIRST_S
            trials[size, dtype] = jobs.run(
                f"{size}² {dtype}", "benchmarks.diagnosis:measure_pair", given, limit_s=limit_s
            )
            found = {**trials[size, dtype], **found}
    return Diagnosis(
        torch=found.get("torch", ""),
        default_dtype=found.get("default_dtype", ""),
        trials=tuple(_trial(*pair, trials.get(pair, {}), ledgers.get(name)) for pair, name in names.items()),
        copy_bytes_per_s=found.get("copy_test", found.get("copy")),
        disturbance=jobs.disturbance(cores),
        notes=tuple(notes),
    )


@dataclass(slots=True)
class _Jobs:
    """Runs the functions of benchmarks/diagnosis.py until the time is spent, and adds up telemetry."""

    server: warm_client.WarmServer
    environment: Mapping[str, str]
    folder: Path
    deadline: float
    notes: list[str]
    telemetry: list[Mapping[str, Any]] = field(default_factory=list)

    def disturbance(self, cores: int) -> Disturbance:
        """How much others disturbed the jobs, without what they did on cores that these may not use."""
        wall_s, others_s, steal_s = (
            sum(float(job[name]) for job in self.telemetry) for name in ("wall_s", "others_cpu_s", "steal_s")
        )
        if not wall_s:
            return Disturbance(processes=0)
        spare = max(0, (os.cpu_count() or 1) - cores)
        others = max(0.0, others_s / wall_s - spare)
        return Disturbance(others, steal_s / wall_s, processes=len(self.telemetry))

    def run(
        self,
        what: str,
        function: str,
        arguments: Mapping[str, Any],
        *,
        answers: bool = True,
        limit_s: float = 0.0,
    ) -> dict[str, Any]:
        """What one job found; with `limit_s` it begins in any case and may take that long at least.

        Empty, with a note, when there was no time for it or it failed.
        """
        left = self.deadline - time.monotonic()
        if left <= 0 and not limit_s:
            self.notes.append(f"no time was left for {what}")
            return {}
        path = self.folder / "found.json"
        path.unlink(missing_ok=True)
        outcome = self.server.run(
            [
                "call",
                function,
                json.dumps({**arguments, **({"path": str(path)} if answers else {})}),
            ],
            cwd=str(self.folder),
            environment=self.environment,
            timeout_s=max(left + _GRACE_S, limit_s),
        )
        self.telemetry.append(outcome.telemetry)
        if outcome.exit_code:
            lines = [line.strip() for line in outcome.output.splitlines() if line.strip()]
            late = outcome.telemetry.get("verdict") == "timeout"
            said = "stopped for time" if late else (lines or ["no message"])[-1][:300]
            self.notes.append(f"{what}: {said}")
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return {}


def _trial(size: int, dtype: str, found: Mapping[str, Any], ledger: Ledger | None) -> MallocTrial:
    default, pinned = (
        msgspec.convert(found[s], Usage) if s in found else None for s in ("default", "pinned")
    )
    error = str(found.get("error", "")) or (ledger.error if ledger else "")
    return MallocTrial(size, dtype, default, pinned, ledger if ledger and not ledger.error else None, error)
