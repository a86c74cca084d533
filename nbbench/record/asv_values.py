"""Tolerant readers of the values in asv's files, which are not strict JSON.

asv writes NaN and ±Infinity, drops trailing nulls, and saves without a temporary file, so a
killed run leaves half a file.
"""

import gzip
import io
import json
import math
import os
import stat
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec

from nbbench.errors import EXIT_USAGE, NbbenchError

# Names become keys of the database, and PostgreSQL indexes at most ~2,700 bytes; parameter
# values are not among them and may be of any length.
MAX_NAME = 500

NOT_A_NUMBER, _MARK = "nan", b'"nan"'
"""What may stand for NaN where a result file was read."""

# No file of a results tree is as large: scipy's benchmarks.json has 5 MB, the largest ledger 0.6 MB.
MAX_BYTES = 128 << 20
_KINDS_OF_FILES = {stat.S_IFIFO: "pipe", stat.S_IFDIR: "folder", stat.S_IFSOCK: "socket"}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadFileError(NbbenchError):
    """A file of the results tree that cannot be used; `path` and `reason` name it."""

    exit_code = EXIT_USAGE
    default_hint = "restore the file from git, or delete it and measure again"

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


def read_bytes(path: Path) -> bytes:
    """The content of a file of a results tree; links to files are followed.

    Raises BadFileError where the system refuses, and for what is no ordinary file or larger than any
    result: a pipe would wait for ever, and a device may never end.
    """
    try:
        # O_NONBLOCK: opening a pipe without a writer would wait, too.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                kind = _KINDS_OF_FILES.get(stat.S_IFMT(found.st_mode), "device")
                raise BadFileError(path, f"not a file but a {kind}")
            if found.st_size > MAX_BYTES:
                raise BadFileError(path, f"larger than {MAX_BYTES >> 20} MiB")
            with os.fdopen(handle, "rb", closefd=False) as file:
                data: bytes | None = file.read(MAX_BYTES)
                if data is None:  # a link into /proc: what reads as a file can wait like a pipe
                    raise BadFileError(path, "it has nothing to read")
                return data
        finally:
            os.close(handle)
    except OSError as error:
        raise BadFileError(path, f"cannot be read: {error.strerror or error}") from error


def unpacked(data: bytes, path: Path) -> bytes:
    """The content of a gzip file. Raises BadFileError for a damaged one and for one that grows too large."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            plain = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFileError(path, f"not a gzip file ({error})" if data else "empty") from error
    if len(plain) > MAX_BYTES:
        raise BadFileError(path, f"larger than {MAX_BYTES >> 20} MiB when unpacked")
    return plain


def load_object(data: bytes, path: Path, *, marked: bool = False) -> dict[str, Any]:
    """A JSON object as asv writes it; NaN may be ``marked`` as NOT_A_NUMBER. Raises BadFileError."""
    try:
        value = _read(data, marked=marked)
    except UnicodeDecodeError as error:
        raise BadFileError(path, "not text") from error
    except RecursionError as error:
        raise BadFileError(path, "nested too deeply") from error
    except ValueError as error:
        raise BadFileError(path, f"not JSON ({error})" if data.strip() else "empty") from error
    if not isinstance(value, dict):
        raise BadFileError(path, "not a JSON object")
    return value


def _read(data: bytes, *, marked: bool) -> Any:
    """JSON; msgspec takes a third of the time, but neither NaN nor Infinity."""
    if b"NaN" not in data or (marked and _is_bare(b"NaN", data)):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return msgspec.json.decode(data.replace(b"NaN", _MARK))
    return json.loads(data)


def _is_bare(word: bytes, data: bytes) -> bool:
    """Whether a word stands in no text of a JSON document: with an even number of quotes before it."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    counts = accumulate(part.count(b'"') for part in data.split(word)[:-1])
    return not any(count % 2 for count in counts)


def name_of(top: Mapping[str, Any], key: str, path: Path, longest: int = MAX_NAME) -> str:
    """A text of usable length. Raises BadFileError."""
    value = top.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise BadFileError(path, f"not an asv result file (no usable {key})")
    return value


def pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """A JSON object as pairs of texts sorted by name; empty for anything else."""
    if not isinstance(value, dict):
        return ()
    return tuple(sorted((str(k), v if isinstance(v, str) else json.dumps(v)) for k, v in value.items()))


def number(raw: Any) -> float | None:
    """A float (infinite ones too) from a JSON number; None for NaN and everything else."""
    if type(raw) is not float:
        if not isinstance(raw, int):
            return None
        try:
            return float(raw)
        except OverflowError:
            return None
    return None if math.isnan(raw) else raw


def count(raw: Any) -> int | None:
    """A count that fits a database's integer; None for everything else."""
    return raw if type(raw) is int and 0 <= raw < 2**63 else None


def timestamp(raw: Any) -> datetime | None:
    """A JavaScript timestamp in milliseconds as an aware time; None where it is none."""
    value = number(raw)
    if value is None:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:
        return None


def finite_samples(raw: Any) -> tuple[tuple[float, ...], int]:
    """A cell's samples in their order, and how many entries were no finite numbers."""
    if not isinstance(raw, list):
        return (), 1
    if set(map(type, raw)) == {float} and all(map(math.isfinite, raw)):  # nearly always
        return tuple(raw), 0
    numbers = [number(x) for x in raw if x is not None]
    kept = tuple(x for x in numbers if x is not None and math.isfinite(x))
    return kept, len(numbers) - len(kept)


def texts(lists: Iterable[Iterable[Any]]) -> tuple[tuple[str, ...], ...]:
    """Parameter values as asv's `repr` strings."""
    return tuple(tuple(v if isinstance(v, str) else str(v) for v in values) for values in lists)
