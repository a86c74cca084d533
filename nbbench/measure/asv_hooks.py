"""Hooks into asv's commands, set when asv loads the plugin: plain asv measures by nbbench's rules."""

import inspect
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from asv import machine, results, util
from asv.commands import asv_profiling, find, run, setup
from asv.plugins import github

from nbbench.config import load_settings
from nbbench.errors import NbbenchError
from nbbench.measure.asv_environment import NbbenchEnvironment, is_lost
from nbbench.measure.process_env import LOCK_HELD, measuring
from nbbench.metrics import is_exact
from nbbench.subject.repository import open_subject
from nbbench.words import last_line


def install() -> None:
    """Check that a subject is registered and refresh its refs, then set the hooks.

    Raises asv's UserError, which asv prints as one line.
    """
    try:
        open_subject(load_settings(Path.cwd()))
    except NbbenchError as error:
        raise _user_error(error) from error
    _wrap(machine.Machine, "save", _learn_the_machine)
    _wrap(util, "write_json", _write_whole_files)
    _wrap(results.Results, "save", _keep_what_was_measured)
    _wrap(results.Results, "add_result", _append_tracked_figures)
    _wrap(util, "get_multiprocessing", _build_one_at_a_time)
    _wrap(setup.Setup, "run_from_conf_args", _finish_setup_with_success)
    _wrap(github.GithubPages, "run", _say_what_git_refuses)
    held = False

    def once() -> AbstractContextManager[None]:
        nonlocal held
        if held or os.environ.get(LOCK_HELD) == "1":
            return nullcontext()
        held = True
        return measuring(load_settings(Path.cwd()).state_dir)

    for command in (run.Run, find.Find, asv_profiling.Profile):
        _wrap(command, "run", partial(_run_locked, once))


def _wrap(owner: Any, name: str, hook: Callable[..., Any]) -> None:
    """Have `hook` called in place of a function of asv's, which it gets in front of the arguments."""
    found = inspect.getattr_static(owner, name)
    of_class = isinstance(found, classmethod)
    original = found.__func__ if of_class else found

    def called(*args: Any, **kwargs: Any) -> Any:
        return hook(original, *args, **kwargs)

    setattr(owner, name, classmethod(called) if of_class else called)


def _user_error(error: NbbenchError) -> util.UserError:
    return util.UserError(f"{error} ({error.hint})" if error.hint else str(error))


def _learn_the_machine(save: Callable[..., None], self: Any, results_dir: str) -> None:
    """asv tells an environment everything but the machine that it measures for."""
    NbbenchEnvironment.machine_name = self.machine
    save(self, results_dir)


def _write_whole_files(write_json: Callable[..., None], path: str, *args: Any, **kwargs: Any) -> None:
    """A file of asv's is replaced when the new one is complete: a kill must not cost earlier samples."""
    place = Path(os.path.realpath(path))
    fresh = place.with_name(f"{place.name}.new")
    write_json(str(fresh), *args, **kwargs)
    fresh.replace(place)


def _keep_what_was_measured(save: Callable[..., None], self: Any, results_dir: str) -> None:
    """Keep what is no failure of the subject out of the result file, and what was measured before in it.

    A commit that could not be laid out and a process that was killed from outside are measured by a later
    run. Samples are appended (`--append-samples`) to what is there, so a failure takes nothing away.
    """
    if self.commit_hash in NbbenchEnvironment.not_extracted:
        return
    path = Path(results_dir, self._filename)
    before = results.Results.load(str(path)) if path.is_file() else results.Results.unnamed()
    for name in [name for name in self.stderr if name in self._results]:
        lost = is_lost(self.stderr[name])
        if lost or NbbenchEnvironment.appends:
            _restore(self, before, name)
        if lost and None in (self._results[name] or [None]):
            self.remove_result(name)
    save(self, results_dir)


def _restore(now: Any, before: Any, name: str) -> None:
    """Put back what the parameters that have no value now had `before`."""
    if name not in before.get_all_result_keys() or before.benchmark_version.get(
        name
    ) != now.benchmark_version.get(name):
        return
    params = now.get_result_params(name)
    old = before.get_result_value(name, params)
    appends = NbbenchEnvironment.appends  # what is skipped now does not undo what was measured
    holes = [
        j
        for j, value in enumerate(now.get_result_value(name, params))
        if value is None or (appends and util.is_na(value))
    ]
    for kind in ("value", "stats", "samples"):
        merged = list(getattr(now, f"get_result_{kind}")(name, params))
        kept = getattr(before, f"get_result_{kind}")(name, params)
        for j in holes:
            merged[j] = kept[j]
        getattr(now, {"value": "_results"}.get(kind, f"_{kind}"))[name] = merged
    if len(holes) == len(old):
        now._started_at[name] = before._started_at[name]


def _append_tracked_figures(
    add_result: Callable[..., None],
    self: Any,
    benchmark: dict[str, Any],
    result: Any,
    *args: Any,
    **kwargs: Any,
) -> None:
    """A noisy `track_` figure that is measured again (`--append-samples`) is one more sample of it.

    asv replaces it, so that one who repeats a run could choose. Its median and interval are asv's own.
    """
    tracked = benchmark["type"] == "track" and not is_exact(str(benchmark.get("unit") or ""))
    if tracked and NbbenchEnvironment.appends and kwargs.get("append_samples"):
        _let_earlier_count(self, benchmark)
        figures = [None if util.is_na(value) else [value] for value in result.result]
        result = result._replace(samples=figures, number=[one and 1 for one in figures])
    add_result(self, benchmark, result, *args, **kwargs)


def _let_earlier_count(before: Any, benchmark: dict[str, Any]) -> None:
    """The first figures of a tracked benchmark, which asv keeps without samples, as a sample each."""
    name = benchmark["name"]
    if name not in before.get_all_result_keys():
        return
    params = before.get_result_params(name)  # perhaps fewer than now
    values, samples = before.get_result_value(name, params), before.get_result_samples(name, params)
    before._samples[name] = [
        kept or (None if util.is_na(value) else [value]) for kept, value in zip(samples, values, strict=True)
    ]


def _build_one_at_a_time(get_multiprocessing: Callable[[int], Any], parallel: int) -> Any:
    """`-j` builds in parallel; here nothing is built, and a warm server is not for two processes."""
    return get_multiprocessing(1 if NbbenchEnvironment.created else parallel)


def _finish_setup_with_success(run_from_conf_args: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """`asv setup` returns its environments, which asv's own main takes for a failure."""
    return 0 if run_from_conf_args(*args, **kwargs) else 1


def _say_what_git_refuses(run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`asv gh-pages` ends with a traceback where git refuses to push or to make the branch."""
    try:
        return run(*args, **kwargs)
    except util.ProcessError as error:
        raise util.UserError(f"git refuses: {last_line(str(error.stderr), str(error))}") from error


def _run_locked(
    once: Callable[[], AbstractContextManager[None]], run: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Hold the project's measuring lock while a command runs."""
    NbbenchEnvironment.appends = bool(kwargs.get("append_samples"))
    NbbenchEnvironment.refuse_others(kwargs.get("env_spec") or ())
    try:
        with once():
            return run(*args, **kwargs)
    except NbbenchError as error:
        raise _user_error(error) from error
