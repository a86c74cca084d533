import math

import numpy as np
import pytest

from nbbench.stats.paired import PairEvidence, estimate_pairs, log_wealth, noise_floor, past_spread

ALPHA = 0.01


def ever_refuted(rounds, median, alpha=ALPHA):
    """Round at which a bet against ``median`` or less first wins 1 / alpha; None if never."""
    hits = np.flatnonzero(log_wealth(rounds, past_spread(rounds), median) >= -math.log(alpha))
    return int(hits[0]) + 1 if hits.size else None


def refuted_at(rounds):
    """Rounds after which "not above zero" is refuted at ALPHA, as seen while they come in."""
    return next(n for n in range(1, len(rounds) + 1) if estimate_pairs(rounds[:n], alpha=ALPHA).lo > 0)


# -- evidence ---------------------------------------------------------------------------------------------


def test_clear_rounds_are_decided_at_the_least_number_of_rounds():
    rounds = 0.1 + 0.005 * np.array([1, -1, 2, -2, 0.5, 0, 1, -1])
    assert refuted_at(rounds) == 8
    few, mirrored = estimate_pairs(rounds[:7], alpha=ALPHA), estimate_pairs(-rounds, alpha=ALPHA)
    assert (few.lo, few.hi) == (-math.inf, math.inf)
    assert mirrored.hi < 0


def test_a_round_doubles_the_wealth_at_most():
    wealth = log_wealth(np.ones(40), np.full(40, 1e-9), 0.0)
    assert (np.diff(wealth, prepend=0.0) <= math.log(2)).all()


def test_evidence_kept_round_by_round_is_that_of_all_rounds_at_once():
    rng = np.random.default_rng(7)
    for scale in (0.0, 1.0, 1e3):
        rounds = 0.02 + scale * rng.standard_t(2, 25)
        rounds[5] = rounds[0]
        kept = PairEvidence(0.01, 0.03)
        for value in rounds:
            kept.add(float(value))
        spread = past_spread(rounds)
        assert kept.slower == pytest.approx(log_wealth(rounds, spread, 0.01)[-1])
        assert kept.faster == pytest.approx(log_wealth(-rounds, spread, 0.01)[-1])
        inside = [log_wealth(side * rounds, spread, -0.03).max() for side in (1, -1)]
        assert kept.equivalent == pytest.approx(max(min(inside), 0.0), abs=1e-9)


def test_evidence_rejects_a_margin_below_the_floor():
    with pytest.raises(ValueError, match="margin"):
        PairEvidence(0.02, 0.01)


def test_one_ruined_round_does_not_hide_a_slowdown():
    rounds = 0.1 + 0.02 * np.random.default_rng(5).standard_normal(18)
    rounds[6] = -2.0
    assert estimate_pairs(rounds, alpha=ALPHA).lo > 0.02


def test_rounds_that_contradict_each_other_leave_no_interval():
    rounds = np.r_[np.full(12, 0.2), np.full(25, -0.2)] + 0.001 * np.random.default_rng(4).standard_normal(37)
    found = estimate_pairs(rounds, alpha=ALPHA)
    assert not found.lo <= found.effect <= found.hi


def test_rounds_without_any_noise():
    assert estimate_pairs([0.1] * 9, alpha=ALPHA).lo > 0.02
    still = estimate_pairs([0.0] * 8, alpha=0.05)
    assert -0.02 < still.lo <= 0.0 <= still.hi < 0.02


def test_missing_rounds_are_skipped():
    rounds = [0.1, math.nan, 0.11, 0.09, math.inf, 0.1]
    assert estimate_pairs(rounds) == estimate_pairs([0.1, 0.11, 0.09, 0.1])


@pytest.mark.parametrize(
    ("rounds", "arguments", "message"),
    [
        ([], {}, "no finite round"),
        ([0.1], {"alpha": 0.6}, "alpha"),
        ([[0.1]], {}, "one dimension"),
    ],
)
def test_bad_input_is_an_error(rounds, arguments, message):
    with pytest.raises(ValueError, match=message):
        estimate_pairs(rounds, **arguments)


# -- error rate and power, fixed seeds --------------------------------------------------------------------

SYMMETRIC = {
    "gaussian": lambda rng: rng.standard_normal(40),
    "t2": lambda rng: rng.standard_t(2, 40),
    "two values": lambda rng: rng.choice([-1.0, 1.0], 40),
    "bimodal": lambda rng: (
        rng.choice([-1.0, 0.0, 1.0], 40, p=[0.25, 0.5, 0.25]) + 0.05 * rng.standard_normal(40)
    ),
    "spiky": lambda rng: rng.standard_normal(40) + rng.choice([-20.0, 0.0, 20.0], 40, p=[0.05, 0.9, 0.05]),
}


@pytest.mark.parametrize("noise", SYMMETRIC)
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_looking_after_every_round_keeps_the_error_rate(noise, alpha):
    rng = np.random.default_rng(20260110)
    series = 800
    errors = sum(ever_refuted(SYMMETRIC[noise](rng), 0.0, alpha) is not None for _ in range(series))
    # Ville's bound is exact in expectation; three standard errors for counting
    assert errors / series <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / series)


@pytest.mark.parametrize(
    ("percent", "floor", "by", "share"), [(10, 0.02, 9, 0.85), (5, 0.01, 25, 0.9), (5, 0.02, 25, 0.6)]
)
def test_power_at_3_percent_noise(percent, floor, by, share):
    rng = np.random.default_rng(20260111)
    centre = math.log1p(percent / 100)
    rounds = [ever_refuted(rng.normal(centre, 0.03, by), floor) for _ in range(400)]
    assert np.mean([r is not None for r in rounds]) >= share


def test_bounds_cover_the_truth_at_every_round():
    rng = np.random.default_rng(20260112)
    missed = 0
    for _ in range(200):
        rounds = rng.normal(0.05, 0.03, 20)
        missed += any(
            not (e.lo <= 0.05 <= e.hi) for e in (estimate_pairs(rounds[:n], alpha=0.05) for n in (8, 14, 20))
        )
    assert missed / 200 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 200)


# -- noise floor ------------------------------------------------------------------------------------------


def test_there_is_no_floor_where_noise_is_unknown():
    assert noise_floor([]) == 0.0
    assert noise_floor([0.5, -0.5]) == 0.0


def test_the_floor_by_hand():
    # median 0, MAD 0.02, t(4, 0.975) = 2.776
    expected = 2.7764451 * 1.482602 * 0.02 * math.sqrt(math.pi / 2 / 10)
    spread = np.array([-0.04, -0.02, 0.0, 0.02, 0.04])
    assert noise_floor(spread, rounds=10) == pytest.approx(expected, rel=1e-5)
    assert noise_floor(spread + 0.1, rounds=10) == pytest.approx(expected + 0.1, rel=1e-5)


def test_the_floor_falls_with_rounds_and_ignores_one_outlier():
    quiet = 0.02 * np.random.default_rng(6).standard_normal(40)
    loud = quiet.copy()
    loud[3] = 5.0
    assert noise_floor(quiet, rounds=40) < noise_floor(quiet, rounds=10)
    assert noise_floor(loud) == pytest.approx(noise_floor(quiet), rel=0.2)
