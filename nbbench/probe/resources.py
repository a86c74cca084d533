"""Pins and meters of a benchmark process: malloc thresholds, page faults, CPU time, sizes of caches."""

import ctypes
import gc
import os
import re
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nbbench.probe.device import on_cuda

_Answer = TypeVar("_Answer")
_leave = os._exit

# mallopt's parameter numbers and the largest int it takes (malloc.h of glibc).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**31 - 1

# Pinned by every benchmark unless the allocator is what is measured. Set before torch is
# imported: CUDA_VISIBLE_DEVICES and TORCHDYNAMO_DISABLE are read at import time.
PINNED_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "KMP_DUPLICATE_LIB_OK": "TRUE",
    "TORCHDYNAMO_DISABLE": "1",
    # numpy's BLAS would start threads at import, before the warm server forks.
    "OPENBLAS_NUM_THREADS": "1",
}

# Instead, where the GPU is measured. torch then asks NVML whether there is one: a warm server that asked the
# driver itself could fork no process that uses it.
# Inductor, which runs on a GPU import, is to start no processes of its own.
_CUDA_ENVIRONMENT = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}

# The switches that turn compilation off: torch's own, and what subjects call theirs.
COMPILE_SWITCH = re.compile(r"(?:\w+_)?DISABLE_COMPILE|TORCHDYNAMO_DISABLE|TORCH_COMPILE_DISABLE")


def pinned_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What is pinned in a process that measures the device which its environment names."""
    if not on_cuda(environ):
        return dict(PINNED_ENVIRONMENT)
    kept = {name: value for name, value in PINNED_ENVIRONMENT.items() if name != "CUDA_VISIBLE_DEVICES"}
    return kept | _CUDA_ENVIRONMENT


def pin_malloc() -> bool:
    """Keep large blocks on the heap instead of mapping and unmapping each one.

    By default glibc maps every block above a threshold of at most 32 MiB and returns it to
    the system when freed, so each temporary is page-faulted again (docs/findings.md). Cannot
    be undone in the same process. Returns False where the C library has no mallopt.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    done = [mallopt(_M_MMAP_THRESHOLD, _LARGEST), mallopt(_M_TRIM_THRESHOLD, _LARGEST)]
    return all(done)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def usable_threads(asked: int = 0) -> int:
    """Threads to compute with: `asked`, or all cores that this process may use but one, at most 4.

    A team of threads waits for its slowest member at every operation, so a single busy core
    slows all of it down: with one of two cores taken by others a 512² run took 12 times as
    long on two threads as on one. The core that is left takes what else the machine does.
    """
    return asked if asked > 0 else max(1, min(usable_cores() - 1, 4))


def run_delay(task: int | str) -> float:
    """Seconds that a process's main thread (or `thread-self`, `self/task/N`) was ready but waited for a core;
    to be read before it is reaped. 0 where Linux does not tell."""
    try:
        return int(Path(f"/proc/{task}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def alone(call: Callable[[], _Answer]) -> _Answer:
    """What a call of the subject returns; a process that it forked and did not end stops here.

    Such a copy would go on in the loop that it came from, and be doubled by each further run.
    """
    pid = os.getpid()
    try:
        return call()
    finally:
        if os.getpid() != pid:
            _leave(0)


@dataclass(frozen=True, slots=True)
class Run:
    """One timed run: seconds of wall and system time, and page faults."""

    wall_s: float
    system_s: float
    minor_faults: int


def measure(function: Callable[[], object], repeat: int, *, budget_s: float = float("inf")) -> list[Run]:
    """Run `function` up to `repeat` times (at least once), stopping when `budget_s` is spent.

    Garbage collection is off meanwhile, as asv does it.
    """
    runs: list[Run] = []
    with collector_off():
        started = time.perf_counter()
        while len(runs) < repeat and (not runs or time.perf_counter() - started < budget_s):
            before = resource.getrusage(resource.RUSAGE_SELF)
            start = time.perf_counter()
            alone(function)
            wall = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_SELF)
            system, faults = after.ru_stime - before.ru_stime, after.ru_minflt - before.ru_minflt
            runs.append(Run(wall, system, faults))
    return runs


@contextmanager
def collector_off() -> Iterator[None]:
    """Garbage collection is off in the block, and afterwards as it was."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


PRETENDED = "NBBENCH_CACHE_MB"
"""Variable that pretends a last-level cache of so many MiB, for tests of other machines."""

_CACHES = "sys/devices/system/cpu/cpu0/cache"
_SIZE = re.compile(r"(\d+)\s*([KMG]?)(?:i?B)?")


def cache_of_level(level: int, root: Path = Path("/")) -> int:
    """The size of the data or unified cache of this level, for one core; 0 where it is not known."""
    for index in sorted((root / _CACHES).glob("index*")):
        if _text(index / "level") == str(level) and _text(index / "type") != "Instruction":
            return parse_size(_text(index / "size"))
    return 0


def last_level_cache_bytes(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> int:
    """The size of the largest cache of the first processor; 0 where it is not known."""
    pretended = environ.get(PRETENDED, "")
    if pretended.isdigit() and int(pretended):
        return int(pretended) * 2**20
    return max((parse_size(_text(path)) for path in (root / _CACHES).glob("index*/size")), default=0)


def parse_size(text: str) -> int:
    """`32768K` in bytes; 0 for anything else."""
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[match[2]] if match else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
