"""For all tests."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

from nbbench.workloads import read_workloads, use_workloads

# Wall-clock decides no test: a busy machine is slow, not wrong.
settings.register_profile("nbbench", deadline=None)
settings.load_profile("nbbench")

# A shell has its background jobs ignore interrupts, and so would every command that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_DECLARED = read_workloads(Path(__file__).parents[1] / "results" / "workloads.jsonl")


@pytest.fixture(autouse=True)
def declared_workloads():
    """Every test begins with this project's workloads, whatever project the one before it loaded."""
    use_workloads(_DECLARED)
    yield
    use_workloads(None)
