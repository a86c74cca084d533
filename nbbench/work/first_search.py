"""Recording two commits in search of the line at which their images begin to differ, and why a step's values
differ: its dtype, the order of a sum, what it was given, or what it computes.
"""

import hashlib
import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbbench.config import Settings
from nbbench.documents import document
from nbbench.errors import InconclusiveError
from nbbench.ledger import OUTSIDE, Dataflow, ImageChange
from nbbench.measure.counts import trace_workload
from nbbench.measure.process_env import torch_version
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import Servers, shared_servers
from nbbench.model import Commit
from nbbench.record.asv_values import BadFileError, load_object, read_bytes
from nbbench.record.atomic import write_text
from nbbench.record.packed import noun_of
from nbbench.words import Say
from nbbench.work.dataflow_diff import DataflowDiff, FirstDifference, FirstReason, Origins
from nbbench.work.ledger_diff import LedgerDiff, finite_or_none
from nbbench.work.line_match import LineMatch

Values = Mapping[int, NDArray[np.float64]]
"""What some steps gave, in float64 and in logical order; the image under OUTSIDE."""

_PRODUCTS = frozenset({"mm", "bmm", "addmm", "baddbmm", "mv", "dot"})
_SUMS = _PRODUCTS | {"sum", "mean", "cumsum", "linalg_vector_norm"}
# What only puts elements elsewhere, or adds two of them.
_MOVES = frozenset(
    {"add", "add_", "clone", "view", "_unsafe_view", "permute", "t", "transpose", "flip", "roll", "cat"}
    | {"stack", "unbind", "split", "unsqueeze", "squeeze", "lift_fresh", "zeros", "copy_"}
)
_PARTS = frozenset({"select", "slice"})
# From 1 to the next number of a dtype.
_EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
_EPSILON |= {"complex64": 2.0**-23, "complex128": 2.0**-52}
_UNITS = 64  # in the last place: a few operations one after the other stay within


def judge_start(
    diff: DataflowDiff, base: int | None, head: int, values: tuple[Values, Values]
) -> FirstDifference:
    """Why `head`'s values are none that base has, and by how much; `base` is the step to compare with."""
    site, name, here = diff.head.site(head), diff.head.workload, diff.same_site(base, head)
    apart = relative_change(values[0].get(base), values[1].get(head)) if base is not None and here else None
    if site.random:
        return FirstDifference(name, FirstReason.RANDOM, apart)
    if (cast := _cast(diff, base, head, values)) is not None:
        return cast
    if (moved := _reordered(diff, base, head, values)) is not None:
        return FirstDifference(name, FirstReason.ORDER, moved)
    if site.op.startswith("lift_fresh"):  # made of a number, or by numpy
        return FirstDifference(name, FirstReason.PYTHON, apart, *_scalars(values, base, head))
    if base is None or not here or diff.base.site(base).op != site.op:
        following = _next_change(diff, head, values) if apart is None else apart
        return FirstDifference(name, FirstReason.OPERATION, following)
    told = diff.base.told(base), diff.head.told(head)
    if told[0] != told[1] and diff.inputs(diff.base, base) == diff.inputs(diff.head, head):
        return FirstDifference(name, FirstReason.PYTHON, apart, *told)
    return FirstDifference(name, FirstReason.VALUES, apart)


def _cast(
    diff: DataflowDiff, base: int | None, head: int, values: tuple[Values, Values]
) -> FirstDifference | None:
    """Whether the dtype is all: the values agree within the rounding of the narrower one."""
    dtype, (taken, maker) = _dtype(diff.head, head), next(iter(diff.head.steps[head].inputs), (-1, OUTSIDE))
    pairs = []
    if base is not None:
        pairs.append((_dtype(diff.base, base), values[0].get(base)))
    if diff.head.site(head).op == "_to_copy" and taken >= 0:
        pairs.append((diff.head.values[taken].dtype, values[1].get(maker)))
    for before, array in pairs:
        apart = relative_change(array, values[1].get(head))
        limit = _UNITS * max(_EPSILON.get(before, 0.0), _EPSILON.get(dtype, 0.0))
        if before != dtype and apart is not None and apart <= limit:
            return FirstDifference(diff.head.workload, FirstReason.DTYPE, apart, before, dtype)
    return None


def _next_change(diff: DataflowDiff, head: int, values: tuple[Values, Values]) -> float | None:
    """By how much the next step differs that stands in both: a new one has nothing to be compared with."""
    pairs = ((diff.counterpart(step), step) for step in diff.of_head.unknown if step > head)
    changes = (relative_change(values[0].get(a), values[1].get(b)) for a, b in pairs if a is not None)
    return next((apart for apart in changes if apart is not None), None)


