"""Whether what is to be measured could be kept: asked before a measurement, not found out after it."""

from __future__ import annotations

import os
from pathlib import Path

from nbbench.errors import HostError


def ensure_writable(folder: Path) -> None:
    """Raise HostError when nothing can be written to `folder`, or to where it will be made."""
    place = next(p for p in (folder, *folder.parents) if p.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise HostError(f"{place} cannot be written", hint="change its permissions, or work in a copy")
