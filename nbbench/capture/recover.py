"""Completing the folder that a killed capture left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from nbbench.capture.finish import Capture, close_folder
from nbbench.capture.liveness import is_alive
from nbbench.capture.run import SCRATCH_PREFIX
from nbbench.capture.session import RESERVE
from nbbench.capture.test_records import copy_record
from nbbench.captured import RunOutcome
from nbbench.config import Settings
from nbbench.credentials import REDACTED
from nbbench.errors import EvidenceError
from nbbench.record import stamp
from nbbench.record.atomic import write_bytes, write_text
from nbbench.record.redact import is_secret_name, secret_values
from nbbench.report import capture as pages
from nbbench.words import minute


def recover(settings: Settings, folder: Path, environ: Mapping[str, str]) -> Capture:
    """Finish the folder with what it has: exit code `unknown` unless it is on record, status BLOCKED.

    The figures of the tests that had ended are read from their records; nothing is measured.

    Raises EvidenceError when it is no capture's folder, is finished, or is still being captured;
    HostError when the machine refuses.
    """
    from nbbench.capture.findings import findings_of

    start = _journal(folder)
    scratch, secrets = _scratch(start), secret_values(environ)
    notes = _keep_record(folder, scratch, environ)
    code = _exit_code(folder)
    reason = _reason(folder, code)
    _fill(folder, code)
    for leftover in (folder / RESERVE, *folder.glob(".*.tmp")):
        leftover.unlink(missing_ok=True)
    notes.append(f"recovered at {minute(datetime.now(UTC))} by nbbench capture --recover")
    end = pages.CaptureEnd(
        outcome=RunOutcome.UNKNOWN,
        exit_code=code,
        reason=reason,
        recovered=True,
        notes=tuple(notes),
        findings=findings_of(settings, start, RunOutcome.UNKNOWN, folder, probe=False),
    )
    done = close_folder(folder, start, end, secrets)
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)
    return done


def _journal(folder: Path) -> pages.CaptureStart:
    if (folder / stamp.CHECKSUMS).exists():
        raise EvidenceError(
            f"{folder} is finished: it already has {stamp.CHECKSUMS}", hint="there is nothing to recover"
        )
    try:
        start = pages.read_start(json.loads((folder / pages.METADATA).read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise EvidenceError(
            f"{folder} is not the folder of a capture: it has no {pages.METADATA}",
            hint="give the STAMP folder that the capture named when it began",
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise EvidenceError(f"{folder / pages.METADATA} cannot be read: {error}", hint="") from error
    if is_alive(start.pid, start.started_ticks, start.boot):
        raise EvidenceError(
            f"{folder} is still being captured by process {start.pid}", hint="wait for it, or end it"
        )
    return start


def _scratch(start: pages.CaptureStart) -> Path | None:
    """The capture's own temporary folder; a journal that names another one is not followed."""
    path = Path(start.scratch)
    if not re.fullmatch(re.escape(SCRATCH_PREFIX) + r"\w+", path.name):
        return None
    if path.parent != Path(tempfile.gettempdir()) or path.is_symlink() or not path.is_dir():
        return None
    return path if path.stat().st_uid == os.getuid() else None


def _keep_record(folder: Path, scratch: Path | None, environ: Mapping[str, str]) -> list[str]:
    """Copy the tests' record, unless it may hold secrets that only the killed capture knew."""
    if scratch is None or (folder / pages.RECORDS).exists():
        return []
    try:
        lines = (folder / "env.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    pairs = [line.partition("=") for line in lines]
    hidden = {name for name, _, value in pairs if value == REDACTED and is_secret_name(name)}
    if unknown := ", ".join(sorted(hidden - environ.keys())):
        return [
            f"the tests' records are left out: this environment lacks {unknown}, whose values they may hold"
        ]
    note = copy_record(scratch / "record.jsonl", folder / pages.RECORDS, secret_values(environ))
    return [note] if note else []


def _exit_code(folder: Path) -> int | None:
    """The code on record; None when nbbench was killed before the command ended."""
    try:
        return int((folder / pages.EXIT_CODE).read_text(encoding="ascii", errors="replace"))
    except (OSError, ValueError):
        return None


def _fill(folder: Path, code: int | None) -> None:
    """What the layout asks for and the capture did not come to write; nothing that exists is changed."""
    write_text(folder / pages.EXIT_CODE, f"{'unknown' if code is None else code}\n")
    for name in ("time.txt", "torch_env.txt", "env.txt", "commands.txt"):
        path = folder / name
        if not path.exists() or not path.stat().st_size:
            write_text(path, "# not recorded: the capture was killed\n")
    for name in ("pytest.log", "stderr.log"):
        if not (folder / name).is_file():
            write_bytes(folder / name, b"")


def _reason(folder: Path, code: int | None) -> str:
    """When the capture was last seen at work, from the newest of its files."""
    logs = [folder / name for name in ("pytest.log", "stderr.log", pages.METADATA)]
    newest = max(path.stat().st_mtime for path in logs if path.exists())
    seen = minute(datetime.fromtimestamp(newest, UTC))
    when = "before the command's end was known" if code is None else "after the command had ended"
    return f"nbbench was killed {when}; last output at {seen}"
