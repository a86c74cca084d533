"""What a machine can resolve: reference kernels, disturbed results, and how far equal code scatters."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import nlargest
from operator import itemgetter
from statistics import median
from typing import Any

from nbbench.history.telemetry import PROGRAMS, Canaries

_CHANCE = 3.0  # standard deviations that a single difference must have before it is more than chance
_SHOWN = 60
_LEVEL = 3  # commits of the shortest level


def noise_document(
    scatter: Mapping[str, Sequence[tuple[str, float]]], results: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """For each machine what can be told apart there.

    That is sentences, and each series with its scatter and the least change that levels of _LEVEL commits
    show, the noisiest first.

    `scatter` is the share by which neighbouring values differ by chance, by machine and series; `results`
    counts results and the disturbed ones among them.
    """
    made = {}
    for machine, found in sorted(scatter.items()):
        rows = [(label, share, _least(share)) for label, share in nlargest(_SHOWN, found, itemgetter(1))]
        made[machine] = {"said": _resolves(found, results.get(machine, {})), "series": rows}
    return made


def _resolves(scatter: Sequence[tuple[str, float]], counts: Mapping[str, int]) -> list[str]:
    shares, bad = sorted(share for _, share in scatter), counts.get("disturbed", 0)
    typical = median(shares)
    return [
        f"The typical time repeats within {_percent(typical)} from commit to commit "
        f"(the steadiest series within {_percent(shares[0])}, the noisiest within {_percent(shares[-1])}).",
        f"Between two single commits less than {_percent(_CHANCE * math.sqrt(2) * typical)} cannot be told "
        f"from chance; levels of {_LEVEL} commits each show {_percent(_least(typical))}.",
        f"{counts.get('results', 0):,} timed results; {bad:,} of them disturbed by other load: no verdict "
        "rests on those.",
        "Exact work (bytes, operations, steps of Python) has no noise: any change of it is real.",
    ]


def _least(share: float) -> float:
    """The least change that levels of _LEVEL values each show beyond chance: the error of a difference."""
    return _CHANCE * share * math.sqrt(2 / _LEVEL)


def kernel_times(canaries: Canaries) -> dict[str, list[tuple[Any, ...]]]:
    """When the reference kernels ran on each machine (seconds of the epoch), and the seconds of each."""
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for place, level in canaries.levels.items():
        found[place[1]].append((round(canaries.times[place]), *map(level.get, PROGRAMS)))
    return {machine: sorted(rows, key=lambda row: row[0]) for machine, rows in found.items()}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 1 else f"{1 + share:.1f}×"
