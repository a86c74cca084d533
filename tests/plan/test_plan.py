"""Plan items: criteria from configuration, values from series and folders, verdicts."""

from __future__ import annotations

import ast
import math
import statistics
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from nbbench.captured import EvidenceFigure, Folder
from nbbench.config import Settings, checkout_settings
from nbbench.errors import ConfigError, UsageError
from nbbench.history.telemetry import disturbed_results
from nbbench.model import Commit, Phase, ProcessRecord, Result, SeriesKey, Status
from nbbench.plan.plan import CriterionState, PlanVerdict, judge_plan, judge_value, plan_verdict
from nbbench.plan.plan_status import kept_by_others
from nbbench.plan.plans import Criterion, Plan, PlanInput, PlanInputs, find_plan, plans
from nbbench.plan.values import series_name
from nbbench.report.markdown import as_markdown
from nbbench.report.plan import attempt_blocks, headline, plan_blocks
from nbbench.report.text import as_text
from nbbench.workloads import Declared, Workloads, use_workloads

NOW = datetime(2026, 1, 10, tzinfo=UTC)
COMMITS = tuple(
    Commit(f"{i:040x}", f"{i:040x}", NOW - timedelta(days=20 - i), "", position=i) for i in range(1, 6)
)


def result(name: str, place: int, value: float | None, *params: str, **changes: object) -> Result:
    key = SeriesKey(name, "1", tuple((f"p{i}", text) for i, text in enumerate(params)), "box", "env")
    status = Status.OK if value is not None else Status.FAILED
    made = Result(key, COMMITS[place].hash, status, value, "operations")  # counts are exact
    return replace(made, **{"started_at": NOW - timedelta(days=1), **changes})  # type: ignore[arg-type]


def alone(given: PlanInput) -> PlanInputs:
    """One machine, which measures everything itself."""
    return PlanInputs(given, given)


def judged(criterion: Criterion, *results: Result, plan: dict[str, object] | None = None, **given: object):
    by_name: dict[str, list[Result]] = {}
    for one in results:
        by_name.setdefault(one.key.benchmark, []).append(one)
    looked_at = PlanInput("box", by_name, COMMITS, **given)  # type: ignore[arg-type]
    (state,) = judge_plan(Plan("P", "", (criterion,), **plan or {}), alone(looked_at), NOW)  # type: ignore[arg-type]
    return state


def value_of(state: CriterionState) -> float | None:
    return state.found.value if state.found else None


def shown(plan: Plan, state: CriterionState) -> str:
    return as_text(plan_blocks(plan, [state], "box", NOW))


def attempted(plan: Plan, state: CriterionState) -> str:
    return as_markdown(attempt_blocks(plan, [state], [], [], NOW, machine="box", commit=""))


RATIO = Criterion("r", "ratio", value="c.ratio(512)", op="<=", spec=1.2, asserts=1.5)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1.2, PlanVerdict.MEETS), (1.3, PlanVerdict.MEETS_TESTS), (1.6, PlanVerdict.MISSES)],
)
def test_verdicts_of_a_value(value: float, verdict: PlanVerdict) -> None:
    state = judged(RATIO, result("c.ratio", 4, value, "512"), result("c.ratio", 4, 9.0, "1024"))
    assert state.verdict is verdict and state.found
    assert (state.found.value, state.found.commit) == (value, COMMITS[4].hash)
    assert state.found.measured_at == NOW - timedelta(days=1) and not state.found.derived


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.01, 100))
def test_at_least_and_at_most_mirror_each_other(value: float, spec: float, asserts: float) -> None:
    high = judge_value(Criterion("a", "a", op=">=", spec=spec, asserts=asserts), value)
    low = judge_value(Criterion("a", "a", op="<=", spec=-spec, asserts=-asserts), -value)
    assert high is low
    assert (high is PlanVerdict.MEETS) == (value >= spec)
    only_tests = judge_value(Criterion("a", "a", op=">=", asserts=asserts), value)
    assert (only_tests is PlanVerdict.MEETS) == (value >= asserts)


