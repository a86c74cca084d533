"""The documentation says what the tool says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import fill

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.append(ROOT / "docs" / "schemas" / "README.md")
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


@pytest.fixture(autouse=True)
def no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [n for n in os.environ if n.startswith("NBBENCH_")]:
        monkeypatch.delenv(name)


def test_the_tables_of_findings_are_what_the_committed_results_give() -> None:
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    assert text.count("<!-- nbbench: ") == 4
    assert fill(text, ROOT) == text, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


WORDS = (
    *("subject", "series", "collection", "ledger", "ceiling", "change point", "event", "flag", "verdict"),
    *("metric", "phase", "test case", "pair", "slice", "disturbed", "supervisor"),
)
PRIVATE = re.compile(r"\b(sing|speaks? for|held up|keeper|vouched|duel|player|told|lost)\b", re.I)
NO_PROSE = ("findings.md", "scorecard.md", "CHANGELOG.md")  # as the tool gives it


def test_every_word_of_the_design_is_in_the_glossary() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [
        word for word in WORDS if not re.search(rf"^- \*\*([^*]+, )?{word}(, [^*]+)?\*\*: ", glossary, re.M)
    ] == []
    assert not PRIVATE.findall(glossary)


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in NO_PROSE], ids=lambda p: p.name)
def test_lines_are_short_enough_to_read_anywhere(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) >= 120] == []
