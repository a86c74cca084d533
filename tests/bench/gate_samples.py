"""Recorded rounds of real processes for the gate's scorecard, replayed through the gate's own decisions.

Two recordings: the gate's figure, floor, margin and stakes were chosen on "tuning"
(`data/gate_samples.json`); "held-out" (`data/gate_held_out.json`) was recorded after that, and is the result.
Both hold base, the same code again ("same": a comment more), and three branches with planted work, "p3", "p5"
and "p10", whose timed functions take about 3, 5 and 10 % longer. In every round all five sides of a series
ran side by side in fresh processes and took turns, as in the gate. Figures are seconds: the geometric mean
of a side's two fastest turns of five. `tests.bench.gate_record` records them.

    python -m tests.bench.gate_samples 2000      the tables of docs/statistics.md
"""

from __future__ import annotations

import json
import math
import sys
from functools import cache
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

from nbbench.analyse.replay import RecordedPair, RecordedRound, Replayed, replay_gate, wilson

FOLDER = Path(__file__).parent / "data"
FILES = {"tuning": FOLDER / "gate_samples.json", "held-out": FOLDER / "gate_held_out.json"}
DATA = FILES["held-out"]
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
) -> list[Replayed]:
    """Gates of base against `head`; with `only`, nothing but that series differs from base."""
    random = Random(seed)
    floors = dict.fromkeys(series(half), math.log1p(floor))
    pairs, equal = recording("base", head, half), recording("base", "same", half) if only else None
    return [
        replay_gate(pairs, random, floors=floors, swap=head == "same", only=only, equal=equal)
        for _ in range(gates)
    ]


def effect(head: str, name: str, half: str = "held-out") -> float:
    """Median log-ratio of a series over all recorded rounds."""
    return median(found[name].log_ratio for server in recording("base", head, half) for found in server)


def main(gates: int, seed: int = 20261123) -> None:
    """Print what gates decide: equal code, all series slower, and one series slower than the rest."""
    for half, file in FILES.items():
        if file.exists():
            servers = samples(half)["servers"]
            print(f"## {half}: {sum(map(len, servers))} rounds of {len(servers)} servers")
            show(half, gates, seed)


def show(half: str, gates: int, seed: int) -> None:
    """Print what gates on one recording decide."""
    for head in SIDES[1:]:
        found = replay(head, gates, seed, half=half)
        low, high = wilson(sum(one.blocks for one in found), gates)
        print(
            f"{head}: blocks {fmean(one.blocks for one in found):.4f} [{low:.4f}, {high:.4f}], "
            f"passes {fmean(one.passes for one in found):.3f}, "
            f"rounds {fmean(one.rounds for one in found):.1f}, {fmean(one.seconds for one in found):.0f} s"
        )
        told = [decision for one in found for decision in one.decisions.values()]
        print("   by series:", {kind: round(told.count(kind) / len(told), 4) for kind in sorted(set(told))})
        if head == "same":
            continue
        for name in series(half):
            one_slow = replay(head, max(gates // 10, 1), seed, only=name, half=half)
            alone = [one.decisions[name] for one in one_slow]
            share = {kind: round(alone.count(kind) / len(alone), 3) for kind in sorted(set(alone))}
            print(f"   only {name}: {100 * math.expm1(effect(head, name, half)):+.1f} %: {share}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
