"""Fresh benchmark processes of one series, one for each side, that take turns on one machine.

All are set up first; then each turn runs every side once, in random order, for some 30 ms. Only one of them
runs at a time. Turns that were disturbed are taken again by all sides.
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

TURNS = 5
"""Turns that count: more lower the noise of a round less than more rounds do (docs/statistics.md). One turn
before them does not count: in it a large workload still faults pages in and takes 10 to 40 % longer."""

TURN_S = 0.03
"""Seconds of a turn: short against the machine's wandering, long against the hand-over (0.1 ms)."""

MOST_REPEATS = 6
"""Disturbed turns that are taken again; after that fewer than were asked for count."""


class Lost(Exception):
    """A process ended or skipped its benchmark before its time; `side` names it, `reason` says why."""

    def __init__(self, side: str, reason: str = "") -> None:
        super().__init__(reason)
        self.side, self.reason = side, reason


@dataclass(frozen=True, slots=True)
class Played:
    """What the turns gave.

    `samples` holds the fastest sample (seconds) of each turn that counts, by side; `canaries` the seconds
    of each canary, (before, after) the turns, by its name and side. `tries` turns were taken in `wall_s`
    seconds, in which other processes used `others_s` CPU seconds and the hypervisor took `steal_s`.
    """

    samples: Mapping[str, Sequence[float]]
    canaries: Mapping[str, Mapping[str, tuple[float, float]]]
    tries: int
    wall_s: float
    others_s: float
    steal_s: float


@dataclass(slots=True)
class _Player:
    """One side: its process and the line to it."""

    side: str
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
        """The next answer. Raises Lost when the process ended."""
        try:
            line = self.stream.readline()
        except OSError:
            line = ""
        if not line:
            raise Lost(self.side)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **order: Any) -> dict[str, Any]:
        """Send an order and wait for the answer."""
        self.tell(**order)
        return self.hear()

    def turn(self) -> float | None:
        """The fastest sample (seconds) of one turn; None when every sample was disturbed."""
        told = self.ask(op="turn", seconds=TURN_S)
        self.cpu_s += told["cpu_s"]
        return min(told["samples"], default=None)

    def end(self) -> JobOutcome:
        """End the process."""
        self.tell(op="end")
        with contextlib.suppress(OSError):  # what a process that is gone was told is still in the buffer
            self.stream.close()
        return self.job.finish()


def play(
    begin: Callable[[str, list[str]], Job],
    sides: Sequence[str],
    benchmark_dir: str,
    benchmark: str,
    random: Random,
    *,
    turns: int = TURNS,
    abreast: bool = False,
    scratch: Path | None = None,
) -> Played:
    """Have processes of `sides` take turns at `benchmark` (asv's id), in orders drawn from `random`.

    `begin(side, argv)` starts the process of a side; `abreast` sets all up at the same time, for machines
    with cores to spare. The line to the processes lies below `scratch` (default: where temporary files go).
    Raises Lost when a process does not play to the end, HostError when the warm server is gone or the
    folder's path is too long.
    """
    players: list[_Player] = []
    # Linux limits the path of a socket to 108 bytes, so it cannot lie in the project.
    with (
        tempfile.TemporaryDirectory(prefix="line-", dir=scratch) as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        address = _bound(listener, Path(folder))
        listener.listen(len(sides))
        argument = {"benchmark_dir": benchmark_dir, "benchmark": benchmark, "address": address}
        argv = ["call", "nbbench.probe.turns:serve", json.dumps(argument)]
        try:
            for side in random.sample(sides, len(sides)):
                job = begin(side, argv)
                players.append(_Player(side, job, _connection(job, listener)))
            _set_up(players, abreast)
            played = _take_turns(players, random, turns)
        except Lost as lost:
            outcomes = {player.side: player.end() for player in players}
            lines = [line for line in outcomes[lost.side].output.splitlines() if line.strip()]
            told = ": ".join(filter(None, (lost.reason, lines[-1].strip() if lines else "")))
            raise Lost(lost.side, told or "no message") from None
        for player in players:
            player.end()
    return played


def _bound(listener: socket.socket, folder: Path) -> str:
    """The address of the listener, in `folder`."""
    address = str(folder / "turns")
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


def _set_up(players: Sequence[_Player], abreast: bool) -> None:
    for group in [players] if abreast else [[player] for player in players]:
        for player in group:
            player.tell(op="set up")
        for player in group:
            if player.hear()["skipped"]:
                raise Lost(player.side, "skipped")


def _take_turns(players: Sequence[_Player], random: Random, turns: int) -> Played:
    """All turns with the canaries around them."""

    def in_turn() -> list[_Player]:
        return random.sample(players, len(players))

    before = {player.side: player.ask(op="canary") for player in in_turn()}
    start, (busy, steal) = time.perf_counter(), machine_times()
    done = tries = 0
    for player in in_turn():
        player.turn()
    while done < turns and tries < turns + MOST_REPEATS:
        tries += 1
        fastest = [(player, player.turn()) for player in in_turn()]
        if all(sample is not None for _, sample in fastest):
            done += 1
            for player, sample in fastest:
                player.samples += [sample] if sample is not None else []
    wall = time.perf_counter() - start
    busy_after, steal_after = machine_times()
    after = {player.side: player.ask(op="canary") for player in in_turn()}
    names = next(iter(before.values()))
    return Played(
        {player.side: tuple(player.samples) for player in players},
        {name: {side: (sung[name], after[side][name]) for side, sung in before.items()} for name in names},
        tries,
        wall,
        busy_after - busy - sum(player.cpu_s for player in players),
        steal_after - steal,
    )
