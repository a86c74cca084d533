"""Recording two commits in search of the line at which their images begin to differ."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from nbbench.config import Settings
from nbbench.documents import document
from nbbench.errors import InconclusiveError
from nbbench.ledger import OUTSIDE, Dataflow, ImageChange
from nbbench.measure.counts import trace_workload
from nbbench.measure.process_env import torch_version
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import warm_server
from nbbench.model import Commit
from nbbench.record.asv_values import BadFileError, load_object, read_bytes
from nbbench.record.atomic import write_text
from nbbench.record.packed import noun_of
from nbbench.words import Say
from nbbench.work.dataflow_diff import DataflowDiff, FirstDifference, FirstReason, Origins
from nbbench.work.ledger_diff import LedgerDiff
from nbbench.work.line_match import LineMatch

if TYPE_CHECKING:  # numpy's, which a command that finds nothing to compare does without
    from nbbench.work.first_reason import Values

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
    server: WarmServer | None = None,
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
        with warm_server(server) as warm:
            found = _find(settings, warm, ends, workload, match)
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
    from nbbench.work.first_reason import judge_start, relative_change, step_figures

    base_flow, head_flow = (trace_workload(settings, server, commit, workload) for commit in ends)
    diff = DataflowDiff(base_flow, head_flow, match)
    if diff.same_image:  # the ledgers' images differ, and these do not: their seeds are pinned
        return FirstDifference(workload, FirstReason.RANDOM)
    head, base = diff.start() or (None, None)
    sides = (base_flow, diff.of_base, base), (head_flow, diff.of_head, head)
    before, after = (
        _values(settings, server, commit, *side) for commit, side in zip(ends, sides, strict=True)
    )
    image = _finite(relative_change(before.get(OUTSIDE), after.get(OUTSIDE)))
    if head is None:
        return FirstDifference(workload, FirstReason.VALUES, image=image)
    found = judge_start(diff, base, head, (before, after))
    if found.relative == math.inf and not found.before:
        found = replace(found, before="finite", after="not finite")
    site = head_flow.site(head)
    old = base_flow.site(base) if base is not None and diff.same_site(base, head) else None
    return replace(
        found,
        relative=_finite(found.relative),
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


def _finite(change: float | None) -> float | None:
    return change if change is not None and math.isfinite(change) else None


def _values(
    settings: Settings, server: WarmServer, commit: Commit, flow: Dataflow, found: Origins, start: int | None
) -> Values:
    """Record a side again, with the values of the steps that are wanted; OUTSIDE has the image.

    Raises InconclusiveError where it computes something else than before.
    """
    import numpy as np

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