def relative_change(before: NDArray[np.float64] | None, after: NDArray[np.float64] | None) -> float | None:
    """The largest change of an element over the largest element; infinite where one side alone is finite.

    NaN equals NaN. None where there is nothing to compare, or other elements.
    """
    if before is None or after is None or before.size != after.size:
        return None
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    if same.all():
        return 0.0
    one, two = before[~same], after[~same]
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        return float("inf")
    whole = np.abs(before[np.isfinite(before)])
    return float(np.abs(two - one).max() / max(whole.max(), np.abs(two).max()))


def step_figures(values: NDArray[np.float64] | None) -> tuple[float, ...]:
    """The sum, the norm, the smallest and the largest element; empty where there is none, or not finite."""
    if values is None or not values.size:
        return ()
    with np.errstate(invalid="ignore", over="ignore"):
        found = values.sum(), np.linalg.norm(values), values.min(), values.max()
    return tuple(map(float, found)) if all(map(math.isfinite, found)) else ()


def _dtype(flow: Dataflow, step: int) -> str:
    return flow.values[flow.steps[step].outputs[0]].dtype


def _scalars(values: tuple[Values, Values], base: int | None, head: int) -> tuple[str, str]:
    """A single number before and after, as text; empty for what has more elements."""
    one, two = values[0].get(base) if base is not None else None, values[1].get(head)
    if one is None or two is None or one.size != 1 or two.size != 1:
        return "", ""
    return f"{one[0]:.9g}", f"{two[0]:.9g}"


def _reordered(
    diff: DataflowDiff, base: int | None, head: int, values: tuple[Values, Values]
) -> float | None:
    """How far apart the first steps lie at which both sides meet again but for rounding, where all that they
    do until then is to add up the same elements; None where they do anything else."""
    unknown = diff.of_base.unknown, diff.of_head.unknown
    sides = [[step for step in side if step in kept] for side, kept in zip(unknown, values, strict=True)]
    for after in sides[1]:
        for before in sides[0]:
            moved = relative_change(values[0][before], values[1][after])
            dtypes = _dtype(diff.base, before), _dtype(diff.head, after)
            terms = max(_terms(diff.base, before), _terms(diff.head, after))
            near = max(_UNITS, terms) * _EPSILON.get(dtypes[0], 0.0)
            if moved and moved <= near and dtypes[0] == dtypes[1]:
                ways = (diff.base, unknown[0], before if base is None else base, before)
                return moved if _only_adds(ways, (diff.head, unknown[1], head, after)) else None
    return None


def _terms(flow: Dataflow, step: int) -> float:
    """How many terms an element of a step's sum has. Two orders of n terms of one sign differ by at most
    2 γ_n, about n times the dtype's epsilon (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
    section 4.2)."""
    one, op = flow.steps[step], flow.site(step).op
    taken = [flow.values[value] for value, _ in one.inputs if value >= 0]
    if op not in _SUMS or not taken:
        return 1.0
    if op in _PRODUCTS:
        shape = taken[max(len(taken) - 2, 0)].shape
        return shape[-1] if shape else 1.0
    return max(value.size for value in taken) / max(flow.values[one.outputs[0]].size, 1)


_Way = tuple[Dataflow, Sequence[int], int, int]
"""A recording, its steps that give unknown values, and the first and the last of them that are meant."""


def _only_adds(*ways: _Way) -> bool:
    """Whether both ways only add up, and whatever one takes in parts it takes as a whole."""
    ops: set[str] = set()
    for flow, unknown, start, end in ways:
        parts: dict[int, dict[str, int]] = {}
        for step in (step for step in unknown if start <= step <= end):
            one, op = flow.steps[step], flow.site(step).op
            if op in _PARTS:
                parts.setdefault(one.inputs[0][0], {})[flow.told(step)] = flow.values[one.outputs[0]].size
            else:
                ops.add(op)
        if any(sum(sizes.values()) != flow.values[value].size for value, sizes in parts.items()):
            return False
    products = {"mul"} if ops & _PRODUCTS else set()
    return bool(ops & _SUMS) and ops <= _SUMS | _MOVES | products


_KIND = "first-difference"
_LOOKED_AT = 24  # steps behind the first one, in search of values that agree again but for rounding
_MOST_BYTES = 128 * 2**20  # of values that a recording writes


