"""Exact facts of the embedded history: ledgers, `explain`, `gate` and their exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from e2e_project import planted
from planted_history import plant

from nbbench.subject.subjects.nanobragg.demo import PLANTED

pytestmark = pytest.mark.e2e

TIMED = ("--bench", r"Warm\.time_run\(512, 'float32'\)")

# (position among the 14 measured commits, workload): bytes per pixel, operations; before and after, as torch
# 2.13 counts them. Another torch may count other operations, so only how much they grow is asserted.
STEPS = {
    (2, "sources-225"): ((568.36, 4280), (524.25, 42)),
    (3, "tricubic-100-float32"): ((1952.0, 8800), (2668.58, 113)),
    (5, "bandwidth-512-float32"): ((781.03, 211), (1033.03, 211)),
    (5, "bandwidth-512-float64"): ((1553.03, 211), (1553.03, 211)),  # one element of pi
    (5, "multi_source-3"): ((1584.73, 229), (2340.77, 229)),
    (8, "bandwidth-512-float32"): ((1033.03, 211), (781.03, 211)),
    (8, "bandwidth-512-float64"): ((1553.03, 211), (1553.03, 211)),
    (8, "multi_source-3"): ((2340.77, 229), (1584.73, 229)),
    (10, "bandwidth-512-float32"): ((781.03, 211), (901.03, 215)),
    (10, "bandwidth-512-float64"): ((1553.03, 211), (1793.03, 215)),
    (10, "multi_source-3"): ((1584.73, 229), (1800.74, 234)),
    (11, "bandwidth-512-float32"): ((901.03, 215), (973.03, 229)),
    (11, "bandwidth-512-float64"): ((1793.03, 215), (1937.03, 229)),
    (11, "multi_source-3"): ((1800.74, 234), (2016.74, 255)),
    (13, "multi_source-3"): ((2016.74, 255), (2784.74, 327)),
    (14, "bandwidth-512-float32"): ((973.03, 229), (853.03, 225)),
    (14, "bandwidth-512-float64"): ((1937.03, 229), (1697.03, 225)),
    (14, "multi_source-3"): ((2784.74, 327), (2568.73, 322)),
}


def _growth(step: tuple[tuple[float, int], tuple[float, int]]) -> tuple[float, float]:
    (bytes_before, ops_before), (bytes_after, ops_after) = step
    return bytes_after / bytes_before, ops_after / ops_before


SPAN, WORKLOADS = range(4, 12), "bandwidth-512-float32|multi_source-3"
ASKED = ("ledger", f"{SPAN[0]}-{SPAN[-1]}", "--bench", WORKLOADS)


@pytest.fixture(scope="module")
def ledgers(project):
    """The trees of the history between two losses recorded, by one warm server."""
    return project.told(*ASKED)


def _has(ledgers: dict, steps: dict) -> None:
    found = {
        (s["position"], s["workload"]): (
            (s["bytes_before"], s["ops_before"]),
            (s["bytes_after"], s["ops_after"]),
        )
        for s in ledgers["steps"]
        if "bytes_before" in s
    }
    assert found.keys() == steps.keys()
    for place, planted_step in steps.items():
        for now, then in zip(_growth(found[place]), _growth(planted_step), strict=True):
            assert now == pytest.approx(then, rel=0.1), place


class TestLedger:
    def test_every_planted_step_and_no_other(self, ledgers):
        assert ledgers["commits"] == len(SPAN)
        _has(ledgers, {key: one for key, one in STEPS.items() if key[0] in SPAN and key[1] in WORKLOADS})

    @pytest.mark.thorough
    def test_every_step_of_the_whole_history(self, new_project):
        workloads = r"bandwidth-512-float(32|64)|multi_source-3|sources-225|tricubic-100-float32"
        whole = new_project("whole", smaller=(512, 2048)).told("ledger", "--bench", workloads)
        assert whole["commits"] == 14
        _has(whole, STEPS)

    def test_broken_commit(self, ledgers):
        broken = {s["workload"]: s["what"] for s in ledgers["steps"] if "bytes_before" not in s}
        names = WORKLOADS.split("|")
        assert broken == dict.fromkeys(names, "NameError: name 'n_steps' is not defined")
        assert {s["position"] for s in ledgers["steps"] if "bytes_before" not in s} == {6}

    def test_images(self, ledgers):
        """Only the fix of the polarization changes the image."""
        changed = {s["position"] for s in ledgers["steps"] if s.get("image") == "different"}
        assert changed == {11}

    def test_the_upcast_and_nothing_else_is_wider_than_asked(self, ledgers):
        wide = {s["position"] for s in ledgers["steps"] if s.get("upcast_after", 0) > 1}
        assert wide == {5}

    def test_exactly_the_planted_regressions_are_flagged_with_their_causes(self, project, ledgers):
        """A3, by exact work; test_e2e_demo.py has the whole history."""
        found = {f["event"]["hi_commit"]: f["event"] for f in project.told("regressions")["flags"]}
        within = {one.hash: one.regression for one in PLANTED[4:13] if one.regression}
        assert {commit: event["cause"] for commit, event in found.items()} == within
        assert len(within) == 3 and all(one["lo_commit"] == one["hi_commit"] for one in found.values())

    def test_recorded_once(self, project, ledgers):
        folder = project.root / "results" / "ledger"
        before = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.json.gz")}
        assert len(before) == len(SPAN) + 1  # the first is compared with the one before it
        assert project.told(*ASKED) == ledgers
        assert {p.name: p.stat().st_mtime_ns for p in folder.glob("*.json.gz")} == before

    def test_one_commit_by_function(self, project, ledgers):
        told = project.run(
            *("nbbench", "ledger", planted(7), "--bench", "bandwidth-512-float32", "--by", "function")
        ).stdout
        assert re.search(r"[\d,.]+ B/pixel", told) and "sincg" in told


class TestExplain:
    def test_names_the_file_and_the_function(self, project, ledgers):
        done = project.run("nbbench", "explain", planted(5), planted(7), "--bench", "bandwidth-512-float32")
        before, after = re.search(r"([\d,.]+) → ([\d,.]+) B/pixel", done.stdout).groups()
        assert float(after.replace(",", "")) / float(before.replace(",", "")) == pytest.approx(1.32, rel=0.1)
        first = next(line for line in done.stdout.splitlines() if line.startswith("sincg "))
        assert first.split()[:3] == ["sincg", "utils/physics.py:24", ":21"]
        assert "values widened from float32 to float64, first of all in sincg" in done.stdout

    def test_json_lines_add_up(self, project, ledgers):
        told = project.told("explain", planted(11), planted(12), "--bench", "bandwidth-512-float32")
        (diff,) = told["diffs"]
        assert sum(line["after"] - line["before"] for line in diff["lines"]) == pytest.approx(
            diff["bytes_after"] - diff["bytes_before"], abs=1e-6
        )
        assert any("simulator.py" in line["where"] for line in diff["lines"])
        assert diff["image"] == "same bits"

    def test_planted_causes_are_found_on_their_lines(self, project, ledgers):
        """The upcast (commit 7) and the trace (12), at the lines that their patches touch."""
        bench = ("--bench", "bandwidth-512-float32")
        wide = project.told("explain", planted(5), planted(7), *bench)["diffs"][0]
        shifts = [(s["word"], s["function"]) for s in wide["dtype_shifts"]]
        assert shifts == [("widened", "sincg"), ("widened", "Simulator._lattice_intensity")]
        assert sum(s["delta"] for s in wide["dtype_shifts"]) == pytest.approx(
            236.0, rel=0.1
        )  # comparisons stay bool
        trace = project.told("explain", planted(11), planted(12), *bench)["diffs"][0]
        places = {line["where"] for line in trace["lines"] if line["after"] - line["before"] > 1}
        assert places == {f"nanobrag_torch/simulator.py:{line}" for line in (131, 199, 200)}
        assert trace["dtype_shifts"] == []
        assert all(line["was"] == "" for line in trace["lines"])

    def test_neutral_commit(self, project, ledgers):
        done = project.run("nbbench", "explain", planted(10), planted(11), "--bench", "bandwidth-512-float32")
        assert "the work is the same, to the byte" in done.stdout

    def test_broken_side(self, project, ledgers):
        bench = ("--bench", "bandwidth-512-float32")
        done = project.run("nbbench", "explain", planted(7), planted(8), *bench, expect=4)
        assert "nothing could be compared" in done.stdout and "n_steps" in done.stdout

    def test_unknown(self, project):
        for ends in (("nope", planted(8)), ("no-such-event",)):
            done = project.run("nbbench", "explain", *ends, expect=2)
            assert "Traceback" not in done.stderr


class TestGate:
    def test_equal_trees_pass_without_measuring(self, project):
        before = {p for p in (project.root / "results").rglob("*") if p.is_file()}
        told = project.told("gate", planted(17), planted(18))
        assert told["outcome"] == "unchanged"
        assert {p for p in (project.root / "results").rglob("*") if p.is_file()} == before

    @pytest.mark.thorough
    def test_tip_against_the_commit_before_it_by_default(self, project):
        told = project.told("gate", "--policy", "ledger")
        assert [told["base"], told["head"]] == [planted(16), planted(18)]
        assert told["outcome"] != "regressed"  # the trace is gone

    def test_more_work_is_a_regression(self, project, ledgers):
        done = project.run("nbbench", "gate", planted(5), planted(7), expect=3)
        assert "time was not measured" in done.stdout
        assert "REGRESSED" in done.stdout and "physics.py" in done.stdout
        said = " ".join(done.stdout.split())
        assert "peak memory bandwidth-512-float32: bandwidth-512-float32: peak memory" in said
        assert "reached at nanobrag_torch/utils/physics.py:24 sincg, before at" in said

    def test_less_work_is_none(self, project, ledgers):
        told = project.told("gate", planted(9), planted(10), "--policy", "ledger")
        assert told["outcome"] in ("improved", "unchanged")

    def test_same_work(self, project, ledgers):
        assert project.told("gate", planted(10), planted(11), "--policy", "ledger")["outcome"] == "unchanged"

    def test_unknown_commit(self, project):
        for ends in (("nope", planted(5)), (planted(5), "nope"), ("--policy=both", "-x", planted(5))):
            done = project.run("nbbench", "gate", *ends, expect=2)
            assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("policy", ["ledger", "both"])
    def test_what_ran_at_base_and_cannot_run_at_head_is_a_regression(self, project, ledgers, policy):
        """C2: both policies, at once."""
        done = project.run("nbbench", "gate", planted(7), planted(8), "--policy", policy, expect=3)
        assert "runs at base but not at head: NameError: name 'n_steps' is not defined" in done.stdout

    def test_a_base_that_cannot_run_is_counted_and_never_a_pass(self, project, ledgers):
        """C2: what could not be compared is named in every document."""
        document = project.told("gate", planted(8), planted(9), "--policy", "ledger", expect=4)
        assert document["outcome"] == "inconclusive"
        missing = [one for one in document["not_judged"] if one["reason"] != "skipped"]
        broken = {one["series"]: one["reason"] for one in missing}
        assert broken["ledger bandwidth-512-float32"] == "failing"
        total = len(document["not_judged"]) + len(document["verdicts"])
        assert document["sentence"].startswith(f"{len(broken)} of {total} series could not be judged")
        assert "NameError" in document["sentence"]

    def test_another_image_is_not_comparable(self, project, ledgers):
        """C4, H2: the fix of the polarization does more work; its undoing does less and is no gain."""
        ends = planted(13), planted(12)
        done = project.run("nbbench", "gate", *ends, "--policy", "ledger", expect=4)
        assert done.stdout.startswith("NOT COMPARABLE: ") and "--accept-image" in done.stdout
        document = project.told("gate", *ends, "--policy", "ledger", "--accept-image")
        assert document["outcome"] == "improved"
        assert {row["image"] for row in document["ledger"]} >= {"different"}

    def test_time_is_measured_where_the_work_is_equal(self, project, ledgers):
        """Any verdict may come out of so few seconds; what counts is that the series is timed and named."""
        arguments = (planted(10), planted(11), *TIMED, "--budget", "20s")
        document = json.loads(project.run("nbbench", "gate", *arguments, "--json", expect=None).stdout)
        series = {one["series"] for one in (*document["verdicts"], *document["not_judged"])}
        assert any("Warm" in name for name in series)

    def test_a_budget_that_ends_too_early_is_no_pass(self, project, ledgers):
        """H13: the exact work is equal and on record, and nothing was timed."""
        asked = (*TIMED, "--budget", "0.01s", "--seed", "7")
        document = project.told("gate", planted(10), planted(11), *asked, expect=4)
        assert document["outcome"] == "inconclusive"
        assert (document["machine"], document["seed"]) == ("e2e", 7)
        reasons = [one["reason"] for one in document["not_judged"]]
        assert reasons.count("not measured") == 1 and set(reasons) <= {"not measured", "skipped"}

    def test_wrong_options(self, project):
        ends = (planted(10), planted(11))
        for options in (("--budget", "soon"), ("--budget", "0s"), ("--floor", "many"), ("--policy", "x")):
            project.run("nbbench", "gate", *ends, *options, expect=2)
        project.run("nbbench", "gate", *ends, "--policy", "time", "--bench", "(", expect=2)


@pytest.fixture(scope="module")
def flagged(project, ledgers):
    """The upcast of commit 7 and the trace of commit 12 block, and are acknowledged."""
    for position, end in ((7, ("--expires", "30")), (12, ())):
        accept = ("acknowledged", "-m", "needed for now", "--by", "Ada", *end)
        flags = project.told("regressions")["flags"]
        for name in (f["event"]["id"] for f in flags if f["event"]["hi_commit"] == planted(position)):
            project.run("nbbench", "flag", name, *accept)
    return project


class TestAcknowledged:
    """Losses that somebody accepted (`nbbench flag … acknowledged`), by exact work alone."""

    def test_it_does_not_block(self, flagged):
        told = flagged.told("gate", planted(5), planted(7), "--policy", "ledger")
        assert told["outcome"] == "acknowledged"
        accepted = [v for v in told["verdicts"] if v["outcome"] == "acknowledged"]
        assert "ledger bandwidth-512-float32" in {v["series"] for v in accepted}
        assert all("by Ada" in v["sentence"] for v in accepted)

    @pytest.mark.thorough
    def test_time_is_measured_against_what_was_accepted(self, flagged):
        """C3: any verdict may come out of so few seconds, but a pass without a look at the time."""
        asked = (*TIMED, "--budget", "25s", "--json")
        done = flagged.run("nbbench", "gate", planted(5), planted(7), *asked, expect=None)
        document = json.loads(done.stdout)
        assert not any("time was not measured" in note for note in document["notes"])
        timed = [v for v in document["verdicts"] if "Warm" in v["series"]]
        assert timed or document["not_judged"][0]["reason"] == "not measured"
        assert all("beyond the accepted" in v["sentence"] for v in timed if v["effect"] is not None)

    def test_it_survives_a_deleted_database(self, flagged):
        (flagged.root / "results" / "nbbench.sqlite").unlink()
        told = flagged.told("gate", planted(5), planted(7), "--policy", "ledger")
        assert told["outcome"] == "acknowledged"

    @pytest.mark.thorough
    def test_a_larger_loss_blocks(self, flagged):
        """Commit 13 adds to what was accepted at commit 12."""
        told = flagged.told("gate", planted(11), planted(13), "--policy", "ledger", expect=3)
        worse = {v["series"] for v in told["verdicts"] if v["outcome"] == "regressed"}
        assert "ledger bandwidth-512-float32" in worse

    def test_it_ends(self, flagged):
        folder = flagged.root / "results" / "decisions"
        for path in list(folder.iterdir()):
            if (decision := json.loads(path.read_text()))["expires"]:
                path.write_text(json.dumps(decision | {"expires": "2020-01-01T00:00:00+00:00"}))
        told = flagged.told("gate", planted(5), planted(7), "--policy", "ledger", expect=3)
        assert told["outcome"] == "regressed"


FREED = "for _ in range(100): result[0] * 2.0"
KEPT = "kept = [result[0] * 2.0 for _ in range(100)]"
LINES = "doubled = result[0] * 2.0\n    shifted = doubled + 1.0\n    result[0] - shifted"
HEAVY = "\nHELD = b'x' * 200_000_000\n"


@pytest.fixture(scope="class")
def branch(new_project, tmp_path_factory):
    """A project of its own, and commits by name upon the embedded subject."""
    history = plant(tmp_path_factory.mktemp("history") / "subject")
    made = {"good": history.commit("good")}
    made["words"] = history.commit("words")
    for name, body in (("freed", FREED), ("kept", KEPT), ("twice", "result[0].mul_(2.0)")):
        made[name] = history.commit(name, body)
    made["thrice"] = history.commit("thrice", "result[0].mul_(3.0)")
    made["lines"] = history.commit("lines", LINES)
    module = history.folder / "src/nanobrag_torch/_planted.py"
    module.write_text(module.read_text() + HEAVY)
    made["heavy"] = history.commit("heavy")
    judged = 'gate_workloads = "sources-3969"'
    project = new_project("planted", register=False, smaller=(512, 2048), profile=judged)
    project.run("nbbench", "subject", "use", str(history.folder))
    project.environment["PYTHONPATH"] = str(Path(__file__).parent)
    return project, made


class TestPlanted:
    """Exact work of source generation, or differences that no machine hides."""

    def test_words_alone_pass_at_once(self, branch):
        """H13: the same bytecode; nothing is measured or recorded."""
        project, commits = branch
        document = project.told("gate", commits["good"], commits["words"])
        assert document["outcome"] == "unchanged" and not document["verdicts"]
        assert "only comments, docstrings or formatting of 1 file changed" in document["sentence"]
        assert not list((project.root / "results").glob("ledger/*"))

    @pytest.mark.thorough
    def test_peak_memory_at_equal_traffic(self, branch):
        """H3: exit 3, and the line at the peak before and after."""
        project, commits = branch
        ends = commits["freed"], commits["kept"], "--policy", "ledger"
        document = project.told("gate", *ends, expect=3)
        worse = [one for one in document["verdicts"] if one["outcome"] == "regressed"]
        assert [one["series"] for one in worse] == ["peak memory sources-3969"]
        assert worse[0]["unit"] == "B (exact)" and worse[0]["effect"] > 0.4
        assert "nanobrag_torch/_planted.py:14 " in worse[0]["sentence"]
        assert "reached at nanobrag_torch/" in worse[0]["sentence"]

    @pytest.mark.thorough
    def test_another_image_for_the_same_work(self, branch):
        """C4, H2: exit 4 in every format, until somebody says that it is right."""
        project, commits = branch
        ends = commits["twice"], commits["thrice"], "--policy", "ledger"
        document = project.told("gate", *ends, "--junit", "gate.xml", "--markdown", "gate.md", expect=4)
        assert document["outcome"] == "not comparable"
        other = {one["series"] for one in document["verdicts"] if one["outcome"] == "not comparable"}
        assert other >= {"ledger sources-3969", "peak memory sources-3969"}
        assert all(name.endswith(" sources-3969") for name in other)
        assert "<skipped" in (project.root / "gate.xml").read_text()
        assert "NOT COMPARABLE" in (project.root / "gate.md").read_text()
        accepted = project.told("gate", *ends, "--accept-image")
        assert accepted["outcome"] == "unchanged"
        assert any("accepted by --accept-image" in note for note in accepted["notes"])

    def test_all_lines_that_pay_are_named(self, branch):
        """H11: three lines of one change."""
        project, commits = branch
        document = project.told("gate", commits["thrice"], commits["lines"], "--policy", "ledger", expect=3)
        said = next(v["sentence"] for v in document["verdicts"] if v["series"] == "ledger sources-3969")
        assert [f"_planted.py:{line} " in said for line in (14, 15, 16)] == [True] * 3

    @pytest.mark.thorough
    def test_resident_memory_is_judged_when_asked(self, branch):
        """H3: `--bench PeakMemory`, statistically: 200 MB more in every process."""
        project, commits = branch
        asked = ("--policy", "time", "--bench", r"PeakMemory\.peakmem_run\(512, 'float32'\)")
        ends = commits["lines"], commits["heavy"]
        done = project.run("hurried", "gate", *ends, *asked, "--json", expect=3, NBBENCH_ALPHA="0.2")
        [one] = json.loads(done.stdout)["verdicts"]
        assert (one["outcome"], one["unit"]) == ("regressed", "bytes")
        assert one["head_value"] - one["base_value"] > 1e8

    def test_what_skips_itself_on_both_sides_is_counted(self, branch):
        """C7: frames above NBBENCH_MAX_FRAME_MB."""
        project, commits = branch
        asked = ("--policy", "time", "--bench", r"Warm\.time_run\(2048, 'float(32|64)'\)", "--budget", "60s")
        document = project.told("gate", commits["good"], commits["freed"], *asked, expect=4)
        assert {one["reason"] for one in document["not_judged"]} == {"skipped"}
        assert "were skipped" in document["sentence"]
