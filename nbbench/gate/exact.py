"""The exact work of base and head, recorded where it is missing, and what of it cannot be compared."""

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nbbench.config import Settings
from nbbench.errors import SubjectError
from nbbench.gate.acknowledged import Acknowledged
from nbbench.gate.judge import host_verdicts, lost_verdict, without_base, workload_verdicts
from nbbench.gate.refused import suspect_lines
from nbbench.gate.unseen import Changed, changed_code, other_files
from nbbench.growth import ScaledWork
from nbbench.host import IMPORT_WORKLOAD, HostWork, host_series
from nbbench.ledger import IMAGE, ImageChange, Ledger
from nbbench.measure.ledgers import (
    HOST,
    LEDGERS,
    known_work,
    lacking_work,
    matching_workloads,
    say_failures,
    scaled_work,
    work_calls,
)
from nbbench.measure.warm_runs import Servers, invoke_all
from nbbench.model import Commit, NotJudged, NotJudgedReason, Outcome
from nbbench.record.branch import subject_or_none
from nbbench.record.side_files import machine_failed
from nbbench.subject.git import git
from nbbench.subject.profile import load_profile
from nbbench.verdicts import Verdict
from nbbench.words import Say, line_list
from nbbench.work.count_diff import HostDiff, OrderChange, diff_host, diff_orders, not_repeating
from nbbench.work.first_search import first_difference, smallest_change
from nbbench.work.ledger_diff import LedgerDiff, compare_images, diff_ledgers
from nbbench.work.line_match import LineMatch
from nbbench.work.work import line_match, recorded_again, source_diff, source_place
from nbbench.workloads import suite_workloads

_NOTHING = HostWork("", "")
_LACKS = "not recorded"
_SKIPPED = "NotImplementedError"  # how the suite says that a commit lacks a feature


@dataclass(frozen=True, slots=True)
class ExactWork:
    """The exact work of base and head.

    `diffs` are of workloads that ran on both sides, `host` the host work that moved, `host_equal` the series
    of which none did, `orders` and `orders_equal` the same of how scales grow; `lost` ran at base and cannot
    at head; `not_judged` are all others. `all_host` has every difference of host work, `sides` that of base
    and head, `changed` the code that the diff rewrites.
    """

    diffs: tuple[LedgerDiff, ...] = ()
    lost: tuple[Verdict, ...] = ()
    not_judged: tuple[NotJudged, ...] = ()
    host: tuple[HostDiff, ...] = ()
    host_equal: tuple[str, ...] = ()
    orders: tuple[OrderChange, ...] = ()
    orders_equal: tuple[str, ...] = ()
    all_host: tuple[HostDiff, ...] = ()
    sides: tuple[Mapping[str, HostWork], ...] = ()
    changed: Changed = field(default_factory=lambda: Changed({}))

    def verdicts(
        self, acknowledged: Sequence[Acknowledged] = (), images: Collection[str] = ()
    ) -> list[Verdict]:
        """What cannot run any more, then each workload, but for how it grows.

        `images` names those whose new image is accepted.
        """
        found = [
            verdict
            for diff in self.diffs
            for verdict in workload_verdicts(diff, acknowledged, image_accepted=diff.workload in images)
        ]
        host = host_verdicts(self.host, self.host_equal, acknowledged)
        return [*self.lost, *found, *host]


def exact_work(
    settings: Settings, base: Commit, head: Commit, pattern: re.Pattern[str], servers: Servers, say: Say
) -> ExactWork:
    """Compare the exact work of the workloads that match, but for how it grows (`with_orders`).

    A commit whose recording fails as a whole (its import, say) cannot run any of them. Nothing is dropped:
    each workload is compared, lost at head, or not judged with the reason.
    """
    names, ends = matching_workloads(settings, pattern), (base, head)
    if not names:
        why = "this suite declares no workloads (benchmarks/workloads.py)"
        return ExactWork(not_judged=(NotJudged("exact work", NotJudgedReason.SKIPPED, detail=why),))
    match = line_match(settings, base, head)
    work = _compare(settings, ends, names, match, servers, say)
    sides = [known_work(settings, commit)[:2] for commit in ends]
    if recorded_again(settings, ends, sides, say, match, servers):
        work = _compare(settings, ends, names, match, servers, say)
    return work


