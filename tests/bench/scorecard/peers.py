"""The detectors side by side: a series of shape (n,) in, first indices of new levels out.

A peer that is not installed has no settings and says so in the table. Each works as its documentation has
it, on values divided by their median so that no scale favours anyone; missing values are left out and places
counted back. *best* is the setting with the highest F1 in the row itself, picked afterwards, which no user
could do: it is the most that the method can give.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.bench.scorecard import product
from tests.bench.scorecard.metrics import Truth

Detector = Callable[[Truth], list[int]]


@dataclass(frozen=True)
class Method:
    """A row of the table: one setting, or several of which the best is shown."""

    name: str
    settings: dict[str, Detector]
    why_not: str = ""


def ours(
    least: float,
    *,
    telemetry: bool = False,
    ledger: bool = False,
    canary: bool = False,
    work: bool = False,
) -> Method:
    """The product as it is (`product`), with what is on record beside the values or a part of it."""
    together: dict[int, tuple[tuple[Truth, ...], list[list[int]]]] = {}

    def find(truth: Truth) -> list[int]:
        machine = truth.siblings or (truth,)
        # the series of a machine are kept with their answer, so that their id stays theirs
        known = together.get(id(truth.siblings)) if truth.siblings else None
        if known is None:
            beside = {"telemetry": telemetry, "ledger": ledger, "canary": canary, "work": work}
            found = product.places(machine, least, **beside)
            known = together[id(truth.siblings)] = machine, found
        return known[1][truth.place]

    words = (("telemetry", telemetry), ("ledger", ledger), ("canary", canary), ("work", work))
    helped = [word for word, used in words if used]
    return Method(" + ".join(["nbbench", *helped]), {"": find})


def on_present(find: Callable[[np.ndarray], list[int]]) -> Detector:
    """``find`` on the finite values over their median; a place before a gap is the first point after it."""

    def run(truth: Truth) -> list[int]:
        index = np.flatnonzero(np.isfinite(truth.values))
        present = truth.values[index]
        if present.size < 4:
            return []
        return [int(index[i]) for i in find(present / np.median(present)) if 0 < i < index.size]

    return run


def peers() -> list[Method]:
    """Everyone else."""
    return [*asv(), *ruptures(), *skchange(), *otava()]


def asv() -> list[Method]:
    """asv publish: L1 Potts with the penalty that asv picks."""
    from asv.step_detect import detect_regressions, detect_steps

    def steps(y: np.ndarray) -> list[int]:
        return [s[0] for s in detect_steps(y.tolist())[1:]]

    def regressions(y: np.ndarray) -> list[int]:
        found = detect_regressions(detect_steps(y.tolist()), threshold=0.05)[2]
        return [r[1] for r in found or () if r[1] is not None]

    return [
        Method("asv, steps", {"": on_present(steps)}),
        Method("asv, regressions of 5 % (worse only)", {"": on_present(regressions)}),
    ]


def asv_compare() -> Method:
    """asv compare and asv continuous, commit against the one before: Mann-Whitney on the samples."""
    from asv._stats import is_different
    from asv_runner.statistics import compute_stats

    def find(factor: float) -> Detector:
        def run(truth: Truth) -> list[int]:
            index = [i for i, samples in enumerate(truth.samples) if samples]
            stats = {i: compute_stats(list(truth.samples[i]), 1) for i in index}
            found = []
            for a, b in itertools.pairwise(index):
                (va, sa), (vb, sb) = stats[a], stats[b]
                differ = is_different(list(truth.samples[a]), list(truth.samples[b]), sa, sb)
                if differ and max(va / vb, vb / va) > factor:
                    found.append(b)
            return found

        return run

    return Method(
        "asv compare, commit by commit",
        {f"factor {f}": find(f) for f in (1.1, 1.05)},
    )


def ruptures() -> list[Method]:
    """PELT at the penalty of the BIC, 2 sigma² ln n, and at the best of a grid of it and of cost
    functions."""
    try:
        import ruptures as rpt
    except ImportError:
        return [Method("ruptures PELT", {}, "not installed")]

    def find(model: str, factor: float) -> Detector:
        def run(y: np.ndarray) -> list[int]:
            log = np.log(y)
            sigma = max(1.4826 * float(np.median(np.abs(np.diff(log)))) / math.sqrt(2), 1e-6)
            scaled = log / sigma
            penalty = factor * math.log(y.size)
            # the linear kernel is PELT with the l2 cost, in C
            made = (
                rpt.KernelCPD("linear", min_size=2) if model == "l2" else rpt.Pelt(model, min_size=2, jump=1)
            )
            made.fit(scaled)
            return [int(i) for i in made.predict(pen=penalty)[:-1]]

        return on_present(run)

    grid = {
        f"{model}, penalty {factor:g} ln n": find(model, factor)
        for model, factors in (("l2", (2, 4, 8, 16, 32, 64)), ("l1", (4,)))
        for factor in factors
    }
    return [
        Method("ruptures PELT, BIC", {"": grid["l2, penalty 2 ln n"]}),
        Method("ruptures PELT, best", grid),
    ]


def skchange() -> list[Method]:
    """PELT with its default cost and penalty, and at the best of costs and multiples of the penalty."""
    try:
        from skchange.detectors import PELT
        from skchange.interval_scorers import L1Cost
    except ImportError:
        return [Method("skchange", {}, "not installed")]

    def find(cost: object, factor: float) -> Detector:
        def run(y: np.ndarray) -> list[int]:
            log = np.log(y)
            sigma = max(1.4826 * float(np.median(np.abs(np.diff(log)))) / math.sqrt(2), 1e-6)
            found = PELT(cost=cost, penalty_scale=factor).fit_predict((log / sigma).reshape(-1, 1))
            return [int(i) for i in np.asarray(found).ravel()]

        return on_present(run)

    grid = {f"L2, {f:g} × default": find(None, f) for f in (1, 2, 4, 8, 16)}
    grid |= {f"L1, {f:g} × default": find(L1Cost(), f) for f in (2,)}
    return [
        Method("skchange PELT, default", {"": grid["L2, 1 × default"]}),
        Method("skchange PELT, best", grid),
    ]


def otava() -> list[Method]:
    """Apache Otava: windowed E-divisive with t-test; window 50 and p 0.001 are its defaults."""
    try:
        from otava.analysis import compute_change_points
    except ImportError:
        return [Method("Apache Otava", {}, "not installed")]

    def find(window: int, p: float, magnitude: float) -> Detector:
        def run(y: np.ndarray) -> list[int]:
            points, _ = compute_change_points(
                y.tolist(), window_len=window, max_pvalue=p, min_magnitude=magnitude
            )
            return [int(point.index) for point in points]

        return on_present(run)

    grid = {f"window {w}, p {p:g}": find(w, p, 0.0) for w in (30, 50, 100) for p in (1e-5, 1e-4, 1e-3, 1e-2)}
    return [Method("Otava, defaults", {"": find(50, 0.001, 0.0)}), Method("Otava, best", grid)]
