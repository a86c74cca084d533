"""Every figure is written so that it reads back as what it was, without powers of ten (F4)."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbbench.units import format_bytes, format_change, format_number, format_seconds, format_value

PREFIXES = {"n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
BINARY = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
usual = st.floats(1e-9, 1e14) | st.floats(-1e14, -1e-9)


def read(text: str, scales: dict[str, float], unit: str) -> float:
    found = re.fullmatch(rf"(-?[\d,]*\.?\d+(?:e[-+]\d+)?) (\D*){re.escape(unit)}", text)
    assert found, text
    return float(found[1].replace(",", "")) * scales[found[2]]


@given(usual)
@example(0.9999999)
@example(999.96e-3)
@example(250_000.0)
def test_F4_seconds_read_back(value: float) -> None:
    text = format_seconds(value)
    assert read(text, PREFIXES, "s") == pytest.approx(value, rel=6e-4, abs=1e-13)
    assert "e" not in text.removesuffix(" s")


@given(st.floats(0.01, 1e17) | st.integers(0, 10**17))
def test_F4_sizes_read_back(value: float) -> None:
    text = format_bytes(value)
    assert read(text, BINARY, "B") == pytest.approx(value, rel=6e-4)
    assert "e" not in text


@given(st.floats(1.0, 1e16))
def test_F4_rates_read_back(value: float) -> None:
    assert read(format_value(value, "B/s"), PREFIXES, "B/s") == pytest.approx(value, rel=6e-4)


@given(st.floats(1e-4, 9e14) | st.floats(-9e14, -1e-4) | st.integers(-(10**14), 10**14))
@example(4100.0)
@example(11_907)
@example(1684.8)
def test_F4_numbers_read_back(value: float) -> None:
    text = format_number(value)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=6e-4)
    assert "e" not in text
    if isinstance(value, int):
        assert int(text.replace(",", "")) == value


@given(st.floats(-30, 30))
@example(math.log(4100))
@example(-math.log(4100))
@example(math.log(2))
@example(math.nextafter(math.log(2), 0))
@example(math.log(1.1))
def test_F4_changes_read_back(effect: float) -> None:
    text = format_change(effect)
    assert "e" not in text
    if text.endswith(" %"):
        ratio = 1 + float(text.removesuffix(" %")) / 100
    else:
        factor = float(text.strip("×÷").replace(",", ""))
        ratio = 1 / factor if text.startswith("÷") else factor
    assert math.log(ratio) == pytest.approx(effect, abs=6e-3)


@pytest.mark.parametrize(
    ("effect", "shown"),
    [
        (math.log(4100), "4,100×"),
        (-math.log(1234567), "÷1,230,000"),
        (math.log(3.134), "3.13×"),
        (math.log(999.6), "1,000×"),
        (math.log(1 / 117.4), "÷117"),
        (math.log(0.7), "-30.0 %"),
        (math.log(1.005), "+0.50 %"),
        (0.0, "+0.00 %"),
        (math.inf, "from zero"),
        (-math.inf, "to zero"),
        (None, "n/a"),
        (math.nan, "n/a"),
    ],
)
def test_changes(effect: float | None, shown: str) -> None:
    assert format_change(effect) == shown


@given(st.floats(), st.text(max_size=5))
def test_any_figure_has_a_text(value: float, unit: str) -> None:
    for text in (format_value(value, unit), format_value(value, "B/s"), format_change(value)):
        assert text
    if math.isfinite(value):
        format_seconds(value), format_bytes(value)
