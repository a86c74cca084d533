"""The proof of exact work: each change of `proof_branch` through `gate --policy work`, beside busy loops.

`python tests/bench/proof.py ROUNDS [NAME …]` prints how often verdict, line and hunk were right, and the
seconds that a cold gate took. Nothing is on record when a gate begins. Two busy loops (`LOOPS=0`: none) run
all the time.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path[:0] = [str(Path(__file__).parents[1] / "e2e"), str(Path(__file__).parents[2])]

from e2e_project import Project, make_project  # noqa: E402
from proof_branch import PROOF, ProofBranch, plant_proof, wrong  # noqa: E402

LOOPS = int(os.environ.get("LOOPS", 2))


def busy() -> None:
    """A loop that never ends."""
    while True:
        pass


def gate(project: Project, made: ProofBranch, name: str) -> tuple[float, str]:
    """Seconds of a cold gate, and what was wrong with its answer."""
    for folder in ("results", ".nbbench/hunks", ".nbbench/env"):
        shutil.rmtree(project.root / folder, ignore_errors=True)
    begun = time.perf_counter()
    ends = made.base, made.commits[name]
    done = project.run("nbbench", "gate", *ends, "--policy", "work", "--json", expect=None)
    seconds = time.perf_counter() - begun
    if done.returncode != PROOF[name].exit:
        return seconds, f"exit code {done.returncode}: {done.stderr[-300:]}"
    document = json.loads(done.stdout)
    return seconds, wrong(PROOF[name], document, made.lines.get(name, ""), made.hunks[name])


def main(rounds: int, names: list[str]) -> None:
    """Run all rounds and print a row for each change."""
    with tempfile.TemporaryDirectory() as folder:
        made = plant_proof(Path(folder) / "subject")
        project = make_project(Path(folder), register=False)
        project.run("nbbench", "subject", "use", str(made.history.folder))
        loops = [multiprocessing.Process(target=busy, daemon=True) for _ in range(LOOPS)]
        for loop in loops:
            loop.start()
        try:
            print(f"{rounds} rounds, {LOOPS} busy loops beside, {os.cpu_count()} cores")
            print("| change | right | median s | worst s | load |\n|---|---|---|---|---|")
            for name in names or PROOF:
                answers = [gate(project, made, name) for _ in range(rounds)]
                right, times = sum(not why for _, why in answers), [seconds for seconds, _ in answers]
                load = os.getloadavg()[0]
                cells = f"{right} of {rounds} | {median(times):.1f} | {max(times):.1f} | {load:.1f}"
                print(f"| {name} | {cells} |", flush=True)
                for why in {why for _, why in answers if why}:
                    print(f"  {why}", flush=True)
        finally:
            for loop in loops:
                loop.terminate()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
