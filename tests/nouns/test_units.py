"""How figures are written."""

from __future__ import annotations

import math

import pytest

from nbbench.units import format_change


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1.005, "+0.50 %"),
        (1.3, "+30.0 %"),
        (0.7, "-30.0 %"),
        (2.0, "2×"),
        (117.4, "117×"),
        (1 / 117.4, "÷117"),
        (999.4, "999×"),
        (999.6, "1,000×"),
        (4123.0, "4,120×"),
        (1 / 4100, "÷4,100"),
        (2_500_000.0, "2,500,000×"),
        (math.inf, "from zero"),
    ],
)
def test_factors_are_written_as_people_read_them(ratio: float, text: str) -> None:
    """F4: "4.1e+03×" is no way to write 4,100×."""
    assert format_change(math.log(ratio)) == text
