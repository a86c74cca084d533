"""Base against head in interleaved fresh processes, the benchmarks of benchmarks/ unchanged."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbbench.collect.ledgers import open_tree
from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.model import Commit
from nbbench.probe.resources import PINNED_ENVIRONMENT
from nbbench.warm import client

# A process in which others used more of the machine than this is measured again.
OTHERS_SHARE = 0.20
STEAL_SHARE = 0.03
# One process: at least three samples, more of short ones; the fastest counts (noise only adds time).
ATTRIBUTES = {"rounds": 1, "repeat": (3, 100, 0.3), "warmup_time": 0.02}


@dataclass(frozen=True, slots=True)
class GateSeries:
    """A benchmark with one parameter set, as asv numbers it, and its time limit."""

    benchmark: str
    index: int | None
    label: str
    timeout_s: float

    @property
    def id(self) -> str:
        """asv's id of it: `name-3`."""
        return self.benchmark if self.index is None else f"{self.benchmark}-{self.index}"


@dataclass(frozen=True, slots=True)
class Sample:
    """The fastest sample of one process (seconds), or why there is none."""

    seconds: float | None
    contended: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Base and head of one series in one round."""

    base: Sample
    head: Sample

    @property
    def log_ratio(self) -> float:
        """log(head/base); nan where one of them failed."""
        if not self.base.seconds or not self.head.seconds:
            return math.nan
        return math.log(self.head.seconds / self.base.seconds)

    @property
    def contended(self) -> bool:
        """Whether others disturbed either process."""
        return self.base.contended or self.head.contended


class PairedRunner:
    """Measures rounds of base/head pairs in processes forked from one warm server.

    `seed` fixes every order that is drawn. Use it as a context through `paired_runner`.
    """

    def __init__(
        self, settings: Settings, base: Commit, head: Commit, server: client.WarmServer, seed: int
    ) -> None:
        self.server = server
        self._settings = settings
        self._commits = {"base": base, "head": head}
        self._random = random.Random(seed)  # noqa: S311 -- the order of measurements, not a secret

    @property
    def ends(self) -> str:
        """Base and head as a command line names them."""
        return f"{self._commits['base'].short} {self._commits['head'].short}"

    def discover(self, pattern: str) -> list[GateSeries]:
        """Timed series of the suite whose asv name matches; UsageError when none does."""
        try:
            regex = re.compile(pattern)
        except re.error as error:
            raise UsageError(f"--bench is not a regular expression: {error}") from error
        environment = open_tree(self._settings, self.server, self._commits["head"])
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "benchmarks.json"
            outcome = self.server.run(
                ["discover", str(self._settings.root / "benchmarks"), str(target)],
                cwd=folder,
                environment=environment,
                timeout_s=60,
            )
            if outcome.exit_code:
                raise InconclusiveError(f"the benchmarks cannot be imported: {_last_line(outcome.output)}")
            found = json.loads(target.read_text(encoding="utf-8"))
        series = [s for entry in found for s in _series(entry) if regex.search(s.label)]
        if not series:
            raise UsageError(f"no timed benchmark matches {pattern!r}")
        return series

    def measure(self, series: Sequence[GateSeries]) -> Mapping[GateSeries, Pair]:
        """One round: every series once for base and head, all in random order of series and sides."""
        order = list(series)
        self._random.shuffle(order)
        pairs = {}
        for item in order:
            sides = ["base", "head"]
            self._random.shuffle(sides)
            samples = {side: self._sample(item, side) for side in sides}
            pairs[item] = Pair(samples["base"], samples["head"])
        return pairs

    def _sample(self, series: GateSeries, side: str) -> Sample:
        commit = self._commits[side]
        environment = open_tree(self._settings, self.server, commit)
        with tempfile.TemporaryDirectory(prefix="nbbench-gate-") as folder:
            result = Path(folder) / "result.json"
            argv = ["run", str(self._settings.root / "benchmarks"), series.id, json.dumps(ATTRIBUTES)]
            outcome = self.server.run(
                [*argv, "None", str(result)], cwd=folder, environment=environment, timeout_s=series.timeout_s
            )
            if outcome.exit_code:
                return Sample(None, False, f"{commit.short}: {_last_line(outcome.output)}")
            told = json.loads(result.read_text(encoding="utf-8"))
        if not isinstance(told, dict) or not told.get("samples"):
            return Sample(None, False, f"{commit.short}: skipped: {_last_line(outcome.output)}")
        return Sample(min(told["samples"]), _contended(outcome.telemetry))


def _contended(telemetry: Mapping[str, Any]) -> bool:
    # Jiffies are 10 ms: shares of very short processes mean nothing.
    wall = max(float(telemetry["wall_s"]), 0.2)
    others, steal = float(telemetry["others_cpu_s"]), float(telemetry["steal_s"])
    return others > OTHERS_SHARE * wall or steal > STEAL_SHARE * wall


def _series(entry: Mapping[str, Any]) -> Iterator[GateSeries]:
    if entry.get("type") != "time" or entry["name"].rpartition(".")[2].startswith("timeraw"):
        return
    timeout = float(entry.get("timeout") or 60)
    if not entry["params"]:
        yield GateSeries(entry["name"], None, entry["name"], timeout)
        return
    for index, values in enumerate(itertools.product(*entry["params"])):
        yield GateSeries(entry["name"], index, f"{entry['name']}({', '.join(values)})", timeout)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


@contextmanager
def paired_runner(settings: Settings, base: Commit, head: Commit, seed: int) -> Iterator[PairedRunner]:
    """A runner with its warm server, which ends with the context."""
    server = client.start(sys.executable, {**os.environ, **PINNED_ENVIRONMENT})
    try:
        yield PairedRunner(settings, base, head, server, seed)
    finally:
        server.close()
