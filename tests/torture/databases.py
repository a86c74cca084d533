"""Imports killed at random moments, three at a time, into SQLite and into PostgreSQL."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pg_server
from store_trees import content, write_tree

from nbbench.record.refresh import import_results
from nbbench.record.store import Store

_IMPORT = """
import sys
from pathlib import Path
from nbbench.record import refresh
from nbbench.record.store import Store
from nbbench.record.refresh import import_results
refresh._BATCH_FILES = 3
Store.open(sys.argv[1]).close()
print("ready", flush=True)
sys.stdin.readline()
with Store.open(sys.argv[1]) as store:
    import_results(store, Path(sys.argv[2]))
"""
PROCESSES, COMMITS = 3, 200
MOST_TRIES = 5
"""Threes of imports that are begun for each that has to be killed: a quick one may be done before."""


def two_databases(count: int, seed: int = 0) -> dict[str, object]:
    """`count` imports an engine are killed, three at a time, at a moment of their work.

    After each three one more import finishes, and what is stored is compared with an import that nobody
    disturbed.
    """
    rng = random.Random(seed)
    wrong: list[str] = []
    tried: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        tree = write_tree(Path(name) / "results", COMMITS)
        with Store.open(f"sqlite:///{name}/whole.sqlite") as store:
            import_results(store, tree)
            whole = content(store)
        for engine, urls in (("sqlite", _sqlite), ("postgresql", _postgresql)):
            try:
                with urls(Path(name)) as new_url:
                    tried[engine] = 0
                    with new_url(0) as url:
                        lasts = _undisturbed(url, tree)
                    for number in range(1, MOST_TRIES * count):
                        if tried[engine] >= count:
                            break
                        with new_url(number) as url:
                            tried[engine] += _disturbed(url, tree, rng.uniform(0.0, lasts))
                            with Store.open(url) as store:
                                import_results(store, tree)
                                if content(store) != whole:
                                    wrong.append(f"{engine} {number}: other content than undisturbed")
                    if tried[engine] < count:
                        wrong.append(f"{engine}: only {tried[engine]} imports were still at work when killed")
            except pg_server.NoServer as why:
                tried[f"{engine}: {why}"] = 0
    return {"killed imports": tried, "wrong": wrong}


def _importer(url: str, tree: Path) -> subprocess.Popen[bytes]:
    """A process that is ready to import and waits for `_begin`."""
    process = subprocess.Popen(
        [sys.executable, "-c", _IMPORT, url, str(tree)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if process.stdout is not None:
        process.stdout.readline()
    return process


def _begin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.write(b"\n")
        process.stdin.flush()


def _undisturbed(url: str, tree: Path) -> float:
    """Seconds that one import takes from when it is ready."""
    process = _importer(url, tree)
    began = time.perf_counter()
    _begin(process)
    process.wait()
    return time.perf_counter() - began


def _disturbed(url: str, tree: Path, seconds: float) -> int:
    """Start PROCESSES imports and kill all after a while; returns how many were still at work then."""
    started = [_importer(url, tree) for _ in range(PROCESSES)]
    for process in started:
        _begin(process)
    time.sleep(seconds)
    killed = sum(process.poll() is None for process in started)
    for process in started:
        process.kill()
        process.communicate()
    return killed


@contextmanager
def _sqlite(folder: Path) -> Iterator[object]:
    @contextmanager
    def new(number: int) -> Iterator[str]:
        yield f"sqlite:///{folder / f'{number}.sqlite'}"

    yield new


@contextmanager
def _postgresql(folder: Path) -> Iterator[object]:
    with pg_server.server() as server:
        yield lambda number: pg_server.database(server)