def test_nothing_is_invented() -> None:
    state = judged(RATIO)
    assert (state.verdict, state.found) == (PlanVerdict.NOT_MEASURED, None)
    assert state.notes == ("c.ratio(512) has no results",)
    assert judged(RATIO, result("c.ratio", 4, None, "512")).notes == ("c.ratio(512) only failed",)
    assert judged(changed(RATIO, missing="no GPU")).notes == ("c.ratio(512) has no results", "no GPU")
    assert judged(Criterion("g", "gpu", spec=1.0)).verdict is PlanVerdict.NOT_MEASURED


def test_the_newest_commit_counts_and_what_is_behind_is_stale() -> None:
    state = judged(RATIO, result("c.ratio", 1, 1.0, "512"), result("c.ratio", 3, 1.3, "512"))
    assert (state.verdict, state.would_be) == (PlanVerdict.STALE, PlanVerdict.MEETS_TESTS)
    assert value_of(state) == 1.3
    assert state.notes == ("1 commits behind 00000000",)
    old = judged(RATIO, result("c.ratio", 4, 1.0, "512", started_at=NOW - timedelta(days=31)))
    assert old.verdict is PlanVerdict.STALE and "30 days" in old.notes[0]
    same_tree = (*COMMITS[:4], replace(COMMITS[4], tree=COMMITS[3].tree))
    there = PlanInput("box", {"c.ratio": [result("c.ratio", 3, 1.0, "512")]}, same_tree)
    (state,) = judge_plan(Plan("P", "", (RATIO,)), alone(there), NOW)
    assert state.verdict is PlanVerdict.MEETS


SCALING = Criterion("s", "s", value="a(1)", over="b", scale=64, op=">=", spec=2.0)


def test_quotients_take_both_series_from_one_commit_and_environment() -> None:
    both = [result("a", 2, 0.5, "1"), result("b", 2, 8.0)]
    newer_alone = result("a", 4, 9.0, "1")
    state = judged(SCALING, *both, newer_alone)
    assert state.found and (state.found.value, state.found.commit) == (4.0, COMMITS[2].hash)
    assert state.found.derived == "64 · a(1) / b"
    other = replace(both[1], key=replace(both[1].key, environment="torch-1"))
    assert judged(SCALING, both[0], other).notes == ("its series were never measured together",)


def test_memory_is_judged_without_its_baseline() -> None:
    memory = Criterion("m", "m", value="peak(4)", over="peak(2)", minus="nothing", spec=4.5)
    given = [result("peak", 4, 130.0, "4"), result("peak", 4, 110.0, "2"), result("nothing", 4, 100.0)]
    assert value_of(judged(memory, *given)) == 3.0
    below = [*given[:2], result("nothing", 4, 120.0)]
    assert value_of(judged(memory, *below)) is None
    per_pixel = changed(memory, over="", per_pixel=12, pixels=16)
    state = judged(per_pixel, *given)
    assert state.found and state.found.value == 30 / 192
    assert state.found.derived == "(peak(4) − nothing) / (16 · 12 B)"


def timed(*samples: float, **changes: object) -> Result:
    middle = sorted(samples)[len(samples) // 2]
    return result("t", 4, middle, unit="seconds", samples=samples, **changes)


QUIET = (1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0)
DISTURBED = frozenset({(COMMITS[4].hash, "box", "env", "t")})


TIME = Criterion("t", "t", value="t", spec=2.0, missing="run it again")


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (timed(1.0, 1.1, 1.2, 1.3, 1.4), PlanVerdict.MEETS),
        (timed(1.0, 1.1, 1.2, 1.3, 2.4), PlanVerdict.CANNOT_TELL),
        (timed(1.0, 1.1, 1.2, 1.3, 2.4, ci_lo=1.0, ci_hi=1.9), PlanVerdict.MEETS),
        (timed(1.0, 1.1, 1.2, 1.3, 1.4, ci_lo=1.0, ci_hi=2.1), PlanVerdict.CANNOT_TELL),
        (timed(1.0, 1.1, 1.2, 1.3), PlanVerdict.CANNOT_TELL),
        (timed(2.3), PlanVerdict.CANNOT_TELL),
        (replace(timed(2.3), samples=()), PlanVerdict.MISSES),
        (replace(timed(2.1), samples=()), PlanVerdict.CANNOT_TELL),
    ],
)
def test_a_verdict_needs_samples_that_agree(measured: Result, verdict: PlanVerdict) -> None:
    """H4: a threshold inside the interval, or too few samples, is no verdict; exact counts need none."""
    state = judged(TIME, measured)
    assert state.verdict is verdict
    command = "`nbbench plan P --measure 00000000 --again` on an idle machine settles it"
    assert (command in state.notes) == (verdict is PlanVerdict.CANNOT_TELL)
    assert judged(TIME, timed(*QUIET), disturbed=DISTURBED).verdict is PlanVerdict.CANNOT_TELL


