"""The nouns of host work: what a program asks Python for, counted by source line; no I/O."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from nbbench.model import Phase


class HostKind(StrEnum):
    """What is counted: OUTPUT counts bytes, MEMORY bytes in whole MiB, all others how often."""

    CALL = "call"  # of a function of the subject
    LINE = "line"  # of the subject, executed
    OUTSIDE = "outside"  # a call of C or of another package's Python from a line of the subject, by name
    MODULE = "module"  # imported, with the line that imported it
    FILE = "file"  # opened
    OUTPUT = "output"  # bytes to stdout or stderr
    WARNING = "warning"
    MEMORY = "memory"  # by which the peak of what Python's allocators handed out rose on the line


MEMORY_UNIT = 2**20
"""Bytes to which MEMORY is rounded: allocations differ by hundreds of bytes from process to process, since
Python keeps freed objects for the next of their kind."""

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The Python that runs now: host work is compared under one."""

IMPORT_WORKLOAD = "import"
"""The name under which importing the subject is on record: all workloads share it."""


class HostCount(NamedTuple):
    """How often one thing happened on one line of the subject.

    `path` is relative to the subject's source root; '' with line 0 where no line of the subject was under
    way. `line` of a CALL is where the function begins. `name` says which module, function, stream, file or
    warning.
    """

    kind: HostKind
    path: str
    line: int
    function: str
    name: str
    amount: int


class HostPhase(NamedTuple):
    """The host work of one phase. Tensors are not in its MEMORY: the ledger counts them."""

    phase: Phase
    counts: tuple[HostCount, ...]


@dataclass(frozen=True, slots=True)
class HostWork:
    """The host work of one workload on one tree under one Python (3.11); `error` says why there is none."""

    workload: str
    python: str
    phases: tuple[HostPhase, ...] = ()
    error: str = ""
