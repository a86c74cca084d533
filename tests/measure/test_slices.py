"""Sides that run slices in turn, acted by threads at the other ends of the sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from random import Random
from types import SimpleNamespace

import pytest

from nbbench.errors import HostError
from nbbench.measure.slices import MOST_REPEATS, Ended, SidesEnded, take_slices
from nbbench.measure.warm_client import JobOutcome

Script = Callable[[dict], dict | None]


def process_of(script: Script) -> Callable[[str, list[str]], SimpleNamespace]:
    """A `begin` whose sides answer by `script`; None ends a side, as a failing benchmark does."""
    ends = []

    def begin(side: str, argv: list[str]) -> SimpleNamespace:
        mine, theirs = socket.socketpair()
        ends.append(theirs)

        def run() -> None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
                line.connect(json.loads(argv[2])["address"])
                with line.makefile("rw", encoding="utf-8") as stream:
                    for order in stream:
                        answer = script(json.loads(order) | {"side": side})
                        if answer is None:
                            return
                        stream.write(json.dumps(answer) + "\n")
                        stream.flush()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def finish() -> JobOutcome:
            thread.join(10)
            return JobOutcome("first\nNameError: n_steps\n", 1, {})

        return SimpleNamespace(suite=mine, finish=finish)

    return begin


def answers(order: dict) -> dict | None:
    if order["op"] == "set up":
        return {"skipped": False}
    if order["op"] == "canary":
        return {"frames_s": 1.0, "arithmetic_s": 2.0}
    if order["op"] == "slice":
        return {"samples": [2.0, 1.0], "disturbed": 0, "cpu_s": 0.1}
    return None


def test_any_number_of_sides_runs_in_slices() -> None:
    found = take_slices(process_of(answers), ("a", "b", "c"), "", "time_run", Random(1), slices=3)
    assert found.samples == dict.fromkeys(found.samples, (1.0, 1.0, 1.0))
    assert sorted(found.samples) == ["a", "b", "c"]
    assert found.tries == 3
    assert found.canaries["arithmetic_s"]["b"] == (2.0, 2.0)


def test_a_slice_without_a_clean_sample_is_taken_again_by_all() -> None:
    def script(order: dict) -> dict | None:
        disturbed = order["op"] == "slice" and order["side"] == "b"
        return {"samples": [], "disturbed": 1, "cpu_s": 0.1} if disturbed else answers(order)

    found = take_slices(process_of(script), ("a", "b"), "", "time_run", Random(1), slices=2)
    assert found.samples == {"a": (), "b": ()}
    assert found.tries == 2 + MOST_REPEATS


@pytest.mark.parametrize("last", ["set up", "canary", "slice"])
def test_a_side_that_ends_is_named_with_its_last_words(last: str) -> None:
    def script(order: dict) -> dict | None:
        return None if order["side"] == "b" and order["op"] == last else answers(order)

    with pytest.raises(SidesEnded) as ended:
        take_slices(process_of(script), ("a", "b"), "", "time_run", Random(1))
    assert ended.value.sides == {"b": Ended("NameError: n_steps")}


def test_sides_that_skip_themselves_are_named_both() -> None:
    """C7: that neither side can run a series is another thing than that one cannot."""
    with pytest.raises(SidesEnded) as ended:
        take_slices(process_of(lambda order: {"skipped": True}), ("a", "b"), "", "time_run", Random(1))
    assert ended.value.sides == dict.fromkeys("ab", Ended("skipped: NameError: n_steps", skipped=True))


def test_a_path_that_no_socket_can_have(tmp_path):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with pytest.raises(HostError, match="no socket can be made in") as caught:
        take_slices(process_of(answers), ("a", "b"), "", "time_run", Random(1), scratch=deep)
    assert "TMPDIR" in caught.value.hint
    assert list(deep.iterdir()) == []
