"""`nbbench explain` and `nbbench ledger` on a fresh clone: committed results, no registered subject."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import work_samples as work
from cli_project import ROOT, Project, write_results

from nbbench import metrics
from nbbench.gate.judge import workload_verdicts
from nbbench.ledger import Ledger
from nbbench.measure.process_env import torch_version
from nbbench.model import Outcome
from nbbench.record.side_files import LedgerFile, ledger_path, write_ledgers
from nbbench.report.gate_sentences import evidence_text
from nbbench.work.ledger_diff import diff_ledgers

HASHES = [f"{i + 1:08x}" + "0" * 32 for i in range(12)]
WORKLOAD = "bandwidth-1024-float32"
BENCH = ("--bench", "bandwidth-1024-float32")


def keep(project: Project, hashes: list[str] = HASHES, sides: tuple[Ledger, ...] = ()) -> None:
    """A branch of twelve trees: the seventh does more work, the tenth does not run."""
    before, after = sides or (work.before(), work.after())
    lines = [{"schema": 1, "kind": "nbbench-commits", "branch": "b"}]
    for place, name in enumerate(hashes):
        tree = f"{place + 1:040x}"[::-1]  # files are named after the first digits
        date = f"2023-11-{14 + place}T00:00:00Z"
        lines.append({"hash": name, "tree": tree, "date": date, "position": place + 1})
        one = before if place < 6 else after
        if place == 9:
            one = replace(one, error="NameError: n_steps", lines=())
        found = {one.workload: one}
        if place in (5, 6):
            found["sources-3969"] = replace(work.before(), workload="sources-3969")
        path = ledger_path(project.root / "results", tree, torch_version())
        write_ledgers(path, LedgerFile(tree, name, torch_version(), found))
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (project.root / "results" / "commits.jsonl").write_text(text)
    shutil.copy(ROOT / "results" / "workloads.jsonl", project.root / "results")


@pytest.fixture
def kept(project: Project) -> Project:
    keep(project)
    return project


@pytest.fixture
def timed(kept: Project) -> Project:
    """The same with times: 30 % slower at the seventh commit."""
    level = [0.050, 0.0502, 0.0499, 0.0501, 0.05, 0.0501]
    write_results(kept.root, {"bandwidth.Warm.time_run": level + [1.3 * v for v in level]})
    declared = kept.root / "results" / "benchmarks.json"
    content = json.loads(declared.read_text())
    content["bandwidth.Warm.time_run"] |= {
        "params": [["1024"], ["'float32'"]],
        "param_names": ["size", "dtype"],
    }
    declared.write_text(json.dumps(content))
    for path in (kept.root / "results" / "m").glob("*-env.json"):
        result = json.loads(path.read_text())
        value = result["results"]["bandwidth.Warm.time_run"][0]
        result["results"]["bandwidth.Warm.time_run"] = [value, [["1024"], ["'float32'"]], "1"]
        path.write_text(json.dumps(result))
    return kept


class TestExplain:
    def test_the_committed_ledgers_are_enough(self, kept: Project) -> None:
        found = kept.run("explain", HASHES[5][:8], HASHES[6][:8])
        assert found.exit_code == 0, found.stderr
        assert found.stdout.startswith(
            "00000006 → 00000007: bandwidth-1024-float32 moves 76.0 → 164.0 B/pixel"
        )
        assert "1 other workload on record: the same work" in found.stdout
        assert "lines are matched by function names (no subject is registered)" in found.stdout
        assert "time: not measured" in found.stdout
        assert not list((kept.root / "results").glob("*.sqlite*"))

    def test_json_has_everything(self, timed: Project) -> None:
        told = json.loads(timed.run("explain", HASHES[5], HASHES[6], *BENCH, "--json").stdout)
        assert told["schema"] == "nbbench.explain/2"
        assert told["lines_matched_by"] == "name"
        (diff,) = told["diffs"]
        total = sum(line["after"] - line["before"] for line in diff["lines"])
        assert total == pytest.approx(diff["bytes_after"] - diff["bytes_before"])
        assert diff["dtype_shifts"][0]["word"] == "widened"
        (share,) = told["timing"]
        assert share["after_s"] == pytest.approx(1.3 * 0.05)
        assert share["share"] == 1.0

    def test_equal_commits(self, kept: Project) -> None:
        same = kept.run("explain", HASHES[1], HASHES[2])
        assert "the work is the same, to the byte" in same.stdout
        assert "the same tree" in kept.run("explain", HASHES[1], HASHES[1]).stdout

    def test_an_event_is_its_two_commits(self, timed: Project) -> None:
        flags = json.loads(timed.run("regressions", "--json").stdout)["flags"]
        (event,) = {f["event"]["id"] for f in flags if f["event"]["hi_commit"] == HASHES[6]}
        told = json.loads(timed.run("explain", event, "--json").stdout)
        assert (told["base"]["hash"], told["head"]["hash"]) == (HASHES[5], HASHES[6])

    def test_one_commit_under_two_versions_of_torch(self, kept: Project) -> None:
        """What differs is torch's: the commit has one source, whose lines are the same lines."""
        installed, wider = torch_version(), replace(work.before(), ops=work.before().ops + 7)
        tree = f"{1:040x}"[::-1]
        found = {wider.workload: wider, "sources-3969": replace(wider, workload="sources-3969")}
        path = ledger_path(kept.root / "results", tree, "1.13.1")
        write_ledgers(path, LedgerFile(tree, HASHES[0], "1.13.1", found))
        told = json.loads(kept.run("explain", HASHES[0], "--torch", "1.13.1", installed, "--json").stdout)
        assert told["torch"] == ["1.13.1", installed] and told["base"] == told["head"]
        (diff,) = told["diffs"]
        assert diff["ops_before"] - diff["ops_after"] == 7 and told["lines_matched_by"] == "diff"
        said = told["sentence"]
        assert said.startswith(f"00000001 under torch 1.13.1 → {installed}: {WORKLOAD} moves")
        assert "what differs is torch's, nothing is the subject's" in said
        assert "1 workload of the suite not on record" in told["notes"][0]
        same = kept.run("explain", HASHES[0], "--torch", installed, installed)
        assert same.exit_code == 0 and "the work is the same, to the byte" in same.stdout
        assert "what differs" not in same.stdout
        none = kept.run("explain", HASHES[1], "--torch", "1.13.1", installed)
        assert none.exit_code == 4 and "no exact work of 00000002 under torch 1.13.1" in none.stderr
        assert "run the same command in this project where torch 1.13.1" in none.stderr
        for more in ((HASHES[1],), ("--hunks",)):
            wrong = kept.run("explain", HASHES[0], *more, "--torch", "1.13.1", installed)
            assert wrong.exit_code == 2 and "--torch compares one commit with itself" in wrong.stderr

    def test_markdown_and_files(self, kept: Project) -> None:
        page = kept.root / "page.md"
        printed = kept.run("explain", HASHES[5], HASHES[6], "--markdown").stdout
        assert "| `bandwidth-1024-float32` |" in printed
        text = kept.run("explain", HASHES[5], HASHES[6], "--markdown", str(page)).stdout
        assert page.read_text() == printed
        assert "| `" not in text

    def test_broken_and_missing_sides_are_inconclusive(self, kept: Project) -> None:
        broken = kept.run("explain", HASHES[8], HASHES[9], *BENCH)
        assert broken.exit_code == 4
        assert "fails at 0000000a: NameError: n_steps" in broken.stdout
        missing = kept.run("explain", HASHES[0], HASHES[6], "--bench", "sources-3969")
        assert missing.exit_code == 4
        assert "sources-3969 is not on record at 00000001" in missing.stdout

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("no-such-event",), "no event 'no-such-event'"),
            (("dead", HASHES[6]), "unknown commit 'dead'"),
            (("0000", HASHES[6]), "commits begin with '0000'"),
            (("-x", HASHES[6]), "No such option"),
            ((HASHES[5], HASHES[6], "--bench", "("), "not a regular expression"),
            ((HASHES[5], HASHES[6], "--bench", "nothing like it"), "no workload matches"),
            ((HASHES[5], HASHES[6], "--markdown", "no/such/folder.md"), "cannot write"),
        ],
    )
    def test_bad_input_is_one_sentence(self, kept: Project, arguments, words) -> None:
        found = kept.run("explain", *arguments)
        assert found.exit_code in (2, 4)
        assert words in found.stderr
        assert "Traceback" not in found.stderr

    def test_nothing_at_all(self, project: Project) -> None:
        found = project.run("explain", "a" * 8, "b" * 8)
        assert found.exit_code == 2
        assert "no subject is registered" in found.stderr


