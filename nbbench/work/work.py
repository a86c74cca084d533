"""Two commits' exact work and measured time, gathered for `nbbench explain`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from nbbench.config import Settings
from nbbench.errors import UsageError
from nbbench.ledger import Ledger
from nbbench.measure.ledgers import (
    known_ledgers,
    ledger_torch,
    matching_workloads,
    record_ledgers,
    workload_ledgers,
)
from nbbench.measure.warm_runs import warm_server
from nbbench.model import Commit
from nbbench.record.branch import branch_commits, read_commits, subject_or_none
from nbbench.subject.diff import diff_trees
from nbbench.subject.profile import load_profile
from nbbench.subject.repository import measurable, open_subject
from nbbench.words import Say, plural
from nbbench.work.explanation import Explanation, explain
from nbbench.work.ledger_diff import LedgerDiff, diff_ledgers
from nbbench.work.line_match import LineMatch
from nbbench.work.timing import load_times, placed
from nbbench.work.work_share import WorkShare, cost_bytes, work_share

# A commit of the kept list: the beginning of its hash, or so many steps before it.
_KEPT = re.compile(r"([0-9a-f]{4,40})(?:(~)(\d*)|(\^))?")


def find_commit(settings: Settings, name: str) -> Commit:
    """A commit by name, of the registered subject or of the list kept beside the results.

    Raises UsageError for an unknown name, SubjectError where there is neither.
    """
    if (subject := subject_or_none(settings)) is not None:
        return measurable(subject, name)
    commits = read_commits(settings)
    if not commits:
        open_subject(settings)  # says what is wrong with it
    match = _KEPT.fullmatch(name.strip().lower())
    places = [i for i, c in enumerate(commits) if match and c.hash.startswith(match[1])]
    if match is None or len(places) != 1:
        what = f"{len(places)} commits begin with {name!r}" if len(places) > 1 else f"unknown commit {name!r}"
        raise UsageError(what, hint="without a registered subject, give a hash of results/commits.jsonl")
    back = int(match[3] or 1) if match[2] else 1 if match[4] else 0
    if places[0] < back:
        raise UsageError(f"there is no commit {name!r}: the branch begins after it")
    return commits[places[0] - back]


def explain_commits(
    settings: Settings, base: Commit, head: Commit, bench: re.Pattern[str] | None, *, say: Say
) -> Explanation:
    """Compare two commits: ledgers (recording what is missing), lines, measured times.

    Without `bench` the usual workloads are compared and all others that both commits have on
    record. Without a registered subject the ledgers on record must do.
    """
    subject = subject_or_none(settings)
    base, head = (placed(commit, branch_commits(settings)) for commit in (base, head))
    usual = re.compile(load_profile(settings).usual_workloads)
    wanted = bench or usual
    torch = ledger_torch(settings, (base, head), say)
    records = subject is not None
    sides = [_ledgers(settings, c, wanted, torch, record=records, say=say) for c in (base, head)]
    if bench is None:
        more = [known_ledgers(settings, c, torch) for c in (base, head)]
        for name in more[0].keys() & more[1].keys():
            for side, kept in zip(sides, more, strict=True):
                side.setdefault(name, kept[name])
    match = line_match(settings, base, head)
    diffs, problems = _compare(settings, wanted, sides, (base, head), match)
    shares, exact = _shares(settings, [d.workload for d in diffs], base, head, sides, torch, say)
    notes = []
    if bench is None and base.tree != head.tree:
        notes += _left_out(settings, sides, records=subject is not None)
    return explain(
        base,
        head,
        diffs,
        shares,
        exact=exact,
        asked=bench,
        usual=usual,
        by_name=match is None,
        problems=problems,
        notes=notes,
    )


def line_match(settings: Settings, base: Commit, head: Commit) -> LineMatch | None:
    """Which lines of two commits are the same, through their diff; None without a subject."""
    if (subject := subject_or_none(settings)) is None:
        return None
    return LineMatch(diff_trees(subject.git_dir, base.tree, head.tree, source_folder(settings)))


def whole_ledgers(
    settings: Settings, commit: Commit, wanted: re.Pattern[str], *, say: Say
) -> dict[str, Ledger]:
    """A commit's ledgers with everything that is recorded today.

    What was recorded before functions were is recorded again, where a subject is registered.
    """
    if subject_or_none(settings) is None:
        torch = ledger_torch(settings, (commit,), say)
        return _ledgers(settings, commit, wanted, torch, record=False, say=say)
    found = _ledgers(settings, commit, wanted, "", record=True, say=say)
    old = [name for name, one in found.items() if one.ops and not one.functions]
    if old:
        say(f"recording {len(old)} ledgers of {commit.short} again: they lack the figures by function")
        with warm_server() as server:
            made = record_ledgers(settings, server, commit, old)
        found |= {name: made[name] for name in old}
    return found


def source_folder(settings: Settings) -> str:
    """Where the measured path lies below the import root: what paths in ledgers begin with."""
    path = PurePosixPath(settings.measured_path)
    root = PurePosixPath(settings.import_root)
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _ledgers(
    settings: Settings, commit: Commit, wanted: re.Pattern[str], torch: str, *, record: bool, say: Say
) -> dict[str, Ledger]:
    if record:
        return dict(workload_ledgers(settings, commit, wanted, say=say))
    kept = known_ledgers(settings, commit, torch)
    return {name: one for name, one in kept.items() if wanted.search(name)}


def _left_out(settings: Settings, sides: Sequence[Mapping[str, Ledger]], *, records: bool) -> list[str]:
    """A note on the workloads that neither commit has on record."""
    others = [n for n in matching_workloads(settings, re.compile("")) if not any(n in side for side in sides)]
    if not others:
        return []
    remedy = ": --bench . records them" if records else ""
    return [f"{plural(len(others), 'workload')} of the suite not on record, so not compared{remedy}"]


def _compare(
    settings: Settings,
    wanted: re.Pattern[str],
    sides: Sequence[Mapping[str, Ledger]],
    commits: tuple[Commit, Commit],
    match: LineMatch | None,
) -> tuple[list[LedgerDiff], list[str]]:
    """The differences by workload, and why there is none of the others."""
    diffs, problems = [], []
    for name in sorted(sides[0].keys() | sides[1].keys() | set(matching_workloads(settings, wanted))):
        gone = [c.short for c, side in zip(commits, sides, strict=True) if name not in side]
        broken = [
            f"{name} fails at {c.short}: {side[name].error.splitlines()[0]}"
            for c, side in zip(commits, sides, strict=True)
            if name in side and side[name].error
        ]
        if gone:
            problems.append(f"{name} is not on record at {' and '.join(gone)}")
        elif broken:
            problems += broken
        else:
            diffs.append(diff_ledgers(sides[0][name], sides[1][name], match, load_profile(settings).image))
    return diffs, problems


def _shares(
    settings: Settings,
    workloads: Sequence[str],
    base: Commit,
    head: Commit,
    sides: Sequence[Mapping[str, Ledger]],
    torch: str,
    say: Say,
) -> tuple[list[WorkShare], frozenset[str]]:
    """What was timed, and for which workloads at commits that do the same work."""
    times = load_times(settings, branch_commits(settings), workloads, say=say)
    shares, exact = [], set()
    for name in workloads if times else ():
        timing = times.between(name, base, head) if times else None
        if timing is None or timing.base.tree == timing.head.tree:
            continue
        ends = [known_ledgers(settings, c, torch).get(name) for c in (timing.base, timing.head)]
        shares.append(work_share(timing, ends[0], ends[1], settings.floor))
        asked = [side[name] for side in sides]
        if all(
            e and not e.error and cost_bytes(e) == cost_bytes(a) for e, a in zip(ends, asked, strict=True)
        ):
            exact.add(name)
    return shares, frozenset(exact)
