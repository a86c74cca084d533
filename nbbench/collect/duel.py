"""A duel: base and head of one series in two fresh processes that take turns on one machine.

Both are set up first; then each turn runs one side and then the other, in random order, for some 30 ms. Only
one of them runs at a time. Turns that were disturbed are taken again by both sides.
"""

from __future__ import annotations

import json
import math
import os
import select
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from nbbench.errors import HostError
from nbbench.warm.client import Job, JobOutcome
from nbbench.warm.zygote import machine_times

TURNS = 5
"""Turns that count: more lower the noise of a round less than more rounds do (docs/statistics.md). One turn
before them does not count: in it a large workload still faults pages in and takes 10 to 40 % longer."""

KEPT = 2
"""A side's figure is the geometric mean of its fastest turns, so many: noise only adds time, and two fastest
scatter less than one (docs/statistics.md)."""

TURN_S = 0.03
"""Seconds of a turn: short against the machine's wandering, long against the hand-over (0.1 ms)."""

MOST_REPEATS = 6
"""Disturbed turns that are taken again in one duel; after that the whole pair is told to be disturbed."""

OTHERS_SHARE = 0.20
"""Processors used by others beyond those that the workload leaves free, above which a duel was disturbed."""

STEAL_SHARE = 0.03
"""Share of the time that the hypervisor took, above which a duel was disturbed."""

CANARY_JUMP = math.log(1.10)
"""A canary that changes by more than this within a duel: the machine's speed jumped."""

_SIDES = ("base", "head")


@dataclass(frozen=True, slots=True)
class Sample:
    """The time of one process (seconds, `figure` of its turns), or why there is none."""

    seconds: float | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Canaries:
    """Seconds of the canaries, each (before, after) the turns, by side."""

    bandwidth_s: Mapping[str, tuple[float, float]]
    arithmetic_s: Mapping[str, tuple[float, float]]

    @property
    def log_ratio(self) -> float:
        """ln(head / base) of both canaries' mean: what a wandering machine adds to the workload's."""
        return statistics.fmean(
            statistics.fmean(map(math.log, found["head"])) - statistics.fmean(map(math.log, found["base"]))
            for found in (self.bandwidth_s, self.arithmetic_s)
        )

    @property
    def jump(self) -> float:
        """Largest absolute log-ratio between before and after, over sides and canaries."""
        found = (*self.bandwidth_s.values(), *self.arithmetic_s.values())
        return max(abs(math.log(after / before)) for before, after in found)


@dataclass(frozen=True, slots=True)
class Pair:
    """What one duel gave: base, head, the log-ratio of their figures, and what disturbed it ('' nothing)."""

    base: Sample
    head: Sample
    log_ratio: float = math.nan
    turns: int = 0
    repeated: int = 0
    disturbed: str = ""
    wall_s: float = 0.0
    canaries: Canaries | None = None

    @property
    def contended(self) -> bool:
        """Whether it has to be measured again."""
        return bool(self.disturbed)


@dataclass(slots=True)
class _Player:
    """One side: its process and the line to it."""

    job: Job
    stream: Any
    figures: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    def tell(self, **order: Any) -> None:
        """Send an order; a process that is gone is noticed by `hear`."""
        try:
            self.stream.write(json.dumps(order) + "\n")
            self.stream.flush()
        except OSError:
            pass

    def hear(self) -> dict[str, Any] | None:
        """The next answer; None when the process ended."""
        try:
            line = self.stream.readline()
        except OSError:
            return None
        return json.loads(line) if line else None

    def ask(self, **order: Any) -> dict[str, Any] | None:
        """Send an order and wait for the answer."""
        self.tell(**order)
        return self.hear()


class _Gone(Exception):
    """A process ended or skipped before its time; `side` names it."""

    def __init__(self, side: str, reason: str = "") -> None:
        super().__init__(reason)
        self.side, self.reason = side, reason


def duel(
    begin: Callable[[str, list[str]], Job],
    benchmark_dir: str,
    benchmark: str,
    random: Random,
    *,
    turns: int = TURNS,
    abreast: bool = False,
    spare: int = 0,
) -> Pair:
    """Run one duel of `benchmark` (asv's id).

    `begin(side, argv)` starts the process of "base" or "head"; `abreast` sets both up at the same time, for
    machines with cores to spare; others may use `spare` cores without disturbing it. Raises HostError when
    the warm server is gone.
    """
    players: dict[str, _Player] = {}
    order = random.sample(_SIDES, 2)
    # Linux limits the path of a socket to 108 bytes, so it cannot lie in the project.
    with tempfile.TemporaryDirectory(prefix="nbbench-") as folder, socket.socket(socket.AF_UNIX) as listener:
        address = str(Path(folder) / "duel")
        listener.bind(address)
        listener.listen(2)
        argument = {"benchmark_dir": benchmark_dir, "benchmark": benchmark, "address": address}
        argv = ["call", "nbbench.probe.turns:serve", json.dumps(argument)]
        found: dict[str, Any] = {}
        lost: _Gone | None = None
        try:
            for side in order:
                job = begin(side, argv)
                stream = _connection(job, listener)
                players[side] = _Player(job, stream)
            _set_up(players, order, abreast)
            found = _take_turns(players, random, turns, spare)
        except _Gone as gone:
            lost = gone
        outcomes = {side: _end(player) for side, player in players.items()}
    if lost is not None:
        return _failed(lost, outcomes)
    figures = {side: players[side].figures for side in _SIDES}
    samples = {side: Sample(figure(clean) if clean else None) for side, clean in figures.items()}
    return Pair(samples["base"], samples["head"], **found)


