"""The asv environment `nbbench`: this interpreter, one extracted source tree, warm processes.

asv's own environments build a wheel and install it, with its own torch, into a virtualenv per commit. Here
only the subject's source tree differs, which is extracted and put first on the path.
"""

import atexit
import functools
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from asv import util
from asv.console import log
from asv.environment import Environment, EnvironmentUnavailable
from asv.runner import BENCHMARK_RUN_SCRIPT

from nbbench import __version__
from nbbench.config import Settings, load_settings
from nbbench.errors import HostError, NbbenchError
from nbbench.host import PYTHON
from nbbench.measure import warm_client as warm
from nbbench.measure.machine import UNKNOWN_FACT, Host
from nbbench.measure.process_env import export_workloads, installed_torch, tree_environment
from nbbench.model import ProcessRecord
from nbbench.probe.device import imported_by_runs, on_cuda
from nbbench.probe.resources import last_level_cache_bytes, usable_threads
from nbbench.record.redact import redact_text
from nbbench.record.side_files import append_record, telemetry_path
from nbbench.subject.profile import import_path, load_profile
from nbbench.subject.repository import open_subject, tree_ids
from nbbench.subject.tree import UnfitTree, extract_commit

_WARM_MODES = ("run", "setup_cache", "discover", "check")
_MEASURING = ("run", "setup_cache")
_STDERR_TAIL = 400
_KEPT = ("asv: skipped", "nbbench: ")  # lines of a process that ended well
_LOST = "nbbench: the measuring process was killed from outside"
# Signals that others send. A benchmark that crashes gets SIGSEGV, SIGABRT, SIGBUS, SIGFPE or SIGILL.
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
# One asv process makes one collection: what tells a second look at a commit from a second round.
_COLLECTION = datetime.now(UTC).isoformat(timespec="seconds")
_OTHER_PYTHON = f"nbbench measures with the Python that runs it, {PYTHON}: Python {{}} is not measured"
_WATCHDOG = "NBBENCH_WATCHDOG_S"  # `nbbench run --timeout`: seconds for every measuring process


class _NotExtractedError(util.ProcessError):  # type: ignore[misc]
    """A commit that could not be laid out; where asv tries no other one, this is what it ends with."""

    def __str__(self) -> str:
        return str(self.stderr)


