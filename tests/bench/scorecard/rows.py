"""The rows of the scorecard: what is asked of every method, on data of one half."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.scorecard import injected, labelled, planted, real
from tests.bench.scorecard.metrics import Truth

SEED = 20261123
_DRAWN = "measured in the order of `nbbench run`"
_ORDERS = (("", planted.one_by_one), (f", {_DRAWN}", planted.drawn))


@dataclass(frozen=True)
class Row:
    """One question: its data, and the least log ratio that counts as a change, the same for every method."""

    group: str
    name: str
    least: float
    data: Callable[[], list[Truth]]
    goal: str = ""
    samples: bool = False
    telemetry: bool = False
    ledger: bool = False


def all_rows(half: int, count: int, asv_data: Path | None) -> list[Row]:
    """Every row of the history; ``count`` is the number of series in each planted one."""
    return [
        *_sizes(half, count),
        *_kinds(half, count),
        *_patterns(half, count),
        *_injected(half, asv_data),
        _labelled(half),
        *_unchanged(half),
        *_real(half),
        *(_recorded_later() if half else ()),
    ]


def asv_data(given: str | None) -> Path | None:
    """The folder of other projects' asv results, from the option or NBBENCH_ASV_DATA."""
    name = given or os.environ.get("NBBENCH_ASV_DATA", "")
    return Path(name) if name else None


def _half_of(size: float) -> float:
    return 0.5 * math.log1p(size)


_SIZES = (0.02, 0.03, 0.05, 0.10, 0.20)


def _sizes(half: int, count: int) -> list[Row]:
    noises = (
        ("Planted: one size of step in recorded A/A noise", planted.recorded),
        ("Planted: the same in A/A noise recorded with canaries beside every value", planted.recorded_beside),
    )
    rows = []
    for (group, noise), (ending, order) in itertools.product(noises, _ORDERS):
        for cv, size in itertools.product((0.01, 0.02, 0.03), _SIZES):
            goal = "F1 ≥ 0.95" if size >= 0.05 and cv <= 0.02 else "F1 ≥ 0.8" if size >= 0.05 else ""

            data = partial(planted.steps, (size,), noise, cv, count, SEED, half, order=order)
            rows.append(Row(group + ending, f"{size:.0%} at CV {cv:.0%}", _half_of(size), data, goal))
    return rows


_MIXED = (0.05, 0.10, 0.20)
_KINDS: dict[str, tuple[planted.Noise, planted.Disturb | None]] = {
    "Gaussian": (planted.gaussian, None),
    "recorded": (planted.recorded, None),
    "recorded, 5 % spikes": (planted.recorded, planted.spikes),
    "recorded, bursts of contention": (planted.recorded, planted.bursts),
    "recorded, drift of 6 %": (planted.recorded, planted.drift),
    "recorded, speed wanders ± 2 %": (planted.recorded, planted.wander),
    "AR(1), rho 0.5": (planted.autocorrelated, None),
    "bimodal": (planted.bimodal, None),
    "recorded, 30 % of commits missing": (planted.recorded, planted.gaps),
}


def _kinds(half: int, count: int) -> list[Row]:
    group = "Planted: steps of 5, 10 and 20 % in noise of CV 2 %"
    return [
        Row(
            group + ending,
            name,
            _half_of(0.05),
            partial(planted.steps, _MIXED, noise, 0.02, count, SEED + 1, half, disturb, order=order),
            telemetry=disturb is planted.bursts,
        )
        for ending, order in _ORDERS
        for name, (noise, disturb) in _KINDS.items()
    ]


