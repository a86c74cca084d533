"""Every output against its golden file; NBBENCH_UPDATE_GOLDEN=1 writes the files anew."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import capture_samples
import figure_samples
import pytest
import report_samples as samples
import site_samples
import work_cases

from nbbench import __version__
from nbbench.documents import document
from nbbench.model import Outcome
from nbbench.plan.exported import Export
from nbbench.report.events import regressions_blocks
from nbbench.report.evidence import render
from nbbench.report.gate import gate_blocks, gate_junit, gate_payload
from nbbench.report.markdown import LIMIT_BYTES, as_markdown
from nbbench.report.run_view import commits_blocks, run_blocks
from nbbench.report.text import Terminal, as_text

GOLDEN = Path(__file__).parents[1] / "golden"
FLAGS = regressions_blocks(samples.FLAGS, not_judged=samples.NOT_JUDGED, now=samples.NOW)
GATE = gate_blocks(samples.GATE)
COMMITS = commits_blocks(samples.COMMITS[10:14])
RUN = run_blocks(samples.RESULTS, samples.COMMITS, records=samples.RECORDS, notes=("one note",))
NOTHING = replace(samples.GATE, outcome=Outcome.INCONCLUSIVE, verdicts=(), ledger=())
EXPORT = Export(
    stamp="20251015T113531Z",
    cluster="CLUSTER-PERF-001",
    plan="PERF-PYTORCH-004",
    command="nbbench export 000c0000 --cluster CLUSTER-PERF-001 --machine bench-1",
    commit=samples.COMMITS[11],
    branch="feature/spec-based-2",
    machine="bench-1",
    facts=(("cpu", "Example CPU | 2 cores"), ("memory", "24 GiB")),
    versions=(("torch", "2.13.0"),),
    environment=("CUDA_VISIBLE_DEVICES=-1", "HOME=<redacted>"),
    torch_env="PyTorch version: 2.13.0\nIs debug build: False\n",
    started_at=samples.NOW,
    ended_at=samples.NOW + timedelta(seconds=93.2),
    measuring_s=61.5,
    results=samples.RESULTS,
    baseline=samples.BASELINE,
    baseline_commit=samples.COMMITS[10],
    flags=samples.FLAGS,
    ledgers=(samples.LEDGER,),
)

CASES = {
    "regressions.txt": lambda: as_text(FLAGS),
    "regressions_wide.txt": lambda: as_text(FLAGS, Terminal(width=150)),
    "regressions_80.txt": lambda: as_text(FLAGS, Terminal(width=80)),
    "regressions_colour.txt": lambda: as_text(
        regressions_blocks(samples.FLAGS, now=samples.NOW)[:3], Terminal(width=150, colour=True)
    ),
    "regressions_none.txt": lambda: as_text(regressions_blocks(())),
    "regressions.md": lambda: as_markdown(FLAGS, limit=LIMIT_BYTES),
    "regressions.json": lambda: document("regressions", {"flags": samples.FLAGS}, version=2),
    "gate.txt": lambda: as_text(GATE),
    "gate_80.txt": lambda: as_text(GATE, Terminal(width=80)),
    "gate.md": lambda: as_markdown(GATE, limit=LIMIT_BYTES),
    "gate.json": lambda: document("gate", gate_payload(samples.GATE)),
    "gate.junit.xml": lambda: gate_junit(samples.GATE),
    "gate_nothing.txt": lambda: as_text(gate_blocks(NOTHING)),
    "gate_nothing.md": lambda: as_markdown(gate_blocks(NOTHING), limit=LIMIT_BYTES),
    "gate_nothing.junit.xml": lambda: gate_junit(NOTHING),
    "commits.txt": lambda: as_text(COMMITS),
    "commits.md": lambda: as_markdown(COMMITS),
    "commits.json": lambda: document("commits", samples.COMMITS[10:12]),
    "run.txt": lambda: as_text(RUN),
    "run.md": lambda: as_markdown(RUN),
    "site.html": lambda: site_samples.made().page(),
    "site.txt": lambda: site_samples.shown(),
}
CASES |= work_cases.CASES
CASES |= figure_samples.CASES
CASES |= capture_samples.CASES
CASES |= {f"stamp/{name}": (lambda text=text: text) for name, text in render(EXPORT).items()}


@pytest.mark.parametrize("name", CASES)
def test_output_is_as_recorded(name: str) -> None:
    shown = CASES[name]().replace(f'"nbbench": "{__version__}"', '"nbbench": "VERSION"')
    shown = shown.replace(f"nbbench {__version__}", "nbbench VERSION")
    path = GOLDEN / name
    if os.environ.get("NBBENCH_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


def test_every_golden_file_is_used() -> None:
    found = {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*") if path.is_file()}
    assert found == set(CASES)


@pytest.mark.parametrize("name", [name for name in CASES if "colour" not in name])
def test_no_output_passes_a_control_character_on(name: str) -> None:
    shown = CASES[name]()
    if not name.endswith(".json"):  # JSON escapes them, and keeps the record as it was
        assert not [c for c in shown if ord(c) < 32 and c != "\n"]
        assert "\u202e" not in shown
    shown.encode("utf-8")
