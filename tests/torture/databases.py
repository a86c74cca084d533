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

from nbbench.record import Store
from nbbench.record.refresh import import_results

_IMPORT = """
import sys
from pathlib import Path
from nbbench.record import Store, refresh
from nbbench.record.refresh import import_results
refresh._BATCH_FILES = 3
Store.open(sys.argv[1]).close()
print("ready", flush=True)
with Store.open(sys.argv[1]) as store:
    import_results(store, Path(sys.argv[2]))
"""
PROCESSES, COMMITS = 3, 200


def two_databases(count: int, seed: int = 0) -> dict[str, object]:
    """`count` times an engine: three importers begin, and each is killed after a random time.

    One more finishes, and what is stored is compared with an import that nobody disturbed.
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
                    for number in range(count):
                        with new_url(number) as url:
                            tried[engine] = tried.get(engine, 0) + _disturbed(url, tree, rng)
                            with Store.open(url) as store:
                                import_results(store, tree)
                                if content(store) != whole:
                                    wrong.append(f"{engine} {number}: other content than undisturbed")
            except pg_server.NoServer as why:
                tried[f"{engine}: {why}"] = 0
    return {"killed imports": tried, "wrong": wrong}


def _disturbed(url: str, tree: Path, rng: random.Random) -> int:
    """Start PROCESSES imports and kill each at its moment; returns how many were still at work then."""
    command = [sys.executable, "-c", _IMPORT, url, str(tree)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(PROCESSES)
    ]
    killed = 0
    for process in started:
        if process.stdout is not None:
            process.stdout.readline()
    for process in started:
        time.sleep(rng.uniform(0.0, 0.2))
        killed += process.poll() is None
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
