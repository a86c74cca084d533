"""A torch that is none, for what asks an interpreter for torch's versions and does not compute."""

from __future__ import annotations

from pathlib import Path


def stub_torch(folder: Path) -> Path:
    """A folder for PYTHONPATH that shadows torch, which takes seconds to tell its versions."""
    place = folder / "torch" / "utils"
    place.mkdir(parents=True)
    for name in ("../__init__.py", "__init__.py"):
        (place / name).write_text("__version__ = 'stub'\n")
    (place / "collect_env.py").write_text('print("stub of collect_env")\n')
    return folder
