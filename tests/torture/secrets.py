"""Redaction over text of this machine that holds no secrets: how many lines change, and how fast."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nbbench.record.redact import redact_text

MEBI = 1 << 20


def harmless(limit: int) -> Iterator[tuple[str, str]]:
    """Kind and text, up to `limit` bytes of each kind: installed packages' records, metadata and sources, the
    standard library, base64, hashes of all tools, JSON of figures, the log of a pytest run."""
    site, standard = Path(msgspec.__file__).parents[1], Path(sysconfig.get_paths()["stdlib"])
    yield from _files("RECORD", site.glob("*.dist-info/RECORD"), limit)
    yield from _files("METADATA", site.glob("*.dist-info/METADATA"), limit)
    yield from _files("torch sources", site.glob("torch/**/*.py"), limit)
    yield from _files("other sources", (p for p in site.glob("**/*.py") if "torch" not in p.parts), limit)
    own = (p for p in standard.glob("**/*.py") if "site-packages" not in p.parts)
    yield from _files("standard library", own, limit)
    rng = random.Random(0)
    data = rng.randbytes(limit // 2)
    yield "base64", base64.encodebytes(data).decode()
    names = ("md5", "sha1", "sha256", "sha512", "blake2b")
    lines = [
        f"{hashlib.new(names[i % 5], data[i : i + 64]).hexdigest()}  file{i}.bin"
        for i in range(0, limit // 4, 64)
    ]
    yield "hashes", "\n".join(lines)
    figures = (
        {"id": i, "key": f"{rng.getrandbits(128):032x}", "value": rng.random()} for i in range(limit // 400)
    )
    yield "JSON", "\n".join(map(json.dumps, figures))
    tests = [sys.executable, "-m", "pytest", "-vv", "-rA", "--durations=0", "tests/nouns"]
    log = subprocess.run(tests, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    yield "pytest log", log.stdout


def _files(kind: str, paths: Iterator[Path], limit: int) -> Iterator[tuple[str, str]]:
    total = 0
    for path in sorted(paths):
        if total > limit:
            return
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        total += len(text)
        yield kind, text


def harmless_text(megabytes: int) -> dict[str, object]:
    """How many lines of harmless text change, by kind, and the throughput of the slowest kind."""
    environment = dict(os.environ)
    rows: dict[str, list[float]] = {}
    changed_lines: list[str] = []
    for kind, text in harmless(megabytes * MEBI // 4):  # of half of the kinds there is less
        began = time.process_time()
        redacted = redact_text(text, environment)
        spent = time.process_time() - began
        row = rows.setdefault(kind, [0.0, 0.0, 0.0, 0.0])
        before, after = text.split("\n"), redacted.split("\n")
        changed = [old for old, new in zip(before, after, strict=False) if old != new]
        changed_lines += [f"{kind}: {one[:160]}" for one in changed[:2]]
        for place, more in enumerate(
            (len(text), len(before), len(changed) + abs(len(before) - len(after)), spent)
        ):
            row[place] += more
    lines, changed_count = (sum(row[place] for row in rows.values()) for place in (1, 2))
    return {
        "bytes": int(sum(row[0] for row in rows.values())),
        "lines": int(lines),
        "changed lines": int(changed_count),
        "one in": int(lines / changed_count) if changed_count else None,
        "slowest (MB a second of processor time)": round(
            min(r[0] / MEBI / r[3] for r in rows.values() if r[3]), 1
        ),
        "by kind": {kind: f"{int(row[2])} of {int(row[1])} lines" for kind, row in rows.items()},
        "some": changed_lines[:20],
    }
