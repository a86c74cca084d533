"""A change of words alone is the same program; everything else is measured (H13)."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbbench.subject.hunks import bare_program, only_words_changed
from tests.torture.tiny import git

BASE = b'''"""A module."""
import math

LIMIT = 2.0


def run(x: float, wide: bool = False) -> float:
    """Run."""
    assert x > 0, "positive"
    total = math.sin(x) + (1 + 2) * x  # a comment
    return total
'''


def edited(old: bytes, new: bytes) -> bytes:
    assert old in BASE
    return BASE.replace(old, new)


SAME = {
    "a comment": edited(b"# a comment", b"# another, longer comment"),
    "docstrings": edited(b'"""Run."""', b'"""Run it,\n    twice."""').replace(b"A module", b"One module"),
    "no docstring": edited(b'    """Run."""\n', b""),
    "formatting": edited(b"(1 + 2) * x", b"(\n        1\n        + 2\n    ) * x"),
    "quotes": edited(b'"positive"', b"'positive'"),
    "blank lines": edited(b"LIMIT", b"\n\n\nLIMIT"),
    "a number's spelling": edited(b"2.0", b"2.00"),
}
OTHER = {
    "an assert": edited(b"x > 0", b"x >= 0"),
    "the message of an assert": edited(b'"positive"', b'"negative"'),
    "a constant": edited(b"2.0", b"2"),
    "the order": edited(b"math.sin(x) + (1 + 2) * x", b"(1 + 2) * x + math.sin(x)"),
    "an annotation": edited(b"x: float", b"x: int"),
    "a default": edited(b"= False", b"= True"),
    "a name": edited(b"LIMIT", b"BOUND"),
    "a string that is used": edited(b"return total", b'return {"total": total}["total"]'),
    "a syntax error": edited(b"return total", b"return total("),
    "bytes that are no text": b"\xff\xfe" + BASE,
}


@pytest.mark.parametrize("how", SAME)
def test_words_leave_the_program_as_it_is(how: str) -> None:
    assert bare_program(BASE) == bare_program(SAME[how])


@pytest.mark.parametrize("how", OTHER)
def test_anything_else_is_another_program(how: str) -> None:
    assert bare_program(BASE) != bare_program(OTHER[how])


def trees(folder: Path, *versions: dict[str, bytes]) -> list[str]:
    """Commit each version of some files; the trees' ids."""
    made = []

    git(folder, "init", "--quiet")
    for files in versions:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "one")
        made.append(git(folder, "rev-parse", "HEAD^{tree}"))
    return made


def test_trees_are_compared_without_running_anything(tmp_path: Path) -> None:
    boom = b"raise SystemExit('executed')\n"
    one, words, table = trees(
        tmp_path,
        {"a.py": BASE, "b.py": boom, "c.csv": b"1\n"},
        {"a.py": SAME["docstrings"], "b.py": b"# more\n" + boom},
        {"c.csv": b"2\n"},
    )
    assert only_words_changed(tmp_path, one, words) == 2
    assert only_words_changed(tmp_path, words, table) == 0
    assert only_words_changed(tmp_path, one, one) == 0
    [more] = trees(tmp_path, {"d.py": b"x = 1\n"})  # another file, whatever else changed
    assert only_words_changed(tmp_path, words, more) == only_words_changed(tmp_path, more, words) == 0


def test_a_tree_that_reads_its_own_docstrings_is_measured(tmp_path: Path) -> None:
    reader = b"import a\n\nHELP = a.run.__doc__\n"
    one, words = trees(tmp_path, {"a.py": BASE, "b.py": reader}, {"a.py": SAME["docstrings"]})
    assert only_words_changed(tmp_path, one, words) == 0
