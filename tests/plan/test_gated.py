"""A gate of a plan: what becomes of criteria that were met, with everything that was measured given."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from history_samples import commit

from nbbench.gate.judge import EXIT_BY_OUTCOME
from nbbench.model import Commit, EvidenceRecord, NotJudgedReason, Outcome, Result, SeriesKey, Status
from nbbench.plan.gated import plan_workloads, with_criteria
from nbbench.plan.plan import CriterionState, PlanMeasured, PlanVerdict
from nbbench.plan.plans import Criterion, Measured, Plan, PlanInput
from nbbench.report.gate import gate_blocks
from nbbench.report.markdown import as_markdown
from nbbench.verdicts import GateReport, Verdict
from nbbench.workloads import Declared, Workload, Workloads, use_workloads

BASE, HEAD = commit(1), commit(2)
CRITERION = Criterion("speed", "seconds of a run", value="s.time(2)", spec=2.0)
PLAN = Plan("P", "t", (CRITERION,))
V = PlanVerdict


def state(
    verdict: PlanVerdict, value: float = 1.0, at: Commit = BASE, machine: str = "box"
) -> CriterionState:
    found = Measured(value, value, value, at.hash, machine, datetime(2026, 1, 1, tzinfo=UTC))
    return CriterionState(CRITERION, verdict, None if verdict is V.NOT_MEASURED else found)


def gated(before: CriterionState, after: CriterionState, outcome: Outcome) -> GateReport:
    said = (EvidenceRecord("same orders"),)
    report = GateReport(BASE.hash, HEAD.hash, outcome, (Verdict("s", outcome, 0.0, evidence=said),))
    head = PlanMeasured(HEAD, "box", (after,), (before,))
    return with_criteria(PLAN, replace(report, machine="box"), head)


@pytest.mark.parametrize(
    ("before", "after", "outcome", "code"),
    [
        (state(V.MEETS), state(V.MISSES, 3.0, HEAD), Outcome.UNCHANGED, 3),
        (state(V.MEETS), state(V.MEETS_TESTS, 2.5, HEAD), Outcome.IMPROVED, 3),
        (replace(state(V.STALE), would_be=V.MEETS), state(V.MISSES, 3.0, HEAD), Outcome.UNCHANGED, 3),
        (state(V.MEETS), state(V.MEETS, 1.5, HEAD), Outcome.IMPROVED, 0),
        (state(V.MEETS), state(V.NOT_MEASURED), Outcome.UNCHANGED, 0),
        (state(V.MEETS), state(V.NOT_MEASURED), Outcome.IMPROVED, 4),
        (state(V.MEETS), state(V.CANNOT_TELL, 2.0, HEAD), Outcome.IMPROVED, 4),
        (state(V.MEETS, machine="other"), state(V.MISSES, 3.0, HEAD), Outcome.UNCHANGED, 0),
        (state(V.MISSES, 3.0), state(V.MISSES, 4.0, HEAD), Outcome.UNCHANGED, 0),
        (state(V.NOT_MEASURED), state(V.MISSES, 4.0, HEAD), Outcome.UNCHANGED, 0),
        (state(V.MEETS), state(V.MEETS, 1.5, HEAD), Outcome.REGRESSED, 3),
    ],
)
def test_a_met_criterion_may_not_be_lost(before, after, outcome: Outcome, code: int) -> None:
    assert EXIT_BY_OUTCOME[gated(before, after, outcome).outcome] == code


def test_a_lost_one_is_told_with_both_values() -> None:
    report = gated(state(V.MEETS), state(V.MISSES, 3.0, HEAD), Outcome.UNCHANGED)
    text = as_markdown(gate_blocks(report))
    assert text.index("REGRESSED") < text.index("criterion speed")
    assert f"seconds of a run: it misses here; it was met at {BASE.short}" in text
    assert "P: of 1 criteria 1 were met by what this machine has on record up to base; 1 lost" in text


def test_one_that_nobody_knows_leads_to_the_command() -> None:
    report = gated(state(V.MEETS), state(V.NOT_MEASURED), Outcome.IMPROVED)
    (one,) = report.not_judged
    assert one.reason is NotJudgedReason.NOT_MEASURED
    assert one.detail == f"`nbbench plan P --measure {HEAD.short}` tells"


def test_what_was_never_met_is_counted() -> None:
    (one,) = gated(state(V.MISSES), state(V.MISSES), Outcome.UNCHANGED).not_judged
    assert (one.series, one.reason) == ("1 criteria", NotJudgedReason.SKIPPED)


def test_workloads_are_those_that_the_series_run() -> None:
    use_workloads(Workloads((Workload.of("blur", 4, size=2),), (Declared("s", families=("blur",)),)))
    try:
        results = [
            Result(SeriesKey("s.time", "1", (("size", size),), "box", "e"), BASE.hash, Status.OK, 1.0)
            for size in ("1", "2")
        ]
        assert plan_workloads(PLAN, PlanInput("box", {"s.time": results}, ())) == ["blur-2"]
        assert plan_workloads(PLAN, PlanInput("box", {}, ())) == []
    finally:
        use_workloads(None)
