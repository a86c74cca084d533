"""`nbbench demo`: the whole job on the embedded subject."""

import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from nbbench.cli.app import App
from nbbench.cli.subject import demo_history
from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK
from nbbench.model import Flag

# Enough to show every planted event in minutes: the times of a few series, what malloc costs, and one count,
# which records the exact work of all workloads of its module; ledgers are series of their own.
BENCHMARKS = (
    r"bandwidth\.Warm\.time_run\((512|1024), 'float32'\)",
    r"bandwidth\.Traffic\.track_minor_faults",
    r"vectorisation\.Tricubic\.time_interpolate\((1|1000), 'float32'\)",
    r"vectorisation\.Sources\.time_generate",
    r"vectorisation\.Counts\.track_operations\('(sources|multi)",
)
# Frames of 1024 x 1024 float64 are enough: what the allocator does to larger ones, it does to the temporary
# of 1024 x 1024 that is planted.
MAX_FRAME_MB = "9"
_MACHINE = "demo"
_AS_PLANTED = "flagged: the planted regressions, each with its cause, and nothing else"
_GATE = {"bench": BENCHMARKS[0], "budget": "30s", "policy": "both"}


@click.command()
@click.option("--dir", "folder", metavar="DIR", help="Where the demo lives (default: demo/ in the project).")
@click.option("--fresh", is_flag=True, help="Start over instead of resuming.")
@click.pass_obj
def demo(app: App, folder: str | None, fresh: bool) -> int:
    """Run the whole job on the embedded subject.

    Measure, import, detect, flag, export, publish, gate, capture a test, show the plan.

    Minutes on two cores. Interrupt at any time; a second run resumes. Everything is written
    into one folder of its own, so the project's committed results stay as they are.
    Exit 4 when something else is flagged than the regressions that are planted.
    """
    root = Path(folder).resolve() if folder else app.settings.root / "demo"
    if fresh:
        shutil.rmtree(root, ignore_errors=True)
    inner = _project(app, root)
    started, item = time.monotonic(), inner.settings.plan
    flags: list[Flag] = []
    steps: list[tuple[str, Callable[[], object]]] = [
        ("write the embedded subject and register it", lambda: _call(inner, "demo", "subject")),
        (
            "measure its commits with asv (resumes where it stopped)",
            lambda: _call(inner, "run", bench=BENCHMARKS),
        ),
        ("import, detect and flag", lambda: flags.extend(_detect(inner))),
        ("export one evidence folder in the STAMP layout", lambda: _call(inner, "export")),
        ("publish the site (asv's own pages beside it)", lambda: _call(inner, "publish")),
        ("gate the tip against the commit before it", lambda: _call(inner, "gate", **_GATE)),
        ("capture the mapped performance test under guard", lambda: _capture(inner)),
        ("hold the plan's criteria against what was measured", lambda: _call(inner, "plan", plan_id=item)),
    ]
    for number, (what, action) in enumerate(steps, start=1):
        app.say(f"\n== {number}/{len(steps)} {what}  [{time.monotonic() - started:.0f} s]")
        action()
    spent_s = time.monotonic() - started
    _closing(app, root, spent_s)
    wrong = _wrong(demo_history(inner.settings).PLANTED, flags)
    app.say("\n  ".join(["not what was planted:", *wrong]) if wrong else _AS_PLANTED)
    app.emit("demo", {"folder": str(root), "wrong": wrong, "elapsed_s": spent_s}, "")
    return EXIT_INCONCLUSIVE if wrong else EXIT_OK


def _wrong(planted: Sequence[Any], flags: Sequence[Flag]) -> list[str]:
    """What is flagged that was not planted, each regression at its commit with its cause, or the reverse."""
    wanted = {one.hash: one.regression for one in planted if one.regression}
    found: dict[str, set[str]] = {}
    for flag in flags:
        found.setdefault(flag.event.hi_commit, set()).add(flag.event.cause)
    wrong = [f"{h[:8]} is flagged, nothing is planted there" for h in found if h not in wanted]
    for commit, cause in wanted.items():
        causes = found.get(commit, set())
        if cause not in causes:
            flagged = f"flagged as {' and '.join(sorted(causes))}" if causes else "not flagged"
            wrong.append(f"{commit[:8]} is {flagged}, planted is {cause}")
    return wrong


def _project(app: App, root: Path) -> App:
    """A project folder of its own: same benchmarks, same plugin, its own results and database."""
    os.environ.setdefault("NBBENCH_MAX_FRAME_MB", MAX_FRAME_MB)
    root.mkdir(parents=True, exist_ok=True)
    benchmarks = app.settings.root / "benchmarks"
    text = (app.settings.root / "asv.conf.json").read_text(encoding="utf-8")
    own = f'"benchmark_dir": {json.dumps(str(benchmarks))}'
    (root / "asv.conf.json").write_text(text.replace('"benchmark_dir": "benchmarks"', own), encoding="utf-8")
    link = root / "benchmarks"
    if not link.exists():
        link.symlink_to(benchmarks, target_is_directory=True)
    overrides = {"machine": _MACHINE}
    return App(quiet=app.quiet, verbose=app.verbose, root=str(root), overrides=overrides, aside=app.json)


def _call(inner: App, name: str, file: str = "", /, **parameters: object) -> object:
    """Run another command's function (of the file of its name) with this app, as the command line would."""
    command = getattr(importlib.import_module(f"nbbench.cli.{file or name}"), name)
    context = click.Context(command, obj=inner)
    with context:
        return context.invoke(command, **parameters)


def _detect(inner: App) -> tuple[Flag, ...]:
    from nbbench.history.history import current_flags, up_to_date
    from nbbench.record.refresh import open_store

    _call(inner, "regressions")
    with open_store(inner.settings) as store:
        flags = current_flags(store, up_to_date(inner.settings, store), inner.settings.plan)
    return tuple(flag for flag in flags if flag.event.worse)


def _capture(inner: App) -> None:
    """The plan's mapped test in the demo's checkout; whatever its outcome, it is evidence."""
    from nbbench.subject.profile import find_preset

    test = find_preset(inner.settings, "cpu-perf").command[-1]
    _call(
        inner,
        "capture",
        # This interpreter's pytest: the environment of `make demo` is on nobody's PATH.
        command=(sys.executable, "-m", "pytest", "-q", test),
        subject=str(inner.settings.state_dir / "demo-subject"),
        out=str(inner.settings.root / inner.settings.reports_root),
    )


def _closing(app: App, root: Path, elapsed_s: float) -> None:
    here = Path.cwd()
    shown = root.relative_to(here) if root.is_relative_to(here) else root
    call = Path(sys.executable).with_name("nbbench")
    call = call.relative_to(here) if call.is_relative_to(here) else call
    reports = sorted(path.parent.relative_to(root) for path in root.glob("reports/**/sha256.txt"))
    lines = [
        f"\ndone in {elapsed_s:.0f} s. Written:",
        f"  {shown}/results/            what asv measured, with telemetry, ledgers and the database",
        f"  {shown}/html/index.html     open it in a browser (works offline)",
        *(f"  {shown}/{folder}/   evidence folder" for folder in reports[-2:]),
        "\nnext, on your own clone:",
        f"  {call} subject use PATH && {call} commits && {call} run --limit 20 --bench bandwidth",
    ]
    app.say("\n".join(lines))
