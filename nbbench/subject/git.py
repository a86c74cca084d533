"""Calling git: no shell, no prompts, none of a repository's programs, errors in one sentence."""

from __future__ import annotations

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
    f"core.hooksPath={os.devnull}",
)
# A login in a URL ends at the last @ before a blank or a quote: passwords may hold / and @.
_LOGIN = re.compile(r"(?<=://)[^\s'\"]*@")
_WHOLE_LOGIN = re.compile(r"(?s)(?P<scheme>[A-Za-z][\w+.-]*:/+)?(?P<user>.*)@")
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
    if repository is not None and arguments[0] == "status":
        off = _without_filters(repository)
        where += [
            part for name, value in off.items() if "=" not in name for part in ("-c", f"{name}={value}")
        ]
        plain |= _as_variables(off)
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
        said = without_login(told[-1]) if told else f"exit {done.returncode}"
        raise SubjectError(f"git {arguments[0]} failed: {said}")
    return done.stdout


def _without_filters(repository: Path) -> dict[str, str]:
    """Settings that take the programs away which git would run on a work tree's files to compare them."""
    try:
        listing = git_text(repository, ["config", "--null", "--name-only", "--get-regexp", r"^filter\."])
    except SubjectError:  # there is none
        return {}
    return {name: "false" if name.endswith(".required") else "" for name in listing.split("\0") if name}


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings in an environment, where a name may hold "="; git reads them there since 2.31."""
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for place, (name, value) in enumerate(settings.items()):
        found |= {f"GIT_CONFIG_KEY_{place}": name, f"GIT_CONFIG_VALUE_{place}": value}
    return found


def without_login(text: str) -> str:
    """`text` with its URLs as they may be shown: without user names, passwords, queries and fragments."""
    return _QUERY.sub(r"\1", _LOGIN.sub("", text))


def url_without_login(url: str) -> str:
    """A whole URL as it may be shown; in one that git would refuse a password can hold blanks and quotes."""
    login = _WHOLE_LOGIN.match(url)
    if login and (login["scheme"] or ":" in login["user"]):  # `git@host:path` names nobody
        url = (login["scheme"] or "") + url[login.end() :]
    return without_login(url)


def git_text(repository: Path | None, arguments: Sequence[str], **kwargs: float) -> str:
    """`git` decoded as UTF-8 and stripped."""
    return git(repository, arguments, **kwargs).decode("utf-8", "replace").strip()  # type: ignore[arg-type]
