"""By how much a time is to be expected to change where the work changes: what the change of work says, and
what the other series changed by at the same commit."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbbench.stats.noise import mad_sigma

_FloatArray = NDArray[np.float64]

LEAST_SPREAD = 0.02
"""Least standard deviation of what is expected, a log ratio: a predicted time is never exact."""

HUBER = 1.5
"""Sigmas from which on a change weighs less in the regression."""

OWN_WAY = 5.0
"""How many others it takes until what they share counts half."""


def expected_effects(
    effects: ArrayLike, errors: ArrayLike, work: ArrayLike, places: ArrayLike
) -> tuple[_FloatArray, _FloatArray]:
    """What to expect of each of the ``effects`` (m,), log ratios of times measured with standard ``errors``
    (m,), m > 0, by all others, (m,); and the standard deviations (m,) of such a change.

    The change of ``work`` (m, 2), the log ratios of bytes and operations, predicts by a regression through
    the origin without the change itself, whose slopes are not negative: ridge with sigma 1 (Hoerl and Kennard
    1970, doi:10.1080/00401706.1970.10488634) under Huber's weights (1964, doi:10.1214/aoms/1177703732). To
    this comes the weighted median of what is left of the other series at the same of the ``places`` (m,): k
    others count k / (k + OWN_WAY). A deviation is what the errors leave of all, and how sure both are.
    """
    y, noise, place = np.asarray(effects, dtype=np.float64), np.asarray(errors), np.asarray(places)
    x, variance = np.asarray(work, dtype=np.float64).reshape(-1, 2), noise**2 + LEAST_SPREAD**2
    weight = 1.0 / variance
    for _ in range(20):  # the weights follow the regression, and it them
        normal = np.linalg.inv((x * weight[:, None]).T @ x + np.eye(2))
        slope = normal @ (x.T @ (weight * y))
        off = np.abs(y - x @ slope) / np.sqrt(variance)
        pull = weight[:, None] * (x @ normal)  # of a change on the slopes
        weight = np.minimum(1.0, HUBER / np.maximum(off, HUBER)) / variance
    rest = y - x @ np.maximum(slope, 0.0)
    own = (y - x @ slope) / (1.0 - np.sum(pull * x, axis=1))
    expected = np.sum(x * np.maximum(slope - pull * own[:, None], 0.0), axis=1)
    unsure = np.sum((x @ normal) * x, axis=1)
    for at in np.unique(place):
        here = np.flatnonzero(place == at)
        order = here[np.argsort(rest[here], kind="stable")]
        for i in here if here.size > 1 else ():
            others = order[order != i]
            shares, share = np.cumsum(1.0 / variance[others]), others.size / (others.size + OWN_WAY)
            expected[i] += share * rest[others[np.searchsorted(shares, shares[-1] / 2)]]
            unsure[i] += share**2 * others.size / shares[-1]  # measured side by side: one error for all
    beyond = max(mad_sigma(y - expected) ** 2 - float(np.median(noise)) ** 2, LEAST_SPREAD**2)
    return expected, np.sqrt(beyond + unsure)
