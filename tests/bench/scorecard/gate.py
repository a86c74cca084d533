"""The gate's rows: recorded rounds (`tests.bench.gate_samples`) through the gate's own code, and whole gates
through the command line (`tests.bench.gate_rows`)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from tabulate import tabulate

from tests.bench import gate_rows, gate_samples
from tests.bench.gate_replay import Replayed, wilson

SEED = 20261123
NAMES = {
    "same": "unchanged code",
    "p3": "every series about 3 % slower",
    "p5": "every series about 5 % slower",
    "p10": "every series about 10 % slower",
}


HEADS = (
    "## Gate: recorded rounds replayed through the gate's own code",
    "## Gate: end to end",
)


def section(gates: int) -> str:
    """Markdown of ``gates`` simulated gates a row, and of the whole gates on record."""
    return f"{HEADS[0]}\n\n{_replayed(gates)}\n\n{HEADS[1]}\n\n{_end_to_end()}\n\n"


def with_section(page: str, gates: int) -> str:
    """The page with its gate section made anew; what follows it stays. ValueError where it has none."""
    start = page.index(HEADS[0])
    after = page.index("\n## ", page.index(HEADS[-1]) if HEADS[-1] in page else start) + 1
    return page[:start] + section(gates) + page[after:]


def _replayed(gates: int) -> str:
    if not gate_samples.DATA.exists():
        return "No recording of the gate is committed."
    rows = [row(name, gate_samples.replay(side, gates, SEED)) for side, name in NAMES.items()]
    titles = ["", "gates", "blocked (95 % interval)", "passed", "cannot tell", "median rounds", "median s"]
    table = tabulate(rows, titles, tablefmt="github", disable_numparse=True)
    return f"{len(gate_samples.series())} series, budget 5 minutes, floor 1 %.\n\n{table}"


def _end_to_end() -> str:
    runs = gate_rows.known(gate_rows.RUNS)
    if not runs:
        return "No whole gates are on record: `make gates` runs them."
    return (
        "`nbbench gate base BRANCH` with its defaults, on branches of the embedded subject "
        "(`tests/bench/gate_branches.py`), whose work is not on record. Goals: at least 19 of 20 "
        "harmless changes pass, and no loss does.\n\n" + gate_rows.table(runs)
    )


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
