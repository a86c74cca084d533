"""A gate report as JUnit XML, for CI systems that show tests.

Failures are regressed series, skipped tests inconclusive ones. JUnit readers show an empty
suite, and often a skipped one, in green; a verdict that no series carries is therefore a test
of its own, and nothing measured at all is an error.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from nbbench.model import Outcome
from nbbench.report.view import GateView, VerdictRow

# XML 1.0 cannot hold these even escaped; `words.clean` leaves none, this is the last guard.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WHOLE = "whole gate"


def gate_junit(view: GateView) -> str:
    """The report as one test suite named `nbbench gate`."""
    suite = ElementTree.Element("testsuite", name="nbbench gate")
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (
        ("base", view.base),
        ("head", view.head),
        ("outcome", str(view.outcome)),
        ("seed", str(view.seed)),
    ):
        ElementTree.SubElement(properties, "property", name=name, value=_legal(value))
    for row in view.rows:
        _series_case(suite, row)
    _whole_case(suite, view)
    summary = [view.headline, view.counts_line, *view.notes]
    ElementTree.SubElement(suite, "system-out").text = _legal("\n".join(summary))
    counts = {
        name: str(len(suite.findall(f"testcase/{tag}")))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    suite.attrib.update({"tests": str(len(suite.findall("testcase"))), **counts})
    root = ElementTree.Element("testsuites", suite.attrib)
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _series_case(suite: ElementTree.Element, row: VerdictRow) -> None:
    benchmark = row.series.partition("(")[0]
    case = _case(suite, benchmark, row.series)
    message = f"{row.outcome}: {row.change} {row.interval}, floor {row.floor}"
    parts = (row.sentence, row.cause and f"cause: {row.cause}", row.reproduce)
    detail = "\n".join(part for part in parts if part)
    if row.outcome is Outcome.REGRESSED:
        _child(case, "failure", message, detail)
    elif row.outcome in (Outcome.INCONCLUSIVE, Outcome.NOT_COMPARABLE):
        _child(case, "skipped", message, detail)
    else:
        ElementTree.SubElement(case, "system-out").text = _legal(f"{message}\n{detail}")


def _whole_case(suite: ElementTree.Element, view: GateView) -> None:
    """Add the gate's own verdict when no series shows it."""
    if view.rows and (
        view.outcome in (Outcome.UNCHANGED, Outcome.IMPROVED, Outcome.ACKNOWLEDGED)
        or any(row.outcome is view.outcome for row in view.rows)
    ):
        return
    case = _case(suite, "nbbench", _WHOLE)
    if view.outcome is Outcome.REGRESSED:
        _child(case, "failure", view.headline, "")
    elif view.outcome is Outcome.INCONCLUSIVE and not view.rows:
        _child(case, "error", view.headline, "nothing was measured")
    elif view.outcome in (Outcome.INCONCLUSIVE, Outcome.NOT_COMPARABLE):
        _child(case, "skipped", view.headline, "")


def _case(suite: ElementTree.Element, classname: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_legal(classname), name=_legal(name))


def _child(case: ElementTree.Element, tag: str, message: str, detail: str) -> None:
    child = ElementTree.SubElement(case, tag, message=_legal(message))
    if tag != "skipped":
        child.set("type", tag)
    child.text = _legal(detail)


def _legal(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
