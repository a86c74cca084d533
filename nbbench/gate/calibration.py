"""What a calibration found out about this machine: one JSON file per machine beside the results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nbbench.record.atomic import write_bytes
from nbbench.record.plain import parse_time
from nbbench.verdicts import SeriesNoise

_SCHEMA = 1
_KIND = "nbbench-calibration"
STALE_AFTER = timedelta(days=30)
"""Kernels, neighbours and cooling change over weeks."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A/A rounds of one machine with the settings that they hold for."""

    machine: str
    torch: str
    threads: int
    commit: str
    measured_at: datetime
    series: Mapping[str, SeriesNoise]

    def stale(self, torch: str, threads: int, now: datetime) -> str:
        """Why it does not hold any more; '' when it does."""
        if self.torch != torch:
            return f"it was taken with torch {self.torch}, not {torch}"
        if self.threads != threads:
            return f"it was taken with {self.threads} threads, not {threads}"
        age = now - self.measured_at
        return f"it is {age.days} days old" if age > STALE_AFTER else ""


def calibration_path(results_dir: Path, machine: str) -> Path:
    """Where a machine's calibration lies."""
    return results_dir / "calibration" / f"{machine}.json"


def write_calibration(path: Path, found: Calibration) -> None:
    """Write it, in place of an earlier one."""
    kept = {
        "schema": _SCHEMA,
        "kind": _KIND,
        **asdict(found),
        "measured_at": found.measured_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (json.dumps(kept, indent=2, ensure_ascii=True) + "\n").encode("ascii"))


def read_calibration(path: Path) -> Calibration | None:
    """The calibration in a file; None where there is none that can be read."""
    try:
        kept = json.loads(path.read_bytes())
        if kept["schema"] != _SCHEMA or kept["kind"] != _KIND:
            return None
        series = {str(label): SeriesNoise(**noise) for label, noise in kept["series"].items()}
        names = ("machine", "torch", "threads", "commit")
        return Calibration(
            **{name: kept[name] for name in names}, measured_at=parse_time(kept["measured_at"]), series=series
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
