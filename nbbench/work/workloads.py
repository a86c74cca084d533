"""Which workload a series runs, and whose ledgers speak for it."""

from __future__ import annotations

from nbbench.model import SeriesKey

# Which workloads' ledgers speak for a benchmark: beginnings of their names. The ledger records
# runs, so it says nothing of imports and construction.
_FAMILIES = {
    "bandwidth.Baseline": (),
    "bandwidth": ("bandwidth-",),
    "cold_start": (),
    "c_ratio": ("bandwidth-",),
    "vectorisation.Tricubic": ("tricubic-",),
    "vectorisation.DtypeRatio": ("tricubic-",),
    "vectorisation.Sources": ("sources-",),
    "vectorisation.MultiSource": ("multi_source-",),
    "vectorisation.Oversample": ("oversample-",),
    "vectorisation.PhiSteps": ("phi_steps-",),
    "vectorisation.MosaicDomains": ("mosaic_domains-",),
    "vectorisation.Absorption": ("absorption-",),
}
# Families whose benchmarks have no parameters, so that the name says it all.
_SINGLE = {"sources-": "sources-3969"}


def ledger_families(key: SeriesKey) -> tuple[str, ...]:
    """Beginnings of the names of the workloads whose ledgers speak for a series.

    A series of a workload or loop names it; an unknown benchmark may have to do with any.
    """
    named = dict(key.params).get("workload") or dict(key.params).get("loop")
    if named is not None:
        return (named.strip("'").partition("-")[0] + "-",)
    module = key.benchmark.rpartition(".")[0]
    for name in (module, module.partition(".")[0]):
        if name in _FAMILIES:
            return _FAMILIES[name]
    return ("",)


def workload_of(key: SeriesKey) -> str | None:
    """The name of the ledger that counts what a series runs: its family, then its parameters' values.

    `bandwidth.Warm.time_run(size=512, dtype='float32')` runs `bandwidth-512-float32`. None where
    no ledger speaks for the series (imports, construction, another project's benchmarks).
    """
    families = [family for family in ledger_families(key) if family]
    if len(families) != 1:
        return None
    values = "-".join(value.strip("'\"") for _, value in key.params)
    return families[0] + values if values else _SINGLE.get(families[0])
