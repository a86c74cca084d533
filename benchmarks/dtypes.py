"""The cases of the dtype audit (CLUSTER-VEC-001), for `nbbench dtypes`; nothing here is timed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nbbench.probe.dtypes import Call, audit
from nbbench.record.atomic import write_bytes
from nbbench.record.redact import redact_text

from . import subject

DTYPES = ("float32", "float64")
SIZE = 64  # pixels along a side of the audited frame: dtypes do not depend on it

# Fractional Miller indices (h, k, l) inside the 11³ grid with a margin of three, none near an integer.
POINTS = [[0.3, 1.4, -1.6], [1.2, -0.7, 1.3], [-1.6, 0.4, 1.7]]
OUTSIDE = [[0.3, 1.4, 5.7], [1.2, -0.7, 1.3], [-1.6, 0.4, 1.7]]
GRID = [
    [[0.3, 1.4, -1.6], [1.8, -1.3, 0.6]],
    [[1.2, -0.7, 1.3], [0.7, 1.6, -0.4]],
    [[-1.6, 0.4, 1.7], [-1.3, 1.1, 0.2]],
]


def tricubic(dtype_name: str, indices: list[Any], *, mixed: bool = False, outside: bool = False) -> Call:
    """Interpolation at `indices` (h, k, l, each of the same shape) in a table linear in h, k and l.

    Cubic interpolation of a linear table is exact, so the right values are known. With `mixed`
    h has the other dtype.
    """
    dtype = subject.parse_dtype(dtype_name)
    other = torch.float64 if dtype is torch.float32 else torch.float32
    kinds = (other if mixed else dtype, dtype, dtype)
    inputs = {
        name: torch.tensor(values, dtype=kind, **subject.where())
        for name, values, kind in zip("hkl", indices, kinds, strict=True)
    }
    crystal = subject.interpolating_crystal(dtype)
    wide = [tensor.to(torch.float64) for tensor in inputs.values()]
    exact = subject.table_value(*wide)
    default = torch.full_like(exact, float(crystal.config.default_F))
    nearest = subject.table_value(*(tensor.round() for tensor in wide))

    def run() -> tuple[torch.Tensor, ...]:
        return (crystal._tricubic_interpolation(*inputs.values()),)

    return Call(
        dtype,
        exact.numel(),
        inputs,
        run,
        exact=exact,
        fallbacks={"default_F": default, "the nearest structure factors": nearest},
        switched_off=lambda: not crystal.interpolate,
        may_fall_back=outside,
    )


def simulator(dtype_name: str) -> Call:
    """A whole simulation of AT-PERF-003, `SIZE` × `SIZE`."""
    dtype = subject.parse_dtype(dtype_name)
    made = subject.build_simulator(SIZE, dtype)
    return Call(dtype, SIZE * SIZE, {}, lambda: (made.run(),))


def sources(dtype_name: str) -> Call:
    """Source generation on an 8 × 8 divergence grid: directions, weights, wavelengths."""
    dtype = subject.parse_dtype(dtype_name)
    generate = subject.source_generator(8, 8, dtype)
    return Call(dtype, 64, {}, lambda: tuple(t for t in generate() if isinstance(t, torch.Tensor)))


CASES: dict[str, Callable[[str], Call]] = {
    "tricubic-scalar": lambda dtype: tricubic(dtype, [values[0] for values in POINTS]),
    "tricubic-batch": lambda dtype: tricubic(dtype, POINTS),
    "tricubic-grid": lambda dtype: tricubic(dtype, GRID),
    "tricubic-column": lambda dtype: tricubic(dtype, [[[x] for x in values] for values in POINTS]),
    "tricubic-out-of-range": lambda dtype: tricubic(dtype, OUTSIDE, outside=True),
    "tricubic-mixed-inputs": lambda dtype: tricubic(dtype, POINTS, mixed=True),
    "simulator": simulator,
    "sources": sources,
}


def write(path: str) -> None:
    """Audit every case in both dtypes and write the records as JSON to `path`."""
    subject.prepare()
    records = [
        audit(
            name,
            dtype,
            lambda build=build, dtype=dtype: build(dtype),
            source_root=subject.source_root(),
            clean=lambda text: redact_text(text, os.environ),
        )
        for name, build in CASES.items()
        for dtype in DTYPES
    ]
    told = {"torch": torch.__version__.partition("+")[0], "cases": records}
    write_bytes(Path(path), json.dumps(told).encode())
