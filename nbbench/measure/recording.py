"""What a suite's own processes record of its workloads, whatever the subject: ledgers, runs, ceilings.

A module of `benchmarks/` has what builds its workloads in `CASES`, by their names. These functions run in
processes of the warm server and in `setup_cache`.
"""

import dataclasses
import functools
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nbbench.compiled import CompiledWork
from nbbench.growth import ScaledWork
from nbbench.host import IMPORT_WORKLOAD, PYTHON, REPEATS, HostWork
from nbbench.ledger import Dataflow, Ledger
from nbbench.model import Phase, to_plain
from nbbench.probe import ceiling
from nbbench.probe.device import marked
from nbbench.probe.forked import forked
from nbbench.probe.resources import alone, measure, pin_malloc, usable_threads
from nbbench.probe.storages import freeze_present
from nbbench.probe.workload import record_ledger, record_scale, record_traffic, start_phase
from nbbench.record.atomic import write_bytes
from nbbench.record.redact import redact_text
from nbbench.record.side_files import LedgerFile, write_ledgers
from nbbench.words import clean
from nbbench.workloads import Scale

_REPEAT = 7
_BUDGET_S = 2.0
_SAVE_S = 30.0  # what was recorded is kept so often: the whole may run out of time


class SubjectBroken(RuntimeError):
    """The commit cannot run this workload."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A workload ready to run: `run()` returns the image (or values) and prints nothing.

    `pixels` is the number of pixels or points that its work is divided by.
    """

    name: str
    pixels: int
    asked: torch.dtype
    run: Callable[[], torch.Tensor]


def prepare(*, malloc: bool = True, threads: int = 0) -> None:
    """Pin threads and malloc, and silence the subject's prints (their cost stays).

    With `malloc=False` the allocator stays as the C library has it; `threads` overrule the settings'.
    """
    torch.set_num_threads(usable_threads(threads or int(os.environ.get("NBBENCH_THREADS") or 0)))
    if malloc:
        pin_malloc()
    if not getattr(sys.stdout, "nbbench_silent", False):
        silent = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        silent.nbbench_silent = True  # type: ignore[attr-defined]
        sys.stdout = silent


def source_root() -> str:
    """Folder of the extracted tree that the subject must come from ('' under a foreign environment)."""
    return os.environ.get("NBBENCH_TREE", "")


def suite_cases() -> dict[str, Callable[[], Case]]:
    """What builds each workload, by name, of every module that the suite declares benchmarks of."""
    return _of_modules("CASES")


def _of_modules(table: str) -> dict[str, Callable[..., Case]]:
    declared = importlib.import_module("benchmarks.workloads").BENCHMARKS
    modules = sorted({one.benchmark.partition(".")[0] for one in declared})
    found = [getattr(importlib.import_module(f"benchmarks.{name}"), table, {}) for name in modules]
    return {name: build for tables in found for name, build in tables.items()}


def ledger_of(case: Case) -> Ledger:
    """The case's ledger; run it once before, so that caches of the subject are warm."""
    return record_ledger(case.name, case.run, pixels=case.pixels, asked=case.asked, source_root=source_root())


def failure_text(error: BaseException) -> str:
    """Why a workload could not be recorded, without the environment's secrets."""
    kind = "" if isinstance(error, SubjectBroken) else f"{type(error).__name__}: "
    return redact_text(f"{kind}{error}".removesuffix(": "), os.environ)


def failed_ledger(name: str, error: BaseException) -> Ledger:
    """A ledger that only says why there is none."""
    return Ledger(name, 0, 0, 0, 0, 0, 0, (), "", "", "", error=failure_text(error))


def save(
    ledgers: Iterable[Ledger] = (),
    host: Iterable[HostWork] = (),
    scaled: Iterable[ScaledWork] = (),
    starts: Iterable[HostWork] = (),
    compiled: Iterable[CompiledWork] = (),
    *,
    again: bool = False,
) -> None:
    """Keep exact work, line by line, beside asv's results (where the environment asks for it).

    `again` says that it was recorded before: what is kept then learns what does not repeat.
    """
    file = LedgerFile(
        os.environ.get("NBBENCH_TREE_ID", ""),
        os.environ.get("ASV_COMMIT", ""),
        marked(version("torch").partition("+")[0]),
        {one.workload: one for one in ledgers},
        {one.workload: one for one in host},
        {one.workload: one for one in starts},
        {one.scale: one for one in scaled},
        {one.workload: one for one in compiled},
    )
    path = os.environ.get("NBBENCH_LEDGER_FILE", "")
    if path and (file.workloads or file.host or file.scaled or file.compiled):
        write_ledgers(Path(path), file, again=again)


def write(workloads: list[str], again: bool = False) -> dict[str, Ledger]:
    """Record the named workloads, each in a fork, and keep them in the ledger file.

    What fails is kept as its error. `again` records each twice more, to see what does not repeat.
    """
    prepare(threads=1)  # several trees may be recorded at a time
    cases, saved = suite_cases(), time.monotonic()
    freeze_present()
    found: dict[str, Ledger] = {}
    starts: dict[str, HostWork] = {}
    for _ in range(REPEATS if again else 1):
        for name in workloads:
            found[name], starts[name] = _forked_record(name, cases, again=again)
            if time.monotonic() - saved > _SAVE_S:
                save(found.values(), starts=starts.values(), again=again)
                saved = time.monotonic()
        save(found.values(), starts=starts.values(), again=again)
    return found


