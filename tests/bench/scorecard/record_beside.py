"""Record an A/A history of the gate's series with the canaries of `nbbench.probe.beside`.

    python -m tests.bench.scorecard.record_beside RAW.jsonl --points 250 --limit-s 450
    python -m tests.bench.scorecard.record_beside pack history.npz aa3=RAW.jsonl aa3_load=RAW2.jsonl

The last commit of the registered subject is measured again and again. A value is a process of its own, forked
from one that has torch imported: canaries, workload, canaries. `pack` adds the recordings to an archive that
is there, as `NAME_values` (points, series), `NAME_beside` (points, series, programs) and `NAME_waited`
(points, series): seconds, seconds, and the share of its time that the process waited for a core.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from nbbench.analyse.canaries import PROGRAMS

SERIES = {
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
    parser.add_argument("out", help="file to append to, or `pack`")
    parser.add_argument("more", nargs="*", help="for `pack`: the archive, then NAME=RAW.jsonl")
    parser.add_argument("--points", type=int, default=250)
    parser.add_argument("--limit-s", type=float, default=450.0)
    asked = parser.parse_args()
    if asked.out == "pack":
        pack(Path(asked.more[0]), dict(pair.split("=", 1) for pair in asked.more[1:]))
    else:
        record(Path(asked.out), asked.points, asked.limit_s)


def record(out: Path, points: int, limit_s: float) -> None:
    from nbbench.config import load_settings
    from nbbench.probe.resources import PINNED_ENVIRONMENT
    from nbbench.subject.repository import list_commits, open_subject
    from nbbench.subject.tree import extract_tree

    os.environ.update(PINNED_ENVIRONMENT, NBBENCH_THREADS="1")
    settings = load_settings()
    subject = open_subject(settings)
    commit = list_commits(subject)[-1]
    trees = settings.state_dir / "scorecard-trees"
    folder = extract_tree(subject.git_dir, commit.hash, commit.tree, settings.measured_path, trees)
    import torch
    import torch._dynamo  # the subject asks for it when it is built

    import benchmarks.subject  # noqa: F401  imported once, before the forks

    torch.set_num_threads(1)
    order, start = random.Random(0), time.monotonic()
    with out.open("a", encoding="utf-8") as stream:
        for _ in range(points):
            if time.monotonic() - start > limit_s:
                break
            names = order.sample(list(SERIES), len(SERIES))
            point = {name: _forked(name, str(folder / settings.import_root)) for name in names}
            stream.write(json.dumps({"at": round(time.monotonic() - start, 2), "series": point}) + "\n")
            stream.flush()


def _forked(name: str, root: str) -> dict[str, Any]:
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
            os.write(writing, json.dumps(_point(name, root)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    waited = int(Path(f"/proc/{child}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    os.waitpid(child, 0)
    wall = time.perf_counter() - start
    return {**json.loads(text or "{}"), "wall": round(wall, 4), "delay": round(waited, 5)}


def _point(name: str, root: str) -> dict[str, Any]:
    from benchmarks import subject
    from nbbench.probe.beside import sing

    sys.path.insert(0, root)
    before = sing()
    subject.prepare()
    kind, first, second = SERIES[name]
    case = getattr(subject, kind)(first, second)
    case.run()
    samples: list[float] = []
    begun = time.perf_counter()
    while len(samples) < 2 or (len(samples) < MOST_SAMPLES and time.perf_counter() - begun < SAMPLES_S):
        start = time.perf_counter()
        case.run()
        samples.append(time.perf_counter() - start)
    return {"times": samples, "before": before, "after": sing()}


def pack(archive: Path, recordings: dict[str, str]) -> None:
    """Add recordings to the archive, as float32."""
    with np.load(archive) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name, raw in recordings.items():
        lines = Path(raw).read_text(encoding="utf-8").splitlines()
        rows = [[json.loads(line)["series"][one] for one in SERIES] for line in lines]
        rows = [row for row in rows if all("times" in one for one in row)]
        arrays[f"{name}_values"] = _array([[min(one["times"]) for one in row] for row in rows])
        arrays[f"{name}_beside"] = _array([[_beside(one) for one in row] for row in rows])
        arrays[f"{name}_waited"] = _array([[one["delay"] / one["wall"] for one in row] for row in rows])
    np.savez_compressed(archive, **arrays)


def _beside(one: dict[str, Any]) -> list[float]:
    """Each program's geometric mean of the time before and after, as `analyse.canaries` takes it."""
    return [float(np.sqrt(one["before"][program] * one["after"][program])) for program in PROGRAMS]


def _array(values: list[Any]) -> np.ndarray:
    return np.array(values, dtype=np.float32)


if __name__ == "__main__":
    main()
