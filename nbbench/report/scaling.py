"""`nbbench ledger COMMIT --scaling`: laws of growth as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd
from typing import Any

from nbbench import units
from nbbench.growth import Law, Quantity, ScaledWork
from nbbench.model import Commit, to_plain
from nbbench.report.blocks import Block, Table, Title
from nbbench.work.scaling import Prediction, ScaleLaws

_BYTES = (Quantity.BYTES, Quantity.PEAK, Quantity.UPCAST)


def law_text(law: Law) -> str:
    """A law, the highest power first: `1,685 N² + 24 N + 96`; or how near the nearest polynomial comes."""
    if not law.exact:
        left = f"{law.residual * 100:.2g} %"
        return f"no polynomial of degree ≤ {law.limit} in N fits; the nearest leaves {left}"
    terms = [(c, power) for power, c in enumerate(law.coefficients) if c or not law.degree]
    return "".join(_term(c, power, first=power == law.degree) for c, power in reversed(terms))


def _term(coefficient: Fraction, power: int, *, first: bool) -> str:
    sign = ("-" if coefficient < 0 else "") if first else (" - " if coefficient < 0 else " + ")
    above, below = abs(coefficient.numerator), coefficient.denominator
    number = f"{above:,}" + (f"/{below:,}" if below > 1 else "")
    if not power:
        return sign + number
    return sign + (f"{number} " if number != "1" else "") + units.format_power(power)


def scaling_blocks(commit: Commit, found: Sequence[ScaleLaws]) -> list[Block]:
    """One commit: for each scale its laws, what they let expect of a large run, and how they were checked."""
    blocks: list[Block] = []
    for one in found:
        name = one.scaled.scale
        if one.scaled.error:
            blocks.append(f"{name} fails at {commit.short}: {one.scaled.error.partition(chr(10))[0]}")
            continue
        blocks += [Title(f"{name} at {commit.short}"), _about(one.scaled)]
        head = ("a run's", "law", f"at N = {one.large:,}")
        rows = [
            (str(quantity), law_text(law), _expected(quantity, law, one.large))
            for quantity, law in one.laws.items()
        ]
        blocks += [Table(head, rows, right=(2,)), *_checked(one.checks)]
    return blocks


def _about(scaled: ScaledWork) -> str:
    values = ", ".join(map(str, scaled.values))
    multiple = gcd(*scaled.values)
    held = f", multiples of {multiple}: others may follow another law" if multiple > 1 else ""
    return f"N is {scaled.parameter}; recorded at {values}{held}."


def _expected(quantity: Quantity, law: Law, value: int) -> str:
    if not law.exact:
        return ""
    count = float(law.at(value))
    return units.format_bytes(count) if quantity in _BYTES else f"{count:,.0f}"


def _checked(checks: Sequence[Prediction]) -> list[Block]:
    if not checks:
        return []
    wrong = [one for one in checks if one.off]
    names = ", ".join(dict.fromkeys(one.workload for one in checks))
    said = [
        f"{len(checks) - len(wrong)} of {len(checks)} figures on record of {names} are exactly as predicted."
    ]
    said += [
        f"{one.workload}: {one.quantity} {one.recorded:,} on record, {float(one.predicted):,.0f} predicted "
        f"({one.off * 100:.2g} % off)"
        for one in wrong
    ]
    return ["\n".join(said)]


def scaling_payload(commit: Commit, found: Sequence[ScaleLaws]) -> dict[str, Any]:
    """Everything, for `--json`: `nbbench.ledger-scaling/1`; coefficients are exact, that of N⁰ first."""
    return {"commit": to_plain(commit), "scales": [_plain(one) for one in found]}


def _plain(one: ScaleLaws) -> dict[str, Any]:
    laws = {
        quantity.metric: {
            "quantity": str(quantity),
            "law": law_text(law),
            "coefficients": [f"{c.numerator}/{c.denominator}" for c in law.coefficients],
            "residual": law.residual,
            "order": one.scaled.orders.get(quantity),
            "counts": dict(one.scaled.totals)[quantity],
        }
        for quantity, law in one.laws.items()
    }
    checks = [
        {
            "workload": check.workload,
            "quantity": str(check.quantity),
            "recorded": check.recorded,
            "predicted": float(check.predicted),
            "off": check.off,
        }
        for check in one.checks
    ]
    told = {name: getattr(one.scaled, name) for name in ("scale", "parameter", "values", "error")}
    return told | {"laws": laws, "checks": checks, "large": one.large}
