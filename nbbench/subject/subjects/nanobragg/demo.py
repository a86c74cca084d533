"""The embedded subject: a small diffraction simulator with a real git history and known events.

`demo_history/` holds one patch for each commit and `index.toml` with dates, messages and the
ground truth. Replaying them gives the same commit hashes on every machine, so results measured
anywhere can be compared, and every finding of nbbench has a planted answer to be held against.
"""

import contextlib
import os
import tempfile
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec

from nbbench.errors import HostError, SubjectError
from nbbench.subject.git import git

BRANCH: Final = "feature/spec-based-2"
TIP_HASH: Final = "cb4d15a9e14a2c5afd82c1857f488ef66d6ae61c"

_HISTORY = files("nbbench.subject.subjects.nanobragg") / "demo_history"
_NAME, _EMAIL = "nbbench demo", "demo@nbbench.invalid"
# Whatever the user's git would add to a commit or do to a file changes the hashes: read no
# configuration but the new repository's own.
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_DEFAULT_HASH": "sha1",
    "GIT_COMMITTER_NAME": _NAME,
    "GIT_COMMITTER_EMAIL": _EMAIL,
}
# The same for what git reads without being configured, attributes and ignore files in the home folder.
_SETTINGS = f"""
[core]
	autocrlf = false
	eol = lf
	attributesFile = {os.devnull}
	excludesFile = {os.devnull}
	hooksPath = {os.devnull}
[commit]
	gpgSign = false
[gc]
	auto = 0
[user]
	name = {_NAME}
	email = {_EMAIL}
"""


class PlantedEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One commit of the embedded subject, and what is true of it; index.toml describes the fields.

    `position` counts the commits from 1, oldest first. `regression` is the cause of what becomes slower,
    in whatever series; empty where nothing does.
    """

    position: int
    patch: str
    hash: str
    date: str
    subject: str
    kind: str
    direction: str
    benchmarks: tuple[str, ...]
    note: str
    body: str = ""
    regression: str = ""


def write_demo(path: Path) -> str:
    """Write the embedded subject to `path`, checked out at its tip, and return the tip's hash.

    `path` may be missing or an empty folder. A folder that already holds this history is left as
    it is, the user's work in it included. Anything else raises SubjectError.
    The repository is made beside `path` and renamed, so nobody sees half of it.
    """
    target = path.resolve()
    try:
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".nbbench-demo-", dir=target.parent) as folder:
                _replay(Path(folder) / "subject")
                with contextlib.suppress(OSError):  # another process may have written it meanwhile
                    Path(folder, "subject").rename(target)
    except OSError as error:
        raise HostError(f"cannot write {target}: {error.strerror or error}") from error
    if not _holds_history(target):
        raise SubjectError(
            f"{target} is not empty and does not hold the embedded subject's history",
            hint="choose an empty folder, or remove this one",
        )
    return TIP_HASH


def _holds_history(target: Path) -> bool:
    """Whether the branch ends at the tip and no object that it needs is missing."""
    # A folder inside some other repository must not be answered for by that one.
    if not (target / ".git").is_dir():
        return False
    try:
        tip = _git(target, "rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}")
        _git(target, "rev-list", "--objects", "--quiet", TIP_HASH)
    except SubjectError:
        return False
    return tip.strip() == TIP_HASH


def _replay(repository: Path) -> None:
    """Make the history in the new folder `repository`."""
    repository.mkdir()
    _git(repository, "init", "--quiet", "--template=")
    with (repository / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write(_SETTINGS)
    _git(repository, "symbolic-ref", "HEAD", f"refs/heads/{BRANCH}")
    mails = b"".join(_mail(commit) for commit in PLANTED)
    _git(repository, "am", "--quiet", "--keep", "--committer-date-is-author-date", stdin=mails)
    if (made := _git(repository, "rev-parse", "HEAD").strip()) != TIP_HASH:  # it stands for all before it
        raise SubjectError(
            f"the embedded history ends at {made}, not at {TIP_HASH}", hint="reinstall nbbench"
        )


def _mail(commit: PlantedEvent) -> bytes:
    """A commit as `git am` takes it."""
    head = (
        f"From {commit.hash} Mon Sep 17 00:00:00 2001\nFrom: {_NAME} <{_EMAIL}>\nDate: {commit.date}\n"
        f"Subject: {commit.subject}\nContent-Type: text/plain; charset=utf-8\n\n{commit.body}\n---\n"
    )
    # A checkout of nbbench with CRLF line ends must give the same hashes.
    patch = _HISTORY.joinpath(commit.patch).read_bytes().replace(b"\r\n", b"\n")
    return head.encode() + patch + b"\n"


def _git(repository: Path, *arguments: str, stdin: bytes = b"") -> str:
    """Run git on `repository` alone; raises SubjectError with its last line, HostError without git."""
    # Named outright: git would otherwise look for a repository in the folders above.
    where = {"GIT_DIR": str(repository / ".git"), "GIT_WORK_TREE": str(repository)}
    return git(repository, arguments, stdin=stdin, environment={**_ENVIRONMENT, **where}).decode()


def _planted() -> tuple[PlantedEvent, ...]:
    """The history, oldest first."""
    index: dict[str, Any] = tomllib.loads(_HISTORY.joinpath("index.toml").read_text(encoding="utf-8"))
    entries = [{**entry, "position": place} for place, entry in enumerate(index["commit"], start=1)]
    return msgspec.convert(entries, tuple[PlantedEvent, ...])


PLANTED: Final[tuple[PlantedEvent, ...]] = _planted()