class TestLedger:
    def test_where_a_commits_bytes_go(self, kept: Project) -> None:
        found = kept.run("ledger", HASHES[0][:8], *BENCH)
        assert found.exit_code == 0, found.stderr
        assert "moves 76.00 B/pixel in 7 operations" in found.stdout
        assert "peak live: 40 MiB, at nanobrag_torch/utils/physics.py:9 sincg" in found.stdout
        assert "a perfect fusion would" in found.stdout

    @pytest.mark.parametrize("by", ["line", "function", "op", "dtype"])
    def test_every_way_adds_up_to_the_total(self, kept: Project, by: str) -> None:
        told = kept.run("ledger", HASHES[6], *BENCH, "--by", by, "--top", "2").stdout
        (total,) = [line for line in told.splitlines() if line.startswith("total")]
        assert total.split() == ["total", "11", "164.00", "100.0", "%"]

    def test_what_is_not_there_is_inconclusive(self, kept: Project) -> None:
        assert kept.run("ledger", HASHES[9], *BENCH).exit_code == 4
        assert kept.run("ledger", HASHES[0], "--bench", "tricubic").exit_code == 4

    def test_the_steps_of_a_range_with_their_commands(self, kept: Project) -> None:
        found = kept.run("ledger", "1-12", *BENCH)
        assert found.exit_code == 0, found.stderr
        rows = [line.split() for line in found.stdout.splitlines()]
        step, broken = (row for row in rows if row[1:2] in (["00000007"], ["0000000a"]))
        assert step[:9] == ["7", "00000007", "2023-11-20", WORKLOAD, "76.00", "164.00", "2.16×", "7", "11"]
        assert f"nbbench explain 00000006 00000007 --bench {WORKLOAD}" in " ".join(step)
        assert " ".join(broken) == f"10 0000000a 2023-11-23 {WORKLOAD} fails: NameError: n_steps"
        told = json.loads(kept.run("ledger", "1-12", *BENCH, "--json").stdout)
        first, broken = told["steps"]
        assert (first["base"], first["commit"]) == (HASHES[5], HASHES[6])
        assert broken["what"] == "NameError: n_steps"

    def test_the_first_commit_of_a_range_is_compared_with_what_precedes_it(self, kept: Project) -> None:
        """H7: a range that begins with the step still shows it."""
        shown = json.loads(kept.run("ledger", "7-8", *BENCH, "--json").stdout)
        assert shown["commits"] == 2
        assert [(step["base"], step["commit"]) for step in shown["steps"]] == [(HASHES[5], HASHES[6])]

    def test_every_row_is_reproduced_by_the_command_beside_it(self, kept: Project) -> None:
        (step, _) = json.loads(kept.run("ledger", "1-12", *BENCH, "--json").stdout)["steps"]
        told = json.loads(kept.run(*step["reproduce"].split()[1:], "--json").stdout)
        (diff,) = told["diffs"]
        assert {name: step[name] for name in diff} == diff
        assert (diff["ops_after"], diff["image"]) == (step["ops_after"], step["image"])

    def test_missing_ledgers_are_said_once_without_a_subject(self, kept: Project) -> None:
        found = kept.run("ledger", "1-12", "--bench", "sources-3969")
        assert found.stderr == "10 of 12 trees lack ledgers on record; a registered subject brings them\n"

    def test_options_of_a_single_commit(self, kept: Project) -> None:
        found = kept.run("ledger", "1-12", "--compiled")
        assert found.exit_code == 2
        assert "single commit" in found.stderr


