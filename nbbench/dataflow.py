"""The nouns of a dataflow recording: what each operation took and gave, as digests; no I/O."""

from __future__ import annotations

from dataclasses import dataclass

OUTSIDE = -1
"""The producer of a value that no recorded operation made: a constant of Python, numpy's work, a cache."""


@dataclass(frozen=True, slots=True)
class ValueDigest:
    """A tensor's logical content, whatever its layout; of a Python number where the dtype is `number`."""

    bits: int
    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[int, str]:
        """What two values share that hold the same elements in the same order."""
        return self.bits, self.dtype

    @property
    def size(self) -> int:
        """How many elements it has."""
        count = 1
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True, slots=True)
class CallSite:
    """A place in the subject that asks for an operation; `instruction` tells two of one line apart.

    `random` says that the operation draws random numbers.
    """

    path: str
    line: int
    function: str
    instruction: int
    op: str
    random: bool = False


@dataclass(frozen=True, slots=True)
class DataStep:
    """One operation: its site and its arguments without tensors (their places in the recording's lists).

    `inputs` are pairs of a value and the step that made it (OUTSIDE: none did). An input without a value
    (-1) is what else lies in the memory that the step wrote a part of.
    """

    site: int
    arguments: int
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dataflow:
    """A run of one workload: its steps in order, and which value is its image, made by which step."""

    workload: str
    steps: tuple[DataStep, ...] = ()
    sites: tuple[CallSite, ...] = ()
    arguments: tuple[str, ...] = ()
    values: tuple[ValueDigest, ...] = ()
    image: tuple[int, int] = (-1, OUTSIDE)
    error: str = ""

    def site(self, step: int) -> CallSite:
        """Where a step was asked for."""
        return self.sites[self.steps[step].site]

    def told(self, step: int) -> str:
        """A step's arguments without its tensors."""
        return self.arguments[self.steps[step].arguments]
