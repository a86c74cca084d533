"""A calibration as a table: what noise the gate has to live with on this machine."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nbbench.report.text import table
from nbbench.verdicts import SeriesNoise


def calibration_text(found: Mapping[str, SeriesNoise], least_floor: float, note: str) -> str:
    """A row a series: rounds, noise a pair, its floor (at least `least_floor`), and the errors of its rounds
    without and with the canary."""
    lines = [
        (
            series,
            str(one.rounds),
            _percent(one.sigma),
            _percent(max(one.floor, least_floor)),
            f"{'yes' if one.canary else 'no'}: {_percent(one.plain)} -> {_percent(one.corrected)}",
        )
        for series, one in found.items()
    ]
    head = ("series", "rounds", "noise a pair", "floor", "canary helps?")
    return f"{table(head, lines, right=(1, 2, 3))}\n\n{note}"


def _percent(log_ratio: float) -> str:
    return f"{100 * math.expm1(log_ratio):.2f} %"
