"""Exact work that differs is recorded again, so that what does not repeat is never told as a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from nbbench.config import ImageTolerance, Settings
from nbbench.errors import InconclusiveError
from nbbench.host import OF_TENSORS, HostWork
from nbbench.ledger import IMAGE, Ledger
from nbbench.measure.host import record_host_work
from nbbench.measure.ledgers import record_ledgers
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import warm_server
from nbbench.model import Commit
from nbbench.subject.profile import load_profile
from nbbench.words import Say
from nbbench.work.host_diff import diff_all
from nbbench.work.ledger_diff import diff_ledgers
from nbbench.work.line_match import LineMatch

Side = tuple[Mapping[str, Ledger], Mapping[str, HostWork]]
"""The ledgers and the host work of a commit by workload."""


def recorded_again(
    settings: Settings,
    commits: Sequence[Commit],
    sides: Sequence[Side],
    say: Say,
    match: LineMatch | None = None,
    server: WarmServer | None = None,
) -> bool:
    """Whether anything that differs from one commit to the next, and was recorded once, was recorded again.

    Both commits' are recorded again, of as few workloads as show every line that differs. `match` is of the
    lines of two commits.
    """
    tensors: dict[Commit, list[str]] = {}
    host: dict[Commit, list[str]] = {}
    tolerance = load_profile(settings).image
    for (old, before), (new, after) in pairwise(zip(commits, sides, strict=True)):
        differing = _differing(before, after, match, tolerance)
        for commit, (ledgers, counted) in ((old, before), (new, after)):
            for found, names, kept in ((tensors, differing[0], ledgers), (host, differing[1], counted)):
                once = [name for name in names if name in kept and not kept[name].repeated]
                if more := [name for name in once if name not in found.get(commit, ())]:
                    found.setdefault(commit, []).extend(more)
    if tensors:
        with warm_server(server) as warm:
            for commit, names in tensors.items():
                say(f"recording {', '.join(names)} of {commit.short} again, to see what does not repeat")
                try:
                    record_ledgers(settings, warm, commit, names, again=True)
                except InconclusiveError as error:
                    say(f"{commit.short}: {error}")
    record_host_work(settings, host, say, again=True)
    return bool(tensors or host)


def _differing(
    base: Side, head: Side, match: LineMatch | None, tolerance: ImageTolerance
) -> tuple[list[str], list[str]]:
    """The workloads whose tensors, and whose host work, differ by what counts."""
    both = [(base[0][name], head[0][name]) for name in base[0] if name in head[0]]
    differ = [(a, b) for a, b in both if not (a.error or b.error or a == b)]
    diffs = [diff_ledgers(a, b, match, tolerance) for a, b in differ]
    tensors: list[tuple[str, set[object]]] = [
        (d.workload, {*(line.where for line in d.lines), *([IMAGE] if d.new_image else ())})
        for d in diffs
        if d.telling or d.new_image or d.grew
    ]
    host: list[tuple[str, set[object]]] = []
    for one in diff_all(base[1], head[1], match):
        if one.counts:
            places: set[object] = {(line.kind, line.where) for line in one.lines}
            (tensors if one.metric in OF_TENSORS else host).append((one.workload, places))
    return _fewest(tensors), _fewest(host)


def _fewest(differing: Sequence[tuple[str, set[object]]]) -> list[str]:
    """Workloads that show every place between them, those with the most places first."""
    chosen: dict[str, None] = {}
    covered: set[object] = set()
    for name, places in sorted(differing, key=lambda one: -len(one[1])):
        if not chosen or not places <= covered:
            chosen[name] = None
            covered |= places
    return list(chosen)
