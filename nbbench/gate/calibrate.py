"""`nbbench gate --calibrate`: one tree against itself, so that the gate knows what noise looks like here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import numpy as np

from nbbench.budget import Budget, BudgetSpentError, held
from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.gate.calibration import (
    Calibration,
    calibration_path,
    read_calibration,
    write_calibration,
)
from nbbench.gate.rounds import Tally, clean_round
from nbbench.measure.lock import measuring
from nbbench.measure.pair import Pair
from nbbench.measure.paired import GateSeries, paired_runner
from nbbench.measure.process_env import torch_version
from nbbench.model import Commit
from nbbench.probe.resources import usable_threads
from nbbench.record.atomic import ensure_writable
from nbbench.record.machines import machine_name
from nbbench.stats.aa_noise import fit_canary, noise_floor
from nbbench.stats.summary import mad_sigma
from nbbench.verdicts import SeriesNoise

CALIBRATION_ROUNDS = 30
"""Enough to know a sigma to within an eighth (1 / sqrt(2 n))."""

LEAST_CALIBRATION_ROUNDS = 5

_ENVIRONMENT = "gate"
"""What noise floors have in place of asv's environment: they belong to interleaved pairs."""


def calibrate(
    settings: Settings, commit: Commit, bench: str, seed: int, say: Callable[[str], None]
) -> tuple[Calibration, str]:
    """Measure A/A rounds of matching series and keep their noise in the database and beside the results.

    Returns it with a sentence on what was disturbed. Raises InconclusiveError when the budget allowed fewer
    than LEAST_CALIBRATION_ROUNDS, HostError at once when nothing can be kept.
    """
    ensure_writable(calibration_path(settings.results_dir, machine_name(settings)).parent)
    budget, tally = Budget(settings.budget_s), Tally()
    pairs: dict[GateSeries, list[Pair]] = {}
    with (
        measuring(settings.state_dir),
        paired_runner(settings, commit, commit, seed) as runner,
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
                    pairs.setdefault(item, []).append(pair)
            say(f"round {turn}: {budget.left_s:.0f} s left")
    known = {item: found for item, found in pairs.items() if len(found) >= LEAST_CALIBRATION_ROUNDS}
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
        {item.label: _noise(found) for item, found in known.items()},
    )
    write_calibration(calibration_path(settings.results_dir, calibration.machine), calibration)
    return calibration, tally.sentence


def _noise(pairs: Sequence[Pair]) -> SeriesNoise:
    ratios = [pair.log_ratio for pair in pairs]
    drifts = [pair.drift for pair in pairs]
    fit = fit_canary(ratios, drifts)
    used = fit.coefficient if fit.helps else 0.0
    corrected = [y - used * x for y, x in zip(ratios, drifts, strict=True)]
    own = noise_floor(corrected, policy=0.0)
    return SeriesNoise(mad_sigma(np.asarray(corrected)), own, len(ratios), used, fit.plain, fit.corrected)


def known_noise(settings: Settings, now: datetime) -> tuple[dict[str, SeriesNoise], str]:
    """What is known of this machine's noise by series, and what to say about it ('' when all is well).

    A stale calibration is used, as it is nearer to the truth than none, and said.
    """
    machine = machine_name(settings)
    found = read_calibration(calibration_path(settings.results_dir, machine))
    if found is None:
        return {}, (
            f"no A/A noise is on record for {machine}: floors are the policy's alone "
            "(`nbbench gate --calibrate` measures it)"
        )
    reason = found.stale(torch_version(), usable_threads(settings.threads), now)
    said = f"the A/A noise on record for {machine} is stale: {reason} (`nbbench gate --calibrate` renews it)"
    return dict(found.series), said if reason else ""
