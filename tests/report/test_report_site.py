"""The page: offline, escaped, readable without JavaScript, bounded."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import report_samples as samples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbbench.model import ChangePoint, Commit, Point, Series, Status
from nbbench.report.axis import axis_for
from nbbench.report.chart import Chart
from nbbench.report.site import render_site

COMMITS = {commit.hash: commit for commit in samples.COMMITS}
VOID = {"meta", "br", "link"}


class Tree(HTMLParser):
    """Checks nesting and collects tags, attributes, ids, links and text."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(page: str) -> Tree:
    tree = Tree()
    tree.feed(page)
    assert tree.stack == []
    return tree


def page(**more: object) -> str:
    given = {"flags": samples.FLAGS, "series": samples.SERIES, "commits": samples.COMMITS} | more
    return render_site(generated_at=samples.NOW, **given)  # type: ignore[arg-type]


def test_the_page_needs_nothing_from_outside() -> None:
    text = page()
    tree = parse(text)
    targets = [value or "" for name, value in tree.attributes if name in ("src", "href", "action", "data")]
    assert all(target.startswith("#") for target in targets)
    assert "url(" not in text
    assert "@import" not in text
    assert tree.tags.count("script") == 1


def test_every_link_leads_somewhere() -> None:
    tree = parse(page())
    ids = [value for name, value in tree.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value for name, value in tree.attributes if name == "href"} <= {f"#{one}" for one in ids}


def test_the_verdict_stands_on_top_and_hostile_text_is_text() -> None:
    tree = parse(page())
    assert "<script>alert(1)</script>" in tree.text
    assert tree.text.index("1 open regression") < tree.text.index("Flagged changes")
    assert "First to look at" in tree.text


def test_an_empty_record_is_a_page_too() -> None:
    tree = parse(render_site([], []))
    assert "No change is on record." in tree.text
    assert "No change point has been flagged in 0 series, 0 commits." in tree.text
    assert "svg" not in tree.tags


def test_settled_changes_alone_are_said_to_be_settled() -> None:
    tree = parse(page(flags=samples.FLAGS[:2]))
    assert "Nothing waits for a decision" in tree.text


def test_the_number_of_charts_is_capped_and_the_rest_is_named() -> None:
    many = [replace(samples.SERIES[0], key=samples.key(size)) for size in range(5000, 5600)]
    text = page(series=[*samples.SERIES, *many], max_charts=10)
    tree = parse(text)
    assert tree.tags.count("figure") == 10
    assert f"{606 - 10} series without a chart on this page" in tree.text
    assert "and 196 more" in tree.text
    assert parse(page(max_charts=0)).tags.count("figure") == 0


def test_an_events_most_affected_series_are_drawn_first() -> None:
    text = page(max_charts=3)
    captions = re.findall(r"<figcaption><code>(.*?)</code>", text)
    assert [html.unescape(caption) for caption in captions] == [
        "bandwidth.Warm.time_run(size=2048, dtype='float64')",
        "bandwidth.Warm.time_run(size=512, dtype='float32')",
        "ledger.Run.track_bytes_per_pixel(size=512, dtype='float32')",
    ]


def test_a_long_record_stays_a_page() -> None:
    change = samples.FLAGS[2].event.changes[0]
    changes = tuple(replace(change, key=samples.key(size)) for size in range(2000))
    flags = [
        replace(flag, event=replace(flag.event, id=f"E-{i}", changes=changes if i == 2 else ()))
        for i, flag in enumerate(samples.FLAGS * 100)
    ]
    text = page(flags=flags)
    tree = parse(text)
    assert "and 1940 more" in tree.text
    assert "The last 220 have no section below." in tree.text
    assert len(text) < 1_000_000


KNOWN_TAGS = set(parse(page(series=[*samples.SERIES, replace(samples.SERIES[0], key=samples.key(1))])).tags)


@settings(deadline=None)
@given(st.text(min_size=1))
def test_any_text_stays_text(text: str) -> None:
    event = replace(samples.FLAGS[2].event, id=text, subject=text, evidence=(samples.setup(text),))
    key = replace(samples.BIG_KEY, benchmark=text, machine=text)
    flag = replace(samples.FLAGS[2], plan=text, event=event)
    commits = [replace(samples.COMMITS[0], subject=text)]
    tree = parse(render_site([flag], [replace(samples.SERIES[3], key=key)], commits, title=text, source=text))
    assert set(tree.tags) <= KNOWN_TAGS
    assert tree.tags.count("script") == 1


# Charts


