"""Host work of a whole tree: importing it, then each workload in a fork of the process that imported it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from compileall import compile_dir
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeAlias

import msgspec

from nbbench.growth import ScaledWork
from nbbench.host import IMPORT_WORKLOAD, MEMORY_UNIT, PYTHON, HostKind, HostWork
from nbbench.model import Phase
from nbbench.probe.host_work import HostRecorder, memory_peak

Builder: TypeAlias = Callable[[], Callable[[], object]]
"""Constructs what a workload runs; returns the function that runs it."""

_Answer: TypeAlias = int | str | tuple[HostWork, list[str]] | ScaledWork
"""Of a child: bytes of memory, an error's text, a program's host work and the modules that it imported, or
what a scale counts."""

_Program: TypeAlias = Callable[[Callable[[Phase], AbstractContextManager[None]]], None]


def record_host(
    load: Callable[[], object],
    builders: Mapping[str, Builder],
    wanted: Iterable[str],
    *,
    source_root: str,
    clean: Callable[[str], str] = str,
) -> list[HostWork]:
    """The host work of importing the subject (`load`) and of the wanted workloads.

    Each workload has a fork of its own, so that its first run is a first run. The first builder of all is
    the pilot: it is always recorded, with its memory, and modules of others that it imports are imported
    before the other workloads are forked, so that each does not count (and pay for) the same ones again.
    `clean` is given the text of an error. This process must not have imported the subject.
    """
    compile_dir(source_root, quiet=2)  # else the first import of a tree would count the compiler's memory
    tree = _Tree(source_root, clean)
    imported, _ = tree.record(IMPORT_WORKLOAD, functools.partial(_import, load))
    if imported.error:
        return [imported]
    load()
    asked, found = set(wanted), [imported]
    for number, (name, build) in enumerate(builders.items()):
        if number == 0 or name in asked:
            made, modules = tree.record(name, functools.partial(_run, build), memory=number == 0)
            found.append(made)
            if number == 0:
                _import_all(modules)
    return found


def _import(load: Callable[[], object], phase: Callable[[Phase], AbstractContextManager[None]]) -> None:
    with phase(Phase.IMPORT):
        load()


def _run(build: Builder, phase: Callable[[Phase], AbstractContextManager[None]]) -> None:
    with phase(Phase.CONSTRUCT):
        run = build()
    for one in (Phase.FIRST, Phase.WARM):
        with phase(one):
            run()


def _import_all(modules: Iterable[str]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


class _Tree:
    """Records programs of one source tree, each in forked children."""

    def __init__(self, root: str, clean: Callable[[str], str]) -> None:
        self._root, self._clean = root, clean

    def record(self, name: str, program: _Program, *, memory: bool = False) -> tuple[HostWork, list[str]]:
        """A program's host work, and the modules of others that it imported.

        Memory is followed line by line where it is asked for, or a first child says that there is some.
        """
        answer: _Answer = MEMORY_UNIT
        if not memory:
            answer = forked(lambda: memory_peak(lambda: program(lambda _: nullcontext())))
        if isinstance(answer, int):
            large = answer >= MEMORY_UNIT // 2
            answer = forked(lambda: self._counted(name, program, memory=large))
        if not isinstance(answer, tuple):
            return HostWork(name, PYTHON, error=self._clean(str(answer))), []
        work, modules = answer
        return work, modules

    def _counted(self, name: str, program: _Program, *, memory: bool) -> tuple[HostWork, list[str]]:
        recorder = HostRecorder(self._root, memory=memory)
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


def forked(function: Callable[[], _Answer]) -> _Answer:
    """What a function returns in a forked child; the text of its error where it failed.

    The child runs the subject, which may write into any file that is open: what comes back is data, checked
    by its type, and never code.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _become_child(function, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        data = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if data and not code:
        try:
            answer: _Answer = msgspec.convert(json.loads(data), _Answer)
        except (ValueError, RecursionError, msgspec.MsgspecError):
            return "the process wrote something else than its counts"
        return answer
    return f"the process was killed by signal {-code}" if code < 0 else f"the process ended with {code}"


def _become_child(function: Callable[[], _Answer], writing: int) -> None:
    code = 1
    try:
        try:
            answer: _Answer = function()
        except (Exception, SystemExit) as error:
            answer = f"{type(error).__name__}: {error}"
        with os.fdopen(writing, "w", encoding="ascii") as stream:
            json.dump(msgspec.to_builtins(answer), stream)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
