"""A gate's answers in sentences: the whole in one line, and what each kind of evidence says."""

import math
from collections.abc import Sequence

from nbbench import units
from nbbench.model import NotJudgedReason, Outcome
from nbbench.report.causes import Figures, evidence_sentences, evidence_text, says, says_plainly
from nbbench.verdicts import GateReport, Verdict
from nbbench.words import plural

_NEAR = 0.06  # a floor within this share of a round one is written as that


def headline(report: GateReport) -> str:
    """The verdict in a word, and the sentence that gives its reason."""
    return f"{str(report.outcome).upper()}: {report_sentence(report)}"


def report_sentence(report: GateReport) -> str:
    """Why the whole is what it is, with the series that tells most."""
    verdicts, total = report.verdicts, len(report.verdicts) + len(report.not_judged)
    mine = [one for one in verdicts if one.outcome is report.outcome]
    missing = [one for one in report.not_judged if one.reason is not NotJudgedReason.SKIPPED]
    if not mine and report.outcome is not Outcome.INCONCLUSIVE:  # the same program on both sides
        return evidence_text(report.notes)
    if report.outcome is Outcome.INCONCLUSIVE:
        if mine:
            count = len(mine) + len(missing)
            why = evidence_text(mine[0].evidence)
            return f"cannot tell for {count} of {total} series: {mine[0].series}: {why}"
        if missing:
            one = missing[0]
            why = one.detail if one.reason is NotJudgedReason.VARIES else f"is {one.reason} {one.detail}"
            first = f"{one.series} {why}"
            return f"{len(missing)} of {total} series could not be judged: {first}"
        if not total:
            return "nothing was measured"
        why = next((f"; {one.series}: {one.detail}" for one in report.not_judged if one.detail), "")
        return f"nothing was judged: all of {total} series were skipped{why}"
    if report.outcome is Outcome.REGRESSED:
        return _worse(mine, total)
    if report.outcome is Outcome.NOT_COMPARABLE:
        first = f"{mine[0].series}: {next(iter(evidence_sentences(mine[0].evidence)), '')}"
        return f"{len(mine)} of {total} series are of another image: {first}"
    left = f"; {len(report.not_judged)} not judged (skipped)" if report.not_judged else ""
    uncounted = [one for one in report.notes if one.kind == "uncounted call"]
    unseen = [f"; {one}" for one in evidence_sentences(uncounted[:1])]
    return "".join([_passed(report.outcome, mine, len(verdicts)), left, *unseen])


def _worse(worse: Sequence[Verdict], total: int) -> str:
    most = _most(worse)
    said = f"{len(worse)} of {total} series {'is' if len(worse) == 1 else 'are'} worse"
    if most.effect is None and not has_zero(most):
        return f"{said}; {most.series} {evidence_text(most.evidence)}"
    cause = f", cause: {most.cause}" if most.cause else ""
    return f"{said}; the worst is {most.series} ({_change(most)}{cause})"


def _most(verdicts: Sequence[Verdict]) -> Verdict:
    """The one that changed most: from or to nothing is more than any factor."""
    return max(verdicts, key=lambda v: math.inf if v.effect is None else abs(v.effect))


def has_zero(verdict: Verdict) -> bool:
    """Whether there was nothing before or after, which no ratio can say."""
    return verdict.effect is None and 0.0 in (verdict.base_value, verdict.head_value)


def _change(verdict: Verdict) -> str:
    """By how much a series changed; from or to nothing by its figures."""
    if has_zero(verdict) or verdict.unit == "order":
        ends = verdict.base_value, verdict.head_value
        return " → ".join(units.format_value(value, verdict.unit) for value in ends)
    return units.format_change(verdict.effect)


def _passed(outcome: Outcome, mine: Sequence[Verdict], judged: int) -> str:
    if outcome is Outcome.UNCHANGED:
        return f"all {judged} series are unchanged{_by_exact_work(mine)}"
    most = _most(mine)
    if outcome is Outcome.ACKNOWLEDGED:
        said = f"{len(mine)} of {judged} series are worse as acknowledged, and no other is"
        return f"{said}; {mine[0].series}: {evidence_text(mine[0].evidence)}"
    named = f"most {most.series} ({_change(most)})"
    if outcome is Outcome.CHANGED:
        return f"no series is worse; {len(mine)} of {judged} changed in a unit without a direction, {named}"
    return f"no series is worse; {len(mine)} of {judged} improved, {named}"


