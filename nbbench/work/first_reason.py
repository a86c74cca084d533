"""Why a step's values differ: its dtype, the order of a sum, what it was given, or what it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nbbench.dataflow import OUTSIDE, Dataflow
from nbbench.work.dataflow_diff import DataflowDiff
from nbbench.work.first_difference import FirstDifference, FirstReason

Values = Mapping[int, NDArray[np.float64]]
"""What some steps gave, in float64 and in logical order; the image under OUTSIDE."""

_SUMS = frozenset(
    {"sum", "mean", "mm", "bmm", "addmm", "baddbmm", "mv", "dot", "cumsum", "linalg_vector_norm"}
)
_PRODUCTS = frozenset({"mm", "bmm", "addmm", "baddbmm", "mv", "dot"})
# What only puts elements elsewhere, or adds two of them.
_MOVES = frozenset(
    {"add", "add_", "clone", "view", "_unsafe_view", "permute", "t", "transpose", "flip", "roll", "cat"}
    | {"stack", "unbind", "split", "unsqueeze", "squeeze", "lift_fresh", "zeros", "copy_"}
)
_PARTS = frozenset({"select", "slice"})
_EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
_EPSILON |= {"complex64": 2.0**-23, "complex128": 2.0**-52}
_UNITS = 64  # in the last place: a few operations one after the other stay within
_CAST_UNITS = 2


def judge_start(
    diff: DataflowDiff, base: int | None, head: int, values: tuple[Values, Values]
) -> FirstDifference:
    """Why `head`'s values are none that base has, and by how much; `base` is the step to compare with."""
    site, here, name = diff.head.site(head), diff.same_site(base, head), diff.head.workload
    apart = relative_change(values[0].get(base), values[1].get(head)) if base is not None and here else None
    if site.random:
        return FirstDifference(name, FirstReason.RANDOM, apart)
    if (cast := _cast(diff, base, head, values)) is not None:
        return cast
    rejoined = _rejoined(diff, values)
    if rejoined is not None and _is_reordered(diff, base, head, rejoined[0]):
        return FirstDifference(name, FirstReason.ORDER, rejoined[1], rounding=True)
    if diff.from_outside(base, head):
        python = FirstReason.PYTHON if site.op.startswith("lift_fresh") else FirstReason.INPUT
        return FirstDifference(name, python, apart, *_scalars(values, base, head))
    same = base is not None and here and diff.base.site(base).op == site.op
    if base is not None and same and diff.base_inputs(base) == diff.inputs(head):
        told = diff.base.told(base), diff.head.told(head)
        if told[0] != told[1]:
            return FirstDifference(name, FirstReason.PYTHON, apart, *told)
    if rejoined is not None:
        return FirstDifference(name, FirstReason.OPERATION, rejoined[1], rounding=True)
    if same and base is not None and diff.base_inputs(base) != diff.inputs(head) and diff.of_base.first:
        gone = diff.base.site(diff.of_base.first[0])
        return FirstDifference(name, FirstReason.GONE, apart, f"{gone.op} at {gone.path}:{gone.line}")
    if same:
        return FirstDifference(name, FirstReason.VALUES, apart)
    following = _next_change(diff, head, values) if apart is None else apart
    return FirstDifference(name, FirstReason.OPERATION, following)


def _cast(
    diff: DataflowDiff, base: int | None, head: int, values: tuple[Values, Values]
) -> FirstDifference | None:
    """Whether the dtype is all: the values agree within the rounding of the narrower one."""
    dtype, (taken, maker) = _dtype(diff.head, head), next(iter(diff.head.steps[head].inputs), (-1, OUTSIDE))
    pairs = []
    if base is not None:
        pairs.append((_dtype(diff.base, base), values[0].get(base), _UNITS))
    if diff.head.site(head).op == "_to_copy" and taken >= 0:
        pairs.append((diff.head.values[taken].dtype, values[1].get(maker), _CAST_UNITS))
    for before, array, units in pairs:
        apart = relative_change(array, values[1].get(head))
        if before != dtype and apart is not None and apart <= units * _epsilon((before, dtype)):
            return FirstDifference(diff.head.workload, FirstReason.DTYPE, apart, before, dtype, rounding=True)
    return None


def _next_change(diff: DataflowDiff, head: int, values: tuple[Values, Values]) -> float | None:
    """By how much the next step differs that stands in both: a new one has nothing to be compared with."""
    for step in diff.of_head.unknown:
        base = diff.counterpart(step) if step > head else None
        apart = relative_change(values[0].get(base), values[1].get(step)) if base is not None else None
        if apart is not None:
            return apart
    return None


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


