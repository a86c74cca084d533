"""A gate report as JUnit XML, for CI systems that show tests.

Failures are regressed series, skipped tests those that nothing can be said of. JUnit readers show an empty
suite, and often a skipped one, in green; a verdict that no series carries is therefore a test
of its own, and nothing measured at all is an error.
"""

from __future__ import annotations

from xml.etree import ElementTree

from nbbench.model import Outcome
from nbbench.report.causes import evidence_sentences
from nbbench.report.gate import counts_line, figures, in_reading_order
from nbbench.report.gate_sentences import evidence_text, headline
from nbbench.report.not_judged import not_judged_detail
from nbbench.verdicts import GateReport
from nbbench.words import clean, clean_lines, for_xml

_WHOLE = "whole gate"
_TAGS = {Outcome.REGRESSED: "failure"}
_PASSED = (Outcome.UNCHANGED, Outcome.IMPROVED, Outcome.CHANGED, Outcome.ACKNOWLEDGED)


def gate_junit(report: GateReport) -> str:
    """The report as one test suite named `nbbench gate`."""
    suite = ElementTree.Element("testsuite", name="nbbench gate")
    properties = ElementTree.SubElement(suite, "properties")
    for name in ("base", "head", "outcome", "machine", "seed"):
        if value := clean(str(getattr(report, name))):
            ElementTree.SubElement(properties, "property", name=name, value=for_xml(value))
    for verdict in in_reading_order(report.verdicts):
        change, between, floor = figures(verdict)
        message = f"{verdict.outcome}: {change} {between}, floor {floor}"
        cause = verdict.cause and f"cause: {verdict.cause}"
        told = filter(None, (evidence_text(verdict.evidence), cause, verdict.reproduce))
        detail = "\n".join(map(clean, told))
        tag = "system-out" if verdict.outcome in _PASSED else _TAGS.get(verdict.outcome, "skipped")
        _case(suite, verdict.series or "(all series)", tag, message, detail)
    for one in report.not_judged:
        since = f" since {one.since[:8]}" if one.since else ""
        _case(suite, one.series, "skipped", f"not judged: {one.reason}{since}", not_judged_detail(one))
    shown = any(verdict.outcome is report.outcome for verdict in report.verdicts)
    if not report.verdicts or not (shown or report.outcome in _PASSED):
        tag = _TAGS.get(report.outcome, "skipped" if report.verdicts else "error")
        detail = "nothing was measured" if tag == "error" else ""
        _case(suite, _WHOLE, "system-out" if report.outcome in _PASSED else tag, headline(report), detail)
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


def _case(suite: ElementTree.Element, name: str, tag: str, message: str, detail: str) -> None:
    """A test with what came of it; what passed says it as its output."""
    name = clean(name)
    classname = "nbbench" if name == _WHOLE else name.partition("(")[0]
    case = ElementTree.SubElement(suite, "testcase", classname=for_xml(classname), name=for_xml(name))
    child = ElementTree.SubElement(case, tag)
    if tag == "system-out":
        child.text = _text(f"{message}\n{detail}")
        return
    child.set("message", for_xml(clean(message)))
    if tag != "skipped":
        child.set("type", tag)
    child.text = _text(detail)


def _text(text: str) -> str:
    return for_xml(clean_lines(text))
