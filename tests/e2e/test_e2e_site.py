"""The site in a real browser, opened from disk: each view by click and by address, keys, hostile text."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import asv
import pytest
import report_samples as samples
import site_samples
from browser import Browser

from nbbench.asv_plugin.publisher import land_from_error, link_from_index
from nbbench.cli.publish import put_site
from nbbench.model import Point, Series, SeriesKey, Status
from nbbench.report.site import Site, SiteFacts

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium"),
]
EVENT = "E-12ab34cd"
AXE = Path(__file__).parents[2] / ".nbbench" / "axe-core" / "axe.min.js"  # .ci/run puts it there
FOUND = """axe.run({exclude: [".plot > *"]}, {runOnly: %s, preload: false}).then((found) =>
    found.violations.map(({help, nodes}) => `${help}: ${nodes.map(({html}) => html)}`))"""
UPCAST = site_samples.UPCAST
HASHES = [commit.hash[:12] for commit in samples.COMMITS]


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The site as `asv publish` leaves it: asv's own pages beside it."""
    folder = tmp_path_factory.mktemp("published") / "html"
    shutil.copytree(Path(asv.__file__).parent / "www", folder)
    release = "v1.0", samples.COMMITS[9].hash
    made = site_samples.site(asv=True, release=release, commit_address="https://example.org/commit/")
    put_site(folder, made, site_samples.every_series())
    link_from_index(folder / "asv.html", "index.html")
    land_from_error(folder / "error.html", "index.html")
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture
def page(browser, html):
    """The browser; whatever it did, it ran no foreign script, asked for nothing outside, and had no error."""
    browser.heard.clear()
    browser.requested.clear()
    browser.address = (html / "index.html").as_uri()
    yield browser
    browser.run("0")
    assert browser.heard == []
    assert [one for one in browser.requested if not one.startswith((html.as_uri(), "data:"))] == []
    assert browser.run("document.title") != "run"


def said(page: Browser) -> str:
    return page.run("document.getElementById('app').innerText")


def drawn(page: Browser, count: int = 1) -> None:
    page.until(f"document.querySelectorAll('#app .js-plotly-plot .main-svg').length >= {count}")


def test_every_view_by_click(page):
    page.open(page.address)
    assert "1 open regression" in said(page) or "2 open regressions" in said(page)
    assert page.run("getComputedStyle(document.getElementById('plain')).display") == "none"
    for view in ("branch", "series", "commit", "plan", "evidence", "noise", "overview"):
        page.click(f"nav a[data-view={view}]")
        page.shown(f"#/{view}")
        assert "cannot be shown" not in said(page)
        assert page.run("document.querySelector('nav a[aria-current]').dataset.view") == view
    page.click("#app summary")
    page.click(f"#app a[href$='{EVENT}']")
    page.shown(f"#/event/{EVENT}")
    assert "Cause: dtype" in said(page)


def test_the_overview_compares_with_the_last_release_or_a_chosen_commit(page):
    page.open(f"{page.address}#/overview")
    row = "[...document.querySelectorAll('tr')].find((one) => /tensor work/.test(one.innerText)).innerText"
    assert "against v1.0" in said(page)
    assert page.run(row).startswith(f"{site_samples.WORKLOAD}\ttensor work")
    assert page.run(row).count("2.16×") == 3  # against start, best and v1.0
    page.run("nb.go({against: nb.commit(15).hash})")
    page.until(f"document.getElementById('app').innerText.includes('against {samples.COMMITS[15].short}')")
    assert page.run(row).count("2.16×") == 2 and "\t0 %" in page.run(row)


def test_commits_lead_to_the_web_and_events_without_a_line_name_their_benchmark(page):
    for view in (f"commit/{HASHES[UPCAST]}", f"event/{EVENT}"):
        page.open(f"{page.address}#/{view}")
        link = "document.querySelector('#app a[href^=https]')"
        assert page.run(f"{link}.href") == f"https://example.org/commit/{HASHES[UPCAST]}"
        assert page.run(f"{link}.rel") == "noreferrer"
    page.open(f"{page.address}#/overview")
    assert "time_run(size=2048, dtype='float64') 640 ms → 1.76 s" in said(page)


def test_an_event_tells_why_and_what_to_type(page):
    page.open(f"{page.address}#/event/{EVENT}")
    text = said(page)
    for words in ("sincg", "sim.py:20-22", "nbbench explain", "gate agrees", "Work before and after"):
        assert words in text
    drawn(page, 2)
    page.click("#app button.copy")
    page.until("/Copied|Selected/.test(document.querySelector('#app button.copy').textContent)")


