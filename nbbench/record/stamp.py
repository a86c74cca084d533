"""STAMP folders: `<root>/cluster_<ID>/<STAMP>/`, written once, checksummed, never overwritten.

STAMP is true UTC, `%Y%m%dT%H%M%SZ`. When two captures of a cluster start within one second, the
later one gets the suffix `-2`, then `-3` and so on: the stamp in front stays true (moving it to
the next free second would state a time that has not come), sorts beside its twin, and the
folders stay apart.
"""

import contextlib
import errno
import hashlib
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from nbbench.errors import EvidenceError
from nbbench.record.atomic import host_error, write_bytes, write_text

CHECKSUMS = "sha256.txt"
STAMP_PATTERN = re.compile(r"\d{8}T\d{6}Z(-[1-9]\d*)?", re.ASCII)
_CLUSTER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,79}", re.ASCII)
_CHECKSUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_MAX_TWINS = 10_000


def utc_stamp(now: datetime) -> str:
    """`now` as a STAMP. Raises ValueError for a naive time: its zone would be a guess."""
    if now.tzinfo is None:
        raise ValueError("a STAMP needs a time with a zone")
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def cluster_folder(root: Path, cluster: str) -> Path:
    """`<root>/cluster_<ID>`; raises EvidenceError when the ID could lead elsewhere."""
    if not _CLUSTER.fullmatch(cluster) or cluster.endswith("."):
        raise EvidenceError(
            f"{cluster!r} is not a cluster's name: letters, digits, '.', '_' and '-', at most 80",
            hint="pass it with --cluster, for example CLUSTER-PERF-001",
        )
    folder = root / f"cluster_{cluster}"
    if not folder.resolve().is_relative_to(root.resolve()):
        raise EvidenceError(f"{folder} is a link that leads out of {root}")
    return folder


def create_folder(root: Path, cluster: str, now: datetime) -> Path:
    """Make and return a new `<root>/cluster_<ID>/<STAMP>/`, whose name is its stamp.

    The folder is made by one `mkdir`, so that no two callers ever get the same one. Raises
    EvidenceError for a bad cluster name, HostError when the machine refuses.
    """
    parent = cluster_folder(root, cluster)
    stamp = utc_stamp(now)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for twin in range(1, _MAX_TWINS):
            folder = parent / (stamp if twin == 1 else f"{stamp}-{twin}")
            # An earlier evidence folder, or a file of that name: the next suffix is free.
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
    except OSError as error:
        raise host_error(parent, error) from error
    raise EvidenceError(f"{parent} already holds {_MAX_TWINS} folders of {stamp}")


def write_folder(folder: Path, files: Mapping[str, str]) -> tuple[Path, ...]:
    """Write every file into a new or empty folder, then sha256.txt over them; gives their paths.

    What was written is taken back when the machine refuses on the way: a folder without sha256.txt is never
    finished. Raises EvidenceError for a folder that holds something, HostError.
    """
    if there := _entries(folder):
        raise EvidenceError(f"{there[0]} is there already; evidence is never overwritten", hint="")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, text in files.items():
            write_text(folder / name, text)
        return (*(folder / name for name in files), seal(folder))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # it was empty
        raise


def seal(folder: Path) -> Path:
    """Write sha256.txt over every file of the folder, which finishes it; returns its path.

    Raises EvidenceError when the folder is finished already, HostError when the machine refuses.
    """
    entries = _entries(folder)
    if any(entry.name == CHECKSUMS for entry in entries):
        raise EvidenceError(f"{folder} is finished: it already has {CHECKSUMS}")
    try:
        lines = "".join(
            f"{_digest(entry)}  {entry.name}\n"
            for entry in entries
            if entry.is_file() and not entry.is_symlink()
        )
    except OSError as error:
        raise host_error(folder, error) from error
    write_bytes(folder / CHECKSUMS, lines.encode("utf-8", errors="surrogateescape"))
    return folder / CHECKSUMS


def verify_folder(path: Path) -> list[str]:
    """What of `path` disagrees with its sha256.txt, one sentence each; empty when it is whole."""
    try:
        text = (path / CHECKSUMS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return [f"{CHECKSUMS} is missing"]
    except (OSError, UnicodeDecodeError) as error:
        return [f"{CHECKSUMS} cannot be read: {error}"]
    problems = []
    listed: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        match = _CHECKSUM_LINE.fullmatch(line)
        if match is None or "/" in match[2] or match[2] in (".", ".."):
            problems.append(f"{CHECKSUMS} line {number} is not a checksum of a file beside it")
            continue
        listed.add(match[2])
        if mismatch := _mismatch(path / match[2], match[1]):
            problems.append(f"{match[2]} {mismatch}")
    others = {entry.name for entry in path.iterdir()} - listed - {CHECKSUMS}
    return problems + [f"{name} is not in {CHECKSUMS}" for name in sorted(others)]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise host_error(folder, error) from error


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _mismatch(path: Path, expected: str) -> str:
    try:
        if path.is_symlink() or not path.is_file():
            return "is missing" if not path.exists() else "is not an ordinary file"
        return "" if _digest(path) == expected else "has changed"
    except OSError as error:
        return f"cannot be read: {error.strerror or errno.errorcode.get(error.errno or 0, 'unknown error')}"
