"""A gate that judges what a plan cares about: its workloads, and that no criterion that was met is lost."""

import re
from dataclasses import replace

from nbbench.config import Settings
from nbbench.gate.judge import gate_outcome
from nbbench.gate.run import Asked, run_gate
from nbbench.model import EvidenceRecord, NotJudged, NotJudgedReason, Outcome
from nbbench.plan.measuring import states_within
from nbbench.plan.plan import PlanMeasured
from nbbench.plan.plan_status import plan_inputs
from nbbench.plan.plans import Plan, PlanInput
from nbbench.plan.values import results_of
from nbbench.record.projects import machine_name
from nbbench.record.refresh import import_all, open_store
from nbbench.subject.profile import load_profile
from nbbench.verdicts import GateReport, Verdict
from nbbench.words import Say
from nbbench.workloads import workload_of


def gate_plan(settings: Settings, plan: Plan, asked: Asked, say: Say) -> GateReport:
    """The gate, with the plan's workloads beside its own, and a verdict on each criterion that was met.

    What was met is what this machine has on record up to base; head's criteria are those of its own tree.
    """
    with open_store(settings) as store:
        import_all(settings, store)
        given = plan_inputs(settings, store, plan, machine_name(settings), (asked.base, asked.head))
    line, own = given.own.commits, [one for one in given.own.commits if one.tree == asked.head.tree]
    same = [place for place, one in enumerate(line) if one.tree == asked.base.tree and one.position]
    before = states_within(plan, given, line[: same[-1] + 1] if same else [asked.base])
    names = "|".join(map(re.escape, plan_workloads(plan, given.own)))
    usual = load_profile(settings).gate_workloads
    asked = replace(asked, workloads=f"{usual}|^({names})$" if names and usual else usual)
    report = run_gate(settings, asked, say)
    if not report.verdicts and report.outcome is Outcome.UNCHANGED:
        return report  # the same program
    states = states_within(plan, given, own)
    return with_criteria(plan, report, PlanMeasured(asked.head, given.own.machine, states, before))


def plan_workloads(plan: Plan, given: PlanInput) -> list[str]:
    """The workloads that a plan's series run, as far as they have results, which name their parameters."""
    series = (text for criterion in plan.criteria for text in criterion.series)
    found = {workload_of(one.key) for text in series for one in results_of(given.results, text)}
    return sorted(name for name in found if name)


def with_criteria(plan: Plan, report: GateReport, head: PlanMeasured) -> GateReport:
    """The report with what became of each criterion that was met.

    One of which nothing is on record at head is kept where the gate found everything unchanged: the same
    work, in the same time. Else nobody knows, which is no pass.
    """
    lost, unknown = ([one.criterion.id for one in some] for some in (head.lost, head.unjudged))
    kept, not_judged, verdicts = report.outcome is Outcome.UNCHANGED, list(report.not_judged), []
    before = {one.criterion.id: one for one in head.before}
    met = [now for now in head.states if head.was_met(now)]
    for now in met:
        name, then = f"criterion {now.criterion.id}", before[now.criterion.id].found
        if now.criterion.id not in unknown and now.found and then:
            said = {"verdict": str(now.verdict), "then": then.commit[:8], "title": now.criterion.title}
            outcome = Outcome.REGRESSED if now.criterion.id in lost else Outcome.UNCHANGED
            one = Verdict(name, outcome, evidence=(EvidenceRecord("criterion", said),), base_value=then.value)
            verdicts.append(replace(one, head_value=now.found.value, unit=now.criterion.unit))
        elif kept:
            verdicts.append(Verdict(name, Outcome.UNCHANGED, evidence=(EvidenceRecord("criterion kept"),)))
        else:
            how = f"`nbbench plan {plan.id} --measure {report.head[:8]}` tells"
            not_judged.append(NotJudged(name, NotJudgedReason.NOT_MEASURED, detail=how))
    if rest := len(head.before) - len(met):
        why = "not known to be met at base"
        not_judged.append(NotJudged(f"{rest} criteria", NotJudgedReason.SKIPPED, detail=why))
    counts = {"all": len(head.states), "met": len(met), "lost": len(lost), "unknown": len(unknown)}
    return replace(
        report,
        outcome=gate_outcome((*report.verdicts, *verdicts), not_judged),
        verdicts=(*report.verdicts, *verdicts),
        not_judged=tuple(not_judged),
        notes=(EvidenceRecord("plan", {"plan": plan.id, **counts}), *report.notes),
    )
