"""Showing a command's output while it runs."""

from __future__ import annotations

import os


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
