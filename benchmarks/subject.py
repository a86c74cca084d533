"""Builds a simulation on any commit of the subject, whatever its API was then.

A missing feature raises NotImplementedError, which asv reports as skipped; a commit that
cannot run a workload raises SubjectBroken, which asv reports as failed.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nbbench.measure.recording import Case, SubjectBroken, prepare, source_root
from nbbench.probe.device import measured_device, on_cuda, settle

__all__ = ["Case", "SubjectBroken", "prepare", "source_root"]  # with what is defined here

PACKAGE = "nanobrag_torch"
GRID = 5  # structure factors on Miller indices -5 … 5, as in tests/test_tricubic_vectorized.py


@functools.cache
def load(module: str = "simulator") -> Any:
    """Import a module of the subject and assert that it came from the extracted tree."""
    try:
        loaded = importlib.import_module(f"{PACKAGE}.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(PACKAGE):
            raise NotImplementedError(f"this commit has no {error.name}") from error
        raise SubjectBroken(f"import failed: {error}") from error
    except Exception as error:
        raise SubjectBroken(f"import failed: {type(error).__name__}: {error}") from error
    root = source_root()
    if root and not Path(loaded.__file__).is_relative_to(root):
        raise AssertionError(f"{PACKAGE} was imported from {loaded.__file__}, not from {root}")
    return loaded


def parse_dtype(name: str) -> torch.dtype:
    """`float32` → torch.float32."""
    return {"float32": torch.float32, "float64": torch.float64}[name]


def _config(kind: str, required: dict[str, Any], optional: dict[str, Any] | None = None) -> Any:
    """A config dataclass from the fields it has; a missing required one means another API."""
    cls = getattr(load("config"), kind)
    known = {field.name for field in dataclasses.fields(cls)}
    if missing := sorted(set(required) - known):
        raise SubjectBroken(f"{kind} has no {', '.join(missing)} at this commit")
    if absent := sorted(set(optional or {}) - known):
        raise NotImplementedError(f"{kind} has no {', '.join(absent)} at this commit")
    return cls(**{**required, **(optional or {})})


def _call(function: Callable[..., Any], required: dict[str, Any], extra: dict[str, Any]) -> Any:
    """Call with those of `extra` that the signature of this commit takes."""
    known = inspect.signature(function).parameters
    return function(**required, **{k: v for k, v in extra.items() if k in known})


def where() -> dict[str, str]:
    """What puts a tensor, or a part of the subject, on the measured device; nothing for the processor."""
    return {"device": measured_device()} if on_cuda() else {}


def _guarded(function: Callable[[], Any]) -> Any:
    """What a call of the subject returns once the device has done it: an error of the device is met here."""
    try:
        result = function()
        settle()
        return result
    except (NotImplementedError, SubjectBroken, AssertionError):
        raise
    except Exception as error:
        raise SubjectBroken(f"{type(error).__name__}: {error}") from error


def build_crystal(dtype: torch.dtype, *, crystal: dict[str, Any] | None = None, beam: Any = None) -> Any:
    """The cubic 100 Å crystal of AT-PERF-003."""
    config = _config(
        "CrystalConfig",
        dict.fromkeys(("cell_a", "cell_b", "cell_c"), 100.0)
        | dict.fromkeys(("cell_alpha", "cell_beta", "cell_gamma"), 90.0)
        | {"N_cells": (5, 5, 5), "default_F": 100.0},
        crystal,
    )
    cls = load("models.crystal").Crystal
    return _call(cls, {"config": config}, {"beam_config": beam, "dtype": dtype, **where()})


def build_simulator(
    size: int,
    dtype: torch.dtype,
    *,
    crystal: dict[str, Any] | None = None,
    detector: dict[str, Any] | None = None,
    beam: dict[str, Any] | None = None,
) -> Any:
    """The AT-PERF-003 simulation with a `size` × `size` detector; extra fields by config.

    Raises NotImplementedError for fields that this commit does not know and SubjectBroken for
    whatever else fails.
    """

    def build() -> Any:
        beam_config = _config("BeamConfig", {"wavelength_A": 6.2}, beam)
        made = build_crystal(dtype, crystal=crystal, beam=beam_config)
        convention = load("config").DetectorConvention.MOSFLM
        detector_config = _config(
            "DetectorConfig",
            {
                "distance_mm": 100.0,
                "pixel_size_mm": 0.1,
                "spixels": size,
                "fpixels": size,
                "detector_convention": convention,
            },
            {"oversample": 1, **(detector or {})},
        )
        screen = _call(
            load("models.detector").Detector, {"config": detector_config}, {"dtype": dtype, **where()}
        )
        return _call(
            load("simulator").Simulator,
            {"crystal": made, "detector": screen},
            {"crystal_config": made.config, "beam_config": beam_config, "dtype": dtype, **where()},
        )

    return _guarded(build)


def simulation(name: str, size: int, dtype: torch.dtype, **fields: dict[str, Any]) -> Case:
    """A case that runs a whole simulation."""
    simulator = build_simulator(size, dtype, **fields)

    def run() -> torch.Tensor:
        image: torch.Tensor = _guarded(simulator.run)
        return image

    return Case(name, size * size, dtype, run)


def bandwidth(size: int, dtype: str) -> Case:
    """AT-PERF-003: the memory-bandwidth workload."""
    return simulation(f"bandwidth-{size}-{dtype}", size, parse_dtype(dtype))


def interpolating_crystal(dtype: torch.dtype) -> Any:
    """A crystal whose structure factors are `table_value` on an 11³ grid, interpolation on.

    Raises NotImplementedError where the commit has no tricubic interpolation.
    """
    crystal = _guarded(lambda: build_crystal(dtype))
    if not hasattr(crystal, "_tricubic_interpolation"):
        raise NotImplementedError("this commit has no Crystal._tricubic_interpolation")
    axis = torch.arange(-GRID, GRID + 1, dtype=dtype, **where())
    crystal.hkl_data = table_value(axis[:, None, None], axis[None, :, None], axis[None, None, :])
    ends = {f"{letter}_{end}": sign * GRID for letter in "hkl" for end, sign in (("min", -1), ("max", 1))}
    crystal.hkl_metadata = ends | {f"{letter}_range": 2 * GRID for letter in "hkl"}
    crystal.interpolate = True
    return crystal


def table_value(h: torch.Tensor, k: torch.Tensor, l: torch.Tensor) -> torch.Tensor:  # noqa: E741
    """The structure factors of the 11³ grid: linear, so that cubic interpolation is exact."""
    return 100.0 + 10.0 * h + k + 0.1 * l


def tricubic(points: int, dtype_name: str) -> Case:
    """CLUSTER-VEC-001: interpolation at `points` fractional Miller indices inside an 11³ grid."""
    dtype = parse_dtype(dtype_name)
    crystal = interpolating_crystal(dtype)
    # Inside the grid with its margin of two: one point outside would switch interpolation off.
    step = torch.arange(points, dtype=dtype, **where())
    h, k, l = (torch.remainder(step * stride, 5.5) - 2.75 for stride in (0.37, 0.73, 1.19))  # noqa: E741

    def run() -> torch.Tensor:
        values: torch.Tensor = _guarded(lambda: crystal._tricubic_interpolation(h, k, l))
        if not crystal.interpolate:
            raise SubjectBroken("interpolation switched itself off")
        return values

    return Case(f"tricubic-{points}-{dtype_name}", points, dtype, run)


def source_generator(rows: int, columns: int, dtype: torch.dtype) -> Callable[[], Any]:
    """A call of the subject's source generation on a divergence grid.

    Raises NotImplementedError where the commit has none.
    """
    module = load("utils.auto_selection")
    generate = getattr(module, "generate_sources_from_divergence_dispersion", None)
    if generate is None:
        raise NotImplementedError("this commit has no source generation")
    grids = [_sampling(module, rows), _sampling(module, columns), _sampling(module, 1)]
    required = dict(zip(("hdiv_params", "vdiv_params", "disp_params"), grids, strict=True))
    required |= {"central_wavelength_m": 6.2e-10}
    extra = {"round_div": False, "dtype": dtype, **where()}
    return lambda: _guarded(lambda: _call(generate, required, extra))


def sources(rows: int, columns: int) -> Case:
    """Source generation on a divergence grid (63 × 63 = 3,969 sources in the known event)."""
    generate = source_generator(rows, columns, torch.float32)

    def run() -> torch.Tensor:
        directions: torch.Tensor = generate()[0]
        return directions

    return Case(f"sources-{rows * columns}", rows * columns, torch.float32, run)


def _sampling(module: Any, count: int) -> Any:
    """SamplingParams whatever its fields are called: count, range [rad], step."""
    span = 0.001 if count > 1 else 0.0
    values = {"count": count, "range": span, "step": span / max(count - 1, 1)}
    names = [field.name for field in dataclasses.fields(module.SamplingParams)]
    return module.SamplingParams(**{n: v for n in names for key, v in values.items() if n.startswith(key)})


def multi_source(count: int, size: int = 256) -> Case:
    """`count` sources spread by 1 mrad around the beam."""
    offsets = torch.linspace(-0.5e-3, 0.5e-3, count, dtype=torch.float64) if count > 1 else torch.zeros(1)
    directions = torch.stack([-torch.ones(count), offsets.to(torch.float32), torch.zeros(count)], dim=1)
    directions = directions / directions.norm(dim=1, keepdim=True)
    beam = {
        "source_directions": directions,
        "source_weights": torch.ones(count),
        "source_wavelengths": torch.full((count,), 6.2e-10),
    }
    return simulation(f"multi_source-{count}", size, torch.float32, beam=beam)


def oversample(count: int, size: int = 256) -> Case:
    """`count` × `count` subpixels."""
    return simulation(f"oversample-{count}", size, torch.float32, detector={"oversample": count})


def phi_steps(count: int, size: int = 256) -> Case:
    """`count` steps of a 1° rotation."""
    crystal = {"phi_start_deg": 0.0, "osc_range_deg": 1.0, "phi_steps": count}
    return simulation(f"phi_steps-{count}", size, torch.float32, crystal=crystal)


def mosaic_domains(count: int, size: int = 256) -> Case:
    """`count` mosaic domains with a spread of 0.5°."""
    crystal = {"mosaic_spread_deg": 0.5, "mosaic_domains": count, "mosaic_seed": 42}
    return simulation(f"mosaic_domains-{count}", size, torch.float32, crystal=crystal)


def absorption(count: int, size: int = 256) -> Case:
    """Detector absorption in `count` layers."""
    detector = {"detector_abs_um": 500.0, "detector_thick_um": 100.0, "detector_thicksteps": count}
    return simulation(f"absorption-{count}", size, torch.float32, detector=detector)


def exponent(ops_small: int, ops_large: int, work_ratio: float) -> float:
    """Growth of operations with the amount of work: 0 when vectorised, 1 for a Python loop.

    log2(ops(2n)/ops(n)) for a doubling (`work_ratio` 2); other ratios are normalised.
    """
    return math.log(ops_large / ops_small) / math.log(work_ratio)
