"""`nbbench gate`: what is measured of base and head, in which order, and when it is enough."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from nbbench.budget import Budget, BudgetSpentError, held
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.gate.acknowledged import Acknowledged, accepted_effect, acknowledged_between
from nbbench.gate.calibrate import known_noise
from nbbench.gate.equal_code import only_words_changed
from nbbench.gate.exact import accepted_images, work_facts
from nbbench.gate.rounds import Tally, run_rounds
from nbbench.gate.session import GateSession, SeriesState
from nbbench.gate.verdicts import build_report, unmeasured_report
from nbbench.gate.work_verdicts import LEDGER_TOLERANCE, WorkFacts, work_verdicts
from nbbench.history.flags import attach_flags
from nbbench.history.history import up_to_date
from nbbench.measure.lock import measuring
from nbbench.measure.paired import GateSeries, PairedRunner, paired_runner
from nbbench.model import Commit, NotJudged, NotJudgedReason, Outcome, SeriesKey
from nbbench.record.branch import branch_commits
from nbbench.record.decisions import read_decisions
from nbbench.record.machines import machine_name
from nbbench.record.refresh import open_store
from nbbench.subject.profile import load_profile
from nbbench.subject.repository import list_commits, measurable, open_subject
from nbbench.verdicts import GateReport
from nbbench.words import plural
from nbbench.workloads import workload_of


@dataclass(frozen=True, slots=True)
class Asked:
    """What a gate is asked: two commits, which series, what decides, and whether a new image is right."""

    base: Commit
    head: Commit
    bench: str
    policy: str = "both"  # both, work, time
    seed: int = 0
    accept_image: bool = False


@dataclass(slots=True)
class _Found:
    """What was found out so far: a gate whose budget ends reports this much."""

    work: WorkFacts = field(default_factory=WorkFacts)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    session: GateSession = field(default_factory=lambda: GateSession([], 0.01))
    notes: list[str] = field(default_factory=list)

    def leave_out(self, what: str) -> None:
        """The budget ended before this began: nothing is said of it, and that is said."""
        missing = NotJudged(what, NotJudgedReason.NOT_MEASURED, detail="within the budget")
        self.work = replace(self.work, not_judged=(*self.work.not_judged, missing))


def gate_ends(settings: Settings, base: str | None, head: str | None) -> tuple[Commit, Commit]:
    """The commits of these names; by default the branch's tip against the commit before it."""
    subject = open_subject(settings)
    tip = measurable(subject, head or f"refs/heads/{subject.branch}")
    if base is not None:
        return measurable(subject, base), tip
    commits = list_commits(subject)
    if len(commits) < 2:
        raise UsageError("the branch has no two commits to compare", hint="give BASE and HEAD")
    return commits[-2], tip


def run_gate(settings: Settings, asked: Asked, say: Callable[[str], None]) -> GateReport:
    """Judge head against base: the same program at once, exact work next, paired figures last."""
    base, head = asked.base, asked.head
    if base.tree == head.tree:
        sentence = f"the measured source is the same tree ({head.tree[:12]}), so nothing can be slower"
        return unmeasured_report(base, head, sentence)
    if count := only_words_changed(open_subject(settings).git_dir, base.tree, head.tree):
        files = plural(count, "file")
        sentence = f"only comments, docstrings or formatting of {files} changed: the same bytecode runs"
        return unmeasured_report(base, head, sentence)
    found, budget = _Found(), Budget(settings.budget_s)
    with measuring(settings.state_dir), paired_runner(settings, base, head, asked.seed) as runner:
        try:
            with held(budget):
                _measure(settings, asked, runner, budget, found, say)
        except BudgetSpentError as error:
            found.notes.append(str(error))
            if not found.session.states:
                found.leave_out(asked.bench if asked.policy != "work" else "exact work")
    found.session.finish()
    return build_report(
        base,
        head,
        found.work,
        found.session.states,
        acknowledged=found.acknowledged,
        notes=found.notes,
        seed=asked.seed,
        elapsed_s=budget.elapsed_s,
        machine=machine_name(settings),
    )


