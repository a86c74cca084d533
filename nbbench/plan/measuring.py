"""What a plan has no figure of at one commit, measured: a class of benchmarks after the other, so that an
interrupt costs the one that runs."""

import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from statistics import median

from nbbench.config import Settings
from nbbench.errors import NbbenchError, UsageError
from nbbench.history.ledger_series import LEDGER_SERIES
from nbbench.measure.asv_run import AsvChoice, look_back, measure_commits, measured_here
from nbbench.measure.process_env import measuring, require_compiler, server_environment
from nbbench.measure.reference import build_reference, reference_environment
from nbbench.model import Commit, ProcessRecord, Status
from nbbench.plan.plan import CriterionState, MeasuringStep, PlanMeasured, PlanVerdict, judge_plan
from nbbench.plan.plan_status import plan_inputs
from nbbench.plan.plans import Criterion, Plan, PlanInput, PlanInputs
from nbbench.plan.values import few_cores, results_of, series_name
from nbbench.probe.device import on_cuda
from nbbench.record.branch import save_commits
from nbbench.record.projects import machine_name
from nbbench.record.refresh import import_all, open_store
from nbbench.record.store import Store
from nbbench.subject.profile import load_profile
from nbbench.subject.repository import Subject, list_commits, measurable, open_subject
from nbbench.units import format_clock
from nbbench.words import Say, plural


def measure_plan(
    settings: Settings, plan: Plan, name: str, *, again: bool = False, say: Say, detail: Say
) -> PlanMeasured:
    """Measure what has no verdict at a commit ('': the branch's newest) on this machine, and judge it.

    `again` is for what cannot be told, too. What ran is kept when it is interrupted. Raises UsageError for
    an unknown commit, HostError where asv cannot run.
    """
    os.environ |= {**plan.environment, **os.environ}  # all processes that are started are to know them
    server_environment()  # refused here where there is no GPU, and not by asv
    commit, began = plan_commit(open_subject(settings), name), datetime.now(UTC)
    unknown = (PlanVerdict.NOT_MEASURED, PlanVerdict.STALE, *((PlanVerdict.CANNOT_TELL,) if again else ()))
    with measuring(settings.state_dir), open_store(settings, importing=True) as store:
        save_commits(settings, store)
        import_all(settings, store)
        given = plan_inputs(settings, store, plan, machine_name(settings), [commit])
        wanted = [state for state in _judged_at(plan, given, commit) if state.verdict in unknown]
        wanted = [state for state in wanted if not state.criterion.document]  # no benchmark brings it
        left_out = _left_out(settings, plan, wanted, given.own, commit)
        missing = [state for state in wanted if state.criterion.id not in left_out]
        steps = _steps(settings, missing, given.own, commit, store)
        say(_what_is_next(commit, steps, len(plan.criteria) - len(wanted)))
        try:
            _run(settings, commit, steps, say, detail)
        finally:
            import_all(settings, store)
            save_commits(settings, store)
        bench = [pattern for step in steps for pattern in _patterns(step)] or ["(?!)"]
        found = look_back(settings, store, [commit], bench, began)
        given = plan_inputs(settings, store, plan, machine_name(settings), [commit])
    return PlanMeasured(
        commit,
        given.own.machine,
        _judged_at(plan, given, commit),
        _before(plan, given, commit),
        tuple(steps),
        left_out,
        found.ran,
        tuple(record for record in found.records if record.started_at >= began),
    )


def plan_commit(subject: Subject, name: str) -> Commit:
    """The commit of a name ('': the branch's newest), as the one of the branch that has its source tree.

    Raises UsageError for an unknown name, or a commit without the measured path.
    """
    found = measurable(subject, name)
    same = [commit for commit in list_commits(subject) if commit.tree == found.tree]
    return next((commit for commit in same if commit.hash == found.hash), (same or [found])[-1])


def _judged_at(plan: Plan, given: PlanInputs, commit: Commit) -> tuple[CriterionState, ...]:
    """The plan by what is on record of a commit's source tree alone."""
    return states_within(plan, given, [one for one in given.own.commits if one.tree == commit.tree])


def _before(plan: Plan, given: PlanInputs, commit: Commit) -> tuple[CriterionState, ...]:
    """The plan by what is on record of the commits before one: of the whole branch, for one beside it."""
    line = given.own.commits
    end = next(place for place, one in enumerate(line) if one.hash == commit.hash)
    return states_within(plan, given, [one for one in line[:end] if one.tree != commit.tree])


def states_within(plan: Plan, given: PlanInputs, commits: Sequence[Commit]) -> tuple[CriterionState, ...]:
    """The plan by what is on record of these commits alone."""
    return judge_plan(plan, given.within(commits), datetime.now(UTC))


