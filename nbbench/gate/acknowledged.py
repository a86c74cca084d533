"""Regressions and images that somebody accepted: what a gate that meets them again must not block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nbbench.growth import Quantity
from nbbench.host import HOST_TRACK, IMPORT_WORKLOAD, host_series
from nbbench.metrics import Role, change_role, phase_of
from nbbench.model import Cause, ChangePoint, Commit, Flag, FlagState, Phase

_NOT_JUDGED = (Role.DERIVED, Role.MACHINE)
TRAFFIC = ("track_bytes_per_pixel", "track_operations", "track_upcast_bytes")
_WORDS = {**dict.fromkeys(TRAFFIC, "ledger"), "track_peak_live_bytes": "peak memory"}
_WORDS |= {one.metric: f"order of {one} of" for one in Quantity}


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An acknowledged event between base and head: how much each of its series lost, as log-ratios.

    `losses` is keyed by name and unit, as the gate's verdicts have them: `benchmark(512, 'float32')` in
    seconds, `ledger WORKLOAD` in B/pixel or operations, `peak memory WORKLOAD` in bytes. `new_image_at` is
    the commit (full hash) whose image was accepted with it, '' where the image did not change. `reached` are
    the figures after it: from nothing no ratio tells how much was accepted.
    """

    event: str
    losses: Mapping[tuple[str, str], float]
    person: str
    expires: datetime | None
    new_image_at: str = ""
    reached: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The event, who accepted it and until when."""
        until = f" until {self.expires:%Y-%m-%d}" if self.expires else ""
        return f"{self.event} by {self.person}{until}"


def covering(acknowledged: Sequence[Acknowledged], series: str, unit: str) -> list[Acknowledged]:
    """The events in which this series lost something that was accepted."""
    return [one for one in acknowledged if (series, unit) in one.losses]


def accepted_loss(acknowledged: Sequence[Acknowledged], series: str, unit: str) -> float:
    """How much all accepted regressions of a series make together, as a log-ratio; 0.0 without any."""
    return sum(one.losses[series, unit] for one in covering(acknowledged, series, unit))


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
        event, newest = flag.event, flag.decisions[-1] if flag.decisions else None
        ends = [place.get(commit, -1) for commit in (event.lo_commit, event.hi_commit)]
        if flag.state is not FlagState.ACKNOWLEDGED or newest is None:
            continue
        inside = all(place[base.hash] < end <= place[head.hash] for end in ends)
        if inside and (newest.expires is None or now < newest.expires):
            losses: dict[tuple[str, str], float] = {}
            reached: dict[tuple[str, str], float] = {}
            for change in event.changes:
                if change.worse and change_role(change) not in _NOT_JUDGED:
                    key = (_gate_name(change), change.unit)
                    losses[key] = max(abs(change.effect), losses.get(key, 0.0))
                    reached[key] = max(change.after, reached.get(key, change.after))
            image = event.hi_commit if event.cause is Cause.IMAGE else ""
            found.append(Acknowledged(event.id, losses, newest.person, newest.expires, image, reached))
    return found


def ledger_name(metric: str, workload: str) -> str:
    """The name that the gate gives a figure of a workload's ledger."""
    return f"{_WORDS.get(metric, metric.removeprefix('track_').replace('_', ' '))} {workload}"


def _gate_name(change: ChangePoint) -> str:
    """The name that the gate gives a series of the history."""
    benchmark, values = change.key.benchmark, dict(change.key.params)
    if benchmark.rpartition(".")[2].startswith(HOST_TRACK):
        phase = phase_of(change.key)
        return host_series(IMPORT_WORKLOAD if phase is Phase.IMPORT else values["workload"], phase)
    if set(values) == {"workload"}:
        return ledger_name(benchmark.rpartition(".")[2], values["workload"])
    return f"{benchmark}({', '.join(values.values())})" if values else benchmark
