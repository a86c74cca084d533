"""Evidence files: pasteable commands, honest summaries, strict numbers."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import report_samples as samples
from test_report_golden import EVIDENCE

from nbbench.errors import EvidenceError
from nbbench.model import Result
from nbbench.record.stamp import Bundle, verify_folder
from nbbench.report.evidence import commands_txt, comparisons, render
from nbbench.report.evidence_input import status_line, variation

SECTIONS = [
    "Status",
    "STAMP",
    "Command",
    "Executive Summary",
    "Results",
    "Environment",
    "Comparison to baseline",
    "Artifacts",
    "Next Actions",
]


def headings(text: str) -> list[str]:
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def test_every_section_is_there_in_order_even_with_nothing_to_say() -> None:
    bare = replace(
        EVIDENCE,
        commands=(),
        commit=None,
        results=(),
        baseline=(),
        flags=(),
        ledgers=(),
        machine=(),
        environment=(),
        torch_env="",
        observations=(),
        notes=(),
    )
    files = render(bare)
    assert headings(files["summary.md"]) == SECTIONS
    assert headings(render(EVIDENCE)["summary.md"]) == SECTIONS
    assert "Nothing was measured." in files["summary.md"]
    assert "nothing here says whether anything became slower" in files["summary.md"]
    assert files["env.txt"] == files["torch_env.txt"] == "# not recorded\n"


def test_a_rendered_folder_is_a_valid_bundle(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path / "stamp")
    for name, text in render(EVIDENCE).items():
        bundle.add(name, text)
    bundle.write()
    assert verify_folder(tmp_path / "stamp") == []


def test_commands_run_as_they_stand(tmp_path: Path) -> None:
    place = tmp_path / "it's a 'place' $HOME"
    place.mkdir()
    evidence = replace(
        EVIDENCE,
        cwd=str(place),
        commands=(("printf", "%s|", "a b", "$x", "it's", "new\nline"), "pwd | tail -c 6"),
    )
    script = tmp_path / "commands.txt"
    script.write_text(commands_txt(evidence))
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "a b|$x|it's|new\nline|$HOME\n"
    with pytest.raises(EvidenceError):
        commands_txt(replace(evidence, cwd="/a\nrm -rf x"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"exit_code": 0}, "PASSED (exit code 0)"),
        ({"exit_code": 1}, "FAILED (exit code 1)"),
        ({"exit_code": 124}, "TIMED OUT (exit code 124)"),
        ({"exit_code": 0, "timed_out": True}, "TIMED OUT (exit code 0)"),
        ({"exit_code": 137}, "KILLED by signal 9 (exit code 137)"),
        ({"exit_code": -15}, "KILLED by signal 15 (exit code -15)"),
        ({"exit_code": 2, "blocker": "no time(1)"}, "BLOCKED (exit code 2): no time(1)"),
    ],
)
def test_the_status_says_what_the_exit_code_says(change: dict[str, object], expected: str) -> None:
    evidence = replace(EVIDENCE, **change)  # type: ignore[arg-type]
    assert status_line(evidence) == expected
    files = render(evidence)
    assert files["exit_code.txt"] == f"{evidence.exit_code}\n"
    assert expected in files["summary.md"].replace("\\", "")


def pair(before: float, after: float, unit: str = "seconds") -> tuple[Result, Result]:
    return samples.result(samples.key(), 11, before, unit), samples.result(samples.key(), 12, after, unit)


@pytest.mark.parametrize(
    ("before", "after", "unit", "word"),
    [
        (13.9e-3, 22.9e-3, "seconds", "worse"),
        (22.9e-3, 13.9e-3, "seconds", "better"),
        (1.0, 1.029, "seconds", "within the floor"),
        (1.0, 1.031, "seconds", "worse"),
        (2e10, 1e10, "B/s", "worse"),
        (1684.8, 1684.9, "B/pixel", "worse"),
        (1684.8, 1684.8, "B/pixel", "within the floor"),
        (0.0, 5.0, "seconds", "worse"),
        (5.0, 0.0, "seconds", "better"),
        (0.0, 0.0, "seconds", "within the floor"),
        (-1.0, -2.0, "exponent", "better"),
        (6.0, 7.0, "dtype code", "moved"),
    ],
)
def test_a_comparison_says_worse_when_it_is(before: float, after: float, unit: str, word: str) -> None:
    old, new = pair(before, after, unit)
    (found,) = comparisons(replace(EVIDENCE, results=(new,), baseline=(old,)))
    assert found.word == word


def test_a_large_slowdown_cannot_be_summarised_as_none() -> None:
    old, new = pair(13.9e-3, 22.9e-3)
    text = render(replace(EVIDENCE, results=(new,), baseline=(old,), exit_code=0))["summary.md"]
    assert "1 of 1 series worse than" in text
    assert "+64.7 %" in text
    assert "None of" not in text


def test_unlike_conditions_are_named_and_never_hidden() -> None:
    old, new = pair(1.0, 1.0)
    other = replace(old, key=replace(old.key, machine="elsewhere", environment="torch-1"))
    evidence = replace(EVIDENCE, results=(new,), baseline=(other,))
    (found,) = comparisons(evidence)
    assert found.caveat == "different machine and environment"
    assert "1 not like for like" in render(evidence)["summary.md"]


def test_figures_that_are_not_numbers_are_no_comparison() -> None:
    old, new = pair(1.0, math.nan)
    assert comparisons(replace(EVIDENCE, results=(new,), baseline=(old,))) == []
    assert comparisons(replace(EVIDENCE, results=(old,), baseline=(replace(old, unit="bytes"),))) == []
    files = render(replace(EVIDENCE, results=(new,), baseline=(old,)))
    json.loads(files["metrics.json"], parse_constant=pytest.fail)


def test_every_sample_is_kept() -> None:
    kept = json.loads(render(EVIDENCE)["benchmark_results.json"])
    assert [result["samples"] for result in kept["results"]] == [list(r.samples) for r in samples.RESULTS]


def test_an_environment_value_cannot_pose_as_another_line() -> None:
    files = render(replace(EVIDENCE, environment=("A=1\nB=2\x1b[31m", "C=  spaced  out")))
    assert files["env.txt"] == "A=1\\nB=2\nC=  spaced  out\n"


def test_a_command_cannot_close_its_fence() -> None:
    text = render(replace(EVIDENCE, commands=("echo '```\n# not a heading'",)))["summary.md"]
    assert "````sh" in text


def test_variation_needs_two_samples_and_a_mean() -> None:
    assert variation([1.0]) is None
    assert variation([1.0, -1.0]) is None
    assert variation([2.0, 4.0]) == pytest.approx(math.sqrt(2) / 3)