@pytest.mark.parametrize(
    ("samples", "verdict"),
    [
        ((1.9, 1.7), PlanVerdict.CANNOT_TELL),  # 1.8 with its margin of 10 %, and not 1.7
        ((1.9, 1.5, 1.7, 1.6), PlanVerdict.MEETS),
        ((1.9, 1.5, 1.7, 1.6, 2.1), PlanVerdict.CANNOT_TELL),
        ((1.9, 1.5, 1.7, 1.6, 1.8), PlanVerdict.MEETS),
    ],
)
def test_tracked_figures_of_several_runs_count_together(
    samples: tuple[float, ...], verdict: PlanVerdict
) -> None:
    middle = statistics.median(samples)
    measured = result("a.track_b", 4, middle, unit="ratio", samples=samples, ci_lo=1.5, ci_hi=max(samples))
    assert judged(changed(TIME, value="a.track_b", margin=0.15), measured).verdict is verdict


AS_TESTED = changed(TIME, malloc="default", threads=4, dtype="float32", cores=4)
FOUR = {(COMMITS[4].hash, "env", "t"): 4}


def test_a_value_under_other_conditions_is_no_value() -> None:
    """H4: AT-PERF-001 on one thread with malloc pinned is not what the test measures."""
    one = {(COMMITS[4].hash, "env", "t"): 1}
    pinned = judged(AS_TESTED, timed(*QUIET), threads=one)
    assert (pinned.verdict, pinned.found) == (PlanVerdict.NOT_MEASURED, None)
    said = "1 at 00000000 was measured with malloc pinned, on 1 thread instead of 4"
    assert pinned.notes == (said, "run it again")
    unknown = judged(AS_TESTED, timed(*QUIET), plan={"default_malloc": "^t$"})
    assert "an unrecorded number of threads instead of 4" in unknown.notes[0]
    as_asked = judged(AS_TESTED, timed(*QUIET), plan={"default_malloc": "^t$"}, threads=FOUR, cores=8)
    assert as_asked.verdict is PlanVerdict.MEETS
    small = judged(AS_TESTED, timed(*QUIET), plan={"default_malloc": "^t$"}, threads=FOUR, cores=2)
    assert small.verdict is PlanVerdict.CANNOT_TELL and "box has 2 cores" in small.notes[0]
    assert small.notes[1] == "a machine with 4 cores settles it"
    double = changed(TIME, value="d('float64')", dtype="float32")
    measured = result("d", 4, 1.0, "'float64'", unit="seconds")
    assert "in float64 instead of float32" in judged(double, measured).notes[0]
    assert "without compiling" in judged(changed(TIME, compile=True), timed(*QUIET)).notes[0]
    compiled = Workloads((), (Declared("t", Phase.COMPILED),))
    use_workloads(compiled)
    try:
        assert judged(changed(TIME, compile=True), timed(*QUIET)).verdict is PlanVerdict.MEETS
    finally:
        use_workloads(None)
    counts = judged(changed(AS_TESTED, cores=0), result("t", 4, 1.0))
    assert counts.verdict is PlanVerdict.MEETS  # exact counts depend on no thread


FIGURE = EvidenceFigure("dot products 10⁶", 61.0, "M ops/s", "tests/test_at_perf_004.py::test_dot")
CAPTURED = Folder(
    "r/1", "20260109T000000Z", "C", COMMITS[4].hash, "capture", machine="box", figures=(FIGURE,)
)
CHANGED = replace(CAPTURED, damage=("env.txt has changed",))
DOT = Criterion("d", "d", figure="dot", test="test_at_perf_004", unit="M", op=">=", spec=500, asserts=50)


