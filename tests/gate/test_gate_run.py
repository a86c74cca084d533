"""What a gate measures and in which order, with everything that measures given."""

from __future__ import annotations

import math
import os
import re
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from gate_facts import BASE, HEAD
from history_samples import ledger

from nbbench.config import Settings
from nbbench.gate import exact, refused
from nbbench.gate import run as rooms
from nbbench.gate.exact import ExactWork, exact_work
from nbbench.gate.judge import EXIT_BY_OUTCOME
from nbbench.host import IMPORT_WORKLOAD, PYTHON, HostWork
from nbbench.ledger import Roof
from nbbench.measure.pair import Pair, Sample
from nbbench.measure.paired import GateSeries
from nbbench.model import NotJudgedReason, Outcome
from nbbench.record.side_files import KeptWork
from nbbench.report.gate_sentences import report_sentence
from nbbench.subject.hunks import diff_trees
from nbbench.verdicts import GateReport
from nbbench.work.ledger_diff import diff_ledgers
from tests.torture.tiny import git

COLD, RATE = "cold_start.timeraw_import", "suite.track_rate"
SERIES = (
    GateSeries("suite.time_run", None, "suite.time_run", 60.0),
    GateSeries(COLD, None, COLD, 60.0, sliced=False, cold=True),
    GateSeries(RATE, None, RATE, 60.0, kind="track", unit="frames/s", sliced=False),
)


class Runner:
    """Answers each pair by what is given for its series, for ever."""

    server, ends = None, "a b"
    left_out: tuple[str, ...] = ()

    def __init__(self, pairs: dict[str, Pair]) -> None:
        self.pairs, self.rounds = pairs, 0

    def discover(self, pattern: str) -> list[GateSeries]:
        return [one for one in SERIES if one.label in self.pairs and re.search(pattern, one.label)]

    def measure(self, series):
        self.rounds += 1
        yield from ((one, self.pairs[one.label]) for one in series)

    def renew(self) -> None:
        """Nothing lives longer than a pair here."""


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run a gate on this exact work and these pairs."""

    def given(policy: str, work: ExactWork, pairs: dict[str, Pair], bench: str = ".") -> GateReport:
        @contextmanager
        def paired_runner(*arguments):
            yield Runner(pairs)

        quiet = {
            "open_subject": lambda settings: SimpleNamespace(git_dir=tmp_path),
            "only_words_changed": lambda *trees: 0,
            "measuring": lambda folder: nullcontext(),
            "PairedRunner": paired_runner,
            "exact_work": lambda *arguments: replace(work, orders=(), orders_equal=()),
            "with_orders": lambda *arguments: work,
            "read_decisions": lambda folder: [],
            "load_profile": lambda settings: SimpleNamespace(gate_workloads="."),
            "machine_name": lambda settings: "box",
            "known_noise": lambda settings, now: ({}, None),
        }
        for name, function in quiet.items():
            monkeypatch.setattr(rooms, name, function)
        asked = rooms.Asked(BASE, HEAD, bench, policy)
        return rooms.run_gate(Settings(root=tmp_path, budget_s=600.0), asked, lambda text: None)

    return given


def pair(log_ratio: float) -> Pair:
    return Pair(Sample(1.0), Sample(math.exp(log_ratio)), log_ratio)


SKIPS = Pair(Sample(None, "NotImplementedError", True), Sample(None, "NotImplementedError", True))
EQUAL = ExactWork((diff_ledgers(ledger(), ledger()),))


def test_a_time_in_which_the_work_cannot_be_done_is_no_gain(gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that pairs timed comes to the check, with the work of its workload, and the exit code is 4."""
    work = replace(EQUAL, diffs=(diff_ledgers(big := ledger(per_pixel=1e9), big),))  # 1 TB
    roof = Roof(8e9, 8e9, 9e9, 9e9, 2**26, 2**25, threads=1)
    monkeypatch.setattr(rooms, "workload_of", lambda key: big.workload)
    monkeypatch.setattr(refused, "open_tree", lambda *given, **more: {})
    monkeypatch.setattr(refused, "measure_roof", lambda *given: roof)
    monkeypatch.setattr(refused, "usable_cores", lambda: 1)
    fast = Pair(Sample(100.0), Sample(1.0), -math.log(100.0))  # 10 GB/s, 1 TB/s
    report = gate("both", work, {"suite.time_run": fast})
    assert report.outcome is Outcome.INCONCLUSIVE and EXIT_BY_OUTCOME[report.outcome] == 4
    assert "head would move 1 TB/s" in report_sentence(report)
    half = Pair(Sample(100.0), Sample(50.0), -math.log(2.0))
    assert gate("both", work, {"suite.time_run": half}).outcome is Outcome.IMPROVED


