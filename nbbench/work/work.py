"""Two commits' exact work and measured time, gathered for `nbbench explain`.

What differs is recorded again, so that what does not repeat is never told as a change.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import itemgetter
from pathlib import PurePosixPath

from nbbench.config import ImageTolerance, Settings
from nbbench.errors import InconclusiveError, UsageError
from nbbench.growth import ScaledWork
from nbbench.host import OF_TENSORS, REPEATS, HostWork
from nbbench.ledger import IMAGE, FileDiff, Ledger
from nbbench.measure.ledgers import (
    HOST,
    LEDGERS,
    ensure_work,
    known_work,
    ledger_torch,
    matching_workloads,
    say_failures,
    scaled_work,
    work_calls,
    workload_ledgers,
)
from nbbench.measure.process_env import installed_torch
from nbbench.measure.warm_runs import Servers, invoke_all, shared_servers
from nbbench.model import Commit, NotJudged, NotJudgedReason
from nbbench.record.branch import read_commits, subject_or_none
from nbbench.subject.hunks import diff_trees
from nbbench.subject.profile import load_profile
from nbbench.subject.repository import measurable, open_subject
from nbbench.words import Say
from nbbench.work.count_diff import ScaleLaws, diff_all, diff_scales, scale_laws
from nbbench.work.first_search import first_difference, smallest_change
from nbbench.work.ledger_diff import LedgerDiff, diff_ledgers
from nbbench.work.line_match import LineMatch
from nbbench.work.timing import load_times, timed_work
from nbbench.work.work_share import Explanation, WorkShare, fit_costs, price_of
from nbbench.workloads import suite_workloads

Side = tuple[Mapping[str, Ledger], Mapping[str, HostWork]]
"""The ledgers and the host work of a commit by workload."""


def recorded_again(
    settings: Settings,
    commits: Sequence[Commit],
    sides: Sequence[Side],
    say: Say,
    match: LineMatch | None = None,
    servers: Servers | None = None,
) -> bool:
    """Whether anything that differs from one commit to the next, and was recorded once, was recorded again.

    Both commits' are recorded again, of as few workloads as show every line that differs. `match` is of the
    lines of two commits.
    """
    tensors: dict[Commit, list[str]] = {}
    host: dict[Commit, list[str]] = {}
    tolerance = load_profile(settings).image
    for (old, before), (new, after) in pairwise(zip(commits, sides, strict=True)):
        differing = _differing(before, after, match, tolerance)
        for commit, (ledgers, counted) in ((old, before), (new, after)):
            for found, names, kept in ((tensors, differing[0], ledgers), (host, differing[1], counted)):
                once = [name for name in names if name in kept and not kept[name].repeated]
                if more := [name for name in once if name not in found.get(commit, ())]:
                    found.setdefault(commit, []).extend(more)
    with shared_servers(servers) as mine:
        if tensors:
            said = ", ".join(dict.fromkeys(name for some in tensors.values() for name in some))
            say(f"recording {said} again, to see what does not repeat")
        wanted = ((LEDGERS, tensors), (HOST, host))
        calls = [one for kind, some in wanted for one in work_calls(settings, kind, some, say, again=True)]
        say_failures([*tensors, *list(host) * REPEATS], invoke_all(settings, mine, calls), say)
    return bool(tensors or host)


def _differing(
    base: Side, head: Side, match: LineMatch | None, tolerance: ImageTolerance
) -> tuple[list[str], list[str]]:
    """The workloads whose tensors, and whose host work, differ by what counts."""
    both = [(base[0][name], head[0][name]) for name in base[0] if name in head[0]]
    differ = [(a, b) for a, b in both if not (a.error or b.error or a == b)]
    diffs = [diff_ledgers(a, b, match, tolerance) for a, b in differ]
    tensors: list[tuple[str, set[object]]] = [
        (d.workload, {*(line.where for line in d.lines), *([IMAGE] if d.new_image else ())})
        for d in diffs
        if d.telling or d.new_image or d.grew
    ]
    host: list[tuple[str, set[object]]] = []
    for one in diff_all(base[1], head[1], match):
        if one.counts:
            places: set[object] = {(line.kind, line.where) for line in one.lines}
            (tensors if one.metric in OF_TENSORS else host).append((one.workload, places))
    return _fewest(tensors), _fewest(host)


def _fewest(differing: Sequence[tuple[str, set[object]]]) -> list[str]:
    """Workloads that show every place between them, those with the most places first."""
    chosen: dict[str, None] = {}
    covered: set[object] = set()
    for name, places in sorted(differing, key=lambda one: -len(one[1])):
        if not chosen or not places <= covered:
            chosen[name] = None
            covered |= places
    return list(chosen)


def find_commit(settings: Settings, name: str) -> Commit:
    """A commit by name, of the registered subject or of the list kept beside the results.

    Raises UsageError for an unknown name, SubjectError where there is neither.
    """
    if (subject := subject_or_none(settings)) is not None:
        return measurable(subject, name)
    commits = read_commits(settings)
    if not commits:
        open_subject(settings)  # says what is wrong with it
    found = [c for c in commits if len(name) >= 4 and c.hash.startswith(name.lower())]
    if len(found) != 1:
        what = f"{len(found)} commits begin with {name!r}" if found else f"unknown commit {name!r}"
        raise UsageError(what, hint="without a registered subject, give a hash of results/commits.jsonl")
    return found[0]


def explain_commits(
    settings: Settings, base: Commit, head: Commit, bench: re.Pattern[str] | None, say: Say, servers: Servers
) -> Explanation:
    """Compare two commits: ledgers (recording what is missing), lines, measured times.

    Without `bench` the usual workloads are compared and all others that both commits have on
    record. Without a registered subject the ledgers on record must do.
    """
    ends = base, head
    usual = re.compile(load_profile(settings).usual_workloads)
    wanted = bench or usual
    torch = ledger_torch(settings, ends, say)
    match, names = line_match(settings, base, head), matching_workloads(settings, wanted)

    def on_record() -> tuple[list[dict[str, Ledger]], list[Mapping[str, HostWork]]]:
        found = [found_ledgers(settings, commit, wanted, say, torch, servers) for commit in ends]
        ensure_work(settings, HOST, ends, names, say=say, servers=servers)
        return found, [known_work(settings, commit, torch).host for commit in ends]

    sides, host = on_record()
    both = list(zip(sides, host, strict=True))
    if subject_or_none(settings) is not None and recorded_again(settings, ends, both, say, match, servers):
        sides, host = on_record()
    if bench is None:
        more = [known_work(settings, commit, torch).ledgers for commit in ends]
        for name in more[0].keys() & more[1].keys():
            for side, kept in zip(sides, more, strict=True):
                side.setdefault(name, kept[name])
    diffs, not_compared = _compare(settings, names, sides, ends, match)
    times = load_times(settings, ends, [diff.workload for diff in diffs], say=say)
    shares = [
        WorkShare(timing, diff, settings.floor)
        for diff in diffs
        if times is not None and (timing := times.between(diff.workload, base, head)) is not None
    ]
    if shares:
        costs = fit_costs(timed_work(settings, times, base, [diff.workload for diff in diffs]))
        shares = [replace(one, price=price_of(costs, one.diff, host)) for one in shares]
    every = matching_workloads(settings, re.compile(""))
    changed = smallest_change(d for d in diffs if bench is None or bench.search(d.workload))
    first = None
    if changed is not None and subject_or_none(settings) is not None:
        first = first_difference(settings, ends, changed.workload, match, say, servers=servers)
    # What grows with another power: in the families of the workloads that were asked for, else in all.
    declared = suite_workloads(settings.root)
    asked = {one.family for one in declared.workloads if bench is None or bench.search(one.name)}
    scales = [one for one in declared.scales if one.family in asked]
    growth = scaled_work(settings, ends, scales, torch=torch, say=say, servers=servers)
    return Explanation(
        base,
        head,
        tuple(diffs),
        tuple(shares),
        usual=usual,
        asked=bench,
        by_name=match is None,
        not_compared=tuple(not_compared),
        host=diff_all(host[0], host[1], match) if all(host) else None,
        first=first,
        orders=tuple(diff_scales(*growth)),
        left_out=sum(not any(n in side for side in sides) for n in every) if bench is None else 0,
    )


def explain_torch(
    settings: Settings, commit: Commit, versions: tuple[str, str], bench: re.Pattern[str] | None, *, say: Say
) -> Explanation:
    """Compare one commit's exact work under two versions of torch: whatever differs is torch's.

    What lacks under the installed torch is recorded. Of the other one the ledgers on record must do: raises
    InconclusiveError where there are none.
    """
    usual = re.compile(load_profile(settings).usual_workloads)
    if installed_torch() in versions and subject_or_none(settings) is not None:
        workload_ledgers(settings, commit, bench or usual, say=say)
        ensure_work(settings, HOST, [commit], matching_workloads(settings, bench or usual), say=say)
    works = [known_work(settings, commit, torch) for torch in versions]
    kept, host = [one.ledgers for one in works], [one.host for one in works]
    for torch, side in zip(versions, kept, strict=True):
        if not side:
            raise InconclusiveError(
                f"no exact work of {commit.short} under torch {torch} is on record",
                hint=f"run the same command in this project where torch {torch} is installed",
            )
    asked = [{n: one for n, one in side.items() if bench is None or bench.search(n)} for side in kept]
    both = asked[0].keys() & asked[1].keys()
    sides, match = [{name: side[name] for name in both} for side in asked], LineMatch(())
    diffs, not_compared = _compare(settings, (), sides, (commit, commit), match)
    return Explanation(
        commit,
        commit,
        tuple(diffs),
        usual=usual,
        asked=bench,
        not_compared=tuple(not_compared),
        host=diff_all(host[0], host[1], match) if all(host) else None,
        torch=versions,
        left_out=len(asked[0].keys() ^ asked[1].keys()),
    )


def line_match(settings: Settings, base: Commit, head: Commit) -> LineMatch | None:
    """Which lines of two commits are the same, through their diff; None without a subject."""
    files = source_diff(settings, base, head)
    return None if files is None else LineMatch(files)


def source_diff(settings: Settings, base: Commit, head: Commit) -> tuple[FileDiff, ...] | None:
    """How the sources of two commits differ, by the paths that counts have; None without a subject."""
    if (subject := subject_or_none(settings)) is None:
        return None
    return diff_trees(subject.git_dir, base.tree, head.tree, source_place(settings)[1])


def source_place(settings: Settings) -> tuple[str, str]:
    """The folder below which the paths of ledgers lie, and what those of measured files begin with."""
    if load_profile(settings).dependencies:  # they lie beside it
        return ".", ""
    path, root = PurePosixPath(settings.measured_path), PurePosixPath(settings.import_root)
    inside = path.is_relative_to(root)
    prefix = (path.relative_to(root) if inside else path).as_posix()
    return (root.as_posix() if inside else "."), prefix.removeprefix(".")


def commit_laws(
    settings: Settings, commit: Commit, wanted: re.Pattern[str] | None, *, say: Say
) -> list[ScaleLaws]:
    """The laws of growth of a commit, checked against the workloads on record.

    The next larger workload of each scale is recorded where it is missing: it shows where a law ends. Raises
    UsageError where the suite declares no scale, or none that matches.
    """
    torch, declared = ledger_torch(settings, (commit,), say), suite_workloads(settings.root)
    (found,) = commit_scales(settings, [commit], wanted, torch, say=say)
    scales = [one for one in declared.scales if one.name in found]
    above = filter(None, (one.larger(declared.workloads) for one in scales))
    larger = [min(placed, key=itemgetter(0))[1].name for placed in above]
    if larger:
        found_ledgers(settings, commit, re.compile(f"^({'|'.join(map(re.escape, larger))})$"), say, torch)
    kept = known_work(settings, commit, torch)
    return [scale_laws(one, found[one.name], declared.workloads, kept.ledgers, kept.host) for one in scales]


def commit_scales(
    settings: Settings, commits: Sequence[Commit], wanted: re.Pattern[str] | None, torch: str, *, say: Say
) -> list[dict[str, ScaledWork]]:
    """What the scales that match count at each commit; what is missing is recorded where there is a subject.

    Raises UsageError where the suite declares no scale, or none that matches.
    """
    declared = suite_workloads(settings.root).scales
    if not declared:
        hint = "declare SCALES in benchmarks/workloads.py (docs/ledger.md)"
        raise UsageError("this suite declares no scales", hint=hint)
    scales = [one for one in declared if wanted is None or wanted.search(one.name)]
    if not scales:
        raise UsageError("no scale matches", hint=f"scales: {', '.join(one.name for one in declared)}")
    return scaled_work(settings, commits, scales, torch=torch, say=say)


def found_ledgers(
    settings: Settings,
    commit: Commit,
    wanted: re.Pattern[str],
    say: Say,
    torch: str,
    servers: Servers | None = None,
) -> dict[str, Ledger]:
    """A commit's ledgers; what is missing is recorded where a subject is registered, under the torch that is
    installed, and not the one that is given."""
    if subject_or_none(settings) is not None:
        return workload_ledgers(settings, commit, wanted, say=say, servers=servers)
    kept = known_work(settings, commit, torch).ledgers
    return {name: one for name, one in kept.items() if wanted.search(name)}


def _compare(
    settings: Settings,
    names: Sequence[str],
    sides: Sequence[Mapping[str, Ledger]],
    commits: tuple[Commit, Commit],
    match: LineMatch | None,
) -> tuple[list[LedgerDiff], list[NotJudged]]:
    """The differences by workload, and why there is none of the others."""
    diffs, not_compared = [], []
    for name in sorted(sides[0].keys() | sides[1].keys() | set(names)):
        found = [side.get(name) for side in sides]
        if found[0] and found[1] and not found[0].error and not found[1].error:
            diffs.append(diff_ledgers(found[0], found[1], match, load_profile(settings).image))
            continue
        for commit, one in zip(commits, found, strict=True):
            if one is None:
                not_compared.append(NotJudged(name, NotJudgedReason.NOT_MEASURED, commit.hash))
            elif one.error:
                why = one.error.partition("\n")[0]
                not_compared.append(NotJudged(name, NotJudgedReason.FAILING, commit.hash, why))
    return diffs, not_compared
