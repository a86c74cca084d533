"""Where the values of two versions of a function first differ: recorded, aligned and judged here."""

from __future__ import annotations

import difflib
import importlib.util
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nbbench.errors import InconclusiveError
from nbbench.ledger import FileDiff
from nbbench.model import Commit, to_plain
from nbbench.probe.digests import record_dataflow
from nbbench.record.packed import noun_of
from nbbench.report.causes import evidence_sentences
from nbbench.subject.hunks import parse_diff
from nbbench.work import first_search as tested
from nbbench.work.dataflow_diff import FirstDifference, FirstReason
from nbbench.work.line_match import LineMatch

BASE = """
import random
import numpy
import torch

def helper(x):
    return torch.sin(x) * 0.5

def run():
    x = torch.linspace(0.1, 3.0, 2112, dtype=torch.float64).reshape(64, 33)
    scale = torch.tensor(2.0, dtype=torch.float64)
    y = x * scale
    y = helper(y)
    for row in range(4):
        y[row] += 0.25
    gain = torch.tensor(1.0, dtype=torch.float64)
    two = torch.tensor(2.5, dtype=torch.float64)
    if gain > two / 2:
        y = y * y + 3.0
    total = y.sum(dim=(0, 1))
    picked = x[:, 1]
    drawn = torch.rand(64, dtype=torch.float64)
    offset = float(x.mean())
    mask = x > 1.0
    image = torch.where(mask, y, x) / total
    return image * picked[:, None] + drawn[:, None] + offset
"""


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """The first difference of BASE and BASE with some lines replaced."""

    def compare(*changes: tuple[str, str], base: str = BASE):
        head = base
        for old, new in changes:
            assert old in head
            head = head.replace(old, new)
        sides = {}
        for name, text in (("base", base), ("head", head)):
            (tmp_path / name / "package").mkdir(parents=True, exist_ok=True)
            path = tmp_path / name / "package" / "physics.py"
            path.write_text(text, encoding="utf-8")
            sides[name] = path
        monkeypatch.setattr(tested, "trace_workload", lambda *a, **k: _traced(sides, *a, **k))
        lines = [text.splitlines(keepends=True) for text in (base, head)]
        hunks = "".join(list(difflib.unified_diff(*lines, n=0))[2:])
        files = parse_diff(
            f"diff --git a/physics.py b/physics.py\n--- a/physics.py\n+++ b/physics.py\n{hunks}", "package"
        )
        assert all(isinstance(one, FileDiff) for one in files)
        settings = SimpleNamespace(state_dir=tmp_path / "state")
        now = datetime(2026, 1, 1, tzinfo=UTC)
        ends = tuple(Commit(name * 10, name + head[:0], now, name, 1) for name in ("base", "head"))
        (tmp_path / "scratch").mkdir(exist_ok=True)
        server = SimpleNamespace(scratch=tmp_path / "scratch")
        found = tested._find(settings, server, ends, "small", LineMatch(files))
        (said,) = evidence_sentences((found.record,))
        line = head.splitlines()[int(found.where.rpartition(":")[2]) - 1].strip() if found.where else ""
        return found, line, said

    return compare


