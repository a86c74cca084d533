"""The figures of a capture: what metrics.json holds, and sections of summary.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nbbench import units
from nbbench.capture.trial import GIB, achieved, dtype_of_test, legacy_bandwidths
from nbbench.captured import BaselineLine, CaptureVerdict, Check, Diagnosis, Figure, MallocTiming, TestRun
from nbbench.model import to_plain
from nbbench.report.blocks import Block, Table, Title
from nbbench.report.markdown import as_markdown

SCHEMA = "nbbench.capture-figures/1"
_ROWS = 60  # metrics.json has every figure; a page with more is not read
_OPERATORS = 15


@dataclass(frozen=True, slots=True)
class CaptureFigures:
    """Everything that was read from one capture; `malloc_pinned_by` is the user's variable that does so."""

    run: TestRun
    figures: Sequence[Figure]
    checks: Sequence[Check]
    verdict: CaptureVerdict
    diagnosis: Diagnosis | None = None
    malloc_pinned_by: str = ""


def metrics(found: CaptureFigures) -> dict[str, Any]:
    """The part of metrics.json that the figures fill; every list names its test."""
    run, diagnosis = found.run, found.diagnosis
    dtype = dtype_of_test(diagnosis, found.figures) if diagnosis else ""
    return {
        "figures_schema": SCHEMA,
        "figures": [_figure(figure) for figure in found.figures] + _derived(found),
        "checks": [_check(check, dtype) for check in found.checks],
        "tests": [
            {
                "test": test.nodeid,
                "outcome": test.outcome,
                "duration_s": test.duration_s,
                "usage": to_plain(test.usage),
                "message": test.message.splitlines()[0][:400] if test.message else "",
                "numbers": dict(test.numbers),
            }
            for test in (run.tests if run.started else ())
        ],
        "session": {
            "exit_status": run.exit_status,
            "python": run.python,
            "pytest": run.pytest,
            "torch": run.torch,
            "torch_threads": run.torch_threads,
            "cores": run.cores,
            "warnings": run.warnings,
            "collected": run.collected,
            "compiled_graphs": run.compiled_graphs,
        },
        "malloc_pinned_by": found.malloc_pinned_by,
        "disturbed": found.verdict.disturbed,
        "diagnosis": _diagnosis(diagnosis) if diagnosis else None,
        "baseline": [_baseline(line) for line in found.verdict.baseline],
        "operators": [to_plain(operator) for operator in run.operators[:40]],
        "sentences": list(found.verdict.sentences),
        "next_actions": list(found.verdict.next_actions),
    }


def _figure(figure: Figure) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(figure)
    return {**plain, "source": "printed"}


def _derived(found: CaptureFigures) -> list[dict[str, Any]]:
    """The legacy bandwidth in full precision, and what the ledger makes of the same times."""
    made: list[dict[str, Any]] = []
    test = found.figures[0].test if len({f.test for f in found.figures}) == 1 else ""
    for size, rate in sorted(legacy_bandwidths(found.figures).items()):
        made.append(
            {"name": f"legacy bandwidth {size}²", "value": rate / GIB, "unit": "GiB/s (legacy)", "size": size}
        )
    if found.diagnosis is not None:
        dtype = dtype_of_test(found.diagnosis, found.figures)
        for size, (rate, share) in sorted(achieved(found.diagnosis, found.figures).items()):
            common = {"size": size, "dtype": dtype}
            made.append({"name": f"achieved bandwidth {size}²", "value": rate, "unit": "B/s", **common})
            unit = "fraction of copy ceiling"
            made.append({"name": f"copy fraction {size}²", "value": share, "unit": unit, **common})
    return [{**figure, "test": test, "source": "derived"} for figure in made]


def _check(check: Check, dtype: str) -> dict[str, Any]:
    """A check; one of bandwidths or times with the dtype that they were computed in."""
    plain: dict[str, Any] = to_plain(check)
    return {**plain, "dtype": dtype} if dtype and re.search(r"bandwidth|time", check.name) else plain


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    trials = [
        {
            "size": t.size,
            "dtype": t.dtype,
            "default": to_plain(t.default),
            "pinned": to_plain(t.pinned),
            "penalty": t.penalty,
            "cpu_penalty": t.cpu_penalty,
            "bytes_per_pixel": t.ledger.bytes_per_pixel if t.ledger else None,
            "operations": t.ledger.ops if t.ledger else None,
            "error": t.error,
        }
        for t in diagnosis.trials
    ]
    plain: dict[str, Any] = to_plain(diagnosis)
    return {**plain, "trials": trials}


def _baseline(line: BaselineLine) -> dict[str, Any]:
    return {**to_plain(line.figure), "now": line.now, "word": line.word, "why": line.why}


