"""Results trees with a damaged or odd file: import names it, keeps the rest, and needs little memory."""

from __future__ import annotations

import gzip
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from store_trees import write_tree

Damage = Callable[[Path, random.Random], None]


def _rewritten(change: Callable[[bytes, random.Random], bytes]) -> Damage:
    return lambda path, rng: path.write_bytes(change(path.read_bytes(), rng)) and None


def _instead(make: Callable[[Path], object]) -> Damage:
    def damage(path: Path, rng: random.Random) -> None:
        path.unlink()
        make(path)

    return damage


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _spliced(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.sample(range(len(data) + 1), 2))
    return data[:a] + data[b:] + data[a:b]


DAMAGES: dict[str, Damage] = {
    "cut": _rewritten(lambda data, rng: data[: rng.randrange(len(data))]),
    "bits flipped": _rewritten(_flip),
    "parts exchanged": _rewritten(_spliced),
    "random bytes": _rewritten(lambda data, rng: rng.randbytes(rng.randrange(1, 5000))),
    "zeros": _rewritten(lambda data, rng: bytes(len(data))),
    "deep": _rewritten(lambda data, rng: b"[" * 300_000),
    "other encoding": _rewritten(lambda data, rng: data[:20] + b"\xff\xfe\xe4" + data[20:]),
    "a huge number": _rewritten(lambda data, rng: data.replace(b"1", b"1" * 5000, 3)),
    "a bomb": _rewritten(lambda data, rng: gzip.compress(bytes(200 << 20), 9)),
    "empty": _rewritten(lambda data, rng: b""),
    "a pipe": _instead(os.mkfifo),
    "a device": _instead(lambda path: path.symlink_to("/dev/zero")),
    "a loop": _instead(lambda path: path.symlink_to(path.name)),
    "a folder": _instead(lambda path: path.mkdir()),
}

# Imports a folder in a process of its own, whose memory is then known.
_IMPORT = """
import sys
from pathlib import Path
from nbbench.record.store import Store
from nbbench.record.refresh import import_results
with Store.open("sqlite:///" + sys.argv[2]) as store:
    report = import_results(store, Path(sys.argv[1]))
    print(store.counts()["results"], len(report.files_bad), all(why for _, why in report.files_bad))
"""


def odd_files(count: int, seed: int = 0) -> dict[str, object]:
    """Damage a file of a tree in `count` ways (in one tree of 97 all files), and import each tree."""
    rng = random.Random(seed)
    wrong: list[str] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        whole = write_tree(Path(name) / "whole")
        files = sorted(str(p.relative_to(whole)) for p in whole.rglob("*") if p.is_file())
        everything = _imported(whole, Path(name) / "whole.sqlite")[0]
        for number in range(count):
            kind = list(DAMAGES)[number % len(DAMAGES)]
            chosen = files if number % 97 == 96 else [rng.choice(files)]
            tree = Path(name) / "tree"
            shutil.copytree(whole, tree)
            for one in chosen:
                DAMAGES[kind](tree / one, rng)
            began = time.perf_counter()
            results, bad, reasons = _imported(tree, Path(name) / "tree.sqlite")
            slowest = max(slowest, time.perf_counter() - began)
            label = f"{kind} of {chosen[0] if len(chosen) == 1 else 'all'}"
            if not reasons:
                wrong.append(f"{label}: no reason")
            if results > everything or (results < everything and not bad and kind != "bits flipped"):
                wrong.append(f"{label}: {results} of {everything} results and {bad} bad files")
            shutil.rmtree(tree)
            (Path(name) / "tree.sqlite").unlink()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "trees": count,
        "kinds of damage": len(DAMAGES),
        "slowest import (s)": round(slowest, 1),
        "peak memory (MiB)": round(peak),
        "wrong": wrong,
    }


def _imported(tree: Path, database: Path) -> tuple[int, int, bool]:
    """How many results and bad files an import finds, and whether each of these has a reason."""
    command = [sys.executable, "-c", _IMPORT, str(tree), str(database)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise AssertionError(done.stderr)
    results, bad, reasons = done.stdout.split()
    return int(results), int(bad), reasons == "True"
