"""`nbbench ledger COMMIT --scaling`: laws of growth as people write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd
from typing import Any

from nbbench import units
from nbbench.growth import Law, Quantity, ScaledWork
from nbbench.model import Commit, to_plain
from nbbench.report.blocks import Block, Table, Title
from nbbench.work.scaling import ScaleLaws

_WRONG = 0.01  # a law that is further off at a larger size ends before it


def law_text(law: Law) -> str:
    """A law, the highest power first: `1,685 N² + 24 N + 96`; or how near a polynomial comes."""
    if not law.exact:
        left = f"{law.residual * 100:.2g} %"
        return f"no polynomial of degree ≤ {law.limit} in N fits; the nearest leaves {left}"
    terms = [_term(c, power) for power, c in enumerate(law.coefficients) if c or not law.order]
    return " + ".join(reversed(terms)).replace("+ -", "- ")


def _term(coefficient: Fraction, power: int) -> str:
    below = f"/{coefficient.denominator:,}" if coefficient.denominator > 1 else ""
    number = f"{coefficient.numerator:,}{below}"
    return {"1": "", "-1": "-"}.get(number, f"{number} ") + units.format_power(power) if power else number


def scaling_blocks(commit: Commit, found: Sequence[ScaleLaws]) -> list[Block]:
    """One commit: for each scale its laws, how they hold for what is on record, and what they let expect."""
    blocks: list[Block] = []
    for one in found:
        name, why = one.scaled.scale, one.scaled.error.partition("\n")[0]
        if why:
            blocks.append(f"{name} fails at {commit.short}: {why}")
            continue
        head = ("of a run", "law", "at sizes on record", f"at N = {one.large:,}")
        rows = [
            (str(quantity), law_text(law), _held(one.off.get(quantity, {})), _expected(one, quantity, law))
            for quantity, law in one.scaled.laws.items()
        ]
        blocks += [Title(f"{name} at {commit.short}"), _about(one.scaled), Table(head, rows, right=(3,))]
    return blocks


def _about(scaled: ScaledWork) -> str:
    values, multiple = ", ".join(map(str, scaled.values)), gcd(*scaled.values)
    held = f", multiples of {multiple}: others may follow another law" if multiple > 1 else ""
    return f"N is {scaled.parameter}; recorded at {values}{held}."


def _held(off: Mapping[int, float]) -> str:
    """How a law holds for recorded workloads."""
    if not off:
        return ""
    worst = max(off, key=lambda value: off[value])
    if off[worst]:
        return f"{off[worst] * 100:.2g} % off at {worst:,}"
    return f"exact at {', '.join(f'{value:,}' for value in off)}"


def _expected(one: ScaleLaws, quantity: Quantity, law: Law) -> str:
    if not law.exact or max(one.off[quantity].values(), default=0.0) > _WRONG:
        return ""
    return units.format_value(
        float(law.at(one.large)), "" if quantity.of_host or quantity is Quantity.OPERATIONS else "B"
    )


def scaling_payload(commit: Commit, found: Sequence[ScaleLaws]) -> dict[str, Any]:
    """Everything, for `--json`: `nbbench.ledger-scaling/1`; coefficients are exact, that of N⁰ first."""
    return {"commit": to_plain(commit), "scales": [_plain(one) for one in found]}


def _plain(one: ScaleLaws) -> dict[str, Any]:
    scaled, orders = one.scaled, one.scaled.orders
    laws = {
        str(quantity): {
            "law": law_text(law),
            "coefficients": [f"{c.numerator}/{c.denominator}" for c in law.coefficients],
            "residual": law.residual,
            "order": orders.get(quantity),
            "counts": dict(scaled.totals)[quantity],
            "off": {str(value): off for value, off in one.off.get(quantity, {}).items()},
        }
        for quantity, law in scaled.laws.items()
    }
    told = {name: getattr(scaled, name) for name in ("scale", "parameter", "values", "error")}
    return told | {"laws": laws, "large": one.large}
