"""How two source trees differ: renamed files recognised, hunks, trees that have only some of them, and
whether both are the same program, since only comments, docstrings or formatting differ.

Nothing of the subject is executed: its files are read from git and parsed. Two files are the same program
when their syntax trees are equal without docstrings and positions; then the compiler gives the same
instructions and constants, asserts and annotations included.
"""

import ast
import glob
import hashlib
import re
import shutil
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from nbbench.ledger import FileDiff, Hunk, TreeHunk
from nbbench.subject.git import git, list_tree

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
        sources = (git(git_dir, ["cat-file", "blob", blob]) for blob in (base, head))
        if len({bare_program(source) for source in sources}) > 1:
            return 0
        count += 1
    return 0 if count and looks_at_itself(git_dir, head_tree) else count


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
    blobs = [said.split()[2] for said, path in list_tree(git_dir, tree) if path.endswith(".py")]
    if not blobs:
        return False
    out = git(git_dir, ["cat-file", "--batch"], stdin="\n".join(blobs).encode() + b"\n")
    return _LOOKS_AT_ITSELF.search(out) is not None


# Every option that a user's configuration could set otherwise is given. Blanks are ignored where lines are
# matched, so that a block which was only indented counts as the same lines.
_EXACT = (
    *("--unified=0", "--inter-hunk-context=0", "--diff-algorithm=histogram", "--no-color"),
    *("--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/"),
)
_LOOSE = (*_EXACT, "--ignore-all-space", "--find-renames=50%", "-l0")
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def diff_trees(git_dir: Path, base_tree: str, head_tree: str, folder: str = "") -> tuple[FileDiff, ...]:
    """How the Python files of two trees differ; paths are put below `folder`.

    Raises SubjectError when objects are missing.
    """
    if base_tree == head_tree:
        return ()
    out = git(git_dir, ["diff", *_LOOSE, base_tree, head_tree, "--", "*.py"])
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
    rows = iter(lines)
    for row in rows:
        if (match := _HUNK.match(row)) is None:
            continue
        base, removed, head, added = (int(group) if group else 1 for group in match.groups())
        taken: dict[str, list[str]] = {"-": [], "+": []}
        while len(taken["-"]) < removed or len(taken["+"]) < added:
            line = next(rows)
            if line[:1] in taken:  # else: "\\ No newline at end of file"
                taken[line[0]].append(line[1:])
        # Of an empty side git names the line after which it would stand.
        yield Hunk(
            base if removed else base + 1,
            head if added else head + 1,
            tuple(taken["-"]),
            tuple(taken["+"]),
        )


_REGULAR, _SUBMODULE = ("100644", "100755"), "160000"
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")  # as git has them, with their ends
_MOST_PARSED = 100  # hunks that are looked at one by one: each takes the parser twice


