"""`nbbench import [DIR]`."""

import dataclasses
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbbench.cli import options
from nbbench.cli.app import App
from nbbench.errors import InconclusiveError, UsageError
from nbbench.words import plural

if TYPE_CHECKING:
    from nbbench.record.importing import ImportReport

# Bad files with one reason that are named each; of more, the first few.
_NAMED = 10
_FIRST = 3


@click.command(name="import")
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--project", metavar="NAME", help="The project that DIR belongs to (default: what DIR says).")
@click.pass_obj
def import_(app: App, folder: str | None, project: str | None) -> None:
    """Load an asv results tree (this project's, or another's) into the regression database.

    May be repeated at any time: unchanged files are skipped, changed ones replaced, and what is gone from
    the tree leaves the database. Files that cannot be read are skipped, counted and named.

    DIR may be a results folder, or the folder of a project or of one machine in it. Another project's
    results have a history of their own: `nbbench regressions --project NAME` judges it. Another checkout of
    this project joins this one's history; where both measured the same, the newer result counts.
    """
    from nbbench.record.projects import find_results, own_project, project_of
    from nbbench.record.refresh import import_all, open_store

    given = options.folder(
        folder or str(app.settings.results_dir), "give the folder that holds asv's benchmarks.json"
    )
    path, meant = find_results(given)
    if meant:
        app.say(meant)
    name = own_project(app.settings)
    own = path.resolve() == app.settings.results_dir.resolve()
    if own and project not in (None, name):
        raise UsageError(f"{path} belongs to this project, {name!r}", hint="leave --project out")
    with open_store(app.settings, project=name, importing=True) as store:
        if own:
            report = import_all(app.settings, store)
        else:
            name = project or project_of(app.settings, store, path)
    if not own:
        with open_store(app.settings, project=name) as store:
            report = import_all(app.settings, store, path)
    text = import_text(report)
    check_import(app, report, text, path)
    if name != own_project(app.settings):
        text += f"\nproject {name!r}: `nbbench regressions --project {name!r}` judges it"
    app.emit("import", {**dataclasses.asdict(report), "project": name}, text, version=2)


def check_import(app: App, report: "ImportReport", text: str, path: Path) -> None:
    """Raises InconclusiveError where the tree at `path` gave nothing; what was skipped is told first."""
    if report.files_new + report.files_changed + report.files_unchanged or report.ledgers:
        return
    if not (bad := report.files_bad):
        raise InconclusiveError(
            f"no asv results in {path}", hint="measure with `nbbench run` or `asv run` first"
        )
    app.say(text)
    raise InconclusiveError(
        f"no asv results in {path} can be used: {plural(len(bad), 'file')} skipped, see above",
        hint=f"the first: {bad[0][0]}: {bad[0][1]}",
    )


def import_text(report: "ImportReport") -> str:
    """What an import brought, in two lines, one for each reason to skip a file, and its notes."""
    lines = [
        f"{report.files_new} new, {report.files_changed} changed, {report.files_unchanged} unchanged files"
    ]
    if report.results:
        lines.append(f"{report.results:,} results ({report.samples:,} samples) of {report.series:,} series")
    others = ("telemetry", "telemetry records"), ("ledgers", "ledgers"), ("decisions", "decisions")
    lines += [f"{count} {what}" for name, what in others if (count := getattr(report, name))]
    if report.files_gone:
        lines.append(f"{report.files_gone} files are gone, and what they held with them")
    if report.odd_values or report.bad_lines:
        lines.append(f"{report.odd_values} unusable values and {report.bad_lines} unusable lines left out")
    by_reason = defaultdict(list)
    for name, reason in report.files_bad:
        by_reason[reason].append(name)
    for reason, names in by_reason.items():
        if len(names) <= _NAMED:
            lines += [f"skipped {name}: {reason}" for name in names]
        else:
            first = ", ".join(names[:_FIRST])
            lines.append(f"skipped {len(names)} files: {reason} ({first} and {len(names) - _FIRST} more)")
    return "\n".join([*lines, *report.notes])
