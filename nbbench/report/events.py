"""Flagged events in words: their figures, state and order, and the list of them."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import PurePosixPath

from nbbench import units
from nbbench.history.costs import Cost
from nbbench.metrics import Better, Role, change_metric, change_role, may_be_a_change_of_unit
from nbbench.model import Cause, ChangePoint, Event, EventDirection, Flag, FlagState, NotJudged
from nbbench.report.blocks import Block, Bullets, Head, Item, Table
from nbbench.report.causes import evidence_sentences
from nbbench.report.not_judged import not_judged_blocks
from nbbench.words import day, plural

# A reader looks for what still asks for a decision first.
_OPEN = (FlagState.CONFIRMED, FlagState.DETECTED)
_STATES = (*_OPEN, FlagState.ACKNOWLEDGED, FlagState.FIXED, FlagState.VERIFIED, FlagState.REJECTED)
_DIRECTIONS = (EventDirection.REGRESSION, EventDirection.CHANGE, EventDirection.IMPROVEMENT)
_TONES = {EventDirection.REGRESSION: ("red", ""), EventDirection.IMPROVEMENT: ("green", "")}
_NAMED = 3  # changes whose figures are given
_FAILING = 5


def is_open(flag: Flag, now: datetime | None = None) -> bool:
    """Whether a regression still asks for a decision; with `now`, an acknowledgement may have expired."""
    waits = flag.state in _OPEN or _expired(flag, now) is not None
    return waits and flag.event.worse and not flag.event.recovered_by


def state_text(flag: Flag, now: datetime | None = None) -> str:
    """What became of the event: its state, or that later commits undid it, or that it ends an earlier one."""
    if (expired := _expired(flag, now)) is not None:
        return f"{flag.state} (expired {day(expired)})"
    if flag.event.recovered_by and flag.state in _OPEN:
        return undone_word(flag.event)
    if flag.event.undoes and not flag.event.worse and flag.state is FlagState.DETECTED:
        return "undoes another"
    return str(flag.state) if flag.event.worse or flag.state is not FlagState.DETECTED else ""


def undone_word(event: Event) -> str:
    """How it is called that later commits undid an event: a regression recovers."""
    return "recovered" if event.worse else "undone"


def _expired(flag: Flag, now: datetime | None) -> datetime | None:
    expires = flag.decisions[-1].expires if flag.decisions else None
    late = flag.state is FlagState.ACKNOWLEDGED and expires and now and expires < now
    return expires if late else None


def in_reading_order(flags: Iterable[Flag], now: datetime | None = None) -> list[Flag]:
    """Regressions first, open before settled, then by what the user waits for, then by work."""

    def order(flag: Flag) -> tuple[int, bool, int, float, float, str]:
        event = flag.event
        state = (not is_open(flag, now), _STATES.index(flag.state))
        return _DIRECTIONS.index(event.direction), *state, -waits(event), -_size(event.effect), event.id

    return sorted(flags, key=order)


def waits(event: Event) -> float:
    """The size of what a user waits for: the change of time, measured or else predicted from the work."""
    if event.cause is Cause.FAILURE:
        return math.inf
    time, _ = headline_changes(event)
    return _size(time.effect) if time else _size(event.predicted or 0.0)


def _size(effect: float) -> float:
    return 0.0 if math.isnan(effect) else abs(effect)


def headline_changes(event: Event) -> tuple[ChangePoint | None, ChangePoint | None]:
    """The event's largest changes in time and in exact work, in the event's own direction.

    Work is shown by bytes where they count, else by operations: an upcast from nothing to a few
    bytes is infinitely more, and says less.
    """
    mine = [(c, change_metric(c)) for c in _own(event)]
    work = [(c, metric) for c, metric in mine if metric.role is Role.WORK and metric.counts(c)]
    return (
        largest(c for c, metric in mine if metric.role is Role.TIME),
        largest(c for c, metric in work if metric.unit.startswith("B/")) or largest(c for c, _ in work),
    )


def _own(event: Event) -> list[ChangePoint]:
    """The changes in the event's direction; all where none is."""
    return [c for c in event.changes if c.direction is event.direction] or list(event.changes)


