"""A package and what it depends on as one subject, where a commit pins commits of other repositories.

A commit's tree is then made here: the measured path, and beside it the source of each pinned commit. It is a
tree of git's like any other, so what compares, lays out or keeps trees knows nothing of dependencies. A pin
that cannot be had stands in the tree as the submodule that it is.
"""

import contextlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from nbbench.config import Settings
from nbbench.errors import SubjectError
from nbbench.subject.git import git, git_text, is_url, url_without_login
from nbbench.subject.profile import Dependency

_SUBMODULE = "160000"


def dependency_clone(settings: Settings, one: Dependency) -> Path:
    """Where a dependency's repository lies: the path that the profile names, or the clone of its URL."""
    beside = settings.root / one.repository
    return beside if beside.exists() or not is_url(one.repository) else clone_place(settings, one.repository)


def clone_place(settings: Settings, url: str) -> Path:
    """Where the clone of a URL lies, or will."""
    shown = url_without_login(url)
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in shown).strip("-.")[-80:] or "subject"
    return settings.state_dir / "clones" / f"{name}.git"


def checked_out(top: Path, path: str) -> Path | None:
    """The work tree of the submodule at a path of another one; None where it is not checked out there."""
    place = top / path
    inside = place.resolve().is_relative_to(top.resolve())
    return place if inside and (place / ".git").exists() else None


def borrow_objects(git_dir: Path, repositories: Iterable[Path]) -> None:
    """Let the registered subject find the objects of other repositories, of those that are there."""
    others = git_dir / "objects" / "info" / "alternates"
    known = before = others.read_text(encoding="utf-8")
    for repository in repositories:
        where = ["rev-parse", "--path-format=absolute", "--git-path", "objects"]
        with contextlib.suppress(SubjectError, NotADirectoryError):
            if (line := git_text(repository, where)) not in known.split("\n"):
                known += f"{line}\n"
    if known != before:
        others.write_text(known, encoding="utf-8")


def composed_trees(
    git_dir: Path, measured_path: str, dependencies: Sequence[Dependency], own: Mapping[str, str]
) -> dict[str, str]:
    """Trees of commits, whose `own` are given, with what they pin; '' stays. Raises SubjectError."""
    parts = {name: [("040000", tree, measured_path)] for name, tree in own.items() if tree}
    for one in dependencies:
        pins = commit_pins(git_dir, one, list(parts))
        sources = trees_of(git_dir, sorted(set(pins.values())), PurePosixPath(one.source).as_posix())
        for name, pin in pins.items():
            tree = sources[pin]
            parts[name].append(("040000", tree, one.place) if tree else (_SUBMODULE, pin, one.place))
    wanted = {name: tuple(rows) for name, rows in parts.items()}
    different = list(dict.fromkeys(wanted.values()))
    made = dict(zip(different, _write_trees(git_dir, different), strict=True))
    return {name: made[wanted[name]] if name in wanted else "" for name in own}


