"""Seeing that other Python threads run: a dispatch mode records its own thread only."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any


class OtherThreads:
    """`seen` tells whether another Python thread was there or was started between start and stop."""

    def __init__(self) -> None:
        self.seen = False
        self._before: Any = None

    def start(self) -> None:
        """Watch from now on; the hook runs once, in each thread that begins."""
        self.seen = threading.active_count() > 1
        self._before = threading.getprofile()
        threading.setprofile(self._began)

    def stop(self) -> None:
        """Give the hook back."""
        threading.setprofile(self._before)

    def _began(self, frame: FrameType, event: str, arg: Any) -> None:
        self.seen = True
        sys.setprofile(self._before)