class NbbenchEnvironment(Environment):  # type: ignore[misc]
    """A shared interpreter that measures one commit's extracted source tree at a time."""

    tool_name = "nbbench"
    machine_name: ClassVar[str] = ""
    created: ClassVar[bool] = False
    appends: ClassVar[bool] = False  # whether samples are added to what is stored
    not_extracted: ClassVar[set[str]] = set()  # commits that could not be laid out: nothing is stored

    def __init__(self, conf: Any, python: str, requirements: dict[str, str], tagged: dict[Any, str]) -> None:
        if not self.matches(python):
            raise EnvironmentUnavailable(_OTHER_PYTHON.format(python))
        type(self).created = True
        self._python = PYTHON
        # A different torch is a different environment: its name must say so.
        self._requirements = {"torch": installed_torch() or "missing", **requirements}
        self._tagged_env_vars = tagged
        self._settings: Settings = load_settings(Path.cwd())
        self._benchmark_dir = str(Path(conf.benchmark_dir).resolve())
        self._results_dir = Path(conf.results_dir).resolve()
        self._tree_dir: Path | None = None
        self._tree = ""
        self._commit = ""
        self._server: warm.WarmServer | None = None
        super().__init__(conf, self._python, self._requirements, tagged)
        atexit.register(self._close)

    @classmethod
    def matches(cls, python: str) -> bool:
        """Whether this interpreter is the asked one."""
        return python in ("same", "python", PYTHON, sys.executable)

    @classmethod
    def refuse_others(cls, specifiers: Sequence[str]) -> None:
        """Raise UserError where `-E` or `--python` asks for another environment than the one there is."""
        for asked in specifiers:
            kind, _, python = asked.partition(":")
            if kind and kind != cls.tool_name and not kind.startswith(f"{cls.tool_name}-"):
                raise util.UserError(f"nbbench measures in its own environment: {asked} is not measured")
            if python and not cls.matches(python):
                raise util.UserError(_OTHER_PYTHON.format(python))

    def check_presence(self) -> bool:
        """There is nothing to create but the folder."""
        return Path(self._path).is_dir()

    def _setup(self) -> None:
        Path(self._path).mkdir(parents=True, exist_ok=True)

    def install_project(self, conf: Any, repo: Any, commit_hash: str) -> None:
        """Extract the commit's tree, unless an equal one is there, and put it on the path."""
        try:
            subject = open_subject(self._settings)
            tree = tree_ids(subject, [commit_hash])[commit_hash]
            if not tree:
                raise UnfitTree(f"commit {commit_hash[:8]} has no {subject.measured_path}")
            self._tree_dir = extract_commit(subject, commit_hash, tree, self._settings.env_dir / "trees")
        except NbbenchError as error:
            # asv records a ProcessError as a failed build and goes on with the next commit. A full disk, or
            # objects that are still to be fetched, are nothing to record: the next run tries again.
            if not isinstance(error, UnfitTree):
                self.not_extracted.add(commit_hash)
            self._tree, self._tree_dir, self._commit = "", None, commit_hash
            said = redact_text(str(error), os.environ)
            fields = {"kind": "install", "wall_s": 0.0, "exit_code": 1, "stderr_tail": said[:_STDERR_TAIL]}
            self._append(benchmark="", param_index=0, started_at=datetime.now(UTC), **fields)
            raise _NotExtractedError(["extract"], 1, "", said) from error
        self._tree, self._commit = tree, commit_hash
        export_workloads(self._settings)
        self._set_commit_hash(commit_hash)

    @property
    def installed_commit_hash(self) -> str | None:
        """None until this process extracted a commit: extraction is instant, so never trusted."""
        return self._commit or None

    def run(self, args: Sequence[str], **kwargs: Any) -> Any:
        """Run a benchmark command in a fork of the warm server, or any other command in a plain process."""
        base = kwargs.pop("env", None) or os.environ
        environment = tree_environment(
            self._settings, self._tree, self._tree_dir, results_dir=self._results_dir, base=base
        )
        environment |= self._global_env_vars
        script, *argv = [str(each) for each in args]
        if script != BENCHMARK_RUN_SCRIPT:
            return util.check_output([sys.executable, script, *argv], env=environment, **kwargs)
        if argv[0] not in _WARM_MODES:
            raise util.UserError("nbbench starts the processes itself: --launch-method is not for this suite")
        if argv[0] in _MEASURING and (limit := os.environ.get(_WATCHDOG)):
            kwargs["timeout"] = float(limit)
        outcome = self._try_warm(argv, environment, kwargs)
        if is_lost(outcome.output) or outcome.stopped:  # perhaps nothing that the benchmark did: once more
            self._record(argv, outcome)
            outcome = self._try_warm(argv, environment, kwargs)
        self._record(argv, outcome)
        codes = kwargs.get("valid_return_codes", (0,))
        if codes is not None and outcome.exit_code not in codes:
            raise util.ProcessError(
                [sys.executable, *argv], outcome.exit_code, outcome.output, outcome.output
            )
        if kwargs.get("return_stderr"):
            return outcome.output, "", outcome.exit_code
        return outcome.output

    def _try_warm(
        self, argv: list[str], environment: dict[str, str], kwargs: dict[str, Any]
    ) -> warm.JobOutcome:
        """Run the command in a fork of the warm server."""
        try:
            outcome = self._warm_server(environment).run(
                argv,
                cwd=kwargs.get("cwd") or str(Path.cwd()),
                environment=environment,
                timeout_s=float(kwargs.get("timeout") or 600),
            )
        except HostError as error:
            self._close()  # the next process gets a new server; this one has failed
            return _lost(str(error))
        if outcome.telemetry["verdict"] != "ended" or -outcome.exit_code not in _FROM_OUTSIDE:
            return outcome
        name = signal.Signals(-outcome.exit_code).name
        word = f"\n{_LOST} ({name}; the kernel does this where memory runs out)"
        return replace(outcome, output=outcome.output + word)

    def _warm_server(self, environment: dict[str, str]) -> warm.WarmServer:
        if self._server is None:
            try:
                self._server = warm.WarmServer(environment=environment)
            except HostError as error:
                raise util.UserError(str(error)) from error
        preload = [*load_profile(self._settings).preload, *imported_by_runs()]
        root = environment["NBBENCH_TREE"]
        path = import_path(self._settings, root) if root else []
        self._server.open_suite(path, self._benchmark_dir, preload, environment)
        if self._server.suite_output.strip():
            log.debug(self._server.suite_output)
        return self._server

    def _record(self, argv: list[str], outcome: warm.JobOutcome) -> None:
        """Keep the telemetry of a process that measured."""
        if argv[0] not in _MEASURING:
            return
        facts = dict(outcome.telemetry)
        bench, _, index = argv[2].rpartition("-")
        if not bench or not index.isdigit():
            bench, index = argv[2], "0"
        self._append(
            benchmark=bench,
            param_index=int(index),
            kind=argv[0],
            started_at=datetime.fromtimestamp(facts.pop("started"), UTC),
            exit_code=int(facts.pop("exit_code")),
            timed_out=facts.pop("verdict") == "timeout",
            stderr_tail=_worth_keeping(outcome),
            extra=(*_taken_out(facts), ("threads", usable_threads(self._settings.threads)), *_setup()),
            **{name: round(value, 6) for name, value in facts.items()},
        )

    def _append(self, **fields: Any) -> None:
        """Append a line of telemetry beside asv's results; a full disk must not stop asv."""
        if not self.machine_name:
            return
        path = telemetry_path(self._results_dir, self.machine_name, self._commit, self.name)
        place = {"commit": self._commit, "environment": self.name, "machine": self.machine_name}
        try:
            append_record(path, ProcessRecord(**place, **fields))
        except OSError as error:
            log.warning(f"nbbench: telemetry not kept: {error}")

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