def smallest_change(diffs: Iterable[LedgerDiff]) -> LedgerDiff | None:
    """The workload with least work of those whose image changed, or else its last bits."""
    changed = [diff for diff in diffs if diff.image is not ImageChange.SAME_BITS]
    return min(changed, key=lambda d: (not d.new_image, d.head.cost_bytes, d.workload), default=None)


def first_difference(
    settings: Settings,
    ends: tuple[Commit, Commit],
    workload: str,
    match: LineMatch | None,
    say: Say,
    *,
    servers: Servers | None = None,
) -> FirstDifference | None:
    """Where the values of a workload begin to differ between two commits; what was found once is kept.

    Each side runs twice: to digest all values, and to keep those of the steps in question. None, and said,
    where it cannot be found out.
    """
    trees = "-".join(commit.tree[:16] for commit in ends)
    name = hashlib.sha256(f"{workload} {torch_version()}".encode()).hexdigest()[:16]
    path = settings.state_dir / "first_difference" / f"{trees}-{name}.json"
    with suppress(BadFileError, ValueError):
        kept = load_object(read_bytes(path), path)
        return noun_of(FirstDifference, {key: kept[key] for key in kept if key != "schema"})
    say(f"looking for where the values of {workload} begin to differ")
    try:
        with shared_servers(servers) as mine:
            found = _find(settings, mine.full, ends, workload, match)
    except (InconclusiveError, IndexError, ValueError) as error:  # or a recording that the subject spoilt
        say(f"where the image begins to differ was not found: {error}")
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, document(_KIND, found))
    return found


def _find(
    settings: Settings,
    server: WarmServer,
    ends: tuple[Commit, Commit],
    workload: str,
    match: LineMatch | None,
) -> FirstDifference:
    base_flow, head_flow = (trace_workload(settings, server, commit, workload) for commit in ends)
    diff = DataflowDiff(base_flow, head_flow, match)
    if diff.same_image:  # the ledgers' images differ, and these do not: their seeds are pinned
        return FirstDifference(workload, FirstReason.RANDOM)
    head, base = diff.start() or (None, None)
    sides = (base_flow, diff.of_base, base), (head_flow, diff.of_head, head)
    before, after = (
        _values(settings, server, commit, *side) for commit, side in zip(ends, sides, strict=True)
    )
    image = finite_or_none(relative_change(before.get(OUTSIDE), after.get(OUTSIDE)))
    if head is None:
        return FirstDifference(workload, FirstReason.VALUES, image=image)
    found = judge_start(diff, base, head, (before, after))
    if found.relative == math.inf and not found.before:
        found = replace(found, before="finite", after="not finite")
    site = head_flow.site(head)
    old = base_flow.site(base) if base is not None and diff.same_site(base, head) else None
    return replace(
        found,
        relative=finite_or_none(found.relative),
        where=f"{site.path}:{site.line}" if site.path else "(benchmark)",
        was=f"{old.path}:{old.line}" if old and old.path else "",
        function=site.function,
        op=site.op,
        op_before=old.op if old else "",
        image=image,
        later=max(head_flow.image[1] - head, 0),
        figures_before=step_figures(before.get(base)) if base is not None and old else (),
        figures_after=step_figures(after.get(head)),
    )


def _values(
    settings: Settings, server: WarmServer, commit: Commit, flow: Dataflow, found: Origins, start: int | None
) -> Values:
    """Record a side again, with the values of the steps that are wanted; OUTSIDE has the image.

    Raises InconclusiveError where it computes something else than before.
    """
    names = [*_to_keep(flow, found, start), OUTSIDE]
    with tempfile.TemporaryDirectory(dir=server.scratch) as folder:
        place = Path(folder)
        again = trace_workload(settings, server, commit, flow.workload, keep=names, folder=place)
        if again != flow:
            raise InconclusiveError(f"{flow.workload} on {commit.short} computes something else in each run")
        there = (step for step in names if (place / str(step)).is_file())
        return {step: np.fromfile(place / str(step), dtype=np.float64) for step in there}


def _to_keep(flow: Dataflow, found: Origins, start: int | None) -> list[int]:
    """The steps whose values are wanted: the first, what it took, and the next ones that are unknown."""
    if start is None:
        return []
    after = [step for step in found.unknown if step > start]
    shown = [start, *after[:_LOOKED_AT], *after[-_LOOKED_AT:]]
    before = [maker for step in shown for _, maker in flow.steps[step].inputs if maker != OUTSIDE]
    wanted = list(dict.fromkeys([*shown, *before]))
    room = accumulate(16 * flow.values[flow.steps[step].outputs[0]].size for step in wanted)
    return [step for step, used in zip(wanted, room, strict=True) if used <= _MOST_BYTES]
