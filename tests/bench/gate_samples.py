"""Recorded rounds of real processes for the gate's scorecard, replayed through the gate's own decisions.

Two recordings: the gate's figure, floor, margin and stakes were chosen on "tuning"
(`data/gate_samples.json`); "held-out" (`data/gate_held_out.json`) was recorded after that, and is the result.
Both hold base, the same code again ("same": a comment more), and three branches with planted work, "p3", "p5"
and "p10", whose timed functions take about 3, 5 and 10 % longer. In every round all five sides of a series
ran side by side in fresh processes and ran in slices, as in the gate. Figures are seconds: the geometric mean
of a side's two fastest slices of five. `tests.bench.gate_record` records them.

    python -m tests.bench.gate_samples 2000      the tables of docs/statistics.md
"""

from __future__ import annotations

import argparse
import json
import math
from functools import cache
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

from tabulate import tabulate

from tests.bench.gate_replay import RecordedPair, RecordedRound, Replayed, replay_gate, wilson

FOLDER = Path(__file__).parent / "data"
FILES = {"tuning": FOLDER / "gate_samples.json", "held-out": FOLDER / "gate_held_out.json"}
DATA = FILES["held-out"]
SEED = 20261123
WHOLE = ["head", "gates that block (95 %)", "pass", "series found slower", "rounds", "seconds"]
ALONE = ["one slow series", *(f"{head}: true change, found, lost" for head in ("p3", "p5", "p10"))]
SIDES = ("base", "same", "p3", "p5", "p10")


@cache
def samples(half: str = "held-out") -> dict[str, Any]:
    """A recording: how it was made, and `servers` → rounds → series → figures."""
    return dict(json.loads(FILES[half].read_text(encoding="utf-8")))


def series(half: str = "held-out") -> list[str]:
    """Names of the recorded series."""
    return sorted(samples(half)["servers"][0][0])


def recording(base: str, head: str, half: str = "held-out") -> list[list[RecordedRound]]:
    """Duels of two of the SIDES, by warm server and round; a pair costs what two of the five sides cost."""
    return [
        [
            {
                name: RecordedPair(math.log(found[head] / found[base]), found["pair_s"])
                for name, found in measured.items()
            }
            for measured in server
        ]
        for server in samples(half)["servers"]
    ]


def replay(
    head: str,
    gates: int,
    seed: int,
    *,
    only: str | None = None,
    floor: float = 0.01,
    half: str = "held-out",
    budget_s: float = 300.0,
) -> list[Replayed]:
    """Gates of base against `head`; with `only`, nothing but that series differs from base."""
    random = Random(seed)
    floors = dict.fromkeys(series(half), math.log1p(floor))
    pairs, equal = recording("base", head, half), recording("base", "same", half) if only else None
    swap = head == "same"
    return [
        replay_gate(pairs, random, floors=floors, budget_s=budget_s, swap=swap, only=only, equal=equal)
        for _ in range(gates)
    ]


def effect(head: str, name: str, half: str = "held-out") -> float:
    """Median log-ratio of a series over all recorded rounds."""
    return median(found[name].log_ratio for server in recording("base", head, half) for found in server)


def main() -> None:
    """Print what gates decide on each recording, as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gate_samples", description=__doc__)
    parser.add_argument("gates", type=int, nargs="?", default=2000, help="gates of each whole row")
    parser.add_argument("--half", choices=FILES, help="one recording alone")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of a gate")
    asked = parser.parse_args()
    for half in [asked.half] if asked.half else FILES:
        servers = samples(half)["servers"]
        print(f"\n{half}: {sum(map(len, servers))} rounds of {len(servers)} servers, {asked.budget:g} s\n")
        for rows, titles in (
            (whole_gates(half, asked.gates, asked.budget), WHOLE),
            (one_slow_series(half, asked.gates // 10, asked.budget), ALONE),
        ):
            print(tabulate(rows, titles, tablefmt="github"), end="\n\n", flush=True)


def whole_gates(half: str, gates: int, budget_s: float) -> list[list[str]]:
    """Equal code and all series slower: a row of WHOLE each."""
    rows = []
    for head in SIDES[1:]:
        found = replay(head, gates, SEED, half=half, budget_s=budget_s)
        blocked = sum(one.blocks for one in found)
        low, high = wilson(blocked, gates)
        told = [decision for one in found for decision in one.decisions.values()]
        rows.append(
            [
                head,
                f"{blocked:,} of {gates:,} ({100 * max(low, 0):.2f} to {100 * high:.2f} %)",
                f"{100 * fmean(one.passes for one in found):.1f} %",
                f"{100 * told.count('slower') / len(told):.1f} %",
                f"{fmean(one.rounds for one in found):.1f}",
                f"{fmean(one.seconds for one in found):.0f}",
            ]
        )
    return rows


def one_slow_series(half: str, gates: int, budget_s: float) -> list[list[str]]:
    """One series slower and the others equal: its true change, how often it is found, and lost, by head."""
    rows = []
    for name in series(half):
        cells = [name]
        for head in SIDES[2:]:
            found = replay(head, max(gates, 1), SEED, only=name, half=half, budget_s=budget_s)
            told = [one.decisions[name] for one in found]
            share = (100 * told.count(kind) / len(told) for kind in ("slower", "equivalent"))
            change = 100 * math.expm1(effect(head, name, half))
            cells.append("{:+.1f} %: {:g} %, {:g} %".format(change, *share))
        rows.append(cells)
    return rows


if __name__ == "__main__":
    main()
