"""What a captured run is said to mean, and never said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from capture_samples import (
    BANDWIDTH,
    CROWDED,
    MAPPING,
    QUIET,
    baseline_figure,
    diagnosis,
    failed_test,
    healthy_diagnosis,
    passed_test,
    run_of,
    timing,
)

from nbbench.analyse.assertions import checks_of
from nbbench.analyse.capture_trial import achieved, against_baseline, allocator_trials, dtype_of_test
from nbbench.analyse.capture_verdict import NO_BASELINE, judge
from nbbench.analyse.causes import MALLOC_REMEDY
from nbbench.analyse.figures import figures_of
from nbbench.captured import BaselineLine, CaptureVerdict, Diagnosis, MallocTrial, TestRecord, TestRun
from nbbench.model import Cause, RunOutcome


def verdict(
    run: TestRun,
    outcome: RunOutcome = RunOutcome.FAILED,
    found: Diagnosis | None = None,
    baseline: tuple[BaselineLine, ...] = (),
    **more: bool,
) -> CaptureVerdict:
    figures = figures_of(run.tests)
    checks = checks_of(run.tests, figures)
    return judge(outcome, run, figures, checks, diagnosis=found, baseline=baseline, **more)


def told(found: CaptureVerdict) -> str:
    return "\n".join(found.sentences)


def test_cluster_perf_001_is_the_allocator_with_evidence_and_remedy() -> None:
    found = verdict(run_of(failed_test()), found=diagnosis())
    text = told(found)
    assert (found.word, found.cause) == ("failed", Cause.ALLOCATOR)
    assert "at 2048² float64 malloc makes a warm run 2.8 times as long" in text
    assert "1,280,000 minor page faults against 11,000" in text and "62% system time" in text
    assert "33.6 MB is above the largest block that glibc keeps" in text
    assert f"remedy: {MALLOC_REMEDY}" in text
    assert "bandwidths[2048] / bandwidths[512] is 0.327, the test asks for >= 0.5: does not hold" in text
    assert "ratio 2048²/512² is 0.33 by default and 0.88 with malloc pinned" in text
    assert any(MALLOC_REMEDY in action for action in found.next_actions)


def test_the_word_of_those_who_wrote_it_off_never_appears() -> None:
    for run in (run_of(failed_test()), run_of(passed_test()), run_of(failed_test(CROWDED))):
        for found in (None, diagnosis(), healthy_diagnosis()):
            verdicts = verdict(run, found=found)
            assert "transient" not in told(verdicts) + "".join(verdicts.notes + verdicts.next_actions)


def test_a_passing_test_may_hide_the_allocator() -> None:
    found = verdict(run_of(passed_test()), RunOutcome.PASSED, diagnosis())
    assert (found.word, found.cause) == ("passed", Cause.ALLOCATOR)


def test_another_dtype_than_the_tests_is_told_but_is_no_cause_of_its_figures() -> None:
    found = verdict(run_of(passed_test()), RunOutcome.PASSED, diagnosis(default_dtype="float32"))
    assert found.cause is None
    assert "at 2048² float64 (the test computes in float32) malloc makes" in told(found)
    own = verdict(run_of(passed_test(MAPPING)), RunOutcome.PASSED, diagnosis(default_dtype="float32"))
    assert own.cause is Cause.ALLOCATOR


def test_the_allocator_is_seen_by_cpu_time_where_others_were_busy() -> None:
    slow = timing(9.0, 1.09, 1_280_000)
    waiting = MallocTrial(2048, "float64", replace(slow, user_s=0.67), timing(8.5, 0.01, 11_000))
    waiting = replace(waiting, pinned=replace(waiting.pinned, user_s=0.63))  # type: ignore[type-var]
    quiet, busy = diagnosis(trials=(waiting,)), diagnosis(trials=(waiting,), others_share=0.9)
    assert not allocator_trials(quiet)  # 9.0 s against 8.5 s
    assert allocator_trials(busy) == [waiting]
    text = told(verdict(run_of(failed_test(CROWDED)), found=busy))
    assert "CPU time 1.76 s, with its thresholds pinned 640 ms" in text
    assert "contention: others used 0.80 cores" in text


def test_faults_without_a_price_are_no_cause() -> None:
    cheap = MallocTrial(2048, "float64", timing(0.66, 0.03, 400_000), timing(0.64, 0.01, 11_000))
    assert not allocator_trials(diagnosis(trials=(cheap,)))
    few = MallocTrial(512, "float64", timing(0.06, 0.02, 900), timing(0.03, 0.001, 0))
    assert not allocator_trials(diagnosis(trials=(few,)))


def test_the_tests_own_faults_stand_in_for_a_trial_that_was_not_possible() -> None:
    found = verdict(run_of(failed_test(MAPPING)), found=Diagnosis(error="the subject is not a git checkout"))
    assert found.cause is Cause.ALLOCATOR
    assert "1,281,000 minor page faults, 1,178,600 of them on memory it had before" in told(found)
    assert "nothing was tried apart from the test: the subject is not a git checkout" in told(found)


def test_a_trial_that_exonerates_malloc_outweighs_the_tests_faults() -> None:
    found = verdict(run_of(failed_test(MAPPING)), found=healthy_diagnosis())
    assert found.cause is Cause.UNEXPLAINED


def test_contention_explains_a_slow_test_where_malloc_does_not() -> None:
    found = verdict(run_of(failed_test(CROWDED)), found=healthy_diagnosis())
    assert found.cause is Cause.CONTENTION
    assert "others used 0.80 cores" in told(found) and "3,195 involuntary" in told(found)
    assert "4 torch threads share 2 cores" in told(found)
    assert any("idle machine" in action for action in found.next_actions)


def test_more_threads_than_cores_are_contention_even_alone() -> None:
    found = verdict(run_of(failed_test(replace(QUIET, torch_threads=4))), found=healthy_diagnosis())
    assert found.cause is Cause.CONTENTION


def test_a_failing_test_without_figures_has_no_cause_of_performance() -> None:
    broken = TestRecord("tests/test_x.py::test_shape", "failed", message="AssertionError: shape", usage=QUIET)
    found = verdict(run_of(broken), found=healthy_diagnosis())
    assert (found.word, found.cause) == ("failed", None)
    assert "tests/test_x.py::test_shape: AssertionError: shape" in told(found)


def test_legacy_figures_are_named_and_put_beside_ledger_and_ceiling() -> None:
    text = told(verdict(run_of(failed_test()), found=diagnosis()))
    assert "the legacy figure is 0.0533 GiB/s (pixels · 8 B · 3 passes, a guess)" in text
    assert "the ledger counts 3,329 B/pixel, so the test really moved 7.933 GB/s" in text
    assert "72% of the copy ceiling (11 GB/s, same threads)" in text


def test_the_dtype_is_what_the_figures_say_or_else_the_subjects_default() -> None:
    figures = figures_of([failed_test()])
    assert dtype_of_test(diagnosis(), figures) == "float64"
    assert dtype_of_test(diagnosis(default_dtype="float32"), figures) == "float32"
    assert dtype_of_test(diagnosis(), [replace(f, dtype="float32") for f in figures]) == "float32"
    assert achieved(diagnosis(default_dtype="float32"), figures) == {}


@pytest.mark.parametrize(
    ("changes", "now", "word"),
    [
        ({}, 0.64, "no regression"),
        ({}, 0.80, "slower"),
        ({}, 0.40, "faster"),
        ({"samples": 3, "coverage": 0.75}, 0.64, "cannot tell"),
    ],
)
def test_against_the_baseline(changes: dict[str, object], now: float, word: str) -> None:
    trial = MallocTrial(2048, "float64", timing(1.76, 1.09, 10), timing(now, 0.01, 10))
    (line,) = against_baseline(diagnosis(trials=(trial,)), [baseline_figure(**changes)], 0.03)
    assert line.word == word


def test_nothing_is_compared_while_others_were_busy_or_runs_scatter() -> None:
    trial = MallocTrial(2048, "float64", None, timing(0.64, 0.01, 10))
    (line,) = against_baseline(diagnosis(trials=(trial,), others_share=0.5), [baseline_figure()], 0.03)
    assert line.word == "cannot tell" and "others" in line.why
    wide = MallocTrial(2048, "float64", None, timing(0.64, 0.01, 10, spread=0.3))
    (line,) = against_baseline(diagnosis(trials=(wide,)), [baseline_figure()], 0.03)
    assert line.word == "cannot tell" and "scatter" in line.why


def test_no_regression_is_said_with_an_interval_or_not_at_all() -> None:
    without = verdict(run_of(passed_test()), RunOutcome.PASSED, healthy_diagnosis())
    assert NO_BASELINE in without.sentences and "no regression" not in told(without)
    lines = against_baseline(healthy_diagnosis(), [baseline_figure()], 0.03)
    found = verdict(run_of(passed_test()), RunOutcome.PASSED, healthy_diagnosis(), lines)
    assert (
        "630 ms to 650 ms for the same tree on this machine (97% interval of 6 samples): no regression"
        in told(found)
    )
    assert NO_BASELINE not in found.sentences


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (RunOutcome.TIMEOUT, "the outer timeout ended it"),
        (RunOutcome.SIGNAL, "a signal ended it"),
        (RunOutcome.NO_TESTS, "pytest found no such test"),
        (RunOutcome.DISK_FULL, "could not be written"),
    ],
)
def test_blocked_runs_say_what_was_running(outcome: RunOutcome, why: str) -> None:
    run = run_of(TestRecord(BANDWIDTH, "interrupted"), exit_status=None)
    found = verdict(run, outcome)
    assert found.word == "blocked" and why in found.sentences[0] and BANDWIDTH in found.sentences[0]
    assert found.next_actions == ()


def test_a_run_that_skipped_everything_tested_nothing() -> None:
    found = verdict(run_of(TestRecord("t", "skipped")), RunOutcome.PASSED)
    assert found.word == "blocked" and "every test was skipped" in found.sentences[0]


def test_every_outcome_has_its_reason() -> None:
    for outcome in set(RunOutcome) - {RunOutcome.PASSED, RunOutcome.FAILED}:
        assert "every test was skipped" not in told(verdict(run_of(), outcome))


def test_notes_say_what_was_not_possible() -> None:
    found = verdict(TestRun(), found=diagnosis(torch="2.6.0", notes=("no time was left for 512² float32",)))
    assert "the pytest plugin was not loaded: figures of passing tests are not known" in found.notes
    assert "diagnosis: no time was left for 512² float32" in found.notes
    other = verdict(run_of(passed_test(), torch="2.5.1"), found=diagnosis(torch="2.13.0+cpu"))
    assert "the diagnosis ran with torch 2.13.0+cpu, the test with 2.5.1" in other.notes


def test_a_profiled_run_is_not_compared() -> None:
    found = verdict(run_of(passed_test()), RunOutcome.PASSED, profiled=True)
    assert "under torch's profiler" in told(found)
