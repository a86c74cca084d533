"""From the end of a captured command to the sealed folder, a full disk included."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from nbbench.capture.foreign import restore_pages, settle_foreign_files
from nbbench.capture.guarded import GuardedRun, outcome_of, reason_of
from nbbench.capture.session import RESERVE, RESERVE_BYTES, Session, load_text
from nbbench.capture.snapshots import WorkTree, inspect_interpreter, package_changes, tree_changes
from nbbench.capture.test_records import copy_record, read_test_records
from nbbench.captured import Findings, RunOutcome
from nbbench.documents import document
from nbbench.errors import HostError, NbbenchError
from nbbench.measure.machine import torch_env_text
from nbbench.record import stamp
from nbbench.record.atomic import write_bytes, write_text
from nbbench.record.redact import redact_text, redact_value
from nbbench.report import capture as pages
from nbbench.report.capture_sentences import failure
from nbbench.report.capture_summary import in_reading_order, summary_md

_T = TypeVar("_T")

TIME_PROGRAM = "/usr/bin/time -v"
_TORCH_ENV_TIMEOUT_S = 60.0
_LOGS = ("pytest.log", "pytest-2.log", "stderr.log", "stderr-2.log")


@dataclass(frozen=True, slots=True)
class Capture:
    """A finished capture: its folder, what it says, and whether the database knows it."""

    folder: Path
    start: pages.CaptureStart
    end: pages.CaptureEnd
    registered: bool = False


def finish(session: Session, start: pages.CaptureStart, ended: GuardedRun) -> Capture:
    """Write the rest of the folder and seal it. Raises HostError when the disk refuses."""
    folder = session.folder
    if ended.disk_error:
        raise HostError(f"cannot write {folder}: {ended.disk_error}", hint="free some space")
    session.anomalies += [*restore_pages(folder, session.opening), *ended.anomalies]
    session.anomalies += settle_foreign_files(folder, {RESERVE, *session.opening, *_LOGS}, session.secrets)
    session.write(pages.EXIT_CODE, f"{ended.exit_code}\n")
    session.notes += ended.notes
    time_source = _write_time(session, start, ended)
    if note := copy_record(session.record, folder / pages.RECORDS, session.secrets):
        session.notes.append(note)
    after = _compare(session)
    torch_env = _optional(session, "torch_env.txt", lambda: _torch_env(session, start), pages.NOT_RECORDED)
    session.write("torch_env.txt", torch_env)
    ended = _as_tested(folder, ended)
    session.request.say("reading the figures …")
    findings = _optional(session, "the figures", lambda: _findings(session, start, ended.outcome), None)
    session.notes += add_files(folder, findings.files if findings else (), session.secrets)
    (folder / RESERVE).unlink(missing_ok=True)
    end = pages.CaptureEnd(
        outcome=ended.outcome,
        exit_code=ended.exit_code,
        reason=ended.reason or _hint(session, ended),
        ended_at=ended.ended_at,
        elapsed_s=(ended.ended_at - ended.started_at).total_seconds(),
        usage=ended.usage,
        signalled=ended.signalled,
        anomalies=tuple(session.anomalies),
        notes=tuple(session.notes),
        findings=findings,
        commit_after=after.commit,
        changes_after=after.changes,
        load_after=load_text(),
        time_source=time_source,
    )
    return close_folder(folder, start, end, session.secrets)


def last_words(
    session: Session, start: pages.CaptureStart, ended: GuardedRun | None, error: Exception
) -> None:
    """The disk refused: give the reserve back, and use it to say so as far as that is possible."""
    with contextlib.suppress(OSError, NbbenchError):
        (session.folder / RESERVE).unlink(missing_ok=True)
        session.write(pages.EXIT_CODE, f"{ended.exit_code if ended else 'unknown'}\n")
        end = pages.CaptureEnd(
            outcome=RunOutcome.DISK_FULL,
            exit_code=ended.exit_code if ended else None,
            reason=f"the evidence is not complete: {error}",
            anomalies=tuple(session.anomalies),
            notes=tuple(session.notes),
        )
        close_folder(session.folder, start, end, session.secrets)
    with contextlib.suppress(OSError):
        session.folder.rmdir()  # not a single file could be written


def close_folder(
    folder: Path, start: pages.CaptureStart, end: pages.CaptureEnd, secrets: tuple[str, ...]
) -> Capture:
    """Replace the opening pages by the final ones and seal the folder. Raises HostError.

    Whatever `end` quotes loses its credentials here; `start` went through the same before.
    """
    names = {path.name for path in folder.iterdir()} | {pages.METRICS, stamp.CHECKSUMS}
    end = replace(end, notes=(*end.notes, *stamp.check_folder(folder)), files=in_reading_order(names))
    end = redact_value(end, secrets)
    for name, text in {
        pages.SUMMARY: summary_md(start, end),
        pages.METRICS: pages.metrics_json(start, end),
        pages.METADATA: pages.metadata_json(start, end),
    }.items():
        write_text(folder / name, text)
    stamp.seal(folder)
    return Capture(folder, start, end)


def add_files(folder: Path, files: Iterable[tuple[str, bytes]], secrets: tuple[str, ...]) -> list[str]:
    """Files of the figures, the smallest first, as long as they fit the layout; notes about the others."""
    used = sum(path.stat().st_size for path in folder.iterdir())
    notes = []
    for name, raw in sorted(files, key=lambda item: len(item[1])):
        data = _clean_json(raw, secrets)
        problem = stamp.name_problem(name) or stamp.content_problem(name, data)
        if not problem and used + len(data) > stamp.MAX_FOLDER_BYTES - RESERVE_BYTES:
            problem = "does not fit into the folder's 20 MiB"
        if not problem and (folder / name).exists():
            problem = "would replace another file"
        if problem:
            notes.append(f"{name} is left out: it {problem}")
            continue
        write_bytes(folder / name, data)
        used += len(data)
    return notes


def _clean_json(data: bytes, secrets: tuple[str, ...]) -> bytes:
    """A JSON file, rewritten only where a credential stood; what is no JSON is no evidence of ours."""
    found = json.loads(data)
    clean = redact_value(found, secrets)
    return data if clean == found else json.dumps(clean, separators=(",", ":")).encode("ascii")


def _write_time(session: Session, start: pages.CaptureStart, ended: GuardedRun) -> str:
    """Write time.txt; returns where its figures come from."""
    with contextlib.suppress(OSError):
        if text := (session.scratch / "time.txt").read_text(encoding="utf-8", errors="replace"):
            session.write("time.txt", text)
            return TIME_PROGRAM
    why = "GNU time is missing, or was killed"
    if ended.usage is None:
        why = "nothing is known of the command's end" if ended.outcome is RunOutcome.SIGNAL else ended.reason
    session.write("time.txt", pages.time_txt(ended.usage, start.command, ended.exit_code, why))
    return f"wait4: {why}"


def _compare(session: Session) -> WorkTree:
    """The checkout after the run; what the run changed that it may not change is an anomaly."""
    after = session.tree_now()
    session.anomalies += tree_changes(session.before, after)
    if session.interpreter is not None:
        packages = inspect_interpreter(session.python, session.environ)
        session.anomalies += package_changes(session.interpreter, packages)
        if packages is None:
            session.anomalies.append("the interpreter no longer answers after the run")
    return after


def _torch_env(session: Session, start: pages.CaptureStart) -> str:
    if not session.python:
        return "# not recorded: which interpreter the command uses is not known\n"
    if not (session.interpreter and session.interpreter.version_of("torch")):
        return f"# not recorded: torch is not installed for {session.python}\n"
    session.request.say("recording torch_env.txt …")
    return torch_env_text(
        session.python, _TORCH_ENV_TIMEOUT_S, environ=session.environ, versions=dict(start.versions)
    )


def _as_tested(folder: Path, ended: GuardedRun) -> GuardedRun:
    """The same, where the plugin's record knows better: whose exit code it is, whether a test ran."""
    from nbbench.capture.findings import setup_error

    if ended.outcome is not RunOutcome.FAILED:
        return ended
    run = read_test_records(folder / pages.RECORDS)
    if run.exit_status == ended.exit_code:  # pytest, by whatever launcher it was started
        outcome = outcome_of(ended.exit_code, True)
        ended = replace(ended, outcome=outcome, reason=reason_of(outcome, ended.exit_code))
    broken = setup_error(run)
    if broken is None or ended.outcome is not RunOutcome.FAILED:
        return ended
    why = f"an error before the test's own code ran: {failure(broken)}"
    return replace(ended, outcome=RunOutcome.SETUP_ERROR, reason=why)


def _findings(session: Session, start: pages.CaptureStart, outcome: RunOutcome) -> Findings:
    from nbbench.capture.findings import findings_of

    found = findings_of(
        session.settings,
        start,
        outcome,
        session.folder,
        environment=session.environ,
        trace=session.trace if session.request.profile else None,
        probe=session.request.probe and session.settings.is_project,
        say=session.request.say,
    )
    if not found.audit:
        return found
    audit = document("dtype-snapshot", found.audit).encode()
    return replace(found, files=(*found.files, (pages.DTYPES, audit)))


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


def _hint(session: Session, ended: GuardedRun) -> str:
    """What stderr says of an exit code that says nothing."""
    if ended.outcome is not RunOutcome.PASSED:
        with contextlib.suppress(OSError):
            text = (session.folder / "stderr.log").read_bytes()[-4096:].decode("utf-8", "replace")
            if "unrecognized arguments" in text and "--timeout" in text:
                return "pytest does not know --timeout: pytest-timeout is not installed for it"
    return ""
