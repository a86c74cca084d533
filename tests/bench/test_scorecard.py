"""The scorecard's own arithmetic, by closed forms; its data by their definitions; a smoke run."""

from __future__ import annotations

import argparse
import ast
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nbbench.history import changes
from nbbench.history.telemetry import PROGRAMS
from tests.bench import ablation
from tests.bench.gate_replay import Replayed
from tests.bench.scorecard import __main__ as scorecard
from tests.bench.scorecard import gate, injected, labelled, peers, planted, product, real, table
from tests.bench.scorecard.evaluate import Entry, Result
from tests.bench.scorecard.metrics import Score, Truth, large_enough, match
from tests.bench.scorecard.record_beside import GATE_SERIES
from tests.bench.scorecard.recorded import beside, load


def test_each_place_is_matched_once_and_the_nearest_first():
    assert match([10, 13], [11, 12], 2) == [(10, 11), (13, 12)]
    assert match([10], [9, 10, 11], 2) == [(10, 10)]
    assert match([10], [13], 2) == []
    assert match([], [1], 2) == match([1], [], 2) == []


def test_the_score_of_two_hits_one_miss_and_two_alarms():
    score = Score()
    score.add(Truth(np.ones(100), (10, 50, 90)), [10, 12, 51, 70])
    assert (score.hits, score.misses, score.alarms, score.points) == (2, 1, 2, 100)
    assert score.precision == pytest.approx(2 / 4)
    assert score.recall == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    assert score.alarms_per_thousand == 20.0
    assert (score.exact, score.location_error) == (0.5, 0.5)


def test_an_open_place_is_neither_right_nor_wrong():
    score = Score()
    score.add(Truth(np.ones(10), (), open=(5,)), [4])
    assert (score.hits, score.alarms) == (0, 0)
    assert math.isnan(score.f1)


def test_missing_points_are_no_points():
    score = Score()
    score.add(Truth(np.array([1.0, np.nan, 1.0])), [2])
    assert (score.points, score.alarms) == (2, 1)


def test_small_changes_are_dropped_by_the_levels_beside_them():
    values = np.array([1.0] * 10 + [1.02] * 10 + [1.2] * 10)
    assert large_enough(values, [10, 20], math.log(1.05)) == [20]
    assert large_enough(values, [10, 20], 0.0) == [10, 20]


@pytest.mark.parametrize("half", [0, 1])
def test_planted_steps_have_their_size_and_place(half):
    for truth in planted.steps((0.5,), planted.recorded, 1e-4, 12, 1, half):
        jumps = np.flatnonzero(np.abs(np.diff(np.log(truth.values))) > 0.2) + 1
        assert tuple(jumps.tolist()) == truth.changes


def test_recorded_noise_has_unit_deviation_and_halves_differ():
    (one, *canaries), (other, *_) = (planted.recorded(150, np.random.default_rng(1), half) for half in (0, 1))
    assert one.std() == pytest.approx(1.0, abs=0.02)
    assert not np.array_equal(one, other)
    assert len(canaries) == 2


@pytest.mark.parametrize("half", [0, 1])
def test_canaries_stay_beside_the_values_that_they_were_timed_with(half, monkeypatch):
    values = np.random.default_rng(3).standard_normal(40)
    monkeypatch.setattr(planted, "beside", lambda _: ([values], [np.array([2 * values, -values])]))
    noise = planted.recorded_beside(30, np.random.default_rng(half), half)
    np.testing.assert_allclose(noise[1:], [2 * noise[0], -noise[0]], atol=1e-12)


def test_recordings_with_canaries_have_one_row_a_program_and_disjoint_halves():
    values, canaries = beside(0)
    assert {c.shape for c in canaries} == {(len(PROGRAMS), values[0].size)}
    assert len(values) == len(canaries) == len(GATE_SERIES)
    assert values[0].size + beside(1)[0][0].size == load()["aa3_values"].shape[0]


def test_bursts_say_where_they_are():
    disturbed = planted.steps((0.1,), planted.gaussian, 0.0, 5, 2, 1, planted.bursts)
    for truth, clean in zip(disturbed, planted.steps((0.1,), planted.gaussian, 0.0, 5, 2, 1), strict=True):
        touched = truth.values != clean.values
        assert truth.contended is not None
        assert not (touched & ~truth.contended).any()


def test_events_of_the_branch_are_changes_of_work():
    truth = real.branch(1)[2]
    assert len(truth.changes) >= 5
    assert not set(truth.changes) & set(truth.open)
    assert len({commit.tree for commit in truth.commits}) > 200
    assert sum(one is not None for one in truth.ledgers) > 200


