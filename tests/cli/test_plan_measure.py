"""`nbbench plan ID --measure`: what is measured, what a second call does, exit codes. asv is played."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from cli_project import Project

from nbbench.config import load_settings
from nbbench.errors import HostError
from nbbench.measure.asv_run import AsvChoice
from nbbench.measure.process_env import installed_torch
from nbbench.model import Commit
from nbbench.plan import measuring
from nbbench.subject.repository import list_commits, open_subject, register
from nbbench.subject.subjects.nanobragg import demo

PLAN = """
[tool.nbbench.plans.P]
title = "Small plan"
[[tool.nbbench.plans.P.criteria]]
id = "fast"
title = "fast enough"
value = "s.A.track_a(2, 'x')"
spec = 2.0
[[tool.nbbench.plans.P.criteria]]
id = "ratio"
title = "one over the other"
value = "s.A.track_a(1, 'x')"
over = "s.B.track_b"
spec = 3.0
[[tool.nbbench.plans.P.criteria]]
id = "like C"
title = "over the C program"
value = "c.C.track_c"
reference = true
spec = 2.0
[[tool.nbbench.plans.P.criteria]]
id = "on a GPU"
title = "on a GPU"
value = "s.A.track_a(2, 'x')"
device = "cuda"
spec = 2.0
"""
ENVIRONMENT = f"nbbench-py{sys.version_info[0]}.{sys.version_info[1]}-torch{installed_torch()}"
DECLARED = {
    "s.A.track_a": {"params": [["1", "2"], ["'x'", "'y'"]], "param_names": ["n", "kind"]},
    "s.B.track_b": {"params": [], "param_names": []},
    "c.C.track_c": {"params": [], "param_names": []},
}
GOOD = {"s.A.track_a": [4.0, None, 1.0, None], "s.B.track_b": [2.0]}


class Played:
    """asv as far as `--measure` sees it: gives these values, and keeps what it was asked."""

    def __init__(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        demo.write_demo(project.root / "subject")
        (project.root / "pyproject.toml").write_text(PLAN, encoding="utf-8")
        settings = load_settings(project.root)
        register(settings, project.root / "subject")
        self.project, self.commits = project, list_commits(open_subject(settings))
        self.values: dict[str, list[float | None]] = dict(GOOD)
        self.asked: list[list[str]] = []
        self.before: Callable[[Sequence[str]], None] = lambda bench: None
        monkeypatch.setattr(measuring, "measure_commits", self.measure)
        monkeypatch.setattr(measuring, "build_reference", self.build)
        monkeypatch.setenv("NBBENCH_MACHINE", "m")
        monkeypatch.delenv("NB_C_BIN", raising=False)

    def build(self, settings: object, commit: str) -> None:
        raise HostError("there is no program 'gcc'", hint="install gcc")

    def measure(self, settings: object, commits: Sequence[Commit], choice: AsvChoice, **_: object) -> int:
        bench = choice.bench
        self.before(bench)
        (commit,) = commits
        self.asked.append(list(bench))
        folder = self.project.root / "results" / "m"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "machine.json").write_text(json.dumps({"machine": "m", "num_cpu": "2", "version": 1}))
        declared = {
            name: {"name": name, "version": "1", "unit": "operations", "type": "track", **said}
            for name, said in DECLARED.items()
        }
        (folder.parent / "benchmarks.json").write_text(json.dumps({**declared, "version": 2}))
        path = folder / f"{commit.short}-{ENVIRONMENT}.json"
        kept = json.loads(path.read_text())["results"] if path.is_file() else {}
        now = datetime.now(UTC).timestamp() * 1000
        for name in self.values:
            if any(re.search(pattern.partition(r"\(")[0].rstrip("$"), name) for pattern in bench):
                kept[name] = [self.values[name], DECLARED[name]["params"], "1", now, 1.5]
        content = {
            "commit_hash": commit.hash,
            "env_name": ENVIRONMENT,
            "date": int(commit.date.timestamp() * 1000),
            "params": {"machine": "m"},
            "python": "3.11",
            "requirements": {},
            "env_vars": {},
            "result_columns": ["result", "params", "version", "started_at", "duration"],
            "results": kept,
            "durations": {},
            "version": 2,
        }
        path.write_text(json.dumps(content))
        return 0

    def go(self, *arguments: str, expect: int) -> dict:
        done = self.project.run("plan", "P", "--json", "--measure", *arguments)
        assert done.exit_code == expect, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout else {"said": done.stderr}


@pytest.fixture
def played(project: Project, monkeypatch: pytest.MonkeyPatch) -> Played:
    return Played(project, monkeypatch)


def verdicts(told: dict) -> dict[str, str]:
    return {one["criterion"]["id"]: one["verdict"] for one in told["criteria"]}


def test_just_what_is_missing_is_measured_and_a_second_call_has_nothing_to_do(played: Played) -> None:
    told = played.go(expect=0)
    first, second = played.asked
    assert first == [r"^s\.A\.track_a\(2,\ 'x'\)$", r"^s\.A\.track_a\(1,\ 'x'\)$"]
    assert second == [r"^s\.B\.track_b$"]
    found = verdicts(told)
    assert (found["fast"], found["ratio"]) == ("meets", "meets")
    assert told["measured"]["commit"] == played.commits[-1].hash
    assert told["measured"]["left_out"] == {
        "like C": "there is no program 'gcc' (install gcc)",
        "on a GPU": "needs a GPU: `nbbench plan P --measure --device cuda`",
    }
    again = played.go(expect=0)
    assert len(played.asked) == 2 and again["measured"]["series"] == []
    text = played.project.run("plan", "P", "--measure").stdout
    assert "nothing was left to measure here" in text and "left out: on a GPU: needs a GPU" in text
    assert f"P Small plan at {played.commits[-1].short}: 2 of 4 criteria met" in text


def test_a_criterion_that_was_met_and_is_missed_now_is_lost(played: Played) -> None:
    old = played.commits[-3]
    assert verdicts(played.go(old.hash, expect=0))["fast"] == "meets"
    played.values["s.A.track_a"] = [9.0, None, 1.0, None]  # the rows: (1, x), (1, y), (2, x), (2, y)
    told = played.go(expect=3)
    assert told["measured"]["lost"] == ["ratio"]
    assert told["measured"]["commit"] == played.commits[-1].hash
    said = played.project.run("plan", "P", "--measure", "--markdown").stdout
    assert f"LOST: ratio, which was met at {old.short} and is missed now" in said
    assert played.go(expect=3)["measured"]["series"] == []  # it stays lost when the call is repeated


def test_a_criterion_that_was_met_and_fails_now_is_not_judged(played: Played) -> None:
    played.go(played.commits[-3].hash, expect=0)
    played.values["s.B.track_b"] = [None]
    told = played.go(expect=4)
    assert told["measured"]["not_known_now"] == ["ratio"]


def test_nothing_could_be_judged(played: Played) -> None:
    played.values = {}
    assert set(verdicts(played.go(expect=4)).values()) == {"not measured"}


def test_an_interrupt_keeps_what_ran_and_a_second_call_goes_on(played: Played) -> None:
    def interrupt(bench: Sequence[str]) -> None:
        if "track_b" in bench[0]:
            raise KeyboardInterrupt

    played.before = interrupt
    assert played.project.run("plan", "P", "--measure").exit_code == 130
    assert len(played.asked) == 1
    played.before = lambda bench: None
    told = played.go(expect=0)
    assert told["measured"]["series"] == ["s.B.track_b"] and verdicts(told)["ratio"] == "meets"


def test_a_commit_that_changed_no_source_stands_for_the_one_with_its_tree(played: Played) -> None:
    every = demo.PLANTED
    documented = next(one.hash for one in every if one.hash not in {c.hash for c in played.commits})
    told = played.go(documented, expect=0)
    assert told["measured"]["commit"] in {commit.hash for commit in played.commits}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--measure",), "--measure takes a plan"),
        (("P", "--again"), "--again belongs to --measure"),
        (("P", "--device", "cuda"), "--device belongs to --measure"),
        (("P", "--measure", "nowhere"), "unknown commit 'nowhere'"),
    ],
)
def test_what_is_refused(played: Played, arguments: tuple[str, ...], said: str) -> None:
    done = played.project.run("plan", *arguments)
    assert done.exit_code == 2 and said in done.stderr


def test_an_estimate_comes_first(played: Played) -> None:
    line = '{"schema": 1, "commit": "%s", "environment": "%s", "benchmark": "s.A.track_a", "param_index": 0, '
    line += (
        '"kind": "run", "started_at": "2026-01-01T00:00:00Z", "wall_s": 60.0, "exit_code": 0, "machine": "m"}'
    )
    played.go(played.commits[-3].hash, expect=0)
    old = played.commits[-3]
    folder = played.project.root / "results" / "m" / "telemetry"
    folder.mkdir()
    (folder / f"{old.short}-{ENVIRONMENT}.jsonl").write_text(line % (old.hash, ENVIRONMENT) + "\n")
    said = played.project.run("plan", "P", "--measure").stderr
    assert "measuring 3 series in 2 classes, about 1:05, 1 class never timed here" in said
    assert re.search(r"\[1/2, \d+:\d\d\] s\.A\n\[2/2, \d+:\d\d, about \d+:\d\d left\] s\.B", said)
