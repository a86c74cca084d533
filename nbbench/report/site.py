"""The site: facts become the documents that its pages load. No I/O; `cli.publish` writes them.

A document is JSON in a script file of its own, so that a browser loads it from disk. Commits are numbers
everywhere, their places in `start`; so are series (their rows in `series`) and events. Texts go as they
are: the pages show them as text.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from heapq import nlargest
from operator import itemgetter
from statistics import median
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nbbench import __version__, units
from nbbench.captured import Folder
from nbbench.history.telemetry import PROGRAMS, Canaries, Disturbed
from nbbench.ledger import Ledger
from nbbench.metrics import Better, Role, change_metric, change_role
from nbbench.model import ChangePoint, Commit, Event, EvidenceRecord, Flag, NotJudged, Series, to_plain
from nbbench.plan.plan import CriterionState
from nbbench.report import events
from nbbench.report.blocks import Block, Title
from nbbench.report.causes import evidence_sentences
from nbbench.report.not_judged import folded, not_judged_counts, plain_not_judged
from nbbench.report.plan import plan_rows
from nbbench.report.site_branch import standing_table
from nbbench.report.site_series import Drawn, SeriesIndex
from nbbench.verdicts import SeriesNoise
from nbbench.words import clean, clean_lines, day, for_html, minute, plural

PLOTLY = "plotly.min.js"
"""Its JavaScript, which whoever writes a page puts beside it."""
_NOT_JUDGED = 150
_CHANCE = 3.0  # standard deviations that a single difference must have before it is more than chance
_SHOWN = 60
_LEVEL = 3  # commits of the shortest level
_TOLD = 150  # events; of more the page without JavaScript is a table of what is no improvement


@dataclass(frozen=True)
class SiteFacts:
    """What a site tells of.

    `flags` hold every event, those that are no regression in the state "detected"; `commits` in the order of
    the branch; `ledgers` by tree and workload, of one torch; `trees` the commits whose source is known (None:
    all). `plan` says how the plan item stands, beside its criteria; `folders` are evidence folders with their
    relative addresses. `release` is the last release's name and commit, `commit_address` that of a commit on
    the web, without its hash; both may be empty. `asv` says that asv's own pages lie beside it.
    """

    title: str = "Performance record"
    source: str = ""
    generated_at: datetime | None = None
    flags: Sequence[Flag] = ()
    commits: Sequence[Commit] = ()
    not_judged: Sequence[NotJudged] = ()
    nothing: bool = False
    trees: frozenset[str] | None = None
    ledgers: Mapping[str, Mapping[str, Ledger]] = field(default_factory=dict)
    torch: str = ""
    directions: Mapping[str, Better] = field(default_factory=dict)
    disturbed: Disturbed = frozenset()
    canaries: Canaries = field(default_factory=lambda: Canaries({}, {}))
    calibrations: Mapping[str, Mapping[str, SeriesNoise]] = field(default_factory=dict)
    plan: tuple[str, Sequence[CriterionState]] = ("", ())
    folders: Sequence[tuple[Folder, str]] = ()
    release: tuple[str, str] = ("", "")
    commit_address: str = ""
    asv: bool = False


class Site:
    """A site in the making: `documents` first, then `page`."""

    def __init__(self, facts: SiteFacts) -> None:
        self.facts = replace(facts, flags=events.in_reading_order(facts.flags, facts.generated_at))
        self._headline = events.headline(
            facts.flags, facts.not_judged, facts.generated_at, nothing=facts.nothing
        )
        self._places = {commit.hash: place for place, commit in enumerate(facts.commits)}
        self._index = SeriesIndex(self.facts.flags, self._places, facts)

    def documents(self, series: Iterator[Series | Drawn]) -> Iterator[tuple[str, Any]]:
        """Every document by its name; the series are read once, so that a large record need not fit."""
        facts, index = self.facts, self._index
        yield from index.shards(series)
        yield "series", index.document()
        yield "branch", index.curves.document()
        for number, flag in enumerate(facts.flags):
            yield f"event/{number}", self._event(flag)
        trees = {one.tree: facts.ledgers[one.tree] for one in facts.commits if one.tree in facts.ledgers}
        for number, ledgers in enumerate(trees.values()):
            yield f"commit/{number}", commit_document(ledgers)
        noise = {"machines": noise_document(index.scatter, index.results), "calibrations": facts.calibrations}
        yield "noise", noise | {"kernels": kernel_times(facts.canaries)}
        yield "plan", self._plan(*facts.plan)
        yield "evidence", [to_plain(folder) | {"address": address} for folder, address in facts.folders]
        yield "start", self._start({tree: number for number, tree in enumerate(trees)})

    def page(self) -> str:
        """The page itself: the events and where the branch stands as tables, which the views replace."""
        facts = self.facts
        many = len(facts.flags) > _TOLD
        blocks = events.regressions_blocks(
            [flag for flag in facts.flags if not many or flag.event.direction != "improvement"],
            every=facts.flags,
            not_judged=facts.not_judged,
            nothing=facts.nothing,
            now=facts.generated_at,
            trees=facts.trees,
            brief=many,
            most=_NOT_JUDGED,
        )
        if (table := standing_table(self._index.curves)) is not None:
            blocks += [Title("Where the branch stands"), table]
        stamp = minute(facts.generated_at) if facts.generated_at else ""
        eyebrow = " · ".join(filter(None, (facts.title, facts.source, stamp)))
        title = f"{self._headline} {facts.title}"
        return as_html(blocks, title=title, eyebrow=eyebrow)

    def _start(self, trees: Mapping[str, int]) -> dict[str, Any]:
        facts = self.facts
        commits = [
            (c.hash[:12], minute(c.date), clean(c.subject), c.position, trees.get(c.tree, -1))
            for c in facts.commits
        ]
        return {
            "title": facts.title,
            "headline": self._headline,
            "nothing": facts.nothing,
            "machines": events.event_machines(facts.flags),
            "asv": facts.asv,
            "release": (facts.release[0], self._places.get(facts.release[1], -1)),
            "commit_address": facts.commit_address,
            "counts": f"{plural(len(self._index), 'series', 'series')}, {plural(len(commits), 'commit')}",
            "commits": commits,
            "events": [self._event_row(flag) for flag in facts.flags],
            "not_judged": plain_not_judged(folded(facts.not_judged)[:_NOT_JUDGED]),
            "not_judged_words": not_judged_counts(facts.not_judged),
        }

    def _event_row(self, flag: Flag) -> dict[str, Any]:
        event = flag.event
        return {
            **{name: getattr(event, name) for name in ("id", "direction", "cause", "phase")},
            "lo": self._places.get(event.lo_commit, -1),
            "hi": self._places.get(event.hi_commit, -1),
            "range": events.commit_range(event.lo_commit, event.hi_commit),
            "date": day(event.date),
            "subject": "" if event.hi_commit in self._places else clean(event.subject),
            "change": events.change_text(event),
            "state": events.state_text(flag, self.facts.generated_at),
            "open": events.is_open(flag, self.facts.generated_at),
            "where": events.paying_line(event) or events.paying_benchmark(event),
            "plan": flag.plan,
        }

    def _event(self, flag: Flag) -> dict[str, Any]:
        event, known = flag.event, self.facts.trees
        shown = event.hi_commit in known if known is not None else True
        changes = sorted(event.changes, key=_times_first)
        return {
            "sentence": _sentence(event),
            "evidence": evidence_sentences(event.evidence),
            "lines": [line for one in event.evidence for line in _lines(one)],
            "hunks": [hunk for one in event.evidence if one.kind == "hunks" for hunk in one.figures["hunks"]],
            "workloads": [one.figures["workload"] for one in event.evidence if one.kind == "work"],
            "undoes": event.undoes,
            "recovered": self._places.get(event.recovered_by or "", -1),
            "commands": events.reproduce_commands(event) if shown else (),
            "history": [to_plain(one) for one in flag.decisions],
            "changes": [self._change(change) for change in changes],
        }

    def _plan(self, said: str, states: Sequence[CriterionState]) -> dict[str, Any]:
        """How the plan stands; a row a criterion, and the series that it rests on."""
        now, series = self.facts.generated_at, []
        for state in states:
            machine = state.found.machine if state.found else ""
            series.append(self._index.named(state.criterion.series, machine))
        return {"said": said, "rows": plan_rows(states, now) if now else [], "series": series}

    def _change(self, change: ChangePoint) -> tuple[Any, ...]:
        exact = change_metric(change).exact
        return (
            self._index.number(change.key),
            change.key.label,
            units.format_value(change.before, change.unit),
            "fails" if change.fails else units.format_value(change.after, change.unit),
            events.moved(change),
            "" if change.fails else "exact" if exact else events.interval(change.effect_lo, change.effect_hi),
            change.key.machine,
            change.worse,
        )


def _times_first(change: ChangePoint) -> tuple[bool, bool, float, str]:
    role = change_role(change)  # a user waits for time; quotients come last
    return role is not Role.TIME, role is Role.DERIVED, -abs(change.effect), change.key.label


def _sentence(event: Event) -> str:
    """What happened, where and why, for a headline."""
    became = {"regression": "became worse", "improvement": "became better"}.get(event.direction, "changed")
    where = events.commit_range(event.lo_commit, event.hi_commit)
    said = f"{event.phase.capitalize()} {became} at {where}"
    return f"{said}: {events.change_text(event)}. Cause: {event.cause}."


def _lines(record: EvidenceRecord) -> list[dict[str, Any]]:
    """The lines of the subject that an evidence names, with what they did before and after."""
    figures = record.figures
    about = {"workload": figures.get("workload", ""), "unit": figures.get("metric") or "B/pixel"}
    return [line | about for line in figures.get("lines", ()) if "before" in line and line["where"]]


def commit_document(ledgers: Mapping[str, Ledger]) -> dict[str, Any]:
    """The ledgers of a tree: `places` (path, line, function) and `words` (operations, dtypes) stand once.

    A workload's `lines` are place, operation, dtype, calls and bytes.
    """
    places: dict[tuple[str, int, str], int] = {}
    words: dict[str, int] = {}
    workloads = {
        name: _workload(one, places, words)
        for name, one in sorted(ledgers.items())
        if one.pixels or one.error
    }
    return {"places": list(places), "words": list(words), "workloads": workloads}


def _workload(one: Ledger, places: dict[tuple[str, int, str], int], words: dict[str, int]) -> dict[str, Any]:
    lines = [
        (
            places.setdefault((line.path, line.line, line.function), len(places)),
            words.setdefault(line.op, len(words)),
            words.setdefault(line.dtype, len(words)),
            line.count,
            line.bytes,
        )
        for line in one.lines
    ]
    return {**to_plain(replace(one, lines=(), image_blocks=())), "lines": lines}


def as_script(name: str, payload: Any) -> str:
    """A document as the script file that hands it over: printable text, figures that are none as null."""
    text = msgspec.json.encode(payload).decode()
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return f'nbbench("{name}",{text});\n'


def as_html(blocks: Sequence[Block], *, title: str, eyebrow: str) -> str:
    """The blocks as the site's page, in sections. Every text passes `words.for_html`."""
    sections: list[tuple[Title | None, list[tuple[str, Block]]]] = [(None, [])]
    for block in blocks:
        if isinstance(block, Title):
            sections.append((block, []))
        else:
            sections[-1][1].append((type(block).__name__, block))
    return _environment().get_template("site.html.j2").render(title=title, eyebrow=eyebrow, sections=sections)


