"""Statistics of nbbench: pure functions from arrays to values.

`summary` describes samples, `changepoint` finds changes in a history, `paired` decides base against head
while rounds come in, `fdr` corrects for many tests, `calibration` measures error rates. Formulas, sources and
measured rates: docs/statistics.md.
"""

from nbbench.stats.aa_noise import CanaryFit, fit_canary, noise_floor
from nbbench.stats.changepoint import Step, detect_steps, exact_steps, level_effect
from nbbench.stats.fdr import e_select, q_values
from nbbench.stats.paired import (
    Decision,
    Evidence,
    PairedEstimate,
    SequentialDecision,
    estimate_pairs,
)
from nbbench.stats.summary import Summary, difference_sigma, log_ratio, ratio_percent, summarise

__all__ = [
    "CanaryFit",
    "Decision",
    "Evidence",
    "PairedEstimate",
    "SequentialDecision",
    "Step",
    "Summary",
    "detect_steps",
    "difference_sigma",
    "e_select",
    "estimate_pairs",
    "exact_steps",
    "fit_canary",
    "level_effect",
    "log_ratio",
    "noise_floor",
    "q_values",
    "ratio_percent",
    "summarise",
]