def test_figures_come_from_captured_folders() -> None:
    state = judged(DOT, folders=[CAPTURED])
    assert (state.verdict, state.folder) == (PlanVerdict.MEETS_TESTS, "r/1") and state.found
    assert state.found.value == 61.0 and state.found.measured_at == datetime(2026, 1, 9, tzinfo=UTC)
    for wrong in (
        changed(DOT, unit="G"),
        changed(DOT, test="test_at_perf_003"),
        changed(DOT, figure="sincg"),
    ):
        assert judged(wrong, folders=[CAPTURED]).verdict is PlanVerdict.NOT_MEASURED


def test_a_figure_of_another_history_is_stale() -> None:
    for commit, said in (("f" * 40, "not on the branch"), ("", "not recorded")):
        state = judged(DOT, folders=[replace(CAPTURED, commit=commit)])
        assert (state.verdict, state.would_be) == (PlanVerdict.STALE, PlanVerdict.MEETS_TESTS)
        assert said in state.notes[0]


def test_a_damaged_folder_is_never_quoted_in_silence() -> None:
    state = judged(DOT, folders=[CHANGED])
    assert state.found and state.found.damaged
    assert "no longer match" in " ".join(state.notes)
    text = shown(Plan("P", "t", (DOT,)), state)
    assert "changed, do not quote it" in text and "(changed)" in text
    assert "changed, do not quote it" in attempted(Plan("P", "t", (DOT,)), state)
    whole = replace(CAPTURED, path="r/0", stamp="20260101T000000Z")
    state = judged(DOT, folders=[CHANGED, whole])
    assert state.folder == "r/0" and state.found and not state.found.damaged


def test_a_series_leads_to_its_result_file() -> None:
    """A capture of the same commit, made later, is no provenance of a benchmark's value."""
    measured = result("c.ratio", 4, 1.0, "512")
    state = judged(RATIO, measured, folders=[CAPTURED])
    assert (state.verdict, state.folder) == (PlanVerdict.MEETS, "")
    assert state.found and state.found.source == f"results/box/{COMMITS[4].short}-env.json"
    plan = Plan("P", "t", (RATIO,))
    assert f"{state.found.source}" in shown(plan, state)
    assert f"`{state.found.source}`: benchmark results" in attempted(plan, state)


BANDWIDTH = Criterion("b", "b", value="band(2048)", figure="check: ratio float32$", op=">=", asserts=0.5)
RATIO_CHECKED = Folder(
    "r/3",
    "20260109T120000Z",
    "C",
    COMMITS[4].hash,
    "capture",
    machine="box",
    figures=(EvidenceFigure("check: ratio float32", 0.816, "", "t"),),
)


def test_the_newer_of_benchmark_and_captured_test_counts() -> None:
    folders = [RATIO_CHECKED]
    state = judged(BANDWIDTH, result("band", 4, 0.7376, "2048"), folders=folders)
    assert (value_of(state), state.folder) == (0.816, "r/3")
    assert state.notes == ("older, by the benchmark: 0.7376 at 00000000",)
    fresh = result("band", 4, 0.7376, "2048", started_at=NOW)
    state = judged(BANDWIDTH, fresh, folders=folders)
    assert (value_of(state), state.folder) == (0.7376, "")
    assert "older, by the captured test: 0.816" in state.notes[0]
    ahead = judged(BANDWIDTH, result("band", 3, 0.4, "2048", started_at=NOW), folders=folders)
    assert value_of(ahead) == 0.816  # of the newest commit


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "profiled capture"}, "0.816 of 20260110T000000Z was captured under a profiler"),
        ({"kind": "malloc-pinned capture"}, "was captured with malloc pinned"),
        ({"kind": "compiled capture"}, "was captured while Dynamo compiled"),
        ({"machine": "tower"}, "was captured on tower"),
        ({"machine": ""}, "was captured on a machine that it does not name"),
    ],
)
def test_captures_under_other_conditions_are_no_values(changes: dict[str, str], said: str) -> None:
    """H4, H5: under guards of another kind, or on another machine."""
    special = replace(RATIO_CHECKED, stamp="20260110T000000Z", **changes)
    state = judged(BANDWIDTH, folders=[special])
    assert state.verdict is PlanVerdict.NOT_MEASURED and said in "; ".join(state.notes)
    plain = judged(BANDWIDTH, folders=[special, RATIO_CHECKED])
    assert plain.folder == "r/3"


