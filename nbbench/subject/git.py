"""Calling git: no shell, no prompts, no user hooks, errors in one sentence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nbbench.errors import HostError, SubjectError

# `GIT_NO_LAZY_FETCH`: a partial clone must fail at once instead of asking the network.
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
# What a user's settings would add to a listing, or run.
_SETTINGS = (
    "log.showSignature=false",
    "log.follow=false",
    "core.quotePath=false",
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
)


def git(
    repository: Path | None,
    arguments: Sequence[str],
    *,
    stdin: bytes | None = None,
    timeout_s: float = 120.0,
) -> bytes:
    """Run git on `repository` and return what it printed.

    Raises SubjectError with git's own last line when it fails, HostError when git is missing.
    """
    where = ["-C", str(repository)] if repository is not None else []
    where += [part for setting in _SETTINGS for part in ("-c", setting)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | _ENVIRONMENT
    try:
        done = subprocess.run(
            ["git", *where, *arguments], input=stdin, capture_output=True, env=environment, timeout=timeout_s
        )
    except FileNotFoundError as error:
        raise HostError("git is not installed", hint="install git and run again") from error
    except subprocess.TimeoutExpired as error:
        raise SubjectError(f"git {arguments[0]} did not answer within {timeout_s:.0f} s") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SubjectError(f"git {arguments[0]} failed: {lines[-1] if lines else f'exit {done.returncode}'}")
    return done.stdout


def git_text(repository: Path | None, arguments: Sequence[str], **kwargs: float) -> str:
    """`git` decoded as UTF-8 and stripped."""
    return git(repository, arguments, **kwargs).decode("utf-8", "replace").strip()  # type: ignore[arg-type]
