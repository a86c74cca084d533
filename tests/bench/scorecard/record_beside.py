"""Record histories with the canaries of `nbbench.probe.canary` beside every value.

    python -m tests.bench.scorecard.record_beside aa RAW.jsonl --points 250 --limit-s 450
    python -m tests.bench.scorecard.record_beside branch RAW.jsonl --seed 4 [--again | --in-order]
    python -m tests.bench.scorecard.record_beside pack history.npz aa3=RAW.jsonl branch4=RAW2.jsonl

`aa` measures the last commit of the registered subject again and again (the gate's series); `branch` each
commit of the branch once, in the order in which `nbbench run` takes them or, with `--in-order`, oldest first
as `asv run` does (the series of `record`). A value is a process of its own, forked from one that has torch
imported: canaries, workload, canaries. `pack` adds the recordings to an archive that is there, in the order
of the branch, as `NAME_values` (points, series), `NAME_beside` (points, series, programs), `NAME_waited`
(points, series): seconds, seconds, and the share of its time that the process waited for a core; of a branch
also `NAME_position` and `NAME_at` (points,): the places on the branch, and seconds since the recording
began.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from nbbench.history.telemetry import PROGRAMS
from tests.bench.scorecard.record import SERIES as BRANCH_SERIES
from tests.bench.scorecard.record import extracted, positions

Case = tuple[str, int, int | str]
"""A maker of `benchmarks.subject` and its two arguments."""

GATE_SERIES = {
    "warm-512-float32": ("bandwidth", 512, "float32"),
    "warm-512-float64": ("bandwidth", 512, "float64"),
    "warm-1024-float32": ("bandwidth", 1024, "float32"),
    "warm-1024-float64": ("bandwidth", 1024, "float64"),
    "tricubic-1000": ("tricubic", 1000, "float32"),
    "tricubic-100000": ("tricubic", 100_000, "float32"),
    "sources-3969": ("sources", 63, 63),
    "multi_source-3": ("multi_source", 3, 256),
}
MOST_SAMPLES = 5
SAMPLES_S = 0.1
"""A value is the fastest of two runs, or of up to five within a tenth of a second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["aa", "branch", "pack"])
    parser.add_argument("out", type=Path, help="file to append to; for `pack`: the archive")
    parser.add_argument("raw", nargs="*", help="for `pack`: NAME=RAW.jsonl")
    parser.add_argument("--points", type=int, default=250)
    parser.add_argument("--limit-s", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=0, help="of the order of commits")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--again", action="store_true", help="in the order of `nbbench run --again`")
    way.add_argument("--in-order", action="store_true", help="commit after commit")
    asked = parser.parse_args()
    if asked.what == "pack":
        pack(asked.out, dict(pair.split("=", 1) for pair in asked.raw))
    else:
        record(asked)


def record(asked: argparse.Namespace) -> None:
    """Append points to the file until all are there, or the time is up; a branch is resumed."""
    from nbbench.config import load_settings
    from nbbench.probe.resources import PINNED_ENVIRONMENT
    from nbbench.subject.repository import list_commits, open_subject
    from nbbench.subject.selection import shuffled, spread

    os.environ.update(PINNED_ENVIRONMENT, NBBENCH_THREADS="1")
    settings = load_settings()
    commits = list_commits(open_subject(settings))
    branch = asked.what == "branch"
    lots = random.Random(asked.seed)
    if not branch:
        chosen = commits[-1:] * asked.points
    elif asked.in_order:
        chosen = commits
    elif asked.again:
        chosen = shuffled(commits, lots)
    else:
        chosen = spread(commits, lots)
    done = positions(asked.out) if branch else set()
    series = BRANCH_SERIES if branch else GATE_SERIES
    import torch
    import torch._dynamo  # the subject asks for it when it is built

    import benchmarks.subject  # noqa: F401  imported once, before the forks

    torch.set_num_threads(1)
    order, start = random.Random(asked.seed), time.monotonic()
    with asked.out.open("a", encoding="utf-8") as stream:
        for commit, folder in extracted(
            settings, [c for c in chosen if c.position not in done], asked.limit_s
        ):
            root = str(folder / settings.import_root)
            at = round(time.monotonic() - start, 2)
            point = {name: _forked(series[name], root) for name in order.sample(list(series), len(series))}
            stream.write(json.dumps({"position": commit.position, "at": at, "series": point}) + "\n")
            stream.flush()


def _forked(case: Case, root: str) -> dict[str, Any]:
    """One value, measured in a child; without figures when the child fails."""
    reading, writing = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.close(reading)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        try:
            os.write(writing, json.dumps(_point(case, root)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    waited = int(Path(f"/proc/{child}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    os.waitpid(child, 0)
    wall = time.perf_counter() - start
    return {**json.loads(text or "{}"), "wall": round(wall, 4), "delay": round(waited, 5)}


def _point(asked: Case, root: str) -> dict[str, Any]:
    from benchmarks import subject
    from nbbench.probe.canary import reference_times

    sys.path.insert(0, root)
    before = reference_times()
    subject.prepare()
    kind, first, second = asked
    case = getattr(subject, kind)(first, second)
    case.run()
    samples: list[float] = []
    begun = time.perf_counter()
    while len(samples) < 2 or (len(samples) < MOST_SAMPLES and time.perf_counter() - begun < SAMPLES_S):
        start = time.perf_counter()
        case.run()
        samples.append(time.perf_counter() - start)
    return {"times": samples, "before": before, "after": reference_times()}


def pack(archive: Path, recordings: dict[str, str]) -> None:
    """Add recordings to the archive, as float32; NaN where a series has no value at a commit."""
    with np.load(archive) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name, raw in recordings.items():
        rows = [json.loads(line) for line in Path(raw).read_text(encoding="utf-8").splitlines()]
        branch = set(rows[0]["series"]) == set(BRANCH_SERIES)
        series = BRANCH_SERIES if branch else GATE_SERIES
        if branch:
            rows.sort(key=lambda row: row["position"])
            arrays[f"{name}_position"] = np.array([row["position"] for row in rows], dtype=np.int16)
            arrays[f"{name}_at"] = _array([row["at"] for row in rows])
        points = [[row["series"][one] for one in series] for row in rows]
        arrays[f"{name}_values"] = _array([[_fastest(one) for one in point] for point in points])
        arrays[f"{name}_beside"] = _array([[_beside(one) for one in point] for point in points])
        arrays[f"{name}_waited"] = _array([[one["delay"] / one["wall"] for one in point] for point in points])
    np.savez_compressed(archive, **arrays)


def _fastest(one: dict[str, Any]) -> float:
    return min(one["times"]) if "times" in one else math.nan


def _beside(one: dict[str, Any]) -> list[float]:
    """Each program's geometric mean of the time before and after, as `analyse.canaries` takes it."""
    if "times" not in one:
        return [math.nan] * len(PROGRAMS)
    return [math.sqrt(one["before"][program] * one["after"][program]) for program in PROGRAMS]


def _array(values: list[Any]) -> np.ndarray:
    return np.array(values, dtype=np.float32)


if __name__ == "__main__":
    main()
