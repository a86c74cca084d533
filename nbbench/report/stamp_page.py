"""summary.md of an evidence folder, in the sections that the STAMP layout asks for; and that
of a captured run: what happened, the figures of its tests, what to do next.
"""

from collections.abc import Iterable, Mapping, Sequence

from nbbench import __version__, units
from nbbench.captured import Capture, Check, Figure, Findings, RunOutcome, TestRun, Usage
from nbbench.report.audits import cases_table
from nbbench.report.blocks import Block, Bullets, Item, Table, Title
from nbbench.report.capture import capture_status, guarded_line, next_actions, sentences
from nbbench.report.markdown import as_markdown
from nbbench.words import for_markdown as escape
from nbbench.words import minute, plural

FILES = {
    "commands.txt": "the exact command, with STAMP and working directory",
    "summary.md": "this page",
    "metrics.json": "figures",
    "benchmark_results.json": "every sample",
    "pytest.log": "what the command printed",
    "stderr.log": "what it printed to stderr",
    "test_records.log": "each test as the pytest plugin saw it, one JSON object a line",
    "time.txt": "resource use (/usr/bin/time -v)",
    "exit_code.txt": "exit code",
    "run_metadata.json": "commit, tree, work tree, machine, versions, times",
    "env.txt": "environment variables; values outside the allowlist are redacted",
    "torch_env.txt": "torch.utils.collect_env",
    "profile.json": "torch profiler trace",
    "dtype_snapshot.json": "dtypes of the audit",
    "sha256.txt": "checksums: sha256sum -c sha256.txt",
}


def stamp_page(cluster: str, plan: str, sections: Mapping[str, Sequence[Block]]) -> str:
    """A page of sections, every one present; an empty one says that nothing was recorded."""
    parts = [f"# {escape(cluster)}: evidence for {escape(plan)}"]
    for name, blocks in sections.items():
        parts += [f"## {name}", as_markdown(blocks).strip("\n") or "Not recorded."]
    return "\n\n".join(parts) + "\n"


def artifacts(names: Iterable[str]) -> Bullets:
    """The files of a folder, with what each is."""
    return Bullets([Item(FILES.get(name, ""), name) for name in in_reading_order(names)])


def fact_table(facts: Iterable[tuple[str, str]]) -> list[Block]:
    """What is known, by name; what is empty is left out."""
    rows = [pair for pair in facts if pair[1]]
    return [Table(("fact", "value"), rows)] if rows else []


def in_reading_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of a folder's files in the order in which a reader wants them."""
    known = list(FILES)
    return tuple(sorted(set(names), key=lambda n: (known.index(n) if n in known else len(known), n)))


_ROWS = 60  # metrics.json has every figure; a page with more is not read
_BASELINE = (
    "A capture has no baseline of its own: nbbench regressions and nbbench gate tell whether the branch "
    "became slower."
)


def summary_md(capture: Capture) -> str:
    """The page; that of a capture under way is true if nobody ever replaces it."""
    found = capture.findings
    took = (
        "duration unknown" if capture.elapsed_s is None else f"took {units.format_seconds(capture.elapsed_s)}"
    )
    return stamp_page(
        capture.cluster,
        capture.plan,
        {
            "Status": [capture_status(capture)],
            "STAMP": [f"{capture.stamp} (UTC), started {minute(capture.started_at)}, {took}"],
            "Command": [f"In {capture.cwd}:", Bullets([Item(about=guarded_line(capture))])],
            "Executive Summary": [Bullets(_executive(capture))],
            "Results": [
                *(_usage_table(capture.usage, capture.time_source) if capture.usage else []),
                *(result_blocks(found) if found else []),
            ],
            "Environment": fact_table(_facts(capture)),
            "Comparison to baseline": [_BASELINE],
            "Artifacts": [artifacts(capture.files)],
            "Next Actions": [Bullets(_next_actions(capture) or ["None."])],
        },
    )


def _executive(capture: Capture) -> list[str]:
    said, found = [f"Run: {capture_status(capture)}."], capture.findings
    if found:
        said += sentences(found, capture.outcome)
    said += [f"Anomaly: {text}." for text in capture.anomalies]
    if capture.waived:
        said.append(f"Signed off against {', '.join(capture.waived)}: {capture.sign_off}.")
    if before := capture.changes_before:
        names = ", ".join(name for name, _ in before[:5])
        more = f" and {len(before) - 5} more" if len(before) > 5 else ""
        said.append(f"The work tree was not clean before the run: {names}{more}.")
    return [*said, *capture.notes]


