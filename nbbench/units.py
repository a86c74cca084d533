"""The only formatter of figures; what they mean says `metrics`."""

import math

GIB = 2**30
_SI = ((1e-9, "n"), (1e-6, "µ"), (1e-3, "m"), (1.0, ""))
_LARGE_SI = ("", "k", "M", "G", "T")
_COUNTED = ("steps", "modules", "files", "operations", "tensor operations", "warnings", "spawns", "waits")
# Numbers outside of these are written with a power of ten.
_LEAST, _MOST = 1e-4, 1e15
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_value(value: float | None, unit: str) -> str:
    """A figure with its unit: four significant digits, counts whole; `n/a` for None and NaN."""
    if value is None or math.isnan(value):
        return "n/a"
    if unit in ("seconds", "s"):
        return format_seconds(value)
    if unit in ("bytes", "B", "B (exact)", "B (mapped)"):
        return format_bytes(value)
    if unit in ("B held", "B printed", "B moved", "B alive"):
        return f"{format_bytes(value)} {unit[2:]}"
    if unit == "B/s":
        power = min(int(math.log10(abs(value)) // 3), 4) if 1 <= abs(value) < math.inf else 0
        return f"{format_number(value / 1000**power)} {_LARGE_SI[power]}B/s"
    if unit == "order":
        return f"O({format_power(round(value))})"
    if value == 1 and unit in _COUNTED:
        unit = unit.removesuffix("s")
    return f"{format_number(value)} {unit}".strip()


def format_power(order: int) -> str:
    """A power of N: 1, N, N²."""
    return {0: "1", 1: "N"}.get(order, f"N{str(order).translate(_SUPERSCRIPTS)}")


def format_number(value: float) -> str:
    """Four significant digits, thousands apart: 0.1235, 12.35, 1,235; whole numbers whole: 11,907."""
    if value == 0 or not _LEAST <= abs(value) < _MOST:
        return f"{value:.4g}"
    if value == round(value):
        return f"{value:,.0f}"
    rounded = float(f"{value:.4g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:.4g}"


def format_seconds(value: float) -> str:
    """Seconds with an SI prefix: 12.3 ms."""
    if value == 0:
        return "0 s"
    scale, prefix = next((one for one in _SI if abs(value) < one[0] * 999.95), _SI[-1])
    return f"{format_number(float(f'{value / scale:.4g}'))} {prefix}s"


def format_clock(seconds: float) -> str:
    """Seconds as minutes and seconds: 12:05."""
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def format_bytes(value: float) -> str:
    """Bytes with a binary prefix: 33.5 MiB."""
    size = float(value)
    for prefix in ("", "Ki", "Mi", "Gi"):
        if abs(size) < 1024:
            return f"{format_number(float(f'{size:.4g}'))} {prefix}B"
        size /= 1024
    return f"{format_number(size)} TiB"


def format_change(effect: float | None) -> str:
    """A log ratio as a signed percentage, or as a factor beyond 2×: +12.3 %, 3.1×, ÷117, 4,100×."""
    if effect is None or math.isnan(effect):
        return "n/a"
    if math.isinf(effect):
        return "from zero" if effect > 0 else "to zero"
    if abs(effect) >= math.log(2):
        factor = float(f"{math.exp(min(abs(effect), 700.0)):.3g}")
        return f"{format_number(factor)}×" if effect > 0 else f"÷{format_number(factor)}"
    change = math.expm1(effect) * 100
    return f"{change:+.2f} %" if abs(change) < 10 else f"{change:+.1f} %"
