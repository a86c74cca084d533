"""Markdown: whatever comes in is shown as it is, and the page keeps to its limit."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
import report_samples as samples
from gate_facts import telling
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from nbbench.model import Outcome
from nbbench.report.events import regressions_blocks
from nbbench.report.gate import gate_blocks
from nbbench.report.markdown import LIMIT_BYTES, as_markdown, code, escape
from nbbench.verdicts import Verdict
from nbbench.words import clean

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HARD = st.text(
    alphabet=st.one_of(
        st.sampled_from(list("|`*_[]()<>&\\#~$!-+=.1)'\"{}: \n\t")), st.characters(codec="utf-8")
    ),
    max_size=40,
)


def shown(rendered: str) -> str:
    """The text that a browser shows, blanks folded."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", rendered)).split())


def folded(text: str) -> str:
    return " ".join(clean(text).split())


def cells(markdown: str) -> list[str]:
    return [shown(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", PARSER.render(markdown), re.S)]


@settings(deadline=None)
@given(HARD)
@example("- x")
@example("--- ")
@example("1. one")
@example("12) twelve")
@example("> quote")
@example("# title")
@example("a\\|b")
@example("[x](javascript:alert(1)) ![y](z)")
@example("<img src=x onerror=alert(1)>")
@example("&lt;b&gt; &amp;")
@example("~~gone~~ **bold** _it_ `code` $x$")
def test_prose_is_shown_as_it_is(text: str) -> None:
    bullet = PARSER.render(f"- {escape(text)}")
    assert shown(bullet).replace(" ", "") == folded(text).replace(" ", "")
    assert bullet.count("<li>") == 1
    assert set(re.findall(r"<([a-z0-9]+)", bullet)) <= {"ul", "li", "p"}


@settings(deadline=None)
@given(HARD, HARD)
@example("a\\", "|")
@example("`|`", "``")
@example("\\|", "a\\")
def test_table_cells_keep_their_borders(first: str, second: str) -> None:
    page = f"| a | b | c |\n| --- | --- | --- |\n| {escape(first)} | {code(second)} | end |\n"
    found = cells(page)
    assert len(found) == 3
    assert found[0].replace(" ", "") == folded(first).replace(" ", "")
    assert found[1].replace(" ", "") == folded(second).replace(" ", "")
    assert found[2] == "end"


@settings(deadline=None)
@given(st.lists(HARD, min_size=1, max_size=5), st.integers(600, 3000))
def test_any_report_keeps_to_its_limit_and_closes_what_it_opens(texts: list[str], limit: int) -> None:
    verdicts = tuple(
        Verdict(text, outcome, 0.1, 0.0, 0.2, 0.03, 3, telling(text * 20), reproduce=text)
        for text in texts
        for outcome in Outcome
    )
    notes = tuple(one for text in texts for one in telling(text))
    report = replace(samples.GATE, verdicts=verdicts * 4, notes=notes)
    page = as_markdown(gate_blocks(report), limit=limit)
    assert len(page.encode()) <= limit
    assert page.count("<details>") == page.count("</details>")


def test_a_large_report_names_what_it_left_out() -> None:
    verdicts = tuple(
        replace(samples.GATE.verdicts[0], series=f"suite.time_{i}(size={i})") for i in range(5000)
    )
    regressed = samples.GATE.verdicts[1]
    page = as_markdown(gate_blocks(replace(samples.GATE, verdicts=(*verdicts, regressed))), limit=LIMIT_BYTES)
    assert len(page.encode()) <= LIMIT_BYTES < 64 * 1024
    assert page.index("❌ regressed") < page.index("unchanged</summary>")
    left = re.search(r"\*(\d+) lines left out", page)
    assert left is not None
    assert (
        page.count("✅ unchanged") + int(left[1]) == 5000 + 1
    )  # a workload with the same work is folded, too


def test_a_large_record_keeps_to_the_limit() -> None:
    flags = [
        replace(flag, event=replace(flag.event, id=f"E-{i}", evidence=(samples.setup("word " * 300),) * 5))
        for i, flag in enumerate(samples.FLAGS * 50)
    ]
    page = as_markdown(regressions_blocks(flags), limit=LIMIT_BYTES)
    assert len(page.encode()) <= LIMIT_BYTES
    assert page.count("<details>") == page.count("</details>") <= 1


@pytest.mark.parametrize(
    "text", ["bytes_per_pixel", "models/crystal.py:412", "time +65.0 %, work +43 %", "-29.5 %"]
)
def test_ordinary_text_stays_readable_in_the_source(text: str) -> None:
    assert escape(text).replace("\\_", "_") == text
    assert code(text) == f"`{text}`"
