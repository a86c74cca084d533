"""What the suite declares of its workloads, kept beside the results."""

from __future__ import annotations

import contextlib

from nbbench.config import Settings
from nbbench.errors import HostError
from nbbench.record.atomic import write_text
from nbbench.workloads import WORKLOADS_FILE, suite_workloads, use_workloads


def export_workloads(settings: Settings) -> None:
    """Write the suite's declaration to results/, where it changed; a suite without one leaves no file.

    Raises ConfigError when the declaration is wrong. A folder that cannot be written keeps what it has:
    what is measured fails there for itself.
    """
    declared = suite_workloads(settings.root)
    use_workloads(declared)
    if not declared.benchmarks:
        return
    path, text = settings.results_dir / WORKLOADS_FILE, declared.to_text()
    with contextlib.suppress(OSError, HostError):
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
