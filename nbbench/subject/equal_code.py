"""Whether two trees hold the same program: only comments, docstrings or formatting differ.

Nothing of the subject is executed: its files are read from git and parsed. Two files are the same program
when their syntax trees are equal without docstrings and positions; then the compiler gives the same
instructions and constants, asserts and annotations included.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from nbbench.subject.git import git

_LOOKS_AT_ITSELF = re.compile(
    rb"__doc__|getdoc|getsource|getcomments|linecache|co_firstlineno|f_lineno|tb_lineno|doctest"
)
"""Code that reads its own docstrings, lines or source can tell the difference."""


def only_words_changed(git_dir: Path, base_tree: str, head_tree: str) -> int:
    """How many files of two trees differ where their program is the same; 0 where anything else changed.

    Files that did not change may read docstrings or lines of those that did, so a tree in which any Python
    file does that counts as changed. Raises SubjectError when objects are missing.
    """
    out = git(git_dir, ["diff-tree", "-r", "-z", "--raw", "--no-renames", base_tree, head_tree])
    fields = out.decode("utf-8", "replace").split("\0")
    count = 0
    for entry, path in zip(fields[::2], fields[1::2], strict=False):
        base_mode, head_mode, base, head, how = entry.removeprefix(":").split()
        if how != "M" or base_mode != head_mode or not path.endswith(".py"):
            return 0
        if not same_code(*(git(git_dir, ["cat-file", "blob", blob]) for blob in (base, head))):
            return 0
        count += 1
    return 0 if count and looks_at_itself(git_dir, head_tree) else count


def same_code(base: bytes, head: bytes) -> bool:
    """Whether two versions of a Python file are the same program."""
    return bare_program(base) == bare_program(head)


def bare_program(source: bytes) -> bytes:
    """The syntax tree as text, without docstrings and positions; the source itself where it has none."""
    try:
        tree = ast.parse(source, type_comments=False)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            del node.body[0]
    try:
        return ast.dump(tree).encode("utf-8", "surrogatepass")
    except (RecursionError, MemoryError):
        return source


def looks_at_itself(git_dir: Path, tree: str) -> bool:
    """Whether a Python file of the tree reads docstrings, sources or line numbers."""
    names = git(git_dir, ["ls-tree", "-r", "-z", tree]).decode("utf-8", "replace").split("\0")
    blobs = [entry.split()[2] for entry in names if entry.endswith(".py")]
    if not blobs:
        return False
    out = git(git_dir, ["cat-file", "--batch"], stdin="\n".join(blobs).encode() + b"\n")
    return _LOOKS_AT_ITSELF.search(out) is not None
