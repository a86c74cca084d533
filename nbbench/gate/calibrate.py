"""`nbbench gate --calibrate`: one tree against itself, so that the gate knows what noise looks like here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.gate.calibration import (
    Calibration,
    SeriesNoise,
    calibration_path,
    read_calibration,
    write_calibration,
)
from nbbench.gate.rounds import Tally, clean_round
from nbbench.measure.paired import GateSeries, PairedRunner
from nbbench.measure.process_env import torch_version
from nbbench.measure.writable import ensure_writable
from nbbench.model import Commit, SeriesKey
from nbbench.probe.resources import usable_threads
from nbbench.record.machines import machine_name
from nbbench.record.refresh import open_store
from nbbench.stats.aa_noise import fit_canary, noise_floor
from nbbench.stats.summary import mad_sigma

ROUNDS = 30
"""Enough to know a sigma to within an eighth (1 / sqrt(2 n))."""

LEAST_ROUNDS = 5


def calibrate(
    settings: Settings,
    runner: PairedRunner,
    commit: Commit,
    series: Sequence[GateSeries],
    deadline: float,
    say: Callable[[str], None],
) -> tuple[Calibration, Tally]:
    """Measure A/A rounds of `series` and keep their noise in the database and beside the results.

    Raises InconclusiveError when the budget allowed fewer than LEAST_ROUNDS, HostError at once when
    nothing can be kept.
    """
    ensure_writable(calibration_path(settings.results_dir, machine_name(settings)).parent)
    tally = Tally()
    ratios: dict[GateSeries, list[float]] = {item: [] for item in series}
    canaries: dict[GateSeries, list[float]] = {item: [] for item in series}
    for turn in range(1, ROUNDS + 1):
        if time.monotonic() > deadline:
            break
        for item, pair in clean_round(runner, series, deadline, tally).items():
            if pair.canaries is not None:
                ratios[item].append(pair.log_ratio)
                canaries[item].append(pair.canaries.log_ratio)
        say(f"round {turn}: {max(deadline - time.monotonic(), 0):.0f} s left")
    known = {item: found for item, found in ratios.items() if len(found) >= LEAST_ROUNDS}
    if not known:
        raise InconclusiveError(
            f"fewer than {LEAST_ROUNDS} rounds fitted into the budget", hint="give more: --budget 5m"
        )
    noise = {item.label: _noise(found, canaries[item]) for item, found in known.items()}
    calibration = Calibration(
        machine_name(settings),
        torch_version(),
        usable_threads(settings.threads),
        commit.hash,
        datetime.now(UTC),
        noise,
    )
    write_calibration(calibration_path(settings.results_dir, calibration.machine), calibration)
    _save(settings, calibration, known)
    return calibration, tally


def _noise(log_ratios: Sequence[float], canaries: Sequence[float]) -> SeriesNoise:
    fit = fit_canary(log_ratios, canaries)
    used = fit.coefficient if fit.helps else 0.0
    corrected = [y - used * x for y, x in zip(log_ratios, canaries, strict=True)]
    own = noise_floor(corrected, policy=0.0)
    return SeriesNoise(mad_sigma(np.asarray(corrected)), own, len(log_ratios), used, fit.plain, fit.corrected)


def _save(settings: Settings, calibration: Calibration, known: dict[GateSeries, list[float]]) -> None:
    with open_store(settings) as store:
        for item, rounds in known.items():
            key = SeriesKey(item.benchmark, item.version, item.params, calibration.machine, _ENVIRONMENT)
            floor = calibration.series[item.label].floor
            store.save_noise_floor(key, floor, len(rounds), calibration.measured_at)


_ENVIRONMENT = "gate"
"""What noise floors have in place of asv's environment: they belong to interleaved pairs."""


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
    told = f"the A/A noise on record for {machine} is stale: {reason} (`nbbench gate --calibrate` renews it)"
    return dict(found.series), told if reason else ""
