"""A wall clock that jumps while nbbench measures: by seconds, by days, and to other centuries."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from tests.torture.kills import stored_values
from tests.torture.tiny import tiny_project, tiny_subject, wrong_values

DAY = 86_400
JUMPS = (-3 * DAY, 3 * DAY, -40 * 365 * DAY, 40 * 365 * DAY, -1, 3600)
"""Seconds by which each run's clock is wrong."""

# Every Python process of the run begins with this.
_SITE = """
import datetime, os
if jump := os.environ.get("NBBENCH_TEST_CLOCK"):
    import time_machine
    there = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=float(jump))
    time_machine.travel(there, tick=True).start()
"""


def clock_jumps(count: int = len(JUMPS)) -> dict[str, object]:
    """Each run resumes under another clock; every value is then checked."""
    if importlib.util.find_spec("time_machine") is None:
        return {"jumps": 0, "why": "time-machine is not installed"}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        site = Path(name) / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(_SITE)
        subject = Path(name) / "subject"
        commits = tiny_subject(subject)
        project = tiny_project(Path(name) / "clock", subject)
        for number, jump in enumerate(JUMPS[:count], 1):
            shifted = {"PYTHONPATH": str(site), "NBBENCH_TEST_CLOCK": str(jump)}
            done = project.run("nbbench", "run", "--limit", str(number), expect=None, **shifted)
            if done.returncode or "Traceback" in done.stderr:
                wrong.append(f"{jump}: exit {done.returncode}: {done.stderr[-300:]}")
        project.run("nbbench", "run")
        wrong += wrong_values(project, commits)
        before = stored_values(project.root)
        project.run("nbbench", "db", "rebuild")
        wrong += [] if stored_values(project.root) == before else ["the database differs from a fresh one"]
    return {"jumps": count, "wrong": wrong}
