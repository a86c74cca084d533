"""Why an event happened, from what was measured; each cause with the evidence that decides it."""

from __future__ import annotations

import math
import re
from typing import Any

import history_samples as samples
import pytest
from history_samples import BYTES, FAULTS, OPERATIONS, OUTPUT, PEAK_LIVE, TIME, UPCAST, change, ledger

from nbbench.disturbance import Disturbance
from nbbench.history.causes import find_cause, kernels_explain
from nbbench.history.facts import Facts, SetupChange
from nbbench.host import HostKind, HostMetric
from nbbench.model import Cause, ChangePoint, EventDirection, Phase
from nbbench.report.causes import evidence_sentences
from nbbench.work.count_diff import HostChange, HostDiff
from nbbench.work.ledger_diff import LedgerDiff, diff_ledgers

QUIET = Disturbance(0.01, 0.0, processes=10)
BUSY = Disturbance(0.4, 0.0, processes=10)
UNKNOWN = Disturbance(processes=0)
SLOWER = change(2, 2, 0.2)
FASTER = change(2, 2, -0.2)


def diff(**head: Any) -> LedgerDiff:
    return diff_ledgers(ledger(), ledger(**head))


def cause(
    changes: list[ChangePoint],
    *diffs: LedgerDiff,
    before: Disturbance = QUIET,
    after: Disturbance = QUIET,
    canary: float = 0.0,
    setup: tuple[SetupChange, ...] = (),
    host: tuple[HostDiff, ...] = (),
) -> tuple[Cause, str]:
    worse = max(changes, key=lambda c: (c.unit == "seconds", abs(c.effect))).worse
    direction = EventDirection.REGRESSION if worse else EventDirection.IMPROVEMENT
    facts = Facts(tuple(changes), direction, diffs, before, after, canary, setup, host)
    found, evidence = find_cause(facts)
    return found, "\n".join(evidence_sentences(evidence))


def test_nothing_on_record_explains_nothing() -> None:
    found, evidence = cause([SLOWER])
    assert found is Cause.UNEXPLAINED
    assert "ledger is unchanged" not in evidence
    assert evidence == "neither setup nor the machine's load explains it; its work is not on record"


def test_an_unchanged_ledger_is_said() -> None:
    found, evidence = cause([SLOWER], diff())
    assert found is Cause.UNEXPLAINED
    assert "the ledger is unchanged: same operations, same bytes" in evidence
    assert "neither work, allocator, setup nor the machine's load explains it" in evidence


def calls(name: str, before: int, after: int) -> HostDiff:
    line = HostChange(HostKind.OUTSIDE, "sim.py:144", "Simulator.__init__", name, before, after)
    return HostDiff("frame", Phase.CONSTRUCT, HostMetric.STEPS, 583, 583 + after - before, (line,))


def test_a_new_call_whose_cost_counts_do_not_tell_is_named_where_nothing_else_explains() -> None:
    found, evidence = cause([SLOWER], diff(), host=(calls("torch.compile", 0, 1),))
    assert found is Cause.HOST
    assert "what these calls cost, their number does not tell" in evidence
    assert "sim.py:144 Simulator.__init__: calls torch.compile 0 → 1" in evidence


@pytest.mark.parametrize(
    ("one", "moved"),
    [
        (calls("torch.compile", 1, 0), SLOWER),  # fewer calls explain no loss
        (calls("torch.compile", 0, 1), FASTER),
        (calls("isinstance", 0, 9), SLOWER),  # of a fixed cost, which counts tell
        (calls("torch.add", 0, 1), SLOWER),  # counted by bytes
    ],
)
def test_other_calls_explain_nothing(one: HostDiff, moved: ChangePoint) -> None:
    assert cause([moved], diff(), host=(one,))[0] is Cause.UNEXPLAINED


def test_more_bytes_explain_a_loss_and_name_the_line() -> None:
    head = {"per_pixel": 120.0, "lines": (("run", "aten.mul", 120_000, 12),)}
    found, evidence = cause([SLOWER], diff(**head))
    assert found is Cause.WORK
    assert "simulator.py:10 run: aten.mul float32 100.0 → 120.0 B/pixel (10 → 12 calls)" in evidence
    assert "100.0 → 120.0 B/pixel (+20.0 %)" in evidence


def test_more_operations_alone_explain_a_loss() -> None:
    assert cause([SLOWER], diff(ops=500))[0] is Cause.WORK


