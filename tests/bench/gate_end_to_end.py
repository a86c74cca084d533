"""Whole gates through the command line, beside `asv continuous` with the same wall-clock time.

    python -m tests.bench.gate_end_to_end RUNS.jsonl --seconds 1500
    python -m tests.bench.gate_end_to_end RUNS.jsonl --seconds 0       the table alone

Each run takes one planted branch (`tests.bench.planted_branch`) against its base: "same" has equal code, the
others have added work. `nbbench gate --policy time` gets a budget; `asv continuous --interleave-rounds` gets
as many rounds as fit into the same time, and its samples are judged with asv's own factor of 1.1 and with
1.03. Runs are appended to the file, so a later run goes on; begin a new file for another budget or series.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from nbbench.config import Settings
from nbbench.measure.asv_run import ensure_machine
from tests.bench.planted_branch import make_project, planted_commits

RUNS = Path(__file__).parent / "data" / "gate_runs.jsonl"
MACHINE = "end-to-end"
ORDER = ("same", "p5", "same", "p10")
SERIES = r"Warm\.time_run\(512, 'float32'\)|Tricubic\.time_interpolate\(1000, 'float32'\)"
FACTORS = (1.1, 1.03)
PILOT = 4  # rounds that tell how many fit into the budget, before the first run
VERDICTS = {0: "passed", 3: "blocked", 4: "cannot tell"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gate_end_to_end", description=__doc__)
    parser.add_argument("runs", type=Path, help="JSON lines, appended to")
    parser.add_argument("--seconds", type=float, default=1500.0, help="begin no run after this time")
    parser.add_argument("--budget", type=float, default=45.0, help="seconds of each gate")
    parser.add_argument("--bench", default=SERIES, help="series, a regular expression of asv's names")
    parser.add_argument("--work", type=Path, default=Path(".nbbench/planted"), help="folder of the project")
    asked = parser.parse_args()
    if asked.seconds > 0:
        bench = Bench(make_project(asked.work.resolve()), asked.bench, asked.budget)
        deadline = time.monotonic() + asked.seconds
        while time.monotonic() < deadline:
            made = known(asked.runs)
            side = ORDER[len(made) % len(ORDER)]
            run = {"side": side, "gate": bench.gate(side), "asv": bench.asv(side, made)}
            with asked.runs.open("a", encoding="utf-8") as out:
                out.write(json.dumps(run) + "\n")
            print(json.dumps(run), file=sys.stderr, flush=True)
    print(table(known(asked.runs)))


def known(runs: Path) -> list[dict[str, Any]]:
    """The runs so far."""
    return [json.loads(line) for line in runs.read_text().splitlines()] if runs.exists() else []


class Bench:
    """Runs both tools in the planted project, with a home folder of their own."""

    def __init__(self, settings: Settings, series: str, budget_s: float) -> None:
        self._root, self._series, self._budget_s = settings.root, series, budget_s
        self._ends = {side: commit.hash for side, commit in planted_commits(settings).items()}
        home = settings.root / "home"
        home.mkdir(exist_ok=True)
        own = {"HOME": str(home), "NBBENCH_MACHINE": MACHINE, "NBBENCH_THREADS": "1"}
        os.environ |= own
        ensure_machine(Settings(root=settings.root, machine=MACHINE))

    def gate(self, side: str) -> dict[str, Any]:
        """One gate: its exit code, seconds and the outcome of each series."""
        options = [
            "--policy",
            "time",
            "--bench",
            self._series,
            "--budget",
            f"{self._budget_s:.0f}s",
            "--json",
        ]
        done, seconds = self._run("nbbench", "gate", self._ends["base"], self._ends[side], *options)
        told = json.loads(done.stdout)
        outcomes = {one["series"]: one["outcome"] for one in told["verdicts"]}
        rounds = max((one["rounds"] for one in told["verdicts"]), default=0)
        return {"exit": done.returncode, "seconds": seconds, "rounds": rounds, "series": outcomes}

    def asv(self, side: str, made: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One `asv continuous`: seconds, rounds, and by factor how many series it calls slower."""
        last = made[-1]["asv"] if made else {"rounds": PILOT, "seconds": self._continuous(side, PILOT)}
        rounds = max(2, int(self._budget_s / last["seconds"] * last["rounds"]))
        seconds = self._continuous(side, rounds)
        ends = (self._ends["base"], self._ends[side])
        worse = {}
        for factor in FACTORS:
            told, _ = self._run(
                *("asv", "compare", *ends, "--factor", str(factor), "--only-changed", "--machine", MACHINE)
            )
            worse[str(factor)] = sum(line.startswith("| +") for line in told.stdout.splitlines())
        return {"rounds": rounds, "seconds": seconds, "worse": worse}

    def _continuous(self, side: str, rounds: int) -> float:
        """Seconds that `asv continuous` took for so many rounds; it leaves its results behind."""
        shutil.rmtree(self._root / "results" / MACHINE, ignore_errors=True)
        ends, bench = (self._ends["base"], self._ends[side]), ["--bench", self._series]
        options = [*bench, "--interleave-rounds", "-a", f"rounds={rounds}", "--machine", MACHINE]
        done, seconds = self._run("asv", "continuous", *ends, *options)
        if done.returncode not in (0, 1):
            raise RuntimeError(done.stdout + done.stderr)
        return seconds

    def _run(self, *command: str) -> tuple[subprocess.CompletedProcess[str], float]:
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=self._root, capture_output=True, text=True
        )
        return done, round(time.monotonic() - start, 1)


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Counts by tool and side, with exact (Clopper and Pearson 1934) 95 % intervals of what is blocked."""
    rows = []
    for side in sorted(
        {run["side"] for run in runs}, key=lambda side: ("same", "p3", "p5", "p10").index(side)
    ):
        mine = [run for run in runs if run["side"] == side]
        gates = [VERDICTS.get(run["gate"]["exit"], "failed") for run in mine]
        seconds = median(run["gate"]["seconds"] for run in mine)
        counts = (gates.count(verdict) for verdict in ("blocked", "passed", "cannot tell"))
        rows.append([side, "nbbench gate", *_counted(*counts, len(mine)), seconds])
        for factor in FACTORS:
            blocked = sum(run["asv"]["worse"][str(factor)] > 0 for run in mine)
            seconds = median(run["asv"]["seconds"] for run in mine)
            counts = (blocked, len(mine) - blocked, 0)
            rows.append([side, f"asv continuous, factor {factor}", *_counted(*counts, len(mine)), seconds])
    titles = ["head", "tool", "runs", "blocked", "95 % interval", "passed", "cannot tell", "median s"]
    return tabulate(rows, titles, tablefmt="github")


def _counted(blocked: int, passed: int, open_: int, runs: int) -> list[Any]:
    from scipy.stats import binomtest

    interval = binomtest(blocked, runs).proportion_ci(0.95, method="exact")
    return [runs, blocked, f"{interval.low:.1%} to {interval.high:.1%}", passed, open_]


if __name__ == "__main__":
    main()