def largest(changes: Iterable[ChangePoint]) -> ChangePoint | None:
    """The change of largest size; the first of equals, so that the answer repeats."""
    usable = [c for c in changes if not math.isnan(c.effect)]
    return max(usable, key=lambda c: abs(c.effect), default=None)


def change_text(event: Event) -> str:
    """The headline's figures: time, measured or predicted, and work; else what moved, by its name."""
    if event.cause is Cause.FAILURE:
        return "runs no more"
    time, work = headline_changes(event)
    parts = [f"time {units.format_change(time.effect)}"] if time else []
    if not time and event.predicted is not None:
        parts = [f"time {units.format_change(event.predicted)} predicted"]
    parts += [f"work {units.format_change(work.effect)}"] if work else []
    if parts:
        return ", ".join(parts)
    own = _own(event)
    most = largest([c for c in own if change_role(c) is not Role.DERIVED] or own)
    if most is None:
        return units.format_change(event.effect)
    metric = change_metric(most)
    name = metric.name.removeprefix("track_").replace("_", " ")
    named = {Role.MEMORY: "peak memory", Role.HOST: metric.unit}.get(metric.role, name)
    return f"{named} {units.format_change(most.effect)}"


def figures(change: ChangePoint) -> str:
    """`12.3 ms → 24.6 ms (+98.0 % to +102 %)`; exact counters have no interval because they have no noise."""
    before, after = (units.format_value(value, change.unit) for value in (change.before, change.after))
    between = interval(change.effect_lo, change.effect_hi)
    noisy = not change_metric(change).exact and between != "n/a"
    return f"{before} → {after}" + (f" {between}" if noisy else "")


def moved(change: ChangePoint) -> str:
    """By how much a series moved, or that it runs no more."""
    return "runs no more" if change.fails else units.format_change(change.effect)


def commit_range(lo: str, hi: str) -> str:
    """`abcd1234`, or `abcd1234..ef567890` when the culprit lies in an interval."""
    return lo[:8] if lo == hi else f"{lo[:8]}..{hi[:8]}"


def interval(lo: float | None, hi: float | None) -> str:
    """A log-ratio interval as `[+1.0 %, +3.0 %]`; `n/a` when it was not estimated."""
    if lo is None or hi is None or math.isnan(lo) or math.isnan(hi):
        return "n/a"
    return f"[{units.format_change(lo)}, {units.format_change(hi)}]"


def evidence_lines(flag: Flag) -> list[str]:
    """What is known of an event: what moved, the evidence of its cause, questions, decisions."""
    event = flag.event
    first, last = _figures_of(event)
    lines = [*first, *evidence_sentences(event.evidence), *last, *_questions(event)]
    if event.recovered_by:
        lines.append(f"{undone_word(event)} by {event.recovered_by[:8]}")
    if event.undoes:
        lines.append(f"undoes {event.undoes}")
    for d in flag.decisions:
        until = f" (expires {day(d.expires)})" if d.expires else ""
        lines.append(f"{day(d.date)} {d.state} by {d.person}: {d.reason}{until}")
    return lines


def _figures_of(event: Event) -> tuple[list[str], list[str]]:
    """The changes that moved most, by name and values, before the evidence and behind it: what fails, times,
    or whatever the event is about; then page faults, exact counts that no ledger tells, and other figures."""
    if event.cause is Cause.FAILURE:
        failing = sorted((c for c in event.changes if c.fails), key=lambda c: c.key.label)
        was = ((c, units.format_value(c.before, c.unit)) for c in failing[:_FAILING])
        return [f"{c.key.label} fails since {c.hi_commit[:8]}; it was {value}" for c, value in was], []
    own, told = _own(event), {one.kind for one in event.evidence}
    times = [c for c in event.changes if change_role(c) is Role.TIME]
    if not any(headline_changes(event)):
        return _named(own, _NAMED), []
    counted = [] if "work" in told else [c for c in event.changes if change_metric(c).exact]
    faults = [c for c in event.changes if change_role(c) is Role.ALLOCATOR]
    others = [c for c in own if change_role(c) in (Role.MEMORY, Role.OTHER) and change_metric(c).counts(c)]
    behind = [*_named(faults, 2), *_named(counted, 2), *_named(others, _NAMED)]
    return _named(times, 2), list(dict.fromkeys(behind))


