"""nbbench: an asv-based benchmark harness with a regression database."""

from __future__ import annotations

__version__ = "0.1.0"
