"""Which workload a series runs."""

from __future__ import annotations

from nbbench.model import SeriesKey
from nbbench.roles import ledger_families

# Families whose benchmarks have no parameters, so that the name says it all.
_SINGLE = {"sources-": "sources-3969"}


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
