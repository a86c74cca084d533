"""`nbbench regressions` on hand-made results: what was not judged (C1), setups that changed (F1)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Project

N = 12
LEVEL = [1.0, 1.004, 0.997, 1.002, 0.999, 1.001]
FLAT = LEVEL * 2
STEPPED = [v if i < 6 else 1.3 * v for i, v in enumerate(FLAT)]
SKIPPED = float("nan")  # asv's mark


def write(
    project: Project,
    values: dict[str, list[Any]],
    *,
    machine: Any = "m",
    version: str = "1",
    first: int = 1,
    params: Any = None,
    number: Any = None,
) -> None:
    """asv results of commits `first`, …: a value, None (failed), SKIPPED, or "" (not in the file)."""
    results = project.root / "results"
    results.mkdir(exist_ok=True)
    declared = {
        name: {
            "name": name,
            "version": version,
            "unit": "seconds",
            "type": "time",
            "params": [],
            "param_names": [],
        }
        for name in values
    }
    path = results / "benchmarks.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, **declared, "version": 2}))
    for i in range(max(map(len, values.values()))):
        place = first + i
        name = machine(place) if callable(machine) else machine
        folder = results / name
        folder.mkdir(exist_ok=True)
        (folder / "machine.json").write_text(json.dumps({"machine": name, "version": 1}))
        calls = number(place) if number else None
        rows = {
            bench: [[row[i]], [], version, 1_700_000_000_000 + place, 1.0, None, None, None, None]
            + ([[calls], None, [[row[i]] * 8]] if calls else [])
            for bench, row in values.items()
            if i < len(row) and row[i] != ""
        }
        content = {
            "commit_hash": f"{place:08x}" + "0" * 32,
            "env_name": "env",
            "date": 1_700_000_000_000 + place * 86_400_000,
            "params": {"machine": name, **(params(place) if params else {})},
            "python": "3.11",
            "requirements": {},
            "env_vars": {},
            "result_columns": [
                "result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b",
                "stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples",
            ],
            "results": rows,
            "durations": {},
            "version": 2,
        }  # fmt: skip
        (folder / f"{place:08x}-env.json").write_text(json.dumps(content))


def document(project: Project, *options: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(project.run("regressions", "--json", *options).stdout)
    return told


def reasons(project: Project) -> list[tuple[str, str]]:
    return sorted((one["reason"], one["since"][:8].lstrip("0")) for one in document(project)["not_judged"])


def fails(project: Project) -> int:
    """The exit code of `--fail`, which the plain command shares where nothing was judged."""
    code = project.run("regressions", "--fail").exit_code
    assert project.run("regressions").exit_code == (4 if code == 4 else 0)
    return code


class TestNotJudged:
    """C1: never "no change" with exit 0 where nothing was judged."""

    def test_every_result_failed(self, project: Project) -> None:
        write(project, {"s.time_a": [None] * N, "s.time_b": [None] * N})
        assert fails(project) == 4
        assert reasons(project) == [("failing", "1"), ("failing", "1")]
        assert "No change" not in project.run("regressions").stdout

    def test_all_fail_for_fifteen_commits(self, project: Project) -> None:
        write(project, {"s.time_a": FLAT + [None] * 15})
        assert fails(project) == 3
        (flag,) = document(project)["flags"]
        assert (flag["event"]["id"], flag["event"]["cause"]) == ("0000000d-fails", "failure")
        assert reasons(project) == [("failing", "d")]
        shown = project.run("regressions")
        assert "fails since 0000000d" in shown.stdout

    def test_three_of_four_fail_are_skipped_or_vanish(self, project: Project) -> None:
        write(
            project,
            {
                "s.time_ok": FLAT,
                "s.time_fails": FLAT[:9] + [None] * 3,
                "s.time_skipped": FLAT[:9] + [SKIPPED] * 3,
                "s.time_gone": FLAT[:9] + [""] * 3,
            },
        )
        assert reasons(project) == [("failing", "a"), ("skipped", "a"), ("vanished", "9")]
        assert fails(project) == 3
        assert "3 series not judged" in project.run("regressions").stdout
        told = json.loads(project.run("plan", "PERF-PYTORCH-004", "--json").stdout)
        assert told["not_judged"] == document(project)["not_judged"]
        for options in ([], ["--markdown"], ["--attempt"]):
            said = project.run("plan", "PERF-PYTORCH-004", *options).stdout
            assert "Not judged: 3 series (1 failing, " in said

    def test_two_commits_ten_times_apart(self, project: Project) -> None:
        write(project, {"s.time_a": [1.0, 10.0]})
        assert fails(project) == 4
        assert reasons(project) == [("too short", "1")]

    def test_a_new_machine_at_each_run(self, project: Project) -> None:
        write(project, {"s.time_a": STEPPED}, machine=lambda place: f"runner{place}")
        assert fails(project) == 4
        assert {reason for reason, _ in reasons(project)} == {"new machine", "too short"}

    def test_a_new_version_with_a_jump(self, project: Project) -> None:
        write(project, {"s.time_a": FLAT})
        write(project, {"s.time_a": [3 * v for v in LEVEL]}, version="2", first=N + 1)
        assert document(project)["not_judged"] == []  # the new version's own values were judged
        assert fails(project) == 0

    def test_each_version_ends_where_the_next_begins(self, project: Project) -> None:
        """The jump is told once, at the version that brought it."""
        for i in range(6):
            value = 1.0 if i < 3 else 3.0
            write(project, {"s.time_a": [value, value]}, version=f"v{i}", first=2 * i + 1)
        (one,) = document(project)["not_judged"]
        assert (one["reason"], one["since"][:8].lstrip("0"), one["effect"]) == ("new version", "b", 0.0)
        write(project, {"s.time_a": [9.0, 9.0]}, version="v6", first=13)
        (one,) = document(project)["not_judged"]
        assert "values differ by 3× from the level before" in one["detail"]
        assert fails(project) == 4

    def test_the_newest_two_three_times_as_slow(self, project: Project) -> None:
        """Not "no change": every format says what helps; with others judged the exit code is theirs."""
        write(project, {"s.time_a": [*LEVEL, *LEVEL, 3.0, 3.0]})
        assert fails(project) == 4
        assert reasons(project) == [("too recent", "d")]
        (one,) = document(project)["not_judged"]
        assert "measure one more commit" in one["detail"] and "3×" in one["detail"]
        for options in ([], ["--markdown"]):
            said = " ".join(project.run("regressions", *options).stdout.split())
            assert "too recent" in said and "one or two values are no level" in said
        project.run("publish", "--page-only")
        assert "measure one more commit" in (project.root / "html" / "index.html").read_text()
        write(project, {"s.time_a": [*LEVEL, *LEVEL, 3.0, 3.0], "s.time_b": [*LEVEL, *LEVEL, 1.0, 1.0]})
        assert fails(project) == 0
        assert "1 series not judged" in project.run("regressions").stdout

    def test_the_page_says_it_too(self, project: Project) -> None:
        write(project, {"s.time_a": [SKIPPED] * N, "s.time_b": [SKIPPED] * N})
        found = project.run("regressions")
        assert found.exit_code == 4 and "Nothing could be judged; 2 series" in found.stdout
        project.run("publish", "--page-only")
        page = (project.root / "html" / "index.html").read_text()
        assert "<title>Nothing could be judged; 2 series not judged." in page

    def test_only_the_machines_own_figures(self, project: Project) -> None:
        """There are series, and none that could ever be judged."""
        write(project, {"Ceiling.track_copy_ceiling": FLAT})
        assert fails(project) == 4
        assert project.run("regressions").stdout.strip() == "Nothing could be judged."

    def test_what_was_judged_and_did_not_change(self, project: Project) -> None:
        write(project, {"s.time_a": FLAT})
        assert fails(project) == 0
        assert reasons(project) == []
        assert "No change is on record" in project.run("regressions").stdout


RECOVERED = [*STEPPED, *STEPPED[6:], *LEVEL]  # slow for longer than a burst lasts


def test_open_alone(project: Project) -> None:
    """H10: `--open` leaves out what is settled or recovered."""
    write(project, {"s.time_a": RECOVERED, "s.time_b": [*LEVEL, *LEVEL, *STEPPED]})
    assert len(document(project)["flags"]) == 2
    (flag,) = document(project, "--open")["flags"]
    assert flag["event"]["recovered_by"] is None
    assert project.run("regressions", "--open").stdout.startswith("1 open regression; 1 settled or recovered")


def test_what_is_not_shown_is_still_on_record(project: Project) -> None:
    """H10: neither what is settled nor a gain is "no change"."""
    write(project, {"s.time_a": RECOVERED})
    assert "No change" not in project.run("regressions", "--open").stdout
    write(project, {"s.time_a": [v / 2 if i > 5 else v for i, v in enumerate(FLAT)]})
    shown = project.run("regressions").stdout
    assert "1 improvement" in shown and "No change" not in shown


def test_a_plan_that_nobody_knows(project: Project) -> None:
    write(project, {"s.time_a": FLAT})
    done = project.run("regressions", "--plan", "TYPO")
    assert done.exit_code == 2 and "TYPO" in done.stderr


@pytest.mark.parametrize(
    ("what", "before", "after"),
    [
        ("cpu", "AMD EPYC 7B13", "Intel Xeon 6975P"),
        ("torch", "2.9.1", "2.13.0"),
        ("python", "3.11", "3.12"),
        ("num_cpu", "2", "8"),
        ("os", "Linux 5.15", "Linux 6.8"),
    ],
)
def test_another_setup_at_exactly_the_step_is_its_cause(
    project: Project, what: str, before: str, after: str
) -> None:
    """F1."""
    write(project, {"s.time_a": STEPPED}, params=lambda place: {what: after if place > 6 else before})
    (flag,) = document(project)["flags"]
    assert flag["event"]["cause"] == "environment"
    said = {"what": what, "before": before, "after": after}
    assert {"kind": "setup", "figures": said} in flag["event"]["evidence"]


def test_another_sampling_at_exactly_the_step_is_its_cause(project: Project) -> None:
    """F1: asv called the function once a sample, where it had called it a hundred times."""
    write(project, {"s.time_a": STEPPED}, number=lambda place: 1 if place > 6 else 100)
    (flag,) = document(project)["flags"]
    assert flag["event"]["cause"] == "harness"
    said = {"what": "number", "before": "100", "after": "1"}
    assert {"kind": "setup", "figures": said} in flag["event"]["evidence"]
    assert "calls in each sample (asv's number) changed at this step: 100 → 1" in " ".join(
        project.run("regressions").stdout.split()
    )


def test_sampling_that_follows_the_time_is_no_cause(project: Project) -> None:
    slow = [v if i < 6 else 4 * v for i, v in enumerate(FLAT)]
    write(project, {"s.time_a": slow}, number=lambda place: 25 if place > 6 else 100)
    (flag,) = document(project)["flags"]
    assert flag["event"]["cause"] == "unexplained"


def test_a_setup_that_changed_elsewhere_is_no_cause(project: Project) -> None:
    write(project, {"s.time_a": STEPPED}, params=lambda place: {"cpu": "new" if place > 3 else "old"})
    (flag,) = document(project)["flags"]
    assert flag["event"]["cause"] == "unexplained"


def test_evidence_of_a_tree_without_a_subject_names_no_command_that_cannot_work(project: Project) -> None:
    """F4: nothing of an imported tree can be explained or gated."""
    write(project, {"s.time_a": STEPPED})
    shown = project.run("regressions").stdout
    assert "00000007-slower" in shown
    assert "nbbench explain" not in shown and "nbbench gate" not in shown


def test_nothing_new_needs_neither_numpy_nor_torch(stepped: Project) -> None:
    """The start of the command that people call most stays cheap."""
    assert stepped.run("regressions").exit_code == 0
    code = (
        "import sys; from nbbench.cli.app import run;"
        "code = run(['regressions', '--root', sys.argv[1]]);"
        "heavy = {'numpy', 'scipy', 'torch'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(stepped.root)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
