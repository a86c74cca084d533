"""A gate report as JUnit XML, for CI systems that show tests.

Failures are regressed series, skipped tests those that nothing can be said of. JUnit readers show an empty
suite, and often a skipped one, in green; a verdict that no series carries is therefore a test
of its own, and nothing measured at all is an error.
"""

from __future__ import annotations

from xml.etree import ElementTree

from nbbench.model import NotJudged, Outcome
from nbbench.report.causes import evidence_sentences
from nbbench.report.gate import counts_line, figures, in_reading_order
from nbbench.report.gate_sentences import evidence_text, headline
from nbbench.report.not_judged import not_judged_detail
from nbbench.verdicts import GateReport, Verdict
from nbbench.words import clean, clean_lines, for_xml

_WHOLE = "whole gate"
_UNCLEAR = (Outcome.INCONCLUSIVE, Outcome.NOT_COMPARABLE)
_PASSED = (Outcome.UNCHANGED, Outcome.IMPROVED, Outcome.CHANGED, Outcome.ACKNOWLEDGED)


def gate_junit(report: GateReport) -> str:
    """The report as one test suite named `nbbench gate`."""
    suite = ElementTree.Element("testsuite", name="nbbench gate")
    properties = ElementTree.SubElement(suite, "properties")
    for name in ("base", "head", "outcome", "machine", "seed"):
        if value := clean(str(getattr(report, name))):
            ElementTree.SubElement(properties, "property", name=name, value=for_xml(value))
    for verdict in in_reading_order(report.verdicts):
        _series_case(suite, verdict)
    for one in report.not_judged:
        _not_judged_case(suite, one)
    _whole_case(suite, report)
    summary = [headline(report), counts_line(report), *evidence_sentences(report.notes)]
    ElementTree.SubElement(suite, "system-out").text = _text("\n".join(map(clean, summary)))
    counts = {
        name: str(len(suite.findall(f"testcase/{tag}")))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    suite.attrib.update({"tests": str(len(suite.findall("testcase"))), **counts})
    root = ElementTree.Element("testsuites", suite.attrib)
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _series_case(suite: ElementTree.Element, verdict: Verdict) -> None:
    name = clean(verdict.series) or "(all series)"
    case = _case(suite, name.partition("(")[0], name)
    change, between, floor = figures(verdict)
    message = f"{verdict.outcome}: {change} {between}, floor {floor}"
    cause = verdict.cause and f"cause: {verdict.cause}"
    detail = "\n".join(
        clean(part) for part in (evidence_text(verdict.evidence), cause, verdict.reproduce) if part
    )
    if verdict.outcome is Outcome.REGRESSED:
        _child(case, "failure", message, detail)
    elif verdict.outcome in _UNCLEAR:
        _child(case, "skipped", message, detail)
    else:
        ElementTree.SubElement(case, "system-out").text = _text(f"{message}\n{detail}")


def _not_judged_case(suite: ElementTree.Element, one: NotJudged) -> None:
    name = clean(one.series)
    since = f" since {one.since[:8]}" if one.since else ""
    _child(
        _case(suite, name.partition("(")[0], name),
        "skipped",
        f"not judged: {one.reason}{since}",
        not_judged_detail(one),
    )


def _whole_case(suite: ElementTree.Element, report: GateReport) -> None:
    """Add the gate's own verdict when no series shows it."""
    shown = any(verdict.outcome is report.outcome for verdict in report.verdicts)
    if report.verdicts and (report.outcome in _PASSED or shown):
        return
    case = _case(suite, "nbbench", _WHOLE)
    if report.outcome is Outcome.REGRESSED:
        _child(case, "failure", headline(report), "")
    elif report.outcome in _UNCLEAR and not report.verdicts:
        _child(case, "error", headline(report), "nothing was measured")
    elif report.outcome in _UNCLEAR:
        _child(case, "skipped", headline(report), "")


def _case(suite: ElementTree.Element, classname: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=for_xml(classname), name=for_xml(name))


def _child(case: ElementTree.Element, tag: str, message: str, detail: str) -> None:
    child = ElementTree.SubElement(case, tag, message=for_xml(clean(message)))
    if tag != "skipped":
        child.set("type", tag)
    child.text = _text(detail)


def _text(text: str) -> str:
    return for_xml(clean_lines(text))
