"""Ten million samples in SQLite and in PostgreSQL: `python -m tests.bench.shared_database` (five minutes).

Both get the same results tree by `nbbench import`; each command is a process of its own. Prints times, their
ratios, and the sizes on disk.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "samples"))
import pg_server

COMMITS, BENCHMARKS, SIZES, SAMPLES = 400, 125, 10, 20
STEPS = (
    ("first import", ["import", "-q"]),
    ("import, nothing new", ["import", "-q"]),
    ("regressions, all found anew", ["regressions", "-q", "--json"]),
    ("regressions, nothing new", ["regressions", "-q", "--json"]),
)
_NOISE, _STEP, _SEED = 0.02, 0.1, 20261127


def write_tree(root: Path) -> int:
    """A project whose results hold COMMITS × BENCHMARKS × SIZES × SAMPLES samples; gives their number.

    Every fourth benchmark becomes slower by a tenth at a commit of its own.
    """
    rng = np.random.default_rng(_SEED)
    names = [f"suite_{n}.time_run" for n in range(BENCHMARKS)]
    sizes = [[str(2**n) for n in range(SIZES)]]
    folder = root / "results" / "m"
    folder.mkdir(parents=True)
    (root / "asv.conf.json").write_text(json.dumps({"version": 1, "project": "big", "repo": "."}))
    (folder / "machine.json").write_text(json.dumps({"machine": "m", "version": 1}))
    one = {"type": "time", "unit": "seconds", "version": "1", "param_names": ["size"], "params": sizes}
    declared = {name: one | {"name": name} for name in names}
    (root / "results" / "benchmarks.json").write_text(json.dumps(declared | {"version": 2}))
    level = rng.lognormal(-6.0, 1.0, (BENCHMARKS, SIZES))
    first = np.where(np.arange(BENCHMARKS) % 4 == 0, rng.integers(20, COMMITS, BENCHMARKS), COMMITS)
    for commit in range(COMMITS):
        values = level * np.where(commit >= first, 1.0 + _STEP, 1.0)[:, None]
        samples = values[:, :, None] * rng.lognormal(0.0, _NOISE, (BENCHMARKS, SIZES, SAMPLES))
        middle = np.median(samples, axis=2)
        results = {
            name: [middle[n].tolist(), sizes, "1", 1_700_000_000_000 + commit, samples[n].tolist()]
            for n, name in enumerate(names)
        }
        content = {
            "commit_hash": f"{commit + 1:08x}" + "0" * 32,
            "env_name": "env",
            "date": 1_600_000_000_000 + commit * 86_400_000,
            "params": {"machine": "m"},
            "python": "3.11",
            "requirements": {},
            "env_vars": {},
            "result_columns": ["result", "params", "version", "started_at", "samples"],
            "results": results,
            "durations": {},
            "version": 2,
        }
        (folder / f"{commit + 1:08x}-env.json").write_text(json.dumps(content))
    return COMMITS * BENCHMARKS * SIZES * SAMPLES


def measure(root: Path, url: str, server: psutil.Process | None) -> list[tuple[float, float, float]]:
    """Of each step the wall time, and the processor times of nbbench and of the server (s)."""
    spent = []
    for _, words in STEPS:
        before, served, start = _cpu_s(), _server_s(server), time.perf_counter()
        command = [sys.executable, "-m", "nbbench", *words, "--db", url, "--root", str(root)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed ({done.returncode})")
        spent.append((time.perf_counter() - start, _cpu_s() - before, _server_s(server) - served))
    return spent


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _server_s(server: psutil.Process | None) -> float:
    """The processor time of the server's processes that have ended, and so of every connection."""
    used = server.cpu_times() if server else None
    return used.children_user + used.children_system if used else 0.0


def _one(url: str, statement: str) -> int:
    import psycopg

    with psycopg.connect(url, autocommit=True) as handle:
        return int(handle.execute(statement).fetchone()[0])


def main() -> None:
    """Build the tree, measure both engines, print the table."""
    with tempfile.TemporaryDirectory() as name, pg_server.own_server() as place:
        root = Path(name)
        samples = write_tree(root)
        files = sum(path.stat().st_size for path in root.rglob("*.json"))
        said = (pg_server.folder_of(place) / "data" / "postmaster.pid").read_text()
        with pg_server.database(place) as url:
            file = root / "nbbench.sqlite"
            theirs = measure(root, url, psutil.Process(int(said.split()[0])))
            ours = measure(root, f"sqlite:///{file}", None)
            sizes = file.stat().st_size, _one(url, "SELECT pg_database_size(current_database())")
            tables = _one(url, "SELECT pg_total_relation_size('results')")
        told = f"{samples:,} samples, {samples // SAMPLES:,} results in {COMMITS} files"
        print(f"{told} of {files / 2**20:.0f} MiB")
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {_version(place)}")
        print(f"{'':28} {'SQLite':>20} {'PostgreSQL':>26} {'ratio':>6} {'of CPU':>6}")
        for (what, _), one, other in zip(STEPS, ours, theirs, strict=True):
            here = f"{one[0]:.1f} s ({one[1]:.1f} s CPU)"
            there = f"{other[0]:.1f} s ({other[1]:.1f} + {other[2]:.1f} s CPU)"
            ratio = other[0] / one[0], (other[1] + other[2]) / one[1]
            print(f"{what:28} {here:>20} {there:>26} {ratio[0]:6.2f} {ratio[1]:6.2f}")
        mib = [f"{size / 2**20:.0f} MiB" for size in (*sizes, tables)]
        print(f"{'size on disk':28} {mib[0]:>20} {mib[1]:>26} {sizes[1] / sizes[0]:6.2f} (results: {mib[2]})")


def _version(place: str) -> str:
    import psycopg

    with psycopg.connect(place, autocommit=True) as handle:
        return "PostgreSQL " + str(handle.execute("SHOW server_version").fetchone()[0])


if __name__ == "__main__":
    main()
