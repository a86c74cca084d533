"""summary.md of a captured run, in the sections that the STAMP layout asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nbbench import __version__, units
from nbbench.captured import PASSED, Findings, RunOutcome
from nbbench.report.capture import CaptureEnd, CaptureStart, guarded_line
from nbbench.report.capture_figures import comparison, result_blocks
from nbbench.report.capture_sentences import next_actions, sentences
from nbbench.report.markdown import as_markdown, code, escape
from nbbench.report.summary import bullets, fenced, page, table
from nbbench.words import minute, plural

_FILES = {
    "commands.txt": "the exact command, with STAMP and working directory",
    "summary.md": "this page",
    "metrics.json": "figures of the run",
    "pytest.log": "what the command printed",
    "pytest-2.log": "the end of a long output",
    "stderr.log": "what it printed to stderr",
    "stderr-2.log": "the end of a long stderr",
    "test_records.log": "each test as the pytest plugin saw it, one JSON object a line",
    "time.txt": "resource use (`/usr/bin/time -v`)",
    "exit_code.txt": "exit code of the command",
    "run_metadata.json": "commit, tree, work tree before and after, machine, versions, times",
    "env.txt": "environment variables; values outside the allowlist are redacted",
    "torch_env.txt": "`torch.utils.collect_env` of the interpreter that ran the tests",
    "profile.json": "torch profiler trace",
    "dtype_snapshot.json": "dtypes of the audit",
    "sha256.txt": "checksums: `sha256sum -c sha256.txt`",
}


def opening_summary(start: CaptureStart) -> str:
    """The page that lies in the folder while the command runs, true if nobody ever replaces it."""
    why = "this capture did not finish; `nbbench capture --recover` with this folder completes what it can"
    return summary_md(start, CaptureEnd(outcome=RunOutcome.UNKNOWN, reason=why, recovered=True))


def summary_md(start: CaptureStart, end: CaptureEnd) -> str:
    """The final page, in the sections that the STAMP layout asks for."""
    found = end.findings
    return page(
        f"{escape(start.cluster)}: evidence for {escape(start.plan)}",
        {
            "Status": [escape(end.status)],
            "STAMP": [_stamp_line(start, end)],
            "Command": _command(start),
            "Executive Summary": bullets(_executive(start, end)),
            "Results": [*_usage_table(end), "", *([as_markdown(result_blocks(found))] if found else [])],
            "Environment": _environment(start, end),
            "Comparison to baseline": [as_markdown(comparison(found))]
            if found
            else ["No baseline was found."],
            "Artifacts": bullets(f"{code(name)}{_about(name)}" for name in end.files),
            "Next Actions": _next_actions(end),
        },
    )


def verdict_line(found: Findings) -> str:
    """`verdict: failed, cause: allocator`; what makes a passing test slow is no cause of its verdict."""
    role = "what costs it time" if found.verdict == PASSED else "cause"
    return f"verdict: {found.verdict}{f', {role}: {found.cause}' if found.cause else ''}"


def _stamp_line(start: CaptureStart, end: CaptureEnd) -> str:
    took = "duration unknown" if end.elapsed_s is None else f"took {units.format_seconds(end.elapsed_s)}"
    return f"{code(start.stamp)} (UTC), started {minute(start.started_at)}, {took}"


def _command(start: CaptureStart) -> list[str]:
    return [f"In {code(start.cwd)}:", "", *fenced([guarded_line(start)], "sh")]


def _executive(start: CaptureStart, end: CaptureEnd) -> list[str]:
    said = [f"Run: {escape(end.status)}."]
    if end.findings:
        said.append(f"**{escape(verdict_line(end.findings))}**")
        said += [escape(text) for text in sentences(end.findings, end.outcome)]
    said += [f"**Anomaly**: {escape(text)}." for text in end.all_anomalies]
    if start.waived:
        said.append(f"Signed off against {', '.join(start.waived)}: {escape(start.sign_off)}.")
    if start.changes_before:
        names = ", ".join(code(name) for name, _ in start.changes_before[:5])
        more = len(start.changes_before) - 5
        said.append(
            f"The work tree was not clean before the run: {names}{f' and {more} more' if more > 0 else ''}."
        )
    return said + [escape(text) for text in end.all_notes]


def _usage_table(end: CaptureEnd) -> list[str]:
    usage = end.usage
    if usage is None or not usage.wall_s:
        return []
    rows = [
        ("elapsed", units.format_seconds(usage.wall_s)),
        ("user time", units.format_seconds(usage.user_s)),
        ("system time", units.format_seconds(usage.system_s)),
        ("system share of CPU time", f"{100 * usage.system_share:.1f} %"),
        ("largest resident size", units.format_bytes(usage.max_rss_bytes)),
        ("minor page faults", f"{usage.minor_faults:,}"),
        ("major page faults", f"{usage.major_faults:,}"),
        ("context switches", f"{usage.voluntary_switches:,} voluntary, {usage.involuntary_switches:,} not"),
    ]
    chain = "wait4 (the command with time and timeout around it; time.txt has it without)"
    source = escape(end.time_source) if end.time_source.startswith("wait4") else chain
    return [f"Resource use by {source}:", "", *table(("figure", "value"), rows)]


def _environment(start: CaptureStart, end: CaptureEnd) -> list[str]:
    before = _dirtiness(start.changes_before) if start.commit else "not a git checkout"
    facts = [
        ("branch", start.branch),
        ("commit", start.commit),
        ("tree", start.tree),
        ("work tree before", before),
        (
            "work tree after",
            _dirtiness(end.changes_after) if start.commit and not end.recovered else "",
        ),
        (
            "preset",
            f"{start.preset}, outer timeout {start.timeout_s:g} s{', --profile' if start.profile else ''}",
        ),
        *((f"guard {name}", value) for name, value in start.guards),
        *((f"variable {name}", value) for name, value in start.influences),
        ("interpreter", start.python),
        *start.versions,
        *start.machine,
        ("load before", start.load_before),
        ("load after", end.load_after),
        ("nbbench", __version__),
    ]
    return table(("fact", "value"), [(escape(name), escape(value)) for name, value in facts if value])


def _dirtiness(changes: Sequence[tuple[str, str]]) -> str:
    return plural(len(changes), "changed file") if changes else "clean"


def _about(name: str) -> str:
    return f": {_FILES[name]}" if name in _FILES else ""


def _next_actions(end: CaptureEnd) -> list[str]:
    """What the run's end asks for, then what the figures ask for."""
    again = "then capture again under a fresh STAMP"
    figures = next_actions(end.findings) if end.findings else []
    own = []
    if end.outcome.is_blocked:
        own.append(f"Remove what blocked the run ({end.reason or 'see the logs'}), {again}.")
    elif end.outcome is RunOutcome.FAILED and not figures:
        own.append(f"Find out from the logs why the run did not pass, {again}.")
    if end.all_anomalies:
        own.append(f"Clear up the anomalies before these figures are used, {again}.")
    return bullets(escape(text) for text in [*own, *figures]) or bullets(["None."])


def in_reading_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of a folder's files in the order in which a reader wants them."""
    known = list(_FILES)
    return tuple(sorted(set(names), key=lambda n: (known.index(n) if n in known else len(known), n)))
