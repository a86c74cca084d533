"""What a captured run is said to mean, and never said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from capture_samples import (
    BANDWIDTH,
    CROWDED,
    MAPPING,
    QUIET,
    failed_test,
    passed_test,
    run_of,
)
from capture_samples import found as verdict

from nbbench.capture.figures import figures_of
from nbbench.capture.findings import dtype_of_test, setup_error
from nbbench.captured import Findings, RunOutcome, TestRecord
from nbbench.report.capture import failure, next_actions, sentences


def told(found: Findings, outcome: RunOutcome = RunOutcome.FAILED) -> str:
    return "\n".join(sentences(found, outcome))


FAILED, PASSED = RunOutcome.FAILED, RunOutcome.PASSED


def test_the_word_of_those_who_wrote_it_off_never_appears() -> None:
    for run in (run_of(failed_test()), run_of(passed_test()), run_of(failed_test(CROWDED))):
        found = verdict(run)
        assert "transient" not in told(found) + "".join(next_actions(found, FAILED))


def test_contention_of_a_slow_test_is_said() -> None:
    found = verdict(run_of(failed_test(CROWDED)))
    assert "others used 0.80 cores" in told(found) and "3,195 involuntary" in told(found)
    assert "4 torch threads share 2 cores" in told(found)
    assert any("idle machine" in action for action in next_actions(found, FAILED))


def test_a_failing_test_says_its_message() -> None:
    broken = TestRecord("tests/test_x.py::test_shape", "failed", message="AssertionError: shape", usage=QUIET)
    found = verdict(run_of(broken))
    assert "tests/test_x.py::test_shape: AssertionError: shape" in told(found)


def test_the_dtype_is_what_the_figures_say_or_else_the_subjects_default() -> None:
    figures = figures_of([failed_test()])
    assert dtype_of_test(figures, "float64") == "float64"
    assert dtype_of_test([replace(f, dtype="float32") for f in figures], "float64") == "float32"


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
    found = verdict(run)
    assert outcome.verdict == "blocked" and why in told(found, outcome) and BANDWIDTH in told(found, outcome)
    assert next_actions(found, outcome) == []


def test_a_run_that_skipped_everything_tested_nothing() -> None:
    found = verdict(run_of(TestRecord("t", "skipped")))
    assert "blocked: the run ended with: every test skipped" in told(found, RunOutcome.SKIPPED)
    assert RunOutcome.SKIPPED.verdict == "blocked"


def test_a_profiled_run_is_not_compared() -> None:
    found = verdict(run_of(passed_test()), environment={"NB_PROFILER_OUT": "profile.json"})
    assert "under torch's profiler" in told(found)


def test_pinned_malloc_is_said() -> None:
    tunables = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"
    found = verdict(run_of(passed_test()), environment={"GLIBC_TUNABLES": tunables})
    assert "malloc is pinned by GLIBC_TUNABLES in the command's environment" in told(found)


def test_a_compiled_run_is_not_held_against_eager_work() -> None:
    found = verdict(run_of(passed_test(replace(MAPPING, compiled_graphs=3))))
    assert "not comparable: compiled. Dynamo compiled 3 graphs" in told(found)
    assert any("TORCHDYNAMO_DISABLE=1" in action for action in next_actions(found, FAILED))


def test_work_beside_a_call_that_had_its_cores_is_no_contention() -> None:
    """One core, all of it: 4.93 s of CPU in 4.94 s, whatever the machine's other core did."""
    alone = replace(QUIET, wall_s=4.94, user_s=2.99, system_s=1.94, others_cpu_s=4.9, torch_threads=4)
    found = verdict(run_of(passed_test(alone), cores=1))
    assert "say little" not in told(found) and "4 torch threads share 1 core" in told(found)
    hardly_waited = replace(QUIET, others_cpu_s=2.4, run_delay_s=0.01)
    assert "say little" not in told(verdict(run_of(passed_test(hardly_waited))))
    waited = replace(hardly_waited, run_delay_s=1.2)
    assert "its threads waited 1.2 s for a core" in told(verdict(run_of(passed_test(waited))))


def test_an_error_before_the_test_is_blocked_with_its_message() -> None:
    message = "Failed: \n====\nInfrastructure gate: golden files are missing\n====\n"
    refused = run_of(TestRecord(BANDWIDTH, "error", message=message))
    broken = setup_error(refused)
    assert broken is not None
    assert failure(broken).endswith("Failed: Infrastructure gate: golden files are missing")
    found = verdict(refused)
    assert next_actions(found, RunOutcome.SETUP_ERROR) == []
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


def test_a_run_without_times_is_not_asked_for_a_baseline() -> None:
    shapes = TestRecord("t::test_batch", "passed", stdout="matches scalar for B = 3\n", usage=CROWDED)
    found = verdict(run_of(shapes))
    assert next_actions(found, PASSED) == []