def test_series_are_found_laid_over_each_other_and_shown_with_their_samples(page):
    page.open(f"{page.address}#/series?q=time_run")
    page.until("document.querySelectorAll('#found tbody tr').length === 4")
    page.click("#filter")
    page.type(*" 2048")
    page.until("document.querySelectorAll('#found tbody tr').length === 1")
    assert page.run("location.hash").endswith("q=time_run+2048")
    page.click("#found a")
    drawn(page)
    assert "2 disturbed" in said(page)
    before = page.run("document.querySelectorAll('.plot').length")
    page.run("[...document.querySelectorAll('.controls button')].forEach((one) => one.click())")
    page.until(f"document.querySelectorAll('.plot').length >= {before + 2}")
    page.run("nb.go({q: '', s: nb.rows.slice(0, 2).map((one) => one.key)})")
    page.until("document.querySelector('h1').textContent === '2 series'")


def test_two_clicks_on_the_branch_compare_two_commits(page):
    page.open(f"{page.address}#/branch?w={site_samples.WORKLOAD}")
    drawn(page)
    for number in (3, 20):
        drawn(page)
        old = page.run("location.hash")
        page.press(*page.middle(f"document.querySelectorAll('.plot .points path')[{number}]"))
        page.until(f"location.hash !== {old!r}")
        page.until("document.getElementById('app').dataset.shown === location.hash")
    assert page.run("location.hash").startswith(f"#/compare/{HASHES[3]}/{HASHES[20]}")
    assert "164 B/pixel" in said(page) and "sincg" in said(page)
    drawn(page)


def test_a_commit_shows_where_its_bytes_go(page):
    page.open(f"{page.address}#/commit/{HASHES[19]}")
    drawn(page)
    assert "<script>" in said(page) and "float64" in said(page)
    page.click("#app a[rel=next]")
    page.until(f"location.hash.includes('{HASHES[20]}')")


def test_the_plan_has_verdicts_their_history_and_their_evidence(page):
    page.open(f"{page.address}#/plan")
    for words in (
        "1 of 1 criterion met",
        site_samples.SCRIPT,
        "meets",
        "0.64",
        "tests ≤ 1",
        "2 h ago, runner",
    ):
        assert words in said(page)
    folder = "../reports/x/20251015T113531Z/summary.md"
    assert page.run("document.querySelector('#app a[href$=\"summary.md\"]').getAttribute('href')") == folder
    page.click("#app a[href^='#/series']")
    drawn(page)
    assert "time_run(size=2048, dtype='float64')" in page.run("document.querySelector('h1').textContent")


def test_noise_has_the_reference_kernels_by_the_time_at_which_they_ran(page):
    page.open(f"{page.address}#/noise")
    page.until("document.querySelectorAll('.plot .points path').length === 80")
    assert page.run("document.querySelector('.plot .xtick text').textContent").count(":") == 1
    assert page.run("document.querySelector('.plot .ytick text').textContent").endswith(" ms")


def test_keys(page):
    page.open(f"{page.address}#/overview")
    page.type("j", "j", "k")
    assert page.run("document.querySelector('tr.here a').textContent") != ""
    page.type("Enter")
    page.until("location.hash.startsWith('#/event/')")
    page.type("3")
    page.shown("#/series")
    page.type("/")
    assert page.run("document.activeElement.id") == "filter"
    page.type("Escape", "?")
    assert page.run("document.getElementById('help').open")
    page.type("Escape")
    page.until("!document.getElementById('help').open")
    page.type("t")
    page.until("document.documentElement.dataset.theme === 'dark'")
    page.type("t", "t")


def test_addresses_that_lead_nowhere_say_so(page):
    for fragment in (
        "event/E-none",
        "commit/ffffffff",
        "compare/0/1",
        "nothing",
        "series?s=none",
        "%E0%A4%A",
    ):
        page.open(f"{page.address}#/{fragment}")
        assert page.run("document.querySelector('h1').textContent") or "not on record" in said(page)
    page.open(f"{page.address}#asv-offline")
    assert "brought here" in page.run("document.body.innerText")


def test_a_dot_tells_what_it_is_and_a_chart_can_be_zoomed(page):
    page.open(f"{page.address}#/series?row=3")
    drawn(page)
    x, y = page.middle("document.querySelectorAll('.plot .points path')[4]")
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.until("document.querySelector('.hoverlayer').textContent.includes('samples')")
    told = page.run("document.querySelector('.hoverlayer').textContent")
    for words in (samples.COMMITS[4].short, "Change number 5", "disturbed by other load", "in 5 samples"):
        assert words in told
    ends = "document.querySelector('.plot').layout.xaxis.range"
    before, (x, y) = page.run(ends), page.middle("document.querySelector('.plot .nsewdrag')")
    for kind, shift in (("mousePressed", 0), ("mouseMoved", 60), ("mouseMoved", 120), ("mouseReleased", 120)):
        button = {"button": "left", "buttons": 1, "clickCount": 1}
        page.send("Input.dispatchMouseEvent", type=kind, x=x + shift, y=y, **button)
    page.until(f"{ends}[1] - {ends}[0] < {before[1] - before[0]} / 2")


