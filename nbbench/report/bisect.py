"""What a search for a culprit found, in sentences."""

from __future__ import annotations

from typing import Any

from nbbench import units
from nbbench.gate.culprit import BisectAnswer, CommitMark, ComparedCommit, CulpritSearch, Stopped
from nbbench.model import to_plain
from nbbench.report.gate_sentences import evidence_text
from nbbench.words import exactly, plural
from nbbench.work.ledger_diff import LedgerDiff

MOST_LISTED = 20  # commits of a range that are printed
_WHY = {
    Stopped.TIME: "measured before it and with it",
    Stopped.EXPLAINED: "its exact work explains it",
}


def bisect_text(answer: BisectAnswer) -> str:
    """The answer, its commits, and the commands that show more of a single one."""
    search, places, steps = answer.search, answer.culprits, answer.search.steps
    lines = [bisect_sentence(answer)]
    for index in places[:MOST_LISTED]:
        commit = search.commits[index]
        work = f"  exact work: {_moved(steps[index])}" if index in steps else ""
        lines.append(f"  {commit.short} {commit.date:%Y-%m-%d} {commit.subject[:70]}{work}")
    if len(places) > MOST_LISTED:
        lines.append(f"  … and {len(places) - MOST_LISTED} more")
    if places:
        parent, culprit = (search.commits[i].short for i in (places[0] - 1, places[-1]))
    if len(places) == 1:
        lines.append(f"  nbbench explain {parent} {culprit}")
        lines.append(f"  nbbench gate --policy time --bench {exactly(search.series)} {parent} {culprit}")
    elif places and answer.stopped is Stopped.BUDGET:
        lines.append(f"  nbbench bisect {parent} {culprit} --series {exactly(search.series)}")
    return "\n".join(lines)


def bisect_payload(answer: BisectAnswer) -> dict[str, Any]:
    """Everything, for `--json`: `nbbench.bisect/1`."""
    search = answer.search
    return {
        "series": search.series,
        "good": search.commits[0].hash,
        "bad": search.commits[-1].hash,
        "effect": search.effect,
        "stopped": str(answer.stopped),
        "sentence": bisect_sentence(answer),
        "work": _work(search),
        "culprits": [to_plain(search.commits[i]) for i in answer.culprits],
        "steps_of_work": {search.commits[i].hash: diff.cost_effect for i, diff in search.steps.items()},
        "comparisons": [
            {**to_plain(one), "commit": search.commits[one.index].hash, "sentence": _why(one)}
            for one in search.made
        ],
    }


def bisect_sentence(answer: BisectAnswer) -> str:
    """Who it was, and how that is known; what the ledgers know belongs to every answer."""
    search, places = answer.search, answer.culprits
    good, bad, work = search.commits[0].short, search.commits[-1].short, _work(answer.search)
    ends = next((one for one in search.made if one.index == len(search.commits) - 1), None)
    if answer.stopped is Stopped.UNCHANGED and ends:
        older = "(GOOD may be slow already: try an older one)"
        return f"{bad} is not slower than {good}: {_why(ends)}; {work} {older}"
    names = [search.commits[i].short for i in places]
    if answer.stopped in _WHY:
        return f"{names[0]} made {search.series} slower ({_WHY[answer.stopped]}); {work}"
    why = "the budget is spent" if answer.stopped is Stopped.BUDGET else "time leaves a range"
    if ends is not None and ends.mark is CommitMark.UNCLEAR:
        why = f"time cannot tell {bad} from {good}: {_why(ends)}"
    if places == search.largest and places:
        return f"{' or '.join(names)} made {search.series} do more work; {work}; {why}"
    if places:
        why += f": the culprit is one of the {len(places)} commits {names[0]}..{names[-1]}"
    return f"{why}; {work}"


def _work(search: CulpritSearch) -> str:
    """What the ledgers know of the series, in one clause."""
    names, steps = " and ".join(search.workloads), search.steps
    if not names:
        return "no ledger counts what this series runs"
    if not search.ledgers:
        return f"the exact work of {names} was not recorded"
    if not steps:
        return f"the exact work of {names} grew nowhere"
    most = max(steps, key=lambda i: (steps[i].cost_effect, -i))
    others = f", and at {plural(len(steps) - 1, 'more commit')}" if len(steps) > 1 else ""
    commit = search.commits[most].short
    return f"the exact work of {names} grew at {commit} ({_moved(steps[most])}){others}"


def _moved(diff: LedgerDiff) -> str:
    """Bytes and operations as `nbbench ledger` counts them."""
    return f"bytes {units.format_change(diff.effect)}, operations {units.format_change(diff.ops_effect)}"


def _why(one: ComparedCommit) -> str:
    return evidence_text(one.evidence)
