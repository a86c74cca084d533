"""`nbbench publish`."""

from __future__ import annotations

import click

from nbbench.cli.app import App
from nbbench.cli.options import project_option


@click.command()
@project_option
@click.option("--page-only", is_flag=True, help="Only the offline page of regressions, without asv's graphs.")
@click.pass_obj
def publish(app: App, page_only: bool) -> None:
    """Write asv's HTML below html/ and, with it, the offline page of flagged regressions.

    asv's own pages load their libraries from the network; the page of regressions opens from
    disk and needs no JavaScript.
    """
    from nbbench.cli.page import PAGE, page_text
    from nbbench.measure.asv_run import run_asv
    from nbbench.record.atomic import write_text

    html = app.settings.html_dir
    page = html / PAGE
    if page_only or app.settings.project:  # asv knows this project's results only
        html.mkdir(parents=True, exist_ok=True)
        write_text(page, page_text(app.settings))
    else:
        app.say("asv publish …")
        run_asv(app.settings, ["publish"])
    wrote = [
        str(path.relative_to(app.settings.root)) for path in (html / "index.html", page) if path.is_file()
    ]
    app.emit("publish", {"wrote": wrote}, "\n".join(f"wrote {name}" for name in wrote))
