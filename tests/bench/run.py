"""`make bench`: timed figures of nbbench itself. Never part of the tests; quote it with machine and date.

python tests/bench/run.py [throughput] [import] [detect] [help] [ceiling] [ledger] [host] [witness]
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
sys.path.insert(0, str(ROOT))  # started as a file, Python looks beside it only


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
        "project": "nanoBragg PyTorch",  # whose profile it is
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
    from nbbench.subject.subjects.nanobragg.demo import PLANTED, write_demo

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
    from nbbench.record.refresh import import_results
    from nbbench.record.store import Store

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
    """`nbbench regressions` over a database of 9,600 series of 1,200 commits."""
    from tests.bench.big_detect import detect_big

    detect_big()


def helping() -> None:
    """How long `nbbench --help` takes."""
    spent = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "nbbench", "--help"], capture_output=True, check=True)
        spent.append(time.perf_counter() - start)
    print(f"nbbench --help: median {median(spent):.3f} s, {min(spent):.3f} to {max(spent):.3f} s")


# Plain loops store as torch's kernels do; gcc would turn the copy into memcpy, which may choose
# non-temporal stores, so that is turned off. The last kernel uses them on purpose.
_STREAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
static double now(void) {
  struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec;
}
#define TIMED(slot, ...) { \
  double t = now(); __VA_ARGS__; t = now() - t; if (k && t < best[slot]) best[slot] = t; }
int main(int argc, char **argv) {
  size_t n = strtoull(argv[1], 0, 10) / 64 * 8;
  double *a = aligned_alloc(64, n * 8), *b = aligned_alloc(64, n * 8), *c = aligned_alloc(64, n * 8);
  double best[3] = {1e9, 1e9, 1e9};
  for (size_t i = 0; i < n; i++) { a[i] = 1; b[i] = 2; c[i] = 3; }
  for (int k = 0; k < 11; k++) {
    TIMED(0, for (size_t i = 0; i < n; i++) c[i] = a[i])
    TIMED(1, for (size_t i = 0; i < n; i++) a[i] = b[i] + 3.0 * c[i])
#ifdef __SSE2__
    TIMED(2, for (size_t i = 0; i < n; i += 2) _mm_stream_pd(c + i, _mm_load_pd(a + i)); _mm_sfence())
#endif
  }
  printf("%.6g %.6g %.6g %g\n", 16.0 * n / best[0], 24.0 * n / best[1], 16.0 * n / best[2], a[n / 2]);
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
    flags = ["-O3", "-march=native", "-fno-tree-loop-distribute-patterns"]
    with tempfile.TemporaryDirectory() as name:
        source, binary = Path(name) / "stream.c", Path(name) / "stream"
        source.write_text(_STREAM)
        subprocess.run([compiler, *flags, str(source), "-o", str(binary)], check=True)
        rows = []
        for _ in range(9):
            ours = measure_ceiling(repeats=10)
            out = subprocess.run(
                [str(binary), str(ours.array_bytes)], capture_output=True, text=True, check=True
            )
            copy, triad, streamed, _ = map(float, out.stdout.split())
            rows.append((ours.copy, copy, ours.triad, triad, streamed, copy))
    # Ceilings are the best of repeats, so the best of all rounds are compared; rounds show the spread.
    for index, title in enumerate(("copy, torch/C", "triad, torch/C", "copy, non-temporal/plain C")):
        over, under = ([row[2 * index + side] for row in rows] for side in (0, 1))
        ratios = [a / b for a, b in zip(over, under, strict=True)]
        print(
            f"ceiling {title}: best {max(over) / 1e9:.1f} / {max(under) / 1e9:.1f} GB/s = "
            f"{max(over) / max(under):.3f}; rounds {min(ratios):.3f} to {max(ratios):.3f}, "
            f"median {median(ratios):.3f}"
        )


_LEDGER = """
import os, sys, time
sys.path[:0] = {paths!r}
from statistics import median
from benchmarks import subject
from nbbench.measure import recording
from profiler_witness import witness

