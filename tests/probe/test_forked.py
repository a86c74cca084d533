"""Processes that a subject forks and lets go on: they stop where the subject's call returns."""

from __future__ import annotations

import os
import signal

import pytest

from nbbench.probe.forked import forked
from nbbench.probe.resources import alone


def test_a_copy_stops_where_the_call_returns(tmp_path):
    """Without that, eight runs would be 256 processes, and each would write what it counted."""
    told = tmp_path / "told"

    def fork_once_and_go_on():
        if not told.exists():
            told.touch()
            os.fork()
        return 1

    def record():
        total = sum(alone(fork_once_and_go_on) for _ in range(3))
        with told.open("a") as stream:
            stream.write("one\n")
        return total

    assert forked(record, int) == 3
    assert told.read_text() == "one\n"


def test_a_copy_that_raises_stops_too(tmp_path):
    def fork_and_raise():
        if os.fork() == 0:
            raise ValueError
        os.wait()
        return 1

    def record():
        try:
            return alone(fork_and_raise)
        except ValueError:
            (tmp_path / "went on").touch()
            raise

    assert forked(record, int) == 1
    assert not (tmp_path / "went on").exists()


def test_a_copy_that_never_ends_is_not_waited_for():
    """It holds the pipe open on which the counts come."""

    def record():
        if (copy := os.fork()) == 0:
            signal.pause()
        return copy

    copy = forked(record, int)
    assert isinstance(copy, int)
    os.kill(copy, signal.SIGKILL)


@pytest.mark.parametrize(
    ("said", "told"), [(("stop",), "KeyboardInterrupt: stop"), ((), "KeyboardInterrupt")]
)
def test_an_interrupt_that_the_subject_raises_is_its_error(said, told):
    def run():
        raise KeyboardInterrupt(*said)

    assert forked(run, int) == told