def test_a_disturbed_capture_cannot_tell() -> None:
    busy = replace(RATIO_CHECKED, kind="disturbed capture")
    state = judged(BANDWIDTH, folders=[busy])
    assert state.verdict is PlanVerdict.CANNOT_TELL and value_of(state) == 0.816
    assert "another capture on an idle machine settles it" in state.notes


def test_figures_without_dynamo_are_no_evidence_for_compiling() -> None:
    """H4: tests/test_at_perf_005.py under guards that switch Dynamo off compares eager runs."""
    plan = find_plan(checkout_settings(Path(__file__).parents[2]), "PERF-PYTORCH-004")
    name = "tests/test_at_perf_005.py::TestATPERF005CompilationOptimization::test_torch_compile_speedup"
    figures = (EvidenceFigure("Speedup", 0.95, "x", name), EvidenceFigure("Correlation", 1.0, "", name))
    eager = replace(CAPTURED, figures=figures)
    for kind, verdicts in (
        ("capture", {PlanVerdict.NOT_MEASURED}),
        ("compiled capture", {PlanVerdict.MISSES, PlanVerdict.MEETS}),
    ):
        folders = [replace(eager, kind=kind)]
        states = judge_plan(plan, alone(PlanInput("box", {}, COMMITS, folders)), NOW)
        asked = {s.criterion.id: s for s in states if s.criterion.compile}
        assert asked.pop("AT-PERF-005 ten runs").verdict is PlanVerdict.NOT_MEASURED  # no test asks for it
        assert set(asked) == {"AT-PERF-005 compile", "AT-PERF-005 image"}
        assert {s.verdict for s in asked.values()} == verdicts
        (guard,) = (s for s in states if s.criterion.id == "guard correlation")
        assert guard.verdict is PlanVerdict.NOT_MEASURED


def test_documents() -> None:
    memo = Criterion("memo", "memo", document="docs/*.md")
    assert judged(memo).verdict is PlanVerdict.NOT_MEASURED
    state = judged(memo, documents={"docs/*.md": "docs/a.md"})
    assert (state.verdict, state.folder) == (PlanVerdict.MEETS, "docs/a.md")


def test_the_whole_plan() -> None:
    def of(*verdicts: PlanVerdict) -> PlanVerdict:
        return plan_verdict([replace(judged(RATIO), verdict=verdict) for verdict in verdicts])

    v = PlanVerdict
    assert of(v.MEETS, v.MEETS) is v.MEETS
    assert of(v.MEETS, v.MISSES, v.STALE) is of(v.MEETS_TESTS) is v.MISSES
    assert of(v.NOT_MEASURED, v.NOT_MEASURED) is v.NOT_MEASURED
    assert of(v.MEETS, v.NOT_MEASURED) is of(v.MEETS, v.STALE) is v.STALE
    assert of(v.MEETS, v.CANNOT_TELL, v.STALE) is v.CANNOT_TELL


@given(st.lists(st.floats(0.001, 10, allow_nan=False), min_size=1, max_size=5))
def test_the_value_shown_is_one_that_was_measured(values: list[float]) -> None:
    results = [result("c.ratio", place, value, "512") for place, value in enumerate(values)]
    state = judged(RATIO, *results)
    assert value_of(state) == values[-1]
    assert (state.verdict is PlanVerdict.STALE) == (len(values) < len(COMMITS))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b", ("a.b", ())),
        ("a.b(512)", ("a.b", ("512",))),
        ("a.b(512, 'float32')", ("a.b", ("512", "'float32'"))),
    ],
)
def test_names_of_series(text: str, expected: tuple[str, tuple[str, ...]]) -> None:
    assert series_name(text) == expected


