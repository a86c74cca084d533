"""A gate's report as blocks: the verdict, the series in reading order, why, and the exact work; and what
a search for a culprit found. As JUnit XML for CI systems: failures are regressed series, skipped tests those
that nothing can be said of. JUnit readers show an empty suite, and often a skipped one, in green; a verdict
that no series carries is therefore a test of its own, and nothing measured at all is an error.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from nbbench import units
from nbbench.gate.culprit import BisectAnswer, CommitMark, CulpritSearch, Stopped
from nbbench.model import Outcome, to_plain
from nbbench.report.blocks import Block, Bullets, Head, Item, Table, Title
from nbbench.report.causes import evidence_sentences, evidence_text
from nbbench.report.events import interval
from nbbench.report.gate_sentences import format_floor, has_zero, headline, report_sentence
from nbbench.report.not_judged import not_judged_blocks, not_judged_detail
from nbbench.verdicts import GateReport, Verdict
from nbbench.words import clean, clean_lines, exactly, for_xml, plural
from nbbench.work.ledger_diff import LedgerDiff

# In the order in which they are read, with the colour and the mark of each.
_TONES = {
    Outcome.REGRESSED: ("red", "❌"),
    Outcome.NOT_COMPARABLE: ("yellow", "❓"),
    Outcome.INCONCLUSIVE: ("yellow", "❔"),
    Outcome.ACKNOWLEDGED: ("yellow", "☑️"),
    Outcome.CHANGED: ("yellow", "🔀"),
    Outcome.IMPROVED: ("green", "🚀"),
    Outcome.UNCHANGED: ("dim", "✅"),
}
_EXPLAINED = (Outcome.REGRESSED, Outcome.NOT_COMPARABLE, Outcome.INCONCLUSIVE, Outcome.ACKNOWLEDGED)
_NAMED_IF_ANY = (Outcome.ACKNOWLEDGED, Outcome.CHANGED, Outcome.NOT_COMPARABLE)


def in_reading_order(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Regressed first, the largest effect of each outcome on top."""
    rank = {outcome: place for place, outcome in enumerate(_TONES)}

    def order(verdict: Verdict) -> tuple[int, float, str]:
        size = abs(verdict.effect or 0.0)
        return rank[verdict.outcome], 0.0 if size != size else -size, verdict.series

    return sorted(verdicts, key=order)


def counts_line(report: GateReport) -> str:
    """`1 regressed, 0 inconclusive, 2 improved, 5 unchanged, 3 not judged`."""
    counted = Counter(verdict.outcome for verdict in report.verdicts)
    parts = [f"{counted[o]} {o}" for o in _TONES if counted[o] or o not in _NAMED_IF_ANY]
    return ", ".join([*parts, *([f"{len(report.not_judged)} not judged"] if report.not_judged else [])])


def figures(verdict: Verdict) -> tuple[str, str, str]:
    """Change, interval and floor as text."""
    change = units.format_change(verdict.effect)
    if has_zero(verdict):
        change = "to zero" if verdict.base_value else "from zero"
    return change, interval(verdict.effect_lo, verdict.effect_hi), f"±{format_floor(verdict.floor)}"


def gate_blocks(report: GateReport) -> list[Block]:
    """Verdict, counts, the series that moved (what did not is folded away), reasons, exact work, notes."""
    tone, mark = _TONES[report.outcome]
    where = f" on {report.machine}" if report.machine else ""
    about = f"{counts_line(report)}; {units.format_seconds(report.elapsed_s)}{where}, seed {report.seed}"
    about += f", harness {report.harness}" if report.harness else ""
    ends, plan = f"{report.base} -> {report.head}", [one for one in report.notes if one.kind == "plan"]
    blocks: list[Block] = [Head(headline(report), tone, mark), *evidence_sentences(plan), f"{ends}: {about}"]
    verdicts = in_reading_order(report.verdicts)
    if verdicts:
        blocks.append(_table(verdicts))
    why = [v for v in verdicts if v.outcome in _EXPLAINED and (v.evidence or v.reproduce)]
    if why:
        reasons = [Item(evidence_text(v.evidence), about=v.series, command=v.reproduce) for v in why]
        blocks.append(Bullets(reasons, title="Why"))
    if report.ledger:
        blocks += [Title("Ledger"), _ledger(report.ledger)]
    blocks += not_judged_blocks(report.not_judged)
    notes = evidence_sentences(one for one in report.notes if one.kind != "plan")
    return [*blocks, Bullets(notes, title="Notes")] if notes else blocks


def gate_payload(report: GateReport) -> dict[str, Any]:
    """The report as JSON-ready values: the facts, with the sentences that they make."""
    return {
        **to_plain(report),
        "sentence": report_sentence(report),
        "verdicts": [{**to_plain(one), "sentence": evidence_text(one.evidence)} for one in report.verdicts],
        "notes": evidence_sentences(report.notes),
    }


