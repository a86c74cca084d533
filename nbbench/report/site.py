"""The offline page of regressions, made of blocks like every report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from nbbench import units
from nbbench.metrics import Role, change_metric, change_role
from nbbench.model import ChangePoint, Commit, Flag, NotJudged, Series, SeriesKey
from nbbench.report import events
from nbbench.report.blocks import Block, Bullets, Chart, Table, Title
from nbbench.report.figures import history_figure
from nbbench.report.html import as_html
from nbbench.words import day, minute, plural, truncate

MAX_FIGURES = 36  # past a few dozen nobody looks: the rest is named, not drawn
_PER_EVENT = 3
# A change of a whole suite moves thousands of series; their figures are in the JSON output.
_CHANGES, _CHANGES_OPEN, _NAMES = 60, 4, 400


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
    trees: Collection[str] | None = None,
    max_figures: int = MAX_FIGURES,
) -> str:
    """The page for `flags`, with figures of histories from `series`.

    `commits` gives labels; `source` says what was measured (a branch, a repository). At most `max_figures`
    are drawn, events first; the page names the series that were left out. The rest is as for
    `events.regressions_blocks`.
    """
    drawn = _Figures(flags, series, commits, max_figures)
    blocks = events.regressions_blocks(
        flags,
        not_judged=not_judged,
        nothing=nothing,
        now=generated_at,
        trees=trees,
        section=lambda flag: _event(flag, drawn, generated_at, trees),
        most=_NAMES,
    )
    if quiet := drawn.of_quiet_series():
        blocks += [Title("Series without a flagged change"), *quiet]
    if rest := sorted(key.label for key in drawn.undrawn):
        words = f"{len(rest)} series without a figure"
        blocks.append(_folded(("series",), [(name,) for name in rest], words, _NAMES))
    said = f"{plural(len(series), 'series', 'series')}, {plural(len(commits), 'commit')}"
    blocks += [Title("How to read this"), f"{said}. {_LEGEND}"]
    names = {c.hash[:8]: f"{day(c.date)} {truncate(c.subject, 60)}" for c in commits}
    stamp = minute(generated_at) if generated_at else ""
    eyebrow = " · ".join(filter(None, (title, source, stamp)))
    words = events.headline(flags, not_judged, generated_at, nothing=nothing)
    return as_html(blocks, title=f"{words} {title}", eyebrow=eyebrow, names=names)


_LEGEND = (
    "Dots are the values kept for each commit, dashed lines the levels on both sides of a change, shaded "
    "commits the range in which its cause lies, crosses commits that could not run. Rest the pointer on a "
    "dot for its commit; drag to zoom, double-click to go back."
)


def _event(flag: Flag, drawn: _Figures, now: datetime | None, trees: Collection[str] | None) -> list[Block]:
    event = flag.event
    where = events.commit_range(event.lo_commit, event.hi_commit)
    state = events.state_text(flag, now)
    facts = (where, day(event.date), event.phase, f"cause: {event.cause}", state, flag.plan)
    rows = [_change_cells(change) for change in sorted(event.changes, key=_times_first)]
    series = plural(len({change.key for change in event.changes}), "series", "series")
    head = ("series", "before", "after", "change", "interval", "machine")
    words = f"{plural(len(rows), 'change point')} of {series}"
    quiet = None if len(rows) <= _CHANGES_OPEN else 0
    return [
        Title(f"{events.change_text(event)}: {event.subject or where}", events.anchor(event)),
        " · ".join(filter(None, facts)),
        Bullets(events.event_items(flag, trees), code=event.id),
        *drawn.of_event(flag),
        _folded(head, rows, words, _CHANGES, quiet=quiet),
    ]


def _change_cells(change: ChangePoint) -> tuple[str, ...]:
    exact = change_metric(change).exact
    return (
        change.key.label,
        units.format_value(change.before, change.unit),
        units.format_value(change.after, change.unit),
        events.moved(change),
        "exact" if exact else events.interval(change.effect_lo, change.effect_hi),
        change.key.machine,
    )


def _folded(
    head: Sequence[str], rows: Sequence[Sequence[str]], words: str, most: int, *, quiet: int | None = 0
) -> Table:
    """A table whose rows from `quiet` on are folded under `words`, and of which so many are shown."""
    left = f", of which {len(rows) - most} are in `--json` only" if len(rows) > most else ""
    right = [i for i, name in enumerate(head) if name in ("before", "after", "change")]
    return Table(head, rows[:most], right=right, codes=(0,), quiet=quiet, quiet_as=words + left)


def _times_first(change: ChangePoint) -> tuple[bool, float, str]:
    return change_role(change) is not Role.TIME, -abs(change.effect), change.key.label


class _Figures:
    """Draws histories until the cap is reached and remembers which series had none."""

    def __init__(
        self, flags: Sequence[Flag], series: Sequence[Series], commits: Sequence[Commit], cap: int
    ) -> None:
        self.undrawn = {one.key: one for one in series}
        self._series = dict(self.undrawn)
        self._commits = {commit.hash: commit for commit in commits}
        self._left = cap
        self._changes: dict[SeriesKey, list[tuple[str, ChangePoint]]] = defaultdict(list)
        for flag in flags:
            for change in flag.event.changes:
                self._changes[change.key].append((flag.event.id, change))

    def of_event(self, flag: Flag) -> list[Chart]:
        """Figures of the event's most affected series."""
        known = [change for change in flag.event.changes if change.key in self._series]
        return self._draw((change.key for change in _most_affected(known)), flag.event.id)

    def of_quiet_series(self) -> list[Chart]:
        """Figures of the series in no event, as far as the cap allows."""
        return self._draw(sorted(self._series.keys() - self._changes.keys(), key=lambda key: key.label))

    def _draw(self, keys: Iterable[SeriesKey], focus: str = "") -> list[Chart]:
        drawn = []
        for key in list(dict.fromkeys(keys))[: self._left]:
            self._left -= 1
            self.undrawn.pop(key, None)
            changes = self._changes.get(key, ())
            drawn.append(history_figure(self._series[key], changes, self._commits, focus))
        return drawn


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
