"""Exact work beside the ledger: laws of growth (`ledger --scaling`), what torch.compile makes of a workload
(`ledger --compiled`), the hunks that cause a change (`explain --hunks`), budgets (`budget check`).
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd
from typing import Any

from nbbench import units
from nbbench.compiled import CompiledProgram, CompiledScope, CompiledWork, CompileEvent
from nbbench.growth import Law, Quantity, ScaledWork
from nbbench.model import Commit, to_plain
from nbbench.report.blocks import Block, Bullets, Head, Item, Table, Title
from nbbench.report.causes import evidence_sentences
from nbbench.words import plural
from nbbench.work.count_diff import ScaleLaws
from nbbench.work.hunk_causes import HunkCause, HunkSearch
from nbbench.work.ledger_diff import log_ratio
from nbbench.work.work_budget import BudgetCheck, BudgetRow

_SHOWN = 10
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


_SCOPES = {
    CompiledScope.WHOLE: "the whole run compiled",
    CompiledScope.OWN: "only what the subject itself compiles",
}


def compiled_blocks(commit: Commit, found: Mapping[str, CompiledWork], torch: str) -> list[Block]:
    """For each workload a line of bytes, its graphs, and why graphs broke or were compiled again."""
    blocks: list[Block] = []
    for name, one in found.items():
        if one.error:
            blocks.append(f"{name} fails under torch.compile at {commit.short}: {one.error}")
            continue
        for program in one.programs:
            what = f"{name} at {commit.short}, {_SCOPES[program.scope]} by torch {torch}"
            blocks += [Title(what), _line(one, program)]
            if program.graphs:
                blocks.append(_graph_table(one, program))
            told = ("Graph breaks", program.breaks), ("Recompilations", program.recompiles)
            blocks += [_events(*one) for one in told if one[1]]
        blocks += [f"note: {note}" for note in one.notes]
    return blocks


def compiled_payload(commit: Commit, found: Mapping[str, CompiledWork], torch: str) -> dict[str, Any]:
    """Everything, for `--json`: `nbbench.compiled/1`."""
    rows = []
    for one in found.values():
        programs = [
            {
                **program._asdict(),
                **{n: [x._asdict() for x in getattr(program, n)] for n in ("graphs", "breaks", "recompiles")},
                "bytes_per_pixel": one.per_pixel(program),
                "sentence": _line(one, program),
            }
            for program in one.programs
        ]
        rows.append({**to_plain(one), "programs": programs})
    return {"commit": to_plain(commit), "torch": torch, "compiled": rows}


def _line(one: CompiledWork, program: CompiledProgram) -> str:
    """`eager 1,685 B/pixel → compiled 270 → one fused kernel 16; 8 graphs, 26 kernels, 5 graph breaks`."""
    counts = [
        plural(len(program.graphs), "graph"),
        plural(program.kernels, "kernel"),
        plural(sum(event.times for event in program.breaks), "graph break"),
    ]
    if program.recompiles:
        counts.append(plural(sum(event.times for event in program.recompiles), "recompilation"))
    eager, fused = (f"{size / one.pixels:,.2f}" for size in (one.eager_bytes, one.fused_bytes))
    made = f"compiled {one.per_pixel(program):,.2f}" if program.graphs else "nothing compiled"
    return f"eager {eager} B/pixel → {made} → one fused kernel {fused}; {', '.join(counts)}"


def _graph_table(one: CompiledWork, program: CompiledProgram) -> Table:
    rows = []
    for graph in sorted(program.graphs, key=lambda each: each.bytes - each.eager_bytes):
        first, last = graph.lines
        place = (
            f"{graph.path}:{first}" + (f"–{last}" if last != first else "") if graph.path else "(elsewhere)"
        )
        sizes = [f"{size / one.pixels:,.2f}" for size in (graph.eager_bytes, graph.bytes)]
        rows.append([place, str(graph.runs), str(graph.kernels), *sizes])
    eager = one.eager_bytes - sum(graph.eager_bytes for graph in program.graphs)
    rows.append(["outside of graphs", "", "", *[f"{eager / one.pixels:,.2f}"] * 2])
    total = (one.eager_bytes / one.pixels, one.per_pixel(program))
    rows.append(["total", "", str(program.kernels), *(f"{size:,.2f}" for size in total)])
    return Table(["graph", "runs", "kernels", "B/px eager", "compiled"], rows, right=(1, 2, 3, 4), codes=(0,))


def _events(title: str, events: tuple[CompileEvent, ...]) -> Bullets:
    items = []
    for one in events:
        place = f"{one.path}:{one.line}" if one.path else "outside of the subject"
        often = f", {one.times} times" if one.times > 1 else ""
        items.append(Item(f"{place}{often}: {one.reason}"))
    return Bullets(items, title=title)


def hunk_blocks(search: HunkSearch) -> list[Block]:
    """A sentence for each change, and how it was found out; `--json` has what each hunk does alone."""
    blocks: list[Block] = [Title("Hunks that cause it")]
    if not search.targets:
        return [*blocks, "no exact work changed by what counts, so no hunk causes anything"]
    blocks.append(Bullets([sentence for one in search.causes for sentence in _said(search, one)]))
    return [*blocks, "\n".join(f"note: {one}" for one in _notes(search))]


def hunk_payload(search: HunkSearch) -> dict[str, Any]:
    """Everything, for `--json`: the key `hunks` of `nbbench.explain/2`."""
    guilty = {one.hunk for cause in search.causes for one in cause.hunks}
    return {
        "total": len(search.hunks),
        "same_program": len(search.hunks) - len(search.moving),
        "recorded": search.recorded,
        "unresolved": search.unresolved,
        "done": search.done,
        "causes": [
            {**to_plain(one.record(len(search.hunks)).figures), "sentence": " ".join(_said(search, one))}
            for one in search.causes
        ],
        "others": [one.place for one in search.hunks if one not in guilty],
    }


def _said(search: HunkSearch, cause: HunkCause) -> list[str]:
    return evidence_sentences((cause.record(len(search.hunks)),))


def _notes(search: HunkSearch) -> list[str]:
    words = len(search.hunks) - len(search.moving)
    same = f", {words} of which change no program" if words else ""
    said = [f"{plural(len(search.hunks), 'hunk')}{same}; {plural(search.recorded, 'recording')} made"]
    if search.unresolved:
        said.append(f"skipped: {plural(search.unresolved, 'combination')} that did not run")
    if not search.done:
        left = len(search.targets) - len(search.causes)
        said.append(f"the search was interrupted: {plural(left, 'change')} not looked at; run again to go on")
    return said


def budget_blocks(commit: Commit, found: BudgetCheck) -> list[Block]:
    """Whether a commit is within its budgets: the rows that are exceeded, and those that have no value."""
    parts = [
        f"{plural(len(found.over), 'row')} exceeded",
        f"{found.held:,} held",
        f"{len(found.missing):,} without a value",
    ]
    tone, mark = ("red", "❌") if found.over else ("yellow", "❔") if found.missing else ("green", "✅")
    blocks: list[Block] = [Head(f"Budgets at {commit.short}: {', '.join(parts)}", tone, mark)]
    if found.over:
        head = ("workload", "metric", "budget", "at most", "now", "change")
        blocks.append(Table(head, [_over(*one) for one in found.over], right=(2, 3, 4, 5), codes=(0,)))
    if found.missing:
        shown = [f"{row.workload}: {_metric(row)}" for row in found.missing[:_SHOWN]]
        more = [f"and {len(found.missing) - _SHOWN:,} more"] if len(found.missing) > _SHOWN else []
        blocks.append(Bullets([*shown, *more], title="Without a value here"))
    if found.under and not found.over:
        cheaper = plural(len(found.under), "row")
        blocks.append(f"{cheaper} cost less than the budget: `nbbench budget set` renews it.")
    return blocks


def _over(row: BudgetRow, value: float) -> tuple[str, ...]:
    figures = (units.format_value(one, row.unit) for one in (row.value, row.most, value))
    change = units.format_change(log_ratio(row.value, value))
    return (row.workload, _metric(row), *figures, change)


def _metric(row: BudgetRow) -> str:
    return row.metric.removeprefix("track_").replace("_", " ")


def budget_message(commit: Commit, reason: str, grown: Sequence[tuple[BudgetRow, BudgetRow]]) -> str:
    """The message of the commit that renews the budgets: why, and each row that allows more than before."""
    lines = [
        f"{row.workload}: {_metric(row)} {units.format_value(was.most, row.unit)} -> "
        f"{units.format_value(row.most, row.unit)} ({units.format_change(log_ratio(was.most, row.most))})"
        for was, row in grown
    ]
    body = [f"Exact work of {commit.short}.", *(["Allowed from now on:", *lines] if lines else [])]
    return "\n".join([f"Budgets: {reason or 'renewed, nothing grows'}", "", *body])


def budget_payload(commit: Commit, found: BudgetCheck) -> dict[str, Any]:
    """The check as JSON."""
    rows = {
        name: [to_plain(row) | {"now": value} for row, value in getattr(found, name)]
        for name in ("over", "under")
    }
    return {"commit": commit.hash, "held": found.held, "missing": to_plain(found.missing), **rows}
