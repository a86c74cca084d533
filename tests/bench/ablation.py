"""What each rule of the history detector earns: each is switched off by itself, on the data it was tuned on.

`python -m tests.bench.ablation [RULE …]` prints a line a rule: F1 of changes ≥ 10 %, times 1,000,
over all recordings of the branch up to `branch14`, as recorded and with bursts together; and the false
reports in code that did not change. It takes one to two minutes a rule.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np

from nbbench.history import changes, together
from nbbench.stats import canary, detector, known, segments, shared
from tests.bench.scorecard import planted, real
from tests.bench.scorecard.metrics import Score, Truth, large_enough
from tests.bench.scorecard.product import places

PARTS = (0, 1, 2)
BESIDE = ("aa3", "aa4", "aa3_load", "aa5")
Off = tuple[Any, str, Any]
"""Where a rule is looked up, its name there, and what stands in its place."""


def _none(*_: Any, **__: Any) -> together.Together:
    return together.Together({}, {})


def _first(first: Any, *_: Any, **__: Any) -> Any:
    return first


def _false(values: np.ndarray, *_: Any) -> np.ndarray:
    return np.zeros(np.asarray(values).shape[-1], dtype=np.bool_)


def _even(values: np.ndarray, *_: Any) -> np.ndarray:
    return np.ones(values.size)


def _nothing_expected(self: Any, key: Any, commits: Any) -> np.ndarray:
    return np.array([np.zeros(len(commits)), np.full(len(commits), np.inf)])


def _nothing_known(values: Any, *_: Any, **__: Any) -> tuple[tuple[()], np.ndarray]:
    return (), np.ones(np.asarray(values).size)


def _nothing_lent(values: Any, *_: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(values), np.zeros(np.asarray(values).size)


_CERTAIN = ((detector, "CERTAIN_OF_AR"), (detector, "CERTAIN_OF_SLOW"), (segments, "OBVIOUS_SIGMAS"))
_LEVELS, _JUMPS = segments.Levels, shared.SharedJumps
RULES: Mapping[str, tuple[Off, ...]] = {
    "(nothing)": (),
    "loudness of a stretch": ((detector, "loudness", _even), (known, "loudness", _even)),
    "excess noise of long windows": ((_LEVELS, "measure_inflation", _first),),
    "runs of spikes": ((_LEVELS, "chance_of_spikes", lambda *_: 0.0),),
    "points of its own": ((_LEVELS, "_borrows", lambda *_: False),),
    "noise of each level": ((_LEVELS, "_own_variance", _LEVELS.noise_variance),),
    "few points tell little of a loud level": ((segments, "equivalent_statistic", _first),),
    "the likeliest place": ((_LEVELS, "settle", lambda self, cuts, tests: list(cuts)),),
    "no cut moves to where it fails": ((_LEVELS, "_closed_up", lambda self, cuts, *_: self.refine(cuts)),),
    "certain changes out before noise": tuple((*place, math.inf) for place in _CERTAIN),
    "bursts are no levels": ((changes, "without_bursts", _first),),
    "bursts: measured alone confirms": ((changes, "measured_alone", _false),),
    "flips are no levels": ((changes, "without_flips", _first),),
    "mixtures": ((changes, "find_mixture", lambda *_, **__: None),),
    "drift by canaries and neighbours in time": ((changes, "remove_drift", lambda values, _: (values, 1.0)),),
    "disturbed beside a slow canary": ((changes, "disturbed_beside", _false),),
    "canaries against 81 around": ((canary, "NEIGHBOURS", (10,)),),
    "canaries against 21 around": ((canary, "NEIGHBOURS", (40,)),),
    "levels that the series share": ((changes, "shared_levels", _none),),
    "… steady levels of three to six": ((_JUMPS, "_whole", lambda *_: set()),),
    "… short levels of half the series": ((_JUMPS, "_no_burst", lambda *_, **__: False),),
    "… against their neighbours in time": ((_JUMPS, "_in_time", lambda *_: True),),
    "the machine's speed by its neighbours in time": ((changes, "shared_speed", _none),),
    "shares of slow series": ((changes, "shared_slowness", _none),),
    "… a series slow alone does not jump": ((changes, "slow_alone", _false),),
    "… slow in a row is disturbed": ((changes, "slow_in_a_row", _false),),
    "the series beside quiet canaries": ((changes.Siblings, "of", classmethod(lambda cls, _: cls())),),
    "the faster of two collections": ((changes, "settled", lambda _, values, again: (values, again)),),
    "what two collections confirm": ((changes, "repeated", lambda _, values, again: _false(values)),),
    "places that exact work knows": ((changes, "known_steps", _nothing_known),),
    "… better elsewhere": ((known, "_elsewhere", lambda *_: False),),
    "… lent values": ((changes, "lent_values", _nothing_lent),),
    "… what is expected": ((together.PlaceEffects, "of", _nothing_expected),),
}

Evidence = tuple[bool, bool, bool]
ALONE, TELEMETRY, CANARIES, LEDGER, ALL = (
    (False, False, False),
    (True, False, False),
    (True, False, True),
    (True, True, False),
    (True, True, True),
)
"""Telemetry, ledger, canaries."""


def score(truths: list[Truth], evidence: Evidence) -> Score:
    """What the product reports of these series, judged together with their siblings."""
    found = Score()
    machines = {id(truth.siblings): truth.siblings for truth in truths}
    beside = dict(zip(("telemetry", "ledger", "canary"), evidence, strict=True))
    for machine in machines.values():
        for truth, told in zip(machine, places(machine, real.OPEN, **beside), strict=True):
            found.add(truth, large_enough(truth.values, told, real.OPEN))
    return found


def _branches(evidence: Evidence, *, drawn: bool) -> Iterator[tuple[list[Truth], Evidence]]:
    for part in PARTS:
        for bursts in (False, True):
            for name in (real.DRAWN_PARTS if drawn else real.PARTS)[part]:
                truths = real.branch(part, drawn=drawn, bursts=bursts, names=(name,))
                if not evidence[2] or truths[0].canary is not None:
                    yield truths, evidence


def _twice() -> Iterator[tuple[list[Truth], Evidence]]:
    for part in PARTS[1:]:
        for bursts in (False, True):
            yield real.twice(part, bursts=bursts), ALONE


def _equal(order: planted.Order) -> Iterator[tuple[list[Truth], Evidence]]:
    yield real.unchanged(0, order), ALONE
    for name in BESIDE:
        for evidence in (ALONE, TELEMETRY, CANARIES):
            yield real.unchanged_beside(0, name, order), evidence


@contextmanager
def without(rule: str) -> Iterator[None]:
    """The detector lacks a rule in the block."""
    with ExitStack() as off:
        for where, name, other in RULES[rule]:
            off.enter_context(mock.patch.object(where, name, other))
        yield


Data = Callable[[], Iterator[tuple[list[Truth], Evidence]]]
COLUMNS: Mapping[str, Data] = {
    "alone": lambda: _branches(ALONE, drawn=False),
    "ledger": lambda: _branches(LEDGER, drawn=False),
    "twice": _twice,
    "drawn, canaries": lambda: _branches(CANARIES, drawn=True),
    "drawn, all": lambda: _branches(ALL, drawn=True),
    "equal code": lambda: _equal(planted.one_by_one),
    "equal code, drawn": lambda: _equal(planted.drawn),
}


def main(arguments: list[str] | None = None) -> None:
    """Print a line a rule."""
    parser = argparse.ArgumentParser(description="What each rule of the history detector earns.")
    parser.add_argument("rules", nargs="*", metavar="RULE", help="all, or: " + "; ".join(RULES))
    asked = parser.parse_args(arguments).rules
    if unknown := [name for name in asked if name not in RULES]:
        parser.error(f"there is no rule {unknown[0]!r}; --help names them")
    print("| without | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 1) + "|", flush=True)
    data = {name: list(made()) for name, made in COLUMNS.items()}
    for rule in asked or RULES:
        cells = []
        with without(rule):
            for name, parts in data.items():
                total = Score()
                for one in (score(truths, evidence) for truths, evidence in parts):
                    total.hits, total.misses = total.hits + one.hits, total.misses + one.misses
                    total.alarms += one.alarms
                cells.append(str(total.alarms) if name.startswith("equal") else f"{1000 * total.f1:.0f}")
        print(f"| {rule} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