def _left_out(
    settings: Settings, plan: Plan, wanted: Sequence[CriterionState], given: PlanInput, commit: Commit
) -> dict[str, str]:
    """Why no benchmark answers a criterion here; by its id."""
    device, found = ("cuda" if on_cuda() else "cpu"), {}
    asked = [state.criterion for state in wanted if state.criterion.device == device]
    no_compiler = _refused(require_compiler) if any(one.compile for one in asked) else ""
    build = partial(_have_reference, settings, commit)
    no_reference = _refused(build) if any(one.reference for one in asked) else ""
    for criterion in (state.criterion for state in wanted):
        why = ""
        if criterion.device != device:
            what = "a GPU" if criterion.device == "cuda" else "the processor, not the GPU"
            why = f"needs {what}: `nbbench plan {plan.id} --measure --device {criterion.device}`"
        elif not criterion.value or criterion.value.startswith(LEDGER_SERIES):
            why = "no benchmark measures it"
        elif Status.SKIPPED in _there(settings, criterion, given, commit).values():
            why = "; ".join(few_cores(criterion, given))  # it skipped itself, and will again
        why = why or (no_compiler if criterion.compile else no_reference if criterion.reference else "")
        if why:
            found[criterion.id] = why
    return found


def _refused(try_it: Callable[[], None]) -> str:
    """What keeps something from working here; empty where it works."""
    try:
        try_it()
    except NbbenchError as error:
        return f"{error} ({error.hint})" if error.hint else str(error)
    return ""


def _have_reference(settings: Settings, commit: Commit) -> None:
    """Build the reference program where none is registered."""
    asked = load_profile(settings).reference
    if not (asked and os.environ.get(asked.variable)) and not reference_environment(settings, os.environ):
        build_reference(settings, commit.hash)


def _there(settings: Settings, criterion: Criterion, given: PlanInput, commit: Commit) -> dict[str, Status]:
    """What became of a criterion's series at a commit, here; those without a result are left out."""
    return {
        text: result.status
        for text in criterion.series
        for result in results_of(given.results, text)
        if result.commit == commit.hash and measured_here(settings, result)
    }


def _steps(
    settings: Settings, missing: Sequence[CriterionState], given: PlanInput, commit: Commit, store: Store
) -> list[MeasuringStep]:
    """The series that are missing, by class: where a criterion has all of its series, all once more."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for state in missing:
        there = _there(settings, state.criterion, given, commit)
        lacking = [text for text in state.criterion.series if there.get(text) is not Status.OK]
        anew = state.found is not None or not lacking
        for text in state.criterion.series if anew else lacking:
            found[series_name(text)[0].rpartition(".")[0]][text] = None
    seconds = _recorded_seconds(store.process_records(), machine_name(settings)) if found else {}
    return [MeasuringStep(name, tuple(series), seconds.get(name)) for name, series in found.items()]


_STARTING_S = 5.0
"""What starting asv costs, in about: it looks at the whole suite each time."""


def _recorded_seconds(records: Iterable[ProcessRecord], machine: str) -> dict[str, float]:
    """What a class of benchmarks usually takes at one commit: here, or where it is on record at all."""
    spent: dict[tuple[bool, str], dict[tuple[object, ...], float]] = defaultdict(lambda: defaultdict(float))
    for record in records:
        if record.kind in ("run", "setup_cache"):
            name, occasion = record.benchmark.rpartition(".")[0], dict(record.extra).get("collection")
            place = record.commit, record.machine, record.environment, occasion
            spent[record.machine == machine, name][place] += record.wall_s
    return {name: _STARTING_S + median(taken.values()) for (_, name), taken in sorted(spent.items())}


def _what_is_next(commit: Commit, steps: Sequence[MeasuringStep], known: int) -> str:
    """What is about to be measured, and about how long that takes."""
    told = f"{plural(known, 'criterion', 'criteria')} on record at {commit.short}"
    if not steps:
        return f"{told}; nothing is left to measure here"
    times = [step.expected_s for step in steps if step.expected_s is not None]
    unknown = len(steps) - len(times)
    about = [f"about {format_clock(sum(times))}"] if times else []
    about += [f"{plural(unknown, 'class', 'classes')} never timed here"] if unknown else []
    series = sum(len(step.series) for step in steps)
    what = f"measuring {plural(series, 'series', 'series')} in {plural(len(steps), 'class', 'classes')}"
    return f"{told}; {what}, {', '.join(about)}: interrupt at any time, repeat to resume"


def _run(settings: Settings, commit: Commit, steps: Sequence[MeasuringStep], say: Say, detail: Say) -> None:
    """Measure step by step, with what is left by what is known or else by what a step took so far."""
    began = time.monotonic()
    for number, step in enumerate(steps):
        spent = time.monotonic() - began
        usual = spent / number if number else None
        rest = [one.expected_s or usual for one in steps[number:]]
        known = sum(seconds for seconds in rest if seconds is not None)
        left = f", about {format_clock(known)} left" if None not in rest else ""
        say(f"[{number + 1}/{len(steps)}, {format_clock(spent)}{left}] {step.name}")
        try:
            # What another parameter of the benchmark has on record is no reason to skip this one.
            choice = AsvChoice(_patterns(step), again=True)
            measure_commits(settings, [commit], choice, show=detail, detail=detail)
        except UsageError as error:
            say(f"{step.name}: {error}")


def _patterns(step: MeasuringStep) -> tuple[str, ...]:
    """What chooses just these series of asv's."""
    named = (series_name(text) for text in step.series)
    labels = (f"{name}({', '.join(values)})" if values else name for name, values in named)
    return tuple(f"^{re.escape(label)}$" for label in labels)
