"""The branch's commits in their order: from the registered subject, or as kept beside the results."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from nbbench.config import Settings
from nbbench.errors import HostError, SubjectError
from nbbench.model import Commit, to_plain
from nbbench.record.atomic import write_bytes
from nbbench.record.store import Store
from nbbench.subject.git import git_text
from nbbench.subject.repository import Subject, list_commits, open_subject, whole_history
from nbbench.words import plural

# Not *.json: asv takes every such file below results/ for one of its own and warns.
COMMITS_FILE = "commits.jsonl"
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class BranchLine:
    """The commits of a history in order, oldest first, and what is to be known of the order.

    It holds the commits that changed the measured paths, with positions, and all others that have results.
    """

    commits: tuple[Commit, ...]
    notes: tuple[str, ...] = ()


def subject_or_none(settings: Settings) -> Subject | None:
    """The registered subject; None where there is none (a fresh clone with committed results)."""
    try:
        return open_subject(settings)
    except SubjectError:
        return None


def branch_commits(settings: Settings) -> list[Commit]:
    """Commits that changed the measured path, oldest first, with positions.

    The kept list has hashes, trees, dates and positions, but no subject lines. Raises
    HostError when it cannot be read.
    """
    return [commit for commit in branch_line(settings, ()).commits if commit.position]


def order_key(settings: Settings, measured: Iterable[Commit]) -> str:
    """Stands for everything that `branch_line` rests on, for the price of one look at the subject."""
    subject = subject_or_none(settings)
    tip = git_text(subject.git_dir, ["rev-parse", f"refs/heads/{subject.branch}"]) if subject else ""
    path = settings.results_dir / COMMITS_FILE
    try:
        kept = path.read_bytes()
    except OSError:
        kept = b""
    # A pin's tree is another one as soon as it can be had.
    pinned = [commit.tree for commit in list_commits(subject)] if subject and subject.dependencies else []
    # A date belongs to a hash; where nothing else is known, it gives the order.
    parts = (
        settings.branch,
        settings.measured_path,
        tip,
        *sorted(commit.hash for commit in measured),
        *pinned,
    )
    return hashlib.sha256("\0".join(parts).encode() + kept).hexdigest()


def branch_line(settings: Settings, measured: Collection[Commit]) -> BranchLine:
    """The branch's order with every commit of `measured` that belongs to it.

    Where a subject is registered that is git's: first parents, and before a merge what it brought in. The
    kept list stands in for what git does not know (another history). Only without either do dates give
    places. Raises HostError when the kept list cannot be read.
    """
    kept = _kept(settings)
    subject = subject_or_none(settings)
    if subject is not None:
        return _git_line(subject, {commit.hash: commit for commit in measured}, kept)
    known = {commit.hash for commit in kept}
    loose = [commit for commit in measured if commit.hash not in known]
    if not kept:
        return line_by_date(loose)
    if not loose:
        return BranchLine(tuple(kept))
    note = (
        f"without a subject, what {COMMITS_FILE} does not list stands by its date: "
        f"{plural(len(loose), 'commit')}"
    )
    return BranchLine(tuple(_by_date(kept, loose)), notes=(note,))


def line_by_date(measured: Iterable[Commit]) -> BranchLine:
    """The order of commits of which nothing but their dates is known."""
    line = tuple(_by_date([], measured))
    return BranchLine(line, ("without a subject, commits stand by their dates",) if line else ())


def _git_line(subject: Subject, measured: Mapping[str, Commit], kept: list[Commit]) -> BranchLine:
    changed = {commit.hash: commit for commit in list_commits(subject)}
    branch = whole_history(subject)
    history = {commit.hash for commit in branch}
    present = [changed.get(c.hash, c) for c in branch if c.hash in changed or c.hash in measured]
    past, notes = [], []
    if kept and not any(commit.hash in history for commit in kept):  # positions of both would collide
        past = [replace(commit, position=0) for commit in kept]
        notes.append(f"{COMMITS_FILE} is of another history than {subject.branch}: its commits come first")
    placed = {commit.hash for commit in (*past, *present)}
    if left_out := sorted(commit.short for name, commit in measured.items() if name not in placed):
        names = ", ".join([*left_out[:3], *(["…"] if len(left_out) > 3 else [])])
        what = plural(len(left_out), "commit")
        notes.append(f"{what} with results ({names}) not of {subject.branch}: left out of its history")
    return BranchLine((*past, *present), tuple(notes))


def _by_date(placed: list[Commit], loose: Iterable[Commit]) -> list[Commit]:
    """Both as one: the placed keep their order, the others go in between by their dates."""
    rest = sorted(loose, key=lambda commit: (commit.date, commit.hash), reverse=True)
    merged: list[Commit] = []
    for commit in placed:
        while rest and rest[-1].date < commit.date:
            merged.append(rest.pop())
        merged.append(commit)
    return merged + rest[::-1]


def read_commits(settings: Settings) -> list[Commit]:
    """The commits that changed the measured paths, as kept beside the results; none where nothing is kept.

    Raises HostError when the list cannot be read.
    """
    return [commit for commit in _kept(settings) if commit.position]


def _kept(settings: Settings) -> list[Commit]:
    path = settings.results_dir / COMMITS_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines[1:] if line.strip()]
        return [
            Commit(r["hash"], r["tree"], datetime.fromisoformat(r["date"]), "", int(r["position"]))
            for r in rows
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(
            f"{path} cannot be read: {error}", hint="restore it from git, or delete it and run `nbbench run`"
        ) from error


def save_commits(settings: Settings, store: Store | None = None) -> None:
    """Keep the branch's order beside the results, so that they can be judged without the subject.

    With a store, commits that have results and did not change the measured paths are kept with it.
    A list of another history stays: somebody's results rest on it (a demo in a clone with committed ones).
    """
    if subject_or_none(settings) is None:
        return
    line, kept = branch_line(settings, store.measured_commits() if store else ()).commits, _kept(settings)
    if kept and not any(commit.position for commit in line if commit.hash in {one.hash for one in kept}):
        return
    head = {"schema": _SCHEMA, "kind": "nbbench-commits", "branch": settings.branch}
    # Subject lines are the subject's text and stay out of this project.
    rows = ({k: v for k, v in to_plain(commit).items() if k != "subject"} for commit in line)
    text = "".join(f"{json.dumps(row)}\n" for row in (head, *rows))
    path = settings.results_dir / COMMITS_FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())
