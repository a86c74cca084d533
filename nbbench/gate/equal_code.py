"""Whether two trees hold the same program: only comments, docstrings or formatting differ.

Nothing of the subject is executed: its files are read from git and parsed. Two files are the same program
when their syntax trees are equal without docstrings and positions; then the compiler gives the same
instructions and constants, asserts and annotations included.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from nbbench.subject.git import git

_LOOKS_AT_ITSELF = re.compile(
    rb"__doc__|getdoc|getsource|getcomments|linecache|co_firstlineno|f_lineno|tb_lineno|doctest"
)
"""Code that reads its own docstrings, lines or source can tell the difference."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file that differs: git's letter for how, and its content before and after."""

    path: str
    how: str  # M modified; anything else is more than an edit
    base: bytes = b""
    head: bytes = b""


def same_program(changes: list[FileChange]) -> bool:
    """Whether all changes are edits of Python files that leave the program as it is."""
    return bool(changes) and all(
        change.how == "M" and change.path.endswith(".py") and _same_code(change.base, change.head)
        for change in changes
    )


def only_words_changed(git_dir: Path, base_tree: str, head_tree: str) -> int:
    """How many files of two trees differ where their program is the same; 0 where anything else changed.

    Files that did not change may read docstrings or lines of those that did, so a tree in which any Python
    file does that counts as changed. Raises SubjectError when objects are missing.
    """
    changes = _changes(git_dir, base_tree, head_tree)
    if not same_program(changes) or _looks_at_itself(git_dir, head_tree):
        return 0
    return len(changes)


def _same_code(base: bytes, head: bytes) -> bool:
    try:
        return _bare(base) == _bare(head)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _bare(source: bytes) -> str:
    """The syntax tree as text, without docstrings and positions."""
    tree = ast.parse(source, type_comments=False)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            del node.body[0]
    return ast.dump(tree)


def _changes(git_dir: Path, base_tree: str, head_tree: str) -> list[FileChange]:
    out = git(git_dir, ["diff-tree", "-r", "-z", "--raw", "--no-renames", base_tree, head_tree])
    fields = out.decode("utf-8", "replace").split("\0")
    found = []
    for entry, path in zip(fields[::2], fields[1::2], strict=False):
        base_mode, head_mode, base, head, how = entry.removeprefix(":").split()
        if how == "M" and base_mode == head_mode and path.endswith(".py"):
            contents = [git(git_dir, ["cat-file", "blob", blob]) for blob in (base, head)]
            found.append(FileChange(path, how, *contents))
        else:
            found.append(FileChange(path, "?"))
    return found


def _looks_at_itself(git_dir: Path, tree: str) -> bool:
    """Whether a Python file of the tree reads docstrings, sources or line numbers."""
    names = git(git_dir, ["ls-tree", "-r", "-z", tree]).decode("utf-8", "replace").split("\0")
    blobs = [entry.split()[2] for entry in names if entry.endswith(".py")]
    if not blobs:
        return False
    out = git(git_dir, ["cat-file", "--batch"], stdin="\n".join(blobs).encode() + b"\n")
    return _LOOKS_AT_ITSELF.search(out) is not None
