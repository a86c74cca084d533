"""`plan`, `export`: exit codes and what they print."""

from __future__ import annotations

import json
from typing import Any

import pytest
from evidence_samples import metrics, run_metadata, write_evidence

from nbbench.config import load_settings
from nbbench.record.evidence_folder import evidence_folders

REPORTS = "reports/2026-01-test-suite-refresh/phase_d/20251015T113531Z/cluster_CLUSTER-PERF-001"
MET = "1 of 1 criterion met; measured on m"
PLAN = """
[tool.nbbench.plans.P]
title = "Small plan"
stale_days = 100000
[[tool.nbbench.plans.P.criteria]]
id = "fast"
title = "fast enough"
value = "suite.time_same"
spec = {spec}
"""


@pytest.fixture
def planned(stepped: Any) -> Any:
    (stepped.root / "pyproject.toml").write_text(PLAN.format(spec=2.0), encoding="utf-8")
    return stepped


def test_plan_alone_lists_plans(planned: Any) -> None:
    shown = planned.run("plan")
    assert shown.exit_code == 0
    assert "PERF-PYTORCH-004" in shown.stdout and "Small plan" in shown.stdout
    told = json.loads(planned.run("plan", "--json").stdout)
    assert told["schema"] == "nbbench.plans/1" and [p["id"] for p in told["items"]] == [
        "PERF-PYTORCH-004",
        "P",
    ]


def test_exit_codes_of_a_plan(planned: Any) -> None:
    met = planned.run("plan", "P")
    assert (met.exit_code, met.stdout.splitlines()[0]) == (0, f"P Small plan: {MET}")
    assert "1.001" in met.stdout
    (planned.root / "pyproject.toml").write_text(PLAN.format(spec=0.5), encoding="utf-8")
    assert planned.run("plan", "P").exit_code == 3
    nothing = PLAN.format(spec=2.0).replace("time_same", "time_other")
    (planned.root / "pyproject.toml").write_text(nothing, encoding="utf-8")
    missing = planned.run("plan", "P")
    assert missing.exit_code == 4 and "suite.time_other has no results" in missing.stdout
    assert planned.run("plan", "Q").exit_code == 2
    (planned.root / "pyproject.toml").write_text("[tool.nbbench.plans.P]\ntitle = 't'", encoding="utf-8")
    bad = planned.run("plan")
    assert bad.exit_code == 2 and "plan 'P': Object missing required field criteria" in bad.stderr


def test_a_plan_without_any_results(project: Any) -> None:
    shown = project.run("plan", "PERF-PYTORCH-004", "--attempt")
    assert shown.exit_code == 4
    assert "- Commit: none was measured" in shown.stdout and "- none: nothing was measured" in shown.stdout


def test_plan_as_json_and_as_an_attempt(planned: Any) -> None:
    told = json.loads(planned.run("plan", "P", "--json").stdout)
    assert (told["schema"], told["verdict"], told["attempt"]) == ("nbbench.plan/1", "meets", None)
    assert told["machine"] == told["criteria"][0]["found"]["machine"] == "m"
    assert told["criteria"][0]["found"]["commit"] == "0000000c" + "0" * 32
    attempt = planned.run("plan", "P", "--attempt").stdout
    assert attempt.startswith("## Attempt ")
    assert "- Commit: 0000000c" in attempt and "fast enough: 1.001" in attempt
    assert "**Open regressions**\n\n- `" in attempt
    assert "- `nbbench regressions --plan P`: decide about 1 open regression\n" in attempt
    assert planned.run("plan", "P", "--markdown").stdout.startswith(f"**P Small plan: {MET}**")


def test_a_folder_that_holds_the_value_is_named_and_checked(planned: Any) -> None:
    commit = "0000000c" + "0" * 32
    told = metrics(commit=commit)
    asked = PLAN.format(spec=2.0).replace('value = "suite.time_same"', 'figure = "^time$"')
    (planned.root / "pyproject.toml").write_text(asked, encoding="utf-8")
    stamp = planned.root / REPORTS / "20251015T113531Z"
    folder = write_evidence(stamp, told=told, run=run_metadata(machine_name="m"))
    assert "20251015T113531Z" in planned.run("plan", "P").stdout
    (folder / "env.txt").write_text("NEW=1\n")
    assert "changed, do not quote it" in planned.run("plan", "P").stdout
    (folder / "sha256.txt").unlink()  # not finished, so no evidence
    assert "20251015T113531Z" not in planned.run("plan", "P").stdout


def test_an_export_is_found_again_with_its_figures(stepped: Any) -> None:
    """Issue 10, item 3: an export says what could not be judged, from the facts of `regressions`."""
    shown = stepped.run("export", "--json")
    assert shown.exit_code == 0
    told, judged = json.loads(shown.stdout), json.loads(stepped.run("regressions", "--json").stdout)
    assert told["not_judged"] == judged["not_judged"]
    assert told["not_judged_count"] == len(told["not_judged"])
    (item,) = evidence_folders(load_settings(stepped.root))
    assert (item.kind, item.damage, item.exit_code) == ("export", (), 0)
    assert {figure.name for figure in item.figures} >= {"suite.time_slow", "suite.time_same"}
