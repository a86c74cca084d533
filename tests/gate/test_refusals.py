"""Which lines of a diff the gate asks somebody to read, and which gains it does not take for one."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from gate_facts import BASE
from history_samples import ledger

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.gate import refused
from nbbench.gate.exact import ExactWork
from nbbench.gate.refused import TimedWork, suspect_lines, with_possible_rates, with_refusals
from nbbench.gate.unseen import Changed
from nbbench.ledger import Roof
from nbbench.model import NotJudged, NotJudgedReason, Outcome
from nbbench.report.gate_sentences import evidence_text
from nbbench.verdicts import Verdict
from nbbench.work.ledger_diff import diff_ledgers
from nbbench.work.roofs import unreachable_rate

PATH = "pkg/sim.py"


def suspects(text: str, *lines: int) -> list[str]:
    """What is said of a file of which these lines (all of them, if none is named) are new."""
    every = range(1, text.count("\n") + 2)
    found = suspect_lines(Changed({PATH: frozenset(lines or every)}), lambda path: text)
    return [one.figures["what"] for one in found]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import os\nif 'NBBENCH_TREE' in os.environ: pass", "NBBENCH"),
        ("import os\nos.environ.get('ASV_COMMIT')", "ASV_"),
        ("import sys\nif 'torch' in sys.modules: pass", "sys.modules"),
        ("from sys import _getframe as f\nf(1)", "sys._getframe"),
        ("import inspect as i\ni.stack()", "inspect.stack"),
        ("import torch\ntorch.Tensor.roll = print", "torch.Tensor.roll ="),
        ("from torch import Tensor as T\nT.roll = print", "torch.Tensor.roll ="),
        ("import torch\nsetattr(torch, 'roll', print)", "setattr of torch"),
        ("import time as t\nt.perf_counter = print", "time.perf_counter ="),
        ("import builtins\nsetattr(builtins, 'print', len)", "setattr of builtins"),
        ("import torch\nwith torch._C._DisableTorchDispatch(): pass", "torch._C"),
        ("from torch.utils._python_dispatch import _disable_current_modes", "torch.utils._python_dispatch"),
        (f"DATA = '{'A' * 5000}'", "data"),
        (f"DATA = {list(range(600))}", "data"),
    ],
)
def test_what_deceives_is_named(text: str, what: str) -> None:
    assert what in suspects(text)


@pytest.mark.parametrize(
    "text",
    [
        "import torch\nx = torch.zeros(3)\nx.grad = None\ntorch.backends.cudnn.benchmark = True",
        "import os, sys\nos.environ.get('OMP_NUM_THREADS')\nsys.path.append('x')",
        "self.kept = [1, 2, 3]\nsetattr(self, 'a', 1)\nsetattr(timer, 'a', 1)\ntimes.a = 2",
        "import inspect\ninspect.signature(print)",
        f'def f():\n    """{"Explained. " * 500}NBBENCH"""',
        "not python (",
    ],
)
def test_ordinary_code_is_not(text: str) -> None:
    assert suspects(text) == []


def test_lines_that_were_there_before_are_not_looked_at() -> None:
    text = "import sys\nsys._getframe(0)\nx = 1"
    assert suspects(text, 3) == []
    assert suspects(text, 2) == ["sys._getframe"]
    assert ast.parse(text)


def test_a_suspect_line_is_cannot_tell_until_somebody_read_it() -> None:
    changed = Changed({PATH: frozenset({1})})
    changed = changed._replace(suspects=suspect_lines(changed, lambda path: "from sys import modules"))
    work, gain = ExactWork(changed=changed), Verdict("ledger w", Outcome.IMPROVED)
    refused = with_refusals([gain], work, policy="work", reviewed=False)
    assert [one.outcome for one in refused] == [Outcome.IMPROVED, Outcome.INCONCLUSIVE]
    assert with_refusals([gain], work, policy="work", reviewed=True) == [gain]


ROOF = Roof(8e9, 8e9, 9e9, 9e9, 2**26, 2**25, threads=2, curve=((24_000, 2e10), (2**20, 4e10), (2**27, 9e9)))
GAIN = Verdict("suite.time_run", Outcome.IMPROVED)
WORK = diff_ledgers(ledger(per_pixel=6e5), ledger(per_pixel=6e5))  # 0.6 GB: 5 ms at 120 GB/s


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ceilings of a machine of two cores; which trees they were asked for."""
    asked: list[str] = []

    def roof(*given: object) -> Roof:
        asked.append("roof")
        return ROOF

    monkeypatch.setattr(refused, "open_tree", lambda *given, **more: {})
    monkeypatch.setattr(refused, "measure_roof", roof)
    monkeypatch.setattr(refused, "usable_cores", lambda: 2)
    return asked


def judged(work: TimedWork, verdict: Verdict = GAIN) -> Verdict | NotJudged:
    timed = {verdict.series: work}
    (found,) = with_possible_rates(Settings(root=Path()), lambda: None, BASE, [verdict], timed)
    return found


def test_a_bandwidth_that_no_cache_has_is_no_gain(measured: list[str]) -> None:
    found = judged(TimedWork(WORK, 0.030, 0.004))  # 20 and 150 GB/s
    assert isinstance(found, Verdict) and found.outcome is Outcome.INCONCLUSIVE and measured == ["roof"]
    said = evidence_text(found.evidence)
    assert said.startswith("head would move 150 GB/s, and nothing here moves more than 120 GB/s")


@pytest.mark.parametrize(
    ("work", "looks"),
    [
        (TimedWork(WORK, 0.030, 0.006), True),  # 100 GB/s: a cache may well have that
        (TimedWork(WORK, 0.0045, 0.0015), True),  # base is impossible, too: the series runs something else
        (TimedWork(WORK, 0.0055, 0.0035), False),  # not even twice as fast
        (TimedWork(replace(WORK, head=replace(WORK.head, notes=("compiled",))), 0.030, 0.001), False),
    ],
    ids=["cache", "base, too", "little", "compiled"],
)
def test_what_a_machine_may_have_is_a_gain(measured: list[str], work: TimedWork, looks: bool) -> None:
    assert judged(work) is GAIN
    assert bool(measured) is looks


@pytest.mark.parametrize("outcome", [Outcome.UNCHANGED, Outcome.REGRESSED, Outcome.INCONCLUSIVE])
def test_only_gains_are_refused(measured: list[str], outcome: Outcome) -> None:
    verdict = Verdict("suite.time_run", outcome)
    assert judged(TimedWork(WORK, 0.030, 0.001), verdict) is verdict and not measured
    left_out = [NotJudged("suite.time_run", NotJudgedReason.SKIPPED)]
    assert with_possible_rates(Settings(root=Path()), lambda: None, BASE, left_out, {}) == left_out


def test_ceilings_that_cannot_be_measured_refuse_nothing(
    measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object) -> None:
        raise InconclusiveError("the measuring process failed")

    monkeypatch.setattr(refused, "measure_roof", fails)
    assert judged(TimedWork(WORK, 0.030, 0.001)) is GAIN


def test_a_thread_of_many_cores_is_not_held_against_all_of_them() -> None:
    assert unreachable_rate(ROOF, 2) == unreachable_rate(ROOF, 1) == pytest.approx(1.2e11)
    assert unreachable_rate(ROOF, 64) == pytest.approx(32 * 1.2e11)
    assert unreachable_rate(replace(ROOF, curve=()), 2) == pytest.approx(2.7e10)