def _traced(sides: dict[str, Path], _settings, _server, commit, workload, *, keep=(), folder=None):
    path = sides[commit.hash[:4]]
    spec = importlib.util.spec_from_file_location("physics_of_a_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.run()
    root = str(path.parents[1])
    found, kept = record_dataflow(workload, module.run, source_root=root, keep=keep)
    for step, values in kept.items():
        values.numpy().tofile(folder / str(step))
    return noun_of(type(found), json.loads(json.dumps(to_plain(found))))


PLANTED = {
    "a changed constant": (("* 0.5", "* 0.5002"), "torch.sin(x) * 0.5002", "a value from Python"),
    "a changed tensor of Python": (
        ("tensor(2.0", "tensor(3.0"),
        "scale = torch.tensor(3.0",
        "a value from Python: 2 → 3",
    ),
    "a narrower intermediate": (
        ("y = x * scale", "y = (x * scale).float().double()"),
        "y = (x * scale).float().double()",
        "dtype: float64 → float32",
    ),
    "a sum in two steps": (("y.sum(dim=(0, 1))", "y.sum(0).sum()"), "y.sum(0)", "order of summation"),
    "a sum from the back": (("y.sum(dim=(0, 1))", "y.flip(0).sum()"), "y.flip(0)", "order of summation"),
    "a sum in a loop": (
        ("y.sum(dim=(0, 1))", "sum(one.sum() for one in y)"),
        "sum(one.sum() for one in y)",
        "order of summation",
    ),
    "a wrong index": (("x[:, 1]", "x[:, 2]"), "picked = x[:, 2]", "a value from Python"),
    "another mask": (("x > 1.0", "x > 1e9"), "mask = x > 1e9", "a value from Python"),
    "another operation": (("torch.sin(x)", "torch.cos(x)"), "torch.cos(x)", "another operation"),
    "another seed": (
        ("drawn = torch.rand", "torch.rand(1); drawn = torch.rand"),
        "torch.rand(1); drawn",
        "random numbers",
    ),
    "numpy's work": (
        ("y = helper(y)", "y = helper(y) + torch.from_numpy(numpy.full((64, 33), 0.1))"),
        "torch.from_numpy(numpy.full",
        "a value from Python",
    ),
    "one number of many": (("+= 0.25", "+= 0.25 + (row == 2)"), "y[row] += 0.25 +", "a value from Python"),
    "another way": (
        ("y = helper(y)", "y = helper(y)\n    if scale > 1.5: y = y + 1"),
        "if scale > 1.5: y = y + 1",
        "another operation",
    ),
    "a way decided by a number": (
        ("tensor(1.0", "tensor(2.5"),
        "gain = torch.tensor(2.5",
        "a value from Python: 1 → 2.5",
    ),
    "a number read out of a tensor": (("x.mean()", "(x * 3).mean()"), "(x * 3).mean()", ""),
    "NaN": (("y = x * scale", "y = x * scale; y[0, 0] = float('nan')"), "float('nan')", ""),
    "infinity": (("torch.sin(x) * 0.5", "torch.sin(x) / 0.0"), "/ 0.0", "finite → not finite"),
}


class TestPlanted:
    @pytest.mark.parametrize("name", PLANTED)
    def test_line_and_reason(self, compare, name):
        change, line, said = PLANTED[name]
        found, shown, sentence = compare(change)
        assert line in shown, sentence
        assert said in sentence
        assert sentence.startswith(f"small: values first differ at {found.where} (")

    @pytest.mark.parametrize(
        "before",
        [
            ("y = helper(y)", "unused = (y * 7).sum(); y = helper(y)"),
            ("y = helper(y)", "y = helper(y * torch.ones(33))"),
            ("y = helper(y)", "y = helper(y.t().contiguous().t())"),
            ("    scale =", "    later = torch.tensor(9.0)\n    scale ="),
        ],
    )
    def test_harmless_operations_before_it_are_passed_over(self, compare, before):
        found, shown, sentence = compare(before, ("/ total", "/ (total * 1.001)"))
        assert "/ (total * 1.001)" in shown, sentence
        assert found.relative == pytest.approx(0.001, rel=0.01)

    def test_renamed_and_moved(self, compare):
        """The function has another name and stands below: only the constant differs."""
        moved = "\n\ndef halved(x):\n    return torch.sin(x) * 0.5\n"
        changes = (
            ("def helper(x):\n    return torch.sin(x) * 0.5\n", ""),
            ("helper(y)", "halved(y)"),
            ("+ offset\n", "+ offset * 1.5\n" + moved),
        )
        _, shown, sentence = compare(*changes)
        assert "+ offset * 1.5" in shown, sentence

    def test_independent_operations_in_another_order(self, compare):
        order = ("    mask = x > 1.0\n", "")
        earlier = ("    y = x * scale\n", "    mask = x > 1.0\n    y = x * scale\n")
        _, shown, sentence = compare(order, earlier, ("* 0.5", "* 0.4"))
        assert "torch.sin(x) * 0.4" in shown, sentence

    def test_equal_images(self, compare):
        found, _, sentence = compare(("y = helper(y)", "y = helper(y) * 1"))
        assert found.where == "" and "seeds of random numbers pinned" in sentence

    def test_what_draws_its_own_seed_is_not_judged(self, compare):
        with pytest.raises(InconclusiveError, match="computes something else in each run"):
            compare(("drawn =", "torch.seed(); drawn ="))

    def test_the_reason_of_a_failure_is_said(self, monkeypatch, tmp_path):
        said: list[str] = []
        monkeypatch.setattr(tested, "_find", lambda *_: [][1])
        monkeypatch.setattr(tested, "torch_version", lambda: "2.13.0")
        settings, servers = SimpleNamespace(state_dir=tmp_path), SimpleNamespace(full=None)
        ends = tuple(Commit(c * 40, c * 40, datetime(2026, 1, 1, tzinfo=UTC), c, 1) for c in "ab")
        assert tested.first_difference(settings, ends, "small", None, said.append, servers=servers) is None
        assert said[-1].startswith("where the image begins to differ was not found: ")

    def test_an_image_of_numpy(self, compare):
        change = ("return image *", "return torch.from_numpy(image.numpy() * 2) if image.shape else image *")
        _, shown, sentence = compare(change)
        assert "torch.from_numpy(image.numpy() * 2)" in shown and "a value from Python" in sentence


def test_the_answer_is_kept(tmp_path, monkeypatch):
    """A second question is answered from the state folder; a damaged answer is found out again."""
    asked = []
    found = FirstDifference("small", FirstReason.DTYPE, 0.5, where="a.py:3", figures_after=(1.0, 0.0))
    monkeypatch.setattr(tested, "_find", lambda *_: asked.append(1) or found)
    monkeypatch.setattr(tested, "torch_version", lambda: "2.13.0")
    settings, servers = SimpleNamespace(state_dir=tmp_path), SimpleNamespace(full=None)
    ends = tuple(Commit(c * 40, c * 40, datetime(2026, 1, 1, tzinfo=UTC), c, 1) for c in "ab")
    ask = lambda: tested.first_difference(settings, ends, "small", None, print, servers=servers)  # noqa: E731
    assert [ask(), ask()] == [found, found] and len(asked) == 1
    (kept,) = (tmp_path / "first_difference").iterdir()
    kept.write_text("{")
    assert ask() == found and len(asked) == 2


def test_seeds_are_pinned():
    drawn = [record_dataflow("one", lambda: torch.rand(3), source_root="")[0] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert "numpy" in sys.modules
