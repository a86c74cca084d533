"""What `nbbench roofline` runs in warm processes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from nbbench.probe import ceiling
from nbbench.probe.resources import measure
from nbbench.record.atomic import write_bytes

from . import ledgers, subject

_REPEAT = 7
_BUDGET_S = 2.0


def machine(path: str) -> None:
    """The machine's ceilings with this process's threads, as JSON at `path`."""
    subject.prepare()
    found = ceiling.measure_ceiling()
    op_s, view_s = ceiling.measure_dispatch()
    curve = ceiling.measure_curve(ceiling.curve_footprints(found.cache_bytes))
    told = {**dataclasses.asdict(found), "op_s": op_s, "view_s": view_s, "curve": curve}
    write_bytes(Path(path), json.dumps(told).encode())


def runs(workload: str, path: str) -> None:
    """Time a few warm runs of one workload and write them as JSON to `path`."""
    subject.prepare()
    try:
        case = ledgers.WORKLOADS[workload]()
        case.run()
        told = {"runs": [dataclasses.asdict(run) for run in measure(case.run, _REPEAT, budget_s=_BUDGET_S)]}
    except Exception as error:
        told = {"runs": [], "error": f"{type(error).__name__}: {error}"}
    write_bytes(Path(path), json.dumps(told).encode())
