"""`nbbench capture -- COMMAND`."""

import os
import sys
from pathlib import Path

import click

import nbbench
from nbbench.captured import Capture, RunOutcome
from nbbench.cli import options
from nbbench.cli.app import App
from nbbench.config import Settings, checkout_settings, find_root, load_settings
from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REGRESSION, ConfigError, UsageError


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--preset",
    metavar="NAME",
    default="cpu-perf",
    show_default=True,
    help="Guards, timeout, default command.",
)
@click.option("--cluster", metavar="ID", help="Cluster folder (default: the preset's, then the setting).")
@click.option("--subject", metavar="DIR", default=".", help="The subject's checkout (default: here).")
@click.option(
    "--out", metavar="DIR", help="Reports root (default: the setting reports_root, below the checkout)."
)
@click.option("--timeout", metavar="S", type=click.FloatRange(min=0.1), help="Outer timeout in seconds.")
@click.option("--sign-off", metavar="REASON", default="", help="Waive broken guards; the reason is recorded.")
@click.option("--profile", is_flag=True, help="Add the torch profiler's trace (profile.json).")
@click.pass_obj
def capture(
    app: App,
    command: tuple[str, ...],
    preset: str,
    cluster: str | None,
    subject: str,
    out: str | None,
    timeout: float | None,
    sign_off: str,
    profile: bool,
) -> int:
    """Run COMMAND under guard and keep everything as an evidence folder in the STAMP layout.

    Run it in the subject's checkout. The folder `<root>/cluster_<ID>/<STAMP>/` holds the command,
    its logs, exit code and resource use, the environment without credentials, the figures of the
    tests and a summary; docs/evidence.md describes each file. Without COMMAND the preset's runs:
    cpu-perf the memory bandwidth test of AT-PERF-003, vec-dtype the tricubic tests and a dtype audit.

    \b
      nbbench capture --cluster CLUSTER-PERF-001
      nbbench capture --preset vec-dtype
      nbbench capture --profile -- pytest -vv tests/test_at_perf_003.py

    \b
    Exit codes: 0 the command passed and the evidence is whole; 3 it failed; 4 blocked (timeout,
    signal, no such test or program) or doubtful (work tree or packages changed, figures missing);
    2 a guard does not hold, or nothing could be written; 130, 143 or 129 interrupted (SIGINT,
    SIGTERM, SIGHUP). exit_code.txt has the command's own code.
    """
    from nbbench.capture.logs import Screen
    from nbbench.capture.run import run_capture
    from nbbench.capture.session import CaptureRequest
    from nbbench.record.evidence_folder import remember_place
    from nbbench.subject.profile import find_preset

    checkout = options.folder(subject, "--subject names the subject's checkout").resolve()
    settings = _settings(app, checkout)
    chosen = find_preset(settings, preset)
    words = command or chosen.command
    if not words:
        raise UsageError(f"preset {preset} has no command of its own", hint="nbbench capture -- COMMAND")
    sys.stdout.flush()
    # The command's output where the user sees it; stdout stays free for --json.
    screens = (None, None) if app.quiet else (2 if app.json or app.aside else 1, 2)
    request = CaptureRequest(
        preset=chosen,
        command=words,
        cluster=cluster if cluster is not None else chosen.cluster or settings.cluster,
        subject=checkout,
        reports=Path(out).resolve() if out else checkout / settings.reports_root,
        timeout_s=timeout,
        sign_off=sign_off.strip(),
        profile=profile,
        screens=(Screen(screens[0]), Screen(screens[1])),
        say=app.say,
    )
    folder, done = run_capture(settings, request, os.environ)
    if settings.is_project:
        remember_place(settings, folder.parent)
    return _emit(app, folder, done)


def _settings(app: App, checkout: Path) -> Settings:
    """The project's settings, wherever the subject lies.

    --root, else upwards from here, else the checkout that nbbench itself is installed from; with
    none of them the defaults.
    """
    if app.root is not None:
        return app.settings
    for place in (Path.cwd(), Path(nbbench.__file__).parent):
        try:
            return load_settings(find_root(place), overrides=app.overrides)
        except ConfigError as error:
            if "no asv.conf.json" not in str(error):
                raise
    return checkout_settings(checkout)


def _emit(app: App, folder: Path, done: Capture) -> int:
    """Print what came of a capture; nbbench's own exit code for it is in the command's help."""
    from nbbench.report.capture import capture_status, sentences

    found, status = done.findings, capture_status(done)
    payload = {
        "folder": str(folder),
        "stamp": done.stamp,
        "cluster": done.cluster,
        "status": status,
        "outcome": done.outcome,
        "command_exit_code": done.exit_code,
        "verdict": done.outcome.verdict if found else None,
        "anomalies": done.anomalies,
        "notes": done.notes,
        "files": done.files,
    }
    lines = [status, *(sentences(found, done.outcome) if found else [])]
    lines += [f"anomaly: {text}" for text in done.anomalies]
    lines += [f"note: {text}" for text in done.notes]
    app.emit("capture", payload, "\n".join([*lines, str(folder / "summary.md")]), version=2)
    if done.outcome is RunOutcome.INTERRUPTED:
        return 128 + (done.signalled or 2)
    if done.outcome is RunOutcome.FAILED:
        return EXIT_REGRESSION
    return EXIT_OK if done.outcome is RunOutcome.PASSED and not done.anomalies else EXIT_INCONCLUSIVE
