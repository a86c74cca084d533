"""Fresh benchmark processes of one series, one for each side, that run slices in turn on one machine.

All are set up first; then in each slice every side runs once, in random order, for some 30 ms. Only one of
them runs at a time. Slices that were disturbed are taken again by all sides.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from nbbench.errors import HostError
from nbbench.measure.kernel import machine_times
from nbbench.measure.warm_client import Job, JobOutcome
from nbbench.words import last_line

SLICES = 5
"""Slices that count: more lower the noise of a round less than more rounds do (docs/statistics.md). One slice
before them does not count: in it a large workload still faults pages in and takes 10 to 40 % longer."""

SLICE_S = 0.03
"""Seconds of a slice: short against the machine's wandering, long against the hand-over (0.1 ms)."""

MOST_REPEATS = 6
"""Disturbed slices that are taken again; after that fewer than were asked for count."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a side gave no figure: it ended before its time, or `skipped` its benchmark."""

    reason: str
    skipped: bool = False


class SidesEnded(Exception):
    """Sides that ended or skipped their benchmark, with the reasons by side."""

    def __init__(self, sides: Mapping[str, Ended]) -> None:
        super().__init__("; ".join(f"{side}: {end.reason}" for side, end in sides.items()))
        self.sides = dict(sides)


@dataclass(frozen=True, slots=True)
class Slices:
    """What the slices gave.

    `samples` holds the fastest sample (seconds) of each slice that counts, by side; `canaries` the seconds
    of each reference kernel, (before, after) the slices, by its name and side. `tries` slices were taken in
    `wall_s` seconds, in which other processes used `others_s` CPU seconds and the hypervisor took `steal_s`.
    """

    samples: Mapping[str, Sequence[float]]
    canaries: Mapping[str, Mapping[str, tuple[float, float]]]
    tries: int
    wall_s: float
    others_s: float
    steal_s: float


@dataclass(slots=True)
class _Side:
    """One side: its process and the line to it."""

    name: str
    job: Job
    stream: Any
    samples: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    def tell(self, **order: Any) -> None:
        """Send an order; a process that is gone is noticed by `hear`."""
        with contextlib.suppress(OSError):
            self.stream.write(json.dumps(order) + "\n")
            self.stream.flush()

    def hear(self) -> dict[str, Any]:
        """The next answer. Raises SidesEnded when the process ended."""
        try:
            line = self.stream.readline()
        except OSError:
            line = ""
        if not line:
            raise SidesEnded({self.name: Ended("")})
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **order: Any) -> dict[str, Any]:
        """Send an order and wait for the answer."""
        self.tell(**order)
        return self.hear()

    def slice(self) -> float | None:
        """The fastest sample (seconds) of one slice; None when every sample was disturbed."""
        answer = self.ask(op="slice", seconds=SLICE_S)
        self.cpu_s += answer["cpu_s"]
        return min(answer["samples"], default=None)

    def end(self) -> JobOutcome:
        """End the process."""
        self.tell(op="end")
        with contextlib.suppress(OSError):  # what a process that is gone was told is still in the buffer
            self.stream.close()
        return self.job.finish()


def take_slices(
    begin: Callable[[str, list[str]], Job],
    names: Sequence[str],
    benchmark_dir: str,
    benchmark: str,
    random: Random,
    *,
    slices: int = SLICES,
    abreast: bool = False,
    scratch: Path | None = None,
) -> Slices:
    """Have one process for each of `names` run slices of `benchmark` (asv's id), in random orders.

    `begin(name, argv)` starts the process of a side; `abreast` sets all up at the same time, for machines
    with cores to spare. The line to the processes lies below `scratch` (default: where temporary files go).
    Raises SidesEnded when processes do not run to the end, HostError when the warm server is gone or the
    folder's path is too long.
    """
    sides: list[_Side] = []
    # Linux limits the path of a socket to 108 bytes, so it cannot lie in the project.
    with (
        tempfile.TemporaryDirectory(prefix="line-", dir=scratch) as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        address = _bound(listener, Path(folder))
        listener.listen(len(names))
        argument = {"benchmark_dir": benchmark_dir, "benchmark": benchmark, "address": address}
        argv = ["call", "nbbench.probe.slices:serve_slices", json.dumps(argument)]
        try:
            for name in random.sample(names, len(names)):
                job = begin(name, argv)
                sides.append(_Side(name, job, _connection(job, listener)))
            _set_up(sides, abreast)
            taken = _in_turn(sides, random, slices)
        except SidesEnded as ended:
            outcomes = {side.name: side.end() for side in sides}
            raise SidesEnded(
                {name: _with_last_words(end, outcomes[name]) for name, end in ended.sides.items()}
            ) from None
        for side in sides:
            side.end()
    return taken


def _with_last_words(ended: Ended, outcome: JobOutcome) -> Ended:
    """The end with the last line that the process printed."""
    words = ": ".join(filter(None, (ended.reason, last_line(outcome.output))))
    return Ended(words or "no message", ended.skipped)


def _bound(listener: socket.socket, folder: Path) -> str:
    """The address of the listener, in `folder`."""
    address = str(folder / "line")
    try:
        listener.bind(address)
    except OSError as error:
        raise HostError(
            f"no socket can be made in {folder}: {error.strerror or error}",
            hint="set TMPDIR to a folder with a shorter path",
        ) from error
    return address


def _connection(job: Job, listener: socket.socket) -> Any:
    """The stream to a job that was just started; a closed one when it ended before it connected."""
    ready, _, _ = select.select([listener.fileno(), job.suite.fileno()], [], [])
    if listener.fileno() not in ready:
        return Path(os.devnull).open("r+", encoding="utf-8")  # reads as a process that ended
    connection, _ = listener.accept()
    with connection:
        return connection.makefile("rw", encoding="utf-8")


def _set_up(sides: Sequence[_Side], abreast: bool) -> None:
    """Set all sides up; one that fails does not keep the others from showing what they can."""
    ended: dict[str, Ended] = {}
    for group in [sides] if abreast else [[side] for side in sides]:
        for side in group:
            side.tell(op="set up")
        for side in group:
            try:
                if side.hear()["skipped"]:
                    ended[side.name] = Ended("skipped", skipped=True)
            except SidesEnded as failed:
                ended |= failed.sides
    if ended:
        raise SidesEnded(ended)


def _in_turn(sides: Sequence[_Side], random: Random, slices: int) -> Slices:
    """All slices with the reference kernels around them."""

    def shuffled() -> list[_Side]:
        return random.sample(sides, len(sides))

    before = {side.name: side.ask(op="canary") for side in shuffled()}
    start, (busy, steal) = time.perf_counter(), machine_times()
    done = tries = 0
    for side in shuffled():
        side.slice()
    while done < slices and tries < slices + MOST_REPEATS:
        tries += 1
        fastest = [(side, side.slice()) for side in shuffled()]
        if all(sample is not None for _, sample in fastest):
            done += 1
            for side, sample in fastest:
                side.samples += [sample] if sample is not None else []
    wall = time.perf_counter() - start
    busy_after, steal_after = machine_times()
    after = {side.name: side.ask(op="canary") for side in shuffled()}
    kernels = next(iter(before.values()))
    return Slices(
        {side.name: tuple(side.samples) for side in sides},
        {
            name: {side: (first[name], after[side][name]) for side, first in before.items()}
            for name in kernels
        },
        tries,
        wall,
        busy_after - busy - sum(side.cpu_s for side in sides),
        steal_after - steal,
    )
