"""JUnit XML: CI never shows green for what did not pass."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
import report_samples as samples
from gate_facts import telling
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.model import Outcome
from nbbench.report.gate import gate_junit
from nbbench.verdicts import GateReport

BARE = replace(samples.GATE, not_judged=())


def suite(report: GateReport) -> ElementTree.Element:
    root = ElementTree.fromstring(gate_junit(report))
    found = root.find("testsuite")
    assert found is not None
    assert root.attrib["tests"] == found.attrib["tests"] == str(len(found.findall("testcase")))
    return found


def counts(report: GateReport) -> tuple[int, int, int, int]:
    found = suite(report).attrib
    return tuple(int(found[name]) for name in ("tests", "failures", "errors", "skipped"))  # type: ignore[return-value]


def test_failures_are_regressions_and_skips_inconclusive() -> None:
    assert counts(samples.GATE) == (5, 1, 0, 2)
    [lost] = [case for case in suite(samples.GATE) if case.get("name") == "sources.Time.time_many"]
    assert lost.find("skipped").get("message") == "not judged: failing since 001e0000"


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.REGRESSED, (1, 1, 0, 0)),
        (Outcome.INCONCLUSIVE, (1, 0, 1, 0)),
        (Outcome.UNCHANGED, (1, 0, 0, 0)),
        (Outcome.IMPROVED, (1, 0, 0, 0)),
    ],
)
def test_a_gate_without_series_shows_its_own_verdict(outcome: Outcome, expected: tuple[int, ...]) -> None:
    assert counts(replace(BARE, outcome=outcome, verdicts=())) == expected


def test_a_verdict_that_no_series_carries_is_a_case_of_its_own() -> None:
    unchanged = samples.GATE.verdicts[0]
    assert counts(replace(BARE, outcome=Outcome.REGRESSED, verdicts=(unchanged,))) == (2, 1, 0, 0)
    assert counts(replace(BARE, outcome=Outcome.INCONCLUSIVE, verdicts=(unchanged,))) == (2, 0, 0, 1)
    assert counts(replace(BARE, outcome=Outcome.UNCHANGED, verdicts=(unchanged,))) == (1, 0, 0, 0)


@settings(deadline=None)
@given(st.text())
def test_any_text_gives_well_formed_xml(text: str) -> None:
    verdict = replace(samples.GATE.verdicts[1], series=text, evidence=telling(text), reproduce=text)
    suite(replace(BARE, verdicts=(verdict,), notes=telling(text), base=text))
