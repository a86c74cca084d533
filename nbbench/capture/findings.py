"""What a capture's figures say: read the tests, diagnose the workload, compare, judge."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbbench.capture.assertions import checks_of
from nbbench.capture.figures import figures_of
from nbbench.capture.guard_rules import COMPILE_SWITCHES
from nbbench.capture.malloc_setting import pinned_malloc
from nbbench.capture.probe import diagnose
from nbbench.capture.profile_trace import MAX_BYTES, trimmed_trace
from nbbench.capture.test_records import read_test_records
from nbbench.capture.trial import against_baseline
from nbbench.capture.verdict import judge
from nbbench.captured import (
    BaselineFigure,
    BaselineLine,
    CaptureFacts,
    Diagnosis,
    Enrichment,
    Figure,
    RunOutcome,
    TestRecord,
    TestRun,
)
from nbbench.config import Settings
from nbbench.documents import document
from nbbench.errors import NbbenchError
from nbbench.measure.process_env import torch_version
from nbbench.model import Series, Status, to_plain
from nbbench.record.machines import machine_name
from nbbench.report.capture_figures import CaptureFigures, metrics, sections
from nbbench.report.dtypes import audit_sentence, cases_table
from nbbench.report.markdown import as_markdown

DTYPE_PRESET = "vec-dtype"
DTYPE_FILE = "dtype_snapshot.json"
_LOG = "pytest.log"
_LOG_BYTES = 2 * 2**20
# AT-PERF-003's smallest and largest detector, worst first: the time may not suffice for all.
_PAIRS = ((2048, "float64"), (512, "float64"), (2048, "float32"), (512, "float32"))
_SIZES = (512, 1024, 2048)
# The run itself came to an end, or to its time limit: what it was about can be tried again.
_TRIED = frozenset({RunOutcome.PASSED, RunOutcome.FAILED, RunOutcome.TIMEOUT, RunOutcome.SIGNAL})
_AUDITED = _TRIED | {RunOutcome.NO_TESTS, RunOutcome.SETUP_ERROR}
_BASELINE = "bandwidth.Warm.time_run"
_TRACES = 3


def enrich(
    settings: Settings, facts: CaptureFacts, say: Callable[[str], None] = lambda _: None
) -> Enrichment:
    """The figures, verdict and cause of a captured run, with what to add to its folder.

    Reads the plugin's record (already without credentials) and, unless `facts.probe` is off,
    measures the workload once more in processes of its own for about half a minute.
    """
    run = _read(facts)
    figures = figures_of(run.tests)
    checks = checks_of(run.tests, figures)
    diagnosis = _diagnosed(settings, facts, run, figures, say)
    if diagnosis is not None and run.compiled_graphs:
        diagnosis = replace(diagnosis, not_comparable="compiled")
    baseline = against_baseline(diagnosis, _baseline(settings, facts), settings.floor) if diagnosis else ()
    files, notes = _profile(facts, run)
    verdict = judge(
        facts.outcome,
        run,
        figures,
        checks,
        diagnosis=diagnosis,
        baseline=baseline,
        profiled=bool(run.operators),
        environment=dict(facts.environment),
    )
    pinned = pinned_malloc(dict(facts.environment))
    found = CaptureFigures(run, figures, checks, verdict, diagnosis, malloc_pinned_by=pinned)
    audit = _dtype_audit(settings, facts, say)
    return Enrichment(
        verdict=verdict.word,
        cause=verdict.cause,
        sentences=(*verdict.sentences, *audit.sentences),
        metrics=metrics(found),
        sections=(*sections(found), *audit.sections),
        files=(*files, *audit.files),
        notes=(*verdict.notes, *_looked_for(settings, baseline, diagnosis), *notes, *audit.notes),
        anomalies=_broken_guard(facts, run),
    )


def _broken_guard(facts: CaptureFacts, run: TestRun) -> tuple[str, ...]:
    """A switch that should have kept Dynamo off, and did not: not every commit heeds every one."""
    guards = [f"{n}={v}" for n, v in facts.environment if COMPILE_SWITCHES.fullmatch(n) and v == "1"]
    if not run.compiled_graphs or not guards:
        return ()
    return (f"{' '.join(guards)} did not hold: graphs compiled by Dynamo: {run.compiled_graphs}",)


def _looked_for(
    settings: Settings, baseline: Sequence[BaselineLine], diagnosis: Diagnosis | None
) -> tuple[str, ...]:
    """Under which name a baseline was looked for, where none was found."""
    if baseline or diagnosis is None or diagnosis.error:
        return ()
    return (
        f"a baseline was looked for under the machine name {machine_name(settings)} and torch "
        f"{torch_version()}; NBBENCH_MACHINE names another, `nbbench import` reads results that lie in files",
    )


def _read(facts: CaptureFacts) -> TestRun:
    """The plugin's record; where it holds no output, figures come from what the terminal showed."""
    run = read_test_records(facts.record)
    if run.started and not run.capture_off:
        return run
    with contextlib.suppress(OSError), (facts.folder / _LOG).open("rb") as stream:
        text = stream.read(_LOG_BYTES).decode("utf-8", "replace")
        outcome = "passed" if facts.outcome is RunOutcome.PASSED else "failed"
        if run.started:
            only = run.tests[0].nodeid if len(run.tests) == 1 else _LOG
            tests = [t for t in run.tests if t.nodeid != only]
            first = next((t for t in run.tests if t.nodeid == only), TestRecord(only, outcome))
            return replace(run, tests=(replace(first, stdout=text), *tests))
        return replace(run, tests=(TestRecord(_LOG, outcome, stdout=text),))
    return run


