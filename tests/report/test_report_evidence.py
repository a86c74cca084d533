"""Evidence files: pasteable commands, honest summaries, strict numbers."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import report_samples as samples
from test_report_golden import EXPORT

from nbbench.model import NotJudged, NotJudgedReason, Result, Status
from nbbench.record.stamp import verify_folder, write_folder
from nbbench.report.evidence import commands_txt, render, status_line

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
        EXPORT,
        results=(),
        baseline=(),
        baseline_commit=None,
        flags=(),
        ledgers=(),
        facts=(),
        environment=(),
        torch_env="",
    )
    files = render(bare)
    assert headings(files["summary.md"]) == SECTIONS
    assert headings(render(EXPORT)["summary.md"]) == SECTIONS
    assert "Nothing was measured." in files["summary.md"]
    assert "nothing here says whether anything became slower" in files["summary.md"]
    assert files["env.txt"] == files["torch_env.txt"] == "# not recorded\n"
    assert status_line(bare) == "BLOCKED (exit code 4): no benchmark of this commit gave a figure"
    assert (files["exit_code.txt"], render(EXPORT)["exit_code.txt"]) == ("4\n", "0\n")


def test_a_rendered_folder_is_a_valid_bundle(tmp_path: Path) -> None:
    write_folder(tmp_path / "stamp", render(EXPORT))
    assert verify_folder(tmp_path / "stamp") == []


def test_commands_run_as_they_stand(tmp_path: Path) -> None:
    script = tmp_path / "commands.txt"
    script.write_text(commands_txt(replace(EXPORT, command="printf '%s|' 'a b'")))
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "a b|"


def pair(before: float, after: float, unit: str = "seconds", spread: float = 0.01) -> tuple[Result, Result]:
    """A series at two neighbours, five samples each where it is noisy."""

    def one(place: int, value: float) -> Result:
        made = samples.result(samples.key(), place, value, unit)
        return replace(made, samples=tuple(value * (1 + spread * i) for i in (-2, -1, 0, 1, 2)))

    return one(11, before), one(12, after)


def compared(old: Result, new: Result) -> list[tuple[Result, Result]]:
    return replace(EXPORT, results=(new,), baseline=(old,)).both


def summary(old: Result, new: Result) -> str:
    return render(replace(EXPORT, results=(new,), baseline=(old,)))["summary.md"]


def test_one_value_against_one_is_no_verdict_and_not_hidden() -> None:
    """H6: +72.9 % between two commits of identical work, on a busy machine, is called nothing."""
    text = summary(*pair(1.0, 1.729))
    table = text.partition("## Comparison to baseline")[2].partition("## Artifacts")[0]
    assert "+72.9 %" in table and "One value against one decides nothing" in table and "worse" not in table
    assert "Confirm with nbbench gate" in text


@pytest.mark.parametrize(
    ("before", "after", "shown"), [(0.0, 5.0, "from zero"), (-1.0, -2.0, "n/a"), (2.0, 2.0, "+0.00 %")]
)
def test_what_is_no_ratio_is_none(before: float, after: float, shown: str) -> None:
    assert f"| {shown} |" in summary(*pair(before, after))


def test_series_of_other_machines_and_versions_are_not_compared() -> None:
    """H5: nothing of another machine, environment or benchmark version stands in the table."""
    old, new = pair(1.0, 2.0)
    for change in ({"machine": "elsewhere"}, {"environment": "torch-1"}, {"version": "2"}):
        assert compared(replace(old, key=replace(old.key, **change)), new) == []
    assert "Machine bench-1." in render(EXPORT)["summary.md"]


def test_a_unit_with_html_is_escaped() -> None:
    """J11."""
    old, new = pair(1.0, 2.0, "<img src=x onerror=alert(1)>")
    text = summary(old, new)
    assert "<img" not in text and "&lt;img" in text


def test_figures_that_are_not_numbers_are_no_comparison() -> None:
    old, new = pair(1.0, math.nan)
    assert compared(old, new) == compared(replace(old, unit="bytes"), old) == []
    assert compared(old, replace(old, status=Status.FAILED)) == []
    files = render(replace(EXPORT, results=(new,), baseline=(old,)))
    json.loads(files["metrics.json"], parse_constant=pytest.fail)


def test_what_could_not_be_judged_is_counted_and_named() -> None:
    gone = NotJudged("bench.time_x(a=1)", NotJudgedReason.VANISHED, "c" * 40, "last at 000b0000")
    files = render(replace(EXPORT, not_judged=(gone,)))
    assert "1 series not judged" in files["summary.md"]
    assert "Not judged: 1 series (1 vanished)" in files["summary.md"]
    (told,) = json.loads(files["metrics.json"])["not_judged"]
    assert (told["series"], told["reason"]) == ("bench.time_x(a=1)", "vanished")


def test_every_sample_is_kept() -> None:
    kept = json.loads(render(EXPORT)["benchmark_results.json"])
    assert [result["samples"] for result in kept["results"]] == [list(r.samples) for r in samples.RESULTS]


def test_an_environment_value_cannot_pose_as_another_line() -> None:
    files = render(replace(EXPORT, environment=("A=1\nB=2\x1b[31m", "C=  spaced  out")))
    assert files["env.txt"] == "A=1\\nB=2\nC=  spaced  out\n"
