"""What was measured on one occasion, and what is on record: commits, the database, a machine's noise."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbbench import units
from nbbench.disturbance import DisturbedBy, disturbance_of
from nbbench.model import Commit, ProcessRecord, Result, Status
from nbbench.report.blocks import Block, Bullets, Head, Item, Table
from nbbench.verdicts import SeriesNoise
from nbbench.words import clean, day, last_line, plural

_MANY = 20  # commits: from here on a run's cost is a question


def run_blocks(
    results: Sequence[Result],
    commits: Sequence[Commit],
    *,
    records: Sequence[ProcessRecord] = (),
    notes: Sequence[str] = (),
    machine: str = "",
) -> list[Block]:
    """`results` of one machine by commit, in the order of `commits`; what went wrong.

    `records` is the telemetry of the same run: it names the errors and the disturbances.
    """
    rows = [row for commit in commits if (row := _row(commit, results))]
    counts, where = Counter(result.status for result in results), f" on {machine}" if machine else ""
    kinds = ", ".join(f"{counts[s]} {s}" for s in Status if counts[s] or s is Status.OK)
    words = f"{plural(len(rows), 'commit')} measured{where}: {kinds}."
    blocks: list[Block] = [Head(words if counts else f"Nothing was measured{where}.")]
    if rows:
        headers = ("commit", "date", "ok", "failed", "skipped", "time", "subject")
        blocks.append(Table(headers, rows, right=(2, 3, 4, 5), codes=(0,), spare=(1, 5, 4)))
    if failed := failures(results, records):
        blocks.append(Bullets([Item(f"{what}: {why}", about=name) for name, what, why in failed], "Failures"))
    extra = [f"disturbed: {line}" for line in disturbances(records)] + [f"note: {note}" for note in notes]
    return [*blocks, Bullets(extra)] if extra else blocks


def _row(commit: Commit, results: Sequence[Result]) -> tuple[str, ...]:
    mine = [result for result in results if result.commit == commit.hash]
    counts = Counter(result.status for result in mine)
    told = (str(counts[status]) for status in (Status.OK, Status.FAILED, Status.SKIPPED))
    spent = units.format_seconds(spent_s(mine)) if spent_s(mine) else ""
    return (commit.short, day(commit.date), *told, spent, commit.subject) if mine else ()


def run_plan_text(machine: str, commits: int, *, again: bool = False, in_order: bool = False) -> str:
    """What is about to be measured, and in which order."""
    way = "in a drawn order; " if again else "newest first, then all over the range; "
    fewer = "" if commits <= _MANY else " (--limit N measures fewer)"
    what = f"measuring {plural(commits, 'commit')} on {machine}{fewer}"
    return f"{what}: {'' if in_order else way}interrupt at any time, repeat to resume"


def run_payload(
    results: Sequence[Result],
    records: Sequence[ProcessRecord],
    machine: str,
    commits: Sequence[Commit],
    elapsed_s: float,
) -> dict[str, Any]:
    """The JSON document of one run: figures by commit, failures with their reasons, disturbances."""
    of = {c.hash: Counter(str(r.status) for r in results if r.commit == c.hash) for c in commits}
    failed = failures(results, records)
    return {
        "machine": machine,
        "commits": [
            {"hash": c.hash, "position": c.position, **{s: of[c.hash][s] for s in Status}} for c in commits
        ],
        "failures": [{"commit": commit, "what": what, "error": error} for commit, what, error in failed],
        "disturbances": disturbances(records),
        "elapsed_s": elapsed_s,
    }


def failures(results: Sequence[Result], records: Sequence[ProcessRecord]) -> list[tuple[str, str, str]]:
    """Commit, what failed there and why: one row for each reason, as a broken commit fails dozens alike."""
    errors: dict[tuple[str, str], str] = {}
    for record in _newest(records):
        if record.exit_code != 0 or record.timed_out:
            late = f"timed out after {units.format_seconds(record.wall_s)}"
            why = clean(last_line(record.stderr_tail, f"exit code {record.exit_code}"))
            errors.setdefault((record.commit, record.benchmark), late if record.timed_out else why)
    grouped: dict[tuple[str, str], list[str]] = {}
    failed = set()
    for result in results:
        if result.status is Status.FAILED:
            failed.add((result.commit, result.key.benchmark))
            error = errors.get((result.commit, result.key.benchmark), "no error output was kept")
            grouped.setdefault((result.commit, error), []).append(clean(result.key.label))
    # A process can die outside any benchmark (discovery, setup_cache): that has no result row.
    for (commit, benchmark), error in errors.items():
        if (commit, benchmark) not in failed:
            grouped.setdefault((commit, error), []).append(clean(benchmark) or "(no benchmark)")
    return [
        (commit[:8], what[0] + (f" and {len(what) - 1} more" if len(what) > 1 else ""), error)
        for (commit, error), what in grouped.items()
    ]


def _newest(records: Sequence[ProcessRecord]) -> list[ProcessRecord]:
    """Of each benchmark and parameter the last process: what failed once and then ran is no failure.

    A commit that could not be laid out is none when something of it ran later.
    """
    last = {
        (r.commit, r.benchmark, r.param_index, r.kind): r for r in sorted(records, key=lambda r: r.started_at)
    }
    ran = {r.commit: r.started_at for r in last.values() if r.benchmark}
    return [r for r in last.values() if r.benchmark or ran.get(r.commit, r.started_at) <= r.started_at]


def disturbances(records: Sequence[ProcessRecord]) -> list[str]:
    """What disturbed the benchmark processes, a line for each sign that is above its limit."""
    found = [(one, record) for record in records if (one := disturbance_of(record)) is not None]
    lines = []
    for sign, what in (
        (DisturbedBy.WAITED, "waited for a core"),
        (DisturbedBy.OTHERS, "shared the machine with other work"),
        (DisturbedBy.STEAL, "lost time to the hypervisor"),
    ):
        above = [(one.size(sign), record) for one, record in found if sign in one.causes]
        if above:
            most, worst = max(above, key=lambda pair: pair[0])
            lines.append(
                f"{len(above)} of {len(found)} processes {what}; worst: {clean(worst.benchmark)} at "
                f"{worst.commit[:8]}, {most:.2g} processors taken"
            )
    return lines


def spent_s(results: Iterable[Result]) -> float:
    """Seconds that results took: asv gives all parameters of a benchmark the whole benchmark's time."""
    asked = {(r.commit, r.key.machine, r.key.benchmark, r.started_at, r.duration_s or 0.0) for r in results}
    return sum(seconds for *_, seconds in asked)


