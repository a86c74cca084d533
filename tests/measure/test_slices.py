"""Sides that run slices in turn, acted by threads at the other ends of the pipes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from nbbench.measure.pair import MOST_REPEATS, Sample, SidesEnded, take_slices
from nbbench.measure.warm_client import JobOutcome

Script = Callable[[str, str], Any]


def process_of(script: Script) -> Callable[[str, list[str], int], SimpleNamespace]:
    """A `begin` whose sides answer by `script`; None ends a side, as a failing benchmark does."""

    def begin(side: str, argv: list[str], descriptor: int) -> SimpleNamespace:
        line: Connection[Any, Any] = Connection(os.dup(descriptor))

        def run() -> None:
            step = "set up"
            with contextlib.suppress(EOFError), line:
                while True:
                    order = line.recv()
                    what = step if step == "set up" else "canary" if order is None else "slice"
                    step = ""
                    if (answer := script(side, what)) is None:
                        return
                    line.send(answer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def finish() -> JobOutcome:
            thread.join(60)
            return JobOutcome("first\nNameError: n_steps\n", 1, {})

        return SimpleNamespace(finish=finish)

    return begin


def answers(side: str, order: str) -> Any:
    canary = {"frames_s": 1.0, "arithmetic_s": 2.0}
    return {"set up": "ready", "canary": canary, "slice": ([2.0, 1.0], 0.5, 0.1)}[order]


def test_any_number_of_sides_runs_in_slices() -> None:
    found = take_slices(process_of(answers), ("a", "b", "c"), "", "time_run", Random(1), slices=3)
    assert found.samples == dict.fromkeys("abc", (1.0, 1.0, 1.0))
    assert found.canaries["arithmetic_s"]["b"] == (2.0, 2.0)


@pytest.mark.parametrize("clean", [0, 1])
def test_a_slice_without_a_clean_sample_is_taken_again_by_all(clean: int) -> None:
    """Where none of them is clean, what they took without their waiting has to do."""
    asked = []

    def script(side: str, order: str) -> Any:
        asked.append((side, order))
        waits = (side, order) == ("b", "slice") and asked.count(("b", "slice")) != 1 + clean
        return ([], 0.5, 0.1) if waits else answers(side, order)

    found = take_slices(process_of(script), ("a", "b"), "", "time_run", Random(1), slices=2)
    assert found.samples == dict.fromkeys("ab", (1.0,) if clean else (0.5, 0.5))
    assert found.waited is not bool(clean)
    assert asked.count(("a", "slice")) == 1 + 2 + (MOST_REPEATS if clean else 0)  # the first does not count


@pytest.mark.parametrize("last", ["set up", "canary", "slice"])
def test_a_side_that_ends_is_named_with_its_last_words(last: str) -> None:
    def script(side: str, order: str) -> Any:
        return None if (side, order) == ("b", last) else answers(side, order)

    with pytest.raises(SidesEnded) as ended:
        take_slices(process_of(script), ("a", "b"), "", "time_run", Random(1))
    assert ended.value.sides == {"b": Sample(None, "NameError: n_steps")}


def test_sides_that_skip_themselves_are_named_both() -> None:
    """C7: that neither side can run a series is another thing than that one cannot."""
    with pytest.raises(SidesEnded) as ended:
        take_slices(process_of(lambda *_: "skipped"), ("a", "b"), "", "time_run", Random(1))
    assert ended.value.sides == dict.fromkeys("ab", Sample(None, "skipped: NameError: n_steps", True))
