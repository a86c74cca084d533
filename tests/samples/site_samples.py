"""A site of everything: hostile titles and parameters, ledgers, samples, disturbed results, evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import report_samples as samples
import work_samples as work

from nbbench import __version__
from nbbench.captured import EvidenceFigure, Folder
from nbbench.history.ledger_series import ledger_series
from nbbench.history.telemetry import Canaries
from nbbench.ledger import Ledger
from nbbench.model import EvidenceRecord, Flag, Series
from nbbench.plan.plan import CriterionState, PlanVerdict
from nbbench.plan.plans import Criterion, Measured
from nbbench.report.site import Site, SiteFacts, as_script
from nbbench.verdicts import SeriesNoise

SCRIPT = "</script><script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">"
WORKLOAD = work.before().workload
FOLDER = "reports/x/20251015T113531Z"
UPCAST = 11  # the place of the commit at which the work changes


def ledgers() -> dict[str, dict[str, Ledger]]:
    """By tree: another work from one commit on."""
    return {
        commit.tree: {WORKLOAD: work.after() if place >= UPCAST else work.before()}
        for place, commit in enumerate(samples.COMMITS)
    }


def flags() -> tuple[Flag, ...]:
    """The samples' flags, one of them of work, with lines, hunks and a hostile title."""
    first, second, third = samples.FLAGS
    event = second.event
    hunks = {"hunks": [{"place": "sim.py:20-22", "share": None}], "total": 2, "innocent": True}
    figures = {"workload": WORKLOAD, "unit": "B/pixel", "metric": "bytes", "phase": "", "minimal": True}
    hunk = EvidenceRecord("hunks", {"before": 76.0, "after": 164.0, "rest": 76.0, **figures, **hunks})
    worked = replace(event, evidence=(samples.work(work.before(), work.after()), hunk), recovered_by=None)
    return first, replace(second, event=worked), replace(third, event=replace(third.event, subject=SCRIPT))


def criterion() -> CriterionState:
    """A criterion of one series, of a hostile title, that an evidence folder shows."""
    when = samples.NOW - timedelta(hours=2)
    found = Measured(0.64, 0.6, 0.7, samples.COMMITS[UPCAST].hash, "runner", when, folder=FOLDER)
    asked = Criterion("P1", SCRIPT, asserts=1.0, value="bandwidth.Warm.time_run(2048, 'float64')")
    return CriterionState(asked, PlanVerdict.MEETS, found, notes=(SCRIPT,))


def facts(**more: object) -> SiteFacts:
    """Facts with something of each kind."""
    commits = tuple(replace(c, subject=SCRIPT) if c.position == 20 else c for c in samples.COMMITS)
    disturbed = [
        (commits[place].hash, key.machine, key.environment, key.benchmark)
        for place in (4, 5)
        for key in (samples.BIG_KEY,)
    ]
    levels = {
        (commit.hash, "runner", "shared-py3.11", samples.BIG_KEY.benchmark): {
            "frames_s": 0.003 + 0.00001 * place,
            "arithmetic_s": 0.002,
        }
        for place, commit in enumerate(commits)
    }
    folder = Folder(
        FOLDER, "20251015T113531Z", "CLUSTER-PERF-001", commits[UPCAST].hash, "capture",
        "failed", 1, "runner", (EvidenceFigure(SCRIPT, 0.36, "GB/s"),),
    )  # fmt: skip
    made = SiteFacts(
        title="Regressions for PERF-PYTORCH-004",
        source="the demo",
        generated_at=samples.NOW,
        flags=flags(),
        commits=commits,
        not_judged=samples.NOT_JUDGED,
        ledgers=ledgers(),
        torch="2.13.0",
        disturbed=frozenset(disturbed),
        canaries=Canaries(levels, {place: 1.76e9 + 60 * i for i, place in enumerate(levels)}),
        calibrations={"runner, 2025-10-15, torch 2.13.0": {SCRIPT: SeriesNoise(0.01, 0.02, 30)}},
        plan=("1 of 1 criterion met", [criterion()]),
        folders=((folder, "../reports/x/20251015T113531Z"),),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def every_series() -> Iterator[Series]:
    """The samples' series, one more of a hostile name, and those of the ledgers."""
    yield from samples.SERIES
    key = replace(samples.BIG_KEY, params=(("name", SCRIPT),), machine=SCRIPT)
    yield replace(samples.SERIES[3], key=key)
    yield from ledger_series(samples.COMMITS, ledgers(), "2.13.0")


def site(**more: object) -> Site:
    """The site of these facts, its documents not yet made."""
    return Site(facts(**more))


def made(**more: object) -> Site:
    """The site after its documents were made."""
    one = site(**more)
    documents(one)
    return one


def documents(one: Site) -> dict[str, Any]:
    """The documents by name, as a browser reads them."""
    scripts = {name: as_script(name, found) for name, found in one.documents(every_series())}
    return {name: json.loads(text[text.index(",") + 1 : -3]) for name, text in scripts.items()}


def shown() -> str:
    """Documents of each kind, one a paragraph; of commits, points and curves a few."""
    found = documents(site())
    found["series/0"]["series"] = {"3": found["series/0"]["series"]["3"]}
    found["start"]["commits"] = found["start"]["commits"][19:21]
    found["branch"]["curves"] = found["branch"]["curves"][:1]
    kept = {name: one for name, one in found.items() if not name.startswith("samples")}
    kept = {name: one for name, one in kept.items() if not name.startswith("commit/") or name == "commit/20"}
    text = {name: json.dumps(one, ensure_ascii=False) for name, one in kept.items()}
    return "".join(f"{name}\n{one}\n\n" for name, one in text.items()).replace(__version__, "VERSION")
