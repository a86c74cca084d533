"""A gate's report as blocks: the verdict, the series in reading order, why, and the exact work."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from nbbench import units
from nbbench.model import Outcome
from nbbench.report.blocks import Block, Bullets, Head, Item, Table, Title
from nbbench.report.events import interval
from nbbench.report.not_judged import not_judged_blocks
from nbbench.verdicts import GateReport, Verdict

# In the order in which they are read, with the colour and the mark of each.
_TONES = {
    Outcome.REGRESSED: ("red", "❌"),
    Outcome.NOT_COMPARABLE: ("yellow", "❓"),
    Outcome.INCONCLUSIVE: ("yellow", "❔"),
    Outcome.ACKNOWLEDGED: ("yellow", "☑️"),
    Outcome.IMPROVED: ("green", "🚀"),
    Outcome.UNCHANGED: ("dim", "✅"),
}
_EXPLAINED = (Outcome.REGRESSED, Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE, Outcome.ACKNOWLEDGED)
_NAMED_IF_ANY = (Outcome.ACKNOWLEDGED, Outcome.NOT_COMPARABLE)
_FIGURE = re.compile(r"[-+]?[\d.]*(e[-+]\d+)?(×| %)?")


def in_reading_order(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Regressed first, the largest effect of each outcome on top."""
    rank = {outcome: place for place, outcome in enumerate(_TONES)}

    def order(verdict: Verdict) -> tuple[int, float, str]:
        size = abs(verdict.effect or 0.0)
        return rank[verdict.outcome], 0.0 if size != size else -size, verdict.series

    return sorted(verdicts, key=order)


def headline(report: GateReport) -> str:
    """The verdict in a word, and the sentence that gives its reason."""
    return f"{str(report.outcome).upper()}: {report.sentence}"


def counts_line(report: GateReport) -> str:
    """`1 regressed, 0 inconclusive, 2 improved, 5 unchanged, 3 not judged`."""
    counted = Counter(verdict.outcome for verdict in report.verdicts)
    parts = [f"{counted[o]} {o}" for o in _TONES if counted[o] or o not in _NAMED_IF_ANY]
    return ", ".join([*parts, *([f"{len(report.not_judged)} not judged"] if report.not_judged else [])])


def figures(verdict: Verdict) -> tuple[str, str, str]:
    """Change, interval and floor as text."""
    change = units.format_change(verdict.effect)
    return change, interval(verdict.effect_lo, verdict.effect_hi), f"±{verdict.floor * 100:.3g} %"


def gate_blocks(report: GateReport) -> list[Block]:
    """Verdict, counts, the series that moved (what did not is folded away), reasons, exact work, notes."""
    tone, mark = _TONES[report.outcome]
    where = f" on {report.machine}" if report.machine else ""
    about = f"{counts_line(report)}; {units.format_seconds(report.elapsed_s)}{where}, seed {report.seed}"
    blocks: list[Block] = [Head(headline(report), tone, mark), f"{report.base} -> {report.head}: {about}"]
    verdicts = in_reading_order(report.verdicts)
    if verdicts:
        blocks.append(_table(verdicts))
    if why := [_reason(v) for v in verdicts if v.outcome in _EXPLAINED and (v.sentence or v.reproduce)]:
        blocks.append(Bullets(why, title="Why"))
    if report.ledger:
        blocks += [Title("Ledger"), _ledger(report.ledger)]
    blocks += not_judged_blocks(report.not_judged)
    return [*blocks, Bullets(report.notes, title="Notes")] if report.notes else blocks


def _table(verdicts: Sequence[Verdict]) -> Table:
    headers = ("verdict", "change", "interval", "base", "head", "cause", "rounds", "floor", "series")
    rows = []
    for verdict in verdicts:
        change, between, floor = figures(verdict)
        base, head = (
            "" if value is None else units.format_value(value, verdict.unit)
            for value in (verdict.base_value, verdict.head_value)
        )
        cause = str(verdict.cause) if verdict.cause else ""
        name = verdict.series or "(all series)"
        rows.append(
            (str(verdict.outcome), change, between, base, head, cause, str(verdict.rounds), floor, name)
        )
    still = sum(verdict.outcome is Outcome.UNCHANGED for verdict in verdicts)
    return Table(
        headers,
        rows,
        right=(1, 3, 4, 6, 7),
        codes=(8,),
        spare=(7, 6, 5, 4, 3),
        tones={i: _TONES[verdict.outcome] for i, verdict in enumerate(verdicts)},
        quiet=len(verdicts) - still,
        quiet_as=f"{still} unchanged",
    )


def _reason(verdict: Verdict) -> Item:
    return Item(verdict.sentence, about=verdict.series, command=verdict.reproduce)


def _ledger(found: Sequence[dict[str, Any]]) -> Table:
    headers = list(dict.fromkeys(str(key) for row in found for key in row))
    rows = [tuple(_cell(row.get(header)) for header in headers) for row in found]
    right = [i for i in range(len(headers)) if all(_FIGURE.fullmatch(row[i]) for row in rows)]
    return Table(headers, rows, right=right, codes=(0,))


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.8g}" if isinstance(value, float) else str(value)
