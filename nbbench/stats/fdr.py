"""False-discovery control over many series or many tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def q_values(p: ArrayLike, *, tests: int | None = None) -> NDArray[np.float64]:
    """Benjamini-Hochberg adjusted p-values, (n,) in the order of ``p``; reject those with q <= alpha.

    ``tests`` is the number of hypotheses that were looked at when it exceeds ``len(p)``: a series in which
    nothing was found takes part with p = 1 and need not be listed. ValueError for p outside [0, 1] or fewer
    ``tests`` than p-values.

    q_(i) = min over j >= i of m p_(j) / j (Benjamini and Hochberg 1995,
    doi:10.1111/j.2517-6161.1995.tb02031.x). The rate is controlled for independent and for positively
    dependent p-values (Benjamini and Yekutieli 2001): neighbouring series of one machine are of that kind.
    """
    values = np.asarray(p, dtype=np.float64)
    count = values.size if tests is None else tests
    if not ((values >= 0) & (values <= 1)).all() or count < values.size:
        raise ValueError(f"expected p-values inside [0, 1], and no fewer than {values.size} tests")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * count / np.arange(1, values.size + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return np.maximum(adjusted, values)  # n p / n may round to less than p


def e_select(log_e: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """Which of m hypotheses the e-Benjamini-Hochberg procedure rejects, from logarithms of e-values, (m,).

    The k largest are rejected for the greatest k with e_(k) >= m / (k alpha). The share of false rejections
    is alpha at most in expectation, whatever the dependence between e-values, and at any stopping time when
    each is the value of an e-process (Wang and Ramdas 2022, doi:10.1111/rssb.12489). Where all hypotheses are
    true any rejection is false, so that happens with probability alpha at most. ValueError for alpha outside
    (0, 1) or NaN.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie inside (0, 1), got {alpha}")
    values = np.asarray(log_e, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise ValueError("e-values must be one dimension of numbers")
    order = np.argsort(-values, kind="stable")
    ranks = np.arange(1, values.size + 1)
    enough = np.flatnonzero(values[order] >= np.log(values.size / (ranks * alpha)))
    chosen = np.zeros(values.size, dtype=np.bool_)
    if enough.size:
        chosen[order[: enough[-1] + 1]] = True
    return chosen