def chart(
    points: tuple[Point, ...],
    changes: tuple[tuple[str, ChangePoint], ...] = (),
    commits: dict[str, Commit] = COMMITS,
):
    return Chart(Series(samples.key(), "seconds", "time", points), changes, commits)


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path)]


def test_a_chart_keeps_inside_its_plot() -> None:
    for one in samples.SERIES:
        changes = [(f.event.id, c) for f in samples.FLAGS for c in f.event.changes if c.key == one.key]
        drawn = Chart(one, changes, COMMITS)
        for dot in drawn.dots:
            assert 0 <= drawn.x(dot.commit) <= drawn.plot_width
            assert 0 <= drawn.y(dot.value) <= drawn.plot_height
        assert len(drawn.changes) == len(changes)
        assert 2 <= len(drawn.axis.ticks()) <= 8


def test_a_failed_commit_breaks_the_line_and_is_marked() -> None:
    drawn = Chart(samples.SERIES[1], (), COMMITS)
    assert drawn.line.count("M") == 2
    assert len(drawn.failed) == 2
    assert "2 failed" in drawn.note


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_values_that_are_not_numbers_are_not_drawn(value: float | None) -> None:
    points = tuple(
        Point(i, c.hash, v, Status.OK)
        for i, (c, v) in enumerate(zip(samples.COMMITS, (1.0, value, 2.0), strict=False))
    )
    drawn = chart(points)
    assert len(drawn.dots) == 2
    assert "nan" not in drawn.line


@pytest.mark.parametrize(
    "values", [(), (0.0,), (0.0, 0.0), (5.0,), (-1.0, 1.0), (1e-12, 1e12), (1.0, 1.0 + 1e-15)]
)
def test_odd_series_have_a_chart(values: tuple[float, ...]) -> None:
    points = tuple(Point(i, f"{i:040x}", v, Status.OK) for i, v in enumerate(values))
    drawn = chart(points, commits={})
    assert len(drawn.dots) == len(values)
    assert drawn.axis.ticks()


def test_a_long_history_is_thinned_to_its_extremes() -> None:
    points = tuple(Point(i, f"{i:040x}", 1.0 + (i == 1234) * 5.0, Status.OK) for i in range(3000))
    drawn = chart(points, commits={})
    assert len(drawn.dots) <= 402
    assert any(f"{1234:040x}"[:8] in (said := drawn.said(dot)) and "6 s" in said for dot in drawn.dots)
    assert "3000 points, " in drawn.note


def test_unordered_positions_are_spread_evenly() -> None:
    points = tuple(Point(0, c.hash, 1.0, Status.OK) for c in samples.COMMITS[:5])
    drawn = chart(points)
    xs = [drawn.x(dot.commit) for dot in drawn.dots]
    assert xs == sorted(set(xs))


def test_a_change_outside_the_chart_is_left_out() -> None:
    change = replace(samples.FLAGS[2].event.changes[0], lo_commit="f" * 40)
    assert chart(samples.SERIES[0].points, (("E", change),)).changes == []


def test_a_level_lasts_until_the_next_change() -> None:
    change = samples.FLAGS[1].event.changes[2]
    back = replace(change, lo_commit=samples.COMMITS[32].hash, hi_commit=samples.COMMITS[32].hash)
    alone = Chart(samples.SERIES[0], (("E", change),), COMMITS)
    both = Chart(samples.SERIES[0], (("E", change), ("F", back)), COMMITS)
    assert numbers(alone.levels[1])[-1] == alone.plot_width
    assert numbers(both.levels[1])[-1] < both.plot_width


def test_what_was_not_judged_and_whose_figures_these_are_stands_on_the_page() -> None:
    tree = parse(page(not_judged=samples.NOT_JUDGED))
    assert "2 series not judged" in tree.text
    assert "sources.Time.time_many" in tree.text
    assert "Times and memory are those of runner." in tree.text


@settings(deadline=None)
@example([202272.0, 1e-294], "seconds")
@example([5e-324, 1e-322], "seconds")
@example([5e-324], "bytes")
@given(st.lists(st.floats(-1e15, 1e15), max_size=20), st.sampled_from(["seconds", "bytes", "B/pixel", "B/s"]))
def test_any_axis_holds_its_values_and_has_ticks(values: list[float], unit: str) -> None:
    axis = axis_for(values, unit)
    assert axis.lo < axis.hi
    assert all(0 <= axis.at(value) <= 1 for value in values)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 14
    assert list(ticks) == sorted(set(ticks))
