"""Host work of a whole tree: importing it, then each workload in a fork of the process that imported it."""

from __future__ import annotations

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
from nbbench.probe.copies import alone
from nbbench.probe.forked import forked
from nbbench.probe.host_work import HostRecorder, Program, memory_peaks

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

    Each workload has a fork of its own, so that its first run is a first run. The first builder of all is
    the pilot: it is always recorded, and modules of others that it imports are imported
    before the other workloads are forked, so that each does not count (and pay for) the same ones again.
    `clean` is given the text of an error, and `reseed` is that of `forked`. This process must not have
    imported the subject.
    """
    compile_dir(source_root, quiet=2)  # else the first import of a tree would count the compiler's memory
    tree = _Tree(source_root, clean, reseed=reseed)
    imported, _ = tree.record(IMPORT_WORKLOAD, functools.partial(_import, load), memory=True)
    if imported.error:
        return [imported]
    load()
    asked, found = set(wanted), [imported]
    for number, (name, build) in enumerate(builders.items()):
        if number == 0 or name in asked:
            made, modules = tree.record(name, functools.partial(_run, build))
            found.append(made)
            if number == 0:
                _import_all(modules)
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


def _import_all(modules: Iterable[str]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


class _Tree:
    """Records programs of one source tree, each in forked children."""

    def __init__(self, root: str, clean: Callable[[str], str], *, reseed: bool) -> None:
        self._root, self._clean = root, clean
        self._forked = functools.partial(forked, root=root, reseed=reseed)

    def record(self, name: str, program: Program, *, memory: bool = False) -> _Counted:
        """A program's host work, and the modules of others that it imported.

        Memory is followed line by line where it is asked for, or a first child says that there is some.
        """
        peaks: dict[str, int] | str | None = None
        if not memory:
            peaks = self._forked(lambda: memory_peaks(program), dict[str, int])
        if isinstance(peaks, str):
            return HostWork(name, PYTHON, error=self._clean(peaks)), []
        answer = self._forked(lambda: self._counted(name, program, peaks), _Counted)
        if isinstance(answer, str):
            return HostWork(name, PYTHON, error=self._clean(answer)), []
        return answer

    def _counted(self, name: str, program: Program, peaks: Mapping[str, int] | None) -> _Counted:
        recorder = HostRecorder(self._root, peaks=peaks)
        program(recorder.phase)
        counts = [one for phase in recorder.phases for one in phase.counts]
        modules = [one.name for one in counts if one.kind is HostKind.MODULE]
        return HostWork(name, PYTHON, tuple(recorder.phases)), [
            one for one in modules if not self._is_mine(one)
        ]

    def _is_mine(self, module: str) -> bool:
        """Whether a module is the subject's: each workload imports those by itself."""
        file = getattr(sys.modules.get(module), "__file__", None) or ""
        return Path(file).is_relative_to(self._root)
