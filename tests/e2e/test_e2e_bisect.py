"""`nbbench bisect` on a small history: exact work first, broken commits, interrupts, bad input.

What is planted is large enough that no machine hides it; which comparisons were made is counted from the
JSON document and from what was said.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from e2e_project import Project, wait_until
from planted_history import BROKEN, LITTLE_WORK, SERIES, SLEEP, WORK, plant

pytestmark = pytest.mark.e2e

NAME = "vectorisation.Sources.time_generate"


@pytest.fixture(scope="module")
def commits(tmp_path_factory):
    """Hashes by title; "work" and "sleep" are the culprits of two branches that start at "good"."""
    history = plant(tmp_path_factory.mktemp("history") / "subject")
    made = {"folder": str(history.folder), "good": history.commit("good")}
    made["broken"] = history.commit("broken", BROKEN)
    made["little"] = history.commit("little", LITTLE_WORK)
    made["documents"] = history.document("documents")
    made["work"] = history.commit("work", WORK)
    made["bad"] = history.commit("bad")
    history.git("checkout", "--quiet", "-b", "asleep", made["broken"])
    made["sleep"] = history.commit("sleep", SLEEP)
    made["awake"] = history.commit("awake", "pass")
    return made


@pytest.fixture(scope="module")
def bench(new_project, commits) -> Project:
    """A project that measures them, and finds `hurried`."""
    project = new_project("bisect", register=False, smaller=(512,))
    project.run("nbbench", "subject", "use", commits["folder"])
    project.environment["PYTHONPATH"] = str(Path(__file__).parent)
    return project


def search(project: Project, good: str, bad: str, *options: str, expect: int = 0):
    return project.run("hurried", "bisect", good, bad, "--series", SERIES, *options, expect=expect)


class TestByWork:
    """Four commits after the good one, three in the measured path; the last does ten times the work."""

    @pytest.fixture(scope="class")
    @classmethod
    def story(cls, bench, commits):
        """Interrupted while work is recorded, then left alone."""
        ends = commits["good"], commits["work"]
        ledgers = bench.root / "results" / "ledger"

        def recorded():
            return {path.name: path.stat().st_mtime_ns for path in ledgers.glob("*.json.gz")}

        process = bench.start("hurried", "bisect", *ends, "--series", SERIES)
        try:
            wait_until(lambda: process.poll() is not None or len(recorded()) >= 2)
            assert process.poll() is None, process.stdout.read()
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate()
        finally:
            process.kill()
        wait_until(lambda: bench.processes() == [])
        kept = recorded()
        done = search(bench, *ends, "--json")
        assert kept.items() <= recorded().items()  # nothing was recorded again
        return {"code": process.returncode, "told": told, "kept": kept, "known": recorded(), "done": done}

    def test_an_interrupt(self, story):
        told = story["told"]
        assert story["code"] == 130 and told.endswith("run the same command again to resume\n"), told
        assert "Traceback" not in told and 2 <= len(story["kept"]) <= len(story["known"]) == 4

    def test_the_culprit_is_named_by_its_work(self, story, commits):
        """Good and bad are compared; what the work does not explain is asked beside its step."""
        found = json.loads(story["done"].stdout)
        assert (found["schema"], found["series"]) == ("nbbench.bisect/1", NAME)
        assert found["stopped"] in ("located", "explained")
        assert [c["hash"] for c in found["culprits"]] == [commits["work"]]
        ends, *beside = found["comparisons"]
        assert (ends["commit"], ends["mark"]) == (commits["work"], "bad")
        assert {one["commit"] for one in beside} <= {commits["little"]}
        assert f"grew at {commits['work'][:8]} (bytes " in found["work"]
        assert f"{NAME}: {commits['good'][:8]} and 3 after it" in story["done"].stderr

    def test_the_ledger_knows_every_step(self, story, commits):
        found = json.loads(story["done"].stdout)
        assert set(found["steps_of_work"]) == {commits["little"], commits["work"]}
        assert found["steps_of_work"][commits["little"]] < found["effect"] / 2  # no suspect

    @pytest.mark.thorough
    def test_the_answer_says_how_to_see_more(self, bench, story, commits):
        done = search(bench, commits["good"], commits["work"])
        assert "exact work [" not in done.stderr
        work, little = commits["work"][:8], commits["little"][:8]
        sentence, culprit, *more = done.stdout.splitlines()
        assert sentence.startswith(f"{work} made {NAME} slower (")
        assert culprit.startswith(f"  {work} 2026-01-05 work  exact work: bytes ")
        assert more == [
            f"  nbbench explain {little} {work}",
            rf"  nbbench gate --policy time --bench 'vectorisation\.Sources\.time_generate' {little} {work}",
        ]

    @pytest.mark.thorough
    def test_exact_work_answers_where_the_budget_is_too_short_for_times(self, bench, story, commits):
        """H12: the ledgers know; whether any pair of processes fits into it does not matter."""
        ends = commits["good"], commits["work"], "--budget", "20s"
        found = json.loads(search(bench, *ends, "--json").stdout)
        assert [c["hash"] for c in found["culprits"]] == [commits["work"]]
        assert found["stopped"] in ("work", "located", "explained") and "grew at" in found["sentence"]


class TestByTime:
    """A sleep is in no ledger."""

    @pytest.mark.thorough
    def test_a_range_where_the_commit_between_cannot_run(self, bench, commits):
        told = json.loads(search(bench, commits["good"], commits["sleep"], "--json", expect=4).stdout)
        assert told["stopped"] == "range" and not told["steps_of_work"]
        assert [c["hash"] for c in told["culprits"]] == [commits["broken"], commits["sleep"]]
        _, only = told["comparisons"]
        assert (only["commit"], only["mark"]) == (commits["broken"], "broken")
        broken = commits["broken"][:8]
        assert only["sentence"] == f"{broken} cannot run it: NameError: n_sources is not defined"

    @pytest.mark.thorough
    def test_good_was_slow_already(self, bench, commits):
        done = search(bench, commits["sleep"], commits["awake"])
        words = f"{commits['awake'][:8]} is not slower than {commits['sleep'][:8]}: change ÷"
        assert done.stdout.startswith(words)  # twice as fast at least, on the busiest machine
        assert "GOOD may be slow already" in done.stdout


class TestRefused:
    """One sentence, a hint, exit 2, and nothing measured."""

    @pytest.mark.parametrize(
        ("good", "bad", "options", "words"),
        [
            ("nope", "bad", (), "unknown commit 'nope'"),
            ("good", "--all", (), "no such option"),
            ("bad", "good", (), "is not an ancestor of"),
            ("bad", "awake", (), "is not an ancestor of"),
            ("good", "good", (), "have the same source tree: nothing to search"),
            ("little", "documents", (), "have the same source tree: nothing to search"),
            ("good", "bad", ("--series", "("), "--series is not a regular expression"),
            pytest.param(
                *("good", "bad", ("--series", "no such"), "no benchmark matches 'no such'"),
                marks=pytest.mark.thorough,
            ),
            ("good", "bad", ("--budget", "soon"), "from --budget is not a time"),
            ("good", "bad", ("--floor", "-1"), "must lie between 0 and 1"),
        ],
    )
    def test_bad_input(self, bench, commits, good, bad, options, words):
        ends = commits.get(good, good), commits.get(bad, bad)
        done = bench.run("nbbench", "bisect", *ends, *options, expect=2)
        assert done.stdout == "" and words.lower() in done.stderr.lower() and "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 4, done.stderr