def test_asvs_own_pages_lead_to_ours_where_there_is_no_network(page):
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    page.send("Network.emulateNetworkConditions", **offline)
    page.open(f"{page.address}#/overview")
    page.click("#app a[href='asv.html']")
    page.landed("#asv-offline")
    assert "brought here" in page.run("document.body.innerText")
    page.heard.clear()  # of asv's pages
    page.requested.clear()


def test_without_javascript_the_verdicts_are_tables(page):
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    page.load(page.address)
    text = page.send("DOM.getOuterHTML", nodeId=page.send("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
    assert '<html lang="en">' in text and "Where the branch stands" in text
    page.send("Emulation.setScriptExecutionDisabled", value=False)
    page.load(f"{page.address}?again")
    page.shown("")


def test_a_reduced_curve_keeps_its_extremes_and_what_is_marked(page):
    page.open(f"{page.address}#/overview")
    shown = page.run(
        "(() => { const values = [...Array(100000).keys()].map((i) => Math.sin(i) + (i === 777 ? 9 : 0));"
        "const kept = nb.thin([...values.keys()], values, {4321: 3});"
        "return [kept.length, kept.includes(777), kept.includes(4321), kept[0], kept.at(-1)] })()"
    )
    assert shown[0] <= 3001 and shown[1:] == [True, True, 0, 99_999]


def test_everything_that_can_be_used_has_a_name(page):
    """By the browser's own accessibility tree, on each view."""
    named = {"button", "link", "textbox", "searchbox", "combobox", "region", "dialog"}
    for view in ("overview", "branch", "series", f"event/{EVENT}", f"commit/{HASHES[19]}", "noise"):
        page.open(f"{page.address}#/{view}")
        for node in page.send("Accessibility.getFullAXTree")["nodes"]:
            if not node.get("ignored") and node["role"]["value"] in named:
                assert node.get("name", {}).get("value"), (view, node)


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core, which .ci/run fetches where npm is")
def test_axe_finds_nothing_on_any_view(page):
    """WCAG 2.2 AA and axe's best practices; the colours in dark, and on a narrow screen, too."""
    views = ["overview", "branch", "series", "series?row=3", "commit", "plan", "evidence", "noise", "nothing"]
    views += [f"event/{EVENT}", f"commit/{HASHES[19]}", f"compare/{HASHES[3]}/{HASHES[20]}"]
    levels = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    seen = ["cat.color", "cat.sensory-and-visual-cues"]
    size = {"height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.open(page.address)
    page.run(f"{AXE.read_text(encoding='utf-8')};0")
    for view in views:
        page.load(f"{page.address}#/{view}")
        page.shown(f"#/{view}")
        for theme, width, only in (("light", 1280, levels), ("dark", 380, seen)):
            page.send("Emulation.setDeviceMetricsOverride", width=width, **size)
            page.run(f"document.documentElement.dataset.theme = '{theme}'")
            assert page.run(FOUND % only) == [], (view, theme)
    page.send("Emulation.clearDeviceMetricsOverride")
    page.run("delete document.documentElement.dataset.theme")


@pytest.mark.thorough
def test_the_site_of_a_large_record_stays_small(page, tmp_path):
    """As many series as numpy's own benchmarks have: files, what the first view loads, and the search."""
    line = [replace(samples.COMMITS[0], hash=f"{i:040x}", position=i) for i in range(1, 171)]
    put_site(tmp_path, Site(SiteFacts(commits=line)), many_series(line))
    sizes = {
        path.relative_to(tmp_path): path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()
    }
    assert sum(sizes.values()) < 60e6
    assert max(size for path, size in sizes.items() if "series" in path.parts) < 300_000
    page.requested.clear()
    page.open((tmp_path / "index.html").as_uri())
    drawn(page)
    loaded = {Path(unquote(urlparse(one).path)) for one in page.requested if one.startswith("file:")}
    assert sum(path.stat().st_size for path in loaded) < 6e6
    page.requested.clear()
    page.open(f"{(tmp_path / 'index.html').as_uri()}#/series?q=time_3")
    assert "843 of 8,424 series" in said(page)
    page.click("#found a")
    drawn(page)
    page.requested.clear()


def many_series(line):
    """8,424 series of noisy times with two samples at each commit, one after the other."""
    noise = random.Random(1)
    for number in range(8424):
        params = (("shape", f"({number % 20}, 100)"), ("dtype", "'float64'"))
        key = SeriesKey(f"bench_core.Class{number // 20}.time_{number % 10}", "1", params, "m", "py3.11")
        values = [noise.uniform(1e-3, 1.1e-3) for _ in line]
        points = (
            Point(c.position, c.hash, v, Status.OK, (v, 1.01 * v)) for c, v in zip(line, values, strict=True)
        )
        yield Series(key, "seconds", "time", tuple(points))