class TreeDifference:
    """What lies between two extracted trees: `hunks`, of which any may be chosen.

    `folders` are where base and head were extracted; the files that differ lie below `root` in them, and
    their paths begin with `prefix`. A renamed file is a hunk beside those of its lines.
    """

    def __init__(
        self,
        git_dir: Path,
        trees: tuple[str, str],
        folders: tuple[Path, Path],
        *,
        root: str = ".",
        prefix: str = "",
    ) -> None:
        """Compare the trees by git. Raises SubjectError when objects are missing."""
        self._folders, self._root = folders, root
        self._files = tuple(_changed_files(git_dir, *trees, f"{prefix.strip('/')}/".lstrip("/")))
        self.hunks = tuple(hunk for file in self._files for hunk in file)
        aware = any(looks_at_itself(git_dir, tree) for tree in trees)
        self._program = bytes if aware else cache(bare_program)

    def key(self, chosen: Collection[TreeHunk]) -> str:
        """Names the tree with the chosen hunks; trees that are the same program share it."""
        named = [
            (path, str(made) if isinstance(made, Path) else hashlib.sha256(self._program(made)).hexdigest())
            for path, made in self._contents(chosen)
        ]
        return hashlib.sha256(repr(sorted(named)).encode("utf-8", "surrogatepass")).hexdigest()[:40]

    def moving(self) -> tuple[TreeHunk, ...]:
        """The hunks that change the program, alone or as the last of all; all of them where they are many."""
        if len(self.hunks) > _MOST_PARSED:
            return self.hunks
        every = frozenset(self.hunks)
        ends = self.key(()), self.key(every)
        found = tuple(one for one in self.hunks if (self.key((one,)), self.key(every - {one})) != ends)
        return found if self.key(found) == ends[1] else self.hunks

    def write(self, chosen: Collection[TreeHunk], folder: Path) -> None:
        """Write the base tree with the chosen hunks as `folder`, which must not be there.

        Raises OSError where hunks do not go together (a folder and a file of one name) or the disk refuses.
        """
        shutil.copytree(self._folders[0], folder, symlinks=True)  # its bytecode too, which saves compiling
        root = folder / self._root
        for path in {hunk.base_path for hunk in self.hunks} - {""}:
            (root / path).unlink()
            for old in (root / path).parent.glob(f"__pycache__/{glob.escape(Path(path).stem)}.*.pyc"):
                old.unlink()
        for path, made in self._contents(chosen):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if not (root / path).parent.resolve().is_relative_to(folder.resolve()):
                raise NotADirectoryError(f"a link leads out of the tree: {path}")
            if isinstance(made, Path):
                shutil.copy2(made, root / path, follow_symlinks=False)
            else:
                (root / path).write_bytes(made)

    def _contents(self, chosen: Collection[TreeHunk]) -> Iterator[tuple[str, bytes | Path]]:
        """The files that differ as the chosen hunks leave them: bytes of sources, places of others."""
        for file in self._files:
            whole = [hunk for hunk in file if hunk.whole]
            taken = whole[0] if whole and whole[0] in chosen else None
            base, head = (
                self._folders[side] / self._root / path if (path := getattr(file[0], name)) else None
                for side, name in enumerate(("base_path", "head_path"))
            )
            path = file[0].head_path if taken else file[0].base_path
            if (not whole or whole[0].whole == "renamed") and base and head and path.endswith(".py"):
                yield path, _patched(base, head, [one.lines for one in file if one.lines and one in chosen])
            elif (made := head if taken else base) is not None:
                yield path, made.read_bytes() if path.endswith(".py") and not made.is_symlink() else made


def _patched(base: Path, head: Path, hunks: Collection[Hunk]) -> bytes:
    """The bytes of base with these hunks of head in it."""
    old, new = (_LINE.findall(path.read_bytes()) for path in (base, head))
    made, at = [], 0
    for hunk in sorted(hunks, key=lambda one: one.base_start):
        made += old[at : hunk.base_start - 1]
        made += new[hunk.head_start - 1 : hunk.head_start - 1 + len(hunk.added)]
        at = hunk.base_start - 1 + len(hunk.removed)
    return b"".join([*made, *old[at:]])


def _changed_files(git_dir: Path, base: str, head: str, prefix: str) -> Iterator[tuple[TreeHunk, ...]]:
    """The hunks of each file that differs."""
    found = git(git_dir, ["diff-tree", "-r", "-z", "--raw", "--find-renames=50%", "-l0", base, head])
    fields = iter(found.decode("utf-8", "surrogateescape").split("\0"))
    for entry in filter(None, fields):
        old_mode, new_mode, old, new, how = entry.removeprefix(":").split()
        name = next(fields)
        paths = (name, next(fields)) if how[0] == "R" else (name, name)
        if _SUBMODULE in (old_mode, new_mode):  # its files are not in the tree
            continue
        base_path, head_path = (
            prefix + path if kind != how[0] else "" for path, kind in zip(paths, "AD", strict=True)
        )
        source = base_path.endswith(".py") and head_path.endswith(".py")
        lines: tuple[Hunk, ...] = ()
        if source and old != new and {old_mode, new_mode} <= set(_REGULAR):
            text = git(git_dir, ["diff", *_EXACT, old, new]).decode("latin-1")
            lines = parse_diff(text)[0].hunks
        hunks = [TreeHunk(base_path, head_path, one) for one in lines]
        if base_path != head_path or not hunks:
            hunks.insert(0, TreeHunk(base_path, head_path))
        yield tuple(hunks)
