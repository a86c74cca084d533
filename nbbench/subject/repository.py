"""The registered subject: a bare repository of refs that borrows its objects from a clone
(docs/architecture.md); asv reads `.nbbench/subject.git`.
"""

import contextlib
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import msgspec

from nbbench.config import Settings
from nbbench.errors import HostError, SubjectError, UsageError
from nbbench.model import Commit
from nbbench.subject.dependencies import (
    borrow_objects,
    clone_place,
    composed_trees,
    dependency_clone,
    trees_of,
)
from nbbench.subject.git import git, git_text, url_without_login
from nbbench.subject.profile import Dependency, dependencies
from nbbench.words import clean

_NAME_END = re.compile(r"[~^@:]")
_RECORD = "nbbench.json"


class _Registered(msgspec.Struct):
    """The clone that was registered, and the git folder of the work tree in which names are looked up."""

    source: str
    git_dir: str = ""
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Subject:
    """A registered subject: the bare repository, where it came from, and the measured branch.

    Names of commits mean what they mean in `clone_dir`: the git folder of the work tree that was
    registered ('': the bare repository itself). Of `dependencies` each commit's tree holds what it pins.
    """

    git_dir: Path
    source: str
    branch: str
    measured_path: str
    clone_dir: str = ""
    dependencies: tuple[Dependency, ...] = ()


def open_subject(settings: Settings) -> Subject:
    """The registered subject, its refs brought up to date with the clone.

    Where none is registered, the one that the profile names is. Raises SubjectError when there is none, its
    clone is gone, or the branch is missing.
    """
    git_dir = settings.subject_git
    if not (git_dir / "objects").is_dir():
        if not isinstance(beside := settings.profile.get("repository"), str) or not beside:
            raise SubjectError("no subject is registered")
        try:
            return register(settings, settings.root / beside)
        except UsageError as error:
            raise SubjectError(f"no subject is registered, and {error}") from error
    try:
        kept = msgspec.json.decode((git_dir / _RECORD).read_bytes(), type=_Registered)
    except (OSError, msgspec.MsgspecError) as error:
        raise SubjectError(f"the registered subject's record {_RECORD} is unreadable") from error
    source = kept.source
    if not Path(source).is_dir():
        raise SubjectError(f"the subject's repository {source} is gone")
    own = kept.git_dir if Path(kept.git_dir).is_dir() else source  # a work tree beside the clone may be gone
    _refuse_shallow(Path(source))
    _copy_refs(Path(source), git_dir, settings.branch)
    return _subject(settings, git_dir, source, own)


def _subject(settings: Settings, git_dir: Path, source: str, own: str) -> Subject:
    needed = dependencies(settings)
    borrow_objects(git_dir, (dependency_clone(settings, one) for one in needed))
    return Subject(git_dir, source, settings.branch, settings.measured_path, own, needed)