def _by_exact_work(unchanged: Sequence[Verdict]) -> str:
    """What was counted of the series whose time was only checked, and what time could have shown of them."""
    said = [one.figures for v in unchanged for one in v.evidence if one.kind == "counted work"]
    looks = [one.figures for v in unchanged for one in v.evidence if one.kind == "checked"]
    if not looks:
        return ""
    equal = all(f["equal"] for f in said if f["settles"])
    work = "work of every kind is equal" if equal else "the work that changed costs next to nothing"
    seen = sorted(f["sees"] for f in looks if f["sees"] is not None)
    pairs = max(f["n"] for f in looks)
    if not seen:
        return f": {work}; time could have shown nothing, as {_why_no_pair(looks)}"
    ends = [format_floor(one) for one in (seen[0], seen[-1])]
    span = ends[0] if ends[0] == ends[1] else f"{ends[0].removesuffix(' %')} to {ends[1]}, by series,"
    blind = len(looks) - len(seen)
    rest = f"; of {plural(blind, 'series', 'series')} time could have shown nothing" if blind else ""
    return f": {work}; a loss of time above {span} would have been seen in {plural(pairs, 'pair')}{rest}"


def _why_no_pair(looks: Sequence[Figures]) -> str:
    return next((f["disturbed"] for f in looks if f["disturbed"]), "there were too few pairs")


def format_floor(floor: float) -> str:
    """A floor as a reader rounds it: by one digit where that is near enough, else by two: 1 %, 5 %, 2.3 %."""
    percent = math.expm1(floor) * 100
    coarse = float(f"{percent:.1g}")
    return f"{coarse if abs(coarse - percent) <= _NEAR * percent else float(f'{percent:.2g}'):g} %"


def _percent(effect: float | None, unknown: str) -> str:
    if effect is None:
        return unknown
    change = f"{math.expm1(effect) * 100:+.1f} %"
    return units.format_change(effect) if abs(effect) >= math.log(2) else change


says_plainly(
    {
        "nothing counted": "nothing is counted of it any more: a result that was kept, or work that counts "
        "do not see, is no gain",
        "gain beside a call": "less work, but counts do not tell what {name} does, which {where} calls: "
        "`--policy both` measures time, or a person reads the diff (--reviewed)",
        "suspect line": "{where} has {what}, by which a program can tell that it is measured or deceive the "
        "counts: a person has to read it (--reviewed)",
        "same host work": "the same host work",
        "same orders": "grows with the same powers",
        "same tree": "the measured source is the same tree ({tree:.12}), so nothing can be slower",
        "criterion": "{title}: it {verdict} here; it was met at {then}",
        "criterion kept": "met at base, and the gate found nothing that changed",
        "plan": "{plan}: of {all} criteria {met} were met by what this machine has on record up to base; "
        "{lost} lost, {unknown} not known at head",
        "work tree": "head is what lies in the work tree now: tree {tree}",
        "budget ended": "the budget of {seconds:.0f} s ended while something was under way",
        "exact work decides": "exact work decides; time was not measured",
        "another program": "time was not measured: it would be that of another program",
        "other image": "another image (sum × {ratio:.6g}), so not like for like",
        "narrower": lambda f: (
            f"head computes in {' and '.join(f['dtypes'])}, narrower than all of base: a person "
            "has to accept that (--reviewed)"
        ),
        "impossible rate": lambda f: (
            f"head would move {units.format_value(f['rate'], 'B/s')}, and nothing here moves more than "
            f"{units.format_value(f['most'], 'B/s')}: what is timed does not do the work that is counted "
            "(--reviewed where a person knows why)"
        ),
        "only hunk": lambda f: (
            f"caused by {f['place']}, the only hunk that changes the program"
            + (f"; the other {plural(f['total'] - 1, 'hunk')} only changed words" if f["total"] > 1 else "")
        ),
        "crashed": lambda f: (
            f"crashed at {' and at '.join(f'{side} in {count}' for side, count in f['crashes'].items())} "
            f"of {plural(f['rounds'], 'round')}: {f['reason']}"
        ),
        "another suite": lambda f: (
            f"{', '.join(f['paths'][:3])} changed since base, and what lies here is not "
            "base's: judge by the suite of base (`git worktree add`), or let a person read it (--reviewed)"
        ),
        "many hunks": lambda f: (
            f"caused by some of {plural(f['moving'], 'hunk')}: "
            f"`nbbench explain {' '.join(f['ends'])} --hunks` tells by which"
        ),
        "uncounted call": lambda f: f"{_untold(f)}; time was not judged",
        "beyond accepted": lambda f: f"beyond the accepted {units.format_change(f['effect'])}",
        "acknowledged": lambda f: f"acknowledged as {', '.join(f['names'])}",
        "lost": lambda f: f"runs at base but not at head: {f['reason'] or 'no reason given'}",
        "same bytecode": lambda f: (
            f"only comments, docstrings or formatting of {plural(f['files'], 'file')} "
            "changed: the same bytecode runs"
        ),
        "not calibrated": lambda f: (
            f"{plural(len(f['series']), 'series', 'series')} not in the calibration: {f['series'][0]} …"
        ),
    }
)


