"""The branch's measurable commits: from the registered subject, or as kept beside the results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from nbbench.config import Settings
from nbbench.errors import HostError, InconclusiveError, SubjectError, UsageError
from nbbench.model import Commit, to_plain
from nbbench.record import Store
from nbbench.record.side_files import write_atomic
from nbbench.subject.repository import Subject, describe, list_commits, open_subject

# Not *.json: asv takes every such file below results/ for one of its own and warns.
COMMITS_FILE = "commits.jsonl"
_SCHEMA = 1


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
    kept = read_commits(settings)
    subject = subject_or_none(settings)
    if subject is None:
        return kept
    present = list_commits(subject)
    known = {commit.hash for commit in present}
    if known & {commit.hash for commit in kept}:
        return present
    # Results of another history stand by their dates: positions of two branches would collide.
    return present + [replace(commit, position=0) for commit in kept]


def measured_commit(settings: Settings, store: Store, name: str | None, machine: str = "") -> Commit:
    """The commit whose recorded results speak for `name`: itself, or one with the same tree.

    Without a name the newest commit with results; of one machine, where it is named. Works without the
    subject, by hashes. Raises UsageError for an unknown name, InconclusiveError when nothing is recorded.
    """
    subject = subject_or_none(settings)
    known = store.commits()
    if name is None:
        wanted = known
    else:
        one = describe(subject, name) if subject else store.commit(name)
        if one is None:
            raise UsageError(f"no recorded commit begins with {name!r}")
        wanted = [c for c in known if c.hash == one.hash or (one.tree and c.tree == one.tree)]
    for commit in reversed(wanted):
        if any(machine in ("", result.key.machine) for result in store.results(commit=commit.hash)):
            return commit
    on = f" on {machine}" if machine else ""
    raise InconclusiveError(
        f"nothing is recorded of {name or 'any commit'}{on}", hint="measure with `nbbench run` first"
    )


def read_commits(settings: Settings) -> list[Commit]:
    """The list kept beside the results; empty where there is none."""
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


def save_commits(settings: Settings) -> None:
    """Keep the branch's list beside the results, so that they can be judged without the subject.

    The list of another history, one without a common commit, stays as it is.
    """
    subject = subject_or_none(settings)
    if subject is None:
        return
    present = list_commits(subject)
    kept = {commit.hash for commit in read_commits(settings)}
    if kept and not kept & {commit.hash for commit in present}:
        return
    head = {"schema": _SCHEMA, "kind": "nbbench-commits", "branch": subject.branch}
    text = "".join(f"{json.dumps(row)}\n" for row in (head, *_rows(present)))
    path = settings.results_dir / COMMITS_FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())


def _rows(commits: Iterable[Commit]) -> list[dict[str, object]]:
    # Subject lines are the subject's text and stay out of this project.
    return [{k: v for k, v in to_plain(commit).items() if k != "subject"} for commit in commits]