def _measure(
    settings: Settings,
    asked: Asked,
    runner: PairedRunner,
    budget: Budget,
    found: _Found,
    say: Callable[[str], None],
) -> None:
    """Fill `found` step by step, until something decides or the budget is spent."""
    if asked.policy != "time":
        pattern = re.compile(load_profile(settings).gate_workloads)
        found.work = work_facts(settings, asked.base, asked.head, pattern, runner.server, say)
    found.acknowledged, commits = _acknowledged(settings, asked.base, asked.head)
    images = [diff.workload for diff in found.work.diffs if diff.new_image]
    if asked.accept_image:
        found.work = replace(found.work, accepted_images=frozenset(images))
    elif images:
        accepted = accepted_images(settings, found.acknowledged, commits, asked.head, images)
        found.work = replace(found.work, accepted_images=frozenset(accepted))
    if images:
        found.notes.append(_image_note(images, found.work, asked))
    decided = {verdict.outcome for verdict in work_verdicts(found.work, found.acknowledged)}
    if asked.policy == "work":
        found.notes.append("exact work alone: time was not judged")
        return
    if Outcome.REGRESSED in decided:
        found.notes.append(f"exact work decides beyond {LEDGER_TOLERANCE:.0%}; time was not measured")
    elif Outcome.NOT_COMPARABLE in decided:
        found.notes.append("time was not measured: it would be that of another program")
    else:
        _pairs(settings, asked, runner, budget, found, say)


def _image_note(images: Sequence[str], work: WorkFacts, asked: Asked) -> str:
    some = f"the image of {', '.join(images)} changed between base and head"
    if asked.accept_image:
        return f"{some}: accepted by --accept-image"
    if set(images) <= set(work.accepted_images):
        return f"{some}: accepted by an acknowledged event"
    return f"{some}: --accept-image or an acknowledged event (`nbbench flag`) says that the new one is right"


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
    settings: Settings,
    asked: Asked,
    runner: PairedRunner,
    budget: Budget,
    found: _Found,
    say: Callable[[str], None],
) -> None:
    """Measure rounds of pairs until every series is settled or the budget is spent."""
    series = runner.discover(asked.bench)
    noise, warning = known_noise(settings, datetime.now(UTC))
    policy = math.log1p(settings.floor)
    states = []
    for item in series:
        known = noise.get(item.label)
        floor = max(policy, known.floor if known else 0.0)
        one = SeriesState(item.label, floor, unit=item.unit, accepted=_accepted(item, found))
        label = shlex.quote(re.escape(item.label))
        one.reproduce = f"nbbench gate --policy time --bench {label} {runner.ends}"
        states.append(one)
    found.session, tally = GateSession(states, settings.alpha), Tally()
    say(f"measuring {len(series)} series on {machine_name(settings)}")
    coefficients = {label: one.canary for label, one in noise.items()}
    try:
        run_rounds(
            runner, series, found.session, budget=budget, tally=tally, coefficients=coefficients, say=say
        )
    finally:
        if tally.pairs:
            found.notes.append(tally.sentence)
    if warning:
        say(f"warning: {warning}")
        found.notes.append(warning)
    if noise and (unknown := [s.label for s in states if s.label not in noise]):
        found.notes.append(f"{len(unknown)} series are not in the calibration: {unknown[0]} …")


def _accepted(item: GateSeries, found: _Found) -> float:
    """The accepted regression of a series: on record, or what its workload's accepted work predicts (C3).

    Time is then measured against that, so that a later one of another kind does not pass with it.
    """
    if known := accepted_effect(found.acknowledged, item.label, item.unit):
        return known
    workload = workload_of(SeriesKey(item.benchmark, item.version, item.params, "", ""))
    diff = next((one for one in found.work.diffs if one.workload == workload), None)
    if diff is None or item.kind != "time":
        return 0.0
    verdicts = work_verdicts(WorkFacts((diff,)), found.acknowledged)
    accepted = any(verdict.outcome is Outcome.ACKNOWLEDGED for verdict in verdicts)
    return max(diff.cost_effect, 0.0) if accepted else 0.0
