"""The embedded subject: a small diffraction simulator with a real git history and known events.

`demo_history/` holds one patch for each commit and `index.toml` with dates, messages and the
ground truth. Replaying them gives the same commit hashes on every machine, so results measured
anywhere can be compared, and every finding of nbbench has a planted answer to be held against.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from nbbench.errors import HostError, SubjectError
from nbbench.subject.git import git

BRANCH: Final = "feature/spec-based-2"
TIP_HASH: Final = "cb4d15a9e14a2c5afd82c1857f488ef66d6ae61c"

_IDENTITY = ("nbbench demo", "demo@nbbench.invalid")
_TIMEOUT_S = 60.0  # a replay takes well under a second; this is for a file system that hangs

# Whatever the user's git would add to a commit or do to a file changes the hashes: read no
# configuration but the new repository's own, and ask nobody.
_ENVIRONMENT: Mapping[str, str] = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_DEFAULT_HASH": "sha1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": _IDENTITY[0],
    "GIT_AUTHOR_EMAIL": _IDENTITY[1],
    "GIT_COMMITTER_NAME": _IDENTITY[0],
    "GIT_COMMITTER_EMAIL": _IDENTITY[1],
    "LC_ALL": "C",
}
# The same for what git reads without being configured: attributes and ignore files in the home folder.
_SETTINGS = {
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.hooksPath": os.devnull,
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "user.name": _IDENTITY[0],
    "user.email": _IDENTITY[1],
}


class ForeignFolderError(SubjectError, ValueError):
    """The folder holds something else than the embedded subject; nothing in it was touched."""

    default_hint = "choose an empty folder, or remove this one"


class DamagedHistoryError(SubjectError):
    """The installed patches do not give the commits that they should."""

    default_hint = "reinstall nbbench"


@dataclass(frozen=True)
class PlantedEvent:
    """What is true of one commit of the embedded subject.

    `position` counts the commits from 1, oldest first. `kind` is baseline, docs, neutral,
    vectorised, dtype, work, allocator, image changed or broken. `direction` (slower, faster,
    none) is that of the time of the series that the hint words in `benchmarks` mean, against
    the nearest earlier commit that runs. `regression` is the cause of what becomes slower, in whatever
    series; empty where nothing does.
    """

    position: int
    hash: str | None
    kind: str
    direction: str
    benchmarks: tuple[str, ...]
    note: str
    regression: str = ""


@dataclass(frozen=True)
class _Commit:
    """One commit to replay."""

    patch: str
    hash: str
    date: str
    message: str
    event: PlantedEvent


def write_demo(path: Path) -> str:
    """Write the embedded subject to `path`, checked out at its tip, and return the tip's hash.

    `path` may be missing or an empty folder. A folder that already holds this history is left as
    it is, the user's work in it included. Anything else raises ForeignFolderError (a ValueError).
    The repository is made beside `path` and renamed, so nobody sees half of it.
    """
    target = Path(path).resolve()
    try:
        if _occupied(target):
            return _accept(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".nbbench-demo-", dir=target.parent) as folder:
            fresh = Path(folder) / "subject"
            fresh.mkdir()
            _replay(fresh)
            try:
                fresh.rename(target)
            except OSError:
                # Another process may have written the same history meanwhile.
                if _occupied(target):
                    return _accept(target)
                raise
    except OSError as error:
        raise HostError(f"cannot write {target}: {error.strerror or error}") from error
    return TIP_HASH


def _occupied(target: Path) -> bool:
    """Whether something is at `target` that an empty folder is not."""
    if not target.is_dir():
        return target.exists()
    return any(target.iterdir())


def _accept(target: Path) -> str:
    """The tip's hash if `target` holds the complete history; raises ForeignFolderError otherwise."""
    if _holds_history(target):
        return TIP_HASH
    raise ForeignFolderError(f"{target} is not empty and does not hold the embedded subject's history")


def _holds_history(target: Path) -> bool:
    """Whether the branch ends at the tip and no object that it needs is missing."""
    # A folder inside some other repository must not be answered for by that one.
    if not (target / ".git").is_dir():
        return False
    try:
        tip = _git(target, "rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}")
        if tip.strip() != TIP_HASH:
            return False
        _git(target, "rev-list", "--objects", "--quiet", TIP_HASH)
    except SubjectError:
        return False
    return True


def _replay(repository: Path) -> None:
    """Make the history in the empty folder `repository`, every commit checked against its hash."""
    _git(repository, "init", "--quiet", "--template=")
    for name, value in _SETTINGS.items():
        _git(repository, "config", name, value)
    _git(repository, "symbolic-ref", "HEAD", f"refs/heads/{BRANCH}")
    parent: list[str] = []
    for commit in _commits():
        _git(repository, "apply", "--index", "--whitespace=nowarn", "-", stdin=_patch(commit))
        tree = _git(repository, "write-tree").strip()
        made = _git(
            repository,
            "commit-tree",
            tree,
            *(argument for hash_ in parent for argument in ("-p", hash_)),
            stdin=commit.message.encode(),
            extra={"GIT_AUTHOR_DATE": commit.date, "GIT_COMMITTER_DATE": commit.date},
        ).strip()
        if made != commit.hash:
            raise DamagedHistoryError(f"the embedded {commit.patch} gives {made}, not {commit.hash}")
        parent = [made]
    if parent != [TIP_HASH]:
        raise DamagedHistoryError(f"the embedded subject ends at {parent[0]}, not at {TIP_HASH}")
    _git(repository, "update-ref", f"refs/heads/{BRANCH}", TIP_HASH)


def _git(
    repository: Path,
    *arguments: str,
    stdin: bytes = b"",
    extra: Mapping[str, str] | None = None,
) -> str:
    """Run git on `repository` alone; raises SubjectError with its last line, HostError without git."""
    # Named outright: git would otherwise look for a repository in the folders above.
    where = {"GIT_DIR": str(repository / ".git"), "GIT_WORK_TREE": str(repository)}
    environment = {**_ENVIRONMENT, **where, **(extra or {})}
    done = git(repository, arguments, stdin=stdin, timeout_s=_TIMEOUT_S, environment=environment)
    return done.decode("utf-8", "replace")


def _history() -> Traversable:
    """The folder of the patches."""
    return files("nbbench.subject.subjects.nanobragg").joinpath("demo_history")


def _patch(commit: _Commit) -> bytes:
    # A checkout of nbbench with CRLF line ends must give the same hashes.
    return _history().joinpath(commit.patch).read_bytes().replace(b"\r\n", b"\n")


@cache
def _commits() -> tuple[_Commit, ...]:
    """The history, oldest first."""
    index = tomllib.loads(_history().joinpath("index.toml").read_text(encoding="utf-8"))
    return tuple(_commit(position, entry) for position, entry in enumerate(index["commit"], start=1))


def _commit(position: int, entry: Mapping[str, str | Sequence[str]]) -> _Commit:
    text = {name: str(value) for name, value in entry.items()}
    body = f"\n{text['body']}\n" if "body" in text else ""
    return _Commit(
        patch=text["patch"],
        hash=text["hash"],
        date=text["date"],
        message=f"{text['subject']}\n{body}",
        event=PlantedEvent(
            position=position,
            hash=text["hash"],
            kind=text["kind"],
            direction=text["direction"],
            benchmarks=tuple(entry["benchmarks"]),
            note=text["note"],
            regression=text.get("regression", ""),
        ),
    )


PLANTED: Final[tuple[PlantedEvent, ...]] = tuple(commit.event for commit in _commits())