def _compare(
    settings: Settings,
    ends: tuple[Commit, Commit],
    names: Sequence[str],
    match: LineMatch | None,
    servers: Servers,
    say: Say,
) -> ExactWork:
    """What is on record of both, recorded where it is missing; what does not repeat is not judged."""
    before, after = _sides(settings, ends, names, servers, say)
    tolerance = load_profile(settings).image
    diffs, lost, not_judged = [], [], []
    for name in names:
        errors = [side[name].error.partition("\n")[0] for side in (before, after)]
        if errors[0]:
            skipped = all(error.startswith(_SKIPPED) for error in errors if error)
            not_judged.append(without_base(f"ledger {name}", *errors, skipped=skipped))
        elif machine_failed(after[name]):  # another run of head may well succeed
            detail = f"at head: {errors[1]}"
            not_judged.append(NotJudged(f"ledger {name}", NotJudgedReason.FAILING, detail=detail))
        elif errors[1]:
            lost.append(lost_verdict(f"ledger {name}", errors[1]))
        else:
            varies = [set(side[name].varies) for side in (before, after)]
            if any(varies):
                new = bool(varies[1] - varies[0])
                not_judged.append(_varies(f"ledger {name}", varies[1] or varies[0], new=new))
            if not (varies[0] | varies[1]) - {IMAGE}:
                diffs.append(diff_ledgers(before[name], after[name], match, tolerance))
    work = ExactWork(tuple(diffs), tuple(lost), tuple(not_judged))
    return _with_host(settings, work, ends, match)


def _varies(series: str, places: Collection[str], *, new: bool) -> NotJudged:
    """What does not repeat; where it never did, the rest is enough for a verdict."""
    lines = [one.rpartition(":") for one in places if one != IMAGE]
    said = line_list((path, int(line)) for path, _, line in lines) if lines else "its image"
    reason = NotJudgedReason.VARIES if new else NotJudgedReason.SKIPPED
    return NotJudged(series, reason, detail=f"does not repeat: {said}")


def _with_host(
    settings: Settings,
    work: ExactWork,
    ends: tuple[Commit, Commit],
    match: LineMatch | None,
) -> ExactWork:
    """The host work of importing and of the workloads that ran on both sides."""
    names = [diff.workload for diff in work.diffs]
    if not names:
        return work
    every: list[HostDiff] = []
    equal, lost, not_judged = [], list(work.lost), list(work.not_judged)
    sides = [known_work(settings, commit).host for commit in ends]
    names = [IMPORT_WORKLOAD, *names]
    first, last = (next(iter(side.values()), _NOTHING) for side in sides)
    varies, new = not_repeating(first, last, match)
    if varies:
        not_judged.append(_varies("host work", [f"{path}:{line}" for path, line in varies], new=bool(new)))
    for name in names:
        before, after = (side.get(name) for side in sides)
        series = host_series(name, name)
        if before is None or after is None:
            not_judged.append(NotJudged(series, NotJudgedReason.NOT_MEASURED))
        elif before.error:
            skipped = before.error.startswith(_SKIPPED)  # what the suite does not count is no gap
            not_judged.append(without_base(series, before.error, after.error, skipped=skipped))
        elif after.error.startswith(_SKIPPED):  # it ran for the ledger: it cannot be counted, and is not lost
            detail = f"at head: {after.error}"
            not_judged.append(NotJudged(series, NotJudgedReason.FAILING, detail=detail))
        elif after.error:
            lost.append(lost_verdict(series, after.error))
        else:
            every += (diffs := diff_host(before, after, match))
            equal += [] if any(diff.counts for diff in diffs) else [series]
    return replace(
        work,
        lost=tuple(lost),
        not_judged=tuple(not_judged),
        host=tuple(diff for diff in every if diff.counts),
        host_equal=tuple(equal),
        all_host=tuple(every),
        sides=tuple(sides),
        changed=_changed(settings, *ends),
    )


def _changed(settings: Settings, base: Commit, head: Commit) -> Changed:
    """The code of head that the diff rewrites; without a subject nobody knows."""
    subject, files = subject_or_none(settings), source_diff(settings, base, head)
    if subject is None or files is None:
        return Changed({}, others=("a file",))
    folder = source_place(settings)[1]

    def source(path: str) -> str:
        name = path.removeprefix(f"{folder}/")
        try:
            blob = git(subject.git_dir, ["cat-file", "blob", f"{head.tree}:{name}"])
        except SubjectError:  # its name is no text: it is one of the other files
            return ""
        return blob.decode("utf-8", "replace")

    others = other_files(subject.git_dir, base.tree, head.tree)
    changed = changed_code(files, [posixpath.join(folder, name) for name in others], source)
    return changed._replace(suspects=suspect_lines(changed, source))


