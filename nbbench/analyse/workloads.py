"""Which workload a timed series runs."""

from __future__ import annotations

from nbbench.model import SeriesKey

# Timed benchmarks of benchmarks/ and their workloads' names; parameters fill the places in order.
_NAMES = {
    "bandwidth.Warm.time_run": "bandwidth-{}-{}",
    "vectorisation.Tricubic.time_interpolate": "tricubic-{}-{}",
    "vectorisation.Sources.time_generate": "sources-3969",
    "vectorisation.MultiSource.time_run": "multi_source-{}",
    "vectorisation.Oversample.time_run": "oversample-{}",
    "vectorisation.PhiSteps.time_run": "phi_steps-{}",
    "vectorisation.MosaicDomains.time_run": "mosaic_domains-{}",
    "vectorisation.Absorption.time_run": "absorption-{}",
}


def workload_of(key: SeriesKey) -> str | None:
    """The name of the ledger that counts what a warm, timed series runs; None for any other series."""
    name = _NAMES.get(key.benchmark)
    return name.format(*(value.strip("'") for _, value in key.params)) if name else None
