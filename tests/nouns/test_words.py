"""Text from outside is safe wherever it is shown, and still readable (J11)."""

from __future__ import annotations

import html
import subprocess
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nbbench.cli.streams import put
from nbbench.documents import document
from nbbench.words import (
    clean,
    clean_lines,
    for_html,
    for_terminal,
    for_xml,
    plural,
    shell_word,
    truncate,
    truncate_middle,
)

HOSTILE = "a\x1b[2Jb\x9b2Jc\x1b]0;title\x07d\u202ee\x07f\x08g"


@given(st.text())
def test_J11_nothing_unprintable_reaches_a_terminal(text: str) -> None:
    for shown in (clean(text), *clean_lines(text).split("\n"), *for_terminal(text).split("\n")):
        assert shown.isprintable() or set(shown) <= {"\u00a0", "\u3000", *shown} & set(filter(_kept, shown))


def _kept(char: str) -> bool:
    return char.isprintable() or char.isspace()


def test_J11_a_whole_output_keeps_its_lines_and_our_colours(capsys: pytest.CaptureFixture[str]) -> None:
    assert for_terminal(f"\x1b[31mred\x1b[0m\n\n{HOSTILE}\n") == "\x1b[31mred\x1b[0m\n\nabcdefg\n"
    plain = "name  value\n----  -----\nα     1\n"
    assert for_terminal(plain) == plain
    put(HOSTILE)
    assert capsys.readouterr().out == "abcdefg\n"


def test_J11_json_keeps_the_text_and_escapes_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = document("x", {"subject": HOSTILE, "é": "ü"})
    assert text.replace("\n", "").isprintable()
    assert '"é": "ü"' in text
    put(text, nl=False)
    assert capsys.readouterr().out == text


@given(st.text())
def test_J11_html_and_xml_hold_any_text(text: str) -> None:
    assert html.unescape(for_html(text)) == clean(text)
    assert not set("<>\"'") & set(for_html(text))
    element = ElementTree.Element("a", b=for_xml(text))
    ElementTree.fromstring(ElementTree.tostring(element, encoding="unicode"))


def test_outside_text_loses_what_could_repaint_a_terminal() -> None:
    assert clean("a\x1b[2J\x1b]0;title\x07b\r\nc\u202ed\ud800e\u2028f") == "ab c d e f"
    assert clean_lines("a\tb\x1b[1m \nc\x00\n") == "a    b\nc"


def test_widths_count_columns() -> None:
    assert cell_len("日本") == 4
    assert cell_len("e\u0301") == 1
    assert truncate("日本語", 5) == "日本…"
    assert truncate("abc", 3) == "abc"
    assert truncate("abcd", 3) == "ab…"
    assert cell_len(truncate_middle("name(size=2048, dtype='float64')", 20)) == 20
    assert truncate_middle("name(size=2048, dtype='float64')", 20).endswith("'float64')")
    assert plural(1, "series", "series") == "1 series"


@pytest.mark.parametrize(
    "text", ["plain", "two words", "it's", '"><img src=x>|`m`\x1b[2J\u202e', "a'b\\c\nd\x07", ""]
)
def test_a_shell_reads_a_word_as_it_was_and_it_is_printable(text: str) -> None:
    word = shell_word(text)
    assert word.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout.decode() == text
