"""`nbbench doctor`."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App
from nbbench.errors import EXIT_OK, EXIT_USAGE
from nbbench.report.blocks import Block, Bullets, Head, Item

if TYPE_CHECKING:
    from nbbench.measure.doctor import DoctorCheck


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
def doctor(app: App, sample: float) -> int:
    """Name what would spoil a measurement here and now, with a remedy for each.

    Exits 0 when measuring is possible, warnings included, and 2 when something prevents it.
    """
    from nbbench.measure.doctor import Level, run_checks, worst

    checks = run_checks(app.settings, os.environ, sample_s=sample)
    level = worst(checks)
    shown = [check for check in checks if not app.quiet or check.level is not Level.OK]
    app.report("doctor", {"level": level, "checks": checks}, checks_blocks(shown))
    return EXIT_USAGE if level is Level.FAIL else EXIT_OK


def checks_blocks(checks: "Sequence[DoctorCheck]") -> list[Block]:
    """The verdict, then a line for each check, with its remedy behind it."""
    from nbbench.measure.doctor import Level, worst

    counts = Counter(check.level for check in checks)
    tone, words = {
        Level.FAIL: ("red", "Measuring is not possible here yet"),
        Level.WARN: ("yellow", "Measuring is possible; the warnings widen intervals or leave criteria open"),
        Level.OK: ("green", "Nothing here would spoil a measurement"),
    }[worst(checks)]
    items = [
        Item(f"{one.finding} -> {one.remedy}" if one.remedy else one.finding, about=f"{one.level} {one.name}")
        for one in checks
    ]
    head = Head(f"{words} ({counts[Level.FAIL]} fail, {counts[Level.WARN]} warn).", tone)
    return [head, *([Bullets(items)] if items else [])]
