"""A wall clock that jumps while nbbench measures: by hours back and forth, and to other centuries."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.torture.kills import stored_values
from tests.torture.tiny import tiny_project, tiny_subject, wrong_values

JUMPS = ("-3d", "+3d", "-40y", "+40y", "-1s", "+1h")


def clock_jumps() -> dict[str, object]:
    """Each run resumes under another clock, with `faketime`; every value is then checked."""
    if shutil.which("faketime") is None:
        return {"jumps": 0, "why": "faketime is not installed"}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        subject = Path(name) / "subject"
        commits = tiny_subject(subject)
        project = tiny_project(Path(name) / "clock", subject)
        for number, jump in enumerate(JUMPS, 1):
            library = {"LD_PRELOAD": _library(), "FAKETIME": jump, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            done = project.run("nbbench", "run", "--limit", str(number), expect=None, **library)
            if done.returncode or "Traceback" in done.stderr:
                wrong.append(f"{jump}: exit {done.returncode}: {done.stderr[-300:]}")
        project.run("nbbench", "run")
        wrong += wrong_values(project, commits)
        before = stored_values(project.root)
        project.run("nbbench", "db", "rebuild")
        wrong += [] if stored_values(project.root) == before else ["the database differs from a fresh one"]
    return {"jumps": len(JUMPS), "wrong": wrong}


def _library() -> str:
    """Where Debian's package has the library that a process loads first."""
    found = [str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    return found[0] if found else ""
