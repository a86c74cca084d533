"""What a suite's own processes record of its workloads, whatever the subject: ledgers, runs, ceilings.

A module of `benchmarks/` has what builds its workloads in `CASES`, by their names. These functions run in
processes of the warm server and in `setup_cache`.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nbbench.compiled import CompiledWork
from nbbench.host import HostWork
from nbbench.ledger import Ledger
from nbbench.probe import ceiling
from nbbench.probe.resources import measure, pin_malloc, usable_threads
from nbbench.probe.workload import record_ledger
from nbbench.record.atomic import write_bytes
from nbbench.record.redact import redact_text
from nbbench.record.side_files import write_ledgers

_REPEAT = 7
_BUDGET_S = 2.0


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
    declared = importlib.import_module("benchmarks.workloads").BENCHMARKS
    modules = sorted({one.benchmark.partition(".")[0] for one in declared})
    found = [getattr(importlib.import_module(f"benchmarks.{name}"), "CASES", {}) for name in modules]
    return {name: build for cases in found for name, build in cases.items()}


def ledger_of(case: Case) -> Ledger:
    """The case's ledger; run it once before, so that caches of the subject are warm."""
    return record_ledger(case.name, case.run, pixels=case.pixels, asked=case.asked, source_root=source_root())


def failure_text(error: BaseException) -> str:
    """Why a workload could not be recorded, without the environment's secrets."""
    reason = str(error) if isinstance(error, SubjectBroken) else f"{type(error).__name__}: {error}"
    return redact_text(reason, os.environ)


def failed_ledger(name: str, error: BaseException) -> Ledger:
    """A ledger that only says why there is none."""
    return Ledger(name, 0, 0, 0, 0, 0, 0, (), "", "", "", error=failure_text(error))


def save(
    ledgers: Iterable[Ledger] = (), host: Iterable[HostWork] = (), compiled: Iterable[CompiledWork] = ()
) -> None:
    """Keep all kinds of exact work beside asv's results (where the environment asks for it)."""
    path = os.environ.get("NBBENCH_LEDGER_FILE", "")
    kept = {ledger.workload: ledger for ledger in ledgers}
    counted = {one.workload: one for one in host}
    made = {one.workload: one for one in compiled}
    if path and (kept or counted or made):
        write_ledgers(
            Path(path),
            tree=os.environ.get("NBBENCH_TREE_ID", ""),
            commit=os.environ.get("ASV_COMMIT", ""),
            torch=version("torch").partition("+")[0],
            ledgers=kept,
            host=counted,
            compiled=made,
        )


def write(workloads: list[str]) -> dict[str, Ledger]:
    """Record the named workloads and keep them in the ledger file; what fails is kept as its error."""
    prepare(threads=1)  # several trees may be recorded at a time
    cases, found = suite_cases(), {}
    for name in workloads:
        try:
            case = cases[name]()
            case.run()
            found[name] = dataclasses.replace(ledger_of(case), workload=name)
        except (Exception, SystemExit) as error:  # one that ends its process leaves the others theirs
            found[name] = failed_ledger(name, error)
    save(found.values())
    return found


def machine(path: str) -> None:
    """The machine's ceilings with this process's threads, as JSON at `path`."""
    prepare()
    write_bytes(Path(path), json.dumps(dataclasses.asdict(ceiling.all_ceilings())).encode())


def runs(workload: str, path: str) -> None:
    """Time a few warm runs of one workload and write them as JSON to `path`."""
    prepare()
    try:
        case = suite_cases()[workload]()
        case.run()
        told: dict[str, Any] = {
            "runs": [dataclasses.asdict(run) for run in measure(case.run, _REPEAT, budget_s=_BUDGET_S)]
        }
    except Exception as error:
        told = {"runs": [], "error": f"{type(error).__name__}: {error}"}
    write_bytes(Path(path), json.dumps(told).encode())
