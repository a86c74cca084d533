"""Which lines of a diff the gate asks somebody to read, and which gains it does not take for one."""

from __future__ import annotations

import ast

import pytest

from nbbench.gate.exact import ExactWork
from nbbench.gate.refused import suspect_lines, with_refusals
from nbbench.gate.unseen import Changed
from nbbench.model import Outcome
from nbbench.verdicts import Verdict

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
        "self.kept = [1, 2, 3]\nsetattr(self, 'a', 1)",
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