def _forked_record(
    name: str, cases: Mapping[str, Callable[[], Case]], *, again: bool
) -> tuple[Ledger, HostWork]:
    answer: tuple[Ledger, HostWork] | str = forked(
        functools.partial(_record, name, cases), tuple[Ledger, HostWork], root=source_root(), reseed=again
    )
    if isinstance(answer, str):  # it ended its process
        return failed_ledger(name, SubjectBroken(answer)), HostWork(name, "")
    return answer


def _record(name: str, cases: Mapping[str, Callable[[], Case]]) -> tuple[Ledger, HostWork]:
    """A workload's ledger, and what tensors do while it starts up."""
    with Path(os.devnull).open("wb") as nowhere:
        for stream in (1, 2):  # endless output must not end the recording of all others
            os.dup2(nowhere.fileno(), stream)
    root = source_root()
    try:
        case, building = record_traffic(cases[name], source_root=root)
        _, first = record_traffic(case.run, asked=case.asked, source_root=root)
        ledger = dataclasses.replace(ledger_of(case), workload=name)
    except BaseException as error:  # a subject may raise KeyboardInterrupt itself
        return failed_ledger(name, error), HostWork(name, "")
    phases = start_phase(Phase.CONSTRUCT, building), start_phase(Phase.FIRST, first, ledger)
    return ledger, HostWork(name, "", phases)


def write_host(workloads: list[str], modules: list[str], again: bool = False) -> None:
    """Record the host work of importing the subject's `modules` and of the named workloads, and keep it.

    `again` is for what is on record already: it tells what does not repeat. Importing cannot be counted where
    the suite has imported the subject itself.
    """
    from nbbench.probe.host_phases import record_host

    def load() -> None:
        for name in modules:
            importlib.import_module(name)

    prepare(threads=1)
    redacted = functools.partial(redact_text, secrets=os.environ)
    there = [name for name in modules if name in sys.modules]
    cases = {name: functools.partial(lambda made: made().run, build) for name, build in suite_cases().items()}
    found = record_host(load, cases, workloads, source_root=source_root(), clean=redacted, reseed=again)
    if there:
        why = f"NotImplementedError: a module of the suite imports {there[0]} itself"
        found[0] = HostWork(IMPORT_WORKLOAD, PYTHON, error=why)
    save([], found, again=again)


def write_compiled(workload: str) -> None:
    """Record the compiled work of one workload and keep it in the ledger file."""
    from nbbench.probe.compiled import record_compiled

    tempfile.tempdir = None  # this process has a folder of its own
    prepare(threads=1)
    try:
        case = suite_cases()[workload]()
        made = record_compiled(workload, case.run, pixels=case.pixels, source_root=source_root())
    except (Exception, SystemExit) as error:
        made = CompiledWork(workload, PYTHON, error=clean(failure_text(error)))
    save(compiled=[made])


def write_scaled(scales: list[str]) -> None:
    """Record the named scales and keep them in the ledger file; what fails is kept as its error."""
    prepare(threads=1)
    builders, found = _of_modules("BUILDERS"), []
    redacted = functools.partial(redact_text, secrets=os.environ)
    for one in importlib.import_module("benchmarks.workloads").SCALES:
        if one.name in scales:

            def build(value: int, one: Scale = one) -> tuple[Callable[[], torch.Tensor], torch.dtype]:
                case = builders[one.family](value, *dict(one.fixed).values())
                return case.run, case.asked

            found.append(record_scale(one, build, source_root=source_root(), clean=redacted))
    save([], scaled=found)


def machine(path: str) -> None:
    """The machine's ceilings with this process's threads, as JSON at `path`."""
    prepare()
    write_bytes(Path(path), json.dumps(dataclasses.asdict(ceiling.all_ceilings())).encode())


def runs(workload: str, path: str) -> None:
    """Time a few warm runs of one workload and write them as JSON to `path`."""
    prepare()
    try:
        case = alone(suite_cases()[workload])
        alone(case.run)
        told: dict[str, Any] = {
            "seconds": [run.wall_s for run in measure(case.run, _REPEAT, budget_s=_BUDGET_S)]
        }
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    write_bytes(Path(path), json.dumps(told).encode())


def trace(workload: str, keep: list[int], folder: str, path: str) -> None:
    """In a process that holds the suite: the dataflow of one workload, as JSON at `path`."""
    from nbbench.probe.digests import pin_seeds, record_dataflow  # no other recording needs them

    prepare(threads=1)
    pin_seeds()
    try:
        case = alone(suite_cases()[workload])
        alone(case.run)
        found, kept = record_dataflow(workload, case.run, source_root=source_root(), keep=keep)
        for step, values in kept.items():
            values.numpy().tofile(Path(folder) / str(step))
    except (Exception, SystemExit) as error:
        found = Dataflow(workload, error=failed_ledger(workload, error).error)
    write_bytes(Path(path), json.dumps(to_plain(found)).encode())
