"""Trees with some hunks of a difference: all of them give head, none gives base, byte for byte."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbbench.subject.hunks import TreeDifference

LINES = st.lists(st.sampled_from(["a = 1", "b = 2", "", "  c", "d\r", "\x0c", "é"]), max_size=12)


def commit(folder: Path, files: dict[str, bytes]) -> str:
    """The tree of a commit with exactly these files, which then lie in the folder `files-TREE`."""
    environment = os.environ | {"GIT_INDEX_FILE": str(folder / "index"), "GIT_DIR": str(folder / "git")}

    def git(*arguments: str, data: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments], env=environment, cwd=folder, input=data, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    (folder / "index").unlink(missing_ok=True)
    for path, data in files.items():
        blob = git("hash-object", "-w", "--stdin", data=data)
        git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    tree = git("write-tree")
    for path, data in files.items():
        place = folder / tree / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    (folder / tree).mkdir(exist_ok=True)
    return tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("trees")
    subprocess.run(["git", "init", "--quiet", "--bare", str(made / "git")], check=True)
    return made


@pytest.fixture
def between(folder):
    def make(base: dict[str, bytes], head: dict[str, bytes]) -> TreeDifference:
        trees = commit(folder, base), commit(folder, head)
        return TreeDifference(folder / "git", trees, (folder / trees[0], folder / trees[1]))

    return make


@pytest.fixture
def written(tmp_path):
    def write(difference: TreeDifference, chosen) -> dict[str, bytes]:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        difference.write(chosen, place)
        return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}

    return write


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_all_give_head_and_none_gives_base(folder, tmp_path_factory, data):
    ends = ["\n", ""]
    sides = []
    for _ in range(2):
        text = "\n".join(data.draw(LINES)) + data.draw(st.sampled_from(ends))
        sides.append({"p/a.py": text.encode(), "p/same.py": b"x\n"})
    trees = [commit(folder, side) for side in sides]
    difference = TreeDifference(folder / "git", tuple(trees), tuple(folder / tree for tree in trees))
    for chosen, expected in (((), sides[0]), (difference.hunks, sides[1])):
        place = tmp_path_factory.mktemp("written") / "tree"
        difference.write(chosen, place)
        assert {n: (place / n).read_bytes() for n in expected} == expected


BASE = b"import os\n\n\ndef f():\n    a = 1\n    return a\n\n\ndef g():\n    return 2\n"
HEAD = b"import os\n\n\ndef f():\n    a = 5\n    return a\n\n\ndef g():\n    return 7\n"


def test_any_of_the_lines(between, written):
    difference = between({"m.py": BASE}, {"m.py": HEAD})
    first, second = difference.hunks
    assert written(difference, [first]) == {"m.py": BASE.replace(b"a = 1", b"a = 5")}
    assert written(difference, [second]) == {"m.py": BASE.replace(b"return 2", b"return 7")}


def test_a_renamed_file_and_its_lines_are_apart(between, written):
    difference = between({"old.py": BASE}, {"new.py": HEAD})
    renamed, first, second = difference.hunks
    assert (renamed.whole, first.whole) == ("renamed", "")
    assert written(difference, [renamed]) == {"new.py": BASE}
    assert written(difference, [first, second]) == {"old.py": HEAD}
    assert written(difference, difference.hunks) == {"new.py": HEAD}


def test_whole_files(between, written):
    base = {"gone.py": b"a\n", "data.bin": b"\0\1", "kept.py": b"k\n"}
    head = {"come.py": b"b = 2\n", "data.bin": b"\0\2", "kept.py": b"k\n"}
    difference = between(base, head)
    by = {one.whole: one for one in difference.hunks}
    assert set(by) == {"added", "deleted", "replaced"}
    assert written(difference, [by["added"]]) == {**base, "come.py": b"b = 2\n"}
    assert written(difference, [by["deleted"]]) == {n: base[n] for n in ("data.bin", "kept.py")}
    assert written(difference, [by["replaced"]]) == {**base, "data.bin": b"\0\2"}
    assert written(difference, difference.hunks) == head


def test_names_that_git_would_quote(between, written):
    name = 'x "y"\n[é].py'
    difference = between({name: BASE}, {name: HEAD})
    assert len(difference.hunks) == 2
    assert written(difference, difference.hunks) == {name: HEAD}


def test_what_reads_differently_is_no_other_program(between):
    head = BASE.replace(b"def f():\n", b'def f():\n    """Said."""\n').replace(b"return 2", b"return 3")
    difference = between({"m.py": BASE}, {"m.py": head})
    words, code = difference.hunks
    assert difference.key([words]) == difference.key([]) != difference.key([code])
    assert difference.moving() == (code,)


def test_code_that_reads_its_docstrings_is_another_program(between):
    head = BASE.replace(b"def f():\n", b'def f():\n    """Said."""\n')
    more = {"n.py": b"print(__doc__)\n"}
    difference = between({"m.py": BASE, **more}, {"m.py": head, **more})
    assert difference.moving() == difference.hunks


def test_bytecode_of_what_changed_is_left_behind(folder, between, tmp_path):
    difference = between({"m.py": BASE, "n.py": b"n\n"}, {"m.py": HEAD, "n.py": b"n\n"})
    base = folder / commit(folder, {"m.py": BASE, "n.py": b"n\n"})
    (base / "__pycache__").mkdir(exist_ok=True)
    for name in ("m", "n"):
        (base / "__pycache__" / f"{name}.cpython-311.pyc").write_bytes(b"")
    difference.write(difference.hunks, tmp_path / "tree")
    assert [p.name for p in (tmp_path / "tree" / "__pycache__").iterdir()] == ["n.cpython-311.pyc"]