def _usage_table(usage: Usage, source: str) -> list[Block]:
    rows = [
        ("elapsed", units.format_seconds(usage.wall_s)),
        ("user time", units.format_seconds(usage.user_s)),
        ("system time", units.format_seconds(usage.system_s)),
        ("system share of CPU time", f"{100 * usage.system_s / (usage.cpu_s or 1):.1f} %"),
        ("largest resident size", units.format_bytes(usage.max_rss_bytes)),
        ("minor page faults", f"{usage.minor_faults:,}"),
        ("major page faults", f"{usage.major_faults:,}"),
        ("context switches", f"{usage.voluntary_switches:,} voluntary, {usage.involuntary_switches:,} not"),
    ]
    if not source.startswith("wait4"):
        source = "wait4 (the command with time and timeout around it; time.txt has it without)"
    return [f"Resource use by {source}:", Table(("figure", "value"), rows)]


def _facts(capture: Capture) -> list[tuple[str, str]]:
    ended = bool(capture.commit and capture.ended_at)
    profile = ", --profile" if capture.profile else ""
    return [
        ("branch", capture.branch),
        ("commit", capture.commit),
        ("tree", capture.tree),
        ("work tree before", _dirtiness(capture.changes_before) if capture.commit else "not a git checkout"),
        ("work tree after", _dirtiness(capture.changes_after) if ended else ""),
        ("preset", f"{capture.preset}, outer timeout {capture.timeout_s:g} s{profile}"),
        *((f"guard {name}", value) for name, value in capture.guards),
        *((f"variable {name}", value) for name, value in capture.influences),
        ("interpreter", capture.python),
        *capture.versions,
        *capture.machine,
        ("load before", capture.load_before),
        ("load after", capture.load_after),
        ("nbbench", __version__),
    ]


def _dirtiness(changes: Sequence[tuple[str, str]]) -> str:
    return plural(len(changes), "changed file") if changes else "clean"


def _next_actions(capture: Capture) -> list[str]:
    """What the run's end asks for, then what the figures ask for."""
    again = "then capture again under a fresh STAMP"
    figures = next_actions(capture.findings, capture.outcome) if capture.findings else []
    own = []
    if capture.outcome.is_blocked:
        own.append(f"Remove what blocked the run ({capture.reason or 'see the logs'}), {again}.")
    elif capture.outcome is RunOutcome.FAILED and not figures:
        own.append(f"Find out from the logs why the run did not pass, {again}.")
    if capture.anomalies:
        own.append(f"Clear up the anomalies before these figures are used, {again}.")
    return [*own, *figures]


def result_blocks(found: Findings) -> list[Block]:
    """The tables below Results, those that have rows."""
    run = found.run
    blocks = [
        *(_tests_table(run) if run.started else []),
        *_figures_table(found.figures),
        *_checks_table(found.checks),
    ]
    return [*blocks, Title("dtype audit"), cases_table(found.audit)] if found.audit else blocks


def _tests_table(run: TestRun) -> list[Block]:
    rows = [
        (test.nodeid, test.outcome, units.format_seconds(test.duration_s), *_cost(test.usage))
        for test in run.tests[:_ROWS]
    ]
    heads = ("test", "outcome", "duration", "user", "system", "minor faults", "involuntary switches")
    return _titled("Tests", Table(heads, rows, right=(2, 3, 4, 5, 6), codes=(0,)), len(run.tests))


def _cost(usage: Usage | None) -> tuple[str, ...]:
    if usage is None:
        return ("n/a",) * 4
    times = (units.format_seconds(seconds) for seconds in (usage.user_s, usage.system_s))
    return (*times, f"{usage.minor_faults:,}", f"{usage.involuntary_switches:,}")


def _figures_table(figures: Sequence[Figure]) -> list[Block]:
    rows = [(f.name, f"{_printed(f)} {f.unit}".strip(), f.line) for f in figures[:_ROWS]]
    table = Table(("figure", "as printed", "source line"), rows, right=(1,), codes=(2,))
    return _titled("Figures that the tests printed", table, len(figures))


def _printed(figure: Figure) -> str:
    """The value with the digits that were printed: 0.0 where that is what the line says."""
    decimals = 0
    while decimals < 15 and 0 < figure.resolution < 0.49 * 10.0**-decimals:
        decimals += 1
    return f"{figure.value:,.{decimals}f}"


def _checks_table(checks: Sequence[Check]) -> list[Block]:
    rows = [
        (
            c.name,
            f"{c.value:.4g}",
            f"{c.op} {c.threshold:g}",
            "holds" if c.passed else "does not hold",
            c.text,
        )
        for c in checks[:_ROWS]
    ]
    heads = ("asserted", "value", "threshold", "verdict", "source")
    return _titled("Assertions", Table(heads, rows, right=(1, 2), codes=(0, 4)), len(checks))


def _titled(title: str, table: Table, count: int) -> list[Block]:
    if not table.rows:
        return []
    more = count - len(table.rows)
    blocks: list[Block] = [Title(title), table]
    return [*blocks, f"{more} more in metrics.json."] if more > 0 else blocks
