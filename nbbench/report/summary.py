"""summary.md of an evidence folder, in the sections that the STAMP layout asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from nbbench import units
from nbbench.model import Result, Status
from nbbench.report import events
from nbbench.report.evidence_input import (
    Comparison,
    EvidenceInput,
    comparisons,
    elapsed_s,
    shell_lines,
    status_line,
    variation,
)
from nbbench.report.markdown import code, escape
from nbbench.words import minute, plural

_FILES = {
    "commands.txt": "the exact commands, with STAMP and working directory",
    "summary.md": "this page",
    "metrics.json": "headline figures",
    "benchmark_results.json": "every sample",
    "run_metadata.json": "commit, tree, machine, versions, times",
    "env.txt": "environment variables; values outside the allowlist are redacted",
    "torch_env.txt": "`torch.utils.collect_env`",
    "exit_code.txt": "exit code of the command",
    "sha256.txt": "checksums: `sha256sum -c sha256.txt`",
}


def summary_md(evidence: EvidenceInput) -> str:
    """The whole page; every section is present, and says so when it has nothing to state."""
    compared = comparisons(evidence)
    sections = {
        "Status": [status_line(evidence)],
        "STAMP": [_stamp_line(evidence)],
        "Command": _command(evidence),
        "Executive Summary": bullets(_executive(evidence, compared)),
        "Results": _results(evidence),
        "Environment": _environment(evidence),
        "Comparison to baseline": _comparison(evidence, compared),
        "Artifacts": bullets(f"{code(name)}: {text}" for name, text in _artifacts(evidence)),
        "Next Actions": bullets(
            escape(text) for text in evidence.next_actions or _default_actions(evidence, compared)
        ),
    }
    return page(f"{escape(evidence.cluster)}: evidence for {escape(evidence.plan)}", sections)


def page(title: str, sections: Mapping[str, Sequence[str]]) -> str:
    """A page of sections, every one present; an empty one says that nothing was recorded."""
    lines = [f"# {title}"]
    for name, body in sections.items():
        text = "\n".join(body).strip("\n") or "Not recorded."
        lines += ["", f"## {name}", "", text]
    return "\n".join(lines) + "\n"


def _stamp_line(evidence: EvidenceInput) -> str:
    seconds = elapsed_s(evidence)
    took = "duration unknown" if seconds is None else f"took {units.format_seconds(seconds)}"
    return f"{code(evidence.stamp)} (UTC), started {minute(evidence.started_at)}, {took}"


def _command(evidence: EvidenceInput) -> list[str]:
    if not evidence.commands:
        return []
    return [f"In {code(evidence.cwd)}:", "", *fenced(shell_lines(evidence), "sh")]


def fenced(lines: Sequence[str], language: str = "") -> list[str]:
    """Lines as a code block, behind a fence longer than any run of backticks inside."""
    fence = "```"
    while any(fence in line for line in lines):
        fence += "`"
    return [f"{fence}{language}", *lines, fence]


def _executive(evidence: EvidenceInput, compared: Sequence[Comparison]) -> list[str]:
    lines = [f"Run: {escape(status_line(evidence))}.", _measured(evidence.results)]
    if evidence.commit:
        lines.append(f"Commit {code(evidence.commit.short)} {escape(evidence.commit.subject)}.")
    lines.append(_against_baseline(evidence, compared))
    for flag in events.in_reading_order(evidence.flags, evidence.ended_at):
        event = flag.event
        state = events.state_text(flag, evidence.ended_at)
        word = event.direction.title()
        if events.is_open(flag, evidence.ended_at):
            word = f"Open {event.direction}"
        where = code(events.commit_range(event.lo_commit, event.hi_commit))
        healed = f", recovered by {code(event.recovered_by[:8])}" if event.recovered_by else ""
        lines.append(
            f"{word} on record: {code(event.id)} at {where}, {escape(events.change_text(event))}, "
            f"cause {event.cause}, {escape(state)}{healed} ({escape(flag.plan)})."
        )
    lines += [escape(text) for text in (*evidence.observations, *evidence.notes)]
    return lines


def _measured(results: Sequence[Result]) -> str:
    if not results:
        return "Nothing was measured."
    counts = [(status, sum(result.status is status for result in results)) for status in Status]
    kinds = ", ".join(f"{count} {status}" for status, count in counts if count)
    return f"{plural(len(results), 'result')}: {kinds}."


def _against_baseline(evidence: EvidenceInput, compared: Sequence[Comparison]) -> str:
    name = code(evidence.baseline_name or "the baseline")
    if not compared:
        return "No baseline to compare with, so nothing here says whether anything became slower."
    of_all = f"of {plural(len(compared), 'series', 'series')} worse than {name}"
    by = f"beyond the floor of {evidence.floor * 100:g} %"
    worse = [c for c in compared if c.word == "worse"]
    if worse:
        top = worse[0]
        change = escape(units.format_change(top.effect))
        return f"**{len(worse)} {of_all}** {by}; worst: {code(top.series)} {change} ({_pair(top)})."
    unlike = sum(bool(c.caveat) for c in compared)
    return f"None {of_all} {by}" + (f"; {unlike} not like for like (see below)." if unlike else ".")


def _results(evidence: EvidenceInput) -> list[str]:
    lines = table(
        ("series", "status", "value", "samples", "min", "max", "CV"),
        (_result_cells(result) for result in evidence.results),
    )
    figures = [(m.name, units.format_value(m.value, m.unit)) for m in evidence.metrics]
    figures += [(f"{name} ceiling", units.format_value(value, "B/s")) for name, value in evidence.ceiling]
    lines += table(("figure", "value"), ((escape(name), escape(value)) for name, value in figures))
    ledger_head = ("workload", "operations", "B/pixel", "upcast", "peak live", "output")
    return lines + table(
        ledger_head,
        (
            (
                code(ledger.workload),
                escape(ledger.error) or str(ledger.ops),
                f"{ledger.bytes_per_pixel:.6g}",
                units.format_bytes(ledger.upcast_bytes),
                units.format_bytes(ledger.peak_live_bytes),
                escape(ledger.output_dtype),
            )
            for ledger in evidence.ledgers
        ),
    )


def _result_cells(result: Result) -> tuple[str, ...]:
    samples = [sample for sample in result.samples if math.isfinite(sample)]
    spread = variation(samples)
    return (
        code(result.key.label),
        str(result.status),
        units.format_value(result.value, result.unit),
        str(len(result.samples)),
        units.format_value(min(samples, default=None), result.unit),
        units.format_value(max(samples, default=None), result.unit),
        "n/a" if spread is None else f"{spread * 100:.2g} %",
    )


def _environment(evidence: EvidenceInput) -> list[str]:
    tree = evidence.tree or (evidence.commit.tree if evidence.commit else "")
    facts = [
        ("branch", evidence.branch),
        ("commit", evidence.commit.hash if evidence.commit else ""),
        ("tree", tree),
        ("measured on", evidence.machine_name),
        *evidence.machine,
        *evidence.versions,
        *evidence.resources,
    ]
    return table(("fact", "value"), ((escape(name), escape(value)) for name, value in facts if value))


def _comparison(evidence: EvidenceInput, compared: Sequence[Comparison]) -> list[str]:
    if not compared:
        return ["No baseline was given."]
    name = evidence.baseline_name or "the baseline"
    intro = (
        f"Against {code(name)}, one value against one value, floor ±{evidence.floor * 100:g} % "
        "(exact counters: none). A gate decides with repeated, interleaved runs; this table does not."
    )
    rows = (
        (code(c.series), *_pair(c).split(" → "), escape(units.format_change(c.effect)), c.word, c.caveat)
        for c in compared
    )
    return [intro, "", *table(("series", "baseline", "now", "change", "word", "caveat"), rows)]


def _pair(c: Comparison) -> str:
    return f"{units.format_value(c.baseline, c.unit)} → {units.format_value(c.now, c.unit)}"


def _artifacts(evidence: EvidenceInput) -> list[tuple[str, str]]:
    extra = [(name, escape(text)) for name, text in evidence.artifacts if name not in _FILES]
    return [*_FILES.items(), *extra]


def _default_actions(evidence: EvidenceInput, compared: Sequence[Comparison]) -> list[str]:
    actions = []
    if evidence.exit_code != 0 or evidence.blocker:
        actions.append("Find out why the run did not pass, then capture again under a fresh STAMP.")
    actions += [
        f"Decide about {flag.event.id} (cause {flag.event.cause}); nbbench explain {flag.event.id} shows it."
        for flag in events.in_reading_order(evidence.flags, evidence.ended_at)
        if events.is_open(flag, evidence.ended_at)
    ]
    if any(c.word == "worse" for c in compared):
        actions.append("Confirm the slower series with nbbench gate before acting on them.")
    return actions or ["None."]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table of cells that are escaped already; nothing at all without rows."""
    body = [f"| {' | '.join(cells)} |" for cells in rows]
    return [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |", *body, ""] if body else []


def bullets(items: Iterable[str]) -> list[str]:
    """A Markdown list of lines that are escaped already."""
    return [f"- {item}" for item in items]
