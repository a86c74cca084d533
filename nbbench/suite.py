"""`@workload`: a workload and all its benchmarks from one function of the user's (docs/subject.md).

The decorator fills the tables that one may also write by hand: WORKLOADS, BENCHMARKS, CASES. Importing this
module needs no torch.
"""

import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from nbbench.errors import ConfigError
from nbbench.model import Phase
from nbbench.workloads import Declared, Workload

if TYPE_CHECKING:
    import torch

    from nbbench.measure.recording import Case

_Builder = TypeVar("_Builder", bound=Callable[[Any], Callable[[], Any]])
_FILE = "benchmarks/workloads.py"


def workload(
    *,
    sizes: Sequence[int],
    phases: Sequence[str] = ("construct", "first run", "warm run", "memory"),
    pixels: Callable[[int], int] | None = None,
    dtype: str = "float32",
) -> Callable[[_Builder], _Builder]:
    """Declare a function's workloads, one for each size, and what is measured of each.

    `phases` are those that are timed, and "memory" (peak memory of a process); exact work and the image are
    always recorded. `pixels(size)` is what work is divided by (default: the size itself), `dtype` what is
    asked for. The function's own text is the version of its benchmarks. Raises ConfigError for what cannot be
    declared.
    """
    if unknown := [phase for phase in phases if phase not in _BENCHMARKS]:
        raise ConfigError(
            f"{_FILE}: there is no phase {unknown[0]!r}", hint=f"phases: {', '.join(_BENCHMARKS)}"
        )
    if not sizes or len(set(sizes)) < len(sizes) or not all(isinstance(size, int) for size in sizes):
        raise ConfigError(f"{_FILE}: sizes are whole numbers, each of them once: {list(sizes)}")

    def declare(build: _Builder) -> _Builder:
        family, space = build.__name__, build.__globals__
        if not str(space.get("__file__", "")).endswith("workloads.py"):
            raise ConfigError(f"@workload belongs into {_FILE}: {family} stands in {space.get('__file__')}")
        version = hashlib.sha256(inspect.getsource(build).encode()).hexdigest()[:16]
        made = [
            replace(
                Workload.of(family, pixels(size) if pixels else size, size=size), dtype=dtype, version=version
            )
            for size in sizes
        ]
        tables = {name: space.setdefault(name, []) for name in ("WORKLOADS", "BENCHMARKS")}
        tables["WORKLOADS"] += made
        cases = space.setdefault("CASES", {})
        cases |= {one.name: _case_builder(one, build, size) for one, size in zip(made, sizes, strict=True)}
        stem = family.title().replace("_", "")
        for phase in dict.fromkeys(phases):
            base = _BENCHMARKS[phase]
            own = {"params": list(sizes), "build": staticmethod(build), "version": version}
            name = stem + base.__name__.lstrip("_")
            space[name] = type(name, (base,), own)
            tables["BENCHMARKS"].append(Declared(f"workloads.{name}", Phase(phase), (family,)))
        _count_all(space)
        return build

    return declare


def _count_all(space: dict[str, Any]) -> None:
    """One class for the exact figures of all workloads so far: they are recorded together."""
    names = list(space["CASES"])
    version = hashlib.sha256("".join(one.version for one in space["WORKLOADS"]).encode()).hexdigest()[:16]
    if "Counts" not in space:
        space["BENCHMARKS"].append(Declared("workloads.Counts", named_by="workload"))
    space["Counts"] = type("Counts", (_Counts,), {"params": names, "version": version})


def _case_builder(
    one: Workload, build: Callable[[Any], Callable[[], Any]], size: int
) -> "Callable[[], Case]":
    """What builds a workload for the recordings, which want one tensor of it."""

    def build_case() -> "Case":
        import torch

        from nbbench.measure.recording import Case

        run = build(size)
        if not callable(run):
            raise TypeError(f"{one.family}({size}) in {_FILE} returns {type(run).__name__}, not a function")

        def run_once() -> "torch.Tensor":
            image = run()
            if not isinstance(image, torch.Tensor):
                raise TypeError(f"{one.name} gives {type(image).__name__} back, not one tensor")
            return image

        return Case(one.name, one.pixels, getattr(torch, one.dtype), run_once)

    return build_case


