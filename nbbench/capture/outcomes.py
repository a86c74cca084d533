"""What exit codes mean, by the conventions of shells, timeout(1) and pytest."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from nbbench.capture.guard_rules import is_pytest
from nbbench.captured import RunOutcome

EXIT_TIMEOUT = 124
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
SIGNAL_BASE = 128
NO_SUCH_TEST = 4  # pytest's usage error: what the command line names is not there
_PYTEST_NO_TESTS = (NO_SUCH_TEST, 5)
_PYTEST_ERRORS = (2, 3)
_MAX_SIGNAL = 64


def startable(argv: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> int:
    """0 when the program can be started, else the shells' exit code: 127 not found, 126 not executable."""
    name = argv[0]
    if "/" in name:
        places = [cwd / name]
    else:
        places = [cwd / folder / name for folder in environ.get("PATH", os.defpath).split(os.pathsep)]
    found = EXIT_NOT_FOUND
    for place in places:
        try:
            mode = place.stat().st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(mode) and os.access(place, os.X_OK):
            return 0
        found = EXIT_NOT_EXECUTABLE
    return found


def outcome_of(code: int, argv: Sequence[str]) -> RunOutcome:
    """What an exit code means, by the conventions of shells, timeout(1) and pytest."""
    by_code = {
        0: RunOutcome.PASSED,
        EXIT_TIMEOUT: RunOutcome.TIMEOUT,
        EXIT_NOT_EXECUTABLE: RunOutcome.NOT_EXECUTABLE,
        EXIT_NOT_FOUND: RunOutcome.NOT_FOUND,
    }
    if code in by_code:
        return by_code[code]
    if SIGNAL_BASE < code <= SIGNAL_BASE + _MAX_SIGNAL:
        return RunOutcome.SIGNAL
    if is_pytest(argv) and code in _PYTEST_NO_TESTS:
        return RunOutcome.NO_TESTS
    if is_pytest(argv) and code in _PYTEST_ERRORS:
        return RunOutcome.PYTEST_ERROR
    return RunOutcome.FAILED
