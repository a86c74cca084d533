"""Commits carried to another machine: what measuring them needs of git, and nothing else of the clone."""

from collections.abc import Sequence
from pathlib import Path

from nbbench.config import Settings
from nbbench.subject.dependencies import commit_pins, trees_of
from nbbench.subject.git import git
from nbbench.subject.repository import Subject, register_bare


def pack_trees(subject: Subject, commits: Sequence[str]) -> bytes:
    """A pack of these commits with the trees and files of their measured paths, without their histories.

    Raises SubjectError where the clone lacks an object.
    """
    own = [subject.measured_path, *(one.pin or one.path for one in subject.dependencies)]
    parts = {commit: {*own} for commit in commits}
    for one in subject.dependencies:
        pins = set(commit_pins(subject.git_dir, one, commits).values())
        for pin, tree in trees_of(subject.git_dir, sorted(pins), ".").items():
            if tree:
                parts.setdefault(pin, set()).add(one.source)
    wanted: set[str] = set()
    for commit, paths in parts.items():
        below = [] if "." in paths else ["--", *sorted(paths)]
        root = git(subject.git_dir, ["rev-parse", f"{commit}^{{tree}}"]).decode().strip()
        rows = git(subject.git_dir, ["ls-tree", "-r", "-t", "-z", "--full-tree", commit, *below]).split(b"\0")
        kinds = (row.split(None, 3)[1:3] for row in rows if row)
        wanted |= {commit, root, *(name.decode() for kind, name in kinds if kind != b"commit")}
    listed = "".join(f"{name}\n" for name in sorted(wanted)).encode()
    return git(subject.git_dir, ["pack-objects", "--stdout", "-q"], stdin=listed, timeout_s=3600)


def unpack_trees(settings: Settings, pack: bytes, commits: Sequence[str]) -> None:
    """Make the carried commits the registered subject of the project; the last one is its branch.

    Raises SubjectError where git refuses the pack.
    """
    source = settings.state_dir / "carried.git"
    git(None, ["init", "--quiet", "--bare", str(source)])
    git(source, ["index-pack", "--stdin"], stdin=pack, timeout_s=3600)
    git(source, ["update-ref", f"refs/heads/{settings.branch}", commits[-1]])
    register_bare(settings.subject_git, source, source)
    # Each commit is the first of its history here; the place that refs are copied from has no such mark.
    cut = "".join(f"{commit}\n" for commit in commits)
    Path(settings.subject_git / "shallow").write_text(cut, encoding="ascii")