def test_nothing_imports_torch(kept: Project) -> None:
    code = (
        "import sys; from nbbench.cli.app import run;"
        "done = [run([*a, '--root', sys.argv[1]]) for a in (sys.argv[2:4], sys.argv[4:7])];"
        "assert 'torch' not in sys.modules; sys.exit(max(done))"
    )
    arguments = ["ledger", HASHES[6], "explain", HASHES[5], HASHES[6]]
    done = subprocess.run(
        [sys.executable, "-c", code, str(kept.root), *arguments], capture_output=True, text=True
    )
    assert done.returncode in (0, 4), done.stderr


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The lines of a new count in the registry."""
    monkeypatch.setitem(metrics._BY_UNIT, "copies", (metrics.Better.LOWER, True, metrics.Role.WORK, 0.01))
    count = metrics.ledger_count("track_copies", "copies")
    monkeypatch.setitem(metrics.LEDGER_METRICS, "track_copies", count)
    yield
    metrics.unit_better.cache_clear()
    metrics._metric.cache_clear()


@pytest.mark.usefixtures("counted")
def test_what_was_counted_for_some_trees_only_fails_nowhere_else(project: Project) -> None:
    """The tenth tree does not run; the trees after it do, but nobody counted copies there."""
    keep(project, sides=(work.before(counts=(("track_copies", 5.0),)), work.before()))
    told = project.run("regressions", "--json")
    assert json.loads(told.stdout)["flags"] == [], told.stdout
    assert json.loads(told.stdout)["not_judged"] == []


PLAN = """
[tool.nbbench.plans.P]
stale_days = 100000
[[tool.nbbench.plans.P.criteria]]
id = "copies"
title = "copies"
value = "ledger.track_copies(bandwidth-1024-float32)"
ours = 10
"""


@pytest.mark.usefixtures("counted")
def test_what_a_probe_counts_is_a_metric_by_its_line_in_the_registry(project: Project) -> None:
    """Regressions, the gate, the page and a plan show it."""
    few, many = (work.before(counts=(("track_copies", n),)) for n in (5.0, 50.0))
    keep(project, sides=(few, many))
    (flag,) = json.loads(project.run("regressions", "--json").stdout)["flags"]
    assert (flag["event"]["hi_commit"], flag["event"]["cause"]) == (HASHES[6], "work")
    (change,) = flag["event"]["changes"]
    assert (change["key"]["benchmark"], change["before"], change["after"]) == (
        "ledger.track_copies",
        5.0,
        50.0,
    )
    project.run("publish", "--page-only")
    assert "ledger.track_copies" in (project.root / "html" / "index.html").read_text()
    (project.root / "pyproject.toml").write_text(PLAN)
    shown = project.run("plan", "P")
    assert shown.exit_code == 3 and "misses" in shown.stdout and " 50 " in shown.stdout
    *_, verdict = workload_verdicts(diff_ledgers(few, many))
    assert (verdict.outcome, verdict.series) == (Outcome.REGRESSED, f"copies {few.workload}")
    assert evidence_text(verdict.evidence) == "5 copies → 50 copies"
    assert workload_verdicts(diff_ledgers(many, few))[-1].outcome is Outcome.IMPROVED
    assert workload_verdicts(diff_ledgers(few, few))[-1].outcome is Outcome.UNCHANGED