def _taken_out(facts: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What telemetry keeps beside its own fields, taken out of the server's figures."""
    yield "collection", _COLLECTION
    yield "load_before", facts.pop("load_before")
    yield "run_delay_s", facts.pop("run_delay_s")
    if canary := facts.pop("canary", None):
        yield "canary", canary  # seconds of each program, before and after
    if gpu := facts.pop("gpu", None):
        yield "gpu", gpu  # its state before and after


@functools.cache
def _setup() -> tuple[tuple[str, Any], ...]:
    """With what is measured: a change of the subject is none when one of these changed with it.

    Recorded figures are judged by the cache of their own machine.
    """
    return (
        ("torch", installed_torch()),
        ("python", platform.python_version()),
        ("cpu", Host().cpu_model() or UNKNOWN_FACT),
        ("nbbench", __version__),
        ("cache_bytes", last_level_cache_bytes()),
        *((("device", "cuda"),) if on_cuda() else ()),
    )


def is_lost(output: str | None) -> bool:
    """Whether what a process printed ends with the word that it was killed from outside."""
    return _LOST in (output or "")


def _lost(reason: str) -> warm.JobOutcome:
    """The outcome of a process that its server took along."""
    facts = {"started": time.time(), "exit_code": 1, "verdict": "ended", "wall_s": 0.0}
    return warm.JobOutcome(f"{_LOST} ({reason})", 1, {**facts, "load_before": 0.0, "run_delay_s": 0.0})


def _worth_keeping(outcome: warm.JobOutcome) -> str:
    """The line that says why there is no figure, or what a benchmark has to say of its own.

    Telemetry is committed with the results, so tracebacks stay out of it: they hold paths of
    this machine and lines of the subject's source. `asv run --show-stderr` shows them.
    """
    lines = [line.strip() for line in outcome.output.splitlines() if line.strip()]
    if outcome.exit_code == 0:
        lines = [line for line in lines if line.startswith(_KEPT)]
    return lines[-1][:_STDERR_TAIL] if lines else ""
