"""Replayed gates on recorded rounds: the gate's promises, on real noise."""

from __future__ import annotations

from random import Random
from statistics import fmean

import pytest

from tests.bench import gate_samples
from tests.bench.gate_replay import RecordedPair, replay_gate, wilson


def test_equal_code_passes_and_never_blocks() -> None:
    found = gate_samples.replay("same", 60, 1, half="tuning")
    assert not any(one.blocks for one in found)
    assert fmean(one.passes for one in found) > 0.8


@pytest.mark.parametrize("head", ["p3", "p5"])
def test_planted_work_blocks_within_five_minutes(head: str) -> None:
    found = gate_samples.replay(head, 20, 2, half="tuning")
    assert all(one.blocks for one in found)
    assert max(one.seconds for one in found) <= 300


def test_one_slow_series_of_eight_is_found() -> None:
    name = "vectorisation.Sources.time_generate"
    found = gate_samples.replay("p5", 20, 3, only=name, half="tuning")
    assert [one.decisions[name] for one in found] == ["slower"] * 20
    others = [value for one in found for key, value in one.decisions.items() if key != name]
    assert "slower" not in others


def test_seconds_and_servers_are_charged() -> None:
    rounds = [[{"a": RecordedPair(0.0001 * i, 10.0)} for i in range(3)]]
    one = replay_gate(rounds, Random(1), floors={"a": 0.01}, budget_s=60.0, server_s=5.0, start_s=10.0)
    assert (one.rounds, one.seconds) == (4, 60.0)  # 10 + 5 + 30, then 5 + 10


def test_wilson() -> None:
    assert wilson(0, 2000) == pytest.approx((0.0, 0.0019), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
