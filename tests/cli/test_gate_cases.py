"""C2 to C5 and C7 through `nbbench gate`, by other inputs than the end-to-end tests; nothing is measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_project import Project
from store_trees import ledger

from nbbench.budget import BudgetSpentError
from nbbench.gate import exact, run
from nbbench.gate.acknowledged import Acknowledged
from nbbench.host import IMPORT_WORKLOAD, PYTHON, HostWork
from nbbench.ledger import Ledger
from nbbench.measure import warm_client
from nbbench.measure.pair import Pair, Sample
from nbbench.measure.paired import GateSeries
from nbbench.record.side_files import KeptWork
from nbbench.subject.subjects.nanobragg import demo

ENDS = (demo.PLANTED[3].hash or "", demo.PLANTED[4].hash or "")
SAME = Pair(Sample(1.0), Sample(1.0), 0.0)
Side = Mapping[str, Ledger] | str
Gate = Callable[..., tuple[int, dict[str, Any]]]


class Runner:
    """Answers every round of each series from a list, over and over."""

    server, ends = None, "a b"
    left_out: tuple[str, ...] = ()

    def __init__(self, pairs: Mapping[str, Sequence[Pair]]) -> None:
        self.pairs, self.rounds = pairs, 0

    def discover(self, _pattern: str) -> list[GateSeries]:
        return [GateSeries(name, None, name, 60.0) for name in self.pairs]

    def measure(self, series: Sequence[GateSeries]) -> Iterator[tuple[GateSeries, Pair]]:
        if self.rounds > 40:  # instead of a clock
            raise BudgetSpentError("the budget is spent")
        for item in series:
            answers = self.pairs[item.label]
            yield item, answers[self.rounds % len(answers)]
        self.rounds += 1

    def renew(self) -> None:
        pass


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("clone") / "subject"
    demo.write_demo(path)
    return path


@pytest.fixture
def gate(project: Project, clone: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """`nbbench gate` between two commits whose ledgers and pairs are given; a text is why a side fails."""
    monkeypatch.setattr(warm_client, "WarmServer", lambda *_, **__: pytest.fail("something is measured"))
    assert project.run("subject", "use", str(clone)).exit_code == 0

    def go(base: Side, head: Side, *options: str, pairs: Mapping[str, Sequence[Pair]] | None = None):
        sides = dict(zip(ENDS, (base, head), strict=True))
        names = sorted({name for side in sides.values() if not isinstance(side, str) for name in side})

        def failed(commit: Any) -> str:
            side = sides[commit.hash]
            return side if isinstance(side, str) else ""

        @contextmanager
        def runner(*_: object) -> Iterator[Runner]:
            yield Runner(pairs or {"s.time_run": [SAME]})

        monkeypatch.setattr(exact, "matching_workloads", lambda *_: names)
        host = {name: HostWork(name, PYTHON) for name in (IMPORT_WORKLOAD, *names)}

        def known(_: object, commit: Any) -> KeptWork:
            return KeptWork({} if failed(commit) else sides[commit.hash], host, {}, {}, frozenset())

        monkeypatch.setattr(exact, "lacking_work", lambda _, kind, ends, __: dict.fromkeys(ends, names))
        monkeypatch.setattr(exact, "work_calls", lambda _, kind, commits, __: list(commits))
        monkeypatch.setattr(exact, "invoke_all", lambda _, __, commits: [failed(one) for one in commits])
        monkeypatch.setattr(exact, "known_work", known)
        for beside in ("with_first_difference", "with_hunks"):  # say where, by measuring; decide nothing
            monkeypatch.setattr(run, beside, lambda _, __, ___, verdicts, *____: verdicts)
        monkeypatch.setattr(run, "PairedRunner", runner)
        done = project.run("gate", *ENDS, "--json", *options)
        return done.exit_code, json.loads(done.stdout)

    return go


def ledgers(**bytes_moved: int) -> dict[str, Ledger]:
    """Ledgers that repeated, so that nothing is recorded again."""
    kept = {"lines": (), "repeated": True}
    return {name: replace(ledger(name), bytes=size, **kept) for name, size in bytes_moved.items()}


def outcomes(told: dict[str, Any]) -> dict[str, str]:
    return {one["series"]: one["outcome"] for one in told["verdicts"]}


@pytest.mark.parametrize("policy", ["both", "work"])
def test_a_base_that_does_not_even_import(gate: Gate, policy: str) -> None:
    """C2: every workload is counted with the reason, and that is no pass."""
    code, told = gate("ModuleNotFoundError: no module named 'x'", ledgers(a=6400, b=6400), "--policy", policy)
    assert code == 4
    broken = {one["series"]: one["detail"] for one in told["not_judged"]}
    assert {"ledger a", "ledger b"} <= set(broken)
    assert "ModuleNotFoundError" in broken["ledger a"]


def test_a_regression_beside_a_broken_base_blocks_and_both_are_told(gate: Gate) -> None:
    """C2: one workload of two fails at base; the other one moves more bytes."""
    base = ledgers(a=6400) | {"b": replace(ledger("b"), error="NameError: n")}
    code, told = gate(base, ledgers(a=12_800, b=6400), "--policy", "work")
    assert (code, told["outcome"]) == (3, "regressed")
    assert "ledger b" in [one["series"] for one in told["not_judged"]]


def test_a_head_that_does_not_even_import_is_a_regression(gate: Gate) -> None:
    """C2, the other way round."""
    code, told = gate(ledgers(a=6400), "ImportError: torch._C", "--policy", "work")
    assert (code, outcomes(told)) == (3, {"ledger a": "regressed"})


@pytest.mark.parametrize("moved", [6400, 7000])
def test_a_slower_head_does_not_pass_with_work_that_is_equal_or_accepted(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    """C3: time is measured all the same."""
    accepted = Acknowledged("e", {("ledger a", "B/pixel"): 0.2}, "Ann", None)
    monkeypatch.setattr(run, "_acknowledged", lambda *_: ([accepted], []))
    slow = {"s.time_run": [Pair(Sample(1.0), Sample(1.4), 0.336)], "s.time_same": [SAME]}
    code, told = gate(ledgers(a=6400), ledgers(a=moved), pairs=slow)
    assert code == 3
    found = outcomes(told)
    assert (found["s.time_run"], found["s.time_same"]) == ("regressed", "unchanged")
    assert found["ledger a"] == ("unchanged" if moved == 6400 else "acknowledged")


@pytest.mark.parametrize("moved", [3200, 6400])
@pytest.mark.parametrize("blocks", [(10.0, 0.0), (0.1, 0.02), (0.0, 0.0)])
def test_another_image_is_no_gain_and_no_pass(gate: Gate, moved: int, blocks: tuple[float, ...]) -> None:
    """C4: larger, shifted, or black, with less work or the same."""
    head = {"a": replace(ledgers(a=moved)["a"], image_digest="other", image_blocks=blocks)}
    code, told = gate(ledgers(a=6400), head)
    assert (code, told["outcome"]) == (4, "not comparable")
    code, told = gate(ledgers(a=6400), head, "--accept-image")
    assert (code, told["outcome"]) == (0, "improved" if moved < 6400 else "unchanged")


def test_a_head_that_crashes_now_and_then_is_not_unchanged(gate: Gate) -> None:
    """C5: in every fourth round, of one series among others."""
    crash = Pair(Sample(None), Sample(None, "killed by SIGSEGV"))
    pairs = {"s.time_run": [SAME, SAME, SAME, crash], "s.time_same": [SAME]}
    code, told = gate(ledgers(a=6400), ledgers(a=6400), pairs=pairs)
    assert code in (3, 4) and outcomes(told).get("s.time_run") != "unchanged"
    assert "SIGSEGV" in json.dumps(told)


def test_what_skips_itself_on_both_sides_does_not_block(gate: Gate) -> None:
    """C7: counted, beside a series that passes; alone it is nothing judged."""
    skip = Pair(
        Sample(None, "NotImplementedError: no GPU", True), Sample(None, "NotImplementedError: no GPU", True)
    )
    code, told = gate(ledgers(a=6400), ledgers(a=6400), pairs={"s.time_gpu": [skip], "s.time_run": [SAME]})
    assert (code, told["outcome"]) == (0, "unchanged")
    assert ("s.time_gpu", "skipped") in [(one["series"], one["reason"]) for one in told["not_judged"]]
    code, told = gate({}, {}, pairs={"s.time_gpu": [skip]})
    assert (code, told["verdicts"]) == (4, [])
