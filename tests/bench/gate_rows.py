"""Whole gates through the command line: harmless changes and losses of every kind, beside other load.

    python -m tests.bench.gate_rows RUNS.jsonl --load 0 --seconds 1200
    python -m tests.bench.gate_rows RUNS.jsonl --seconds 0       the table alone

Each gate is `nbbench gate base BRANCH --json` with its defaults, of one branch of `gate_branches`, while as
many busy loops run as `--load` says. Base is on record, what the branch does is not. Runs are appended to the
file, and a later run goes on where the last one ended.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any

from tabulate import tabulate

from tests.bench.gate_branches import HARMLESS, LOSSES, plant_branches
from tests.e2e.e2e_project import Project, make_project

RUNS = Path(__file__).parent / "data" / "gate_runs.jsonl"
KINDS = {"harmless": HARMLESS, "loss": LOSSES}
EDGES = (1.5, 4.0, 5.5)
BANDS = ("below 1.5 (the gate alone)", "1.5 to 4", "4 to 5.5", "5.5 and more")
VERDICTS = {0: "passed", 3: "blocked", 4: "cannot tell"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gate_rows", description=__doc__)
    parser.add_argument("runs", type=Path, help="JSON lines, appended to")
    parser.add_argument("--load", type=int, default=0, help="busy processes beside each gate")
    parser.add_argument(
        "--loops", type=int, help="of these, how many loops to start (default: all; else other work)"
    )
    parser.add_argument("--seconds", type=float, default=1200.0, help="begin no gate after this time")
    parser.add_argument("--only", default="", help="branches whose name holds this")
    parser.add_argument("--work", type=Path, default=Path(".nbbench/gate_rows"), help="folder of the project")
    asked = parser.parse_args()
    loops = asked.load if asked.loops is None else asked.loops
    deadline = time.monotonic() + asked.seconds
    done = {(run["load"], run["branch"]) for run in known(asked.runs)}
    todo = [
        (kind, name)
        for pair in zip(*KINDS.values(), strict=True)
        for kind, name in zip(KINDS, pair, strict=True)
        if (asked.load, name) not in done and asked.only in name
    ]
    if todo and asked.seconds > 0:
        project, commits = rows_project(asked.work.resolve())
        for kind, name in todo:
            if time.monotonic() > deadline:
                break
            run = {"kind": kind, "branch": name, "load": asked.load, "loops": loops}
            run |= gate(project, commits["base"], commits[name], loops)
            with asked.runs.open("a", encoding="utf-8") as out:
                out.write(json.dumps(run) + "\n")
            print(json.dumps(run), file=sys.stderr, flush=True)
    print(table(known(asked.runs)))


def known(runs: Path) -> list[dict[str, Any]]:
    """The runs so far."""
    return [json.loads(line) for line in runs.read_text().splitlines()] if runs.exists() else []


def rows_project(folder: Path) -> tuple[Project, dict[str, str]]:
    """The project in `folder` with its branches, made if it is not there; base is on record."""
    hashes = folder / "commits.json"
    if not hashes.exists():
        folder.mkdir(parents=True)
        commits = plant_branches(folder / "subject")
        project = make_project(folder, register=False)
        project.run("nbbench", "subject", "use", str(folder / "subject"))
        project.run("nbbench", "gate", commits["base"], commits["unused helper"], "--policy", "work")
        hashes.write_text(json.dumps(commits), encoding="utf-8")  # last: the project is whole
    text = json.loads(hashes.read_text(encoding="utf-8"))
    return Project(folder / "project", _environment(folder)), text


def _environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NBBENCH_", "ASV_", "GIT_"))}
    return kept | {"HOME": str(folder / "home"), "NBBENCH_MACHINE": "rows", "COLUMNS": "200"}


def gate(project: Project, base: str, head: str, loops: int) -> dict[str, Any]:
    """One gate beside busy loops: its exit code, seconds and sentence."""
    ledgers = project.root / "results" / "ledger"
    kept = {path: path.read_bytes() for path in ledgers.glob("*.gz")}
    with busy_loops(loops):
        before, start = os.getloadavg()[0], time.monotonic()
        done = project.run("nbbench", "gate", base, head, "--json", expect=None)
        seconds, after = time.monotonic() - start, os.getloadavg()[0]
    for path in set(ledgers.glob("*.gz")) - set(kept):
        path.unlink()  # the next gate of this branch counts it again
    if done.returncode not in VERDICTS:
        raise RuntimeError(done.stdout + done.stderr)
    told = json.loads(done.stdout)
    return {
        "exit": done.returncode,
        "seconds": round(seconds, 1),
        "loadavg": [round(before, 1), round(after, 1)],
        "sentence": told["sentence"],
    }


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that compute, until the block ends."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        if count:
            time.sleep(2.0)
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def table(runs: Sequence[dict[str, Any]]) -> str:
    """What passed by kind and measured load, with exact (Clopper and Pearson 1934) 95 % intervals."""
    rows = []
    for kind, band in sorted({(run["kind"], load_band(run)) for run in runs}):
        mine = [run for run in runs if (run["kind"], load_band(run)) == (kind, band)]
        exits = [VERDICTS.get(run["exit"], "failed") for run in mine]
        counts = [exits.count(one) for one in VERDICTS.values()]
        seconds = [run["seconds"] for run in mine]
        row = [kind, BANDS[band], len(mine), *counts, _interval(counts[0], len(mine))]
        rows.append([*row, median(seconds), sum(one <= 60.0 for one in seconds), max(seconds)])
    titles = ["change", "load average", "gates", "passed", "blocked", "cannot tell", "passed, 95 %"]
    return tabulate(rows, [*titles, "median s", "within 60 s", "longest s"], tablefmt="github")


def load_band(run: dict[str, Any]) -> int:
    """The band of the load average that stood while a gate ran: the mean of before and after."""
    return sum(mean(run["loadavg"]) >= edge for edge in EDGES)


def _interval(count: int, runs: int) -> str:
    from scipy.stats import binomtest

    found = binomtest(count, runs).proportion_ci(0.95, method="exact")
    return f"{found.low:.0%} to {found.high:.0%}"


if __name__ == "__main__":
    main()
