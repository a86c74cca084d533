"""The terminal behind stdout."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbbench.report.text import Terminal


def terminal() -> Terminal:
    """The terminal behind stdout, or a plain pipe."""
    from nbbench.report.text import terminal_for

    return terminal_for(sys.stdout, os.environ)
