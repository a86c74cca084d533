"""Series whose exact work is equal: their time is checked by few pairs, and blocks only when confirmed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from gate_facts import said
from history_samples import ledger

from nbbench.budget import Budget
from nbbench.gate.exact import ExactWork
from nbbench.gate.judge import series_verdict, workload_verdicts
from nbbench.gate.rounds import (
    CHECK_PAIRS,
    MAX_ROUNDS,
    MOST_CHECKED,
    GateSession,
    SeriesState,
    Tally,
    run_rounds,
)
from nbbench.gate.unseen import (
    Changed,
    CountedWork,
    Hidden,
    Unseen,
    counted_work,
    uncounted_calls,
    with_prices,
)
from nbbench.host import IMPORT_WORKLOAD, PYTHON, HostCount, HostKind, HostPhase, HostWork
from nbbench.measure.pair import Pair, Sample
from nbbench.measure.paired import GateSeries
from nbbench.model import Outcome, Phase
from nbbench.report.gate_sentences import report_sentence
from nbbench.stats.paired import look_at_pairs
from nbbench.verdicts import GateReport, Verdict
from nbbench.work.count_diff import diff_host
from nbbench.work.ledger_diff import diff_ledgers
from nbbench.work.work_share import Price, fit_costs

ITEM = GateSeries("time_run", None, "time_run", 60.0)
FREE = Price(0.0, 0.0, 0.0, 0, 0.3)
NOTHING = Pair(Sample(None), Sample(None), disturbed="every slice waited for a core")


def equal(hidden: Hidden = Hidden.NOTHING, price: Price | None = FREE) -> CountedWork:
    where = ("pkg/sim.py:3", "sum") if hidden is Hidden.CALLS else ("", "")
    return CountedWork(price == FREE, price, Unseen(hidden, *where), 0.01)


def pair(log_ratio: float, disturbed: str = "") -> Pair:
    return Pair(Sample(1.0), Sample(math.exp(log_ratio)), log_ratio, disturbed)


class Runner:
    """Answers every round from a list, the last one for ever."""

    def __init__(self, *pairs: Pair) -> None:
        self.pairs, self.asked = list(pairs), 0

    def measure(self, series):
        for item in series:
            self.asked += 1
            yield item, self.pairs.pop(0) if len(self.pairs) > 1 else self.pairs[0]

    def renew(self) -> None:
        """Nothing lives longer than a pair here."""


def judged(counted: CountedWork, *pairs: Pair, clock=lambda: 0.0) -> tuple[Verdict, int]:
    """The verdict, and how many pairs were asked for."""
    runner, state = Runner(*pairs), SeriesState("time_run", 0.01, counted=counted)
    session = GateSession([state], 0.01)
    run_rounds(runner, [ITEM], session, budget=Budget(600.0, clock), tally=Tally())
    session.finish()
    found = series_verdict(state)
    assert isinstance(found, Verdict)
    return found, runner.asked


@pytest.mark.parametrize("disturbed", ["", "other processes ran"])
def test_few_pairs_are_looked_at_disturbed_or_not(disturbed: str) -> None:
    noise = [pair(x, disturbed) for x in (0.02, -0.03, 0.01, -0.02, 0.03, -0.01)]
    found, asked = judged(equal(), *noise)
    assert (found.outcome, asked) == (Outcome.UNCHANGED, CHECK_PAIRS)
    assert said(found) == (
        "the exact work is equal; a loss of time above 5.3 % would have been seen in 6 pairs"
    )


def test_without_a_figure_exact_work_answers_and_says_so() -> None:
    found, asked = judged(equal(), NOTHING)
    assert (found.outcome, asked) == (Outcome.UNCHANGED, CHECK_PAIRS)
    assert "time could have shown nothing: every slice waited for a core" in said(found)
    found, _ = judged(equal(Hidden.VALUES), NOTHING)
    assert found.outcome is Outcome.INCONCLUSIVE  # another number may have done anything


def test_half_of_the_pairs_do_where_they_take_long() -> None:
    ticks = iter(range(0, 10_000, 15))
    assert judged(equal(), pair(0.0), clock=lambda: float(next(ticks)))[1] == CHECK_PAIRS // 2


@pytest.mark.parametrize("hidden", [Hidden.NOTHING, Hidden.VALUES])
def test_a_loss_that_fresh_processes_confirm_blocks(hidden: Hidden) -> None:
    assert judged(equal(hidden), pair(0.3))[0].outcome is Outcome.REGRESSED


def test_a_loss_that_later_pairs_do_not_show_is_none() -> None:
    """Exact work rules it out; where a number changed nobody can tell."""
    pairs = [pair(0.1)] * CHECK_PAIRS + [pair(x) for x in (-0.2, 0.2) * 40]
    found, asked = judged(equal(), *pairs)
    assert (found.outcome, asked) == (Outcome.UNCHANGED, MOST_CHECKED)
    found, asked = judged(equal(Hidden.VALUES), *pairs)
    assert (found.outcome, asked) == (Outcome.INCONCLUSIVE, MAX_ROUNDS)


@pytest.mark.parametrize(
    ("counted", "words"),
    [
        (equal(Hidden.CALLS), "counts do not tell how long sum takes, which pkg/sim.py:3 calls"),
        (equal(price=None), "counts do not tell what the work that changed costs"),
        (equal(price=replace(FREE, lo=-0.02, hi=0.05)), "costs -2.0 % to +5.1 % of the run"),
    ],
)
def test_what_counts_do_not_settle_is_timed_as_ever(counted: CountedWork, words: str) -> None:
    wavering = [pair(x) for x in (-0.2, 0.2) * 40]
    found, asked = judged(counted, *wavering)
    assert (found.outcome, asked) == (Outcome.INCONCLUSIVE, MAX_ROUNDS)
    assert words in said(found)


def test_a_look_at_pairs() -> None:
    assert look_at_pairs([0.1, 0.1], 0.03)[1:] == (pytest.approx(0.1), math.inf, False)
    assert look_at_pairs([], 0.03).n == 0
    steady = look_at_pairs([0.05] * 6, 0.03)
    assert (steady.slower, steady.sees) == (True, pytest.approx(0.03))
    assert not look_at_pairs([0.05, -0.05, 0.3, -0.2, 0.2, 0.1], 0.03).slower


def work(head_steps: int = 500, **head: object) -> ExactWork:
    """One workload on both sides; `head` are fields of its ledger that differ."""
    diff = diff_ledgers(ledger(), ledger(**head))
    sides = []
    for steps in (500, head_steps):
        count = HostCount(HostKind.LINE, "pkg/sim.py", 1, "f", "", steps)
        phases = tuple(HostPhase(phase, (count,)) for phase in (Phase.CONSTRUCT, Phase.FIRST, Phase.WARM))
        started = HostWork(IMPORT_WORKLOAD, PYTHON, (HostPhase(Phase.IMPORT, (count._replace(amount=9),)),))
        sides.append({IMPORT_WORKLOAD: started, diff.workload: HostWork(diff.workload, PYTHON, phases)})
    name = diff.workload
    host = tuple(diff_host(sides[0][name], sides[1][name], None))
    return ExactWork((diff,), all_host=host, sides=tuple(sides), changed=Changed({}))


def counted(exact: ExactWork, phase: Phase = Phase.WARM, floor: float = 0.01) -> CountedWork | None:
    return counted_work(exact, phase, ledger().workload, fit_costs([]), floor)


@pytest.mark.parametrize("phase", [Phase.IMPORT, Phase.CONSTRUCT, Phase.FIRST, Phase.WARM])
def test_equal_work_settles_every_phase(phase: Phase) -> None:
    found = counted(work(), phase)
    assert found is not None and found.equal and found.sure


def test_a_few_steps_more_are_priced() -> None:
    found = counted(work(head_steps=510))
    assert found is not None and found.settles and not found.equal
    assert found.price is not None and 0 < found.price.hi < 0.01


@pytest.mark.parametrize(
    "head", [{"peak": 10**9}, {"digest": "other"}, {"dispatched": 10**6}, {"ops": 10**6}]
)
def test_what_has_no_price_settles_nothing(head: dict) -> None:
    found = counted(work(**head))
    assert found is not None and not found.settles


def test_what_was_not_counted_settles_nothing() -> None:
    assert counted(replace(work(), sides=())) is None
    assert counted_work(work(), Phase.WARM, "another", fit_costs([]), 0.01) is None
    assert counted_work(work(), Phase.MEMORY, None, fit_costs([]), 0.01) is None


def test_a_call_that_counts_do_not_see_is_in_the_first_sentence() -> None:
    """With --policy work nothing else tells a reader that `sum(range(n))` may take any time."""
    exact = work()
    assert uncounted_calls(exact) == [] == uncounted_calls(ExactWork())
    name = exact.diffs[0].workload
    call = HostCount(HostKind.OUTSIDE, "pkg/sim.py", 3, "f", "sum", 1)
    head = exact.sides[1] | {name: HostWork(name, PYTHON, (HostPhase(Phase.WARM, (call,)),))}
    changed = Changed({"pkg/sim.py": frozenset({3})})
    notes = uncounted_calls(replace(exact, sides=(exact.sides[0], head), changed=changed))
    one = Verdict("ledger a", Outcome.UNCHANGED)
    report = GateReport("a", "b", Outcome.UNCHANGED, verdicts=(one,), notes=tuple(notes))
    told = "counts do not tell how long sum takes, which pkg/sim.py:3 calls; time was not judged"
    assert report_sentence(report) == f"all 1 series are unchanged; {told}"


def test_a_regression_has_its_price() -> None:
    exact = work(per_pixel=200.0)
    [diff] = exact.diffs
    verdicts = with_prices(workload_verdicts(diff), exact, fit_costs([]))
    worse = next(one for one in verdicts if one.outcome is Outcome.REGRESSED)
    assert "of the run (nothing timed here, so usual costs, which it predicts to 30 %)" in said(worse)


def test_host_work_of_one_stands_for_its_family() -> None:
    """The suite counts the smallest frame alone; what starts up is compared by what was counted."""
    exact = work()
    name, other = ledger().workload, "bandwidth-1024-float32"
    large = diff_ledgers(ledger(other), ledger(other))
    left_out = HostWork(other, PYTHON, error="NotImplementedError: its host work is that of 512²")
    sides = tuple({**side, other: left_out} for side in exact.sides)
    both = replace(exact, diffs=(*exact.diffs, large), sides=sides)
    for workload, phase in ((other, Phase.WARM), (None, Phase.CONSTRUCT)):
        found = counted_work(both, phase, workload, fit_costs([]), 0.01)
        assert found is not None and found.sure
    alone = tuple({k: v for k, v in side.items() if k != name} for side in sides)
    assert counted_work(replace(both, sides=alone), Phase.WARM, other, fit_costs([]), 0.01) is None
