"""The files of one exported evidence folder; pure functions.

Nothing here redacts: callers pass an environment and texts that went through
`nbbench.record.redact` already.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from nbbench import __version__, units
from nbbench.documents import document
from nbbench.model import Flag, Result, Status
from nbbench.plan.exported import Comparison, Export, comparisons
from nbbench.report import events, not_judged
from nbbench.report.blocks import Block, Bullets, Item, Table
from nbbench.report.stamp_page import artifacts, fact_table, stamp_page
from nbbench.words import clean_lines, minute, plural

_NOT_RECORDED = "# not recorded\n"
_LEDGER = ("workload", "ops", "bytes_per_pixel", "upcast_bytes", "peak_live_bytes", "output_dtype", "error")


def render(export: Export) -> dict[str, str]:
    """The files of the folder, by name, in the order in which a reader wants them."""
    files = {
        "commands.txt": commands_txt(export),
        "metrics.json": document("metrics", metrics(export)),
        "benchmark_results.json": document("benchmark-results", _benchmark_results(export)),
        "run_metadata.json": document("run-metadata", _run_metadata(export)),
        "env.txt": _lines(export.environment) or _NOT_RECORDED,
        "torch_env.txt": _lines(export.torch_env.splitlines()) or _NOT_RECORDED,
        "exit_code.txt": f"{export.exit_code}\n",
    }
    return {**files, "summary.md": summary_md(export, [*files, "summary.md", "sha256.txt"])}


def _lines(lines: Iterable[str]) -> str:
    """One line for each item, so that a value with a line break cannot pose as another variable."""
    return "".join(clean_lines(line).replace("\n", "\\n") + "\n" for line in lines)


def commands_txt(export: Export) -> str:
    """STAMP and the command that wrote the folder; the whole file runs as a shell script."""
    lines = [
        f"# STAMP: {export.stamp} (UTC)",
        f"# commit: {export.commit.hash}",
        f"# exit code: {export.exit_code}",
        "# The results were measured before, by asv; which command started it is not on record.",
        export.command,
    ]
    return "\n".join(lines) + "\n"


def metrics(export: Export) -> dict[str, Any]:
    """The headline figures as JSON-ready values."""
    return {
        "stamp": export.stamp,
        "cluster": export.cluster,
        "commit": export.commit.hash,
        "machine_name": export.machine,
        "exit_code": export.exit_code,
        "series": [
            {
                "series": result.key.label,
                **{name: getattr(result, name) for name in ("commit", "status", "value", "unit")},
                "samples": len(result.samples),
            }
            for result in export.results
        ],
        "ledgers": [{name: getattr(ledger, name) for name in _LEDGER} for ledger in export.ledgers],
        "baseline": export.baseline_commit.hash if export.baseline_commit else None,
        "comparisons": comparisons(export),
        "open_events": [flag.event.id for flag in _open_flags(export)],
        "not_judged": not_judged.plain_not_judged(export.not_judged),
    }


def _benchmark_results(export: Export) -> dict[str, Any]:
    return {
        "stamp": export.stamp,
        "results": list(export.results),
        "baseline": export.baseline_commit.hash if export.baseline_commit else None,
        "baseline_results": list(export.baseline),
        "ledgers": list(export.ledgers),
    }


def _run_metadata(export: Export) -> dict[str, Any]:
    return {
        **{name: getattr(export, name) for name in ("stamp", "cluster", "plan", "commit", "measuring_s")},
        "branch": export.branch or None,
        "tree": export.commit.tree,
        "started_at": export.started_at,
        "ended_at": export.ended_at,
        "commands": [export.command],
        "exit_code": export.exit_code,
        "status": status_line(export),
        "machine_name": export.machine,
        "machine": dict(export.facts),
        "versions": dict(export.versions),
        "nbbench": __version__,
    }


def summary_md(export: Export, files: Iterable[str]) -> str:
    """The whole page; every section is present, and says so when it has nothing to state."""
    compared = comparisons(export)
    took = f", measuring took {units.format_seconds(export.measuring_s)}" if export.measuring_s else ""
    facts = [
        ("branch", export.branch),
        ("commit", export.commit.hash),
        ("tree", export.commit.tree),
        ("measured on", export.machine),
        *export.facts,
        *export.versions,
    ]
    return stamp_page(
        export.cluster,
        export.plan,
        {
            "Status": [status_line(export)],
            "STAMP": [f"{export.stamp} (UTC), measured from {minute(export.started_at)}{took}"],
            "Command": [Bullets([Item(about=export.command)])],
            "Executive Summary": [Bullets(_executive(export, compared))],
            "Results": [*_results(export), *not_judged.not_judged_blocks(export.not_judged)],
            "Environment": fact_table(facts),
            "Comparison to baseline": _comparison(export, compared),
            "Artifacts": [artifacts(files)],
            "Next Actions": [Bullets(_actions(export, compared))],
        },
    )


def status_line(export: Export) -> str:
    """Whether the commit has figures; never better than the exit code says."""
    if export.exit_code:
        return f"BLOCKED (exit code {export.exit_code}): no benchmark of this commit gave a figure"
    return "PASSED (exit code 0)"


def _open_flags(export: Export) -> list[Flag]:
    """The open regressions on record, in reading order."""
    ordered = events.in_reading_order(export.flags, export.ended_at)
    return [flag for flag in ordered if events.is_open(flag, export.ended_at)]


def _executive(export: Export, compared: Sequence[Comparison]) -> list[str]:
    lines = [
        f"Run: {status_line(export)}.",
        f"Machine {export.machine}. {_measured(export.results)}",
        f"Commit {export.commit.short} {export.commit.subject}.",
        _against_baseline(export, compared),
    ]
    for flag in events.in_reading_order(export.flags, export.ended_at):
        event = flag.event
        is_open = events.is_open(flag, export.ended_at)
        word = f"Open {event.direction}" if is_open else event.direction.title()
        healed = f", {events.undone_word(event)} by {event.recovered_by[:8]}" if event.recovered_by else ""
        lines.append(
            f"{word} on record: {event.id} at {events.commit_range(event.lo_commit, event.hi_commit)}, "
            f"{events.change_text(event)}, cause {event.cause}, "
            f"{events.state_text(flag, export.ended_at)}{healed} ({flag.plan})."
        )
    if export.not_judged:
        lines.append(
            f"{plural(len(export.not_judged), 'series', 'series')} of the history could not be judged."
        )
    return [*lines, "The environment and torch_env are those of the export, not of the measurement."]


def _measured(results: Sequence[Result]) -> str:
    counts = Counter(str(result.status) for result in results)
    kinds = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    return f"{plural(len(results), 'result')}: {kinds}." if results else "Nothing was measured."


def _against_baseline(export: Export, compared: Sequence[Comparison]) -> str:
    if not compared or export.baseline_commit is None:
        return "No baseline to compare with, so nothing here says whether anything became slower."
    name, count = export.baseline_commit.short, plural(len(compared), "series", "series")
    worse = [c for c in compared if c.standing == "worse"]
    if worse:
        return f"{len(worse)} of {count} worse than {name}; worst: {_headline(worse[0])}."
    most = next((c for c in compared if not c.standing and c.effect), None)
    told = f"; one value against one differs most in {_headline(most)}" if most else ""
    return f"Of {count} none is known to be worse than {name}{told}."


def _headline(c: Comparison) -> str:
    return f"{c.series} {units.format_change(c.effect)} ({' → '.join(_pair(c))})"


def _results(export: Export) -> list[Block]:
    blocks: list[Block] = []
    if export.results:
        rows = [_result_cells(result) for result in export.results]
        blocks.append(Table(("series", "status", "value", "samples", "min", "max"), rows, codes=(0,)))
    if export.ledgers:
        heads = ("workload", "operations", "B/pixel", "upcast", "peak live", "output")
        rows = [
            (
                ledger.workload,
                str(ledger.ops),
                f"{ledger.bytes_per_pixel:.6g}",
                units.format_bytes(ledger.upcast_bytes),
                units.format_bytes(ledger.peak_live_bytes),
                ledger.output_dtype,
            )
            for ledger in export.ledgers
        ]
        blocks.append(Table(heads, rows, codes=(0,)))
    return blocks


def _result_cells(result: Result) -> tuple[str, ...]:
    samples = [sample for sample in result.samples if math.isfinite(sample)]
    figures = (result.value, min(samples, default=None), max(samples, default=None))
    value, least, most = (units.format_value(figure, result.unit) for figure in figures)
    return result.key.label, str(result.status), value, str(len(result.samples)), least, most


def _comparison(export: Export, compared: Sequence[Comparison]) -> list[Block]:
    if not compared or export.baseline_commit is None:
        return ["No baseline was given."]
    intro = (
        f"Against {export.baseline_commit.hash} on {export.machine}. A noisy series is worse or "
        "better where an event on record says so, an exact count where it moved. A gate decides about the "
        "others with repeated, interleaved runs."
    )
    heads = ("series", "baseline", "now", "change", "standing", "why")
    rows = [(c.series, *_pair(c), units.format_change(c.effect), c.standing, c.why) for c in compared]
    return [intro, Table(heads, rows, codes=(0,))]


def _pair(c: Comparison) -> tuple[str, str]:
    return units.format_value(c.baseline, c.unit), units.format_value(c.now, c.unit)


def _actions(export: Export, compared: Sequence[Comparison]) -> list[str]:
    actions = []
    if export.exit_code:
        actions.append("Find out why no benchmark gave a figure, then measure and export again.")
    actions += [
        f"Decide about {flag.event.id} (cause {flag.event.cause}); nbbench explain {flag.event.id} shows it."
        for flag in _open_flags(export)
    ]
    if export.baseline_commit and any(c.effect for c in compared):
        base, head = export.baseline_commit.short, export.commit.short
        actions.append(f"Confirm with nbbench gate {base} {head} before acting on times.")
    return actions or ["None."]
