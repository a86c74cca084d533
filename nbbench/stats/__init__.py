"""Statistics of nbbench: pure functions from arrays to values.

`summary` describes samples, `changepoint` finds changes in a history, `paired` decides base against head
while rounds come in, `fdr` corrects for many tests, `calibration` measures error rates. Formulas, sources and
measured rates: docs/statistics.md.
"""

from nbbench.stats.changepoint import Step, detect_steps, exact_steps, level_effect
from nbbench.stats.fdr import q_values
from nbbench.stats.paired import (
    Decision,
    PairedEstimate,
    SequentialDecision,
    decide,
    estimate_pairs,
    least_rounds,
    noise_floor,
)
from nbbench.stats.summary import Summary, difference_sigma, log_ratio, ratio_percent, summarise

__all__ = [
    "Decision",
    "PairedEstimate",
    "SequentialDecision",
    "Step",
    "Summary",
    "decide",
    "detect_steps",
    "difference_sigma",
    "estimate_pairs",
    "exact_steps",
    "least_rounds",
    "level_effect",
    "log_ratio",
    "noise_floor",
    "q_values",
    "ratio_percent",
    "summarise",
]
