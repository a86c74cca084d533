"""The files of one exported evidence folder; pure functions.

Nothing here redacts: callers pass an environment and texts that went through
`nbbench.record.redact` already.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nbbench import __version__
from nbbench.documents import document
from nbbench.ledger import Ledger
from nbbench.model import Result
from nbbench.plan.exported import Export, comparisons
from nbbench.report.summary import open_flags, status_line, summary_md
from nbbench.words import clean_lines

_NOT_RECORDED = "# not recorded\n"


def render(export: Export) -> dict[str, str]:
    """The files of the folder, by name, in the order in which a reader wants them."""
    return {
        "commands.txt": commands_txt(export),
        "summary.md": summary_md(export),
        "metrics.json": document("metrics", metrics(export)),
        "benchmark_results.json": document("benchmark-results", _benchmark_results(export)),
        "run_metadata.json": document("run-metadata", _run_metadata(export)),
        "env.txt": _lines(export.environment) or _NOT_RECORDED,
        "torch_env.txt": _lines(export.torch_env.splitlines()) or _NOT_RECORDED,
        "exit_code.txt": f"{export.exit_code}\n",
    }


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
        "series": [_series_metrics(result) for result in export.results],
        "ledgers": [_ledger_metrics(ledger) for ledger in export.ledgers],
        "baseline": export.baseline_commit.hash if export.baseline_commit else None,
        "comparisons": comparisons(export.results, export.baseline, export.between),
        "open_events": [flag.event.id for flag in open_flags(export)],
    }


def _series_metrics(result: Result) -> dict[str, Any]:
    """One series' figure; benchmark_results.json has its samples."""
    return {
        "series": result.key.label,
        "commit": result.commit,
        "status": str(result.status),
        "value": result.value,
        "unit": result.unit,
        "samples": len(result.samples),
    }


def _ledger_metrics(ledger: Ledger) -> dict[str, Any]:
    """What a ledger sums up to; benchmark_results.json has its lines."""
    names = ("workload", "ops", "bytes_per_pixel", "upcast_bytes", "peak_live_bytes", "output_dtype", "error")
    return {name: getattr(ledger, name) for name in names}


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
        "stamp": export.stamp,
        "cluster": export.cluster,
        "plan": export.plan,
        "branch": export.branch or None,
        "commit": export.commit,
        "tree": export.commit.tree,
        "started_at": export.started_at,
        "ended_at": export.ended_at,
        "measuring_s": export.measuring_s,
        "commands": [export.command],
        "exit_code": export.exit_code,
        "status": status_line(export),
        "machine_name": export.machine,
        "machine": dict(export.facts),
        "versions": dict(export.versions),
        "nbbench": __version__,
    }
