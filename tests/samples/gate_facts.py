"""Gate reports and what they say, built as `nbbench gate` builds them; no process is run."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from history_samples import commit

from nbbench.gate.acknowledged import Acknowledged
from nbbench.gate.exact import ExactWork
from nbbench.gate.judge import gate_outcome, series_verdict, time_cause
from nbbench.gate.rounds import SeriesState
from nbbench.model import EvidenceRecord, NotJudged, Outcome
from nbbench.report.gate_sentences import evidence_text, report_sentence
from nbbench.verdicts import GateReport, Verdict
from nbbench.work.ledger_diff import LedgerDiff

BASE, HEAD = commit(1), commit(2)


def gate_report(
    diffs: Sequence[LedgerDiff] = (),
    states: Sequence[SeriesState] = (),
    *,
    acknowledged: Sequence[Acknowledged] = (),
    images: Collection[str] = (),
    not_judged: Sequence[NotJudged] = (),
) -> GateReport:
    """The report of exact work and measured series."""
    exact = ExactWork(tuple(diffs)).verdicts(acknowledged, images)
    judged = [series_verdict(one, time_cause(exact, diffs)) for one in states]
    verdicts = (*exact, *(one for one in judged if isinstance(one, Verdict)))
    missing = (*not_judged, *(one for one in judged if isinstance(one, NotJudged)))
    return GateReport(
        BASE.hash, HEAD.hash, gate_outcome(verdicts, missing), verdicts=verdicts, not_judged=missing
    )


def whole(verdicts: Sequence[Verdict], not_judged: Sequence[NotJudged] = ()) -> tuple[Outcome, str]:
    """The answer for these verdicts, and its sentence."""
    outcome = gate_outcome(verdicts, not_judged)
    report = GateReport("a", "b", outcome, verdicts=tuple(verdicts), not_judged=tuple(not_judged))
    return outcome, report_sentence(report)


def said(found: Verdict | NotJudged) -> str:
    """What the evidence of a verdict says."""
    assert isinstance(found, Verdict)
    return evidence_text(found.evidence)


def telling(text: str) -> tuple[EvidenceRecord, ...]:
    """Evidence that says just this."""
    return (EvidenceRecord("no figure", {"error": text, "disturbed": ""}),)
