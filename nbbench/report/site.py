"""The offline page of regressions: one HTML file that needs neither network nor JavaScript."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from nbbench import __version__
from nbbench.metrics import change_metric
from nbbench.model import Commit, Flag, Series, SeriesKey
from nbbench.report.chart import Chart, MarkedChange, build_chart
from nbbench.report.view import ChangeRow, FlagRow, is_time, is_upcast, regressions_view
from nbbench.words import clean, minute, plural

# A chart takes about 20 KB, and past a few dozen nobody looks: the rest is named, not drawn.
MAX_CHARTS = 36
_PER_EVENT = 3
_NAMES_SHOWN = 400
# A change of a whole suite moves thousands of series; their figures are in the JSON output.
_EVENTS_SHOWN = 80
_CHANGES_SHOWN = 60
_ROWS_OPEN = 4


@dataclass(frozen=True, slots=True)
class EventSection:
    """One event of the page: its row, its charts and the table of all its series."""

    row: FlagRow
    anchor: str
    charts: tuple[Chart, ...]
    changes: tuple[ChangeRow, ...]
    more: int
    fold: bool
    title: str
    note: str


def render_site(
    flags: Sequence[Flag],
    series: Sequence[Series],
    commits: Sequence[Commit] = (),
    *,
    title: str = "Performance record",
    source: str = "",
    generated_at: datetime | None = None,
    reproduce: Mapping[str, Sequence[str]] | None = None,
    notes: Sequence[str] = (),
    max_charts: int = MAX_CHARTS,
) -> str:
    """The page for `flags`, with history charts from `series`.

    `commits` gives labels; `source` says what was measured (a branch, a repository);
    `reproduce` replaces an event's commands by event id. At most `max_charts` charts are drawn,
    events first; the page names the series that were left out.
    """
    view = regressions_view(flags, generated_at)
    charts = _Charts(flags, series, commits, max_charts)
    detailed = view.rows[:_EVENTS_SHOWN]
    sections = [_section(row, charts, (reproduce or {}).get(row.event_id)) for row in detailed]
    quiet = charts.of_quiet_series()
    return (
        _environment()
        .get_template("regressions.html.j2")
        .render(
            title=clean(title),
            source=clean(source),
            generated=minute(generated_at) if generated_at else "",
            version=__version__,
            view=view,
            lead=next((section for section in sections if section.row.is_open), None),
            measured=f"{plural(len(series), 'series', 'series')}, {plural(len(commits), 'commit')}",
            sections=sections,
            brief=view.rows[_EVENTS_SHOWN:],
            quiet=quiet,
            left_out=charts.left_out(),
            names_shown=_NAMES_SHOWN,
            notes=[clean(note) for note in notes],
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("nbbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class _Charts:
    """Draws charts until the cap is reached and remembers which series had none."""

    def __init__(
        self, flags: Sequence[Flag], series: Sequence[Series], commits: Sequence[Commit], cap: int
    ) -> None:
        self._series = {one.key: one for one in series}
        self._commits = {commit.hash: commit for commit in commits}
        self._cap = cap
        self._drawn: dict[SeriesKey, None] = {}
        self._count = 0
        self._changes: dict[SeriesKey, list[MarkedChange]] = defaultdict(list)
        for flag in flags:
            for change in flag.event.changes:
                self._changes[change.key].append(
                    MarkedChange(clean(flag.event.id), change, flag.event.recovered_by or "")
                )

    def of_event(self, row: FlagRow) -> tuple[Chart, ...]:
        """Charts of the event's most affected series."""
        charts = []
        for change in _most_affected([c for c in row.changes if c.source.key in self._series]):
            one = self._series.get(change.source.key)
            if one is not None and self._count < self._cap:
                charts.append(self._draw(one, row.event_id, 760, 210))
        return tuple(charts)

    def of_quiet_series(self) -> tuple[Chart, ...]:
        """Charts of the series in no event, as far as the cap allows."""
        quiet = [one for key, one in self._series.items() if key not in self._changes]
        quiet.sort(key=lambda one: one.key.label)
        return tuple(self._draw(one, "", 480, 170) for one in quiet[: max(0, self._cap - self._count)])

    def left_out(self) -> list[str]:
        """The labels of the series without a chart."""
        return sorted(clean(key.label) for key in self._series if key not in self._drawn)

    def _draw(self, one: Series, focus: str, width: int, height: int) -> Chart:
        self._count += 1
        self._drawn[one.key] = None
        changes = self._changes.get(one.key, ())
        return build_chart(one, changes, self._commits, focus=focus, width=width, height=height)


def _section(row: FlagRow, charts: _Charts, commands: Sequence[str] | None) -> EventSection:
    drawn = charts.of_event(row)
    without = row.series_count - len(drawn)
    note = (
        f"{plural(without, 'further series', 'further series')} of this event in the table" if without else ""
    )
    return EventSection(
        row=row if commands is None else _with_commands(row, commands),
        anchor="event-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in row.event_id),
        charts=drawn,
        changes=row.changes[:_CHANGES_SHOWN],
        more=max(0, len(row.changes) - _CHANGES_SHOWN),
        fold=len(row.changes) > _ROWS_OPEN,
        title=plural(len(row.changes), "change point"),
        note=note if drawn else "",
    )


def _with_commands(row: FlagRow, commands: Sequence[str]) -> FlagRow:
    return replace(row, reproduce=tuple(clean(command) for command in commands))


def _most_affected(changes: Sequence[ChangeRow]) -> list[ChangeRow]:
    """The largest change in time, the largest in exact work, then the largest of the rest."""

    def rank(row: ChangeRow) -> tuple[int, float]:
        unit = row.source.unit
        if is_upcast(row.source):  # from nothing to a few bytes is infinitely more, and says less
            return (3, -abs(row.source.effect))
        kind = 0 if is_time(unit) else 1 if change_metric(row.source).exact else 2
        return (kind, -abs(row.source.effect))

    ordered = sorted(changes, key=rank)
    firsts = {rank(row)[0]: row for row in reversed(ordered)}
    chosen = [firsts[kind] for kind in sorted(firsts)]
    chosen += [row for row in ordered if row not in chosen]
    return chosen[:_PER_EVENT]