def test_a_few_scalar_operations_explain_nothing() -> None:
    found, evidence = cause([SLOWER], diff(per_pixel=100.05))
    assert found is Cause.UNEXPLAINED
    assert "ledger is unchanged" not in evidence
    assert "(+0.05 %)" in evidence


def test_less_work_explains_a_gain_but_not_a_loss() -> None:
    less = diff(per_pixel=80.0, lines=(("run", "aten.mul", 80_000, 10),))
    assert cause([FASTER], less)[0] is Cause.WORK
    assert cause([SLOWER], less, after=BUSY)[0] is Cause.CONTENTION
    assert cause([SLOWER, change(2, 2, 1.0, FAULTS)], less)[0] is Cause.ALLOCATOR


def test_other_operations_of_the_same_totals_are_work_when_nothing_else_explains() -> None:
    other = diff(lines=(("run", "aten.exp", 100_000, 10),))
    found, evidence = cause([SLOWER], other)
    assert found is Cause.WORK
    assert "aten.exp" in evidence
    assert cause([SLOWER], other, canary=0.3)[0] is Cause.ENVIRONMENT


def test_a_renamed_function_is_no_work() -> None:
    assert cause([SLOWER], diff(lines=(("compute", "aten.mul", 100_000, 10),)))[0] is Cause.UNEXPLAINED


@pytest.mark.parametrize("change_of_time", [SLOWER, FASTER])
def test_a_changed_image_comes_first(change_of_time: ChangePoint) -> None:
    found, evidence = cause([change_of_time], diff(image=1.5, per_pixel=200.0, upcast=50.0))
    assert found is Cause.IMAGE
    assert "the image changed (sum × 1.5): not like for like" in evidence


def test_an_upcast_is_dtype() -> None:
    found, evidence = cause([SLOWER], diff(per_pixel=150.0, upcast=50.0))
    assert found is Cause.DTYPE
    assert "0.0 → 50.0 B/pixel wider than asked" in evidence


def test_another_default_dtype_is_dtype() -> None:
    halved = diff_ledgers(ledger(per_pixel=200.0, dtype="float64"), ledger())
    found, evidence = cause([FASTER], halved)
    assert found is Cause.DTYPE
    assert "the output is float32, was float64" in evidence


def test_an_exact_dtype_series_is_dtype_without_any_ledger() -> None:
    assert cause([change(2, 2, math.inf, UPCAST, "exact")])[0] is Cause.DTYPE
    both = [change(2, 2, -0.69, OUTPUT, "exact"), change(2, 2, -0.69, BYTES, "exact")]
    assert cause(both)[0] is Cause.DTYPE


def test_exact_counters_are_work_without_any_ledger() -> None:
    assert cause([change(2, 2, 0.3, OPERATIONS, "exact")])[0] is Cause.WORK


def test_page_faults_are_the_allocator_with_a_remedy() -> None:
    found, evidence = cause([SLOWER, change(2, 2, 2.0, FAULTS)], diff())
    assert found is Cause.ALLOCATOR
    assert "remedy: GLIBC_TUNABLES=glibc.malloc.mmap_threshold" in evidence


def test_A3_large_blocks_are_the_allocator_where_no_page_fault_was_counted() -> None:
    """Counted exactly, from nothing to 38 MB a run: whatever malloc and kernel do with them."""
    large = change(2, 2, math.inf, ("ledger.track_mapped_bytes", "B (mapped)", "track"), "exact")
    assert cause([large], diff())[0] is Cause.ALLOCATOR
    assert cause([SLOWER, large, change(2, 2, 0.0, FAULTS)], diff())[0] is Cause.ALLOCATOR


def test_the_penalty_alone_is_a_quotient_of_two_noisy_times_and_proves_nothing() -> None:
    assert cause([SLOWER, change(2, 2, 2.0, samples.PENALTY)], diff())[0] is Cause.UNEXPLAINED


def test_page_faults_alone_are_the_allocator_even_where_an_image_changed() -> None:
    assert cause([change(2, 2, 2.0, FAULTS)], diff(image=2.0))[0] is Cause.ALLOCATOR


def test_an_idle_process_that_changed_is_the_harness() -> None:
    idle = change(2, 2, -0.3, ("bandwidth.Baseline.peakmem_nothing", "bytes", "peakmemory"))
    found, evidence = cause([idle], diff())
    assert found is Cause.HARNESS
    assert "what is imported differs" in evidence