def sections(found: CaptureFigures) -> tuple[tuple[str, str], ...]:
    """(title, Markdown) of the sections that have something to say."""
    made = {
        "Results": _results(found),
        "Comparison to baseline": _comparison(found.verdict),
    }
    told = [(title, as_markdown(blocks).rstrip("\n")) for title, blocks in made.items() if blocks]
    if found.verdict.next_actions:
        # One block each: `as_markdown` escapes what came from outside.
        actions = (as_markdown([action]).strip() for action in found.verdict.next_actions)
        told.append(("Next Actions", "\n".join(f"- {action}" for action in actions)))
    return tuple(told)


def _results(found: CaptureFigures) -> list[Block]:
    return [
        *_tests_table(found.run),
        *_figures_table(found.figures),
        *_checks_table(found.checks),
        *_bandwidth_table(found),
        *_trials_table(found.diagnosis),
        *_operators_table(found.run),
    ]


def _tests_table(run: TestRun) -> list[Block]:
    if not run.started:
        return []
    rows = []
    for test in run.tests[:_ROWS]:
        usage = test.usage
        figures = (
            ("n/a",) * 4
            if usage is None
            else (
                units.format_seconds(usage.user_s),
                units.format_seconds(usage.system_s),
                f"{usage.minor_faults:,}",
                f"{usage.involuntary_switches:,}",
            )
        )
        rows.append((test.nodeid, test.outcome, units.format_seconds(test.duration_s), *figures))
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
    words = {True: "holds", False: "does not hold", None: "not told"}
    rows = [
        (
            c.name,
            "not printed" if c.value is None else f"{c.value:.4g} {c.unit}".strip(),
            f"{c.op} {c.threshold:g}",
            words[c.passed],
            c.text,
        )
        for c in checks[:_ROWS]
    ]
    heads = ("asserted", "value", "threshold", "verdict", "source")
    return _titled("Assertions", Table(heads, rows, right=(1, 2), codes=(0, 4)), len(checks))


def _bandwidth_table(found: CaptureFigures) -> list[Block]:
    diagnosis = found.diagnosis
    if diagnosis is None:
        return []
    dtype = dtype_of_test(diagnosis, found.figures)
    legacy, real = legacy_bandwidths(found.figures), achieved(diagnosis, found.figures)
    rows = []
    for size, (rate, share) in sorted(real.items()):
        trial = diagnosis.trial(size, dtype)
        per_pixel = trial.ledger.bytes_per_pixel if trial and trial.ledger else None
        rows.append(
            (
                f"{size}² {dtype}",
                f"{legacy[size] / GIB:.3g} GiB/s",
                units.format_value(per_pixel, "B/pixel"),
                units.format_value(rate, "B/s"),
                "n/a" if share is None else f"{share:.0%}",
            )
        )
    heads = ("workload", "legacy bandwidth", "ledger", "achieved bandwidth", "of the copy ceiling")
    return _titled("Bandwidth of the test", Table(heads, rows, right=(1, 2, 3, 4)), len(rows))


def _trials_table(diagnosis: Diagnosis | None) -> list[Block]:
    if diagnosis is None:
        return []
    rows = []
    for trial in diagnosis.trials:
        for name, timing in (("default", trial.default), ("pinned", trial.pinned)):
            if timing is not None:
                rows.append((f"{trial.size}² {trial.dtype}", name, *_timing_cells(timing)))
    heads = ("workload", "malloc", "median time", "CPU time", "system share", "minor faults", "runs")
    table = Table(heads, rows, right=(2, 3, 4, 5, 6))
    title = f"Malloc as it is, and with pinned thresholds ({diagnosis.threads} thread(s))"
    return _titled(title, table, len(rows))


def _timing_cells(timing: MallocTiming) -> tuple[str, ...]:
    return (
        units.format_seconds(timing.wall_s),
        units.format_seconds(timing.cpu_s),
        f"{timing.system_share:.0%}",
        f"{timing.minor_faults:,}",
        str(timing.runs),
    )


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


def _comparison(verdict: CaptureVerdict) -> list[Block]:
    if not verdict.baseline:
        return ["No baseline on this machine, so nothing here says whether anything became slower."]
    rows = []
    for line in verdict.baseline:
        figure = line.figure
        interval = [units.format_value(value, figure.unit) for value in (figure.lo, figure.hi)]
        rows.append(
            (
                figure.label,
                f"{figure.commit[:8]}{' (same tree)' if figure.same_tree else ''}",
                f"{' to '.join(interval)} ({figure.coverage:.0%}, {figure.samples} samples)",
                units.format_value(line.now, figure.unit),
                f"{line.word}{f': {line.why}' if line.why else ''}",
            )
        )
    heads = ("series", "baseline", "interval", "now", "verdict")
    told = "Pinned warm runs of the diagnosis against the same benchmark on this machine."
    return [told, Table(heads, rows, right=(3,), codes=(0,))]
