"""What processes that a benchmark starts by itself waited for a core: cold starts are timed in such ones."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbbench.measure import kernel, warm_server


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The state of each process whose waiting is read; each waited for a quarter of a second."""
    found: list[str] = []

    def run_delay(pid: int) -> float:
        found.append(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0])
        return 0.25

    monkeypatch.setattr(subprocess, "Popen", subprocess.Popen)  # what replaces it ends with the test
    monkeypatch.setattr(kernel, "run_delay", run_delay)
    return found


def test_each_is_read_once_when_it_has_ended_and_before_it_is_reaped(states: list[str]) -> None:
    waited = kernel.watch_started()
    assert waited() == 0.0
    assert subprocess.run(["sh", "-c", "echo x; exit 3"], capture_output=True).returncode == 3
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.communicate(b"y") == (b"y", None)
        assert started.wait() == 0
    assert states == ["Z", "Z"] and waited() == 0.5


def test_one_that_somebody_else_reaped_is_no_error(states: list[str]) -> None:
    waited = kernel.watch_started()
    started = subprocess.Popen(["true"])
    started.poll()
    while started.returncode is None:
        started.poll()
    assert started.wait() == 0 and waited() == 0.0 and not states


@pytest.mark.parametrize(
    ("benchmark", "told"),
    [("cold.Start.timeraw_import-0", [{"started_delay_s": 0.25}]), ("warm.time_run-0", [{}])],
)
def test_a_job_that_times_in_processes_of_their_own_tells_their_waiting(
    states: list[str], monkeypatch: pytest.MonkeyPatch, benchmark: str, told: list[dict[str, Any]]
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(warm_server, "_command", lambda argv: subprocess.run(["true"], check=True))
    line: Any = SimpleNamespace(send=sent.append)
    warm_server._command_between({}, ["run", "suite", benchmark, "{}", "None"], line)
    assert sent == told
