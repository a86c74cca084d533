"""Record wall-clock histories of the registered subject, with a canary beside every series.

    python -m tests.bench.scorecard.record aa RAW.jsonl --points 300 [--tree COMMIT]
    python -m tests.bench.scorecard.record branch RAW.jsonl
    python -m tests.bench.scorecard.record ledgers RAW.jsonl
    python -m tests.bench.scorecard.record pack OUT.npz RAW.jsonl...

`aa` measures one tree again and again (no change is true), `branch` each distinct tree of the branch in
order, `ledgers` counts the exact work of the same series. A point is a process of its own, forked from one
that has torch imported; `pack` keeps times as float32 and nothing that names a machine. The canary is timed
before, between and after the series of a process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbbench.config import Settings
from nbbench.model import Commit

SAMPLES = 2
SERIES = {
    "bandwidth-256-float32": ("bandwidth", 256, "float32"),
    "bandwidth-256-float64": ("bandwidth", 256, "float64"),
    "bandwidth-512-float32": ("bandwidth", 512, "float32"),
    "bandwidth-512-float64": ("bandwidth", 512, "float64"),
    "phi_steps-4": ("phi_steps", 4, 128),
    "mosaic_domains-4": ("mosaic_domains", 4, 128),
    "oversample-2": ("oversample", 2, 128),
    "multi_source-3": ("multi_source", 3, 128),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["aa", "branch", "ledgers", "pack"])
    parser.add_argument("out", type=Path)
    parser.add_argument("raw", type=Path, nargs="*")
    parser.add_argument("--points", type=int, default=300)
    parser.add_argument("--tree", default="")
    parser.add_argument("--limit-s", type=float, default=450.0)
    asked = parser.parse_args()
    if asked.what == "pack":
        from tests.bench.scorecard.recorded import pack

        pack(asked.out, asked.raw)
        return
    from nbbench.config import load_settings
    from nbbench.probe.resources import PINNED_ENVIRONMENT
    from nbbench.subject.repository import list_commits, open_subject

    os.environ.update(PINNED_ENVIRONMENT, NBBENCH_THREADS="1")
    settings = load_settings()
    commits = list_commits(open_subject(settings))
    if asked.what == "aa":
        chosen = (
            [next((c for c in commits if c.hash.startswith(asked.tree)), commits[-1])]
            if asked.tree
            else commits[-1:]
        )
        chosen = chosen * asked.points
    else:
        chosen = commits
    done = positions(asked.out) if asked.what != "aa" else set()
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    import torch
    import torch._dynamo  # the subject asks for it when it is built

    import benchmarks.subject  # noqa: F401  imported once, before the forks

    torch.set_num_threads(1)
    start = time.monotonic()
    with asked.out.open("a", encoding="utf-8") as out:
        for commit, folder in extracted(
            settings, [c for c in chosen if c.position not in done], asked.limit_s
        ):
            point = _forked(folder, settings.import_root, asked.what == "ledgers")
            out.write(
                json.dumps({"position": commit.position, "at": round(time.monotonic() - start, 3), **point})
                + "\n"
            )
            out.flush()


def extracted(settings: Settings, commits: list[Commit], limit_s: float) -> Iterator[tuple[Commit, Path]]:
    """Commits with their trees on disk, one after the other, until all are there or the time is up."""
    from nbbench.errors import SubjectError
    from nbbench.subject.repository import open_subject
    from nbbench.subject.tree import extract_tree

    git_dir, start = open_subject(settings).git_dir, time.monotonic()
    for commit in commits:
        if time.monotonic() - start > limit_s:
            print("time is up: run again to go on", file=sys.stderr)
            break
        trees = settings.state_dir / "scorecard-trees"
        try:
            folder = extract_tree(git_dir, commit.hash, commit.tree, settings.measured_path, trees)
        except SubjectError:  # its objects are missing from the clone
            continue
        yield commit, folder


def positions(path: Path) -> set[int]:
    """Positions of the commits that a recording has."""
    if not path.exists():
        return set()
    return {json.loads(line)["position"] for line in path.read_text(encoding="utf-8").splitlines()}


def _forked(folder: Path, root: str, ledgers: bool) -> dict[str, Any]:
    """One point, measured in a child; an empty one when the child dies."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with _silence():
                text = json.dumps(_point(folder, root, ledgers))
        except BaseException as error:
            text = json.dumps({"error": f"{type(error).__name__}: {error}"[:200]})
        with os.fdopen(writing, "w") as pipe:
            pipe.write(text)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"error": "died"}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with (
        Path(os.devnull).open("w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        yield


def _point(folder: Path, root: str, ledgers: bool) -> dict[str, Any]:
    import torch

    from benchmarks import subject
    from nbbench.probe.resources import pin_malloc
    from nbbench.probe.workload import record_ledger

    sys.path.insert(0, str(folder / root))
    pin_malloc()
    point: dict[str, Any] = {"times": {}, "errors": {}}
    if not ledgers:
        canary = _Canary(torch)
        point["canary"] = [canary.measure()]
        order = list(SERIES)
        random.Random(0).shuffle(order)
        before = os.times(), _switches()
    for name in SERIES if ledgers else order:
        kind, a, b = SERIES[name]
        try:
            if kind == "bandwidth":
                case = subject.bandwidth(64 if ledgers else a, b)
            else:
                case = getattr(subject, kind)(a, 64 if ledgers else b)
            case.run()
            if ledgers:
                ledger = record_ledger(
                    name, case.run, pixels=case.pixels, asked=case.asked, source_root=str(folder)
                )
                point["times"][name] = [ledger.ops, ledger.dispatched, ledger.bytes / ledger.pixels]
            else:
                samples = []
                for _ in range(SAMPLES):
                    start = time.perf_counter()
                    case.run()
                    samples.append(time.perf_counter() - start)
                point["times"][name] = samples
        except Exception as error:
            point["errors"][name] = f"{type(error).__name__}"
        if not ledgers:
            point["canary"].append(canary.measure())
    if not ledgers:
        point["switches"] = _switches() - before[1]
    return point


def _switches() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


class _Canary:
    """Fixed work: a copy of 16 MB (bound by bandwidth) and sines of 64 kB (bound by arithmetic)."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.big, self.copy = torch.ones(4_000_000), torch.ones(4_000_000)
        self.small = torch.linspace(0, 1, 16_384)

    def measure(self) -> list[float]:
        """Fastest of three of each, seconds."""
        return [min(self._timed(part) for _ in range(3)) for part in (self._bandwidth, self._arithmetic)]

    def _timed(self, part: Any) -> float:
        start = time.perf_counter()
        part()
        return time.perf_counter() - start

    def _bandwidth(self) -> None:
        self.copy.copy_(self.big)

    def _arithmetic(self) -> None:
        x = self.small
        for _ in range(20):
            x = self.torch.sin(x)


if __name__ == "__main__":
    main()
