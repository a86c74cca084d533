"""`nbbench gate`: what is measured of base and head, in which order, and when it is enough."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median

from nbbench.budget import Budget, BudgetSpentError, held
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.gate.acknowledged import Acknowledged, accepted_loss, acknowledged_between
from nbbench.gate.calibration import known_noise
from nbbench.gate.exact import ExactWork, accepted_images, exact_work, with_first_difference, with_orders
from nbbench.gate.hunks import with_hunks
from nbbench.gate.judge import gate_outcome, order_verdicts, series_verdict, time_cause
from nbbench.gate.refused import TimedWork, suite_verdicts, with_possible_rates, with_refusals
from nbbench.gate.rounds import RESOLUTION, GateSession, SeriesState, Tally, run_rounds
from nbbench.gate.unseen import counted_work, uncounted_calls, with_prices
from nbbench.history.flags import attach_flags
from nbbench.history.history import up_to_date
from nbbench.measure.paired import GateSeries, PairedRunner
from nbbench.measure.process_env import harness_mark, measuring
from nbbench.measure.warm_runs import Servers
from nbbench.metrics import Role, metric_of
from nbbench.model import Commit, EvidenceRecord, NotJudged, NotJudgedReason, Outcome, Phase, SeriesKey
from nbbench.record.branch import branch_commits
from nbbench.record.decisions import read_decisions
from nbbench.record.projects import machine_name
from nbbench.record.refresh import open_store
from nbbench.subject.hunks import only_words_changed
from nbbench.subject.profile import load_profile
from nbbench.subject.repository import list_commits, measurable, open_subject
from nbbench.subject.work_tree import work_tree_commit
from nbbench.verdicts import GateReport, SeriesNoise, Verdict
from nbbench.words import Say, exactly
from nbbench.work.timing import load_times, timed_work
from nbbench.work.work_share import Amounts, amounts, fit_costs
from nbbench.workloads import workload_of

START_PHASES = (Phase.IMPORT, Phase.CONSTRUCT, Phase.FIRST)
START_FLOOR, START_RESOLUTION = math.log(1.10), math.log(1.25)
"""Starting up is paid once a process and scatters more than a warm run: what counts is larger, and few fresh
processes are enough to show that it did not change."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a gate is asked: two commits, which series, what decides, and whether a new image is right.

    `reviewed` says that a person read the diff (gate/refused.py). `workloads` is a pattern of those whose
    exact work is judged ('': the profile's).
    """

    base: Commit
    head: Commit
    bench: str
    policy: str = "both"  # both, work, time
    seed: int = 0
    accept_image: bool = False
    reviewed: bool = False
    workloads: str = ""


@dataclass(slots=True)
class _Found:
    """What was found out so far: a gate whose budget ends reports this much."""

    work: ExactWork = field(default_factory=ExactWork)
    exact: list[Verdict] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    session: GateSession = field(default_factory=lambda: GateSession([], 0.01))
    timed: list[tuple[Amounts, float]] = field(default_factory=list)  # work and seconds: what it costs here
    pairs: dict[str, TimedWork] = field(default_factory=dict)  # by series
    notes: list[EvidenceRecord] = field(default_factory=list)
    not_judged: list[NotJudged] = field(default_factory=list)

    def note(self, kind: str, **figures: object) -> None:
        """Take note of something that the reader should know."""
        self.notes.append(EvidenceRecord(kind, figures))

    def leave_out(self, reason: NotJudgedReason, detail: str, *what: str) -> None:
        """Count what is not judged, and why."""
        self.not_judged += [NotJudged(one, reason, detail=detail) for one in what]


def gate_ends(
    settings: Settings, base: str | None, head: str | None, *, worktree: bool = False
) -> tuple[Commit, Commit]:
    """The commits of these names; by default the branch's tip against the commit before it.

    With `worktree` the registered work tree against base, by default its HEAD.
    """
    subject = open_subject(settings)
    if worktree:
        return measurable(subject, base or "HEAD"), work_tree_commit(subject)
    tip = measurable(subject, head)
    if base is not None:
        return measurable(subject, base), tip
    commits = list_commits(subject)
    if len(commits) < 2:
        raise UsageError("the branch has no two commits to compare", hint="give BASE and HEAD")
    return commits[-2], tip


def run_gate(settings: Settings, asked: Asked, say: Say) -> GateReport:
    """Judge head against base: the same program at once, exact work next, paired figures last."""
    base, head = asked.base, asked.head
    report = GateReport(base.hash, head.hash, Outcome.UNCHANGED, seed=asked.seed)
    report = replace(report, harness=harness_mark(settings))
    if base.tree == head.tree:
        return replace(report, notes=(EvidenceRecord("same tree", {"tree": head.tree}),))
    if count := only_words_changed(open_subject(settings).git_dir, base.tree, head.tree):
        return replace(report, notes=(EvidenceRecord("same bytecode", {"files": count}),))
    found, budget = _Found(), Budget(settings.budget_s)
    with measuring(settings.state_dir), PairedRunner(settings, base, head, asked.seed) as runner:
        try:
            with held(budget):
                _measure(settings, asked, runner, budget, found, say)
        except BudgetSpentError:
            found.note("budget ended", seconds=budget.seconds)
            if not found.session.states:
                what = "exact work" if asked.policy == "work" else asked.bench
                found.leave_out(NotJudgedReason.NOT_MEASURED, "within the budget", what)
        found.session.finish()
        cause = time_cause(found.exact, found.work.diffs)
        judged = [series_verdict(state, cause) for state in found.session.states]
        if not asked.reviewed:
            judged = with_possible_rates(settings, lambda: runner.server, base, judged, found.pairs)
    exact = with_prices(found.exact, found.work, fit_costs(found.timed))
    verdicts = (*exact, *(one for one in judged if isinstance(one, Verdict)))
    not_judged = [*found.work.not_judged, *found.not_judged]
    not_judged += [one for one in judged if isinstance(one, NotJudged)]
    return replace(
        report,
        outcome=gate_outcome(verdicts, not_judged),
        verdicts=verdicts,
        ledger=tuple(diff.figures for diff in found.work.diffs),
        notes=tuple(found.notes),
        elapsed_s=budget.elapsed_s,
        machine=machine_name(settings),
        not_judged=tuple(not_judged),
    )


def _measure(
    settings: Settings, asked: Asked, runner: PairedRunner, budget: Budget, found: _Found, say: Say
) -> None:
    """Fill `found` step by step, until something decides or the budget is spent."""
    found.acknowledged, commits = _acknowledged(settings, asked.base, asked.head)
    if asked.policy == "time":
        found.leave_out(NotJudgedReason.SKIPPED, "--policy time", "exact work")
    else:
        with Servers() as servers:  # what times has not imported what these have
            _measure_work(settings, asked, commits, servers, budget, found, say)
    outcomes = {verdict.outcome for verdict in found.exact}
    if asked.policy == "work":
        phases = [f"time of {phase}" for phase in (*START_PHASES, Phase.WARM)]
        found.leave_out(NotJudgedReason.SKIPPED, "--policy work judges exact work alone", *phases)
        if Outcome.REGRESSED not in outcomes:
            found.notes += uncounted_calls(found.work)
    elif Outcome.REGRESSED in outcomes:
        found.note("exact work decides")
    elif Outcome.NOT_COMPARABLE in outcomes:
        found.note("another program")
    else:
        _pairs(settings, asked, runner, budget, found, say)


def _measure_work(
    settings: Settings,
    asked: Asked,
    commits: Sequence[Commit],
    servers: Servers,
    budget: Budget,
    found: _Found,
    say: Say,
) -> None:
    """Judge exact work; how it grows is looked at where nothing else of it decides."""
    ends = asked.base, asked.head
    pattern = re.compile(asked.workloads or load_profile(settings).gate_workloads)
    found.work = exact_work(settings, *ends, pattern, servers, say)
    _judge_work(settings, asked, commits, found, say)
    if any(one.outcome in (Outcome.REGRESSED, Outcome.NOT_COMPARABLE) for one in found.exact):
        found.leave_out(NotJudgedReason.SKIPPED, "other exact work decides", "growth")
    else:
        accepted = [one.series for one in found.exact if one.outcome is Outcome.ACKNOWLEDGED]
        accepted = [series.partition(", ")[0].rpartition(" ")[2] for series in accepted]
        found.work = with_orders(settings, found.work, ends, servers, say, accepted)
        found.exact += order_verdicts(found.work.orders, found.work.orders_equal, found.acknowledged)
    found.exact = with_refusals(found.exact, found.work, policy=asked.policy, reviewed=asked.reviewed)
    if not asked.reviewed:
        found.exact += suite_verdicts(settings, *ends)
    found.exact = with_first_difference(settings, ends, found.work, found.exact, servers, say)
    found.exact = with_hunks(settings, ends, found.work, found.exact, budget.elapsed_s, servers, say)


def _judge_work(settings: Settings, asked: Asked, commits: Sequence[Commit], found: _Found, say: Say) -> None:
    """Judge exact work, and say who accepted the images that changed."""
    images = [diff.workload for diff in found.work.diffs if diff.new_image]
    accepted, by = set(images), "--accept-image"
    if images and not asked.accept_image:
        accepted = accepted_images(settings, found.acknowledged, commits, asked.head, images)
        by = "an acknowledged event" if set(images) <= accepted else ""
    found.exact = found.work.verdicts(found.acknowledged, accepted)
    if any(diff.changed for diff in found.work.diffs) or found.work.all_host:
        names = [diff.workload for diff in found.work.diffs]
        times = load_times(settings, (asked.base,), names, say=say)
        found.timed = timed_work(settings, times, asked.base, names)
    if images:
        found.note("new images", workloads=images, accepted_by=by)


def _acknowledged(
    settings: Settings, base: Commit, head: Commit
) -> tuple[list[Acknowledged], Sequence[Commit]]:
    """What was accepted between base and head, from everything under results/, and the branch's commits."""
    decisions = read_decisions(settings.decisions_dir)
    if not decisions:
        return [], []
    commits = branch_commits(settings)
    with open_store(settings) as store:
        try:
            events = up_to_date(settings, store)
        except InconclusiveError:  # no results, so no events that could have been accepted
            return [], commits
    flags = attach_flags(events, decisions, settings.plan, commits)
    return acknowledged_between(flags, commits, base, head, datetime.now(UTC)), commits


def _pairs(
    settings: Settings, asked: Asked, runner: PairedRunner, budget: Budget, found: _Found, say: Say
) -> None:
    """Measure rounds of pairs until every series is settled or the budget is spent."""
    series = runner.discover(asked.bench)
    found.leave_out(NotJudgedReason.SKIPPED, "it has a setup_cache", *runner.left_out)
    noise, warning = known_noise(settings, datetime.now(UTC))
    states = [_state(settings, item, noise.get(item.label), runner.ends, found) for item in series]
    found.session, tally = GateSession(states, settings.alpha), Tally()
    say(f"measuring {len(series)} series on {machine_name(settings)}")
    try:
        run_rounds(runner, series, found.session, budget=budget, tally=tally, say=say)
    finally:
        found.pairs = dict(_timed_pairs(series, found))
        hosts = found.work.sides[0] if found.work.sides else {}
        found.timed += [
            (amounts(one.diff.base, hosts.get(one.diff.workload)), one.base_s) for one in found.pairs.values()
        ]
        if tally.pairs:
            found.notes.append(tally.record)
    if warning is not None:
        found.notes.append(warning)
    if noise and (unknown := [s.label for s in states if s.label not in noise and not s.metric.exact]):
        found.note("not calibrated", series=unknown)


def _timed_pairs(series: Sequence[GateSeries], found: _Found) -> Iterator[tuple[str, TimedWork]]:
    """The exact work and the seconds of the warm runs that pairs timed, by series."""
    diffs = {diff.workload: diff for diff in found.work.diffs}
    for item, state in zip(series, found.session.states, strict=True):
        name = workload_of(SeriesKey(item.benchmark, item.version, item.params, "", ""))
        spent = [median(some) for some in state.values.values() if some]
        warm_time = state.metric.role is Role.TIME and state.metric.phase is Phase.WARM
        if name in diffs and warm_time and len(spent) == 2 and all(spent):
            yield item.label, TimedWork(diffs[name], *spent)


def _state(
    settings: Settings, item: GateSeries, noise: SeriesNoise | None, ends: str, found: _Found
) -> SeriesState:
    """A series before its first round, with the limits of its metric's phase and what was accepted of it."""
    key = SeriesKey(item.benchmark, item.version, item.params, "", "")
    metric = metric_of(key, item.unit, item.kind, settings.directions)
    starting = metric.phase in START_PHASES
    floor = max(math.log1p(settings.floor), START_FLOOR if starting else 0.0, noise.floor if noise else 0.0)
    accepted = accepted_loss(found.acknowledged, item.label, metric.unit)
    if not accepted and metric.role is Role.TIME:
        accepted = _predicted_loss(found, workload_of(key))
    counted = None
    if metric.role is Role.TIME and not accepted:
        counted = counted_work(found.work, metric.phase, workload_of(key), fit_costs(found.timed), floor)
    return SeriesState(
        item.label,
        floor,
        counted=counted,
        reproduce=f"nbbench gate --policy time --bench {exactly(item.label)} {ends}",
        metric=metric,
        accepted=accepted,
        resolution=START_RESOLUTION if starting else RESOLUTION,
    )


def _predicted_loss(found: _Found, workload: str | None) -> float:
    """What the accepted work of a workload lets expect of its time (C3); 0.0 where none was accepted.

    Time is then measured against that, so that a later regression of another kind does not pass with it.
    """
    accepted = {v.series.rpartition(" ")[2] for v in found.exact if v.outcome is Outcome.ACKNOWLEDGED}
    diff = next((one for one in found.work.diffs if one.workload == workload), None)
    return max(diff.cost_effect, 0.0) if diff and workload in accepted else 0.0
