"""A calibration as a table: what noise the gate has to live with on this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nbbench.report.text import table


def calibration_text(
    rows: Sequence[tuple[str, int, float, float, tuple[float, float], bool]], note: str
) -> str:
    """A table of (series, rounds, noise a pair, floor, errors without and with the canary, whether it helps).

    Noise, floor and errors are log-ratios.
    """
    lines = [
        (
            series,
            str(rounds),
            _percent(sigma),
            _percent(floor),
            f"{'yes' if helps else 'no'}: {_percent(errors[0])} -> {_percent(errors[1])}",
        )
        for series, rounds, sigma, floor, errors, helps in rows
    ]
    head = ("series", "rounds", "noise a pair", "floor", "canary helps?")
    return f"{table(head, lines, right=(1, 2, 3))}\n\n{note}"


def _percent(log_ratio: float) -> str:
    return f"{100 * math.expm1(log_ratio):.2f} %"
