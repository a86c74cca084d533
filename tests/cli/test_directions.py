"""What growth means in a unit (B1, B2), figures by name (F2), pages of other projects (I3), hostile units."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_project import Project, write_results

LEVEL = [1.0, 1.004, 0.997, 1.002, 0.999, 1.001]
RATES = ["steps/s", "GB/s", "it/s", "fps", "GFLOP/s", "samples/sec", "% of peak", "x speedup"]


def stepped(project: Project, unit: str, factor: float, name: str = "suite.track_figure") -> None:
    """Twelve commits; the value changes by a factor at the seventh."""
    write_results(project.root, {name: [40 * v for v in LEVEL] + [40 * factor * v for v in LEVEL]}, unit)


def judged(project: Project) -> tuple[int, list[str]]:
    """The exit code of `--fail`, and the directions of all events."""
    told: dict[str, Any] = json.loads(project.run("regressions", "--all", "--json").stdout)
    code = project.run("regressions", "--fail").exit_code
    return code, [flag["event"]["direction"] for flag in told["flags"]]


@pytest.mark.parametrize("unit", RATES)
def test_B1_a_rate_that_halves_is_a_regression(project: Project, unit: str) -> None:
    stepped(project, unit, 0.5)
    assert judged(project) == (3, ["regression"])


@pytest.mark.parametrize("unit", RATES)
def test_B1_a_rate_that_doubles_is_an_improvement(project: Project, unit: str) -> None:
    stepped(project, unit, 2.0)
    assert judged(project) == (0, ["improvement"])


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_B1_a_unit_that_nobody_declared_is_a_change_and_fails_nothing(
    project: Project, factor: float
) -> None:
    stepped(project, "points", factor)
    assert judged(project) == (0, ["change"])
    shown = project.run("regressions").stdout
    assert "1 change of unknown direction" in shown
    assert "[tool.nbbench.units]" in shown


@pytest.mark.parametrize(("word", "code"), [("higher", 3), ("lower", 0), ("neither", 0)])
def test_B1_a_setting_declares_it_and_events_are_found_anew(project: Project, word: str, code: int) -> None:
    stepped(project, "points", 0.5)
    assert judged(project)[0] == 0
    (project.root / "pyproject.toml").write_text(f'[tool.nbbench.units]\npoints = "{word}"\n')
    directions = {"higher": "regression", "lower": "improvement", "neither": "change"}
    assert judged(project) == (code, [directions[word]])


def test_B1_a_word_that_is_no_direction_is_refused(project: Project) -> None:
    stepped(project, "points", 0.5)
    (project.root / "pyproject.toml").write_text('[tool.nbbench.units]\npoints = "up"\n')
    done = project.run("regressions")
    assert done.exit_code == 2
    assert "'up'" in done.stderr and "higher" in done.stderr


@pytest.mark.parametrize("factor", [1000.0, 1 / 998])
def test_B2_a_factor_between_units_is_a_question(project: Project, factor: float) -> None:
    stepped(project, "ms", factor)
    options = ("--all",) if factor < 1 else ()
    done = project.run("regressions", "--json", *options)
    assert len(json.loads(done.stdout)["flags"]) == 1
    if factor > 1:
        assert "did its unit change?" in project.run("regressions").stdout


@pytest.mark.parametrize(
    ("unit", "direction"),
    [
        ("B/cycle", "regression"),  # bytes a clock cycle are a bandwidth; bytes a point are a cost
        ("B/point", "improvement"),
        ("failed requests/s", "change"),
        ("crashes per hour", "change"),
    ],
)
def test_B1_a_rate_of_what_nobody_wants_is_no_gain(project: Project, unit: str, direction: str) -> None:
    stepped(project, unit, 0.5)
    assert judged(project)[1] == [direction]


def test_F2_figures_beside_a_time_have_their_names_and_values(project: Project) -> None:
    """Memory and a rate that move with a time are told, not only counted."""
    stepped(project, "steps/s", 0.5, "suite.track_figure")
    levels = {"suite.time_run": LEVEL + [1.3 * v for v in LEVEL], "suite.track_figure": []}
    levels["suite.track_figure"] = [40 * v for v in LEVEL] + [20 * v for v in LEVEL]
    write_results(project.root, levels, "steps/s")
    declared = project.root / "results" / "benchmarks.json"
    known = json.loads(declared.read_text())
    known["suite.time_run"]["unit"] = "seconds"
    known["suite.track_figure"]["type"] = "track"
    declared.write_text(json.dumps(known))
    shown = project.run("regressions").stdout
    assert "time +30" in shown
    assert "suite.track_figure: 40" in shown and "→ 20" in shown


def test_F2_a_figure_that_is_neither_time_nor_exact_has_its_name_and_values(project: Project) -> None:
    stepped(project, "steps/s", 0.5)
    shown = project.run("regressions").stdout
    assert "figure ÷2" in shown
    assert "suite.track_figure: 40" in shown and "→ 20" in shown


def test_I3_a_project_without_a_plan_has_a_page_of_its_own_name(project: Project) -> None:
    conf = project.root / "asv.conf.json"
    conf.write_text(conf.read_text().replace('"project": "', '"project": "other '))
    (project.root / "pyproject.toml").write_text('[tool.nbbench]\nplan = "NONE-OF-OURS"\n')
    stepped(project, "steps/s", 0.5)
    assert project.run("publish", "--page-only").exit_code == 0
    page = (project.root / "html" / "index.html").read_text()
    assert "<title>1 open regression. Changes of other " in page
    assert "NONE-OF-OURS" not in page and "PERF-PYTORCH" not in page


@pytest.mark.parametrize("unit", ["<script>alert(1)</script>", "steps\x1b[2J/s", "a|b`c`/s"])
def test_J11_a_hostile_unit_is_text_in_every_format(project: Project, unit: str) -> None:
    stepped(project, unit, 0.5)
    for options in ((), ("--markdown",), ("--json",)):
        shown = project.run("regressions", *options).stdout
        assert shown.replace("\n", "").isprintable()
        assert "<script>alert" not in shown or options == ("--json",) or not options
    assert project.run("publish", "--page-only").exit_code == 0
    assert "<script>alert" not in (project.root / "html" / "index.html").read_text()
