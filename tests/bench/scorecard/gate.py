"""The gate's rows: recorded rounds (`tests.bench.gate_samples`) through the gate's own code."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from tabulate import tabulate

from nbbench.analyse.replay import Replayed, wilson
from tests.bench import gate_samples

SEED = 20261123
NAMES = {
    "same": "unchanged code",
    "p3": "every series about 3 % slower",
    "p5": "every series about 5 % slower",
    "p10": "every series about 10 % slower",
}


def section(gates: int) -> str:
    """Markdown of ``gates`` simulated gates a row, or one sentence when nothing was recorded."""
    head = "## Gate: recorded rounds replayed through the gate's own code\n\n"
    if not gate_samples.DATA.exists():
        return head + "No recording of the gate is committed.\n\n"
    rows = [row(name, gate_samples.replay(side, gates, SEED)) for side, name in NAMES.items()]
    titles = ["", "gates", "blocked (95 % interval)", "passed", "cannot tell", "median rounds", "median s"]
    table = tabulate(rows, titles, tablefmt="github", disable_numparse=True)
    return f"{head}{len(gate_samples.series())} series, budget 5 minutes, floor 1 %.\n\n{table}\n\n"


def row(name: str, done: Sequence[Replayed]) -> list[str]:
    """One line of the table: what replayed gates decided."""
    gates = len(done)
    blocked = sum(d.blocks for d in done)
    passed = sum(d.passes for d in done)
    low, high = wilson(blocked, gates)
    return [
        name,
        f"{gates:,}",
        f"{blocked / gates:.1%} ({low:.1%} to {high:.1%})",
        f"{passed / gates:.1%}",
        f"{(gates - blocked - passed) / gates:.1%}",
        f"{median(d.rounds for d in done):g}",
        f"{median(d.seconds for d in done):.0f}",
    ]