def _named(changes: Iterable[ChangePoint], most: int) -> list[str]:
    found = sorted(changes, key=lambda c: (change_role(c) is not Role.TIME, -_size(c.effect), c.key.label))
    return [f"{change.key.label}: {figures(change)}" for change in found[:most]]


def _questions(event: Event) -> list[str]:
    """What only the benchmarks' author can say: a change of unit, an undeclared direction."""
    lines = []
    if (scaled := next(filter(may_be_a_change_of_unit, event.changes), None)) is not None:
        lines.append(
            f"{scaled.key.label} moved by a factor that lies between units "
            f"({units.format_change(scaled.effect)}): did its unit change? A new version says so"
        )
    if event.direction is EventDirection.CHANGE:
        names = {c.unit for c in event.changes if change_metric(c).better is Better.UNKNOWN}
        lines += [
            f"which direction of {name or 'it'} is better is not known; [tool.nbbench.units] declares it"
            for name in sorted(names)
        ]
    return lines


def reproduce_commands(event: Event) -> tuple[str, ...]:
    """Commands that show the event again: its explanation, then a fresh gate over its range."""
    lo, hi = event.lo_commit[:12], event.hi_commit[:12]
    return (f"nbbench explain {event.id}", f"nbbench gate {lo}~1 {hi}")


def event_machines(flags: Iterable[Flag]) -> list[str]:
    """The machines whose figures the flags hold; exact work belongs to none."""
    kinds = {(c.key.machine, c.key.benchmark, c.unit): c for f in flags for c in f.event.changes}
    return sorted({c.key.machine for c in kinds.values() if not change_metric(c).exact})


def headline(
    flags: Sequence[Flag],
    not_judged: Sequence[NotJudged] = (),
    now: datetime | None = None,
    *,
    nothing: bool = False,
) -> str:
    """How many regressions are open, settled, and what else there is, in one line.

    `nothing` says that no series could be judged.
    """
    counts = Counter(flag.event.direction for flag in flags)
    open_count = sum(is_open(flag, now) for flag in flags)
    settled = counts[EventDirection.REGRESSION] - open_count
    parts = [plural(open_count, "open regression") if open_count else "No open regression"]
    if not flags:
        parts = ["Nothing could be judged" if nothing else "No change is on record"]
    for count, one, many in (
        (settled, "settled or recovered", "settled or recovered"),
        (counts[EventDirection.IMPROVEMENT], "improvement", "improvements"),
        (counts[EventDirection.CHANGE], "change of unknown direction", "changes of unknown direction"),
        (len(not_judged), "series not judged", "series not judged"),
    ):
        parts += [plural(count, one, many)] if count else []
    return "; ".join(parts) + "."


