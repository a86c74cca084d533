"""The nouns of exact work: ledgers, costs by line, source diffs, ceilings, dataflow recordings; no I/O."""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

# What weighs an operation against bytes where the two disagree (a loop that became tensors): an
# operation without bytes costs dispatch time only, about 5 µs, in which a core moves about 50 kB at 10 GB/s.
BYTES_PER_OPERATION = 50_000

IMAGE = "image"
"""What stands for the image among what varies."""
_ROUNDING = 1e-4  # blocks of images that lie nearer to each other are the same


class ImageChange(StrEnum):
    """How the images of two runs of one workload differ; programs with DIFFERENT ones are not comparable."""

    SAME_BITS = "same bits"
    WITHIN_ROUNDING = "same within rounding"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """What one source line of the subject asked for, by operation and dtype.

    `path` is relative to the subject's source root; `line` is 1-based; 0 when the operation
    was issued by the benchmark itself.
    """

    path: str
    line: int
    function: str
    op: str
    dtype: str
    count: int
    bytes: int
    upcast_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """The exact work of one workload on one tree (docs/ledger.md gives the definition).

    `fused_bytes` is what a perfect fusion of the whole would move: what came in once, the image
    and whatever else it left behind once.
    `peak_line` (path, line, function) ran when most bytes were alive. `backward_ops` and
    `backward_bytes` are the part of `ops` and `bytes` that autograd's backward pass issued.
    `notes` say what the figures do not tell, in sentences: compiled code that ran eagerly. `counts` are
    what else was counted exactly, by the name of its metric (`metrics.LEDGER_METRICS`). `repeated` says that
    it was recorded more than once, and `varies` which lines (`path:line`) differed then, or the image.
    """

    workload: str
    pixels: int
    ops: int
    dispatched: int
    bytes: int
    upcast_bytes: int
    peak_live_bytes: int
    bytes_by_dtype: tuple[tuple[str, int], ...]
    image_sum: str
    image_digest: str
    output_dtype: str
    image_blocks: tuple[float, ...] = ()  # means of an 8 × 8 grid of blocks, row by row
    lines: tuple[LedgerLine, ...] = field(default=())
    error: str = ""
    fused_bytes: int = 0
    peak_line: tuple[str, int, str] = ("", 0, "")
    backward_ops: int = 0
    backward_bytes: int = 0
    notes: tuple[str, ...] = ()
    counts: tuple[tuple[str, float], ...] = ()
    varies: tuple[str, ...] = ()
    repeated: bool = False

    def agreed(self, again: "Ledger") -> "Ledger":
        """This recording, knowing another one of the same tree: what differs between the two varies."""
        if self.error or again.error:
            return replace(self, repeated=True)
        differ = {f"{one.path}:{one.line}" for one in set(self.lines) ^ set(again.lines)}
        blocks = zip(self.image_blocks, again.image_blocks, strict=False)
        if any(abs(a - b) > _ROUNDING * max(abs(a), abs(b)) for a, b in blocks):
            differ.add(IMAGE)
        return replace(self, varies=tuple(sorted({*self.varies, *differ})), repeated=True)

    @property
    def bytes_per_pixel(self) -> float:
        """Bytes read and written per pixel (or per point)."""
        return self.bytes / self.pixels if self.pixels else float("nan")

    @property
    def upcast_per_pixel(self) -> float:
        """Bytes per pixel of values wider than asked for."""
        return self.upcast_bytes / self.pixels if self.pixels else float("nan")

    @property
    def cost_bytes(self) -> float:
        """The cost of a run in bytes: what it moves, and what its operations cost to dispatch."""
        return float(self.bytes + self.ops * BYTES_PER_OPERATION)


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that differ between two versions of a file, without context.

    `removed` stood from line `base_start` on, `added` stands from line `head_start` on
    (1-based); where one is empty, its start is the line before which it would stand.
    """

    base_start: int
    head_start: int
    removed: tuple[str, ...]
    added: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TreeHunk:
    """A piece of a difference that can be applied without the others.

    Lines of a Python file, or, without `lines`, the file as a whole: added, deleted, renamed, or replaced
    where it is no Python source. A path is empty where there is no such file.
    """

    base_path: str
    head_path: str
    lines: Hunk | None = None

    @property
    def whole(self) -> str:
        """What happens to the file as a whole; '' where only lines of it change."""
        if self.lines is not None:
            return ""
        if self.base_path and self.head_path:
            return "replaced" if self.base_path == self.head_path else "renamed"
        return "added" if self.head_path else "deleted"

    @property
    def place(self) -> str:
        """Where it stands: `path:first-last` in head, or in base where it only takes lines away."""
        if self.lines is None:
            moved = self.whole == "renamed"
            return f"{self.base_path} → {self.head_path}" if moved else self.head_path or self.base_path
        new = self.lines.added
        path, first = (
            (self.head_path, self.lines.head_start) if new else (self.base_path, self.lines.base_start)
        )
        last = first + len(new or self.lines.removed) - 1
        return f"{path}:{first}" + (f"-{last}" if last > first else "")

    @property
    def change(self) -> str:
        """What it does: `-1 +2` lines, or what happens to the file."""
        return self.whole or f"-{len(self.lines.removed)} +{len(self.lines.added)}"  # type: ignore[union-attr]

    def holds(self, place: str) -> bool:
        """Whether a line (`path:line`, of base or head) stands in it, or in a file that comes or goes."""
        path, _, number = place.rpartition(":")
        if self.lines is None:
            return path in (self.base_path, self.head_path)
        head = path == self.head_path and 0 <= int(number) - self.lines.head_start < len(self.lines.added)
        base = path == self.base_path and 0 <= int(number) - self.lines.base_start < len(self.lines.removed)
        return head or base


@dataclass(frozen=True, slots=True)
class FileDiff:
    """How a file differs between two trees; a path is empty where there is no such file."""

    base_path: str
    head_path: str
    hunks: tuple[Hunk, ...]


@dataclass(frozen=True, slots=True)
class Roof:
    """A machine's ceilings with a number of threads; rates in bytes per second (docs/roofline.md).

    `copy` … `triad` are STREAM's figures on arrays of `array_bytes`. `curve` gives rates by the
    bytes that one operation touches, smallest first; empty where only the copy ceiling is known.
    `op_s` and `view_s` are what torch needs for an operation, or a view, that moves nothing.
    """

    copy: float
    scale: float
    add: float
    triad: float
    array_bytes: int
    cache_bytes: int
    threads: int
    op_s: float = 0.0
    view_s: float = 0.0
    curve: tuple[tuple[int, float], ...] = ()


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
        return math.prod(self.shape)


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
