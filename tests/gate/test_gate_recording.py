"""Recorded rounds are packed by server; the table of whole gates; the planted module."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch

from tests.bench import gate_branches, gate_rows, planted_branch
from tests.bench.gate_record import cost_share, servers_of
from tests.e2e.planted_history import History


def test_rounds_are_packed_by_server(tmp_path: Path) -> None:
    lines = [{"server": name, "series": {"a": {"base": 1.0}}} for name in ("x", "x", "y")]
    path = tmp_path / "rounds.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [len(rounds) for rounds in servers_of(path)] == [2, 1]


def test_two_sides_are_charged_their_part() -> None:
    assert cost_share(0) == 0.4  # two of five
    assert cost_share(1) == 0.4 * 1.4 / 2


def run(kind: str, load: int, exit_code: int) -> dict:
    return {"kind": kind, "load": 0, "exit": exit_code, "seconds": 55.0, "loadavg": [load - 0.1, load + 0.1]}


def test_the_table_counts_verdicts_by_kind_and_measured_load() -> None:
    runs = [run("harmless", 1, 0), run("harmless", 1, 4), run("harmless", 6, 0), run("loss", 1, 3)]
    rows = gate_rows.table(runs).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0][:6] == ["harmless", "below 1.5 (the gate alone)", "2", "1", "0", "1"]
    assert cells[1][:4] == ["harmless", "5.5 and more", "1", "1"]
    assert cells[2][:7] == ["loss", "below 1.5 (the gate alone)", "1", "0", "1", "0", "0% to 98%"]
    assert cells[2][-2:] == ["1", "55"]


def test_every_branch_can_be_planted(tmp_path: Path) -> None:
    """Each edit finds the text that it replaces, and all files are Python."""
    made = gate_branches.plant_branches(tmp_path / "subject")
    assert len(made) == 1 + len(gate_branches.HARMLESS) + len(gate_branches.LOSSES) == 41
    history = History(tmp_path / "subject")
    for commit in made.values():
        for name in history.git("diff", "--name-only", "--diff-filter=d", f"{commit}~1", commit).splitlines():
            ast.parse(history.git("show", f"{commit}:{name}"))


def test_the_planted_module_adds_passes_and_returns_what_the_function_did(monkeypatch) -> None:
    """Run inside a package that has the three modules which it wraps functions of."""
    made = {
        name: ModuleType(name) for name in ("p", "p.simulator", "p.models.crystal", "p.utils.auto_selection")
    }
    made |= {name: SimpleNamespace() for name in ("p.models", "p.utils")}
    made["p"].__path__ = []
    value = torch.ones(4)
    made["p.simulator"].Simulator = type("Simulator", (), {"run": lambda self: value})
    made["p.models.crystal"].Crystal = type("Crystal", (), {"_tricubic_interpolation": lambda self: value})
    made["p.utils.auto_selection"].generate_sources_from_divergence_dispersion = lambda: (value, 1)
    made["p"].simulator = made["p.simulator"]
    made["p.models"].crystal = made["p.models.crystal"]
    made["p.utils"].auto_selection = made["p.utils.auto_selection"]
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    text = planted_branch.MODULE.format(passes={"run-4-torch.float32": 3})
    ast.parse(text)
    calls = []
    monkeypatch.setattr(torch.Tensor, "__mul__", lambda self, other: calls.append(other) or self)
    exec(compile(text, "planted", "exec"), {"__package__": "p", "__name__": "p._planted"})
    assert made["p.simulator"].Simulator().run() is value
    assert len(calls) == 3
    assert made["p.utils.auto_selection"].generate_sources_from_divergence_dispersion() == (value, 1)
    assert len(calls) == 3