def _skippable(function: Callable[[], Any]) -> Any:
    """Call a function of the user's; asv takes NotImplementedError for a skip in `setup` only."""
    from asv_runner.benchmarks.mark import SkipNotImplemented

    try:
        return function()
    except NotImplementedError as error:
        print(f"asv: skipped: {error}", file=sys.__stdout__, flush=True)
        raise SkipNotImplemented(str(error)) from error


class _Benchmark:
    """What the benchmarks of a workload share: each process is pinned before it builds anything."""

    param_names: ClassVar[list[str]] = ["size"]
    timeout = 120
    build: Callable[[int], Callable[[], Any]]

    def setup(self, size: int) -> None:
        from nbbench.measure.recording import prepare

        prepare()


class _Construct(_Benchmark):
    """Seconds of construction, a process a sample."""

    number, repeat, rounds, warmup_time = 1, 1, 3, 0

    def time_construct(self, size: int) -> None:
        _skippable(lambda: self.build(size))


class _First(_Benchmark):
    """Seconds of the first run after construction, a process a sample."""

    number, repeat, rounds, warmup_time = 1, 1, 3, 0

    def setup(self, size: int) -> None:
        super().setup(size)
        self.run = self.build(size)

    def time_first_run(self, size: int) -> None:
        _skippable(self.run)


class _Warm(_Benchmark):
    """Seconds of a run that others went before."""

    rounds, repeat, warmup_time = 2, (2, 5, 2.0), 0.05
    run: Callable[[], Any] | None = None

    def setup(self, size: int) -> None:
        if self.run is None:  # asv calls setup before every sample
            super().setup(size)
            self.run = self.build(size)

    def time_run(self, size: int) -> None:
        assert self.run is not None
        _skippable(self.run)


class _Memory(_Benchmark):
    """Bytes of the peak memory of a process that builds and runs once."""

    def peakmem_run(self, size: int) -> None:
        _skippable(lambda: self.build(size)())


class _Counts:
    """Exact figures of one run. They are recorded once a commit, with the ledgers that explain them."""

    param_names: ClassVar[list[str]] = ["workload"]
    params: ClassVar[list[str]] = []
    timeout = 60

    def setup_cache(self) -> dict[str, tuple[str, float, float]]:
        from nbbench.measure import recording

        found = recording.write(self.params)
        return {name: (one.error, float(one.ops), one.bytes_per_pixel) for name, one in found.items()}

    setup_cache.timeout = 600  # type: ignore[attr-defined]

    def track_operations(self, cache: dict[str, tuple[str, float, float]], workload: str) -> float:
        """Operations of one run that move bytes."""
        return float(_skippable(lambda: _unless_failed(cache[workload])[1]))

    track_operations.unit = "operations"  # type: ignore[attr-defined]

    def track_bytes_per_pixel(self, cache: dict[str, tuple[str, float, float]], workload: str) -> float:
        """Bytes read and written per pixel of one run."""
        return float(_skippable(lambda: _unless_failed(cache[workload])[2]))

    track_bytes_per_pixel.unit = "B/pixel"  # type: ignore[attr-defined]


def _unless_failed(figures: tuple[str, float, float]) -> tuple[str, float, float]:
    """Figures of the cache. Raises what was recorded in their place."""
    if error := figures[0]:
        skipped = error.startswith("NotImplementedError")
        raise (NotImplementedError if skipped else RuntimeError)(error.removeprefix("NotImplementedError: "))
    return figures


_BENCHMARKS: dict[str, type[_Benchmark]] = {
    Phase.CONSTRUCT: _Construct,
    Phase.FIRST: _First,
    Phase.WARM: _Warm,
    Phase.MEMORY: _Memory,
}
