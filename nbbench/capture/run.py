"""A guarded run from its checks to its finished evidence folder.

The folder is of use from the first second: command, environment, journal and a summary that says BLOCKED
lie in it before the command starts, and are replaced when it has ended.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from nbbench.capture.finish import Capture, finish, last_words
from nbbench.capture.guarded import GuardedCommand, GuardedRun, gnu_time, run_guarded
from nbbench.capture.session import CaptureRequest, capture_start, open_folder, open_session
from nbbench.config import Settings
from nbbench.errors import HostError
from nbbench.record.atomic import host_error
from nbbench.record.stamp import create_folder

SCRATCH_PREFIX = "nbbench-capture-"


def run_capture(settings: Settings, request: CaptureRequest, environ: Mapping[str, str]) -> Capture:
    """Check, run, and write the evidence folder.

    Raises UsageError for a broken guard without sign-off, HostError when the machine cannot
    start or keep the capture; a folder that was begun then stays, and says BLOCKED.
    """
    with _scratch() as scratch:
        session = open_session(settings, request, environ, scratch)
        started_at = datetime.now(UTC)
        session.folder = create_folder(request.reports, request.cluster, started_at)
        request.say(f"evidence in {session.folder}")
        start = capture_start(session, started_at)
        ended: GuardedRun | None = None
        try:
            open_folder(session, start)
            command = GuardedCommand(
                argv=request.command,
                cwd=request.subject,
                environ=session.environ,
                folder=session.folder,
                timeout_s=session.timeout_s,
                time_program=gnu_time(),
                time_file=scratch / "time.txt",
            )
            ended = run_guarded(command, request.screens)
            done = finish(session, start, ended)
        except (HostError, OSError) as error:
            refused = host_error(session.folder, error) if isinstance(error, OSError) else error
            last_words(session, start, ended, refused)
            raise refused from error
    return registered(settings, done, request.say)


def registered(settings: Settings, done: Capture, say: Callable[[str], None]) -> Capture:
    """Enter a sealed folder and its figures into the project's database; without one it is as good."""
    if not settings.is_project:
        say("the folder is not registered: there is no nbbench project here (asv.conf.json); see --root")
        return done
    try:
        from nbbench.record.folders import register_folder
        from nbbench.record.refresh import open_store

        with open_store(settings) as store:
            register_folder(settings, store, done.folder)
    except Exception as error:
        say(f"the folder is not registered in the database: {error or type(error).__name__}")
        return done
    return replace(done, registered=True)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
