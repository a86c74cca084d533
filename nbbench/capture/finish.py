"""From the end of a captured command to the sealed folder, a full disk included."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from nbbench.capture.foreign import restore_pages, settle_foreign_files
from nbbench.capture.guard_rules import is_pytest
from nbbench.capture.guarded import GuardedRun
from nbbench.capture.record_copy import copy_record
from nbbench.capture.session import OPENING, RESERVE, RESERVE_BYTES, Session
from nbbench.capture.snapshots import WorkTree, inspect_interpreter, package_changes, tree_changes
from nbbench.capture.test_records import read_test_records
from nbbench.capture.verdict import setup_error
from nbbench.captured import CaptureFacts, Enrichment, RunOutcome, RunUsage
from nbbench.errors import HostError, NbbenchError
from nbbench.measure.machine import torch_env_text
from nbbench.model import to_plain
from nbbench.record import stamp
from nbbench.record.atomic import write_bytes
from nbbench.record.redact import redact_text, redact_value, secret_values
from nbbench.report import capture as pages
from nbbench.report.capture_summary import in_reading_order, summary_md

_T = TypeVar("_T")

TIME_PROGRAM = "/usr/bin/time -v"
_TORCH_ENV_TIMEOUT_S = 60.0
# What nbbench has in the folder when the command ends.
_OWN = frozenset({RESERVE, *OPENING, "pytest.log", "pytest-2.log", "stderr.log", "stderr-2.log"})


@dataclass(frozen=True, slots=True)
class Capture:
    """A finished capture: its folder, what it says, and whether the database knows it."""

    folder: Path
    start: pages.CaptureStart
    end: pages.CaptureEnd
    registered: bool = False


def finish(session: Session, start: pages.CaptureStart, ended: GuardedRun) -> Capture:
    """Write the rest of the folder and seal it. Raises HostError when the disk refuses."""
    if ended.disk_error:
        raise HostError(f"cannot write {session.folder}: {ended.disk_error}", hint="free some space")
    session.anomalies += [*restore_pages(session.folder, session.opening), *ended.anomalies]
    session.anomalies += settle_foreign_files(session.folder, _OWN, session.environ)
    session.write(pages.EXIT_CODE, f"{ended.exit_code}\n")
    session.notes += [session.clean(note) for note in ended.notes]
    time_source = _write_time(session, start, ended)
    if note := copy_record(session.record, session.folder / pages.RECORDS, session.environ):
        session.notes.append(note)
    after = _compare(session)
    torch_env = _optional(session, "torch_env.txt", lambda: _torch_env(session, start), pages.NOT_RECORDED)
    session.write("torch_env.txt", torch_env)
    ended = _as_tested(session, ended)
    facts = _facts(session, start, ended)
    enrichment = _enrich(session, facts)
    _add_files(session, dict(enrichment.files) if enrichment else _untrimmed_trace(session))
    (session.folder / RESERVE).unlink(missing_ok=True)
    session.notes += stamp.check_folder(session.folder)
    end = pages.CaptureEnd(
        facts=facts,
        reason=session.clean(ended.reason) or _hint(session, ended),
        anomalies=(*session.anomalies, *(enrichment.anomalies if enrichment else ())),
        notes=tuple(session.notes),
        enrichment=enrichment,
        commit_after=after.commit,
        changes_after=session.changes(after),
        load_after=session.load(),
        time_source=time_source,
        files=listing(session.folder),
    )
    return close_folder(session.folder, start, end)


def last_words(
    session: Session, start: pages.CaptureStart, ended: GuardedRun | None, error: Exception
) -> None:
    """The disk refused: give the reserve back, and use it to say so as far as that is possible."""
    with contextlib.suppress(OSError, NbbenchError):
        (session.folder / RESERVE).unlink(missing_ok=True)
        code = str(ended.exit_code) if ended else "unknown"
        session.write(pages.EXIT_CODE, f"{code}\n")
        end = pages.CaptureEnd(
            facts=None,
            reason=session.clean(f"the evidence is not complete: {error}"),
            anomalies=tuple(session.anomalies),
            notes=tuple(session.notes),
            exit_code_text=code,
            files=listing(session.folder),
        )
        close_folder(session.folder, start, end)
    with contextlib.suppress(OSError):
        session.folder.rmdir()  # not a single file could be written


def close_folder(folder: Path, start: pages.CaptureStart, end: pages.CaptureEnd) -> Capture:
    """Replace the opening pages by the final ones and seal the folder. Raises HostError."""
    for name, text in {
        pages.SUMMARY: summary_md(start, end),
        pages.METRICS: pages.metrics_json(start, end),
        pages.METADATA: pages.metadata_json(start, end),
    }.items():
        write_bytes(folder / name, text.encode("utf-8", errors="replace"))
    stamp.seal(folder)
    return Capture(folder, start, end)


def listing(folder: Path) -> tuple[str, ...]:
    """The names that a finished folder will have, in reading order."""
    return in_reading_order({path.name for path in folder.iterdir()} | {pages.METRICS, stamp.CHECKSUMS})


def _write_time(session: Session, start: pages.CaptureStart, ended: GuardedRun) -> str:
    """Write time.txt; returns where its figures come from."""
    with contextlib.suppress(OSError):
        if text := (session.scratch / "time.txt").read_text(encoding="utf-8", errors="replace"):
            session.write("time.txt", session.clean(text))
            return TIME_PROGRAM
    why = "GNU time is missing, or was killed"
    if ended.usage is None:
        why = "nothing is known of the command's end" if ended.outcome is RunOutcome.SIGNAL else ended.reason
    session.write("time.txt", session.clean(pages.time_txt(ended.usage, start.command, ended.exit_code, why)))
    return f"wait4: {why}"


def _compare(session: Session) -> WorkTree:
    """The checkout after the run; what the run changed that it may not change is an anomaly."""
    after = session.tree_now()
    session.anomalies += [session.clean(text) for text in tree_changes(session.before, after)]
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


def _as_tested(session: Session, ended: GuardedRun) -> GuardedRun:
    """The same, told apart from a failed test where no test came to its own code."""
    if ended.outcome is not RunOutcome.FAILED or not is_pytest(session.request.command):
        return ended
    why = setup_error(read_test_records(session.folder / pages.RECORDS))
    if not why:
        return ended
    return replace(
        ended, outcome=RunOutcome.SETUP_ERROR, reason=f"an error before the test's own code ran: {why}"
    )


def _facts(session: Session, start: pages.CaptureStart, ended: GuardedRun) -> CaptureFacts:
    request, before = session.request, session.before
    return CaptureFacts(
        folder=session.folder,
        cluster=request.cluster,
        preset=request.preset.name,
        command=request.command,
        subject=request.subject,
        commit=before.commit,
        tree=before.tree,
        dirty=before.dirty,
        started_at=ended.started_at,
        ended_at=ended.ended_at,
        exit_code=ended.exit_code,
        outcome=ended.outcome,
        usage=ended.usage or RunUsage(),
        record=session.folder / pages.RECORDS,
        profile=session.trace if request.profile else None,
        probe=request.probe and session.settings.is_project,
        python=start.python,
        environment=tuple(sorted(session.environ.items())),
    )


def _enrich(session: Session, facts: CaptureFacts) -> Enrichment | None:
    def read() -> Enrichment:
        from nbbench.capture.findings import enrich

        return without_secrets(enrich(session.settings, facts, session.request.say), session.environ)

    session.request.say("reading the figures …")
    return _optional(session, "the figures", read, None)


def without_secrets(found: Enrichment, environ: Mapping[str, str]) -> Enrichment:
    """The same without credentials: sentences may quote the subject, traces name what it ran."""
    secrets = secret_values(environ)

    def clean(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(redact_text(text, secrets) for text in texts)

    return replace(
        found,
        sentences=clean(found.sentences),
        notes=clean(found.notes),
        anomalies=clean(found.anomalies),
        metrics=redact_value(to_plain(found.metrics), secrets),
        sections=tuple((title, redact_text(text, secrets)) for title, text in found.sections),
        files=tuple((name, _clean_json(data, secrets)) for name, data in found.files),
    )


def _clean_json(data: bytes, secrets: tuple[str, ...]) -> bytes:
    """A JSON file, rewritten only where a credential stood; what is no JSON is no evidence of ours."""
    told = json.loads(data)
    clean = redact_value(told, secrets)
    return data if clean == told else json.dumps(clean, separators=(",", ":")).encode("ascii")


def _optional(session: Session, what: str, step: Callable[[], _T], otherwise: _T) -> _T:
    """A step whose failure, or the user's impatience, must not cost the capture."""
    try:
        return step()
    except KeyboardInterrupt:
        session.anomalies.append(f"{what}: interrupted by the user")
    except Exception as error:
        told = session.clean(f"{type(error).__name__}: {error}").splitlines()[0]
        session.anomalies.append(f"{what} could not be had ({told})")
    return otherwise


