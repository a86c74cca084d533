"""What a captured run is said to mean, and never said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from capture_samples import (
    BANDWIDTH,
    CROWDED,
    LEDGERS,
    MAPPING,
    QUIET,
    failed_test,
    passed_test,
    run_of,
)
from capture_samples import found as verdict

from nbbench.capture.figures import figures_of
from nbbench.capture.findings import bandwidths_of, dtype_of_test, legacy_bytes_per_pixel, setup_error
from nbbench.captured import CallUsage, Findings, RunOutcome, TestRecord
from nbbench.model import Cause
from nbbench.report.capture import failure, next_actions, sentences
from nbbench.report.causes import MALLOC_REMEDY

TUNED = {"GLIBC_TUNABLES": MALLOC_REMEDY.partition("=")[2]}


def told(found: Findings, outcome: RunOutcome = RunOutcome.FAILED) -> str:
    return "\n".join(sentences(found, outcome))


FAILED, PASSED = RunOutcome.FAILED, RunOutcome.PASSED


def test_cluster_perf_001_is_the_allocator_with_evidence_and_remedy() -> None:
    found = verdict(run_of(failed_test()), FAILED, LEDGERS)
    text = told(found)
    assert (found.verdict, found.cause) == ("failed", Cause.ALLOCATOR)
    assert "1,281,000 minor page faults, 1,178,600 of them on memory it had before" in text
    assert "48% of its CPU time in the system" in text
    assert "a run at 2048² float64 asks for 1.25 GiB in blocks of 32 MiB and more" in text
    assert f"remedy: {MALLOC_REMEDY}" in text
    assert "bandwidths[2048] / bandwidths[512] is 0.327, the test asks for >= 0.5: does not hold" in text
    assert any(MALLOC_REMEDY in action for action in next_actions(found))


def test_the_word_of_those_who_wrote_it_off_never_appears() -> None:
    for run in (run_of(failed_test()), run_of(passed_test()), run_of(failed_test(CROWDED))):
        found = verdict(run, FAILED, LEDGERS)
        assert "transient" not in told(found) + "".join(next_actions(found))


def test_a_passing_test_may_hide_the_allocator() -> None:
    found = verdict(run_of(passed_test(MAPPING)), PASSED, LEDGERS)
    assert (found.verdict, found.cause) == ("passed", Cause.ALLOCATOR)


def test_a_busy_machine_makes_no_faults_and_hides_none() -> None:
    """H15: a time on a busy machine says nothing; page faults are counted."""
    assert verdict(run_of(failed_test(CROWDED)), FAILED, LEDGERS).cause is Cause.CONTENTION
    busy = replace(MAPPING, wall_s=6.0, others_cpu_s=4.8)
    found = verdict(run_of(failed_test(busy)), FAILED, LEDGERS)
    assert found.cause is Cause.ALLOCATOR and "contention: others used" in told(found)


@pytest.mark.parametrize("usage", [replace(MAPPING, minor_faults=180_000), replace(MAPPING, system_s=0.3)])
def test_few_faults_and_faults_without_a_price_are_no_cause(usage: CallUsage) -> None:
    found = verdict(run_of(failed_test(usage)), FAILED, LEDGERS)
    assert found.cause is Cause.UNEXPLAINED and "remedy" not in told(found)


def test_contention_explains_a_slow_test_where_malloc_does_not() -> None:
    found = verdict(run_of(failed_test(CROWDED)), FAILED, LEDGERS)
    assert found.cause is Cause.CONTENTION
    assert "others used 0.80 cores" in told(found) and "3,195 involuntary" in told(found)
    assert "4 torch threads share 2 cores" in told(found)
    assert any("idle machine" in action for action in next_actions(found))


def test_more_threads_than_cores_are_contention_even_alone() -> None:
    found = verdict(run_of(failed_test(replace(QUIET, torch_threads=4))), FAILED, LEDGERS)
    assert found.cause is Cause.CONTENTION


def test_a_failing_test_without_figures_has_no_cause_of_performance() -> None:
    broken = TestRecord("tests/test_x.py::test_shape", "failed", message="AssertionError: shape", usage=QUIET)
    found = verdict(run_of(broken), FAILED, LEDGERS)
    assert (found.verdict, found.cause) == ("failed", None)
    assert "tests/test_x.py::test_shape: AssertionError: shape" in told(found)


def test_legacy_figures_are_named_and_put_beside_the_ledger() -> None:
    text = told(verdict(run_of(failed_test()), FAILED, LEDGERS))
    assert "the legacy figure is 0.0533 GiB/s (pixels · 8 B · 3 passes, a guess)" in text
    assert "the ledger counts 3,329 B/pixel, so the test really moved 7.933 GB/s" in text


def test_the_dtype_is_what_the_figures_say_or_else_the_subjects_default() -> None:
    figures = figures_of([failed_test()])
    assert dtype_of_test(figures, "float64") == "float64"
    assert dtype_of_test([replace(f, dtype="float32") for f in figures], "float64") == "float32"
    assert not any(row.rate for row in bandwidths_of({}, figures, 24, "float64"))


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (RunOutcome.TIMEOUT, "the run ended with: timeout"),
        (RunOutcome.SIGNAL, "the run ended with: signal"),
        (RunOutcome.NO_TESTS, "the run ended with: no tests"),
    ],
)
def test_blocked_runs_say_what_was_running(outcome: RunOutcome, why: str) -> None:
    run = run_of(TestRecord(BANDWIDTH, "interrupted"), exit_status=None)
    found = verdict(run, outcome)
    assert found.verdict == "blocked" and why in told(found, outcome) and BANDWIDTH in told(found, outcome)
    assert next_actions(found) == []


def test_a_run_that_skipped_everything_tested_nothing() -> None:
    found = verdict(run_of(TestRecord("t", "skipped")), RunOutcome.PASSED)
    assert found.verdict == "blocked" and "every test was skipped" in told(found, RunOutcome.PASSED)


def test_every_outcome_has_its_reason() -> None:
    for outcome in set(RunOutcome) - {RunOutcome.PASSED, RunOutcome.FAILED}:
        assert "every test was skipped" not in told(verdict(run_of(), outcome), outcome)


def test_a_profiled_run_is_not_compared() -> None:
    found = verdict(run_of(passed_test()), PASSED, environment={"NB_PROFILER_OUT": "profile.json"})
    assert "under torch's profiler" in told(found)


def test_who_followed_the_advice_is_not_told_to_follow_it_again() -> None:
    cured = replace(QUIET, minor_faults=300_000, max_rss_growth_bytes=290_000 * 4096)
    found = verdict(run_of(passed_test(cured)), PASSED, LEDGERS, environment=TUNED)
    assert found.cause is None
    assert "malloc is pinned by GLIBC_TUNABLES in the command's environment" in told(found)
    assert "out of the way: the test's own call met 300,000 minor page faults, 10,000 of them" in told(found)
    assert "remedy" not in told(found) and "allocator:" not in told(found)
    assert not any("Capture again with" in action for action in next_actions(found))


def test_memory_that_goes_back_although_malloc_is_pinned_is_said() -> None:
    found = verdict(run_of(failed_test(MAPPING)), FAILED, LEDGERS, environment=TUNED)
    assert found.cause is Cause.UNEXPLAINED
    assert "and yet the test's own call met 1,281,000" in told(found)


def test_a_compiled_run_is_not_held_against_eager_work() -> None:
    found = verdict(run_of(passed_test(replace(MAPPING, compiled_graphs=3))), PASSED)
    assert found.cause is None
    assert "not comparable: compiled. Dynamo compiled 3 graphs" in told(found)
    assert "really moved" not in told(found) and "allocator" not in told(found)
    assert any("TORCHDYNAMO_DISABLE=1" in action for action in next_actions(found))


def test_work_beside_a_call_that_had_its_cores_is_no_contention() -> None:
    """One core, all of it: 4.93 s of CPU in 4.94 s, whatever the machine's other core did."""
    alone = replace(QUIET, wall_s=4.94, user_s=2.99, system_s=1.94, others_cpu_s=4.9, torch_threads=4)
    found = verdict(run_of(passed_test(alone), cores=1), PASSED, LEDGERS)
    assert "say little" not in told(found) and "4 torch threads share 1 core" in told(found)
    hardly_waited = replace(QUIET, others_cpu_s=2.4, run_delay_s=0.01)
    assert "say little" not in told(verdict(run_of(passed_test(hardly_waited)), RunOutcome.PASSED))
    waited = replace(hardly_waited, run_delay_s=1.2)
    assert "its threads waited 1.2 s for a core" in told(
        verdict(run_of(passed_test(waited)), RunOutcome.PASSED)
    )


