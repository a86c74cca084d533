"""`nbbench regressions` on a database of the design's size: times, and the memory of all processes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench.big_history import COMMITS, SERIES, write_history

GOAL_S = 60.0
GOAL_BYTES = 1 << 30
_SAMPLED_S = 0.1


def detect_big(series: int = SERIES, commits: int = COMMITS) -> None:
    """Build the database in a temporary folder, detect over it in a process of its own, print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'history.sqlite'}"
        start = time.perf_counter()
        results = write_history(url, series, commits)
        built = time.perf_counter() - start
        print(
            f"detect: {series:,} series x {commits:,} commits, {results:,} results, written in {built:.0f} s"
        )
        conf = {"version": 1, "project": "big", "repo": ".", "results_dir": "results"}
        (folder / "asv.conf.json").write_text(json.dumps(conf))
        (folder / "results").mkdir()
        _measure([sys.executable, "-m", "nbbench", "regressions", "--json", "--db", url], folder)


def _measure(command: list[str], folder: Path) -> None:
    before, start = _cpu_s(), time.perf_counter()
    with (folder / "said.json").open("w+") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said)
        peak, processes = _peak_bytes(psutil.Process(process.pid))
        if process.wait() not in (0, 4):
            raise SystemExit(f"{' '.join(command)} failed")
        wall, cpu = time.perf_counter() - start, _cpu_s() - before
        said.seek(0)
        found = json.load(said)
    print(
        f"detect: {wall:.1f} s (goal {GOAL_S:.0f} s on two cores), {cpu:.1f} s of CPU time on "
        f"{len(os.sched_getaffinity(0))} cores; peak {peak / 2**20:.0f} MiB in {processes} processes (goal "
        f"{GOAL_BYTES / 2**20:.0f} MiB); {found['changes']:,} change points, {found['count']} flags"
    )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_bytes(parent: psutil.Process) -> tuple[int, int]:
    """The greatest resident memory of a process and its children together, and the most processes seen.

    Pages that they share count more than once.
    """
    peak = most = 0
    while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
        total = seen = 0
        for one in (parent, *parent.children(recursive=True)):
            try:
                total += one.memory_info().rss
                seen += 1
            except psutil.NoSuchProcess:
                continue
        peak, most = max(peak, total), max(most, seen)
        time.sleep(_SAMPLED_S)
    return peak, most
