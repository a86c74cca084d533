"""Whose figures are shown: tables, exports and verdicts are of one machine, and name it."""

from __future__ import annotations

import platform

from nbbench.config import Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.probe.device import CUDA_MARK, on_cuda
from nbbench.record import Store


def machine_name(settings: Settings) -> str:
    """This machine's name in results: the setting, or asv's own default (the host name).

    Its GPU is another machine: a name of its own keeps the figures of the two apart in every table.
    """
    return settings.machine or (platform.node() or "unknown") + ("-cuda" if on_cuda() else "")


def choose_machine(settings: Settings, store: Store, asked: str | None = None) -> str:
    """The machine whose figures are shown.

    That is the one asked for (by a command's `--machine` or the setting), else this machine where it has
    results, else the only one that has some of the measured device. Raises UsageError for a machine without
    results and where there are several to choose from, InconclusiveError where nothing was measured at all.
    """
    places = store.measured_environments()
    measured = sorted({machine for machine, _ in places})
    if not measured:
        raise InconclusiveError(
            "there are no results of any machine", hint="measure with `nbbench run` first"
        )
    listed = ", ".join(measured)
    if wanted := asked or settings.machine:
        if wanted in measured:
            return wanted
        raise UsageError(f"nothing was measured on {wanted!r}", hint=f"on record: {listed}")
    own = machine_name(settings)
    if own in measured:
        return own
    same = {machine for machine, environment in places if (CUDA_MARK in environment) is on_cuda()}
    if len(same or measured) == 1:
        return next(iter(same or measured))
    raise UsageError(
        f"results of several machines are on record, and none of this one ({own})",
        hint=f"choose one with --machine: {listed}",
    )
