"""Verdicts of the dtype audit (docs/dtypes.md says what each one means); no torch here."""

from collections.abc import Iterable, Mapping
from typing import Any

NEUTRAL = "neutral"
BROKEN = "broken"
# Worst first: a case gets the first of these that is true of it.
VERDICTS = (BROKEN, "wrong output dtype", "falls back", "loses precision", "upcasts", NEUTRAL)
NOT_HERE = "not at this commit"  # the feature came later, or is gone: no fault
NOTHING = "nothing ran"


def overall(verdicts: Iterable[str]) -> str:
    """The worst verdict; `nothing ran` where every case is broken or not at this commit."""
    found = set(verdicts)
    if not found - {BROKEN, NOT_HERE}:
        return NOTHING
    return next(verdict for verdict in VERDICTS if verdict in found)


def judge(found: Mapping[str, Any], *, dtype: str, may_fall_back: bool) -> tuple[str, str]:
    """The verdict on what was found, and its reason in one sentence."""
    wrong = [f"{t['name']} is {t['dtype']}" for t in found["outputs"] if t["dtype"] != dtype]
    if wrong:
        return "wrong output dtype", f"{dtype} was asked for, {', '.join(wrong)}"
    fell_back = found["fell_back"]
    if (fell_back or found["switched_off"]) and not may_fall_back:
        off = ", interpolation is switched off" if found["switched_off"] else ""
        return "falls back", f"the values are {fell_back or 'not interpolated'}{off}"
    error, limit = found["relative_error"], found["rounding_limit"]
    if error is not None and not fell_back and error > limit:
        return "loses precision", f"relative error {error:.2g}, rounding in {dtype} allows {limit:.2g}"
    if found["upcasts"]:
        line = found["upcasts"][0]
        where = f"{line['path']}:{line['line']}" if line["path"] else "the call itself"
        total = sum(row["bytes"] for row in found["upcasts"])
        return "upcasts", f"{total:,} B wider than {dtype}, most at {where}"
    if fell_back:
        return NEUTRAL, f"returns {fell_back}, as specified for such input, in {dtype}"
    small = found["small_upcast_bytes"]
    return NEUTRAL, f"stays {dtype}" + (f" ({small:,} B of constants are wider)" if small else "")
