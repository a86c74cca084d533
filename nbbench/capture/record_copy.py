"""Copying the pytest plugin's record into the evidence folder: redacted, and no longer than it may be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from nbbench.record.redact import redact_value, secret_values

# Both logs may take 12 MB of a folder's 20, a profile 5.
MAX_BYTES = 2_000_000
# The plugin bounds its lines well below this; a longer one is somebody else's.
_MAX_LINE = 4_000_000


def copy_record(source: Path, target: Path, environ: Mapping[str, str]) -> str:
    """Copy the JSON lines without credentials; returns a note about lines left out, or nothing.

    Every string is redacted by itself, so that a line stays JSON. Nothing is written when there
    is no record. Raises OSError when the disk refuses.
    """
    try:
        stream = source.open("rb")
    except FileNotFoundError:
        return ""
    secrets = secret_values(environ)
    written = left_out = 0
    target.unlink(missing_ok=True)  # the command may have put a link there
    with stream, target.open("xb") as copy:
        while line := stream.readline(_MAX_LINE):
            clean = _redacted_line(line, secrets)
            if not clean or written + len(clean) > MAX_BYTES:
                left_out += 1
                continue
            written += copy.write(clean)
    return f"{left_out} lines of the test records are left out: too long, or cut off" if left_out else ""


def _redacted_line(line: bytes, secrets: tuple[str, ...]) -> bytes:
    try:
        told = json.loads(line)
    except ValueError:
        return b""  # the run was killed while it wrote this line
    return (json.dumps(redact_value(told, secrets), ensure_ascii=False) + "\n").encode("utf-8", "replace")