def register(settings: Settings, source: Path) -> Subject:
    """Register the git repository at `source` (a clone, a work tree of one, or a bare repository).

    Raises UsageError when it is none, SubjectError when it is shallow, lacks the branch or cannot be
    listed; a subject registered before stays in place then.
    """
    try:
        found = git_text(source, ["rev-parse", "--git-common-dir", "--git-dir"]).split("\n")
        common, own = (str((source / path).resolve()) for path in found)  # they may be relative to it
    except (SubjectError, NotADirectoryError) as error:
        if "dubious ownership" in str(error):
            raise HostError(
                f"git does not read {source}: it belongs to another user",
                hint=f"if you trust it: git config --global --add safe.directory {source}",
            ) from error
        raise UsageError(f"{source} is not a git repository", hint="give the path of a clone") from error
    clone = Path(common)
    _refuse_shallow(clone)
    target = settings.subject_git
    fresh = target.with_name(target.name + ".new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        register_bare(fresh, clone, own)
        _copy_refs(clone, fresh, settings.branch)
        git(fresh, ["symbolic-ref", "HEAD", f"refs/heads/{settings.branch}"])
        list_commits(_subject(settings, fresh, str(clone), own))
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except OSError as error:
        raise HostError(f"cannot write {target}: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return _subject(settings, target, str(clone), own)


def register_bare(target: Path, clone: Path, own: Path | str) -> None:
    """Make a bare repository that borrows the objects of `clone`; names are looked up in `own`."""
    git(None, ["init", "--quiet", "--bare", str(target)])
    (target / "objects" / "info" / "alternates").write_text(f"{clone / 'objects'}\n", encoding="utf-8")
    (target / _RECORD).write_bytes(msgspec.json.encode(_Registered(str(clone), str(own))))


def _refuse_shallow(clone: Path) -> None:
    """A history that is cut off would renumber the branch, and has no commits to compare with."""
    if (clone / "shallow").is_file():
        raise SubjectError(
            f"{clone} is a shallow clone: the branch's history is cut off",
            hint=f"fetch the rest: git -C {clone} fetch --unshallow",
        )


def clone(settings: Settings, url: str) -> Path:
    """Clone `url` (bare, without prompts) below the state folder, or update the clone there.

    A login in the URL is used and kept nowhere. Raises SubjectError with what git said.
    """
    shown, target = url_without_login(url), clone_place(settings, url)
    try:
        if not (target / "objects").is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            git(None, ["clone", "--quiet", "--bare", "--", url, str(target)], timeout_s=3600)
            git(target, ["remote", "set-url", "origin", shown])
        else:
            heads = "+refs/heads/*:refs/heads/*"
            git(target, ["fetch", "--quiet", "--prune", "--", url, heads], timeout_s=3600)
    except SubjectError as error:
        raise SubjectError(
            str(error).replace(url, shown), hint=f"is {shown} right, and within reach?"
        ) from error
    return target


def _copy_refs(source: Path, git_dir: Path, branch: str) -> None:
    """Mirror heads, tags and remote-tracking branches; the measured branch may be one of these."""
    refs = _refs(source)
    wanted = {n: h for n, h in refs.items() if n.startswith(("refs/heads/", "refs/tags/", "refs/remotes/"))}
    name = f"refs/heads/{branch}"
    if name not in wanted:
        remote = [n for n in refs if n.startswith("refs/remotes/") and n.endswith(f"/{branch}")]
        remote.sort(key=lambda n: (n != f"refs/remotes/origin/{branch}", n))
        if not remote:
            raise SubjectError(
                f"the repository has no branch {branch!r}",
                hint="fetch it, or set another with NBBENCH_BRANCH",
            )
        wanted[name] = refs[remote[0]]
    present = _refs(git_dir)
    # First what goes: git does not make `a/b` while there is an `a`, even in one transaction.
    for orders in (
        [f"delete {n}" for n in present if n not in wanted],
        [f"update {n} {h}" for n, h in wanted.items() if present.get(n) != h],
    ):
        if orders:
            git(git_dir, ["update-ref", "--stdin"], stdin="\n".join(orders).encode() + b"\n")


def _refs(repository: Path) -> dict[str, str]:
    listing = git_text(repository, ["for-each-ref", "--format=%(refname) %(objectname)"])
    return dict(line.split(" ") for line in listing.split("\n") if line)


def resolve(subject: Subject, name: str) -> str:
    """The full hash of a commit by any name that git knows in the registered clone.

    `HEAD`, `HEAD~1`, `origin/x` and tags are those of the clone. The measured branch's name is the branch,
    whatever tag has the same one. Raises UsageError for an unknown name.
    """
    start = _NAME_END.split(name, maxsplit=1)[0]
    place, asked = Path(subject.clone_dir or subject.git_dir), name
    if start == subject.branch:
        place, asked = subject.git_dir, f"refs/heads/{name}"
    try:
        if name.startswith("-"):
            raise SubjectError("an option is no commit")
        words = ["rev-parse", "--verify", "--quiet", f"{asked}^{{commit}}"]
        with contextlib.suppress(SubjectError):
            return git_text(place, words)
        return git_text(subject.git_dir, words)  # that of a work tree, which the clone does not have
    except SubjectError as error:
        raise UsageError(
            f"unknown commit {name!r}", hint="`nbbench commits` lists the measurable ones"
        ) from error


def _resolve_range(subject: Subject, span: str) -> str:
    """A git range with its ends as hashes; a missing end is HEAD, as git has it."""
    first, dots, last = span.partition("..")
    if not dots:
        return resolve(subject, span)
    if last.startswith("."):
        dots, last = "...", last[1:]
    if not first and not last:
        raise UsageError(f"unknown commit {span!r}")
    return dots.join(resolve(subject, end or "HEAD") for end in (first, last))


def list_commits(subject: Subject, span: str | None = None) -> list[Commit]:
    """First-parent commits that changed the measured path, oldest first, with positions.

    `span` is a git range (`A..B`, or one name for everything up to it); positions count over
    the whole branch whatever the range. Raises UsageError for an unknown range.
    """
    branch = _changes(subject, f"refs/heads/{subject.branch}")
    positions = {commit.hash: i for i, commit in enumerate(branch, start=1)}
    if span is not None:
        branch = _changes(subject, _resolve_range(subject, span))
    return [replace(commit, position=positions.get(commit.hash, 0)) for commit in branch if commit.tree]


def _changes(subject: Subject, span: str) -> list[Commit]:
    """First-parent commits that changed what is measured, oldest first."""
    paths = [subject.measured_path, *(one.pin or one.path for one in subject.dependencies)]
    wanted = [f":(top,literal){path}" for path in (PurePosixPath(one).as_posix() for one in paths)]
    if ":(top,literal)." in wanted:
        wanted = [":(top)"]
    found = _log(subject, "--first-parent", "--reverse", span, "--", *wanted)
    if subject.dependencies:  # another file's line may have changed the file that has the pin
        before = tree_ids(subject, [f"{commit.hash}^" for commit in found])
        found = [commit for commit in found if commit.tree != before[f"{commit.hash}^"]]
    return found


def whole_history(subject: Subject) -> list[Commit]:
    """Every commit of the branch with its tree, oldest first.

    First parents stand in their order; what a merge brought in stands before it.
    """
    return _log(subject, "--topo-order", "--reverse", f"refs/heads/{subject.branch}", "--")


def _log(subject: Subject, *arguments: str) -> list[Commit]:
    """The commits that `git log` lists, with their trees; titles lose control characters and credentials."""
    # Here, as its patterns take as long as a command with nothing new.
    from nbbench.credentials import without_credentials

    text = git_text(subject.git_dir, ["log", "--format=%H%x00%at%x00%s", *arguments])
    rows = [line.split("\0") for line in text.split("\n") if line]  # titles may hold other line ends
    trees = tree_ids(subject, [commit for commit, _, _ in rows])
    return [
        Commit(name, trees[name], datetime.fromtimestamp(int(at), UTC), without_credentials(clean(title)))
        for name, at, title in rows
    ]


def tree_ids(subject: Subject, commits: list[str]) -> dict[str, str]:
    """Object id of what is measured at each commit ('' where the measured path does not exist)."""
    if not commits:
        return {}
    path = PurePosixPath(subject.measured_path).as_posix()
    found = trees_of(subject.git_dir, commits, path)
    if subject.dependencies:
        return composed_trees(subject.git_dir, path, subject.dependencies, found)
    return found


def measurable(subject: Subject, name: str | None) -> Commit:
    """The commit of this name (None or '': the branch's tip).

    Raises UsageError for an unknown one, or one without the measured path.
    """
    commit = describe(subject, name or f"refs/heads/{subject.branch}")
    if not commit.tree:
        raise UsageError(
            f"commit {commit.short} has no {subject.measured_path}",
            hint="`nbbench commits` lists the measurable ones",
        )
    return commit


def is_ancestor(subject: Subject, older: Commit, newer: Commit) -> bool:
    """Whether `newer` holds `older` in its history, or is the same commit."""
    return git_text(subject.git_dir, ["rev-list", "--count", older.hash, f"^{newer.hash}"]) == "0"


def last_release(subject: Subject, known: Collection[str]) -> tuple[str, str]:
    """The newest tag that the branch holds, and the newest of the `known` commits in it; else empty."""
    form = "--format=%(refname:lstrip=2)%00%(*objectname)%(objectname)"  # an annotated tag's commit is first
    listed = git_text(subject.git_dir, ["for-each-ref", "--sort=-creatordate", form, "refs/tags"])
    tags = [(name, commit[:40]) for name, _, commit in (line.partition("\0") for line in listed.split("\n"))]
    # git's own --merged trusts in dates
    held = set(git_text(subject.git_dir, ["rev-list", f"refs/heads/{subject.branch}"]).split())
    for name, tagged in tags:
        if tagged in held:
            before = git_text(subject.git_dir, ["rev-list", "--first-parent", tagged]).split("\n")
            if commit := next((one for one in before if one in known), ""):
                return clean(name), commit
    return "", ""


def describe(subject: Subject, commit: str) -> Commit:
    """One commit with its tree, whether or not it changed the measured path."""
    return _log(subject, "-1", resolve(subject, commit))[0]
