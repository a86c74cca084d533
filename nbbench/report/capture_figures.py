"""The figures of a capture: what metrics.json holds, and the tables of summary.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbbench import units
from nbbench.captured import Check, Diagnosis, Figure, Findings, RunOutcome, TestRun
from nbbench.model import to_plain
from nbbench.report.blocks import Block, Bullets, Table, Title
from nbbench.report.capture_sentences import baseline_sentence, next_actions, sentences
from nbbench.report.dtypes import cases_table

_SCHEMA = "nbbench.capture-figures/2"
_ROWS = 60  # metrics.json has every figure; a page with more is not read
_OPERATORS = 15
_SESSION = ("exit_status", "python", "pytest", "torch", "torch_threads", "cores", "compiled_graphs")


def metrics(found: Findings, outcome: RunOutcome) -> dict[str, Any]:
    """The part of metrics.json that the figures fill; every list names its test."""
    run, diagnosis = found.run, found.diagnosis
    return {
        "figures_schema": _SCHEMA,
        "conditions": dict(found.conditions),
        "figures": [{**to_plain(figure), "source": "printed"} for figure in found.figures] + _derived(found),
        "checks": [to_plain(check) for check in found.checks],
        "tests": [
            {
                "test": test.nodeid,
                **{name: to_plain(getattr(test, name)) for name in ("outcome", "duration_s", "usage")},
                "message": test.message.splitlines()[0][:400] if test.message else "",
            }
            for test in (run.tests if run.started else ())
        ],
        "session": {name: getattr(run, name) for name in _SESSION},
        "disturbance": to_plain(found.disturbance),
        "malloc_pinned_by": found.malloc_pinned_by,
        "disturbed": found.disturbance.disturbed,
        "diagnosis": _diagnosis(diagnosis) if diagnosis else None,
        "baseline": [to_plain(figure) for figure in found.baseline],
        "operators": [to_plain(operator) for operator in run.operators[:40]],
        "sentences": sentences(found, outcome),
        "next_actions": next_actions(found),
    }


def _derived(found: Findings) -> list[dict[str, Any]]:
    """The legacy bandwidth in full precision, and what the ledger makes of the same times."""
    made: list[dict[str, Any]] = []
    test = found.figures[0].test if len({f.test for f in found.figures}) == 1 else ""
    for row in found.bandwidths:
        common = {"size": row.size, "dtype": row.dtype, "test": test, "source": "derived"}
        for name, value, unit in (
            ("legacy bandwidth", row.legacy / units.GIB, "GiB/s (legacy)"),
            ("achieved bandwidth", row.rate, "B/s"),
            ("copy fraction", row.share, "fraction of copy ceiling"),
        ):
            if value is not None:
                made.append({"name": f"{name} {row.size}²", "value": value, "unit": unit, **common})
    return made


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    trials = [
        {
            **{name: to_plain(getattr(trial, name)) for name in ("size", "dtype", "default", "pinned")},
            "penalty": trial.penalty,
            "bytes_per_pixel": trial.ledger.bytes_per_pixel if trial.ledger else None,
            "operations": trial.ledger.ops if trial.ledger else None,
            "error": trial.error,
        }
        for trial in diagnosis.trials
    ]
    return {**to_plain(diagnosis), "trials": trials}


def result_blocks(found: Findings) -> list[Block]:
    """The tables below Results, those that have rows."""
    run, diagnosis = found.run, found.diagnosis
    blocks = [
        *(_tests_table(run) if run.started else []),
        *_figures_table(found.figures),
        *_checks_table(found.checks),
        *(_trials_table(diagnosis) if diagnosis else []),
        *_operators_table(run),
    ]
    return [*blocks, Title("dtype audit"), cases_table(found.audit)] if found.audit else blocks


def _tests_table(run: TestRun) -> list[Block]:
    rows = []
    for test in run.tests[:_ROWS]:
        usage, cells = test.usage, ("n/a",) * 4
        if usage is not None:
            cells = (
                units.format_seconds(usage.user_s),
                units.format_seconds(usage.system_s),
                f"{usage.minor_faults:,}",
                f"{usage.involuntary_switches:,}",
            )
        rows.append((test.nodeid, test.outcome, units.format_seconds(test.duration_s), *cells))
    heads = ("test", "outcome", "duration", "user", "system", "minor faults", "involuntary switches")
    return _titled("Tests", Table(heads, rows, right=(2, 3, 4, 5, 6), codes=(0,)), len(run.tests))


def _figures_table(figures: Sequence[Figure]) -> list[Block]:
    rows = [(f.name, f"{_printed(f)} {f.unit}".strip(), f.line) for f in figures[:_ROWS]]
    table = Table(("figure", "as printed", "source line"), rows, right=(1,), codes=(2,))
    return _titled("Figures that the tests printed", table, len(figures))


def _printed(figure: Figure) -> str:
    """The value with the digits that were printed: 0.0 where that is what the line says."""
    decimals = 0
    while decimals < 15 and 0 < figure.resolution < 0.49 * 10.0**-decimals:
        decimals += 1
    return f"{figure.value:,.{decimals}f}"


def _checks_table(checks: Sequence[Check]) -> list[Block]:
    rows = [
        (
            c.name,
            f"{c.value:.4g}",
            f"{c.op} {c.threshold:g}",
            "holds" if c.passed else "does not hold",
            c.text,
        )
        for c in checks[:_ROWS]
    ]
    heads = ("asserted", "value", "threshold", "verdict", "source")
    return _titled("Assertions", Table(heads, rows, right=(1, 2), codes=(0, 4)), len(checks))


def _trials_table(diagnosis: Diagnosis) -> list[Block]:
    rows = [
        (
            f"{trial.size}² {trial.dtype}",
            name,
            units.format_seconds(timing.wall_s),
            units.format_seconds(timing.cpu_s),
            f"{timing.system_share:.0%}",
            f"{timing.minor_faults:,}",
            str(timing.runs),
        )
        for trial in diagnosis.trials
        for name, timing in (("default", trial.default), ("pinned", trial.pinned))
        if timing is not None
    ]
    heads = ("workload", "malloc", "median time", "CPU time", "system share", "minor faults", "runs")
    title = f"Malloc as it is, and with pinned thresholds ({diagnosis.threads} thread(s))"
    return _titled(title, Table(heads, rows, right=(2, 3, 4, 5, 6)), len(rows))


def _operators_table(run: TestRun) -> list[Block]:
    rows = [
        (o.operator, f"{o.calls:,}", units.format_seconds(o.self_s), units.format_seconds(o.total_s))
        for o in run.operators[:_OPERATORS]
    ]
    heads = ("operator", "calls", "self time", "total time")
    return _titled("Profile by operator", Table(heads, rows, right=(1, 2, 3), codes=(0,)), len(run.operators))


def _titled(title: str, table: Table, count: int) -> list[Block]:
    if not table.rows:
        return []
    more = count - len(table.rows)
    blocks: list[Block] = [Title(title), table]
    return [*blocks, f"{more} more in metrics.json."] if more > 0 else blocks


def comparison(found: Findings) -> list[Block]:
    """What stands below Comparison to baseline."""
    if not found.baseline:
        return ["No baseline on this machine, so nothing here says whether anything became slower."]
    title = "Pinned warm runs of the diagnosis against the same benchmark on this machine."
    return [title, Bullets([baseline_sentence(figure) for figure in found.baseline])]
