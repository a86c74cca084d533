"""Record rounds of the gate's series: base, the same code and planted work, side by side.

    python -m tests.bench.gate_record tests/bench/data/gate_samples.json --seconds 1500

makes a project with a planted branch of the registered subject (`tests.bench.planted_branch`), adds rounds
to its `rounds.jsonl` for so many seconds, and packs all of them. Run it again to go on. Give it a core of its
own, with other work kept off it.

A round has every series once, in random order; all five sides of a series run slices in turn, in processes
forked from one warm server. That is renewed every few rounds, and a disturbed series is measured again, as in
the gate.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbbench.config import Settings
from nbbench.gate.rounds import RETRIES
from nbbench.measure import warm_client
from nbbench.measure.ledgers import open_tree
from nbbench.measure.pair import disturbed_slices, figure, take_slices
from nbbench.measure.paired import ROUNDS_PER_SERVER, GateSeries, PairedRunner
from nbbench.measure.process_env import server_environment, torch_version
from nbbench.model import Commit
from tests.bench.planted_branch import SIDES, make_project, planted_commits


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gate_record", description=__doc__)
    parser.add_argument("out", type=Path, help="file to write, packed")
    parser.add_argument("--seconds", type=float, default=1500.0, help="how long to record now (0: only pack)")
    parser.add_argument("--work", type=Path, default=Path(".nbbench/planted"), help="folder of the project")
    asked = parser.parse_args()
    settings = make_project(asked.work.resolve())
    rounds = settings.root / "rounds.jsonl"
    if asked.seconds > 0:
        record(settings, rounds, time.monotonic() + asked.seconds)
    asked.out.write_text(json.dumps(packed(settings, rounds), separators=(",", ":")) + "\n", encoding="utf-8")


def record(settings: Settings, rounds: Path, deadline: float) -> None:
    """Append rounds, one line each, until `deadline` (time.monotonic): no round begins after it."""
    commits = planted_commits(settings)
    with PairedRunner(settings, commits["base"], commits["base"], 0) as runner:
        series = runner.discover(settings.gate_bench)
    while time.monotonic() < deadline:
        name = datetime.now(UTC).isoformat(timespec="seconds")
        environment = server_environment()
        with contextlib.closing(warm_client.WarmServer(environment=environment, suites=len(SIDES))) as server:
            for number in range(ROUNDS_PER_SERVER):
                if time.monotonic() >= deadline:
                    break
                told = {item.label: _measured(settings, server, commits, item) for item in _shuffled(series)}
                with rounds.open("a", encoding="utf-8") as out:
                    out.write(json.dumps({"server": name, "series": told}) + "\n")
                print(f"server {name} round {number + 1}", file=sys.stderr, flush=True)


def _shuffled(series: Sequence[GateSeries]) -> list[GateSeries]:
    return random.sample(series, len(series))


def _measured(
    settings: Settings, server: warm_client.WarmServer, commits: dict[str, Commit], item: GateSeries
) -> dict[str, Any]:
    """Figures by side (seconds); `pair_s` is what two of the sides cost, with what was measured again."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nbbench-record-") as folder:

        def begin(side: str, argv: list[str], descriptor: int) -> warm_client.Job:
            environment = open_tree(settings, server, commits[side], slot=side)
            limit = len(SIDES) * item.timeout_s
            return server.begin(
                argv, cwd=folder, environment=environment, timeout_s=limit, descriptor=descriptor
            )

        for tries in itertools.count():
            found = take_slices(begin, SIDES, str(settings.root / "benchmarks"), item.id, random.Random())
            reason = disturbed_slices(found, (os.cpu_count() or 1) - 1)  # as the gate, for one thread
            if found.samples["base"] and (not reason or tries >= RETRIES):
                break
    told: dict[str, Any] = {side: float(f"{figure(found.samples[side]):.6g}") for side in SIDES}
    told["pair_s"] = round((time.monotonic() - start) * cost_share(tries), 3)
    told["again"], told["disturbed"] = tries, reason
    return told


def cost_share(again: int) -> float:
    """What two of the sides cost of the time for all that were measured again so often.

    Any of five disturbed sides has all measured again: for two that comes two fifths as often.
    """
    share = 2 / len(SIDES)
    return share * (1 + share * again) / (1 + again)


def packed(settings: Settings, rounds: Path) -> dict[str, Any]:
    """The document: where and how it was recorded, and `servers` → rounds → series → figures."""
    return {
        "schema": 2,
        "kind": "nbbench-gate-samples",
        "date": f"{datetime.fromtimestamp(rounds.stat().st_mtime, UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch_version()}, one thread",
        "subject": planted_commits(settings)["base"].hash,
        "sides": SIDES,
        "servers": servers_of(rounds),
    }


def servers_of(rounds: Path) -> list[list[dict[str, Any]]]:
    """Recorded lines as rounds by warm server."""
    lines = [json.loads(line) for line in rounds.read_text(encoding="utf-8").splitlines()]
    return [
        [line["series"] for line in group]
        for _, group in itertools.groupby(lines, lambda line: line["server"])
    ]


if __name__ == "__main__":
    main()