@says("rounds")
def _rounds(f: Figures) -> list[str]:
    floor, margin, decision = format_floor(f["floor"]), format_floor(f["margin"]), f["decision"]
    change = f"change {_percent(f['effect'], 'from zero')}"
    if f["lo"] is None or f["hi"] is None:
        few = f"{plural(f['n'], 'round')} {'is' if f['n'] == 1 else 'are'} too few"
        return [f"{change}, {few} for an interval"]
    if not f["lo"] <= f["effect"] <= f["hi"]:
        return [f"early and late rounds contradict each other over {f['n']} rounds"]
    said = f"{change}, interval {_percent(f['lo'], '')} to {_percent(f['hi'], '')} from {f['n']} rounds,"
    where = {
        "equivalent": f"lies inside ±{margin}",
        "undecided": f"neither lies beyond the floor of {floor} nor inside ±{margin}",
    }
    return [f"{said} {where.get(decision, f'lies beyond the floor of {floor}')}"]


@says("counted work")
def _counted_work(f: Figures) -> list[str]:
    if f.get("where"):
        return [_untold(f)]
    if f["equal"]:
        return ["the exact work is equal"]
    return [_costs(f) if "lo" in f else "counts do not tell what the work that changed costs"]


def _untold(f: Figures) -> str:
    if f.get("name"):
        return f"counts do not tell how long {f['name']} takes, which {f['where']} calls"
    return f"counts do not tell what {f['where']} costs, which is no Python"


def _costs(f: Figures) -> str:
    return f"the work that changed costs {_percent(f['lo'], '')} to {_percent(f['hi'], '')} of the run"


@says("price")
def _price(f: Figures) -> list[str]:
    about = f"by {plural(f['points'], 'timed run')}" if f["points"] else "nothing timed here, so usual costs"
    return [f"{_costs(f)} ({about}, which it predicts to {f['error'] * 100:.0f} %)"]


@says("checked")
def _checked(f: Figures) -> list[str]:
    pairs = plural(f["n"], "pair")
    if f["slower"]:
        return [f"{pairs} showed {_percent(f['effect'], '')}, which fresh processes did not confirm"]
    if f["sees"] is None:
        return [f"time could have shown nothing: {_why_no_pair([f])}"]
    return [f"a loss of time above {format_floor(f['sees'])} would have been seen in {pairs}"]


@says("confirmation")
def _confirmation(f: Figures) -> list[str]:
    if f["agrees"] is None:
        return ["the budget ended before the confirming re-run"]
    return [f"confirmed by {f['n']} fresh rounds" if f["agrees"] else "the confirming re-run does not agree"]


@says("no figure")
def _no_figure(f: Figures) -> list[str]:
    if f["disturbed"] and not f["error"]:
        return [f"no pair could be measured: {f['disturbed']}"]
    return [f["error"] or "nothing was measured"]


@says("exact")
def _exact(f: Figures) -> list[str]:
    before, after = (units.format_value(f[when], f["unit"]) for when in ("before", "after"))
    return [f"{before} → {after}" if f["before"] != f["after"] else f"{after} as before"]


@says("new images")
def _new_images(f: Figures) -> list[str]:
    some = f"the image of {', '.join(f['workloads'])} changed between base and head"
    if f["accepted_by"]:
        return [f"{some}: accepted by {f['accepted_by']}"]
    return [
        f"{some}: --accept-image or an acknowledged event (`nbbench flag`) says that the new one is right"
    ]


@says("pairs")
def _pairs(f: Figures) -> list[str]:
    again = sum(f["repeated"].values())
    share = f" ({100 * again / f['pairs']:.0f} %)" if f["pairs"] and again else ""
    why = ", ".join(f"{reason}: {count}" for reason, count in f["repeated"].items())
    said = f"{again} of {f['pairs']} pairs{share} were disturbed and measured again"
    said += f" ({why})" if why else ""
    pairs = "1 disturbed pair was" if f["kept"] == 1 else f"{f['kept']} disturbed pairs were"
    return [said + (f"; {pairs} kept, as the machine was busy all the time" if f["kept"] else "")]


@says("calibration")
def _calibration(f: Figures) -> list[str]:
    if not f["what"]:
        return [
            f"no A/A noise is on record for {f['machine']}: floors are the policy's alone "
            "(`nbbench gate --calibrate` measures it)"
        ]
    why = f"it is {f['then']} old" if f["what"] == "age" else ""
    why = why or f"it was taken with {f['what']} {f['then']}, not {f['now']}"
    return [
        f"the A/A noise on record for {f['machine']} is stale: {why} (`nbbench gate --calibrate` renews it)"
    ]
