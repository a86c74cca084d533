"""A short git history upon the embedded subject whose work, sleeps and breakages are known.

All of them sit in source generation: `vectorisation.Sources.time_generate` is the cheapest series to time,
and `sources-3969` its ledger. The differences are so large that no machine hides them: the work multiplies
its time by several, and the sleep, which no ledger sees, by tens.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nbbench.subject.subjects.nanobragg.demo import BRANCH, write_demo

SERIES = r"vectorisation\.Sources\.time_generate"
_PACKAGE = "src/nanobrag_torch/__init__.py"
_MODULE = "src/nanobrag_torch/_planted.py"
_PLANTED = '''"""Planted: what each call of the source generation does besides."""

import functools
import time

from .utils import auto_selection

generate = auto_selection.generate_sources_from_divergence_dispersion


@functools.wraps(generate)
def planted(*args, **kwargs):
    result = generate(*args, **kwargs)
    {body}
    return result


auto_selection.generate_sources_from_divergence_dispersion = planted
'''
WORK = "for _ in range(400): result[0] * 1.0000001"
LITTLE_WORK = "for _ in range(5): result[0] * 1.0000001"
SLEEP = "time.sleep(0.03)"
_HELD = """from pathlib import Path
    begun = Path({begun!r})
    (begun / {name!r}).touch()
    while len(list(begun.iterdir())) > 3 and not (begun.parent / "go").exists():
        time.sleep(0.01)"""
BROKEN = "raise NameError('n_sources is not defined')"
_DATE = "2026-01-05T12:00:00+00:00"
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_DATE": _DATE,
    "GIT_COMMITTER_DATE": _DATE,
}


@dataclass
class History:
    """A clone of the embedded subject to which commits are added."""

    folder: Path

    def git(self, *arguments: str) -> str:
        """Run git in the clone, whatever the user's settings are."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=kept | _ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, title: str, body: str | None = None) -> str:
        """Commit `body` as what every call does besides, or a comment without it; returns the hash."""
        package = self.folder / _PACKAGE
        text = package.read_text(encoding="utf-8")
        if body is not None:
            (self.folder / _MODULE).write_text(_PLANTED.format(body=body), encoding="utf-8")
            if "_planted" not in text:
                text += "\nfrom . import _planted  # noqa\n"
        package.write_text(f"{text}# {title}\n", encoding="utf-8")
        return self.commit_all(title)

    def document(self, title: str) -> str:
        """Commit a change outside of the measured path."""
        (self.folder / "notes.md").write_text(f"{title}\n", encoding="utf-8")
        return self.commit_all(title)

    def held(self, title: str, begun: Path) -> str:
        """Commit a call that notes its title in the folder `begun`, and waits there as the fourth or a
        later commit, until the file `go` lies beside the folder: no machine is fast enough to pass it."""
        return self.commit(title, _HELD.format(begun=str(begun), name=title))

    def commit_all(self, title: str) -> str:
        """Commit whatever lies in the clone; returns the hash."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", title)
        return self.git("rev-parse", "HEAD")


def plant(folder: Path) -> History:
    """A fresh history in `folder`, checked out at the embedded subject's branch."""
    write_demo(folder)
    history = History(folder)
    history.git("reset", "--hard", "--quiet", BRANCH)
    return history


def cases(names: Iterable[str], usual: Collection[str]) -> list[object]:
    """The names as a test's parameters; those that are not `usual` are left to `make thorough`."""
    return [name if name in usual else pytest.param(name, marks=pytest.mark.thorough) for name in names]
