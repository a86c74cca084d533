"""After a captured run: the same tree's workload in warm processes, to say why figures are what they are.

The exact ledger, the copy ceiling, and the same runs with malloc as it is and with its thresholds
pinned. Whatever cannot be found out is a sentence in the result, never an exception.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from nbbench.captured import Capture, Diagnosis, MallocTrial, Usage
from nbbench.config import Settings
from nbbench.disturbance import Disturbance
from nbbench.errors import NbbenchError, SubjectError
from nbbench.ledger import Ledger
from nbbench.measure import warm_client
from nbbench.measure.ledgers import known_ledgers
from nbbench.measure.lock import measuring
from nbbench.measure.process_env import server_environment, tree_environment, without_malloc_settings
from nbbench.model import Commit
from nbbench.subject.git import git_text
from nbbench.subject.profile import CaptureWorkload, load_profile
from nbbench.subject.tree import extract_tree

BUDGET_S = 30.0
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

    The first trials matter most: once `BUDGET_S` is spent no further one begins. `test_threads` is what the
    test computed with.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    known = Diagnosis(tree=capture.tree, cores=cores)
    if not capture.commit:
        return replace(known, error="the subject is not a git checkout, so its source tree has no name")
    if not capture.tree:
        return replace(known, error=f"commit {capture.commit[:8]} has no {settings.measured_path}")
    say(f"diagnosing tree {capture.tree[:8]}: ledger, malloc, copy ceiling (about {BUDGET_S:.0f} s)")
    try:
        with measuring(settings.state_dir):
            return _measure(settings, capture, workload, known, min(test_threads, cores))
    except (NbbenchError, OSError) as error:
        return replace(known, error=str(error))


def _measure(
    settings: Settings,
    capture: Capture,
    workload: CaptureWorkload,
    known: Diagnosis,
    test_threads: int,
) -> Diagnosis:
    commit = Commit(capture.commit, capture.tree, datetime.fromtimestamp(0, UTC), "")
    folder = _extracted(settings, capture)
    dirty = "the work tree has uncommitted changes, which the diagnosis does not see"
    notes = [dirty] if capture.changes_before else []
    plain, removed = without_malloc_settings(os.environ)
    if removed:
        notes.append(f"the diagnosis ran without {', '.join(removed)}")
    environment = tree_environment(settings, commit.tree, folder, commit=commit.hash, base=plain)
    server = warm_client.WarmServer(environment=server_environment(plain))
    with closing(server), tempfile.TemporaryDirectory(dir=server.scratch) as scratch:
        preload = list(load_profile(settings).preload)
        server.open_suite(
            [environment["NBBENCH_TREE"]], str(settings.root / "benchmarks"), preload, environment
        )
        jobs = _Jobs(server, environment, Path(scratch), time.monotonic() + BUDGET_S)
        dtypes = {dtype for _, dtype in workload.trials}
        wanted = {*workload.trials, *((size, dtype) for size in workload.ledgers for dtype in dtypes)}
        names = {pair: workload.workload.format(size=pair[0], dtype=pair[1]) for pair in sorted(wanted)}
        ceiling = jobs.run(
            "the copy ceiling", "benchmarks.diagnosis:measure_ceilings", {"test_threads": test_threads}
        )
        ledgers = jobs.ledgers(settings, commit, list(names.values()))
        default = ceiling.get("default_dtype")
        trials: dict[tuple[int, str], dict[str, Any]] = {}
        # The test's own dtype first.
        for size, dtype in sorted(workload.trials, key=lambda pair: pair[1] != default):
            limit_s = 0.0 if trials else _FIRST_S
            given = {"size": size, "dtype": dtype}
            trials[size, dtype] = jobs.run(
                f"{size}² {dtype}", "benchmarks.diagnosis:measure_pair", given, limit_s=limit_s
            )
        trials |= {pair: {} for pair in names if pair not in trials}
    return replace(
        known,
        torch=str(_first(trials.values(), "torch")),
        default_dtype=str(_first([ceiling, *trials.values()], "default_dtype")),
        threads=int(_first([*trials.values(), ceiling], "threads") or 0),
        trials=tuple(_trial(*pair, found, ledgers.get(names[pair])) for pair, found in trials.items()),
        copy_bytes_per_s=ceiling.get("copy"),
        copy_test_bytes_per_s=ceiling.get("copy_test", ceiling.get("copy")),
        disturbance=jobs.disturbance(known.cores),
        notes=(*notes, *jobs.notes),
    )


def _first(found: Iterable[Mapping[str, Any]], name: str) -> Any:
    """The first of these answers to a question that each may leave open; empty when all do."""
    return next((one[name] for one in found if one.get(name)), "")


class _Jobs:
    """Runs the functions of benchmarks/diagnosis.py until the time is spent, and adds up telemetry."""

    def __init__(
        self, server: warm_client.WarmServer, environment: Mapping[str, str], folder: Path, deadline: float
    ) -> None:
        self._server = server
        self._environment = environment
        self._folder = folder
        self._deadline = deadline
        self._telemetry: list[Mapping[str, Any]] = []
        self.notes: list[str] = []

    def disturbance(self, cores: int) -> Disturbance:
        """How much others disturbed the jobs, without what they did on cores that these may not use."""
        wall_s = sum(float(t["wall_s"]) for t in self._telemetry)
        if not wall_s:
            return Disturbance(processes=0)
        others_s, steal_s = (
            sum(float(t[name]) for t in self._telemetry) for name in ("others_cpu_s", "steal_s")
        )
        spare = max(0, (os.cpu_count() or 1) - cores)
        others = max(0.0, others_s / wall_s - spare)
        return Disturbance(others, steal_s / wall_s, processes=len(self._telemetry))

    def ledgers(self, settings: Settings, commit: Commit, names: list[str]) -> Mapping[str, Ledger]:
        """The ledgers kept for a commit's tree; those of `names` that are missing are recorded first."""
        known = known_ledgers(settings, commit)
        missing = [name for name in names if name not in known]
        if not missing:
            return known
        self.run("the ledger", "nbbench.measure.recording:write", {"workloads": missing}, answers=False)
        return known_ledgers(settings, commit)

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
        left = self._deadline - time.monotonic()
        if left <= 0 and not limit_s:
            self.notes.append(f"no time was left for {what}")
            return {}
        path = self._folder / "found.json"
        path.unlink(missing_ok=True)
        given = {**arguments, "path": str(path)} if answers else arguments
        outcome = self._server.run(
            ["call", function, json.dumps(given)],
            cwd=str(self._folder),
            environment=self._environment,
            timeout_s=max(left + _GRACE_S, limit_s),
        )
        self._telemetry.append(outcome.telemetry)
        if outcome.exit_code:
            lines = [line.strip() for line in outcome.output.splitlines() if line.strip()]
            late = outcome.telemetry.get("verdict") == "timeout"
            self.notes.append(
                f"{what}: {'stopped for time' if late else (lines or ['no message'])[-1][:300]}"
            )
        return _read(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _extracted(settings: Settings, capture: Capture) -> Path:
    """The captured tree, extracted from the registered subject or from the checkout's own git."""
    trees = settings.env_dir / "trees"
    repositories = [settings.subject_git] if (settings.subject_git / "objects").is_dir() else []
    own = Path(capture.cwd, git_text(Path(capture.cwd), ["rev-parse", "--git-common-dir"])).resolve()
    for repository in (*repositories, own):
        try:
            tree = git_text(
                repository, ["rev-parse", "--verify", f"{capture.commit}:{settings.measured_path}"]
            )
        except SubjectError:
            continue  # this repository does not have the commit
        if tree == capture.tree:
            return extract_tree(repository, capture.commit, tree, settings.measured_path, trees)
    raise SubjectError(
        f"no repository holds tree {capture.tree[:8]} of {settings.measured_path}",
        hint="",
    )


def _trial(size: int, dtype: str, found: Mapping[str, Any], ledger: Ledger | None) -> MallocTrial:
    default, pinned = (
        msgspec.convert(found[s], Usage) if s in found else None for s in ("default", "pinned")
    )
    error = str(found.get("error", "")) or (ledger.error if ledger else "")
    return MallocTrial(size, dtype, default, pinned, ledger if ledger and not ledger.error else None, error)
