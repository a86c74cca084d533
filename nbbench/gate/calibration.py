"""What noise looks like on this machine: one tree against itself (`nbbench gate --calibrate`).

One JSON file a machine keeps it beside the results.
"""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np

from nbbench.budget import Budget, BudgetSpentError, held
from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.gate.rounds import Tally, clean_round
from nbbench.measure.paired import PairedRunner
from nbbench.measure.process_env import measuring, torch_version
from nbbench.model import Commit, EvidenceRecord, to_plain
from nbbench.probe.resources import usable_threads
from nbbench.record.atomic import ensure_writable, write_text
from nbbench.record.projects import machine_name
from nbbench.stats.noise import mad_sigma
from nbbench.stats.paired import noise_floor
from nbbench.verdicts import SeriesNoise
from nbbench.words import Say

CALIBRATION_ROUNDS = 30
"""Enough to know a sigma to within an eighth (1 / sqrt(2 n))."""
LEAST_CALIBRATION_ROUNDS = 5
STALE_AFTER = timedelta(days=30)
"""Kernels, neighbours and cooling change over weeks."""
_KIND = "nbbench-calibration"


@dataclass(frozen=True, slots=True)
class Calibration:
    """A/A rounds of one machine with the settings that they hold for."""

    machine: str
    torch: str
    threads: int
    commit: str
    measured_at: datetime
    series: Mapping[str, SeriesNoise]
    schema: int = 1
    kind: str = _KIND

    def stale(self, torch: str, threads: int, now: datetime) -> dict[str, str]:
        """What no longer holds, with what it was and is (torch, threads, age in days); {} when all does."""
        found = [("torch", self.torch, torch), ("threads", str(self.threads), str(threads))]
        if now - self.measured_at > STALE_AFTER:
            found.insert(0, ("age", f"{(now - self.measured_at).days} days", ""))
        return next(({"what": what, "then": old, "now": new} for what, old, new in found if old != new), {})


def calibration_path(results_dir: Path, machine: str) -> Path:
    """Where a machine's calibration lies."""
    return results_dir / "calibration" / f"{machine}.json"


def write_calibration(path: Path, found: Calibration) -> None:
    """Write it, in place of an earlier one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(to_plain(found), indent=2) + "\n")


def read_calibration(path: Path) -> Calibration | None:
    """The calibration in a file; None where there is none that can be read."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return found if (found.schema, found.kind) == (1, _KIND) else None


def known_noise(settings: Settings, now: datetime) -> tuple[Mapping[str, SeriesNoise], EvidenceRecord | None]:
    """What is known of this machine's noise by series, and what is to be said about it (None: all is well).

    A stale calibration is used, as it is nearer to the truth than none, and said.
    """
    machine = machine_name(settings)
    found = read_calibration(calibration_path(settings.results_dir, machine))
    stale = found.stale(torch_version(), usable_threads(settings.threads), now) if found else {"what": ""}
    record = EvidenceRecord("calibration", {"machine": machine, **stale}) if stale else None
    return (found.series if found else {}), record


def calibrate(
    settings: Settings, commit: Commit, bench: str, seed: int, say: Say
) -> tuple[Calibration, EvidenceRecord]:
    """Measure A/A rounds of matching series and keep their noise beside the results.

    Returns it with what was disturbed. Raises InconclusiveError when the budget allowed fewer
    than LEAST_CALIBRATION_ROUNDS, HostError at once when nothing can be kept.
    """
    path = calibration_path(settings.results_dir, machine_name(settings))
    ensure_writable(path.parent)
    budget, tally = Budget(settings.budget_s), Tally()
    ratios: dict[str, list[float]] = {}
    with (
        measuring(settings.state_dir),
        PairedRunner(settings, commit, commit, seed) as runner,
        suppress(BudgetSpentError),
        held(budget),
    ):
        series = runner.discover(bench)
        say(f"calibrating {len(series)} series on {commit.short} against itself")
        for turn in range(1, CALIBRATION_ROUNDS + 1):
            if budget.spent:
                break
            for item, pair in clean_round(runner, series, budget, tally):
                if math.isfinite(pair.log_ratio):
                    ratios.setdefault(item.label, []).append(pair.log_ratio)
            say(f"round {turn}: {budget.left_s:.0f} s left")
    known = {name: found for name, found in ratios.items() if len(found) >= LEAST_CALIBRATION_ROUNDS}
    if not known:
        raise InconclusiveError(
            f"fewer than {LEAST_CALIBRATION_ROUNDS} rounds fitted into the budget",
            hint="give more: --budget 5m",
        )
    calibration = Calibration(
        machine_name(settings),
        torch_version(),
        usable_threads(settings.threads),
        commit.hash,
        datetime.now(UTC),
        {
            name: SeriesNoise(mad_sigma(np.asarray(found)), noise_floor(found), len(found))
            for name, found in known.items()
        },
    )
    write_calibration(path, calibration)
    return calibration, tally.record
