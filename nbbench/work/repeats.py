"""Exact work that differs is recorded again, so that what does not repeat is never told as a change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from nbbench.config import ImageTolerance, Settings
from nbbench.errors import InconclusiveError
from nbbench.host import OF_TENSORS, HostWork
from nbbench.ledger import IMAGE, Ledger
from nbbench.measure.host import known_host, record_host_work
from nbbench.measure.ledgers import known_ledgers, record_ledgers
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import warm_server
from nbbench.model import Commit
from nbbench.subject.profile import load_profile
from nbbench.words import Say
from nbbench.work.host_diff import HostDiff, diff_all
from nbbench.work.ledger_diff import ROUNDING, LedgerDiff, diff_ledgers
from nbbench.work.line_match import LineMatch

_Work = TypeVar("_Work", Ledger, HostWork)
_Sides = tuple[tuple[Mapping[str, Ledger], Mapping[str, HostWork]], ...]
_Differing = list[tuple[str, set[object]]]
"""Workloads with what of them differs: lines, or the image."""


@dataclass(frozen=True, slots=True)
class Unsure:
    """The workloads of each commit that differ from those of another commit, and were recorded once."""

    tensors: dict[Commit, list[str]] = field(default_factory=dict)
    host: dict[Commit, list[str]] = field(default_factory=dict)

    def look(
        self,
        ends: Sequence[Commit],
        sides: _Sides,
        match: LineMatch | None = None,
        tolerance: ImageTolerance = ROUNDING,
    ) -> None:
        """Take in what differs between two commits: as few workloads as show every line that does.

        `sides` are the ledgers and the host work of each.
        """
        (before, base), (after, head) = sides
        both = [(before[name], after[name]) for name in before if name in after]
        differ = [(a, b) for a, b in both if not (a.error or b.error or a == b)]
        diffs = [diff_ledgers(a, b, match, tolerance) for a, b in differ]
        counted = [one for one in diff_all(base, head, match) if one.counts]
        tensors = [(d.workload, _places(d)) for d in diffs if d.telling or d.new_image or d.grew]
        tensors += [(one.workload, _lines(one)) for one in counted if one.metric in OF_TENSORS]
        others = [(one.workload, _lines(one)) for one in counted if one.metric not in OF_TENSORS]
        for commit, (ledgers, host) in zip(ends, sides, strict=True):
            _add(self.tensors, commit, tensors, ledgers)
            _add(self.host, commit, others, host)

    def record(self, settings: Settings, say: Say, server: WarmServer | None = None) -> bool:
        """Record them again; returns whether there were any."""
        if self.tensors:
            with warm_server(server) as warm:
                for commit, names in self.tensors.items():
                    say(f"recording {', '.join(names)} of {commit.short} again, to see what does not repeat")
                    try:
                        record_ledgers(settings, warm, commit, names, again=True)
                    except InconclusiveError as error:
                        say(f"{commit.short}: {error}")
        record_host_work(settings, self.host, say, again=True)
        return bool(self.tensors or self.host)


def recorded_again(
    settings: Settings,
    ends: Sequence[Commit],
    names: Collection[str],
    match: LineMatch | None,
    say: Say,
    server: WarmServer | None = None,
) -> bool:
    """Whether anything that differs between two commits, and that was recorded once, was recorded again."""

    def kept(found: Mapping[str, _Work]) -> dict[str, _Work]:
        return {name: one for name, one in found.items() if name in names}

    sides = tuple((kept(known_ledgers(settings, c)), kept(known_host(settings, c))) for c in ends)
    unsure = Unsure()
    unsure.look(ends, sides, match, load_profile(settings).image)
    return unsure.record(settings, say, server)


def range_again(
    settings: Settings,
    commits: Sequence[Commit],
    ledgers: Mapping[str, Mapping[str, Ledger]],
    host: Sequence[Mapping[str, HostWork]],
    say: Say,
) -> bool:
    """The same for each of these commits and the one before it; `ledgers` are keyed by tree."""
    unsure, tolerance = Unsure(), load_profile(settings).image
    sides = [(commit, (ledgers[commit.tree], counted)) for commit, counted in zip(commits, host, strict=True)]
    for (old, before), (new, after) in pairwise(sides):
        unsure.look((old, new), (before, after), tolerance=tolerance)
    return unsure.record(settings, say)


def _add(
    found: dict[Commit, list[str]],
    commit: Commit,
    differing: _Differing,
    kept: Mapping[str, Ledger] | Mapping[str, HostWork],
) -> None:
    once = [name for name in _fewest(differing) if not kept[name].repeated]
    if more := [name for name in once if name not in found.get(commit, ())]:
        found.setdefault(commit, []).extend(more)


def _fewest(differing: _Differing) -> list[str]:
    """Workloads that show every place between them, those with the most places first."""
    chosen: dict[str, None] = {}
    covered: set[object] = set()
    for name, places in sorted(differing, key=lambda one: -len(one[1])):
        if not places <= covered:
            chosen[name] = None
            covered |= places
    return list(chosen)


def _places(diff: LedgerDiff) -> set[object]:
    return {*(line.where for line in diff.lines), *([IMAGE] if diff.new_image else ())}


def _lines(diff: HostDiff) -> set[object]:
    return {(line.kind, line.where) for line in diff.lines}