def with_orders(
    settings: Settings,
    work: ExactWork,
    ends: tuple[Commit, Commit],
    servers: Servers,
    say: Say,
    accepted: Collection[str] = (),
) -> ExactWork:
    """How the scales grow on both sides: of all families but those whose workloads do just the same work.

    Those of `accepted` workloads, whose loss somebody acknowledged, are not judged: it may grow otherwise.
    """
    if not work.diffs:
        return work
    known = {name.partition("-")[0] for name in accepted}
    moved = {one.workload for one in work.diffs if not one.equal or one.peak_effect}
    moved |= {one.workload for one in work.all_host}
    families = {name.partition("-")[0] for name in moved}
    same = {one.workload.partition("-")[0] for one in work.diffs} - families
    scales = [one for one in suite_workloads(settings.root).scales if one.family not in same | known]
    base, head = scaled_work(settings, ends, scales, say=say, servers=servers)
    changes: list[OrderChange] = []
    why = "its loss is acknowledged"
    left_out = [NotJudged(f"growth of {one}", NotJudgedReason.SKIPPED, detail=why) for one in sorted(known)]
    equal, not_judged = [], [*work.not_judged, *left_out]
    for name in (one.name for one in scales):
        before, after = (side.get(name) or ScaledWork(name, "", "", error=_LACKS) for side in (base, head))
        series, found = f"growth of {name}", diff_orders(before, after)
        changes += found
        errors = [one.error.partition("\n")[0] for one in (before, after)]
        if errors[0]:
            not_judged.append(without_base(series, *errors, skipped=True))
        elif errors[1]:
            lacks = errors[1].startswith(_SKIPPED)
            reason = NotJudgedReason.SKIPPED if lacks else NotJudgedReason.FAILING
            not_judged.append(NotJudged(series, reason, detail=f"at head: {errors[1]}"))
        elif unknown := before.orders.keys() - after.orders.keys():
            detail = f"no law at head: {', '.join(sorted(unknown))}"
            not_judged.append(NotJudged(series, NotJudgedReason.SKIPPED, detail=detail))
        elif not found:
            equal.append(name)
    return replace(work, orders=tuple(changes), orders_equal=tuple(equal), not_judged=tuple(not_judged))


def with_first_difference(
    settings: Settings,
    ends: tuple[Commit, Commit],
    work: ExactWork,
    verdicts: Sequence[Verdict],
    servers: Servers,
    say: Say,
) -> list[Verdict]:
    """The verdicts; that of the smallest workload with another image says where its values first differ."""
    blocking = {v.series for v in verdicts if v.outcome in (Outcome.REGRESSED, Outcome.NOT_COMPARABLE)}
    diff = smallest_change(d for d in work.diffs if d.new_image and f"ledger {d.workload}" in blocking)
    if diff is None:
        return list(verdicts)
    match = line_match(settings, *ends)
    found = first_difference(settings, ends, diff.workload, match, say, servers=servers)
    said, name = (found.record,) if found else (), f"ledger {diff.workload}"
    return [replace(v, evidence=(*v.evidence, *said)) if v.series == name else v for v in verdicts]


def accepted_images(
    settings: Settings,
    acknowledged: Sequence[Acknowledged],
    commits: Sequence[Commit],
    head: Commit,
    workloads: Sequence[str],
) -> set[str]:
    """The workloads whose image at head is one that somebody accepted: that of the acknowledged commit.

    Where that commit's ledger is not on record nobody's word covers the image: `nbbench ledger` records it.
    """
    trees = {commit.hash: commit for commit in commits}
    now, found, tolerance = known_work(settings, head).ledgers, set(), load_profile(settings).image
    for one in acknowledged:
        if commit := trees.get(one.new_image_at):
            then = known_work(settings, commit).ledgers
            both = [name for name in workloads if name in now and name in then and not then[name].error]
            changes = {name: compare_images(then[name], now[name], tolerance)[0] for name in both}
            found |= {name for name in both if changes[name] is not ImageChange.DIFFERENT}
    return found


def _sides(
    settings: Settings, ends: tuple[Commit, Commit], names: Sequence[str], servers: Servers, say: Say
) -> list[dict[str, Ledger]]:
    """The ledger of each workload at both commits; where none could be recorded, one that says why.

    Host work is recorded beside, where the suite counts it.
    """
    # All else is kept as an error.
    why = "the machine ran out of memory or disk, a file became too large, or the process was killed"
    missing, host = (lacking_work(settings, kind, ends, names) for kind in (LEDGERS, HOST))
    calls = [*work_calls(settings, LEDGERS, missing, say), *work_calls(settings, HOST, host, say)]
    failed = invoke_all(settings, servers, calls)
    say_failures(host, failed[len(missing) :], say)
    reasons = {commit: reason or why for commit, reason in zip(missing, failed, strict=False)}
    found = [(known_work(settings, one).ledgers, reasons.get(one, why)) for one in ends]
    return [
        {
            name: kept.get(name) or Ledger(name, 0, 0, 0, 0, 0, 0, (), "", "", "", error=reason)
            for name in names
        }
        for kept, reason in found
    ]
