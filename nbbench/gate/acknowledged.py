"""Losses that somebody accepted: what a gate that meets them again must not block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nbbench.metrics import Role, change_role
from nbbench.model import Commit, Flag, FlagState, Verdict


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An acknowledged event between base and head: how much each of its series lost, as log-ratios.

    `effects` is keyed by name and unit, as the gate's verdicts have them: `benchmark(512, 'float32')` in
    seconds, `ledger WORKLOAD` in B/pixel or operations.
    """

    event: str
    effects: Mapping[tuple[str, str], float]
    person: str
    expires: datetime | None

    @property
    def told(self) -> str:
        """The event, who accepted it and until when."""
        until = f" until {self.expires:%Y-%m-%d}" if self.expires else ""
        return f"{self.event} by {self.person}{until}"

    def covers(self, verdict: Verdict) -> bool:
        """Whether a loss is no larger than what was accepted for its series, up to the series' floor."""
        known = self.effects.get((verdict.series, verdict.unit))
        return known is not None and verdict.effect is not None and verdict.effect <= known + verdict.floor


def acknowledged_between(
    flags: Sequence[Flag], commits: Sequence[Commit], base: Commit, head: Commit, now: datetime
) -> list[Acknowledged]:
    """The events that are acknowledged at `now` and whose whole range lies after `base`, up to `head`.

    `commits` gives the order; an event with a commit that it does not hold is left out.
    """
    place = {commit.hash: i for i, commit in enumerate(commits)}
    if base.hash not in place or head.hash not in place:
        return []
    found = []
    for flag in flags:
        ends = [place.get(commit) for commit in (flag.event.lo_commit, flag.event.hi_commit)]
        newest = flag.decisions[-1] if flag.decisions else None
        if flag.state is not FlagState.ACKNOWLEDGED or newest is None or None in ends:
            continue
        inside = all(place[base.hash] < (end or 0) <= place[head.hash] for end in ends)
        if inside and (newest.expires is None or now < newest.expires):
            effects: dict[tuple[str, str], float] = {}
            for change in flag.event.changes:
                if change_role(change) in (Role.TIME, Role.WORK):  # what the gate judges
                    key = (_gate_name(change.key.benchmark, change.key.params), change.unit)
                    effects[key] = max(change.effect, effects.get(key, change.effect))
            found.append(Acknowledged(flag.event.id, effects, newest.person, newest.expires))
    return found


def _gate_name(benchmark: str, params: tuple[tuple[str, str], ...]) -> str:
    values = dict(params)
    if set(values) == {"workload"}:
        return f"ledger {values['workload']}"
    return f"{benchmark}({', '.join(values.values())})" if values else benchmark