def test_where_no_time_is_undisturbed_an_event_tells_of_the_work():
    truth = real._truth("branch_bursts", 0)
    asked = {"telemetry": True, "ledger": True, "canary": False}
    timed, told = (product.places((truth,), real.OPEN, **asked, work=work)[0] for work in (False, True))
    only = sorted({*told} - {*timed})
    assert {99, 100, 131, 132} <= {*told}
    assert {100, 131, 132} <= {*only}
    assert truth.contended is not None
    assert all(truth.contended[at] or truth.contended[at - 1] for at in only)
    quiet = replace(truth, contended=np.zeros_like(truth.contended))
    assert product.places((quiet,), real.OPEN, **asked, work=True) == product.places(
        (quiet,), real.OPEN, **asked
    )


def test_the_scorecard_has_no_rule_of_detection_of_its_own():
    """Its rows ask the product's own doors; only the truth of the branch compares work by itself."""
    doors = {
        "product.py": {
            "nbbench.history.changes": {"History", "judge_history"},
            "nbbench.history.events": {"build_events"},
            "nbbench.history.ledger_series": {"ledger_series"},
        },
        "real.py": {"nbbench.history.confirmed": {"Work", "work_levels"}},
    }
    for path in sorted(Path(product.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        plain = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
        assert not [name for name in plain if name.startswith("nbbench")], path.name
        taken = {
            n.module: {a.name for a in n.names} - {"PROGRAMS"}
            for n in ast.walk(tree)
            if isinstance(n, ast.ImportFrom)
            and str(n.module).startswith(("nbbench.history", "nbbench.stats"))
        }
        assert {module: names for module, names in taken.items() if names} == doors.get(path.name, {}), path


@pytest.mark.parametrize("rule", ["detect_steps", "without_bursts", "significant"])
def test_a_row_follows_every_rule_of_the_product(rule, monkeypatch):
    (truth,) = planted.steps((0.5,), planted.gaussian, 0.01, 1, 6, 1)
    assert truth.changes
    assert peers.ours(0.0).settings[""](truth) == list(truth.changes)
    nothing = [] if rule == "significant" else ()
    monkeypatch.setattr(changes, rule, lambda *args, **kwargs: nothing)
    assert peers.ours(0.0).settings[""](truth) == []


def test_the_product_sees_what_is_on_record_beside_a_row_and_nothing_else():
    """A level of one commit counts where its work says so; a burst that telemetry knows is left out."""
    truth = real.branch(1)[0]
    short = next(b for a, b in itertools.pairwise(truth.changes) if b - a == 1)
    told, alone = (
        product.places((truth,), real.OPEN, telemetry=False, ledger=asked, canary=False)[0]
        for asked in (True, False)
    )
    assert short in told
    assert short not in alone


@pytest.mark.parametrize("drawn", [False, True])
def test_with_the_ledger_every_named_commit_of_the_branch_is_reported(drawn):
    """ae768513, 6b6994aa, e8146c2e, a89f6fda, 4e3f2422, bc36384c: measured in either order."""
    truths = real.branch(1, drawn=drawn)[:8]
    found = product.places(tuple(truths), real.OPEN, telemetry=True, ledger=True, canary=drawn)
    named = {c.short: i for i, c in enumerate(truths[0].commits)}
    commits = ("ae768513", "6b6994aa", "e8146c2e", "a89f6fda", "4e3f2422", "bc36384c")
    assert {named[c] for c in commits} <= {place for places in found for place in places}


def test_marks_of_several_people_are_one_change_where_half_of_them_agree():
    assert labelled.agreed([[10, 50], [12, 90], [14], [51], []]) == (12,)
    assert labelled.agreed([[10, 50], [12, 49], [], []]) == (11, 49)


def test_a_stretch_with_a_step_is_not_stable():
    noise = 0.02 * np.random.default_rng(3).standard_normal(100)
    assert injected._stable(noise)
    noise[50:] += 0.1
    assert not injected._stable(noise)


def test_a_row_where_a_peer_is_ahead_says_so():
    mine, peer = Score(hits=1, misses=1), Score(hits=2, alarms=1)
    entries = (
        Entry("nbbench", "", mine),
        Entry("other", "p 1", peer),
        Entry("gone", "", Score(), "not installed"),
    )
    told = table.markdown([Result("group", "row", "", 1, 2, entries)])
    assert "other F1 0.800, against nbbench F1 0.667 (its best setting, picked afterwards: p 1)" in told
    assert "finds +1 changes and raises +1 false alarms" in told
    assert "not installed" in told


def test_a_row_that_we_win_is_not_listed():
    entries = (Entry("nbbench", "", Score(hits=2)), Entry("other", "", Score(hits=1, misses=1)))
    assert table.markdown([Result("group", "row", "", 1, 2, entries)]).count("In no row.") == 2


def test_goals_are_counted_by_method():
    good, bad = Score(hits=9, misses=1, points=100), Score(hits=1, misses=9, alarms=3, points=1000)
    rows = [
        Result("g", "one", "F1 ≥ 0.9", 1, 10, (Entry("nbbench", "", bad), Entry("other", "", good))),
        Result("g", "two", "F1 ≥ 0.9", 1, 10, (Entry("nbbench", "", good), Entry("other", "", good))),
        Result("quiet", "three", "alarms ≤ 1", 1, 0, (Entry("nbbench", "", bad), Entry("other", "", good))),
        Result("quiet", "four", "", 1, 0, (Entry("nbbench", "", bad),)),
    ]
    told = [[c.strip() for c in line.split("|")[1:-1]] for line in table._goals(rows).splitlines()[4:]]
    assert told == [["g", "F1 ≥ 0.9", "2", "1", "1", "2"], ["quiet", "alarms ≤ 1", "1", "0", "0", "1"]]


def test_what_the_series_alone_loses_and_all_evidence_wins_is_told_apart():
    best, middle, least = Score(hits=4), Score(hits=3, misses=1), Score(hits=1, misses=3)
    entries = (Entry("nbbench", "", least), Entry("nbbench + canary", "", best), Entry("other", "", middle))
    told = table.markdown([Result("group", "row", "", 1, 4, entries)])
    whole, alone = told.split("## Where a peer is ahead")[1:]
    assert "In no row." in whole
    assert "other F1 0.857, against nbbench F1 0.400" in alone


def test_a_row_of_the_gate_counts_its_decisions():
    decisions = [{"a": "slower"}, {"a": "equivalent"}, {"a": "equivalent"}, {"a": "undecided"}]
    done = [Replayed(found, 10 + i, 60.0) for i, found in enumerate(decisions)]
    told = gate.row("name", done)
    assert told == ["name", "4", "25.0% (4.6% to 69.9%)", "50.0%", "25.0%", "11.5", "60"]


def test_the_gates_section_is_made_anew_and_the_rest_stays(monkeypatch):
    monkeypatch.setattr(gate, "_replayed", lambda gates: f"{gates} gates")
    monkeypatch.setattr(gate.gate_rows, "known", lambda _: [])
    page = "# Head\n\n" + gate.section(1) + "## Planted\n\nrows\n"
    assert gate.with_section(page, 7) == page.replace("1 gates", "7 gates")
    older = f"# Head\n\n{gate.HEADS[0]}\n\nold\n\n## Planted\n\nrows\n"
    assert gate.with_section(older, 1) == page


def test_a_smoke_run_writes_tables_and_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("NBBENCH_ASV_DATA", raising=False)
    asked = argparse.Namespace(
        quick=True,
        tune=False,
        only="recorded, 5 % spikes",
        mine=False,
        count=4,
        jobs=1,
        asv_data=None,
        out=None,
    )
    told = scorecard.run(asked)
    assert told.count("recorded, 5 % spikes") >= 2
    assert "asv, steps" in told
    asked.only, asked.mine = "Injected", True
    assert "Not given" in scorecard.run(asked)


def test_every_rule_that_is_switched_off_is_there_and_its_figures_are_told():
    text = (Path(__file__).resolve().parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    for rule, places in ablation.RULES.items():
        assert all(hasattr(where, name) for where, name, _ in places), rule
        assert f"\n| {rule} | " in text


def test_without_a_rule_the_product_judges_otherwise():
    """Six series stand out for three commits: without what they share that is no level."""
    rng = np.random.default_rng(5)
    values = np.exp(rng.normal(0.0, 0.01, (6, 60)))
    values[:, 30:33] *= 1.3
    machine = tuple(Truth(row, (30, 33), at=np.arange(60.0)) for row in values)
    truths = [replace(one, siblings=machine) for one in machine]
    assert ablation.score(truths, ablation.ALONE).misses == 0
    with ablation.without("levels that the series share"):
        assert ablation.score(truths, ablation.ALONE).hits == 0