def commit_pins(git_dir: Path, one: Dependency, commits: Sequence[str]) -> dict[str, str]:
    """The commit of a dependency that each of these pins, of those that do. Raises SubjectError."""
    path = PurePosixPath(one.pin or one.path)
    parent = "" if one.pin or path.parent.name == "" else path.parent.as_posix()
    found = {}
    names = [f"{commit}:{path if one.pin else parent}" for commit in commits]
    for commit, (kind, content) in zip(commits, _contents(git_dir, names), strict=True):
        pin = ""
        if kind == b"blob" and one.pin:
            pin = _named_hash(content.decode("utf-8", "replace"), one.name, len(commit.rstrip("^")))
        elif kind == b"tree" and not one.pin:
            pin = _submodule(content, path.name.encode(), len(commit.rstrip("^")) // 2)
        if pin:
            found[commit] = pin
    return found


def count_pins(git_dir: Path, one: Dependency, commits: Sequence[str]) -> dict[str, int]:
    """How many of the commits pin a dependency, how many commits of it, and how many of these are missing."""
    pins = commit_pins(git_dir, one, commits)
    trees = trees_of(git_dir, sorted(set(pins.values())), PurePosixPath(one.source).as_posix())
    return {"pinned": len(pins), "pins": len(trees), "missing": list(trees.values()).count("")}


def _contents(git_dir: Path, names: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """Kind and content of what git has under these names; nothing of what it has not."""
    out = git(git_dir, ["cat-file", "--batch"], stdin="".join(f"{name}\n" for name in names).encode())
    found, at = [], 0
    for _ in names:
        line, at = out[at : (end := out.index(b"\n", at))], end + 1
        if match := re.fullmatch(rb"[0-9a-f]+ (\w+) (\d+)", line):  # else: missing, or a submodule
            found.append((match[1], out[at : at + int(match[2])]))
            at += int(match[2]) + 1
        else:
            found.append((b"", b""))
    return found


def _submodule(tree: bytes, name: bytes, width: int) -> str:
    """The commit of the submodule of this name in a tree, as git stores it; '' where there is none."""
    at = 0
    while at < len(tree):
        end = tree.index(b"\0", at)
        if tree[at:end] == b"160000 " + name:
            return tree[end + 1 : end + 1 + width].hex()
        at = end + 1 + width
    return ""


def _named_hash(text: str, package: str, digits: int) -> str:
    """The hash of the first line that names the package, or is nothing but a hash; '' where there is none."""
    parts = "[-_.]+".join(map(re.escape, re.split("[-_.]+", package)))
    named = re.compile(rf"(?<![\w.-]){parts}(?=\.git\b|[^\w.-]|$)", re.IGNORECASE)
    hashed = re.compile(rf"(?<![0-9a-f])[0-9a-f]{{{digits}}}(?![0-9a-f])")
    for line in (row for row in text.splitlines() if not row.lstrip().startswith("#")):
        if (match := hashed.search(line)) and (match[0] == line.strip() or named.search(line)):
            return match[0]
    return ""


def trees_of(git_dir: Path, commits: Sequence[str], folder: str) -> dict[str, str]:
    """The tree of a folder ('.': of all) at each commit; '' where it cannot be had."""
    asked = "".join(f"{commit}:{'' if folder == '.' else folder}\n" for commit in commits).encode()
    out = git(git_dir, ["cat-file", "--batch-check=%(objectname) %(objecttype)"], stdin=asked)
    rows = [line.split() for line in out.decode().splitlines()]
    return {c: row[0] if row[-1] == "tree" else "" for c, row in zip(commits, rows, strict=True)}


def _write_trees(git_dir: Path, contents: Sequence[Iterable[tuple[str, str, str]]]) -> list[str]:
    """Trees of mode, object and place each; of a tree and what lies inside of it the tree comes first."""
    reference, lines = "refs/nbbench/composed", []
    for rows in contents:
        lines += [f"commit {reference}", "committer nbbench <nbbench> 0 +0000", "data 0", "deleteall"]
        for mode, name, path in rows:
            place = PurePosixPath(path).as_posix()
            lines.append(f"M {mode} {name} {json.dumps('' if place == '.' else place, ensure_ascii=False)}")
        lines += ['ls ""', ""]
    lines += [f"reset {reference}", ""]  # no reference stays
    out = git(git_dir, ["fast-import", "--quiet", "--force"], stdin="\n".join(lines).encode())
    return [line.split()[2] for line in out.decode().splitlines()]


def lacking_pin(git_dir: Path, one: Dependency, tree: str) -> str:
    """The commit of a dependency that a tree lacks; '' where it has its source, or pins none."""
    listed = git_text(git_dir, ["ls-tree", tree, "--", one.place]).split()
    return listed[2] if listed[:1] == [_SUBMODULE] else ""
