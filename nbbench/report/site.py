"""The offline page of regressions: one HTML file that needs neither network nor JavaScript."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nbbench import __version__, units
from nbbench.metrics import Role, change_metric, change_role
from nbbench.model import ChangePoint, Commit, EventDirection, Flag, NotJudged, Series, SeriesKey
from nbbench.report import events
from nbbench.report.chart import Chart
from nbbench.report.not_judged import not_judged_detail
from nbbench.words import day, for_html, minute, plural

# A chart takes about 20 KB, and past a few dozen nobody looks: the rest is named, not drawn.
MAX_CHARTS = 36
_PER_EVENT = 3
_TONES = {
    EventDirection.REGRESSION: "worse",
    EventDirection.IMPROVEMENT: "better",
    EventDirection.CHANGE: "changed",
}
# A change of a whole suite moves thousands of series; their figures are in the JSON output.
_LIMITS = {"events": 80, "changes": 60, "rows_open": 4, "names": 400}


@dataclass(frozen=True, slots=True)
class EventSection:
    """One event of the page: its flag, its charts and its changes, the most telling first."""

    flag: Flag
    anchor: str
    charts: tuple[Chart, ...]
    changes: tuple[ChangePoint, ...]


def render_site(
    flags: Sequence[Flag],
    series: Sequence[Series],
    commits: Sequence[Commit] = (),
    *,
    not_judged: Sequence[NotJudged] = (),
    nothing: bool = False,
    title: str = "Performance record",
    source: str = "",
    generated_at: datetime | None = None,
    max_charts: int = MAX_CHARTS,
) -> str:
    """The page for `flags`, with history charts from `series`.

    `commits` gives labels; `source` says what was measured (a branch, a repository).
    At most `max_charts` charts are drawn, events first; the page names the series that were left out.
    `nothing` says that no series could be judged.
    """
    ordered = events.in_reading_order(flags, generated_at)
    charts = _Charts(ordered, series, commits, max_charts)
    sections = [_section(flag, charts) for flag in ordered[: _LIMITS["events"]]]
    return (
        _environment()
        .get_template("regressions.html.j2")
        .render(
            title=title,
            source=source,
            now=generated_at,
            headline=events.headline(ordered, not_judged, generated_at, nothing=nothing),
            open_count=sum(events.is_open(flag, generated_at) for flag in ordered),
            lead=next((s for s in sections if events.is_open(s.flag, generated_at)), None),
            measured=f"{plural(len(series), 'series', 'series')}, {plural(len(commits), 'commit')}",
            machines=events.event_machines(ordered),
            sections=sections,
            brief=ordered[_LIMITS["events"] :],
            quiet=charts.of_quiet_series(),
            left_out=charts.left_out(),
            not_judged=not_judged,
            limits=_LIMITS,
        )
    )


@cache
def _environment() -> Environment:
    """Every text of the page passes `words.for_html`; figures are formatted where they are shown."""

    def shown(value: Any) -> Any:
        return Markup(for_html(value)) if isinstance(value, str) and not hasattr(value, "__html__") else value  # noqa: S704

    made = Environment(
        loader=PackageLoader("nbbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    made.globals |= {
        "version": __version__,
        "units": units,
        "events": events,
        "not_judged_detail": not_judged_detail,
        "tones": _TONES,
        "day": day,
        "minute": minute,
        "plural": plural,
        "metric": change_metric,
    }
    return made


class _Charts:
    """Draws charts until the cap is reached and remembers which series had none."""

    def __init__(
        self, flags: Sequence[Flag], series: Sequence[Series], commits: Sequence[Commit], cap: int
    ) -> None:
        self._series = {one.key: one for one in series}
        self._commits = {commit.hash: commit for commit in commits}
        self._left = cap
        self._drawn: set[SeriesKey] = set()
        self._changes: dict[SeriesKey, list[tuple[str, ChangePoint]]] = defaultdict(list)
        for flag in flags:
            for change in flag.event.changes:
                self._changes[change.key].append((flag.event.id, change))

    def of_event(self, flag: Flag) -> tuple[Chart, ...]:
        """Charts of the event's most affected series."""
        known = [change for change in flag.event.changes if change.key in self._series]
        chosen = dict.fromkeys(change.key for change in _most_affected(known))
        return tuple(
            self._draw(self._series[key], flag.event.id, 760, 210) for key in list(chosen)[: self._left]
        )

    def of_quiet_series(self) -> tuple[Chart, ...]:
        """Charts of the series in no event, as far as the cap allows."""
        quiet = sorted(
            (one for key, one in self._series.items() if key not in self._changes), key=lambda s: s.key.label
        )
        return tuple(self._draw(one, "", 480, 170) for one in quiet[: self._left])

    def left_out(self) -> list[str]:
        """The labels of the series without a chart."""
        return sorted(key.label for key in self._series if key not in self._drawn)

    def _draw(self, one: Series, focus: str, width: int, height: int) -> Chart:
        self._left -= 1
        self._drawn.add(one.key)
        changes = self._changes.get(one.key, ())
        return Chart(one, changes, self._commits, focus=focus, width=width, height=height)


def _section(flag: Flag, charts: _Charts) -> EventSection:
    """The event's charts, and its changes with times first."""

    def order(change: ChangePoint) -> tuple[bool, float, str]:
        return change_role(change) is not Role.TIME, -abs(change.effect), change.key.label

    anchor = "event-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in flag.event.id)
    return EventSection(flag, anchor, charts.of_event(flag), tuple(sorted(flag.event.changes, key=order)))


def _most_affected(changes: Sequence[ChangePoint]) -> list[ChangePoint]:
    """The largest change in time, the largest in exact work, then the largest of the rest."""

    def rank(change: ChangePoint) -> tuple[int, float]:
        metric = change_metric(change)
        if metric.role is Role.DTYPE:  # from nothing to a few bytes is infinitely more, and says less
            return (3, -abs(change.effect))
        return (0 if metric.role is Role.TIME else 1 if metric.exact else 2, -abs(change.effect))

    ordered = sorted(changes, key=rank)
    firsts = {rank(change)[0]: change for change in reversed(ordered)}
    chosen = [firsts[kind] for kind in sorted(firsts)]
    return (chosen + [change for change in ordered if change not in chosen])[:_PER_EVENT]
