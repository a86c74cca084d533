"""Bytes by stack: speedscope's file format, and folded stacks for flamegraph.pl and its kin.

The formats: https://www.speedscope.app/file-format-schema.json and
https://www.brendangregg.com/flamegraphs.html (differential ones: difffolded.pl).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nbbench.ledger import StackCost
from nbbench.words import clean

SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
_BENCHMARK = "(benchmark)"


@dataclass(frozen=True, slots=True)
class FlameProfile:
    """Stacks under a name, largest first."""

    name: str
    stacks: tuple[StackCost, ...]


def speedscope(name: str, profiles: Sequence[FlameProfile]) -> str:
    """The profiles as one speedscope file; weights are bytes, leaves are operations."""
    frames: dict[str, int] = {}
    made = [_sampled(profile, frames) for profile in profiles]
    content = {
        "$schema": SPEEDSCOPE_SCHEMA,
        "name": name,
        "exporter": "nbbench",
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(text) for text in frames]},
        "profiles": made,
    }
    return json.dumps(content, separators=(",", ":")) + "\n"


def _sampled(profile: FlameProfile, frames: dict[str, int]) -> dict[str, Any]:
    stacks = [stack for stack in profile.stacks if stack.bytes > 0]
    weights = [stack.bytes for stack in stacks]
    return {
        "type": "sampled",
        "name": profile.name,
        "unit": "bytes",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": [[frames.setdefault(text, len(frames)) for text in _texts(stack)] for stack in stacks],
        "weights": weights,
    }


def _texts(stack: StackCost) -> list[str]:
    """Frames from the outermost to the operation."""
    return [*(clean(frame) for frame in stack.frames or (_BENCHMARK,)), f"{stack.op} {stack.dtype}"]


def _frame(text: str) -> dict[str, Any]:
    place, _, function = text.partition(" ")
    path, _, line = place.rpartition(":")
    if path and line.isdigit():
        return {"name": function or path, "file": path, "line": int(line)}
    return {"name": text}


def folded(stacks: Iterable[StackCost]) -> str:
    """`frame;frame;operation bytes`, one line a stack."""
    return "".join(f"{line} {size}\n" for line, size in sorted(_sums(stacks, ";").items()))


def folded_difference(base: Iterable[StackCost], head: Iterable[StackCost]) -> str:
    """`frame;frame;operation before after`, as difffolded.pl writes it for red and blue flame graphs.

    Line numbers are left out: they would set moved code apart.
    """
    before, after = _sums(map(_placeless, base), ";"), _sums(map(_placeless, head), ";")
    names = sorted(before.keys() | after.keys())
    return "".join(f"{name} {before.get(name, 0)} {after.get(name, 0)}\n" for name in names)


def difference(
    base: Sequence[StackCost], head: Sequence[StackCost]
) -> tuple[list[StackCost], list[StackCost]]:
    """What head moves more than base, and what it moves less, stack by stack without line numbers."""
    before, after = _sums(map(_placeless, base), "\0"), _sums(map(_placeless, head), "\0")
    shown = {"\0".join(_texts(_placeless(one))): one for one in (*base, *head)}
    more: list[StackCost] = []
    less: list[StackCost] = []
    for name, one in shown.items():
        delta = after.get(name, 0) - before.get(name, 0)
        if delta:
            made = StackCost(one.frames, one.op, one.dtype, one.count, abs(delta))
            (more if delta > 0 else less).append(made)
    for group in (more, less):
        group.sort(key=lambda one: (-one.bytes, one.frames, one.op, one.dtype))
    return more, less


def _placeless(stack: StackCost) -> StackCost:
    frames = tuple(_without_line(frame) for frame in stack.frames)
    return StackCost(frames, stack.op, stack.dtype, stack.count, stack.bytes)


def _without_line(frame: str) -> str:
    place, blank, function = frame.partition(" ")
    return f"{place.rpartition(':')[0] or place}{blank}{function}"


def _sums(stacks: Iterable[StackCost], separator: str) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for stack in stacks:
        texts = _texts(stack)
        name = separator.join(text.replace(";", ",") if separator == ";" else text for text in texts)
        sums[name] += stack.bytes
    return sums
