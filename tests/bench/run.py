"""`make bench`: timed figures of nbbench itself. Never part of the tests; quote it with machine and date.

python tests/bench/run.py [throughput] [import] [detect] [help] [ceiling]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SUITE = Path(__file__).resolve().parent / "suite"
COMMITS = 3


def timed(command: list[str], cwd: Path, env: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode not in (0, 2):
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - start


def project(folder: Path, subject: Path, **changes: object) -> Path:
    """An asv project over the demo subject with the comparison suite."""
    folder.mkdir()
    conf = {
        "version": 1,
        "project": "demo",
        "repo": str(subject),
        "dvcs": "git",
        "branches": ["feature/spec-based-2"],
        "benchmark_dir": str(SUITE),
        "results_dir": "results",
        "env_dir": "env",
        **changes,
    }
    (folder / "asv.conf.json").write_text(json.dumps(conf))
    return folder


def throughput() -> None:
    """Commits an hour: plain asv (virtualenv, wheel a commit), cold processes, the warm server."""
    from nbbench.subject.demo import PLANTED, write_demo

    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        write_demo(base / "subject")
        env = {**os.environ, "HOME": name}
        runnable = [e.hash for e in PLANTED if e.hash and e.kind not in ("broken", "docs")][-COMMITS:]
        (base / "hashes").write_text("\n".join(runnable))
        asv = [sys.executable, "-m", "asv"]
        plain = project(
            base / "plain",
            base / "subject",
            environment_type="virtualenv",
            pythons=[f"{sys.version_info.major}.{sys.version_info.minor}"],
            matrix={"req": {"torch": "2.13.0", "numpy": ""}},
            # As asv's guide has them, without pulling torch in again for every commit.
            build_command=["python -m pip wheel --no-deps -w {build_cache_dir} {build_dir}"],
            install_command=[
                "in-dir={env_dir} python -m pip install {wheel_file} --force-reinstall --no-deps"
            ],
        )
        ours = project(base / "ours", base / "ours" / ".nbbench" / "subject.git", environment_type="nbbench",
                       plugins=[".nbbench.asv_plugin"], pythons=["same"])  # fmt: skip
        register = [sys.executable, "-m", "nbbench", "subject", "use", str(base / "subject")]
        subprocess.run(register, cwd=ours, env=env, check=True, capture_output=True)
        run = [*asv, "run", f"HASHFILE:{base / 'hashes'}", "--machine", "bench", "--record-samples"]
        subprocess.run(
            [*asv, "machine", "--yes", "--machine", "bench"], env=env, cwd=plain, capture_output=True
        )
        figures = {}
        # The environment (with its own torch) is made before the clock starts.
        subprocess.run([*asv, "setup"], cwd=plain, env=env, capture_output=True)
        for _ in range(2):
            for title, where, extra in (
                ("plain asv, virtualenv", plain, {}),
                ("nbbench, cold processes", ours, {"NBBENCH_WARM": "0"}),
                ("nbbench, warm server", ours, {}),
            ):
                shutil.rmtree(where / "results", ignore_errors=True)
                figures.setdefault(title, []).append(timed(run, where, {**env, **extra}))
        print(f"\n{COMMITS} commits, 1 time_ and 1 peakmem_ benchmark, 4 parameter sets, 2 rounds\n")
        slowest = median(figures["plain asv, virtualenv"])
        for title, seconds in figures.items():
            middle = median(seconds)
            hourly = 3600 * COMMITS / middle
            print(
                f"{title:26} {middle / COMMITS:6.1f} s a commit  {hourly:6.0f} commits an hour"
                f"  {slowest / middle:5.1f}x  (runs: {', '.join(f'{s:.1f}' for s in seconds)} s)"
            )


def importing() -> None:
    """Importing a synthetic tree of 1,400 files, and importing it again."""
    from nbbench.store import Store, import_results

    with tempfile.TemporaryDirectory() as name:
        results = Path(name) / "results"
        _write_tree(results, files=1400, series=800)
        with Store.open(f"sqlite:///{name}/db.sqlite") as store:
            for title in ("first", "again"):
                start = time.perf_counter()
                report = import_results(store, results)
                print(f"import {title}: {time.perf_counter() - start:.2f} s, {report.results:,} results")


def _write_tree(results: Path, *, files: int, series: int) -> None:
    machine = results / "m"
    machine.mkdir(parents=True)
    (machine / "machine.json").write_text(json.dumps({"machine": "m", "version": 1}))
    (results / "benchmarks.json").write_text(json.dumps({"version": 2}))
    rng = np.random.default_rng(1)
    params = [[str(i) for i in range(series)]]
    for number in range(files):
        values = rng.lognormal(0, 0.02, series).tolist()
        content = {
            "commit_hash": f"{number:040x}", "env_name": "e", "date": 1_600_000_000_000 + number * 3_600_000,
            "params": {"machine": "m"}, "python": "3.11", "requirements": {}, "env_vars": {},
            "result_columns": ["result", "params", "version"],
            "results": {"suite.time_x": [values, params, "1"]}, "durations": {}, "version": 2,
        }  # fmt: skip
        (machine / f"{number:08x}-e.json").write_text(json.dumps(content))


def detecting() -> None:
    """Change points of 2,400 series of 1,200 points (a quarter of the goal's 9,600)."""
    from nbbench.stats.changepoint import detect_steps

    rng = np.random.default_rng(2)
    count, points = 2400, 1200
    data = rng.lognormal(0, 0.02, (count, points))
    data[::4, points // 2 :] *= 1.1
    start = time.perf_counter()
    found = sum(len(detect_steps(row)) for row in data)
    spent = time.perf_counter() - start
    goal = spent / count * 9600
    print(f"detect: {count} series x {points}: {spent:.1f} s, {found} steps ({goal:.0f} s for 9,600)")


def helping() -> None:
    """How long `nbbench --help` takes."""
    spent = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "nbbench", "--help"], capture_output=True, check=True)
        spent.append(time.perf_counter() - start)
    print(f"nbbench --help: median {median(spent):.3f} s, {min(spent):.3f} to {max(spent):.3f} s")


_STREAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static double now(void) {
  struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec;
}
int main(int argc, char **argv) {
  size_t n = strtoull(argv[1], 0, 10) / 8;
  double *a = malloc(n * 8), *b = malloc(n * 8), *c = malloc(n * 8), best[2] = {1e9, 1e9};
  for (size_t i = 0; i < n; i++) { a[i] = 1; b[i] = 2; c[i] = 3; }
  for (int k = 0; k < 11; k++) {
    double t = now();
    for (size_t i = 0; i < n; i++) c[i] = a[i];
    t = now() - t; if (k && t < best[0]) best[0] = t;
    t = now();
    for (size_t i = 0; i < n; i++) a[i] = b[i] + 3.0 * c[i];
    t = now() - t; if (k && t < best[1]) best[1] = t;
  }
  printf("%.6g %.6g %g\n", 16.0 * n / best[0], 24.0 * n / best[1], a[n / 2]);
  return 0;
}
"""


def ceiling() -> None:
    """The copy and triad ceilings against a C STREAM build, one thread each, alternating."""
    import torch

    from nbbench.probe.ceiling import measure_ceiling

    compiler = shutil.which("cc")
    if compiler is None:
        print("ceiling: no C compiler, skipped")
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        source, binary = Path(name) / "stream.c", Path(name) / "stream"
        source.write_text(_STREAM)
        subprocess.run([compiler, "-O3", "-march=native", str(source), "-o", str(binary)], check=True)
        ratios = []
        for _ in range(5):
            ours = measure_ceiling(repeats=10)
            out = subprocess.run(
                [str(binary), str(ours.array_bytes)], capture_output=True, text=True, check=True
            )
            copy, triad, _ = map(float, out.stdout.split())
            ratios.append((ours.copy / copy, ours.triad / triad, ours.copy, copy))
    for title, values in zip(("copy", "triad"), list(zip(*ratios, strict=True))[:2], strict=True):
        print(f"ceiling {title}: torch/C median {median(values):.3f}, {min(values):.3f} to {max(values):.3f}")
    torch_copy, c_copy = (median(r[i] for r in ratios) / 1e9 for i in (2, 3))
    print(f"copy: torch {torch_copy:.1f} GB/s, C {c_copy:.1f} GB/s")


PARTS = {
    "help": helping,
    "import": importing,
    "detect": detecting,
    "ceiling": ceiling,
    "throughput": throughput,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
