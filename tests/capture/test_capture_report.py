"""metrics.json and the sections of summary.md that a capture's figures fill."""

from __future__ import annotations

import json

import pytest
from capture_samples import FAILED, found, passed_test, run_of

from nbbench.capture.finish import without_secrets
from nbbench.captured import Enrichment, OperatorCost, RunOutcome, TestRecord, TestRun
from nbbench.documents import document
from nbbench.report.capture_figures import metrics, sections


def test_a_run_without_records_still_has_a_page() -> None:
    empty = found(TestRun(), RunOutcome.TIMEOUT, None)
    assert dict(sections(empty)).keys() == {"Comparison to baseline"}
    told = json.loads(document("metrics", metrics(empty)))
    assert told["figures"] == [] and told["diagnosis"] is None


def test_every_printed_bandwidth_is_in_the_metrics() -> None:
    figures = metrics(FAILED)["figures"]
    printed = [(f["size"], f["value"]) for f in figures if f.get("kind") == "bandwidth" and f["size"]]
    assert printed == [(512, 0.2), (1024, 0.2), (2048, 0.1)]
    exact = {f["name"]: f["value"] for f in figures if f["source"] == "derived"}
    assert exact["legacy bandwidth 2048²"] == pytest.approx(2048**2 * 24 / 1.760 / 2**30)


def test_markdown_of_hostile_output_stays_inside_its_cells() -> None:
    test = TestRecord("t::<b>x</b>|y", "passed", stdout="  a | `b` <script>: 1.0 GB/s\n")
    capture = found(run_of(test), RunOutcome.PASSED, None)
    text = dict(sections(capture))["Results"]
    assert "<b>" not in text.replace("`t::<b>x</b>\\|y`", "")
    rows = [line for line in text.splitlines() if "1.0 GB/s" in line]
    assert len(rows) == 1 and rows[0].startswith("| ") and rows[0].endswith(" |")


def test_long_lists_are_cut_on_the_page_and_whole_in_the_metrics() -> None:
    lines = "".join(f"  step {i}: {i}.0 ms\n" for i in range(100))
    capture = found(run_of(TestRecord("t", "passed", stdout=lines)), RunOutcome.PASSED, None)
    assert "40 more in metrics.json." in dict(sections(capture))["Results"]
    assert len(metrics(capture)["figures"]) == 100


def test_a_profile_by_operator() -> None:
    run = run_of(passed_test(), operators=(OperatorCost("aten::mul", 1_200, 0.5, 0.75),))
    text = dict(sections(found(run, RunOutcome.PASSED, None)))["Results"]
    assert "| `aten::mul` | 1,200 | 500 ms | 750 ms |" in text


def test_secrets_in_sentences_figures_and_traces_go() -> None:
    trace = json.dumps({"traceEvents": [{"name": "upload plainword", "dur": 1.5}]}).encode()
    enrichment = Enrichment(
        "passed",
        sentences=("saw plainword",),
        metrics={"figures": [{"line": "plainword: 1 s"}]},
        sections=(("Results", "plainword"),),
        files=(("profile.json", trace), ("other.json", b"{}")),
        notes=("plainword",),
    )
    clean = without_secrets(enrichment, {"MY_TOKEN": "plainword"})
    assert "plainword" not in repr(clean)
    assert json.loads(clean.files[0][1])["traceEvents"][0] == {"name": "upload <redacted>", "dur": 1.5}
    assert clean.files[1] == ("other.json", b"{}")
