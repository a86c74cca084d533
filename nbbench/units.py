"""The only formatter of figures; what they mean is told by `metrics`."""

from __future__ import annotations

import math

_SI = ((1e-9, "n"), (1e-6, "µ"), (1e-3, "m"), (1.0, ""))


def format_value(value: float | None, unit: str) -> str:
    """A figure with its unit, at most four significant digits; `n/a` for None and NaN."""
    if value is None or math.isnan(value):
        return "n/a"
    if unit in ("seconds", "s"):
        return format_seconds(value)
    if unit in ("bytes", "B", "B (exact)"):
        return format_bytes(value)
    if unit == "B/s":
        return f"{value / 1e9:.4g} GB/s"
    return f"{value:.4g} {unit}".strip()


def format_seconds(value: float) -> str:
    """Seconds with an SI prefix: 12.3 ms."""
    if value == 0:
        return "0 s"
    for scale, prefix in _SI:
        if abs(value) < scale * 1000 or scale == 1.0:
            return f"{value / scale:.4g} {prefix}s"
    return f"{value:.4g} s"


def format_bytes(value: float) -> str:
    """Bytes with a binary prefix: 33.5 MiB."""
    size = float(value)
    for prefix in ("", "Ki", "Mi", "Gi"):
        if abs(size) < 1024:
            return f"{size:.4g} {prefix}B"
        size /= 1024
    return f"{size:.4g} TiB"


def _factor(ratio: float) -> str:
    """A factor in three digits, in words that people read: 3.1, 117, 4,100."""
    return f"{ratio:.3g}" if ratio < 999.5 else f"{float(f'{ratio:.3g}'):,.0f}"


def format_change(effect: float | None) -> str:
    """A log ratio as a signed percentage, or as a factor beyond 2×: +12.3 %, 3.1×, ÷117."""
    if effect is None or math.isnan(effect):
        return "n/a"
    if math.isinf(effect):
        return "from zero" if effect > 0 else "to zero"
    ratio = math.exp(effect)
    if ratio >= 2:
        return f"{_factor(ratio)}×"
    if ratio <= 0.5:
        return f"÷{_factor(1 / ratio)}"
    return f"{(ratio - 1) * 100:+.2f} %" if abs(ratio - 1) < 0.1 else f"{(ratio - 1) * 100:+.1f} %"
