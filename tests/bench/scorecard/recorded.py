"""The committed recordings of this project's own noise (tests/bench/data/history.npz) and how they are read.

Each recording is a list of processes in order: `NAME_times` (processes, series, samples) and `NAME_canary`
(processes, series + 1, 2) in seconds, float32, NaN where a commit cannot run; `NAME_position` is the commit's
place on the branch; `NAME_switches` the involuntary context switches of the process; `NAME_at` seconds since
the recording began. `aa3` to `aa8`, `aa3_load`, `branch4` to `branch6`, `branch8`, `branch9` and
from `branch11` on have arrays of their own (`record_beside`). `work` (commits, series, 2) are operations and
bytes per pixel of the same series at a small size, for the positions in `work_position`. See
tests/bench/data/README.md for where each was recorded.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from nbbench.disturbance import WAITED_SHARE
from tests.bench.scorecard.record import SAMPLES, SERIES

DATA = Path(__file__).resolve().parents[1] / "data" / "history.npz"

CONTENDED_SWITCHES = 60
"""Involuntary switches of a process of 0.2 s: 43 at most in the quiet recordings, from 150 on beside
another."""


@functools.cache
def load() -> dict[str, np.ndarray]:
    """All arrays of the committed recordings."""
    with np.load(DATA) as stored:
        return {name: stored[name].astype(np.float64) for name in stored.files}


def value(times: np.ndarray) -> np.ndarray:
    """The value of a process: the fastest of its samples, (processes, series)."""
    return np.asarray(times.min(axis=-1))


def aa_residuals(half: int) -> list[np.ndarray]:
    """Log residuals of every A/A series around its median: the first (0) or the second half (1) of each."""
    stored = load()
    found = []
    for name in ("aa1", "aa2"):
        log = np.log(value(stored[f"{name}_times"]))
        middle = log.shape[0] // 2
        part = log[:middle] if half == 0 else log[middle:]
        found += [column - np.median(column) for column in part.T]
    return found


def aa_canaries(half: int) -> list[np.ndarray]:
    """Logarithms of the canaries (programs, n) beside every series of `aa_residuals`, in its order: the
    median over the places in the process."""
    stored = load()
    found = []
    for name in ("aa1", "aa2"):
        log = np.median(np.log(stored[f"{name}_canary"]), axis=1)
        middle = log.shape[0] // 2
        part = log[:middle] if half == 0 else log[middle:]
        found += [part.T] * stored[f"{name}_times"].shape[1]
    return found


def beside(half: int, name: str = "aa3") -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Log residuals of the A/A series that were recorded with `nbbench.probe.canary`, and the logarithms of
    their canaries (programs, n): the first (0) or the second half (1), or all (from 2 on)."""
    stored = load()
    values, canaries = np.log(stored[f"{name}_values"]), np.log(stored[f"{name}_beside"])
    middle = len(values) // 2
    part = (slice(None, middle), slice(middle, None))[half] if half < 2 else slice(None)
    series = range(values.shape[1])
    return (
        [values[part, s] - np.median(values[part, s]) for s in series],
        [canaries[part, s].T for s in series],
    )


def contention_ratios(half: int) -> np.ndarray:
    """Log ratios of contended to quiet processes of one tree, a row each: the first or the second half."""
    stored = load()
    quiet = np.median(np.log(value(stored["aa1_times"])), axis=0)
    ratios = np.log(value(stored["contended_times"])) - quiet
    middle = ratios.shape[0] // 2
    return np.asarray(ratios[:middle] if half == 0 else ratios[middle:])


def contended(name: str) -> np.ndarray:
    """Processes of a recording that others kept waiting, by their telemetry, (processes,)."""
    return np.asarray(load()[f"{name}_switches"] > CONTENDED_SWITCHES)


def waited(name: str, series: int) -> np.ndarray:
    """Processes of one series that waited for a core longer than detection lets pass, (processes,)."""
    return np.asarray(load()[f"{name}_waited"][:, series] > WAITED_SHARE)


def pack(out: Path, raw: list[Path]) -> None:
    """Write the recordings ``raw`` (JSON lines, named by their files) as one compressed archive."""
    arrays: dict[str, np.ndarray] = {}
    for path in raw:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows.sort(key=lambda row: row["position"])
        missing = [float("nan")] * SAMPLES
        if path.stem == "ledgers":
            rows = [row for row in rows if row.get("times")]
            nothing = [float("nan")] * 3
            work = [[row["times"].get(name, nothing) for name in SERIES] for row in rows]
            arrays["work"] = np.array(work)[:, :, [0, 2]]
            arrays["work_position"] = np.array([row["position"] for row in rows], dtype=np.int16)
            continue
        rows = [row for row in rows if row.get("canary")]
        times = [[row["times"].get(name, missing) for name in SERIES] for row in rows]
        arrays[f"{path.stem}_times"] = np.array(times, dtype=np.float32)
        arrays[f"{path.stem}_canary"] = np.array([row["canary"] for row in rows], dtype=np.float32)
        arrays[f"{path.stem}_position"] = np.array([row["position"] for row in rows], dtype=np.int16)
        arrays[f"{path.stem}_switches"] = np.array([row["switches"] for row in rows], dtype=np.int16)
        arrays[f"{path.stem}_at"] = np.array([row["at"] for row in rows], dtype=np.float32)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, **arrays)
