"""Calling git: no shell, no prompts, none of a repository's programs, errors in one sentence."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nbbench.errors import HostError, SubjectError

# `GIT_NO_LAZY_FETCH`: a partial clone must fail at once instead of asking the network.
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
# What the settings of a user or of a repository would add to a listing, or run.
_SETTINGS = (
    "log.showSignature=false",
    "log.follow=false",
    "core.quotePath=false",
    "core.symlinks=true",
    "core.fsmonitor=false",
    "core.splitIndex=false",
    f"core.hooksPath={os.devnull}",
)
# A login in a URL ends at the last @ before a blank or a quote: passwords may hold / and @.
_LOGIN = re.compile(r"(?<=://)[^\s'\"]*@")
_QUERY = re.compile(r"(://[^\s'\"?#]*)[?#][^\s'\"]*")


def git(
    repository: Path | None,
    arguments: Sequence[str],
    *,
    stdin: bytes | None = None,
    timeout_s: float = 120.0,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run git on `repository` and return what it printed; `environment` goes before what is usual.

    Raises SubjectError with git's own last line when it fails, HostError when git is missing.
    """
    where = ["-C", str(repository)] if repository is not None else []
    where += [part for setting in _SETTINGS for part in ("-c", setting)]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | _ENVIRONMENT
    plain |= environment or {}
    if repository is not None and arguments[0] in ("status", "add", "write-tree"):
        plain |= _without_filters(repository)
    try:
        done = subprocess.run(
            ["git", *where, *arguments], input=stdin, capture_output=True, env=plain, timeout=timeout_s
        )
    except FileNotFoundError as error:
        raise HostError("git is not installed", hint="install git and run again") from error
    except subprocess.TimeoutExpired as error:
        raise SubjectError(f"git {arguments[0]} did not answer within {timeout_s:.0f} s") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        told = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
        said = _QUERY.sub(r"\1", _LOGIN.sub("", told[-1])) if told else f"exit {done.returncode}"
        verb = arguments[2 * arguments.count("-c")]
        raise SubjectError(f"git {verb} failed: {said}")
    return done.stdout


def _without_filters(repository: Path) -> dict[str, str]:
    """Variables that take the programs away which git would run on a work tree's files to compare them."""
    try:
        listing = git_text(repository, ["config", "--null", "--name-only", "--get-regexp", r"^filter\."])
    except SubjectError:  # there is none
        return {}
    names = [name for name in listing.split("\0") if name]
    found = {"GIT_CONFIG_COUNT": str(len(names))}
    for place, name in enumerate(names):
        value = "false" if name.endswith(".required") else ""
        found |= {f"GIT_CONFIG_KEY_{place}": name, f"GIT_CONFIG_VALUE_{place}": value}
    return found


def is_url(source: str) -> bool:
    """Whether a text that names no folder may be the URL of a repository."""
    return ":" in source or source.endswith(".git")


def url_without_login(url: str) -> str:
    """A URL as it may be shown: without user name, password, query and fragment."""
    # In one that git would refuse a password can hold blanks, quotes, / and @.
    scheme, rest = re.match(r"(?s)([A-Za-z][\w+.-]*:/+|)(.*)", url).groups()  # type: ignore[union-attr]
    user, _, host = rest.rpartition("@")
    if scheme:
        return scheme + re.split("[?#]", host)[0]
    return host if ":" in user else url  # `git@host:path` names nobody


def git_text(repository: Path | None, arguments: Sequence[str], **kwargs: float) -> str:
    """`git` decoded as UTF-8 and stripped."""
    return git(repository, arguments, **kwargs).decode("utf-8", "replace").strip()  # type: ignore[arg-type]


def list_tree(repository: Path, name: str, *paths: str) -> list[tuple[str, str]]:
    """What lies in a tree (below the paths): mode, kind and object, and the path."""
    listed = git(repository, ["ls-tree", "-r", "-z", "--full-tree", name, "--", *paths])
    rows = (line.partition("\t") for line in listed.decode("utf-8", "replace").split("\0"))
    return [(said, path) for said, _, path in rows if path]