def test_an_error_before_the_test_is_blocked_with_its_message() -> None:
    message = "Failed: \n====\nInfrastructure gate: golden files are missing\n====\n"
    refused = run_of(TestRecord(BANDWIDTH, "error", message=message))
    broken = setup_error(refused)
    assert broken is not None
    assert failure(broken).endswith("Failed: Infrastructure gate: golden files are missing")
    found = verdict(refused, RunOutcome.SETUP_ERROR)
    assert (found.verdict, found.cause, next_actions(found)) == ("blocked", None, [])
    assert "Infrastructure gate: golden files are missing" in told(found, RunOutcome.SETUP_ERROR)
    assert not setup_error(run_of(TestRecord("t", "error", usage=QUIET)))  # a teardown: the test ran
    assert not setup_error(run_of(passed_test(), TestRecord("t", "error")))


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("AssertionError: shape", "AssertionError: shape"),
        ("Failed: \n\n=====\n  gate failed  \n", "Failed: gate failed"),
        ("ValueError:", "ValueError:"),
        ("----\n\n", "no message"),
    ],
)
def test_the_first_words_of_an_error(message: str, words: str) -> None:
    assert failure(TestRecord("t", "failed", message=message)) == f"t: {words}"


def test_the_tests_formula_is_read_from_its_own_output() -> None:
    """Until about 2025-10 the test counted 4 B a pixel and pass: its GB/s over its times tell."""
    today = "  512×512: 0.016s, ~0.39 GB/s effective\n"
    earlier = "  512×512: 0.016s, ~0.20 GB/s effective\n"
    for output, guess in ((today, 24), (earlier, 12), (today + earlier.replace("512", "1024"), 24)):
        assert legacy_bytes_per_pixel(figures_of([replace(passed_test(), stdout=output)]), (24, 12)) == guess


def test_a_run_without_times_is_not_asked_for_a_baseline() -> None:
    shapes = TestRecord("t::test_batch", "passed", stdout="matches scalar for B = 3\n", usage=CROWDED)
    found = verdict(run_of(shapes), RunOutcome.PASSED)
    assert next_actions(found) == []
