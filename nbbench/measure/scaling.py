"""A commit's scales: from the side files, or recorded now in a warm process."""

from __future__ import annotations

from collections.abc import Sequence

from nbbench.config import Settings
from nbbench.errors import InconclusiveError
from nbbench.growth import ScaledWork
from nbbench.measure.ledgers import ensure_kept, open_tree
from nbbench.measure.process_env import torch_version
from nbbench.measure.warm_client import WarmServer
from nbbench.measure.warm_runs import invoke, warm_server
from nbbench.model import Commit
from nbbench.record.branch import subject_or_none
from nbbench.record.ledger_files import kept_scales
from nbbench.words import Say
from nbbench.workloads import Scale


def scaled_work(
    settings: Settings,
    commits: Sequence[Commit],
    scales: Sequence[Scale],
    *,
    torch: str = "",
    say: Say,
    server: WarmServer | None = None,
) -> list[dict[str, ScaledWork]]:
    """What these scales count at each commit, by name; what is missing is recorded where there is a subject.

    Kept ones count if they were recorded with the values that the suite declares now. A commit whose process
    fails is said and has what was kept for it.
    """

    def known(commit: Commit) -> dict[str, ScaledWork]:
        kept = kept_scales(settings.results_dir, commit.tree, torch or torch_version())
        found = ((one.name, one.values, kept.get(one.name)) for one in scales)
        return {name: one for name, values, one in found if one and (one.error or one.values == values)}

    missing = [commit for commit in commits if len(known(commit)) < len(scales)]
    if missing and subject_or_none(settings) is not None:
        with warm_server(server) as warm:
            for number, commit in enumerate(missing, start=1):
                say(f"scaling [{number}/{len(missing)}] {commit.short} {commit.date:%Y-%m-%d}")
                names = [one.name for one in scales if one.name not in known(commit)]
                try:
                    ensure_kept(settings, commit)
                    target = "nbbench.measure.recording:write_scaled"
                    invoke(settings, warm, open_tree(settings, warm, commit), target, scales=names)
                except InconclusiveError as error:
                    say(f"{commit.short}: {error}")
    return [known(commit) for commit in commits]
