"""summary.md of an exported folder, in the sections that the STAMP layout asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from nbbench import units
from nbbench.model import Flag, Result, Status
from nbbench.plan.exported import Comparison, Export, Standing, comparisons, variation
from nbbench.report import events
from nbbench.report.markdown import code, escape, table_lines
from nbbench.words import minute, plural

_FILES = {
    "commands.txt": "the command that wrote this folder, with STAMP",
    "summary.md": "this page",
    "metrics.json": "headline figures",
    "benchmark_results.json": "every sample",
    "run_metadata.json": "commit, tree, machine, versions, times",
    "env.txt": "environment variables; values outside the allowlist are redacted",
    "torch_env.txt": "`torch.utils.collect_env`",
    "exit_code.txt": "exit code of the command",
    "sha256.txt": "checksums: `sha256sum -c sha256.txt`",
}


def summary_md(export: Export) -> str:
    """The whole page; every section is present, and says so when it has nothing to state."""
    compared = comparisons(export.results, export.baseline, export.between)
    sections = {
        "Status": [status_line(export)],
        "STAMP": [_stamp_line(export)],
        "Command": fenced([export.command], "sh"),
        "Executive Summary": bullets(_executive(export, compared)),
        "Results": _results(export),
        "Environment": _environment(export),
        "Comparison to baseline": _comparison(export, compared),
        "Artifacts": bullets(f"{code(name)}: {text}" for name, text in _FILES.items()),
        "Next Actions": bullets(escape(text) for text in _actions(export, compared)),
    }
    return page(f"{escape(export.cluster)}: evidence for {escape(export.plan)}", sections)


def status_line(export: Export) -> str:
    """Whether the commit has figures; never better than the exit code says."""
    if export.exit_code:
        return f"BLOCKED (exit code {export.exit_code}): no benchmark of this commit gave a figure"
    return "PASSED (exit code 0)"


def open_flags(export: Export) -> list[Flag]:
    """The open regressions on record, in reading order."""
    ordered = events.in_reading_order(export.flags, export.ended_at)
    return [flag for flag in ordered if events.is_open(flag, export.ended_at)]


def page(title: str, sections: Mapping[str, Sequence[str]]) -> str:
    """A page of sections, every one present; an empty one says that nothing was recorded."""
    lines = [f"# {title}"]
    for name, body in sections.items():
        text = "\n".join(body).strip("\n") or "Not recorded."
        lines += ["", f"## {name}", "", text]
    return "\n".join(lines) + "\n"


def _stamp_line(export: Export) -> str:
    took = f", measuring took {units.format_seconds(export.measuring_s)}" if export.measuring_s else ""
    return f"{code(export.stamp)} (UTC), measured from {minute(export.started_at)}{took}"


def fenced(lines: Sequence[str], language: str = "") -> list[str]:
    """Lines as a code block, behind a fence longer than any run of backticks inside."""
    fence = "```"
    while any(fence in line for line in lines):
        fence += "`"
    return [f"{fence}{language}", *lines, fence]


def _executive(export: Export, compared: Sequence[Comparison]) -> list[str]:
    lines = [
        f"Run: {escape(status_line(export))}.",
        f"Machine {code(export.machine)}. {_measured(export.results)}",
        f"Commit {code(export.commit.short)} {escape(export.commit.subject)}.",
    ]
    lines.append(_against_baseline(export, compared))
    for flag in events.in_reading_order(export.flags, export.ended_at):
        event = flag.event
        is_open = events.is_open(flag, export.ended_at)
        word = f"Open {event.direction}" if is_open else event.direction.title()
        where = code(events.commit_range(event.lo_commit, event.hi_commit))
        state = escape(events.state_text(flag, export.ended_at))
        healed = f", recovered by {code(event.recovered_by[:8])}" if event.recovered_by else ""
        lines.append(
            f"{word} on record: {code(event.id)} at {where}, {escape(events.change_text(event))}, "
            f"cause {event.cause}, {state}{healed} ({escape(flag.plan)})."
        )
    lines.append("The environment and torch_env are those of the export, not of the measurement.")
    return lines


def _measured(results: Sequence[Result]) -> str:
    if not results:
        return "Nothing was measured."
    counts = [(status, sum(result.status is status for result in results)) for status in Status]
    kinds = ", ".join(f"{count} {status}" for status, count in counts if count)
    return f"{plural(len(results), 'result')}: {kinds}."


def _against_baseline(export: Export, compared: Sequence[Comparison]) -> str:
    if not compared or export.baseline_commit is None:
        return "No baseline to compare with, so nothing here says whether anything became slower."
    name, count = code(export.baseline_commit.short), plural(len(compared), "series", "series")
    of = {standing: [c for c in compared if c.standing is standing] for standing in Standing}
    worse, unclear = of[Standing.WORSE], of[Standing.CANNOT_TELL]
    if worse:
        text = f"**{len(worse)} of {count} worse than {name}**; worst: {_headline(worse[0])}"
    else:
        text = f"Of {count} none is known to be worse than {name}"
    return f"{text}; {len(unclear)} cannot be told, most {_headline(unclear[0])}." if unclear else f"{text}."


def _headline(c: Comparison) -> str:
    return f"{code(c.series)} {escape(units.format_change(c.effect))} ({escape(' → '.join(_pair(c)))})"


def _results(export: Export) -> list[str]:
    lines = table(
        ("series", "status", "value", "samples", "min", "max", "CV"),
        (_result_cells(result) for result in export.results),
    )
    ledger_head = ("workload", "operations", "B/pixel", "upcast", "peak live", "output")
    return lines + table(
        ledger_head,
        (
            (
                code(ledger.workload),
                str(ledger.ops),
                f"{ledger.bytes_per_pixel:.6g}",
                units.format_bytes(ledger.upcast_bytes),
                units.format_bytes(ledger.peak_live_bytes),
                escape(ledger.output_dtype),
            )
            for ledger in export.ledgers
        ),
    )


def _result_cells(result: Result) -> tuple[str, ...]:
    samples = [sample for sample in result.samples if math.isfinite(sample)]
    spread = variation(samples)
    figures = (result.value, min(samples, default=None), max(samples, default=None))
    value, least, most = (escape(units.format_value(figure, result.unit)) for figure in figures)
    cv = "n/a" if spread is None else f"{spread * 100:.2g} %"
    return code(result.key.label), str(result.status), value, str(len(result.samples)), least, most, cv


def _environment(export: Export) -> list[str]:
    facts = [
        ("branch", export.branch),
        ("commit", export.commit.hash),
        ("tree", export.commit.tree),
        ("measured on", export.machine),
        *export.facts,
        *export.versions,
    ]
    return table(("fact", "value"), ((escape(name), escape(value)) for name, value in facts if value))


def _comparison(export: Export, compared: Sequence[Comparison]) -> list[str]:
    if not compared or export.baseline_commit is None:
        return ["No baseline was given."]
    intro = (
        f"Against {code(export.baseline_commit.hash)} on {code(export.machine)}. A noisy series is worse or "
        "better where an event on record says so; exact counters by their figures. A gate decides about "
        "the others with repeated, interleaved runs."
    )
    rows = (
        (
            code(c.series),
            *map(escape, _pair(c)),
            escape(units.format_change(c.effect)),
            str(c.standing),
            escape(c.why),
        )
        for c in compared
    )
    return [intro, "", *table(("series", "baseline", "now", "change", "standing", "why"), rows)]


def _pair(c: Comparison) -> tuple[str, str]:
    return units.format_value(c.baseline, c.unit), units.format_value(c.now, c.unit)


def _actions(export: Export, compared: Sequence[Comparison]) -> list[str]:
    actions = []
    if export.exit_code:
        actions.append("Find out why no benchmark gave a figure, then measure and export again.")
    actions += [
        f"Decide about {flag.event.id} (cause {flag.event.cause}); nbbench explain {flag.event.id} shows it."
        for flag in open_flags(export)
    ]
    standings = {c.standing for c in compared}
    if standings & {Standing.WORSE, Standing.CANNOT_TELL} and export.baseline_commit:
        base, head = export.baseline_commit.short, export.commit.short
        actions.append(f"Confirm with nbbench gate {base} {head} before acting on times.")
    return actions or ["None."]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table of cells that are escaped already; nothing at all without rows."""
    body = list(rows)
    return [*table_lines(head, body), ""] if body else []


def bullets(items: Iterable[str]) -> list[str]:
    """A Markdown list of lines that are escaped already."""
    return [f"- {item}" for item in items]
