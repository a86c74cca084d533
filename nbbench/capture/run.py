"""A guarded run from its checks to its finished evidence folder, which is of use from the first second."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from nbbench.capture.guarded import GuardedCommand, GuardedRun, gnu_time, outcome_of
from nbbench.capture.guards import is_isolated, is_pytest
from nbbench.capture.session import CaptureRequest, Session, load_text, package_changes, tree_changes
from nbbench.capture.test_records import copy_record, keep_trace, read_test_records
from nbbench.captured import Capture, RunOutcome, TestRun
from nbbench.config import Settings
from nbbench.documents import document
from nbbench.errors import HostError
from nbbench.measure.machine import torch_env_text
from nbbench.record import stamp
from nbbench.record.atomic import host_error, write_text
from nbbench.record.redact import redact_text, redact_value
from nbbench.report import capture as pages
from nbbench.report.capture import failure
from nbbench.report.stamp_page import in_reading_order, summary_md

_T = TypeVar("_T")

_LOGS = ("pytest.log", "stderr.log")
_TORCH_ENV_TIMEOUT_S = 60.0
_ENDED = ("outcome", "exit_code", "reason", "ended_at", "usage", "signalled")
_VERSIONS = (
    *("python", "torch", "numpy", "scipy", "triton", "mkl", "intel-openmp"),
    *("pytest", "pytest-timeout", "pytest-xdist"),
)


def run_capture(
    settings: Settings, request: CaptureRequest, environ: Mapping[str, str]
) -> tuple[Path, Capture]:
    """Check, run, and write the evidence folder.

    Raises UsageError for a broken guard without sign-off, HostError when the machine cannot
    start or keep the capture (a full disk); a folder that was begun then stays, and says BLOCKED.
    """
    with contextlib.ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="nbbench-capture-", ignore_cleanup_errors=True)
        session = Session(settings, request, environ, Path(stack.enter_context(scratch)))
        session.check()
        session.open_folder()
        try:
            session.write_opening()
            command = GuardedCommand(
                argv=request.command,
                cwd=request.subject,
                environ=session.environ,
                folder=session.folder,
                scratch=session.scratch,
                timeout_s=session.capture.timeout_s,
                time_program=gnu_time(),
                screens=request.screens,
            )
            stack.callback(command.release)
            _finish(session, command.run())
        except (HostError, OSError) as error:
            with contextlib.suppress(OSError):
                session.folder.rmdir()  # not a single file could be written
            if isinstance(error, HostError):
                raise
            raise host_error(session.folder, error) from error
    return session.folder, session.capture


def _finish(session: Session, ended: GuardedRun) -> None:
    """Write the rest of the folder and seal it. Raises HostError when the disk refuses."""
    _settle_folder(session)
    session.write(pages.EXIT_CODE, f"{ended.exit_code}\n")
    session.notes += ended.notes
    time_source = _write_time(session, ended)
    records = session.folder / pages.RECORDS
    if note := copy_record(session.scratch / "record.jsonl", records, session.secrets):
        session.notes.append(note)
    after = session.tree_now()
    session.anomalies += tree_changes(session.before, after)
    run = read_test_records(records)
    session.anomalies += package_changes(run)
    versions = tuple((name, version) for name in _VERSIONS if (version := run.version_of(name)))
    torch_env = _optional(session, "torch_env.txt", lambda: _torch_env(session, run), pages.NOT_RECORDED)
    session.write("torch_env.txt", torch_env)
    ended = _as_tested(session, run, ended)
    capture = replace(
        session.capture,
        **{name: getattr(ended, name) for name in _ENDED},
        elapsed_s=(ended.ended_at - ended.started_at).total_seconds(),
        time_source=time_source,
        python=run.executable,
        versions=versions,
        changes_after=after.changes,
        load_after=load_text(),
    )
    session.request.say("reading the figures …")
    session.capture = _optional(session, "the figures", lambda: _with_findings(session, capture), capture)
    if session.request.profile:
        session.notes += keep_trace(session.scratch / "profile.json", session.folder, session.secrets)
    _seal(session)


def _seal(session: Session) -> None:
    """Replace the opening pages by the final ones and seal the folder. Raises HostError."""
    names = {path.name for path in session.folder.iterdir()} | {pages.METRICS, stamp.CHECKSUMS}
    found = session.capture.findings
    notes = [*session.notes, *(found.notes if found else ())]
    capture = replace(
        session.capture,
        anomalies=(*session.anomalies, *(found.anomalies if found else ())),
        notes=tuple(dict.fromkeys(notes)),
        files=in_reading_order(names),
    )
    session.capture = redact_value(capture, session.secrets)
    for name, text in {
        pages.SUMMARY: summary_md(session.capture),
        pages.METRICS: pages.metrics_json(session.capture),
        pages.METADATA: pages.metadata_json(session.capture),
    }.items():
        write_text(session.folder / name, text)
    stamp.seal(session.folder)


def _settle_folder(session: Session) -> None:
    """The command may have reached its own folder: what it put there goes, pages are written again."""
    session.folder.mkdir(parents=True, exist_ok=True)
    own = {*_LOGS, *session.opening}
    for path in sorted(session.folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in own:
            path.unlink()
        if path.name not in own:
            shown = redact_text(ascii(path.name)[1:-1], session.secrets)
            session.anomalies.append(f"the command put {shown} into the evidence folder; it is removed")
    for name, text in session.opening.items():
        write_text(session.folder / name, text)


def _write_time(session: Session, ended: GuardedRun) -> str:
    """Write time.txt; returns where its figures come from."""
    with contextlib.suppress(OSError):
        if text := (session.scratch / "time.txt").read_text(encoding="utf-8", errors="replace"):
            session.write("time.txt", text)
            return "/usr/bin/time -v"
    why = "GNU time is missing, or was killed"
    if ended.usage is None:
        why = ended.reason or "nothing is known of the command's end"
    session.write("time.txt", pages.time_txt(ended.usage, why))
    return f"wait4: {why}"


def _torch_env(session: Session, run: TestRun) -> str:
    if not run.executable:
        return "# not recorded: no test session told its interpreter\n"
    if not run.version_of("torch"):
        return f"# not recorded: torch is not installed for {run.executable}\n"
    session.request.say("recording torch_env.txt …")
    return torch_env_text(
        run.executable, _TORCH_ENV_TIMEOUT_S, environ=session.environ, versions=run.packages
    )


def _with_findings(session: Session, capture: Capture) -> Capture:
    from nbbench.capture.findings import findings_of

    found = findings_of(
        session.settings,
        capture,
        session.folder,
        environment=session.environ,
        audited=session.settings.is_project,
        say=session.request.say,
    )
    if found.audit:
        session.write(pages.DTYPES, document("dtype-snapshot", found.audit))
    return replace(capture, findings=found)


def _optional(session: Session, what: str, step: Callable[[], _T], otherwise: _T) -> _T:
    """A step whose failure, or the user's impatience, must not cost the capture."""
    try:
        return step()
    except KeyboardInterrupt:
        session.anomalies.append(f"{what}: interrupted by the user")
    except Exception as error:
        said = redact_text(f"{type(error).__name__}: {error}", session.secrets).splitlines()[0]
        session.anomalies.append(f"{what} could not be had ({said})")
    return otherwise


def _as_tested(session: Session, run: TestRun, ended: GuardedRun) -> GuardedRun:
    """The same, where the plugin's record knows better: whose exit code it is, whether a test ran."""
    from nbbench.capture.findings import setup_error

    command, outcomes = session.request.command, {test.outcome for test in run.tests}
    if ended.outcome is RunOutcome.PASSED and outcomes == {"skipped"}:
        return replace(ended, outcome=RunOutcome.SKIPPED, reason="every test was skipped")
    if ended.outcome is not RunOutcome.FAILED:
        return ended
    if run.exit_status == ended.exit_code:  # pytest, by whatever launcher it was started
        outcome, reason = outcome_of(ended.exit_code, True)
        ended = replace(ended, outcome=outcome, reason=reason)
    elif is_pytest(command) and not is_isolated(command) and not run.started:
        return replace(ended, outcome=RunOutcome.PYTEST_ERROR, reason="no test session began; see stderr.log")
    broken = setup_error(run)
    if broken is None or ended.outcome is not RunOutcome.FAILED:
        return ended
    why = f"an error before the test's own code ran: {failure(broken)}"
    return replace(ended, outcome=RunOutcome.SETUP_ERROR, reason=why)
