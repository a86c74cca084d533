"""Readers of a capture never fail, whatever a test prints or a killed run leaves."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from nbbench.capture.figures import figures_of, parse_figures, read_check
from nbbench.capture.findings import judged
from nbbench.capture.test_records import parse_test_records
from nbbench.captured import RunOutcome, TestRecord, TestRun
from nbbench.documents import document
from nbbench.report.capture import capture_metrics, sentences
from nbbench.report.markdown import as_markdown
from nbbench.report.stamp_page import result_blocks

PIECES = st.sampled_from(
    [
        *(
            "512×512",
            "2048x2048:",
            "0.123s",
            "~0.4 GB/s",
            "1e308 GB/s",
            "99999999999999999999 s",
            "12 %",
            "3.x",
        ),
        *(
            "expected ≥ 0.5x",
            "below 1.2x threshold",
            "not in [1, 2]",
            "float64",
            "assert",
            ">=",
            "* 0.5",
            "(",
        ),
        *(
            "bandwidths[2048]",
            "np.float64(0.1)",
            ":",
            "=",
            "\n",
            "\x00",
            "\u2028",
            "E   assert 1 >= 2",
            "nan s",
        ),
    ]
)
TEXT = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=30).map(" ".join))
KINDS = ["session_start", "start", "test", "collect_error", "problem", "profile", "session_finish"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["nodeid", "outcome", "duration_s", "usage", "held", "cores", "text", "stdout"]
LINES = st.fixed_dictionaries(
    {"schema": st.just(1), "kind": st.sampled_from([*KINDS, "other"])}, optional=dict.fromkeys(NAMES, JSON)
)


@given(TEXT)
def test_figures_are_finite_and_on_their_line(text: str) -> None:
    for figure in parse_figures(text):
        assert math.isfinite(figure.resolution) and figure.resolution >= 0
        assert figure.line in text and figure.name


@given(TEXT, TEXT, st.sampled_from(["passed", "failed", "error"]), st.lists(TEXT, max_size=3))
def test_everything_that_is_read_can_be_judged_and_written(
    stdout: str, longrepr: str, outcome: str, assertions: list[str]
) -> None:
    test = TestRecord(
        "t",
        outcome,
        1.0,
        stdout,
        message=longrepr,
        longrepr=longrepr,
        held=tuple((text, text) for text in assertions),
    )
    run = TestRun(started=True, tests=(test, replace(test, nodeid="u")))
    found = judged(run, figures_of(run.tests), {}, "")
    json.loads(document("metrics", capture_metrics(found, RunOutcome.FAILED)))
    assert as_markdown(result_blocks(found)) and sentences(found, RunOutcome.FAILED)


@given(TEXT, TEXT)
def test_comparisons_evaluate_numbers_only(expression: str, source: str) -> None:
    check = read_check(expression, source)
    assert check is None or check.passed in (True, False)


@given(st.floats(0.001, 1e6), st.floats(0.001, 1e6), st.floats(0.01, 10.0))
def test_a_ratio_against_a_factor_agrees_with_the_assertion(a: float, b: float, factor: float) -> None:
    check = read_check(f"{a!r} >= ({b!r} * {factor!r})", f"x >= y * {factor!r}")
    assert check is not None and check.passed is (a >= b * factor)


@given(st.lists(st.one_of(LINES.map(lambda d: json.dumps(d).encode()), st.binary(max_size=60)), max_size=12))
def test_records_of_any_content_are_read(lines: list[bytes]) -> None:
    run = parse_test_records(lines)
    assert len(run.problems) <= len(lines) + 1


@given(st.integers(0, 400))
@example(38)  # the first line without its end
def test_a_record_cut_anywhere_keeps_the_lines_before_the_cut(cut: int) -> None:
    phases: list[dict[str, Any]] = [
        {"schema": 1, "kind": "session_start"},
        {"schema": 1, "kind": "start", "nodeid": "a"},
        {"schema": 1, "kind": "test", "nodeid": "a", "outcome": "passed", "duration_s": 1},
    ]
    lines = [json.dumps(line).encode() for line in phases]
    data = b"\n".join(lines) + b"\n"
    # A line is whole without its line end, too.
    kept = sum(cut >= len(b"\n".join(lines[: n + 1])) for n in range(len(lines)))
    run = parse_test_records(data[:cut].splitlines())
    assert run.started is (kept >= 1)
    outcome = run.tests[0].outcome if run.tests else None
    assert outcome in ((None, "interrupted") if kept < len(phases) else ("passed",))