def _table(verdicts: Sequence[Verdict]) -> Table:
    headers = ("verdict", "change", "interval", "base", "head", "cause", "rounds", "floor", "series")
    rows = []
    for verdict in verdicts:
        change, between, floor = figures(verdict)
        base, head = (
            "" if value is None else units.format_value(value, verdict.unit)
            for value in (verdict.base_value, verdict.head_value)
        )
        cause = str(verdict.cause) if verdict.cause else ""
        name = verdict.series or "(all series)"
        rows.append(
            (str(verdict.outcome), change, between, base, head, cause, str(verdict.rounds), floor, name)
        )
    still = sum(verdict.outcome is Outcome.UNCHANGED for verdict in verdicts)
    return Table(
        headers,
        rows,
        right=(1, 3, 4, 6, 7),
        codes=(8,),
        spare=(7, 6, 5, 4, 3),
        tones={i: _TONES[verdict.outcome] for i, verdict in enumerate(verdicts)},
        quiet=len(verdicts) - still,
        quiet_as=f"{still} unchanged",
    )


def _ledger(found: Sequence[dict[str, Any]]) -> Table:
    """The workloads of which something moved come first; the others are folded away."""
    headers = ("workload", "B/px", "head", "bytes", "ops", "head", "upcast B/px", "peak", "head", "image")
    moved = [
        f for f in found if f["effect"] or f["ops_effect"] or f["peak_effect"] or f["image"] != "same bits"
    ]
    same = [f for f in found if f not in moved]
    rows = [
        (
            f["workload"],
            units.format_number(f["bytes_before"]),
            units.format_number(f["bytes_after"]),
            units.format_change(f["effect"]),
            f"{f['ops_before']:,}",
            f"{f['ops_after']:,}",
            units.format_number(f["upcast_after"] - f["upcast_before"]),
            units.format_bytes(f["peak_before"]),
            units.format_bytes(f["peak_after"]),
            f["image"],
        )
        for f in (*moved, *same)
    ]
    quiet = len(moved) if same else None
    words = f"{len(same)} with the same work"
    return Table(headers, rows, right=range(1, 9), codes=(0,), quiet=quiet, quiet_as=words)


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
            {
                **to_plain(one),
                "commit": search.commits[one.index].hash,
                "sentence": evidence_text(one.evidence),
            }
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
        return f"{bad} is not slower than {good}: {evidence_text(ends.evidence)}; {work} {older}"
    names = [search.commits[i].short for i in places]
    if answer.stopped in _WHY:
        return f"{names[0]} made {search.series} slower ({_WHY[answer.stopped]}); {work}"
    why = "the budget is spent" if answer.stopped is Stopped.BUDGET else "time leaves a range"
    if ends is not None and ends.mark is CommitMark.UNCLEAR:
        why = f"time cannot tell {bad} from {good}: {evidence_text(ends.evidence)}"
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


_WHOLE = "whole gate"
_TAGS = {Outcome.REGRESSED: "failure"}
_PASSED = (Outcome.UNCHANGED, Outcome.IMPROVED, Outcome.CHANGED, Outcome.ACKNOWLEDGED)


def gate_junit(report: GateReport) -> str:
    """The report as one test suite named `nbbench gate`."""
    suite = ElementTree.Element("testsuite", name="nbbench gate")
    properties = ElementTree.SubElement(suite, "properties")
    for name in ("base", "head", "outcome", "machine", "seed", "harness"):
        if value := clean(str(getattr(report, name))):
            ElementTree.SubElement(properties, "property", name=name, value=for_xml(value))
    for verdict in in_reading_order(report.verdicts):
        change, between, floor = figures(verdict)
        message = f"{verdict.outcome}: {change} {between}, floor {floor}"
        cause = verdict.cause and f"cause: {verdict.cause}"
        told = filter(None, (evidence_text(verdict.evidence), cause, verdict.reproduce))
        detail = "\n".join(map(clean, told))
        tag = "system-out" if verdict.outcome in _PASSED else _TAGS.get(verdict.outcome, "skipped")
        _case(suite, verdict.series or "(all series)", tag, message, detail)
    for one in report.not_judged:
        since = f" since {one.since[:8]}" if one.since else ""
        _case(suite, one.series, "skipped", f"not judged: {one.reason}{since}", not_judged_detail(one))
    shown = any(verdict.outcome is report.outcome for verdict in report.verdicts)
    if not report.verdicts or not (shown or report.outcome in _PASSED):
        tag = _TAGS.get(report.outcome, "skipped" if report.verdicts else "error")
        detail = "nothing was measured" if tag == "error" else ""
        _case(suite, _WHOLE, "system-out" if report.outcome in _PASSED else tag, headline(report), detail)
    summary = [headline(report), counts_line(report), *evidence_sentences(report.notes)]
    ElementTree.SubElement(suite, "system-out").text = _text("\n".join(map(clean, summary)))
    counts = {
        name: str(len(suite.findall(f"testcase/{tag}")))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    suite.attrib.update({"tests": str(len(suite.findall("testcase"))), **counts})
    root = ElementTree.Element("testsuites", suite.attrib)
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, name: str, tag: str, message: str, detail: str) -> None:
    """A test with what came of it; what passed says it as its output."""
    name = clean(name)
    classname = "nbbench" if name == _WHOLE else name.partition("(")[0]
    case = ElementTree.SubElement(suite, "testcase", classname=for_xml(classname), name=for_xml(name))
    child = ElementTree.SubElement(case, tag)
    if tag == "system-out":
        child.text = _text(f"{message}\n{detail}")
        return
    child.set("message", for_xml(clean(message)))
    if tag != "skipped":
        child.set("type", tag)
    child.text = _text(detail)


def _text(text: str) -> str:
    return for_xml(clean_lines(text))