# Configuration


def project(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "pyproject.toml").write_text(f"[tool.nbbench]\n{text}", encoding="utf-8")
    return checkout_settings(tmp_path)


def test_the_built_in_plan_names_series_that_exist() -> None:
    root = Path(__file__).parents[2]
    plan = find_plan(checkout_settings(root), "PERF-PYTORCH-004")
    for criterion in plan.criteria:
        for text in criterion.series:
            module, kind, method = series_name(text)[0].split(".")
            tree = ast.parse((root / "benchmarks" / f"{module}.py").read_text(encoding="utf-8"))
            classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
            bases = [base.id for base in classes[kind].bases if isinstance(base, ast.Name)]
            bodies = [one for name in (kind, *bases) for one in classes[name].body]
            assert method in [one.name for one in bodies if isinstance(one, ast.FunctionDef)]
        assert criterion.value or criterion.figure or criterion.document or criterion.missing
        # A threshold of our own never stands in the specification's column, or in the tests'.
        assert criterion.ours is None or (criterion.spec, criterion.asserts) == (None, None)
    assert {f"AT-PERF-00{n}" for n in range(1, 9)} <= {c.id.split()[0] for c in plan.criteria}
    assert all(math.isfinite(c.spec) for c in plan.criteria if c.spec is not None)


def test_another_plan_is_a_few_lines(tmp_path: Path) -> None:
    settings = project(
        tmp_path,
        """
        [tool.nbbench.plans.NEXT]
        title = "Next"
        stale_days = 3
        [[tool.nbbench.plans.NEXT.criteria]]
        id = "warm {each}"
        title = "warm at {each}"
        value = "w.time({each})"
        each = [256, 512]
        spec = 2
        """,
    )
    assert list(plans(settings)) == ["PERF-PYTORCH-004", "NEXT"]
    plan = find_plan(settings, "NEXT")
    assert (plan.stale_days, [c.id for c in plan.criteria]) == (3.0, ["warm 256", "warm 512"])
    assert plan.criteria[1].value == "w.time(512)" and plan.criteria[1].pixels == 512**2
    with pytest.raises(UsageError, match="no plan 'OTHER'") as info:
        find_plan(settings, "OTHER")
    assert "NEXT" in info.value.hint


