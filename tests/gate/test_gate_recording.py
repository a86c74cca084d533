"""Recorded rounds are packed by server; the table of whole gates; the planted module."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch

from tests.bench import gate_end_to_end, planted_branch
from tests.bench.gate_record import cost_share, servers_of


def test_rounds_are_packed_by_server(tmp_path: Path) -> None:
    lines = [{"server": name, "series": {"a": {"base": 1.0}}} for name in ("x", "x", "y")]
    path = tmp_path / "rounds.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [len(rounds) for rounds in servers_of(path)] == [2, 1]


def test_two_sides_are_charged_their_part() -> None:
    assert cost_share(0) == 0.4  # two of five
    assert cost_share(1) == 0.4 * 1.4 / 2


def run(side: str, exit_code: int, worse: int) -> dict:
    asv = {"rounds": 9, "seconds": 61.0, "worse": {"1.1": 0, "1.03": worse}}
    return {
        "side": side,
        "gate": {"exit": exit_code, "seconds": 55.0, "rounds": 12, "series": {}},
        "asv": asv,
    }


def test_the_table_counts_verdicts_of_both_tools() -> None:
    rows = gate_end_to_end.table([run("same", 0, 1), run("same", 4, 0), run("p5", 3, 0)]).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
    assert cells[0][:4] == ["same", "nbbench gate", "2", "0"]
    assert cells[0][5:7] == ["1", "1"]
    assert cells[2][:5] == ["same", "asv continuous, factor 1.03", "2", "1", "1.3% to 98.7%"]
    assert cells[3][:5] == ["p5", "nbbench gate", "1", "1", "2.5% to 100.0%"]


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
