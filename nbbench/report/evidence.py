"""The content of one evidence folder, from what a run measured; pure functions.

Nothing here redacts: callers pass an environment and texts that went through
`nbbench.record.redact` already.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from nbbench import __version__
from nbbench.documents import document
from nbbench.errors import EvidenceError
from nbbench.ledger import Ledger
from nbbench.model import Result
from nbbench.report.events import in_reading_order, is_open
from nbbench.report.evidence_input import (
    Comparison,
    EvidenceInput,
    HeadlineFigure,
    comparisons,
    elapsed_s,
    shell_lines,
    status_line,
    variation,
)
from nbbench.report.summary import summary_md
from nbbench.words import clean_lines, iso

__all__ = [
    "Comparison",
    "EvidenceInput",
    "HeadlineFigure",
    "commands_txt",
    "comparisons",
    "metrics",
    "render",
]

_NOT_RECORDED = "# not recorded\n"


def render(evidence: EvidenceInput) -> dict[str, str]:
    """The files of the folder, by name, in the order in which a reader wants them."""
    return {
        "commands.txt": commands_txt(evidence),
        "summary.md": summary_md(evidence),
        "metrics.json": document("metrics", metrics(evidence)),
        "benchmark_results.json": document("benchmark-results", _benchmark_results(evidence)),
        "run_metadata.json": document("run-metadata", _run_metadata(evidence)),
        "env.txt": _lines(evidence.environment) or _NOT_RECORDED,
        "torch_env.txt": _lines(evidence.torch_env.splitlines()) or _NOT_RECORDED,
        "exit_code.txt": f"{evidence.exit_code}\n",
    }


def _lines(lines: Iterable[str]) -> str:
    """One line for each item, so that a value with a line break cannot pose as another variable."""
    return "".join(clean_lines(line).replace("\n", "\\n") + "\n" for line in lines)


def commands_txt(evidence: EvidenceInput) -> str:
    """STAMP, working directory and the exact commands; the whole file runs as a shell script."""
    for text in (evidence.stamp, evidence.cwd):
        if "\n" in text or "\0" in text:
            raise EvidenceError(f"{text!r} cannot stand in commands.txt", hint="")
    lines = [f"# STAMP: {evidence.stamp} (UTC)"]
    if evidence.commit:
        lines.append(f"# commit: {evidence.commit.hash}")
    lines += [f"# working directory: {evidence.cwd}", f"# exit code: {evidence.exit_code}", ""]
    lines += [f"cd {shlex.quote(evidence.cwd)}", *shell_lines(evidence)]
    return "\n".join(lines) + "\n"


def metrics(evidence: EvidenceInput) -> dict[str, Any]:
    """The headline figures as JSON-ready values."""
    return {
        "stamp": evidence.stamp,
        "cluster": evidence.cluster,
        "commit": evidence.commit.hash if evidence.commit else None,
        "exit_code": evidence.exit_code,
        "series": [_series_metrics(result) for result in evidence.results],
        "metrics": list(evidence.metrics),
        "ceiling_bytes_per_s": dict(evidence.ceiling),
        "ledgers": [_ledger_metrics(ledger) for ledger in evidence.ledgers],
        "baseline": evidence.baseline_name or None,
        "comparisons": comparisons(evidence),
        "open_events": [
            flag.event.id
            for flag in in_reading_order(evidence.flags, evidence.ended_at)
            if is_open(flag, evidence.ended_at)
        ],
    }


def _series_metrics(result: Result) -> dict[str, Any]:
    samples = [sample for sample in result.samples if math.isfinite(sample)]
    return {
        "series": result.key.label,
        "commit": result.commit,
        "status": str(result.status),
        "value": result.value,
        "unit": result.unit,
        "samples": len(result.samples),
        "min": min(samples, default=None),
        "max": max(samples, default=None),
        "cv": variation(samples),
    }


def _ledger_metrics(ledger: Ledger) -> dict[str, Any]:
    bulky = ("lines", "image_blocks")  # benchmark_results.json has them
    figures = {f.name: getattr(ledger, f.name) for f in fields(ledger) if f.name not in bulky}
    return {
        **figures,
        "bytes_by_dtype": dict(ledger.bytes_by_dtype),
        "bytes_per_pixel": ledger.bytes_per_pixel,
    }


def _benchmark_results(evidence: EvidenceInput) -> dict[str, Any]:
    return {
        "stamp": evidence.stamp,
        "results": list(evidence.results),
        "baseline": evidence.baseline_name or None,
        "baseline_results": list(evidence.baseline),
        "ledgers": list(evidence.ledgers),
    }


def _run_metadata(evidence: EvidenceInput) -> dict[str, Any]:
    return {
        "stamp": evidence.stamp,
        "cluster": evidence.cluster,
        "plan": evidence.plan,
        "branch": evidence.branch or None,
        "commit": evidence.commit,
        "tree": evidence.tree or (evidence.commit.tree if evidence.commit else None),
        "started_at": iso(evidence.started_at),
        "ended_at": iso(evidence.ended_at),
        "elapsed_s": elapsed_s(evidence),
        "cwd": evidence.cwd,
        "commands": shell_lines(evidence),
        "exit_code": evidence.exit_code,
        "timed_out": evidence.timed_out,
        "status": status_line(evidence),
        "machine_name": evidence.machine_name or None,
        "machine": dict(evidence.machine),
        "versions": dict(evidence.versions),
        "resources": dict(evidence.resources),
        "notes": list(evidence.notes),
        "nbbench": __version__,
    }