@pytest.mark.parametrize(
    ("criterion", "said"),
    [
        ('id = "a"', "required field title"),
        ('id = "a"\ntitle = "t"', "neither spec nor asserts nor ours"),
        ('id = "a"\ntitle = "t"\nspec = 1\nthreads = 2.5', "threads: Expected int"),
        ('id = "a"\ntitle = "t"\nspec = 1\ncompile = 1', "compile: Expected bool"),
        ('id = "a"\ntitle = "t"\nspec = 1\nmalloc = "ours"', "malloc: Invalid enum value 'ours'"),
        ('id = "a"\ntitle = "t"\nspec = "2"', "spec: Expected float"),
        ('id = "a"\ntitle = "t"\nspec = true', "spec: Expected float"),
        ('id = "a"\ntitle = "t"\nspec = 1\nop = "<"', "op: Invalid enum value"),
        ('id = "a"\ntitle = "t"\nspec = 1\nlimit = 1', "no field limit"),
        ('id = "a"\ntitle = "t"\nvalue = "x"\ndocument = "y"', "the only source"),
        ('id = "a"\ntitle = "t"\nspec = 1\nfigure = "("', "not a regular expression"),
        ('id = "a"\ntitle = "t"\nspec = 1\neach = [1.5]', "each\\[0\\]: Expected int"),
        ('id = "a"\ntitle = "t"\nspec = 1\nvalue = "x"\nper_pixel = 4', "per_pixel needs each"),
        ('id = "a"\ntitle = "t"\ndocument = "../x.md"', "inside the project"),
        ('id = "a"\ntitle = "t"\nspec = 1\neach = [1, 2]', "two criteria"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, criterion: str, said: str) -> None:
    settings = project(tmp_path, f"[[tool.nbbench.plans.P.criteria]]\n{criterion}")
    with pytest.raises(ConfigError, match=said) as info:
        plans(settings)
    assert "'P'" in str(info.value)


def test_the_attempt_entry_is_complete() -> None:
    plan = Plan("P", "Fuse *all*", (RATIO, DOT))
    states = judge_plan(
        plan,
        alone(PlanInput("box", {"c.ratio": [result("c.ratio", 4, 1.6, "512")]}, COMMITS, [CAPTURED])),
        NOW,
    )
    assert headline(states) == "0 of 2 criteria met; 1 missed; 1 met by the tests' threshold only"
    text = as_markdown(attempt_blocks(plan, states, [], [], NOW, machine="box", commit=COMMITS[4].hash))
    assert text == (
        "## Attempt 2026-01-10: P Fuse \\*all\\*\n\n"
        "- Date: 2026-01-10 00:00 UTC\n"
        f"- Commit: {COMMITS[4].hash}\n"
        "- Machine: box\n"
        "- Result: 0 of 2 criteria met; 1 missed; 1 met by the tests' threshold only\n\n"
        "**Metrics**\n\n"
        "- ratio: 1.6 (spec ≤ 1.2, tests ≤ 1.5) misses, at 00000000\n"
        "- d: 61 (spec ≥ 500, tests ≥ 50) meets tests, misses spec, at 00000000; "
        "dot products 10⁶ of tests/test\\_at\\_perf\\_004.py::test\\_dot\n\n"
        "**Artifacts**\n\n"
        "- `r/1`: whole\n"
        "- `results/box/00000000-env.json`: benchmark results\n\n"
        "**Open regressions**\n\n"
        "- none\n\n"
        "**Next actions**\n\n"
        "- r misses: ratio\n"
        "- d meets only the tests: d\n"
    )


def test_threads_are_those_that_the_benchmark_takes_for_itself() -> None:
    """Whatever the settings say; more than the machine has cores is said, and judged all the same."""
    key = SeriesKey("t", "1", (("threads", "4"),), "box", "env")
    four = Criterion("t", "t", value="t(4)", spec=2.0, threads=4)
    measured = replace(timed(*QUIET), key=key)
    by_settings = {(COMMITS[4].hash, "env", "t"): 1}
    enough, few = (judged(four, measured, threads=by_settings, cores=cores) for cores in (4, 2))
    assert enough.verdict is few.verdict is PlanVerdict.MEETS
    assert (enough.notes, few.notes) == ((), ("oversubscribed: 4 threads on 2 cores",))


# Criteria of a GPU


class TestDevices:
    """The two devices never answer for each other, and a GPU's figures may be of another machine."""

    GPU = Criterion("g", "g", value="c.ratio(512)", spec=1.2, device="cuda", missing="needs a GPU")

    def on(self, environment: str, machine: str, value: float) -> Result:
        made = result("c.ratio", 4, value, "512")
        return replace(made, key=replace(made.key, environment=environment, machine=machine))

    def states(self, *own: Result, gpu: tuple[Result, ...] | None = None) -> list[CriterionState]:
        plan = Plan("P", "", (RATIO, self.GPU))
        mine = PlanInput("box", {"c.ratio": list(own)}, COMMITS)
        beside = mine if gpu is None else PlanInput("h100", {"c.ratio": list(gpu)}, COMMITS)
        return list(judge_plan(plan, PlanInputs(mine, beside), NOW))

    def test_each_criterion_takes_its_own_device_even_on_one_machine(self) -> None:
        both = self.on("torch2.11.0", "box", 1.0), self.on("torch2.11.0+cuda", "box", 0.1)
        assert [value_of(state) for state in self.states(*both)] == [1.0, 0.1]
        assert [value_of(state) for state in self.states(*reversed(both))] == [1.0, 0.1]

    def test_figures_of_a_gpu_name_their_machine(self) -> None:
        cpu, gpu = self.states(
            self.on("torch2.13.0", "box", 1.0), gpu=(self.on("torch2.11.0+cuda", "h100", 1.3),)
        )
        assert (value_of(cpu), value_of(gpu)) == (1.0, 1.3)
        assert gpu.notes == ("measured on h100",) and not cpu.notes
        assert (cpu.verdict, gpu.verdict) == (PlanVerdict.MEETS, PlanVerdict.MISSES)
        noisy = replace(self.on("torch2.11.0+cuda", "h100", 1.3), unit="ratio")
        (_, unsure) = self.states(gpu=(noisy,))
        assert "--again --device cuda --machine h100`" in " ".join(unsure.notes)

    def test_without_a_gpu_one_clause_says_so(self) -> None:
        state = self.states(self.on("torch2.13.0", "box", 1.0))[1]
        assert (state.verdict, state.notes) == (PlanVerdict.NOT_MEASURED, ("needs a GPU",))


class TestMoreCores:
    """A criterion that asks for more cores than this machine has is judged where there are as many."""

    FOUR = Criterion("f", "f", value="c.ratio(512)", spec=1.2, cores=4)
    PLAN = Plan("P", "", (RATIO, FOUR))

    def on(self, machine: str, value: float, cores: int | None, **changes: object) -> PlanInput:
        made = result("c.ratio", 4, value, "512", **changes)
        made = replace(made, key=replace(made.key, machine=machine))
        return PlanInput(machine, {"c.ratio": [made]}, COMMITS, cores=cores)

    def states(self, *given: PlanInput) -> tuple[CriterionState, ...]:
        return judge_plan(self.PLAN, PlanInputs(given[0], given[0], given[1:]), NOW)

    def test_its_value_names_its_machine_and_the_headline_counts_it(self) -> None:
        found = self.states(self.on("box", 9.0, 2), self.on("tiny", 8.0, 3), self.on("host", 1.0, 16))
        assert [value_of(state) for state in found] == [9.0, 1.0]
        assert found[1].verdict is PlanVerdict.MEETS and found[1].notes == ("measured on host",)
        text = as_text(plan_blocks(self.PLAN, found, "box", NOW))
        assert "measured on box, 1 on host" in text.splitlines()[0]

    def test_one_that_cannot_tell_says_where_to_measure_again(self) -> None:
        noisy = self.on("host", 1.0, 16, unit="ratio", samples=(1.0, 1.1))
        (_, found) = self.states(self.on("box", 9.0, 2), noisy)
        assert found.verdict is PlanVerdict.CANNOT_TELL
        assert "--again --machine host`" in " ".join(found.notes)

    def test_a_machine_with_cores_enough_and_one_without_others_keep_their_own(self) -> None:
        assert value_of(self.states(self.on("box", 9.0, 4), self.on("host", 1.0, 16))[1]) == 9.0
        (_, found) = self.states(self.on("box", 9.0, 2), PlanInput("host", {}, COMMITS, cores=16))
        assert value_of(found) == 9.0 and found.verdict is PlanVerdict.CANNOT_TELL
        assert found.notes[0] == "box has 2 cores; 4 are asked for"


def test_every_criterion_of_a_gpu_says_in_one_clause_what_it_needs() -> None:
    plan = find_plan(checkout_settings(Path(__file__).parents[2]), "PERF-PYTORCH-004")
    of_gpu = [criterion for criterion in plan.criteria if criterion.device == "cuda"]
    assert len(of_gpu) >= 6 and {"AT-PERF-007", "AT-PERF-008"} <= {c.id.split()[0] for c in of_gpu}
    assert all(c.missing.startswith("needs a GPU") and "--device cuda" in c.missing for c in of_gpu)


@pytest.mark.parametrize(("others", "disturbed"), [(0.02, False), (0.5, True)])
def test_threads_that_wait_for_each_other_disturb_nothing(others: float, disturbed: bool) -> None:
    """Four threads on two cores wait a quarter of the time; others have to have run for as long."""
    record = ProcessRecord(
        *(COMMITS[4].hash, "env", "t", 0, "run", NOW, 2.0, 0),
        others_cpu_s=others,
        machine="box",
        extra=(("run_delay_s", 0.5),),
    )
    assert bool(disturbed_results([kept_by_others(record)])) is disturbed
    assert disturbed_results([record])
