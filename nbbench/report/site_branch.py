"""The curves of the branch: what each workload costs along the commits, phase by phase."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nbbench import units
from nbbench.metrics import Better, Metric, Role
from nbbench.model import Phase, SeriesKey
from nbbench.report.blocks import Table
from nbbench.work.ledger_diff import log_ratio
from nbbench.workloads import workload_of

KINDS = ("time", "tensor work", "host work", "peak memory", "time ratio", "fusion headroom")
"""What is shown of a workload, by what a user waits for."""
_START_UP = (Phase.IMPORT, Phase.CONSTRUCT, Phase.FIRST)
_MOST_FIGURES = 60_000  # some 400 kB; another project's thousands of series have a view of their own
_MOST_KEPT = 10 * _MOST_FIGURES  # until then what is not shown is not looked for
_FOLDED = 24


class BranchCurves:
    """The curves, of which the longest is kept for each workload, kind, phase and machine."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        self._longest: dict[tuple[str, str, str, str], int] = {}
        self._figures = 0

    def add(self, key: SeriesKey, metric: Metric, number: int, made: Mapping[str, Any]) -> None:
        """Take over a series of the index, by its row's number and its points there."""
        if not (kind := _kind(metric)) or not any(value is not None for value in made["v"]):
            return
        workload = workload_of(key) or ("start-up" if metric.phase in _START_UP else key.label)
        machine = "" if metric.exact else key.machine
        name = workload, kind, str(metric.phase), machine
        if self._longest.get(name, 0) >= len(made["at"]):
            return
        self._longest[name] = len(made["at"])
        lower = None if metric.better in (Better.UNKNOWN, Better.NEITHER) else metric.better is Better.LOWER
        about = {"workload": workload, "kind": kind, "phase": metric.phase, "machine": machine}
        if metric.role is Role.DERIVED and workload != key.label:  # of what to what, its benchmark tells
            about["benchmark"] = key.benchmark
        self._found[name] = {
            **about,
            "series": number,
            "unit": metric.unit,
            "lower": lower,
            **{part: made[part] for part in ("at", "e", "v", "s", "ev", "lo", "hi", "n") if part in made},
        }
        self._figures += _size(self._found[name])
        if self._figures > _MOST_KEPT:
            self._found, self._figures = dict(self._first()), 0

    def _first(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Those that changed before others, each by what a user waits for, as many as are shown."""
        figures = 0
        for name, one in sorted(self._found.items(), key=lambda item: (not item[1]["ev"], _rank(item[1]))):
            figures += _size(one)
            if figures > _MOST_FIGURES and figures > _size(one):
                break
            yield name, one

    def shown(self) -> list[dict[str, Any]]:
        """The curves by what a user waits for, with their points; of too many those that changed."""
        return sorted((one for _, one in self._first()), key=_rank)

    def document(self) -> dict[str, Any]:
        """What is shown; lists of commits stand once."""
        lines: dict[tuple[int, ...], int] = {}
        curves = [one | {"at": lines.setdefault(tuple(one["at"]), len(lines))} for one in self.shown()]
        return {"at": list(lines), "curves": curves}


def _size(one: Mapping[str, Any]) -> int:
    """How many figures a curve has."""
    return len(one["at"]) * (4 if "n" in one else 1)


def _kind(metric: Metric) -> str:
    if metric.role is Role.WORK and metric.unit.startswith("B/"):
        return "tensor work"
    if metric.role is Role.HOST and metric.unit == "steps":
        return "host work"
    if metric.name == "track_time_ratio":
        return "time ratio"
    if metric.name == "track_fusion_headroom":
        return "fusion headroom"
    return {Role.TIME: "time", Role.MEMORY: "peak memory"}.get(metric.role, "")


def _rank(one: Mapping[str, Any]) -> tuple[int, str, str, str]:
    return KINDS.index(one["kind"]), one["workload"], one["phase"], one["machine"]


def standing_table(curves: BranchCurves) -> Table | None:
    """Each curve's first, best and newest value; None where there is none."""
    rows = [_standing(one) for one in curves.shown()]
    head = ("workload", "what", "phase", "start", "best", "now", "against start", "machine")
    more = f"{len(rows) - _FOLDED} more"
    return Table(head, rows, right=(3, 4, 5, 6), codes=(0,), quiet=_FOLDED, quiet_as=more) if rows else None


def _standing(one: Mapping[str, Any]) -> tuple[str, ...]:
    good = [value * 10.0 ** one["e"] for value in _good(one["v"], one["s"])]
    best = good[0] if one["lower"] is None else min(good) if one["lower"] else max(good)
    figures = (units.format_value(value, one["unit"]) for value in (good[0], best, good[-1]))
    change = units.format_change(log_ratio(good[0], good[-1]))
    return one["workload"], one["kind"], str(one["phase"]), *figures, change, one["machine"]


def _good(values: Iterable[float | None], states: Mapping[int, int]) -> list[float]:
    """The values without those of disturbed runs, unless there is no other."""
    known = [(value, i in states) for i, value in enumerate(values) if value is not None]
    return [value for value, marked in known if not marked] or [value for value, _ in known]
