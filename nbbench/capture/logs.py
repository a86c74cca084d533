"""The output of a running command: redacted, on disk at once, bounded, and shown live.

The beginning of a long output goes to disk as it comes. Of what follows only the newest is kept, in memory,
and added at the end (docs/architecture.md).
"""

import contextlib
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from nbbench.record.atomic import write_bytes
from nbbench.record.redact import SecretFilter

# Beginning and end of a log: below the layout's 5 MiB a file, with room for a note.
STDOUT_BYTES = (2_900_000, 2_000_000)
STDERR_BYTES = (750_000, 750_000)
# Where the kept end starts inside a line without end, a credential may be cut: this much is dropped.
_CUT_BYTES = 16_384


class Screen:
    """Where the command's output is shown, without credentials and so line by line; None shows nothing."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def show(self, clean: bytes) -> None:
        """Write one piece; a reader that went away is no reason to lose the capture."""
        view = memoryview(clean)
        try:
            while self._descriptor is not None and view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self._descriptor = None


class LogWriter:
    """One stream of the command; `feed` its output, then `close`. OSError means that the disk refused."""

    def __init__(self, path: Path, sizes: tuple[int, int], environ: Mapping[str, str]) -> None:
        self.path = path
        self.note = ""
        self._head_limit, self._tail_limit = sizes
        self._environ = environ
        self._filter = SecretFilter(environ)
        self._file = path.open("xb", buffering=0)  # never a file that somebody else made, links included
        self._written: list[bytes] = []
        self._room = self._head_limit
        self._tail: deque[bytes] = deque()  # as it came: the filter sees it at the end
        self._tail_bytes = self._dropped = 0

    def feed(self, data: bytes) -> bytes:
        """Take output; returns what of it is settled, without credentials; nothing of a tail."""
        head, rest = data, b""
        if len(data) > self._room:  # between two lines where there are lines, so that both parts read well
            cut = data.rfind(b"\n", 0, self._room) + 1 or self._room
            head, rest = data[:cut], data[cut:]
            self._room = 0
        clean = self._write(self._filter.feed(head)) if head else b""
        self._room = max(0, self._room - len(head))
        self._keep(rest)
        return clean

    def close(self) -> bytes:
        """Write what was held back, the kept end and a note about what is left out; returns the last output.

        The command may have changed or removed the file: it is written again where it is not what was logged.
        """
        self._file.close()
        tail = b"".join(self._tail)
        clean = end = b""
        if self._dropped:  # what the filter holds back may be half of a credential: it goes with the middle
            start = tail.find(b"\n") + 1 or min(_CUT_BYTES, len(tail))
            self._dropped += len(self._filter.flush()) + start
            self._filter = SecretFilter(self._environ)
            left_out = f"{self._dropped:,} bytes in the middle are left out"
            self.note = f"{self.path.name} was too long: {left_out}"
            end = (
                f"\n[nbbench: {left_out}]\n".encode() + self._filter.feed(tail[start:]) + self._filter.flush()
            )
        else:
            clean = end = self._filter.feed(tail) + self._filter.flush()
        whole = b"".join([*self._written, end])
        with contextlib.suppress(OSError):
            if not self.path.is_symlink() and not end and self.path.read_bytes() == whole:
                return clean
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, whole)
        return clean

    def _write(self, clean: bytes) -> bytes:
        view = memoryview(clean)
        while view:
            count = self._file.write(view)
            self._written.append(bytes(view[:count]))
            view = view[count:]
        return clean

    def _keep(self, data: bytes) -> None:
        if data:
            self._tail.append(data)
            self._tail_bytes += len(data)
        while self._tail and self._tail_bytes - len(self._tail[0]) > self._tail_limit:
            self._tail_bytes -= len(self._tail[0])
            self._dropped += len(self._tail.popleft())
