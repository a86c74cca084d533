"""The page: offline, escaped, readable without JavaScript, bounded."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import report_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.cli.publish import PAGE, write_page
from nbbench.report.site import render_site

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
    assert all(target.startswith("#") or target == "plotly.min.js" for target in targets)
    assert "url(" not in text
    assert "@import" not in text


def test_every_link_leads_somewhere() -> None:
    tree = parse(page())
    ids = [value for name, value in tree.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value for name, value in tree.attributes if name == "href"} <= {f"#{one}" for one in ids}


def test_the_verdict_stands_on_top_and_hostile_text_is_text() -> None:
    tree = parse(page())
    assert "<script>alert(1)</script>" in tree.text
    assert tree.text.index("1 open regression") < tree.text.index("E-28ff00aa")


def test_an_empty_record_is_a_page_too() -> None:
    tree = parse(render_site([], []))
    assert "No change is on record." in tree.text
    assert "0 series, 0 commits." in tree.text
    assert "figure" not in tree.tags


def test_the_number_of_figures_is_capped_and_the_rest_is_named() -> None:
    many = [replace(samples.SERIES[0], key=samples.key(size)) for size in range(5000, 5600)]
    text = page(series=[*samples.SERIES, *many], max_figures=10)
    tree = parse(text)
    assert tree.tags.count("figure") == 10
    assert f"{606 - 10} series without a figure, of which 196 are in `--json` only" in tree.text
    assert parse(page(max_figures=0)).tags.count("figure") == 0


def test_an_events_most_affected_series_are_drawn_first() -> None:
    text = page(max_figures=3)
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
    assert "2000 change points of 2000 series, of which 1940 are in `--json` only" in tree.text
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
    assert tree.tags.count("script") == 3 + tree.tags.count("figure")


def test_what_was_not_judged_and_whose_figures_these_are_stands_on_the_page() -> None:
    tree = parse(page(not_judged=samples.NOT_JUDGED))
    assert "2 series not judged" in tree.text
    assert "sources.Time.time_many" in tree.text
    assert "Times and memory are those of runner." in tree.text


def test_commands_that_need_the_source_are_shown_of_known_trees_only() -> None:
    """F4: an imported tree's event printed `nbbench explain ID`, which knows no source of it."""
    assert "nbbench explain" in page()
    assert "nbbench explain" not in page(trees=())
    assert "nbbench explain E-28ff00aa" in page(trees={samples.FLAGS[2].event.hi_commit})


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_draws_the_figures_from_disk_and_runs_nothing_else(tmp_path) -> None:
    hostile = '</script><script>document.title = "run"</script><img src=x onerror=\'document.title = "run"\'>'
    event = replace(samples.FLAGS[2].event, subject=hostile, evidence=())
    commits = [replace(commit, subject=hostile) for commit in samples.COMMITS]
    key = replace(samples.SERIES[0].key, machine=hostile)
    flags = [*samples.FLAGS[:2], replace(samples.FLAGS[2], event=event)]
    text = page(flags=flags, commits=commits, series=[*samples.SERIES, replace(samples.SERIES[0], key=key)])
    write_page(tmp_path / PAGE, text)
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,20000", "--dump-dom")
    command = ["chromium", *options, "--virtual-time-budget=20000", "--enable-logging=stderr"]
    done = subprocess.run([*command, (tmp_path / PAGE).as_uri()], capture_output=True, text=True, check=True)
    figures = text.count("<figure>")
    assert done.stdout.count('class="plot js-plotly-plot"') == figures > 3
    assert "CONSOLE" not in done.stderr
    assert "<title>run</title>" not in done.stdout
