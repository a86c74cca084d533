"""The hunks by which two source trees differ, and trees that have only some of them."""

from __future__ import annotations

import glob
import hashlib
import re
import shutil
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from nbbench.ledger import Hunk, TreeHunk
from nbbench.subject.diff import parse_diff
from nbbench.subject.equal_code import bare_program, looks_at_itself
from nbbench.subject.git import git

_REGULAR, _SUBMODULE = ("100644", "100755"), "160000"
_OPTIONS = ("--unified=0", "--inter-hunk-context=0", "--diff-algorithm=histogram", "--no-color")
_PLAIN = ("--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
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
            text = git(git_dir, ["diff", *_OPTIONS, *_PLAIN, old, new]).decode("latin-1")
            lines = parse_diff(text)[0].hunks
        hunks = [TreeHunk(base_path, head_path, one) for one in lines]
        if base_path != head_path or not hunks:
            hunks.insert(0, TreeHunk(base_path, head_path))
        yield tuple(hunks)
