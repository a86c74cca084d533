"""Uncommitted changes as a commit: made of work trees whose repositories stay as they are."""

import contextlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nbbench.errors import UsageError
from nbbench.model import Commit
from nbbench.subject.dependencies import borrow_objects, checked_out
from nbbench.subject.git import git, git_text
from nbbench.subject.repository import Subject, describe, measurable


def work_tree_commit(subject: Subject) -> Commit:
    """What is measured as it lies in the registered work tree, as a commit on its HEAD.

    Files that git does not ignore are in it, whether added or not, those of the dependencies' submodules too;
    the same files are the same commit. Its objects are kept beside the registered subject's, so that not even
    a date changes in the clone. Raises UsageError for a clone without a work tree, SubjectError where git
    refuses.
    """
    own = Path(subject.clone_dir)
    if own.name != ".git" and not (own / "gitdir").is_file():
        raise UsageError("the registered repository has no work tree", hint="nbbench subject use PATH")
    beside = own.name != ".git"  # a work tree of the clone's beside it
    top = Path((own / "gitdir").read_text("utf-8").strip()).parent if beside else own.parent
    head = describe(subject, "HEAD")
    who = {f"GIT_{role}_{what}": "nbbench" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{int(head.date.timestamp())} +0000")
    objects = {"GIT_OBJECT_DIRECTORY": str(_own_objects(subject))}

    def commit_of(tree: str, *parents: str) -> str:
        words = ["commit-tree", tree, *parents, "-m", "work tree"]
        return git(subject.git_dir, words, environment=who | when).decode().strip()

    paths, pinned = [subject.measured_path], ""
    for one in subject.dependencies:
        if one.pin:
            paths += [one.pin] if (top / one.pin).is_file() else []
        elif place := checked_out(top, one.path):
            borrow_objects(subject.git_dir, [place])  # it may have commits that its clone lacks
            within = Path(git_text(place, ["rev-parse", "--absolute-git-dir"]))
            made = commit_of(_tree(place, within, [one.source], objects))
            pinned += f"160000 {made} 0\t{one.path}\0"
        else:
            pinned += git(top, ["ls-files", "--stage", "-z", "--", f":(top,literal){one.path}"]).decode()
    return measurable(subject, commit_of(_tree(top, own, paths, objects, pinned), "-p", head.hash))


def _tree(top: Path, own: Path, paths: Sequence[str], objects: Mapping[str, str], more: str = "") -> str:
    """The tree of these paths of a work tree, with `more` lines of an index."""
    wanted = ["--", *(f":(top,literal){path}" for path in paths)]
    with tempfile.TemporaryDirectory() as folder:
        whole, measured = (
            {"GIT_INDEX_FILE": f"{folder}/{name}", **objects} for name in ("index", "measured")
        )
        with contextlib.suppress(FileNotFoundError):  # nothing was ever added
            # with its time: git reads again what was written in the moment of the index or later
            shutil.copy2(own / "index", f"{folder}/index")
        git(top, ["add", "--all", *wanted], environment=whole)
        listed = git(top, ["ls-files", "--stage", "-z", *wanted], environment=whole)
        git(top, ["update-index", "-z", "--index-info"], stdin=listed + more.encode(), environment=measured)
        return git(top, ["write-tree", "--missing-ok"], environment=measured).decode().strip()


def _own_objects(subject: Subject) -> Path:
    """A folder of objects beside the subject's: git touches those of the clone where it finds them."""
    place, others = subject.git_dir / "worktree", subject.git_dir / "objects" / "info" / "alternates"
    place.mkdir(exist_ok=True)
    if (line := "../worktree\n") not in (known := others.read_text(encoding="utf-8")):
        others.write_text(known + line, encoding="utf-8")
    return place
