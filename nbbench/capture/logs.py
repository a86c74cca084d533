"""The output of a running command: redacted, on disk at once, bounded, and shown live.

The beginning goes to `<stem>.log` as it comes. What follows above the first file's limit is kept in memory,
the newest of it only, and becomes `<stem>-2.log` at the end: a program that prints 200 MB costs two files
and no more, and nothing reaches the disk that has not gone through the secret filter.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from nbbench.record.secret_filter import SecretFilter

# Below the layout's 5 MiB a file, with room for a note; both logs together leave 8 MiB of a folder's 20.
STDOUT_BYTES = (4_900_000, 4_000_000)
STDERR_BYTES = (1_500_000, 1_500_000)
# Where the kept end starts inside a line without end, a credential may be cut: this much is dropped.
_CUT_BYTES = 16_384
_NOTE_BYTES = 4_096  # the note behind a first file that is full


class Screen:
    """Where the command's output is shown: as it is on a terminal, redacted in a pipe; None shows nothing."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._raw = descriptor is not None and os.isatty(descriptor)
        self._mid_line = False

    def show(self, raw: bytes, clean: bytes) -> None:
        """Write one piece; a reader that went away is no reason to lose the capture."""
        data = raw if self._raw else clean
        self._mid_line = not data.endswith(b"\n") if data else self._mid_line
        view = memoryview(data)
        try:
            while self._descriptor is not None and view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self._descriptor = None

    def end_line(self) -> None:
        """On a terminal, start a new line where the command left one open."""
        if self._raw and self._mid_line:
            self.show(b"\n", b"")


class LogWriter:
    """One stream of the command; `feed` its output, then `close`. OSError means that the disk refused.

    `disturbed` says what somebody else did to the file meanwhile.
    """

    def __init__(self, folder: Path, stem: str, sizes: tuple[int, int], environ: Mapping[str, str]) -> None:
        self.head = folder / f"{stem}.log"
        self.tail = folder / f"{stem}-2.log"
        self.disturbed = ""
        self._head_limit, self._tail_limit = sizes
        self._environ = environ
        self._filter = SecretFilter(environ)
        self._file = _new_file(self.head)
        self._written = 0
        self._full = False  # the first file takes no more
        self._raw = False  # what comes now goes to the tail unfiltered, for it starts a line
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._dropped = 0

    def feed(self, data: bytes) -> bytes:
        """Take output; returns what of it is settled, without credentials; nothing of a tail."""
        if self._raw:
            self._keep(data)
            return b""
        # The filter may hold back part of a line; only behind a line's end can it be left out.
        end = data.rfind(b"\n") + 1 if self._full else 0
        clean = self._filter.feed(data[:end] if end else data)
        self._store(clean)
        if end:
            self._raw = True
            self._keep(data[end:])
        return clean

    def close(self) -> bytes:
        """Write what was held back, the tail and a note about what is left out; returns the last output."""
        try:
            self.head.parent.mkdir(parents=True, exist_ok=True)
            clean = b"" if self._raw else self._filter.flush()
            self._store(clean)
            if self._full:
                self._write_tail()
            self._restore()
            return clean
        finally:
            os.close(self._file)

    @property
    def note(self) -> str:
        """A sentence about a log that did not fit into one file; empty for the usual one."""
        if not self._full:
            return ""
        what = f"{self._dropped:,} bytes in the middle are left out" if self._dropped else "both are whole"
        return f"{self.head.name} was too long for one file and goes on in {self.tail.name}; {what}"

    def _restore(self) -> None:
        """Undo what the command did to the log: the descriptor still has what was logged."""
        own = os.fstat(self._file)
        there = None
        with contextlib.suppress(FileNotFoundError):
            there = self.head.lstat()
        data = os.pread(self._file, self._head_limit + _NOTE_BYTES, 0)
        if there is None or (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino):
            self.disturbed = f"{self.head.name} was removed or replaced while it was written"
            _write_new(self.head, data)
        elif own.st_size != self._written:
            self.disturbed = f"{self.head.name} was written to by something else"
            secrets = SecretFilter(self._environ)  # what came from elsewhere has not been through it
            _write_new(self.head, secrets.feed(data) + secrets.flush())

    def _store(self, clean: bytes) -> None:
        room = 0 if self._full else self._head_limit - self._written
        if len(clean) > room and not self._full:
            # Between two lines where there are lines, so that both files read well.
            room = clean.rfind(b"\n", 0, room) + 1 or room
            self._full = True
        self._append(clean[:room])
        self._keep(clean[room:])

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = os.write(self._file, view)
            self._written += count
            view = view[count:]

    def _keep(self, data: bytes) -> None:
        if data:
            self._kept.append(data)
            self._kept_bytes += len(data)
        while self._kept and self._kept_bytes - len(self._kept[0]) > self._tail_limit:
            self._kept_bytes -= len(self._kept[0])
            self._dropped += len(self._kept.popleft())

    def _write_tail(self) -> None:
        data = b"".join(self._kept)
        excess = max(0, len(data) - self._tail_limit)
        self._dropped += excess
        data = data[excess:]
        if self._dropped:
            start = data.find(b"\n") + 1 or min(_CUT_BYTES, len(data))
            self._dropped += start
            data = data[start:]
            self._filter = SecretFilter(self._environ)
        _write_new(self.tail, self._filter.feed(data) + self._filter.flush())
        left_out = f"{self._dropped:,} bytes between are left out" if self._dropped else "nothing is left out"
        self._append(f"\n[nbbench: the log goes on in {self.tail.name}; {left_out}]\n".encode())


def _new_file(path: Path) -> int:
    """A descriptor of a file that nobody else made, links included."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)


def _write_new(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(_new_file(path), "wb") as stream:
        stream.write(data)