@pytest.mark.parametrize("policy", ["both", "work", "time"])
@pytest.mark.parametrize("pairs", [{}, {"suite.time_run": SKIPS}], ids=["nothing", "skips"])
def test_nothing_judged_is_never_a_pass(gate, policy: str, pairs: dict[str, Pair]) -> None:
    report = gate(policy, ExactWork(), pairs)
    assert report.outcome is Outcome.INCONCLUSIVE
    assert EXIT_BY_OUTCOME[report.outcome] == 4


@pytest.mark.parametrize(("policy", "count"), [("work", 4), ("time", 1), ("both", 0)])
def test_what_a_policy_does_not_judge_is_listed(gate, policy: str, count: int) -> None:
    """The exit code speaks of what was judged."""
    report = gate(policy, EQUAL, {"suite.time_run": pair(0.0)})
    assert report.outcome is Outcome.UNCHANGED
    assert [one.reason for one in report.not_judged] == [NotJudgedReason.SKIPPED] * count
    if policy == "work":
        phases = [one.series for one in report.not_judged]
        assert phases == [f"time of {phase}" for phase in ("import", "construct", "first run", "warm run")]


@pytest.mark.parametrize(("head", "grows"), [({}, ["growth of images"]), ({"bytes": 10**9}, [])])
def test_growth_is_looked_at_where_nothing_else_decides(gate, head, grows) -> None:
    """What is left out is counted."""
    work = ExactWork((diff_ledgers(ledger(), replace(ledger(), **head)),), orders_equal=("images",))
    report = gate("work", work, {})
    assert [one.series for one in report.verdicts if "growth" in one.series] == grows
    left = [one.detail for one in report.not_judged if one.series == "growth"]
    assert left == ([] if grows else ["other exact work decides"])


def test_a_suite_without_workloads_says_so(monkeypatch, tmp_path, gate) -> None:
    monkeypatch.setattr(exact, "matching_workloads", lambda *asked: [])
    work = exact_work(Settings(root=tmp_path), BASE, HEAD, re.compile("."), None, lambda text: None)
    report = gate("work", work, {})
    assert EXIT_BY_OUTCOME[report.outcome] == 4
    said = "exact work: this suite declares no workloads (benchmarks/workloads.py)"
    assert report_sentence(report) == f"nothing was judged: all of 5 series were skipped; {said}"
    assert gate("both", work, {"suite.time_run": pair(0.0)}).outcome is Outcome.UNCHANGED


def test_a_file_whose_name_is_no_text_is_one_of_the_other_files(monkeypatch, tmp_path) -> None:
    """git knows no file of the name that was read; the gate ended with 2."""
    folder = tmp_path / "clone"
    (folder / "src").mkdir(parents=True)
    odd = os.fsencode(folder / "src") + b"/\xff.py"
    git(folder, "init", "-q")
    trees = []
    for text in (b"A = 1\n", b"A = sum(range(3))\n"):
        with open(odd, "wb") as stream:
            stream.write(text)
        git(folder, "add", "--all")
        git(folder, "commit", "-q", "-m", "odd")
        trees.append(git(folder, "rev-parse", "HEAD:src"))
    ends = [replace(one, tree=tree) for one, tree in zip((BASE, HEAD), trees, strict=True)]
    subject = SimpleNamespace(git_dir=folder / ".git")
    monkeypatch.setattr(exact, "subject_or_none", lambda settings: subject)
    monkeypatch.setattr(exact, "source_diff", lambda *asked: diff_trees(subject.git_dir, *trees, "src"))
    monkeypatch.setattr(exact, "source_place", lambda settings: (".", "src"))
    [other] = exact._changed(Settings(root=tmp_path), *ends).others
    assert other.startswith("src/")