def regressions_blocks(
    flags: Sequence[Flag],
    *,
    every: Sequence[Flag] | None = None,
    not_judged: Sequence[NotJudged] = (),
    nothing: bool = False,
    now: datetime | None = None,
    trees: Collection[str] | None = None,
    brief: bool = False,
    most: int = 20,
) -> list[Block]:
    """The headline, a table of flags, the evidence of what is no improvement, and what was not judged.

    The headline counts `every` flag (None: those that are shown). `nothing` says that no series could be
    judged. `trees` are the commits (hashes) whose source is known: commands that need it are shown of no
    others (None: of all). A `brief` report has no evidence; up to `most` series not judged are named.
    """
    ordered = in_reading_order(flags, now)
    open_count = sum(is_open(flag, now) for flag in ordered)
    mark = "❌" if open_count else "❔" if nothing else "✅"
    words = headline(ordered if every is None else every, not_judged, now, nothing=nothing)
    blocks: list[Block] = [Head(words, "red" if open_count else "bold", mark)]
    if ordered:
        if measured := event_machines(ordered):
            blocks.append(f"Times and memory are those of {', '.join(measured)}.")
        blocks.append(_table(ordered, now))
    for flag in ordered:
        event = flag.event
        if not brief and event.direction is not EventDirection.IMPROVEMENT:
            title = f"{commit_range(event.lo_commit, event.hi_commit)} {event.subject}"
            known = trees is None or event.hi_commit in trees
            commands = [Item(command=one) for one in (reproduce_commands(event) if known else ())]
            blocks.append(Bullets([*evidence_lines(flag), *commands], title, code=event.id))
    return blocks + not_judged_blocks(not_judged, most)


def costs_blocks(costs: Sequence[Cost], waiting: Sequence[Flag], most: int) -> list[Block]:
    """The `most` costliest open regressions: what undoing each by itself would save, where that was timed."""
    events = {flag.event.id: flag.event for flag in waiting}
    rows = []
    for one in costs[:most]:
        event = events[one.event]
        now, saved, lo, hi = (units.format_seconds(x) for x in (one.now_s, one.saved_s, one.lo_s, one.hi_s))
        rows.append(
            (one.event, event.cause, paying_line(event), one.series.label, now, saved, f"{lo} to {hi}")
        )
    head = ("event", "cause", "line", "costs most in", "takes now", "would save", "interval")
    less = len(waiting) - len(costs)
    return [
        Head(f"The {len(rows)} costliest of {plural(len(waiting), 'open regression')}", "bold"),
        Table(head, rows, right=(4, 5, 6), codes=(0, 3), spare=(2, 1)),
        "Each saving is of one run, if nothing else is undone. "
        f"Not timed, or not the code's doing: {plural(less, 'other')}.",
    ]


def paying_line(event: Event) -> str:
    """The line of the subject that moved most; empty where no evidence names one."""
    lines = (line for one in event.evidence for line in one.figures.get("lines", ()) if line["where"])
    if (first := next(lines, None)) is None:
        return ""
    return f"{PurePosixPath(first['where']).name} {first['function']}".strip()


def paying_benchmark(event: Event) -> str:
    """The series behind the headline and what it was before and after, for an event that no line explains."""
    time, work = headline_changes(event)
    change = next((c for c in event.changes if c.fails), None) or time or work or largest(_own(event))
    if change is None:
        return ""
    before, after = (units.format_value(value, change.unit) for value in (change.before, change.after))
    return f"{change.key.label} {before} → {'fails' if change.fails else after}"


def _table(flags: Sequence[Flag], now: datetime | None) -> Table:
    """A row for each flag, improvements folded away."""
    headers = ("event", "commit", "date", "change", "cause", "line", "plan", "state", "series", "subject")
    rows = []
    for flag in flags:
        e, state = flag.event, state_text(flag, now)
        where, count = commit_range(e.lo_commit, e.hi_commit), str(len({c.key for c in e.changes}))
        about = (e.id, where, day(e.date), change_text(e), e.cause, paying_line(e))
        rows.append((*about, flag.plan, state, count, e.subject))
    others = sum(flag.event.direction is not EventDirection.IMPROVEMENT for flag in flags)
    return Table(
        headers,
        rows,
        right=(8,),
        codes=(0, 1),
        spare=(1, 6, 2, 8, 9, 5, 4),  # an event's name holds its commits
        toned=3,
        tones={i: _TONES[f.event.direction] for i, f in enumerate(flags) if f.event.direction in _TONES},
        quiet=others,
        quiet_as=plural(len(flags) - others, "improvement"),
    )