def _diagnosed(
    settings: Settings,
    facts: CaptureFacts,
    run: TestRun,
    figures: Sequence[Figure],
    say: Callable[[str], None],
) -> Diagnosis | None:
    """The trial of AT-PERF-003's workload, where the run was about performance and may be tried."""
    about = "PERF" in facts.cluster.upper() or any(f.kind == "bandwidth" for f in figures)
    if not (facts.probe and about and facts.outcome in _TRIED):
        return None
    threads = max((t.usage.torch_threads for t in run.tests if t.usage), default=0)
    return diagnose(settings, facts, _PAIRS, test_threads=threads, say=say, sizes=_SIZES)


def _baseline(settings: Settings, facts: CaptureFacts) -> tuple[BaselineFigure, ...]:
    """What the database has of the warm runs on this machine with this torch; empty without one."""
    from nbbench.record.refresh import open_store

    try:
        with open_store(settings, create=False) as store:
            commits = {commit.hash: commit for commit in store.commits()}
            found = list(store.iter_series(benchmark=rf"^{_BASELINE}$", machine=machine_name(settings)))
    except NbbenchError:
        return ()
    trees = {commit.hash: commit.tree for commit in commits.values()}
    here = commits.get(facts.commit)
    position = here.position if here else 0
    wanted = f"torch{torch_version()}"
    made = (_baseline_figure(s, facts.tree, trees, position) for s in found if wanted in s.key.environment)
    return tuple(figure for figure in made if figure is not None)


def _baseline_figure(
    series: Series, tree: str, trees: dict[str, str], position: int
) -> BaselineFigure | None:
    """The same tree's samples, or those of the newest commit that is not after it."""
    from nbbench.stats.summary import summarise

    usable = [p for p in series.points if p.status is Status.OK and p.samples]
    same = [p for p in usable if trees.get(p.commit) == tree]
    before = [p for p in usable if not position or p.position <= position]
    chosen = (same or before)[-1:]
    if not chosen:
        return None
    point, params = chosen[0], dict(series.key.params)
    summary = summarise(point.samples)
    return BaselineFigure(
        label=series.key.label,
        unit=series.unit,
        size=int(params["size"]) if params.get("size", "").isdecimal() else 0,
        dtype=params.get("dtype", "").strip("'"),
        median=summary.median,
        lo=summary.ci_lo,
        hi=summary.ci_hi,
        coverage=summary.ci_coverage,
        samples=summary.n,
        commit=point.commit,
        same_tree=bool(same),
    )


def _profile(facts: CaptureFacts, run: TestRun) -> tuple[list[tuple[str, bytes]], list[str]]:
    """The profiler's traces, each small enough for the folder: one a test, the first few."""
    if facts.profile is None:
        return [], []
    files, notes = [], []
    operators = [to_plain(operator) for operator in run.operators[:40]]
    paths = _traces(facts.profile)
    for path in paths[:_TRACES]:
        data, note = trimmed_trace(path, operators, MAX_BYTES // min(len(paths), _TRACES))
        files += [(path.name, data)] if data is not None else []
        notes += [note] if note else []
    if len(paths) > _TRACES:
        notes.append(f"{len(paths) - _TRACES} more traces are left out: the folder has a limit")
    return files, notes


def _traces(first: Path) -> list[Path]:
    others: Iterable[Path] = first.parent.glob(f"{first.stem}-*{first.suffix}")
    found = sorted(others, key=lambda path: (len(path.name), path.name))
    return [first, *found] if first.exists() or not found else found


@dataclass(frozen=True, slots=True)
class _Audit:
    """What the dtype audit adds to a folder: files, sentences and sections, or a note why there are none."""

    files: Sequence[tuple[str, bytes]] = ()
    sentences: Sequence[str] = ()
    sections: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()


def _dtype_audit(settings: Settings, facts: CaptureFacts, say: Callable[[str], None]) -> _Audit:
    """dtype_snapshot.json of the captured commit, for the preset that asks for it."""
    # The audit needs no test: it also runs where the commit does not have the tests yet.
    if facts.preset != DTYPE_PRESET or not facts.probe or facts.outcome not in _AUDITED:
        return _Audit()
    try:
        snapshot = _dtype_snapshot(settings, facts, say)
    except NbbenchError as error:
        return _Audit(notes=[f"{DTYPE_FILE} is left out: {error}"])
    body = {key: value for key, value in snapshot.items() if key != "schema"}
    told = [audit_sentence(snapshot, DTYPE_FILE)]
    if facts.dirty:
        told.append("the dtype audit is of the commit, without the work tree's changes")
    files = [(DTYPE_FILE, document("dtype-snapshot", body).encode("utf-8"))]
    return _Audit(files, told, [("dtype audit", as_markdown([cases_table(snapshot)]).rstrip("\n"))])


def _dtype_snapshot(settings: Settings, facts: CaptureFacts, say: Callable[[str], None]) -> dict[str, Any]:
    from nbbench.subject.repository import describe, open_subject
    from nbbench.work.dtypes import dtype_snapshot

    return dtype_snapshot(settings, describe(open_subject(settings), facts.commit), say=say)
