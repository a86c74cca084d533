"""Why a step's values differ: its dtype, the order of a sum, what it was given, or what it computes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nbbench.ledger import OUTSIDE, Dataflow
from nbbench.work.dataflow_diff import DataflowDiff, FirstDifference, FirstReason

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
    if told[0] != told[1] and diff.base_inputs(base) == diff.inputs(head):
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
        limit = _UNITS * max(_epsilon(before), _epsilon(dtype))
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


def _epsilon(dtype: str) -> float:
    """The distance from 1 to the next number of a dtype."""
    return _EPSILON.get(dtype, 0.0)


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
            if moved and moved <= max(_UNITS, terms) * _epsilon(dtypes[0]) and dtypes[0] == dtypes[1]:
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
