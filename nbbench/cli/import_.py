"""`nbbench import [DIR]`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbbench.cli.app import App

if TYPE_CHECKING:
    from nbbench.record import ImportReport


@click.command(name="import")
@click.argument("folder", metavar="[DIR]", required=False)
@click.pass_obj
def import_(app: App, folder: str | None) -> None:
    """Load an asv results tree (this project's, or another's) into the regression database.

    May be repeated at any time: unchanged files are skipped, changed ones replaced. Files that
    cannot be read are skipped, counted and named. Evidence folders below the reports root are
    registered too.
    """
    from nbbench.errors import InconclusiveError, UsageError
    from nbbench.record import import_results
    from nbbench.record.folders import register_all
    from nbbench.record.refresh import import_all, open_store
    from nbbench.words import plural

    folders = 0
    path = Path(folder) if folder else app.settings.results_dir
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder", hint="give the folder that holds asv's benchmarks.json")
    with open_store(app.settings) as store:
        if path.resolve() == app.settings.results_dir.resolve():
            report = import_all(app.settings, store)
            folders = register_all(app.settings, store)
        else:
            report = import_results(store, path)
    files = report.files_new + report.files_changed + report.files_unchanged
    if not files and not report.ledgers and not folders:
        raise InconclusiveError(
            f"no asv results in {path}", hint="measure with `nbbench run` or `asv run` first"
        )
    text = summary(report)
    text += f"\n{plural(folders, 'evidence folder')} registered" if folders else ""
    app.emit("import", {**dataclasses.asdict(report), "folders": folders}, text)


def summary(report: ImportReport) -> str:
    """What an import brought, in two lines and one for each bad file."""
    lines = [
        f"{report.files_new} new, {report.files_changed} changed, {report.files_unchanged} unchanged files",
        f"{report.results} results ({report.samples} samples) of {report.series} series, "
        f"{report.telemetry} telemetry records, {report.ledgers} ledgers, {report.decisions} decisions",
    ]
    if report.odd_values or report.bad_lines:
        lines.append(f"{report.odd_values} unusable values and {report.bad_lines} unusable lines left out")
    lines += [f"skipped {name}: {reason}" for name, reason in report.files_bad]
    return "\n".join(lines)
