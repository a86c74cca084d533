"""Flame views: a file of bytes by stack, for `nbbench explain` and `nbbench ledger`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App
from nbbench.cli.options import in_a_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbbench.ledger import StackCost
    from nbbench.model import Commit
    from nbbench.report.flame import FlameProfile

    Stacks = Mapping[str, tuple[StackCost, ...]]

_FOLDED = (".folded", ".txt")

flame_option = click.option(
    "--flame",
    metavar="FILE",
    callback=in_a_folder,
    help="Write bytes by stack for https://www.speedscope.app; *.folded or *.txt: folded stacks.",
)


def write_flame(app: App, path: Path, commits: Sequence[Commit], workloads: Sequence[str]) -> None:
    """Record the stacks of one commit, or of base and head, and write them to `path`.

    Folded stacks are those of the first workload: the format has room for one profile.
    Raises UsageError when there is no workload to show, SubjectError without a subject.
    """
    from nbbench.errors import UsageError
    from nbbench.measure.ledgers import workload_stacks
    from nbbench.record.atomic import write_text
    from nbbench.report.flame import folded, folded_difference, speedscope
    from nbbench.subject.repository import open_subject

    open_subject(app.settings)  # stacks are on no record: without a subject there is nothing to draw
    if not workloads:
        raise UsageError("there is no workload to draw a flame view of", hint="choose one with --bench")
    sides = [workload_stacks(app.settings, commit, workloads, say=app.say) for commit in commits]
    names = [name for name in workloads if all(name in side for side in sides)]
    if not names:
        raise UsageError("no workload runs at both commits", hint="choose another with --bench")
    title = " → ".join(commit.short for commit in commits)
    if path.suffix in _FOLDED:
        stacks = [side[names[0]] for side in sides]
        write_text(path, folded(stacks[0]) if len(stacks) == 1 else folded_difference(*stacks))
        app.say(f"wrote {path} ({names[0]})")
        return
    write_text(path, speedscope(title, _profiles(commits, names, sides)))
    app.say(f"wrote {path}: open it at https://www.speedscope.app")


def _profiles(commits: Sequence[Commit], names: Sequence[str], sides: Sequence[Stacks]) -> list[FlameProfile]:
    """A profile for each commit and, of two commits, what became more and what less."""
    from nbbench.report.flame import FlameProfile, difference

    made = []
    for name in names:
        stacks = [side[name] for side in sides]
        if len(stacks) == 2:
            changes = zip(("more", "less"), difference(*stacks), strict=True)
            made += [
                FlameProfile(f"{name}: {word} at {commits[1].short}", tuple(s)) for word, s in changes if s
            ]
        ends = zip(commits, stacks, strict=True)
        made += [FlameProfile(f"{name} at {commit.short}", found) for commit, found in ends]
    return made