def figure(turns: Sequence[float]) -> float:
    """Geometric mean of the KEPT fastest turns (seconds, at least one)."""
    return statistics.geometric_mean(sorted(turns)[:KEPT])


def _connection(job: Job, listener: socket.socket) -> Any:
    """The stream to a job that was just started; a closed one when it ended before it connected."""
    ready, _, _ = select.select([listener, job.suite], [], [])
    if listener not in ready:
        return Path(os.devnull).open("r+", encoding="utf-8")  # reads as a process that ended
    connection, _ = listener.accept()
    with connection:
        return connection.makefile("rw", encoding="utf-8")


def _set_up(players: Mapping[str, _Player], order: list[str], abreast: bool) -> None:
    for group in [order] if abreast else [[side] for side in order]:
        for side in group:
            players[side].tell(op="set up")
        for side in group:
            answer = players[side].hear()
            if answer is None or answer["skipped"]:
                raise _Gone(side, "skipped" if answer else "")


def _take_turns(players: Mapping[str, _Player], random: Random, turns: int, spare: int) -> dict[str, Any]:
    """All turns with the canaries around them; the fields of the Pair besides its samples."""
    before = {side: _ask(players, side, op="canary") for side in random.sample(_SIDES, 2)}
    start, (busy, steal) = time.perf_counter(), machine_times()
    done = tries = 0
    for side in random.sample(_SIDES, 2):
        players[side].cpu_s += _ask(players, side, op="turn", seconds=TURN_S)["cpu_s"]
    while done < turns and tries < turns + MOST_REPEATS:
        tries += 1
        fastest: dict[str, float] = {}
        for side in random.sample(_SIDES, 2):
            turn = _ask(players, side, op="turn", seconds=TURN_S)
            players[side].cpu_s += turn["cpu_s"]
            if turn["samples"]:
                fastest[side] = min(turn["samples"])
        if len(fastest) == len(_SIDES):
            for side in _SIDES:
                players[side].figures.append(fastest[side])
            done += 1
    wall = time.perf_counter() - start
    busy_after, steal_after = machine_times()
    others = busy_after - busy - sum(player.cpu_s for player in players.values())
    after = {side: _ask(players, side, op="canary") for side in random.sample(_SIDES, 2)}
    canaries = Canaries(
        *({side: (before[side][name], after[side][name]) for side in _SIDES} for name in before["base"])
    )
    if not done:  # nobody's fault: to be measured again
        return {"disturbed": "every turn waited for a core", "wall_s": wall, "canaries": canaries}
    return {
        "log_ratio": math.log(figure(players["head"].figures) / figure(players["base"].figures)),
        "turns": done,
        "repeated": tries - done,
        "disturbed": disturbance(
            wall, others - spare * wall, steal_after - steal, done < turns, canaries.jump
        ),
        "wall_s": wall,
        "canaries": canaries,
    }


def disturbance(wall_s: float, others_s: float, steal_s: float, short: bool, jump: float) -> str:
    """What disturbed a duel, in a few words; '' when nothing did.

    Takes the seconds of its turns, the CPU seconds that others used beyond the spare cores and that the
    hypervisor took meanwhile, whether it fell `short` of clean turns, and the canaries' jump. None of it
    depends on which side was the faster one.
    """
    # The machine counts in steps of 10 ms: shares of very short duels mean nothing.
    wall = max(wall_s, 0.2)
    if short:
        return "waited for a core"
    if steal_s > STEAL_SHARE * wall:
        return "the hypervisor took time"
    if others_s > OTHERS_SHARE * wall:
        return "other processes ran"
    return "the canary jumped" if jump > CANARY_JUMP else ""


def _ask(players: Mapping[str, _Player], side: str, **order: Any) -> dict[str, Any]:
    answer = players[side].ask(**order)
    if answer is None:
        raise _Gone(side)
    return answer


def _end(player: _Player) -> JobOutcome:
    player.tell(op="end")
    player.stream.close()
    return player.job.finish()


def _failed(lost: _Gone, outcomes: Mapping[str, JobOutcome]) -> Pair:
    """A pair without a figure: the lost side tells why."""
    if not outcomes:
        raise HostError("no benchmark process started")
    outcome = outcomes.get(lost.side)
    lines = [line.strip() for line in (outcome.output if outcome else "").splitlines() if line.strip()]
    reason = ": ".join(filter(None, (lost.reason, lines[-1] if lines else "")))
    samples = {side: Sample(None, (reason or "no message") if side == lost.side else "") for side in _SIDES}
    return Pair(samples["base"], samples["head"])