def _patterns(half: int, count: int) -> list[Row]:
    made = planted.patterns(max(count // 4, 1), SEED + 2, half)
    return [
        Row("Patterns of otava-test-data", name, _half_of(0.05), lambda truths=truths: truths)
        for name, truths in made.items()
    ]


def _injected(half: int, folder: Path | None) -> list[Row]:
    stretches = injected.stable_stretches(folder) if folder and folder.is_dir() else []
    return [
        Row(
            "Injected into stable stretches of real asv histories",
            f"{size:.0%}",
            _half_of(size),
            lambda size=size: injected.with_steps(stretches, size, SEED + 3, half),
        )
        for size in (0.05, 0.10, 0.20)
    ]


def _labelled(half: int) -> Row:
    """Not given without NBBENCH_TCPD, the folder of the data set; nothing was tuned on any of it."""
    name = os.environ.get("NBBENCH_TCPD", "")
    return Row(
        "Turing change point data set: labelled by five people, within 5 points",
        "one dimension, positive values",
        0.0,
        lambda: labelled.series_of(Path(name)) if name and half else [],
    )


def _unchanged(half: int) -> list[Row]:
    goal = "alarms ≤ 1"
    return [
        row
        for ending, order in (("as they are", planted.one_by_one), (_DRAWN, planted.drawn))
        for row in (
            _aa(f"A/A recordings, {ending}", "recorded alone", partial(real.unchanged, half, order), goal),
            *(
                _aa(
                    f"A/A recordings, {ending}",
                    name,
                    partial(real.unchanged_beside, half, data, order),
                    aim,
                    telemetry=True,
                )
                for name, data, aim in (
                    ("with canaries", "aa3", goal),
                    ("with canaries, longer", "aa4", goal),
                    ("with canaries, beside load", "aa3_load", ""),
                )
            ),
        )
    ]


def _aa(group: str, name: str, data: Callable[[], list[Truth]], goal: str, *, telemetry: bool = False) -> Row:
    return Row(group, name, _half_of(0.05), data, goal, telemetry=telemetry)


_REAL = "Real branch: events of 10 % and more, truth from the ledger"


def _real(half: int) -> list[Row]:
    others = [
        Row(
            _REAL,
            "recorded beside other processes",
            real.OPEN,
            lambda: real.contended(half),
            telemetry=True,
            ledger=True,
        ),
        Row(
            _REAL,
            "committed results, tuned on",
            real.OPEN,
            real.committed,
            samples=True,
            ledger=True,
        ),
    ]
    return [*_branch(half, drawn=False), *others, *_branch(half, drawn=True)]


_PARTS = {
    real.SINCE: "recorded on 2026-11-27, tuned on since",
    real.SEEN[0]: "held out for rules 28",
    real.SEEN[1]: "held out for rules 29",
    real.HELD_OUT: "held out: recorded on 2026-11-28",
}


def _recorded_later() -> list[Row]:
    """What was recorded when the detector was done: for rules 26 and 27, 28, 29, and for those of now."""
    seen = [row for part, name in zip(real.SEEN, ("aa6", "aa7"), strict=True) for row in _part(part, name)]
    return [*_part(real.SINCE, "aa5"), _busy(), *seen, *_part(real.HELD_OUT, "aa8")]


def _part(part: int, recording: str) -> list[Row]:
    unchanged = partial(real.unchanged_beside, part, recording)
    orders = ("commit after commit", planted.one_by_one), (_DRAWN, planted.drawn)
    return [
        *(
            _aa(f"A/A, {_PARTS[part]}", name, partial(unchanged, order=order), "alarms ≤ 1", telemetry=True)
            for name, order in orders
        ),
        *_branch(part, drawn=False),
        *_branch(part, drawn=True),
    ]


def _busy() -> Row:
    return Row(
        f"{_REAL}, {_DRAWN}, {_PARTS[real.SINCE]}",
        "beside other work on both cores",
        real.OPEN,
        partial(real.branch, real.SINCE, names=("branch11",)),
        telemetry=True,
        ledger=True,
    )


def _branch(half: int, *, drawn: bool) -> list[Row]:
    held = f", {_PARTS[half]}" if half in _PARTS else ""
    return [
        Row(
            f"{_REAL}, {_DRAWN}{held}" if drawn else f"{_REAL}{held}",
            name,
            real.OPEN,
            partial(collect, half, drawn=drawn, bursts=bursts),
            "F1 ≥ 0.8" if bursts else "F1 ≥ 0.9",
            telemetry=True,
            ledger=True,
        )
        for name, collect, bursts in (
            ("as recorded", real.branch, False),
            ("with recorded bursts", real.branch, True),
            ("measured twice", real.twice, False),
            ("measured twice, with recorded bursts", real.twice, True),
        )
    ]