@cache
def _environment() -> Environment:
    def shown(value: Any) -> Any:
        return Markup(for_html(value)) if isinstance(value, str) and not hasattr(value, "__html__") else value  # noqa: S704

    made = Environment(
        loader=PackageLoader("nbbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    made.globals["version"] = __version__
    made.filters["lines"] = lambda text: clean_lines(text).split("\n")
    return made


def noise_document(
    scatter: Mapping[str, Sequence[tuple[str, float]]], results: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """For each machine what can be told apart there.

    That is sentences, and each series with its scatter and the least change that levels of _LEVEL commits
    show, the noisiest first.

    `scatter` is the share by which neighbouring values differ by chance, by machine and series; `results`
    counts results and the disturbed ones among them.
    """
    made = {}
    for machine, found in sorted(scatter.items()):
        rows = [(label, share, _least(share)) for label, share in nlargest(_SHOWN, found, itemgetter(1))]
        made[machine] = {"said": _resolves(found, results.get(machine, {})), "series": rows}
    return made


def _resolves(scatter: Sequence[tuple[str, float]], counts: Mapping[str, int]) -> list[str]:
    shares, bad = sorted(share for _, share in scatter), counts.get("disturbed", 0)
    typical = median(shares)
    return [
        f"The typical time repeats within {_percent(typical)} from commit to commit "
        f"(the steadiest series within {_percent(shares[0])}, the noisiest within {_percent(shares[-1])}).",
        f"Between two single commits less than {_percent(_CHANCE * math.sqrt(2) * typical)} cannot be told "
        f"from chance; levels of {_LEVEL} commits each show {_percent(_least(typical))}.",
        f"{counts.get('results', 0):,} timed results; {bad:,} of them disturbed by other load: no verdict "
        "rests on those.",
        "Exact work (bytes, operations, steps of Python) has no noise: any change of it is real.",
    ]


def _least(share: float) -> float:
    """The least change that levels of _LEVEL values each show beyond chance: the error of a difference."""
    return _CHANCE * share * math.sqrt(2 / _LEVEL)


def kernel_times(canaries: Canaries) -> dict[str, list[tuple[Any, ...]]]:
    """When the reference kernels ran on each machine (seconds of the epoch), and the seconds of each."""
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for place, level in canaries.levels.items():
        found[place[1]].append((round(canaries.times[place]), *map(level.get, PROGRAMS)))
    return {machine: sorted(rows, key=lambda row: row[0]) for machine, rows in found.items()}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 1 else f"{1 + share:.1f}×"
