"""The site: offline, escaped, readable without JavaScript, its data in small files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files as files_of

import pytest
import report_samples as samples
import site_samples
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import HOSTILE

from nbbench.model import Point, Status
from nbbench.report.site import Site, SiteFacts, as_script

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
    return site_samples.made(**more).page()


def test_the_page_needs_nothing_from_outside() -> None:
    text = page()
    tree = parse(text)
    targets = [value or "" for name, value in tree.attributes if name in ("src", "href", "action", "data")]
    assert all(target.startswith(("#", "nbbench/")) for target in targets)
    assert "url(" not in text and "@import" not in text
    assert not [name for name, _ in tree.attributes if name == "style" or name.startswith("on")]
    assert "default-src 'none'; script-src 'self';" in text
    files = {path.name for path in (files_of("nbbench.report") / "templates" / "site").iterdir()}
    assert {target.removeprefix("nbbench/") for target in targets if target.startswith("nbbench/")} == files


def test_the_scripts_write_text_and_never_markup() -> None:
    for path in (files_of("nbbench.report") / "templates" / "site").iterdir():
        text = path.read_text(encoding="utf-8")
        banned = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
        banned += ["fetch(", "XMLHttpRequest", "WebSocket", "http:", "https:"]
        assert [word for word in banned if word in text] == [], path.name


def test_every_link_leads_somewhere() -> None:
    tree = parse(page())
    ids = [value for name, value in tree.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {value for name, value in tree.attributes if name == "href" and str(value).startswith("#")}
    assert links <= {f"#{one}" for one in ids}


def test_the_verdict_stands_on_top_and_hostile_text_is_text() -> None:
    tree = parse(page())
    assert site_samples.SCRIPT in tree.text
    assert tree.text.index("1 open regression") < tree.text.index("E-28ff00aa")
    assert "Where the branch stands" in tree.text


def test_an_empty_record_is_a_site_too() -> None:
    empty = Site(SiteFacts())
    found = dict(empty.documents(iter(())))
    assert "No change is on record." in parse(empty.page()).text
    assert found["series"] == {"words": [], "rows": []} and found["start"]["events"] == []
    assert "series/0" not in found


def test_a_series_opens_by_one_small_file() -> None:
    long = [replace(samples.SERIES[0], key=samples.key(size)) for size in range(5000, 6000)]
    site = Site(site_samples.facts())
    found = dict(site.documents(iter(long)))
    rows = found["series"]["rows"]
    assert len(rows) == 1000 and len({row[-1] for row in rows}) == 5
    assert all(number in found[f"series/{row[-1]}"]["series"] for number, row in enumerate(rows))
    shards = [as_script(name, one) for name, one in found.items() if name.startswith("series/")]
    assert max(map(len, shards)) < 1_000_000


def test_a_point_says_what_is_to_be_said_of_it() -> None:
    found = site_samples.documents(site_samples.site())
    rows, words = found["series"]["rows"], found["series"]["words"]
    by_label = {f"{words[row[0]]} {words[row[1]]} {words[row[2]]}": number for number, row in enumerate(rows)}
    points = found["series/0"]["series"]
    failed = points[str(by_label["bandwidth.Warm.time_run size=1024, dtype='float32' runner"])]
    assert failed["s"] == {"4": 3, "5": 3, "16": 1, "17": 1} and failed["v"][16] is None
    big = points[str(by_label["bandwidth.Warm.time_run size=2048, dtype='float64' runner"])]
    assert big["s"] == {"4": 3, "5": 3} and big["n"] == [5] * 40 and big["c"][1] == [200_000] * 40
    assert all(lo <= value <= hi for lo, value, hi in zip(big["lo"], big["v"], big["hi"], strict=True))
    [(event, lo, hi, before, after, words, way)] = big["ev"]
    assert (found["start"]["events"][event]["id"], lo, hi) == ("E-28ff00aa", 25, 27)
    assert (before, after, words, way) == (0.64, 1.76, "2.75×", 1)


def test_an_event_has_its_lines_its_hunks_and_its_commands() -> None:
    found = site_samples.documents(site_samples.site())
    number = [one["id"] for one in found["start"]["events"]].index("E-12ab34cd")
    event = found[f"event/{number}"]
    assert event["sentence"].startswith("Warm run became worse at 000c0000: time +64.7 %")
    assert ("nanobrag_torch/utils/physics.py:9", "where float64") in [
        (line["where"], f"{line['op']} {line['dtype']}") for line in event["lines"]
    ]
    assert [hunk["place"] for hunk in event["hunks"]] == ["sim.py:20-22"]
    assert event["commands"][0] == "nbbench explain E-12ab34cd"
    assert [step["state"] for step in event["history"]] == ["confirmed", "fixed"]
    assert [change[0] >= 0 for change in event["changes"]] == [True] * 3


def test_commits_of_one_tree_share_their_ledger_and_all_bytes_are_there() -> None:
    tree = samples.COMMITS[0].tree
    commits = tuple(replace(one, tree=tree) if one.position < 5 else one for one in samples.COMMITS)
    found = site_samples.documents(site_samples.site(commits=commits))
    assert [row[4] for row in found["start"]["commits"][:5]] == [0, 0, 0, 0, 1]
    one = found["commit/0"]["workloads"][site_samples.WORKLOAD]
    assert sum(line[4] for line in one["lines"]) == one["bytes"]


def test_figures_that_are_none_and_control_characters_do_not_reach_a_script() -> None:
    text = as_script("x", [float("nan"), float("inf"), "a\u202eb\u2028c", HOSTILE])
    assert text.count("null") == 2 and text.rstrip("\n").isprintable()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e300, 1e300) | st.sampled_from([math.nan, math.inf]), min_size=1, max_size=20))
def test_any_values_come_back_to_five_digits(values: list[float]) -> None:
    points = tuple(
        Point(i, samples.COMMITS[i].hash, value, Status.OK, (value, value)) for i, value in enumerate(values)
    )
    found = dict(Site(site_samples.facts()).documents(iter([replace(samples.SERIES[0], points=points)])))
    shown = json.loads(as_script("series/0", found["series/0"])[len('nbbench("series/0",') : -3])["series"][
        "0"
    ]
    for value, kept, low in zip(values, shown["v"], shown["lo"], strict=True):
        assert kept == low
        if math.isfinite(value) and kept is not None:
            assert kept * 10.0 ** shown["e"] == pytest.approx(value, rel=1e-4, abs=10.0 ** shown["e"])


def test_another_projects_thousands_of_series_do_not_swamp_the_branch() -> None:
    many = [replace(samples.SERIES[0], key=samples.key(size)) for size in range(900)]
    site = Site(site_samples.facts())
    found = dict(site.documents(iter(many)))["branch"]
    assert len(found["at"]) == 1 and len(as_script("branch", found)) < 1_000_000
    assert len(found["curves"]) == 60_000 // (4 * 40)
    assert [one["workload"] for one in found["curves"] if one["ev"]]  # what changed is there


KNOWN_TAGS = set(parse(page()).tags)


@settings(deadline=None, max_examples=40)
@given(st.text(min_size=1))
def test_any_text_stays_text(text: str) -> None:
    event = replace(samples.FLAGS[2].event, id=text, subject=text, evidence=(samples.setup(text),))
    key = replace(samples.BIG_KEY, benchmark=text, machine=text)
    flag = replace(samples.FLAGS[2], plan=text, event=event)
    commits = [replace(samples.COMMITS[0], subject=text)]
    site = Site(SiteFacts(flags=[flag], commits=commits, title=text, source=text))
    series = replace(samples.SERIES[3], key=key, points=samples.SERIES[3].points[:1])
    for name, document in site.documents(iter([series])):
        script = as_script(name, document)
        assert script.rstrip("\n").isprintable()
        json.loads(script[script.index(",") + 1 : -3])
    tree = parse(site.page())
    assert set(tree.tags) <= KNOWN_TAGS
    assert tree.tags.count("script") == SCRIPTS


SCRIPTS = parse(page()).tags.count("script")


def test_what_was_not_judged_and_whose_figures_these_are_stands_on_the_page() -> None:
    tree = parse(page())
    assert "2 series not judged" in tree.text
    assert "sources.Time.time_many" in tree.text
    assert "Times and memory are those of runner." in tree.text


def test_commands_that_need_the_source_are_shown_of_known_trees_only() -> None:
    """F4: an imported tree's event printed `nbbench explain ID`, which knows no source of it."""
    assert "nbbench explain" in page()
    assert "nbbench explain" not in page(trees=frozenset())
    assert "nbbench explain E-28ff00aa" in page(trees=frozenset({samples.FLAGS[2].event.hi_commit}))
