"""metrics.json and the tables of summary.md that a capture's figures fill."""

from __future__ import annotations

import json

from capture_samples import FAILED, found, passed_test, run_of

from nbbench.captured import Findings, RunOutcome, TestRecord, TestRun
from nbbench.documents import document
from nbbench.report.audits import audit_sentence
from nbbench.report.capture import capture_metrics
from nbbench.report.markdown import as_markdown
from nbbench.report.stamp_page import result_blocks


def test_a_run_without_records_still_has_metrics() -> None:
    empty = found(TestRun())
    assert result_blocks(empty) == []
    written = json.loads(document("metrics", capture_metrics(empty, RunOutcome.TIMEOUT)))
    assert written["figures"] == [] and "diagnosis" not in written


def test_every_printed_bandwidth_is_in_the_metrics() -> None:
    figures = capture_metrics(FAILED, RunOutcome.FAILED)["figures"]
    printed = [(f.size, f.value) for f in figures if f.kind == "bandwidth" and f.size]
    assert printed == [(512, 0.2), (1024, 0.2), (2048, 0.1)]


def test_figures_carry_the_conditions_under_which_they_were_taken() -> None:
    """H4: a figure under a switch that keeps Dynamo off, or of pinned malloc, says so."""
    switches = {"TORCHDYNAMO_DISABLE": "1", "MALLOC_CONF": "x"}
    guarded = found(run_of(passed_test()), environment=switches)
    assert capture_metrics(guarded, RunOutcome.PASSED)["conditions"] == {
        "compile": "off (TORCHDYNAMO_DISABLE=1)",
        "threads": "1",
        "malloc": "default",
    }
    plain = found(run_of(passed_test()))
    assert dict(plain.conditions)["compile"] == "allowed"


def page(capture: Findings) -> str:
    return as_markdown(result_blocks(capture))


def test_markdown_of_hostile_output_stays_inside_its_cells() -> None:
    test = TestRecord("t::<b>x</b>|y", "passed", stdout="  a | `b` <script>: 1.0 GB/s\n")
    text = page(found(run_of(test)))
    assert "<b>" not in text.replace("`t::<b>x</b>\\|y`", "")
    rows = [line for line in text.splitlines() if "1.0 GB/s" in line]
    assert len(rows) == 1 and rows[0].startswith("| ") and rows[0].endswith(" |")


def test_long_lists_are_cut_on_the_page_and_whole_in_the_metrics() -> None:
    lines = "".join(f"  step {i}: {i}.0 ms\n" for i in range(100))
    capture = found(run_of(TestRecord("t", "passed", stdout=lines)))
    assert "40 more in metrics.json." in page(capture)
    assert len(capture_metrics(capture, RunOutcome.PASSED)["figures"]) == 100


def test_the_audits_sentence_tells_the_error_that_was_judged() -> None:
    """H15: a fall-back to other values is neutral where it is allowed; its error is none of rounding."""
    case = {
        "case": "grid",
        "dtype": "float64",
        "verdict": "neutral",
        "reason": "",
        "upcasts": [],
        "fell_back": "",
    }
    cases = [
        {**case, "relative_error": 1.1e-15, "rounding_limit": 2.2e-13},
        {**case, "relative_error": 0.37, "rounding_limit": 2.2e-13, "fell_back": "default_F"},
    ]
    snapshot = {"cases": cases, "counts": {"neutral": 2}, "verdict": "neutral", "commit": {"hash": "a" * 40}}
    said = audit_sentence(snapshot, "x.json")
    assert "largest relative error 1.1e-15 (limit 2.2e-13)" in said and "0.37" not in said
