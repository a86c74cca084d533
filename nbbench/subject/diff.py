"""The difference of two source trees, renamed files recognised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from nbbench.ledger import FileDiff, Hunk
from nbbench.subject.git import git

# Every option that a user's configuration could set otherwise is given. Blanks are ignored, so
# that a block which was only indented counts as the same lines.
_OPTIONS = (
    *("--unified=0", "--inter-hunk-context=0", "--ignore-all-space", "--diff-algorithm=histogram"),
    *("--no-color", "--no-ext-diff", "--no-textconv", "--find-renames=50%", "-l0"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def diff_trees(git_dir: Path, base_tree: str, head_tree: str, folder: str = "") -> tuple[FileDiff, ...]:
    """How the Python files of two trees differ; paths are put below `folder`.

    Raises SubjectError when objects are missing.
    """
    if base_tree == head_tree:
        return ()
    out = git(git_dir, ["diff", *_OPTIONS, base_tree, head_tree, "--", "*.py"])
    return parse_diff(out.decode("utf-8", "replace"), folder)


def parse_diff(text: str, folder: str = "") -> tuple[FileDiff, ...]:
    """What `git diff --unified=0` printed; a file whose name git had to quote is left out."""
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    found = []
    for part in re.split(r"^diff --git ", text, flags=re.MULTILINE)[1:]:
        lines = part.split("\n")
        base, head = _paths(lines)
        if base is None or head is None:
            continue
        hunks = tuple(_hunks(lines))
        if base != head or hunks:
            found.append(FileDiff(prefix + base if base else "", prefix + head if head else "", hunks))
    return tuple(found)


def _paths(lines: list[str]) -> tuple[str | None, str | None]:
    """Paths in base and head; empty where there is no file, None where nothing tells them."""
    base = head = None
    for line in lines:
        if line.startswith("@@"):
            break
        for start in ("rename from ", "--- "):
            if line.startswith(start):
                base = _name(line.removeprefix(start), "a/")
        for start in ("rename to ", "+++ "):
            if line.startswith(start):
                head = _name(line.removeprefix(start), "b/")
    return base, head


def _name(text: str, side: str) -> str | None:
    name = text.rstrip("\t")  # git ends a name with blanks in it so
    if name.startswith('"'):
        return None
    return "" if name == "/dev/null" else name.removeprefix(side)


def _hunks(lines: list[str]) -> Iterator[Hunk]:
    place = 0
    while place < len(lines):
        match = _HUNK.match(lines[place])
        place += 1
        if match is None:
            continue
        base, removed, head, added = (int(group) if group else 1 for group in match.groups())
        taken: dict[str, list[str]] = {"-": [], "+": []}
        while len(taken["-"]) < removed or len(taken["+"]) < added:
            line = lines[place]
            place += 1
            if line[:1] in taken:  # else: "\\ No newline at end of file"
                taken[line[0]].append(line[1:])
        # Of an empty side git names the line after which it would stand.
        yield Hunk(
            base if removed else base + 1,
            head if added else head + 1,
            tuple(taken["-"]),
            tuple(taken["+"]),
        )