@pytest.mark.parametrize(
    ("error", "lost"), [("it was ended by signal 9 (SIGKILL)", 0), ("it was ended by signal 11 (SIGSEGV)", 1)]
)
def test_what_the_machine_ended_at_head_is_not_lost(monkeypatch, tmp_path, error: str, lost: int) -> None:
    """Another run may well succeed, so the gate cannot tell."""
    sides = [{"w": ledger(workload="w")}, {"w": ledger(workload="w", error=error)}]
    monkeypatch.setattr(exact, "matching_workloads", lambda *asked: ["w"])
    monkeypatch.setattr(exact, "_sides", lambda *asked: sides)
    monkeypatch.setattr(exact, "line_match", lambda *asked: None)
    work = exact_work(Settings(root=tmp_path), BASE, HEAD, re.compile("."), None, lambda text: None)
    assert (len(work.lost), len(work.not_judged)) == (lost, 1 - lost)


@pytest.mark.parametrize(("side", "reason"), [(0, NotJudgedReason.SKIPPED), (1, NotJudgedReason.FAILING)])
def test_host_work_that_cannot_be_counted_is_not_judged(monkeypatch, tmp_path, side: int, reason) -> None:
    """Its ledger was recorded, so nothing is lost; one that base cannot count says so."""
    names = (IMPORT_WORKLOAD, "w")
    sides = [{name: HostWork(name, PYTHON) for name in names} for _ in range(2)]
    sides[side]["w"] = HostWork("w", PYTHON, error="NotImplementedError: no")
    monkeypatch.setattr(exact, "matching_workloads", lambda *asked: ["w"])
    monkeypatch.setattr(exact, "_sides", lambda *asked: [{"w": ledger(workload="w")}] * 2)
    monkeypatch.setattr(exact, "line_match", lambda *asked: None)
    kept = [KeptWork({}, side, {}, {}, frozenset()) for side in sides]
    monkeypatch.setattr(exact, "known_work", lambda settings, commit: kept[commit is HEAD])
    work = exact_work(Settings(root=tmp_path), BASE, HEAD, re.compile("."), None, lambda text: None)
    assert [(one.series, one.reason) for one in work.not_judged] == [("host w", reason)]
    assert work.host_equal == ("host import",) and not work.lost


def test_benchmarks_that_pairs_cannot_judge_are_listed(gate, monkeypatch) -> None:
    monkeypatch.setattr(Runner, "left_out", ("suite.Counts.track_bytes",))
    report = gate("both", EQUAL, {"suite.time_run": pair(0.0)})
    assert report.outcome is Outcome.UNCHANGED
    assert [one.series for one in report.not_judged] == ["suite.Counts.track_bytes"]


def test_a_rate_that_falls_is_a_regression_and_exact_work_alone_is_none(gate) -> None:
    report = gate("both", EQUAL, {"suite.time_run": pair(0.0), RATE: pair(-0.3)})
    assert report.outcome is Outcome.REGRESSED
    assert {v.series: v.outcome for v in report.verdicts}[RATE] is Outcome.REGRESSED


@pytest.mark.parametrize(
    ("change", "outcome"), [(0.0, Outcome.UNCHANGED), (0.05, Outcome.UNCHANGED), (0.5, Outcome.REGRESSED)]
)
def test_start_up_is_judged_from_few_processes(gate, change: float, outcome: Outcome) -> None:
    """H3: the default gate times import, construction and first run; a floor of 10 %, a margin of 25 %."""
    report = gate("time", ExactWork(), {COLD: pair(change)}, "cold_start")
    [one] = report.verdicts
    assert (one.outcome, one.floor) == (outcome, rooms.START_FLOOR)
    assert one.rounds <= 12
