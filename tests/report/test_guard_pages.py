"""The pages of a captured run: journal, commands, time, status, and the final summary."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nbbench.captured import Capture, Check, Findings, RunOutcome, Usage
from nbbench.errors import EvidenceError
from nbbench.record.stamp import seal, verify_folder
from nbbench.report.capture import capture_status, commands_txt, metadata_json, metrics_json, time_txt
from nbbench.report.stamp_page import summary_md

BEGAN = datetime(2026, 1, 5, 8, 30, tzinfo=UTC)
START = Capture(
    stamp="20260105T083000Z",
    cluster="CLUSTER-PERF-001",
    plan="PERF-PYTORCH-004",
    preset="cpu-perf",
    command=("pytest", "-k", "a and 'b'", "tests/x.py::T::t"),
    cwd="/home/ada/my subject",
    guards=(("OMP_NUM_THREADS", "2"), ("PYTEST_ADDOPTS", "--maxfail=1 --timeout=900")),
    timeout_s=900.0,
    started_at=BEGAN,
    commit="c" * 40,
    tree="d" * 40,
    changes_before=(("notes.md", "untracked abc"),),
    machine=(("cpu", "Test | CPU"),),
)
USAGE = Usage(
    wall_s=3723.4,
    user_s=10.5,
    system_s=31.5,
    max_rss_bytes=254 * 2**20,
    minor_faults=1_280_000,
    major_faults=3,
    voluntary_switches=10,
    involuntary_switches=20,
)
FIGURES = Findings(
    checks=(Check("ratio", ">=", 0.5, 0.327, False, "assert ratio >= 0.5", "t"),),
)


def ended(outcome: RunOutcome = RunOutcome.FAILED, code: int = 1, **changes) -> Capture:
    known = {"ended_at": BEGAN + timedelta(seconds=3723.4), "elapsed_s": 3723.4, "usage": USAGE}
    known |= {"time_source": "/usr/bin/time -v", "reason": ""}
    return dataclasses.replace(START, outcome=outcome, exit_code=code, **{**known, **changes})


def section(page: str, title: str) -> str:
    return page.split(f"## {title}\n\n")[1].split("\n\n## ")[0].strip()


def test_commands_can_be_pasted() -> None:
    text = commands_txt(START)
    assert "# STAMP: 20260105T083000Z (UTC)" in text
    assert "# For a shell: nbbench itself set variables" in text  # H15: not the very words that ran
    line = text.splitlines()[-1]
    shown = subprocess.run(
        ["bash", "-c", f"set -- {line}; printf '%s\\n' \"$@\""], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines() == [
        *("/usr/bin/time", "-v", "timeout", "900", "env"),
        *("OMP_NUM_THREADS=2", "PYTEST_ADDOPTS=--maxfail=1 --timeout=900"),
        *START.command,
    ]
    assert "\ncd '/home/ada/my subject'\n" in text


def test_pasting_the_commands_sets_the_users_own_variables() -> None:
    own = (("GLIBC_TUNABLES", "a=1:b=2"), ("NB_API_TOKEN", "<redacted>"), ("NB_NOTE", "it's"))
    start = dataclasses.replace(START, cwd="/", influences=own, profile=True, python="/opt/py/bin/python")
    text = commands_txt(start).rpartition("/usr/bin/time")[0] + 'echo "$GLIBC_TUNABLES $NB_NOTE"'
    shown = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    assert shown.stdout == "a=1:b=2 it's\n"
    assert "# NB_API_TOKEN was set; its value is not shown\n" in text and "<redacted>" not in text
    assert "# --profile: " in text and "# interpreter: /opt/py/bin/python\n" in text
    assert "| variable GLIBC\\_TUNABLES | a=1:b=2 |" in summary_md(start)


def test_a_working_directory_with_a_line_break_cannot_pose_as_a_command() -> None:
    with pytest.raises(EvidenceError):
        commands_txt(dataclasses.replace(START, cwd="/x\nrm -rf y"))


@pytest.mark.parametrize(
    ("capture", "said"),
    [
        (ended(RunOutcome.PASSED, 0), "PASSED (exit code 0)"),
        (ended(), "FAILED (exit code 1)"),
        (ended(RunOutcome.TIMEOUT, 124, reason="too long"), "BLOCKED (exit code 124): too long"),
        (ended(RunOutcome.NO_TESTS, 4), "BLOCKED (exit code 4)"),
        (START, "BLOCKED (exit code unknown): this capture did not finish"),
    ],
)
def test_the_status_is_never_better_than_the_run(capture: Capture, said: str) -> None:
    assert capture_status(capture) == said
    assert section(summary_md(capture), "Status") == said


def test_the_opening_page_is_true_if_nobody_replaces_it() -> None:
    page = summary_md(START)
    assert section(page, "Status").startswith("BLOCKED (exit code unknown): this capture did not finish")
    assert "OMP_NUM_THREADS=2" in section(page, "Command")


def test_figures_find_their_sections() -> None:
    page = summary_md(ended(findings=FIGURES, anomalies=("numpy changed",), files=("summary.md",)))
    executive = section(page, "Executive Summary")
    assert executive.index("Run: FAILED") < executive.index("ratio is 0.327")
    assert "Anomaly: numpy changed." in executive
    assert "not clean before the run: notes.md" in executive
    assert "nbbench regressions" in section(page, "Comparison to baseline")
    again = "Clear up the anomalies before these figures are used, then capture again under a fresh STAMP."
    actions = section(page, "Next Actions")
    assert f"- {again}" in actions
    assert "| `ratio` | 0.327 |" in section(page, "Results")
    assert "| system share of CPU time | 75.0 % |" in section(page, "Results")
    assert "Test \\| CPU" in section(page, "Environment")


def test_metrics_hold_the_run_and_its_figures() -> None:
    told = json.loads(metrics_json(ended(findings=FIGURES)))
    assert told["exit_code"] == 1
    assert told["usage"]["minor_faults"] == 1_280_000
    assert told["verdict"] == "failed"
    assert told["checks"][0]["name"] == "ratio"


def test_metadata_before_and_after_the_end() -> None:
    told = json.loads(metadata_json(ended(changes_after=(("a.py", "modified x"),))))
    assert told["state"] == "finished"
    assert (told["dirty_before"], told["dirty_after"]) == (True, True)
    assert told["machine"] == {"cpu": "Test | CPU"} and told["changes_after"] == {"a.py": "modified x"}
    running = json.loads(metadata_json(START))
    assert (running["state"], running["exit_code"], running["dirty_after"]) == ("running", None, None)


def test_time_txt_says_whose_figures_it_has() -> None:
    lines = time_txt(USAGE, "GNU time is missing").splitlines()
    assert lines[0] == "# GNU time is missing: from wait4"
    assert {"wall_s: 3723.4", "minor_faults: 1280000", f"max_rss_bytes: {254 * 2**20}"} <= set(lines)
    assert time_txt(None, "x was not found") == "# not recorded: x was not found\n"


def test_a_sealed_folder_is_whole_and_sealed_once(tmp_path: Path) -> None:
    (tmp_path / "exit_code.txt").write_text("1\n")
    (tmp_path / "pytest.log").write_bytes(bytes(range(256)))
    seal(tmp_path)
    assert verify_folder(tmp_path) == []
    with pytest.raises(EvidenceError, match="finished"):
        seal(tmp_path)
