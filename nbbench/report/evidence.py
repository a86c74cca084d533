"""The files of one exported evidence folder; pure functions.

Nothing here redacts: callers pass an environment and texts that went through
`nbbench.record.redact` already.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from nbbench import __version__, units
from nbbench.documents import document
from nbbench.model import Flag, Result, Status
from nbbench.plan.exported import Export
from nbbench.report import events, not_judged
from nbbench.report.blocks import Block, Bullets, Item, Table
from nbbench.report.capture import NOT_RECORDED
from nbbench.report.stamp_page import artifacts, fact_table, stamp_page
from nbbench.words import clean_lines, minute, plural
from nbbench.work.ledger_diff import log_ratio

_LEDGER = ("workload", "ops", "bytes_per_pixel", "upcast_bytes", "peak_live_bytes", "output_dtype", "error")


def render(export: Export) -> dict[str, str]:
    """The files of the folder, by name, in the order in which a reader wants them."""
    files = {
        "commands.txt": commands_txt(export),
        "metrics.json": document("metrics", metrics(export)),
        "benchmark_results.json": document(
            "benchmark-results",
            {
                "stamp": export.stamp,
                "results": list(export.results),
                "baseline": export.baseline_commit.hash if export.baseline_commit else None,
                "baseline_results": list(export.baseline),
                "ledgers": list(export.ledgers),
            },
        ),
        "run_metadata.json": document("run-metadata", _run_metadata(export)),
        "env.txt": _lines(export.environment) or NOT_RECORDED,
        "torch_env.txt": _lines(export.torch_env.splitlines()) or NOT_RECORDED,
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
        "comparisons": [
            {"series": now.key.label, "unit": now.unit, "baseline": old.value, "now": now.value}
            for old, now in export.both
        ],
        "open_events": [flag.event.id for flag in _open_flags(export)],
        "not_judged": not_judged.plain_not_judged(export.not_judged),
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
            "Executive Summary": [Bullets(_executive(export))],
            "Results": [*_results(export), *not_judged.not_judged_blocks(export.not_judged)],
            "Environment": fact_table(facts),
            "Comparison to baseline": _comparison(export),
            "Artifacts": [artifacts(files)],
            "Next Actions": [Bullets(_actions(export))],
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


def _executive(export: Export) -> list[str]:
    told = events.headline(export.flags, export.not_judged, export.ended_at)
    lines = [
        f"Run: {status_line(export)}.",
        f"Machine {export.machine}. {_measured(export.results)}",
        f"Commit {export.commit.short} {export.commit.subject}.",
        f"On record up to here: {told}",
    ]
    for flag in _open_flags(export):
        event, state = flag.event, events.state_text(flag, export.ended_at)
        where = events.commit_range(event.lo_commit, event.hi_commit)
        what = f"{event.id} at {where}, {events.change_text(event)}, cause {event.cause}"
        lines.append(f"Open regression: {what}, {state} ({flag.plan}).")
    return [*lines, "The environment and torch_env are those of the export, not of the measurement."]


def _measured(results: Sequence[Result]) -> str:
    counts = Counter(str(result.status) for result in results)
    kinds = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    return f"{plural(len(results), 'result')}: {kinds}." if results else "Nothing was measured."


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


def _comparison(export: Export) -> list[Block]:
    """One value beside one: by how much they differ, and no verdict."""
    if export.baseline_commit is None or not export.both:
        return ["No baseline to compare with, so nothing here says whether anything became slower."]
    intro = (
        f"Against {export.baseline_commit.hash} on {export.machine}. One value against one decides nothing "
        "of a noisy series: the regressions on record do, and a gate with repeated, interleaved runs."
    )
    rows = []
    for old, now in sorted(export.both, key=lambda pair: -abs(_effect(*pair) or 0.0)):
        figures = (units.format_value(one.value, one.unit) for one in (old, now))
        rows.append((now.key.label, *figures, units.format_change(_effect(old, now))))
    return [intro, Table(("series", "baseline", "now", "change"), rows, codes=(0,))]


def _effect(old: Result, now: Result) -> float | None:
    """The log ratio of two results; None where signs make a ratio meaningless."""
    before, after = old.value or 0.0, now.value or 0.0
    return log_ratio(before, after) if before == after or min(before, after) >= 0 else None


def _actions(export: Export) -> list[str]:
    actions = []
    if export.exit_code:
        actions.append("Find out why no benchmark gave a figure, then measure and export again.")
    actions += [
        f"Decide about {flag.event.id} (cause {flag.event.cause}); nbbench explain {flag.event.id} shows it."
        for flag in _open_flags(export)
    ]
    if export.baseline_commit and any(_effect(*pair) for pair in export.both):
        base, head = export.baseline_commit.short, export.commit.short
        actions.append(f"Confirm with nbbench gate {base} {head} before acting on times.")
    return actions or ["None."]