out = sys.stdout
subject.prepare()

def ratio(size, turns):
    case = subject.bandwidth(size, "float32")
    case.run(), recording.ledger_of(case)
    found = []
    for _ in range(turns):
        spent = []
        for function in (case.run, lambda: recording.ledger_of(case)):
            start = time.process_time()  # one thread: what others do meanwhile does not count
            function()
            spent.append(time.process_time() - start)
        found.append(spent[1] / spent[0])
    print(f"ledger pass / plain run, processor time, {{size}}^2 float32: median {{median(found):.2f}}, "
          f"{{min(found):.2f}} to {{max(found):.2f}} in {{turns}} pairs", file=out)

def agree():
    for name, build in recording.suite_cases().items():
        if "2048" in name or "1024" in name:
            continue
        try:
            case = build()
            case.run()
        except Exception as error:
            print(f"{{name}}: {{error}}", file=out)
            continue
        ledger = recording.ledger_of(case)
        operations, moved = witness(case.run)
        print(f"{{name:24}} operations {{ledger.ops:6,}} {{operations.total():6,}}  bytes "
              f"{{ledger.bytes:13,}} {{moved:13,}} {{moved / ledger.bytes - 1:+.4%}}", file=out)

def host():
    import resource
    from benchmarks import host as suite
    from nbbench.probe.forked import forked

    def spent(function):
        def total():
            usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            return sum(one.ru_utime + one.ru_stime for one in usages)
        start = total()
        function()
        return total() - start

    def plain(build):
        run = build().run
        run(), run()
        return 0

    names = [name for name in suite.WORKLOADS if "2048" not in name]
    suite.write(names[:1])  # imports what all share
    turns = [[spent(lambda: [forked(lambda: plain(suite.WORKLOADS[name]), int) for name in names]),
              spent(lambda: suite.write(names)), spent(lambda: recording.write(names))] for _ in range(3)]
    for at, what in ((1, "host"), (2, "tensors")):
        ratios = sorted(turn[at] / turn[0] for turn in turns)
        print(f"{{what}} pass of {{len(names)}} workloads / two plain runs of each, processor time: "
              f"median {{ratios[1]:.2f}}, {{ratios[0]:.2f}} to {{ratios[2]:.2f}}, "
              f"plain {{median(turn[0] for turn in turns):.1f}} s", file=out)

if {what!r} == "ledger":
    ratio(512, 15), ratio(2048, 5)
elif {what!r} == "host":
    host()
else:
    agree()
"""


def _with_subject(what: str) -> None:
    """Measure the tree that NBBENCH_TREE names (an import root), or the demo's."""
    from nbbench.probe.resources import PINNED_ENVIRONMENT
    from nbbench.subject.subjects.nanobragg.demo import write_demo

    with tempfile.TemporaryDirectory() as name:
        source = os.environ.get("NBBENCH_TREE", "")
        if not source:
            write_demo(Path(name))
            source = f"{name}/src"
        paths = [source, str(ROOT / "tests" / "samples"), str(ROOT)]
        env = {**os.environ, **PINNED_ENVIRONMENT, "NBBENCH_TREE": source}
        code = _LEDGER.format(paths=paths, what=what)
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=env, check=True)


def ledger() -> None:
    """What the ledger costs: its pass against a plain run of the same workload."""
    _with_subject("ledger")


def host() -> None:
    """What counting host work, and tensors in all phases, costs against two plain runs of each workload."""
    _with_subject("host")


def witnessed() -> None:
    """The ledger of the whole suite against torch.profiler's records (tests/samples/profiler_witness.py)."""
    _with_subject("witness")


PARTS = {
    "help": helping,
    "import": importing,
    "detect": detecting,
    "ceiling": ceiling,
    "ledger": ledger,
    "host": host,
    "witness": witnessed,
    "throughput": throughput,
}

if __name__ == "__main__":
    asked = sys.argv[1:] or list(PARTS)
    if unknown := set(asked) - set(PARTS):
        raise SystemExit(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for part in asked:
        PARTS[part]()
