"""For all tests."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from nbbench.workloads import read_workloads, use_workloads

# What a test and its processes see of the caller's environment. All else (settings of nbbench, git, asv,
# torch, malloc and pytest, colours, window sizes) is the caller's own business and decides no test.
_KEPT = {
    *("PATH", "TMPDIR", "TEMP", "TMP", "USER", "LOGNAME", "TZ", "LANG", "PYTHONPATH", "PYTHONHOME"),
    *("PYTHONDONTWRITEBYTECODE", "NBBENCH_TEST_POSTGRESQL", "NBBENCH_SHARED_DATA", "NBBENCH_UPDATE_GOLDEN"),
    "NBBENCH_TEST_REQUIRE",
}
_KEPT_PREFIXES = ("LC_", "LD_LIBRARY", "COV", "PYTEST_XDIST", "PYTEST_CURRENT", "PYTEST_VERSION")
for _name in [name for name in os.environ if name not in _KEPT and not name.startswith(_KEPT_PREFIXES)]:
    del os.environ[_name]
# Nor do the user's settings of git (before 2.32 it finds them by HOME alone) and asv's list of machines.
os.environ["HOME"] = tempfile.mkdtemp(prefix="nbbench-home-")
atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)

# Wall-clock decides no test: a busy machine is slow, not wrong. Nor does chance.
settings.register_profile(
    "nbbench", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("nbbench")

# A shell has its background jobs ignore interrupts, and nohup hang-ups, and so would every command that a
# test interrupts or hangs up on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

_E2E = Path(__file__).parent / "e2e"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` looks for end-to-end tests in their folder alone."""
    for item in items:
        if (item.get_closest_marker("e2e") is None) == (_E2E in item.path.parents):
            raise pytest.UsageError(f"the mark e2e and the folder tests/e2e go together: {item.nodeid}")


_DECLARED = read_workloads(Path(__file__).parents[1] / "results" / "workloads.jsonl")


@pytest.fixture(autouse=True)
def declared_workloads():
    """Every test begins with this project's workloads, whatever project the one before it loaded."""
    use_workloads(_DECLARED)
    yield
    use_workloads(None)
