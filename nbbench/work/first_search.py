"""Recording two commits in search of the line at which their images begin to differ."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nbbench.config import Settings
from nbbench.dataflow import OUTSIDE, Dataflow
from nbbench.documents import document
from nbbench.errors import InconclusiveError
from nbbench.ledger import ImageChange
from nbbench.measure.process_env import torch_version
from nbbench.measure.tracing import trace_workload
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import warm_server
from nbbench.model import Commit
from nbbench.record.asv_values import BadFileError, load_object, read_bytes
from nbbench.record.atomic import write_text
from nbbench.record.plain import noun_of
from nbbench.words import Say
from nbbench.work.dataflow_diff import DataflowDiff, Origins, StepFigures
from nbbench.work.first_difference import FirstDifference, FirstReason
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
    flows = [trace_workload(settings, server, commit, workload) for commit in ends]
    diff = DataflowDiff(flows[0], flows[1], match)
    if diff.same_image:  # the ledgers' images differ, and these do not: their seeds are pinned
        return FirstDifference(workload, FirstReason.RANDOM)
    found, figures = _look(settings, server, ends, diff)
    limit = math.sqrt(found.relative or 0.0)
    if not found.rounding or (found.image is not None and found.image <= limit):
        return found
    wider = diff.but_rounding(figures, limit)
    if wider.start() is None:  # what is behind it differs by the same rounding
        return found
    more, _ = _look(settings, server, ends, wider)
    return replace(more, rounded=f"{found.reason} at {found.where}")


def _look(
    settings: Settings, server: WarmServer, ends: tuple[Commit, Commit], diff: DataflowDiff
) -> tuple[FirstDifference, tuple[StepFigures, StepFigures]]:
    """Record the values around the start of a difference, and judge it."""
    from nbbench.work.first_reason import judge_start, relative_change

    head, base = diff.start() or (None, None)
    sides = (diff.base, diff.of_base, base), (diff.head, diff.of_head, head)
    values: list[Values] = []
    figures: list[StepFigures] = []
    for commit, (flow, origins, start) in zip(ends, sides, strict=True):
        keep = _to_keep(flow, origins, start)
        weigh = sorted({*origins.unknown, *keep[:1]})
        with tempfile.TemporaryDirectory(dir=server.scratch) as folder:
            place, names = Path(folder), [*keep, OUTSIDE]
            again = trace_workload(
                settings, server, commit, flow.workload, keep=names, weigh=weigh, folder=place
            )
            values.append(_values(place, names))
        if replace(again, figures=()) != flow:
            raise InconclusiveError(f"{flow.workload} on {commit.short} computes something else in each run")
        figures.append(dict(zip(weigh, again.figures, strict=True)))
    both, weighed = (values[0], values[1]), (figures[0], figures[1])
    image = _finite(relative_change(both[0].get(OUTSIDE), both[1].get(OUTSIDE)))
    if head is None:
        return FirstDifference(diff.head.workload, FirstReason.INPUT, image=image), weighed
    site = diff.head.site(head)
    old = diff.base.site(base) if base is not None and diff.same_site(base, head) else None
    times = diff.iteration(head)
    judged = judge_start(diff, base, head, both)
    if judged.relative == math.inf and not judged.before:
        judged = replace(judged, before="finite", after="not finite")
    found = replace(
        judged,
        relative=_finite(judged.relative),
        where=f"{site.path}:{site.line}" if site.path else "(benchmark)",
        was=f"{old.path}:{old.line}" if old and old.path else "",
        function=site.function,
        op=site.op,
        op_before=old.op if old else "",
        image=image,
        later=max(diff.head.image[1] - head, 0),
        iteration=times[0],
        iterations=times[1],
        origins=diff.places,
        figures_before=tuple(weighed[0].get(base, ())) if base is not None and old else (),
        figures_after=tuple(weighed[1].get(head, ())),
    )
    return found, weighed


def _finite(change: float | None) -> float | None:
    return change if change is not None and math.isfinite(change) else None


def _to_keep(flow: Dataflow, found: Origins, start: int | None) -> list[int]:
    """The steps whose values are wanted: the first, what it took, and the next ones that are unknown."""
    if start is None:
        return []
    after = [step for step in found.unknown if step > start]
    shown = [start, *after[:_LOOKED_AT], *after[-_LOOKED_AT:]]
    before = [maker for step in shown for _, maker in flow.steps[step].inputs if maker != OUTSIDE]
    wanted, room = [], _MOST_BYTES
    for step in dict.fromkeys([*shown, *before]):
        room -= 16 * flow.values[flow.steps[step].outputs[0]].size
        if room < 0:
            break
        wanted.append(step)
    return wanted


def _values(folder: Path, steps: Sequence[int]) -> Values:
    import numpy as np

    there = (step for step in steps if (folder / str(step)).is_file())
    return {step: np.fromfile(folder / str(step), dtype=np.float64) for step in there}