def test_the_allocator_does_not_hide_changed_work() -> None:
    assert cause([SLOWER, change(2, 2, 2.0, FAULTS)], diff(per_pixel=150.0))[0] is Cause.WORK


def test_exact_memory_alone_is_work_unless_the_allocator_tells_why() -> None:
    more = change(2, 2, 0.5, PEAK_LIVE, "exact")
    assert cause([more], diff(peak=8192))[0] is Cause.WORK
    assert cause([SLOWER, more, change(2, 2, 2.0, FAULTS)], diff(peak=8192))[0] is Cause.ALLOCATOR


@pytest.mark.parametrize("busy", [BUSY, Disturbance(0.0, 0.05, processes=10)])
def test_contention_explains_the_slow_side_only(busy: Disturbance) -> None:
    assert cause([SLOWER], diff(), after=busy)[0] is Cause.CONTENTION
    assert cause([FASTER], diff(), before=busy)[0] is Cause.CONTENTION
    assert cause([SLOWER], diff(), before=busy)[0] is Cause.UNEXPLAINED
    assert cause([FASTER], diff(), after=busy)[0] is Cause.UNEXPLAINED
    assert cause([SLOWER], diff(), before=busy, after=busy)[0] is Cause.UNEXPLAINED


def test_contention_is_told_in_figures() -> None:
    assert (
        "others used 1% of a core while the older commits were measured and 40%"
        in (cause([SLOWER], diff(), after=BUSY)[1])
    )


def test_without_telemetry_of_both_sides_contention_is_not_claimed() -> None:
    assert cause([SLOWER], diff(), before=UNKNOWN, after=BUSY)[0] is Cause.UNEXPLAINED
    assert cause([FASTER], diff(), before=BUSY, after=UNKNOWN)[0] is Cause.UNEXPLAINED


def test_reference_kernels_that_moved_with_it_are_the_environment() -> None:
    found, evidence = cause([SLOWER], diff(), canary=0.15)
    assert found is Cause.ENVIRONMENT
    assert "fixed programs timed beside these benchmarks, moved by +16.2 % with it" in evidence
    assert cause([SLOWER], diff(), canary=-0.15)[0] is Cause.UNEXPLAINED


@pytest.mark.parametrize(
    ("jump", "effect", "expected"),
    [(0.05, 0.1, True), (0.049, 0.1, False), (-0.05, 0.1, False), (-0.2, -0.1, True), (0.0, 0.1, False)],
)
def test_kernels_explain_a_change_of_their_direction_and_up_to_twice_their_size(
    jump: float, effect: float, expected: bool
) -> None:
    assert kernels_explain(jump, effect) is expected


def test_evidence_names_the_two_diffs_that_moved_most_and_at_most_five_lines() -> None:
    lines = tuple((f"f{i}", "aten.mul", 10_000 * (i + 1), 1) for i in range(6))
    diffs = [
        diff_ledgers(ledger(f"w{i}"), ledger(f"w{i}", per_pixel=100.0 + 50 * i, lines=lines))
        for i in range(4)
    ]
    _, evidence = cause([SLOWER], *diffs)
    assert evidence.index("w3:") < evidence.index("w2:")
    assert "w1:" not in evidence
    assert evidence.count("simulator.py") == 10
    assert len(re.findall(r"\d more lines? \(", evidence)) == 2  # H11: the rest is counted


def test_a_bit_identical_image_is_worth_a_sentence() -> None:
    assert "bit-identical" in cause([SLOWER], diff(per_pixel=150.0))[1]


@pytest.mark.parametrize("what", ["cpu", "torch", "python", "threads", "number", "repeat", "nbbench"])
def test_another_setup_at_the_step_is_named_before_unexplained(what: str) -> None:
    """F1: processor, torch, Python, threads, asv's sampling and the harness are on record."""
    found, evidence = cause([SLOWER], diff(), setup=(SetupChange(what, "4", "8"),))
    assert found is (Cause.HARNESS if what in ("number", "repeat") else Cause.ENVIRONMENT)
    assert "changed at this step: 4 → 8" in evidence
    assert cause([SLOWER], diff(per_pixel=150.0), setup=(SetupChange(what, "4", "8"),))[0] is Cause.WORK


def test_time_is_the_role_that_decides_between_gain_and_loss() -> None:
    mixed = [change(2, 2, -0.2, TIME), change(2, 2, 0.4, PEAK_LIVE, "exact")]
    assert cause(mixed, diff(per_pixel=80.0))[0] is Cause.WORK
