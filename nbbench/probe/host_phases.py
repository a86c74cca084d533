"""Host work of a whole tree: importing it, then each workload in a fork of the process that imported it."""

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from compileall import compile_dir
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

from nbbench.host import IMPORT_WORKLOAD, PYTHON, HostKind, HostWork
from nbbench.model import Phase
from nbbench.probe.forked import forked
from nbbench.probe.host_work import HostRecorder, Program, memory_peaks
from nbbench.probe.resources import alone

Builder: TypeAlias = Callable[[], Callable[[], object]]
"""Constructs what a workload runs; returns the function that runs it."""

_Counted: TypeAlias = tuple[HostWork, list[str]]
"""A program's host work, and the modules of others that it imported."""


def record_host(
    load: Callable[[], object],
    builders: Mapping[str, Builder],
    wanted: Iterable[str],
    *,
    source_root: str,
    clean: Callable[[str], str] = str,
    reseed: bool = False,
) -> list[HostWork]:
    """The host work of importing the subject (`load`) and of the wanted workloads.

    Each workload has a fork of its own. The first builder of all is the pilot, which is always recorded, so
    that what it imports of others is there for the rest (docs/host_work.md). `clean` is given the text of an
    error, and `reseed` is that of `forked`. This process must not have imported the subject.
    """
    compile_dir(source_root, quiet=2)  # else the first import of a tree would count the compiler's memory

    def record(name: str, program: Program, *, memory: bool = False) -> _Counted:
        """A program's host work; memory by line where it is asked for, or a first child found some."""
        peaks: dict[str, int] | str | None = None
        if not memory:
            peaks = forked(lambda: memory_peaks(program), dict[str, int], root=source_root, reseed=reseed)
        answer: _Counted | str
        if isinstance(peaks, str):
            answer = peaks
        else:
            count = functools.partial(_counted, source_root, name, program, peaks)
            answer = forked(count, _Counted, root=source_root, reseed=reseed)
        return (HostWork(name, PYTHON, error=clean(answer)), []) if isinstance(answer, str) else answer

    imported, _ = record(IMPORT_WORKLOAD, functools.partial(_import, load), memory=True)
    if imported.error:
        return [imported]
    load()
    asked, found = set(wanted), [imported]
    for number, (name, build) in enumerate(builders.items()):
        if number == 0 or name in asked:
            made, modules = record(name, functools.partial(_run, build))
            found.append(made)
            if number == 0:
                for module in modules:
                    with contextlib.suppress(Exception):
                        importlib.import_module(module)
    return found


def _import(load: Callable[[], object], phase: Callable[[Phase], AbstractContextManager[None]]) -> None:
    with phase(Phase.IMPORT):
        alone(load)


def _run(build: Builder, phase: Callable[[Phase], AbstractContextManager[None]]) -> None:
    with phase(Phase.CONSTRUCT):
        run = alone(build)
    for one in (Phase.FIRST, Phase.WARM):
        with phase(one):
            alone(run)


def _counted(root: str, name: str, program: Program, peaks: Mapping[str, int] | None) -> _Counted:
    recorder = HostRecorder(root, peaks=peaks)
    program(recorder.phase)
    modules = [one.name for phase in recorder.phases for one in phase.counts if one.kind is HostKind.MODULE]
    files = {one: getattr(sys.modules.get(one), "__file__", None) or "" for one in modules}
    others = [one for one, file in files.items() if not Path(file).is_relative_to(root)]
    return HostWork(name, PYTHON, tuple(recorder.phases)), others