def commits_blocks(commits: Sequence[Commit]) -> list[Block]:
    """A table of commits in the order given."""
    if not commits:
        return ["No commits."]
    rows = [(str(c.position or ""), c.short, day(c.date), c.tree[:8], c.subject) for c in commits]
    headers = ("#", "commit", "date", "tree", "subject")
    return [Table(headers, rows, right=(0,), codes=(1, 3), spare=(3, 2)), plural(len(rows), "commit")]


def database_blocks(url: str, counts: Mapping[str, int], places: Sequence[tuple[str, str]]) -> list[Block]:
    """Where the database is, the rows of its tables, and which projects' results it holds."""
    rows = [[name.replace("_", " "), f"{count:,}"] for name, count in counts.items()]
    held = [[name, place.partition(":")[2] or "the results beside the database"] for name, place in places]
    blocks: list[Block] = [url, Table(("table", "rows"), rows, right=(1,))]
    return [*blocks, Table(("project", "imported from"), held)] if held else blocks


def calibration_blocks(found: Mapping[str, SeriesNoise], least_floor: float, note: str) -> list[Block]:
    """What noise the gate has to live with here: a row a series with its rounds, noise a pair, and floor
    (at least `least_floor`)."""
    rows = [
        (series, str(one.rounds), _percent(one.sigma), _percent(max(one.floor, least_floor)))
        for series, one in found.items()
    ]
    head = ("series", "rounds", "noise a pair", "floor")
    return [Table(head, rows, right=(1, 2, 3), codes=(0,)), note]


def _percent(log_ratio: float) -> str:
    return f"{100 * math.expm1(log_ratio):.2f} %"
