"""The log of a running command: redacted, on disk at once, in constant memory and bounded size.

The beginning goes to `<stem>.log` as it comes. What follows above the first file's limit is kept in
memory, the newest of it only, and becomes `<stem>-2.log` at the end: a program that prints 200 MB costs
two files and no more, and nothing reaches the disk that has not gone through the secret filter.
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


class LogWriter:
    """One stream of the command; `feed` its output, then `close`. OSError means that the disk refused."""

    def __init__(self, folder: Path, stem: str, sizes: tuple[int, int], environ: Mapping[str, str]) -> None:
        self.head = folder / f"{stem}.log"
        self.tail = folder / f"{stem}-2.log"
        self._head_limit, self._tail_limit = sizes
        self._environ = environ
        self._filter = SecretFilter(environ)
        self._file = _new_file(self.head)
        self._written = 0
        self.disturbed = ""  # what somebody else did to the file meanwhile
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
        if not self._full:
            clean = self._filter.feed(data)
            self._store(clean)
            return clean
        # The filter may hold back part of a line; only behind a line's end can it be left out.
        end = data.rfind(b"\n") + 1
        clean = self._filter.feed(data[:end] if end else data)
        self._keep(clean)
        if end:
            self._raw = True
            self._keep(data[end:])
        return clean

    def close(self) -> bytes:
        """Write what was held back, the tail and a note about what is left out; returns the last output."""
        try:
            self.head.parent.mkdir(parents=True, exist_ok=True)
            if not self._raw:
                clean = self._filter.flush()
                self._store(clean)
            else:
                clean = b""
            if self._full:
                self._write_tail()
            self._restore()
            return clean
        finally:
            os.close(self._file)

    def _restore(self) -> None:
        """Undo what the command did to the log: the descriptor still has what was logged."""
        own = os.fstat(self._file)
        with contextlib.suppress(FileNotFoundError):
            there = self.head.lstat()
            if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino):
                if own.st_size != self._written:
                    self.disturbed = f"{self.head.name} was written to by something else"
                    # What came from elsewhere has not been through the filter.
                    self._replace(SecretFilter(self._environ))
                return
        self.disturbed = f"{self.head.name} was removed or replaced while it was written"
        self._replace()

    def _replace(self, secrets: SecretFilter | None = None) -> None:
        """Write the open file's content to its place anew, through `secrets` where they are given."""
        data = os.pread(self._file, self._head_limit + _NOTE_BYTES, 0)
        _write_new(self.head, data if secrets is None else secrets.feed(data) + secrets.flush())

    def _store(self, clean: bytes) -> None:
        if self._full:
            self._keep(clean)
            return
        room = self._head_limit - self._written
        if len(clean) > room:
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
        self._kept.clear()
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

    @property
    def note(self) -> str:
        """A sentence about a log that did not fit into one file; empty for the usual one."""
        if not self._full:
            return ""
        what = f"{self._dropped:,} bytes in the middle are left out" if self._dropped else "both are whole"
        return f"{self.head.name} was too long for one file and goes on in {self.tail.name}; {what}"


def _new_file(path: Path) -> int:
    """A descriptor of a file that nobody else made, links included."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)


def _write_new(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(_new_file(path), "wb") as stream:
        stream.write(data)