def _untrimmed_trace(session: Session) -> dict[str, bytes]:
    """The profile as it is, where the figures failed before they came to it."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if session.trace.stat().st_size <= stamp.MAX_FILE_BYTES:
            data = _clean_json(session.trace.read_bytes(), secret_values(session.environ))
            return {session.trace.name: data}
    return {}


def _add_files(session: Session, files: dict[str, bytes]) -> None:
    """Files of the figures, the smallest first, as long as they fit the layout; the others are named."""
    used = sum(path.stat().st_size for path in session.folder.iterdir())
    for name, data in sorted(files.items(), key=lambda item: len(item[1])):
        problem = stamp.name_problem(name) or stamp.content_problem(name, data)
        if not problem and used + len(data) > stamp.MAX_FOLDER_BYTES - RESERVE_BYTES:
            problem = "does not fit into the folder's 20 MiB"
        if not problem and (session.folder / name).exists() and name != pages.RECORDS:
            problem = "would replace another file"
        if problem:
            session.notes.append(f"{name} is left out: it {problem}")
            continue
        write_bytes(session.folder / name, data)
        used += len(data)


def _hint(session: Session, ended: GuardedRun) -> str:
    """What stderr says of an exit code that says nothing."""
    if ended.outcome is not RunOutcome.PASSED:
        with contextlib.suppress(OSError):
            text = (session.folder / "stderr.log").read_bytes()[-4096:].decode("utf-8", "replace")
            if "unrecognized arguments" in text and "--timeout" in text:
                return "pytest does not know --timeout: pytest-timeout is not installed for it"
    return ""
