"""`nbbench doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbbench.measure.doctor import DoctorCheck
    from nbbench.report.text import Terminal


@click.command(name="doctor")
@click.option(
    "--sample",
    type=click.FloatRange(0.05, 60),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to watch what others use.",
)
@click.pass_obj
def doctor(app: App, sample: float) -> None:
    """Name what would spoil a measurement here and now, with a remedy for each.

    Exits 0 when measuring is possible, warnings included, and 2 when something prevents it.
    """
    import os

    from nbbench.cli.streams import terminal
    from nbbench.errors import EXIT_OK, EXIT_USAGE
    from nbbench.measure.doctor import Level, run_checks, worst

    checks = run_checks(app.settings, os.environ, sample_s=sample)
    level = worst(checks)
    shown = [check for check in checks if not app.quiet or check.level is not Level.OK]
    app.emit("doctor", {"level": level, "checks": checks}, findings_text(shown, terminal()))
    click.get_current_context().exit(EXIT_USAGE if level is Level.FAIL else EXIT_OK)


def findings_text(checks: Sequence[DoctorCheck], term: Terminal) -> str:
    """One line for each check, its remedy below it, and a count at the end."""
    from nbbench.measure.doctor import Level

    colours = {Level.OK: "dim", Level.WARN: "yellow", Level.FAIL: "red"}
    name_width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        level = term.paint(f"{check.level:<4}", colours[check.level])
        lines.append(f"{level}  {check.name:<{name_width}}  {check.finding}")
        if check.remedy:
            lines.append(f"{'':<{name_width + 8}}{term.paint('-> ' + check.remedy, 'bold')}")
    counts = {level: sum(check.level is level for check in checks) for level in Level}
    if counts[Level.FAIL]:
        summary = "Measuring is not possible here yet"
    elif counts[Level.WARN]:
        summary = "Measuring is possible; the warnings widen intervals or leave criteria open"
    else:
        summary = "Nothing here would spoil a measurement"
    counted = f"{counts[Level.FAIL]} fail, {counts[Level.WARN]} warn"
    return "\n".join([*lines, *([""] if lines else []), f"{summary} ({counted})."]) + "\n"
