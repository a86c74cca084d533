"""Base against head in interleaved fresh processes, the benchmarks of benchmarks/ unchanged."""

import itertools
import json
import os
import random
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.measure import warm_client
from nbbench.measure.ledgers import open_tree
from nbbench.measure.pair import SIDES, Pair, Sample, sliced_pair, whole_pair
from nbbench.measure.process_env import server_environment
from nbbench.model import Commit
from nbbench.probe.resources import usable_threads
from nbbench.words import last_line

ROUNDS_PER_SERVER = 3
"""Rounds from one warm server. Its processes share the layout of what it imported, which favours one side by
chance (docs/statistics.md); a new server costs five seconds, and so more would cost more rounds."""

_JUDGED = ("time", "peakmemory", "memory", "track")


@dataclass(frozen=True, slots=True)
class GateSeries:
    """A benchmark with one parameter set, as asv numbers it, its time limit, asv's type and unit.

    A `sliced` one is timed in slices of two live processes; of any other each sample needs a process, of a
    `cold` one a process that has not imported the subject.
    """

    benchmark: str
    index: int | None
    label: str
    timeout_s: float
    version: str = ""
    params: tuple[tuple[str, str], ...] = ()
    kind: str = "time"
    unit: str = "seconds"
    sliced: bool = True
    cold: bool = False

    @property
    def id(self) -> str:
        """asv's id of it: `name-3`."""
        return self.benchmark if self.index is None else f"{self.benchmark}-{self.index}"


class PairedRunner(AbstractContextManager["PairedRunner"]):
    """Measures rounds of base/head pairs in processes forked from a warm server.

    `seed` fixes every order that is drawn. A context, with which the server ends. `left_out` names the
    benchmarks that `discover` found and pairs cannot judge: those with a setup_cache.
    """

    def __init__(self, settings: Settings, base: Commit, head: Commit, seed: int) -> None:
        self._settings = settings
        self._commits = {"base": base, "head": head}
        self._random = random.Random(seed)  # noqa: S311 -- the order of measurements, not a secret
        self._server: warm_client.WarmServer | None = None
        self._rounds, self._forked = 0, False
        self.left_out: list[str] = []
        self._spare = max((os.cpu_count() or 1) - usable_threads(settings.threads), 0)

    def __exit__(self, *_: object) -> None:
        self.renew()

    @property
    def server(self) -> warm_client.WarmServer:
        """The warm server, started when it is first asked for."""
        if self._server is None:
            self._server = warm_client.WarmServer(environment=server_environment(), suites=2 * len(SIDES))
            self._rounds, self._forked = 0, False
        return self._server

    def renew(self) -> None:
        """End the server: the next process comes from a new one, with another layout of memory."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def ends(self) -> str:
        """Base and head as a command line names them."""
        return f"{self._commits['base'].short} {self._commits['head'].short}"

    def discover(self, pattern: str) -> list[GateSeries]:
        """Series of the suite that pairs can judge and whose asv name matches; UsageError when none does."""
        regex = re.compile(pattern)
        environment = self._open("head")
        with tempfile.TemporaryDirectory(dir=self.server.scratch) as folder:
            target = Path(folder) / "benchmarks.json"
            outcome = self.server.run(
                ["discover", str(self._settings.root / "benchmarks"), str(target)],
                cwd=folder,
                environment=environment,
                timeout_s=60,
            )
            if outcome.exit_code:
                raise InconclusiveError(
                    f"the benchmarks cannot be imported: {last_line(outcome.output, 'no message')}"
                )
            found = json.loads(target.read_text(encoding="utf-8"))
        series = [s for entry in found for s in _series(entry) if regex.search(s.label)]
        named = [entry["name"] for entry in found if not any(_series(entry))]
        self.left_out = [name for name in named if regex.search(name)]
        if not series:
            raise UsageError(f"no benchmark matches {pattern!r}")
        return series

    def measure(self, series: Sequence[GateSeries]) -> Iterator[tuple[GateSeries, Pair]]:
        """One round: every series once in random order, each a pair of two fresh processes."""
        if self._rounds >= ROUNDS_PER_SERVER:
            self.renew()
        self._rounds += 1
        for item in self._random.sample(series, len(series)):
            yield item, self._pair(item)

    def _pair(self, series: GateSeries) -> Pair:
        suite = str(self._settings.root / "benchmarks")
        with tempfile.TemporaryDirectory(prefix="pair-", dir=self.server.scratch) as folder:

            def surroundings(side: str) -> dict[str, Any]:
                environment = self._open(side, bare=series.cold)
                return {"cwd": folder, "environment": environment, "timeout_s": 2 * series.timeout_s}

            if series.sliced:

                def begin(side: str, argv: list[str], descriptor: int) -> warm_client.Job:
                    return self.server.begin(argv, descriptor=descriptor, **surroundings(side))

                pair = sliced_pair(begin, suite, series.id, self._random, spare=self._spare)
            else:
                result = Path(folder) / "result.json"
                argv = ["run", suite, series.id, "{}", "None", str(result)]
                if series.cold:
                    asked = {"benchmark_dir": suite, "benchmark": series.id, "path": str(result)}
                    argv = ["call", "nbbench.probe.slices:time_statement", json.dumps(asked)]

                def run(side: str) -> warm_client.JobOutcome:
                    return self.server.run(argv, **surroundings(side))

                spare = self._spare if series.kind == "time" else None
                pair = whole_pair(run, result, self._random, spare=spare)
        return replace(pair, base=self._named("base", pair.base), head=self._named("head", pair.head))

    def _named(self, side: str, sample: Sample) -> Sample:
        """The sample with its commit named in the error, if it has one."""
        if not sample.error or sample.skipped:
            return sample
        return replace(sample, error=f"{self._commits[side].short} cannot run it: {sample.error}")

    def _open(self, side: str, *, bare: bool = False) -> dict[str, str]:
        """Have the suite of a side at hand; each side has a server of its own, even for the same tree."""
        if bare:
            return open_tree(self._settings, self.server, self._commits[side], slot=f"cold {side}", bare=True)
        if not self._forked:
            self._forked = True
            for each in self._random.sample(SIDES, 2):  # which is forked first is no system
                open_tree(self._settings, self.server, self._commits[each], slot=each)
        return open_tree(self._settings, self.server, self._commits[side], slot=side)


def _series(entry: Mapping[str, Any]) -> Iterator[GateSeries]:
    """The series of one benchmark as asv describes it; none where pairs cannot judge it."""
    kind = str(entry.get("type"))
    if kind not in _JUDGED or entry.get("setup_cache_key"):
        return
    cold = entry["name"].rpartition(".")[2].startswith("timeraw")
    names = entry.get("param_names") or [f"param{i + 1}" for i in range(len(entry["params"]))]
    one = GateSeries(
        entry["name"],
        None,
        entry["name"],
        float(entry.get("timeout") or 60),
        str(entry.get("version", "")),
        kind=kind,
        unit=str(entry.get("unit") or ""),
        sliced=kind == "time" and not cold,
        cold=cold,
    )
    if not entry["params"]:
        yield one
        return
    for index, values in enumerate(itertools.product(*entry["params"])):
        label = f"{entry['name']}({', '.join(values)})"
        yield replace(one, index=index, label=label, params=tuple(zip(names, values, strict=True)))