def _dtype(flow: Dataflow, step: int) -> str:
    return flow.values[flow.steps[step].outputs[0]].dtype


def _epsilon(dtypes: Sequence[str]) -> float:
    """The coarsest of the dtypes' distances from 1 to the next number."""
    return max(_EPSILON.get(one, 0.0) for one in dtypes)


def _scalars(values: tuple[Values, Values], base: int | None, head: int) -> tuple[str, str]:
    """A single number before and after, as text; empty for what has more elements."""
    found = [side.get(step) for side, step in zip(values, (base, head), strict=True) if step is not None]
    if len(found) < 2 or any(one is None or one.size != 1 for one in found):
        return "", ""
    return f"{found[0][0]:.9g}", f"{found[1][0]:.9g}"  # type: ignore[index]


def _rejoined(diff: DataflowDiff, values: tuple[Values, Values]) -> tuple[tuple[int, int], float] | None:
    """The first steps of base and head that give the same but for rounding, and how far these are apart."""
    sides = [
        [step for step in side.unknown if step in kept]
        for side, kept in zip((diff.of_base, diff.of_head), values, strict=True)
    ]
    for after in sides[1]:
        for before in sides[0]:
            dtypes = _dtype(diff.base, before), _dtype(diff.head, after)
            limit = max(_UNITS * _epsilon(dtypes), _sum_bound(diff, (before, after), values))
            moved = relative_change(values[0][before], values[1][after])
            if moved and moved <= limit and dtypes[0] == dtypes[1]:  # equal ones differ as -0 and 0 do
                return (before, after), moved
    return None


def _is_reordered(diff: DataflowDiff, base: int | None, head: int, ends: tuple[int, int]) -> bool:
    """Whether both sides only add up the same elements from their origin to where they meet again."""
    starts = (ends[0] if base is None else base), head
    ways = (diff.base, diff.of_base.unknown), (diff.head, diff.of_head.unknown)
    ops: set[str] = set()
    for (flow, unknown), start, end in zip(ways, starts, ends, strict=True):
        steps = [step for step in unknown if start <= step <= end]
        ops |= {flow.site(step).op for step in steps} - _PARTS
        if not all(whole for whole in _whole_parts(flow, steps)):
            return False
    products = {"mul"} if ops & _PRODUCTS else set()
    return bool(ops & _SUMS) and ops <= _SUMS | _MOVES | products


def _whole_parts(flow: Dataflow, steps: Sequence[int]) -> Iterator[bool]:
    """For each value that is taken in parts, whether the parts make the whole of it."""
    parts: dict[int, dict[str, int]] = {}
    for step in steps:
        if flow.site(step).op in _PARTS:
            one = flow.steps[step]
            parts.setdefault(one.inputs[0][0], {})[flow.told(step)] = flow.values[one.outputs[0]].size
    return (sum(sizes.values()) == flow.values[value].size for value, sizes in parts.items())


def _sum_bound(diff: DataflowDiff, ends: tuple[int, int], values: tuple[Values, Values]) -> float:
    """How far two orders of a sum may lie apart, relative to the largest result: 2 γ_n Σ|x| / max|s|.

    γ_n = n u / (1 − n u) with the unit roundoff u (Higham, Accuracy and Stability of Numerical Algorithms,
    2nd ed., section 4.2); Σ|x| is at most n max|x|. 0.0 where neither step is a sum of known values.
    """
    for flow, step, kept in zip((diff.base, diff.head), ends, values, strict=True):
        one, op = flow.steps[step], flow.site(step).op
        taken = [(flow.values[value], kept.get(maker)) for value, maker in one.inputs if value >= 0]
        if op not in _SUMS or any(array is None or not array.size for _, array in taken) or not taken:
            continue
        sizes = [value.size for value, _ in taken]
        count = max(sizes) / max(flow.values[one.outputs[0]].size, 1)
        if op in _PRODUCTS:
            count = taken[-2][0].shape[-1] if len(taken) > 1 and taken[-2][0].shape else 1
        largest = float(np.prod([np.abs(array).max() for _, array in taken if array is not None]))
        result = float(np.abs(kept[step]).max()) if step in kept and kept[step].size else 0.0
        unit = count * _epsilon((_dtype(flow, step),)) / 2
        terms = 1 if op == "mean" else count
        return 2 * unit / (1 - unit) * terms * largest / result if unit < 1 and result else 0.0
    return 0.0
