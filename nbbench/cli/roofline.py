"""`nbbench roofline [COMMIT]`."""

from __future__ import annotations

from pathlib import Path

import click

from nbbench.cli.app import App
from nbbench.cli.options import in_a_folder, pattern
from nbbench.cli.pages import emit_blocks, markdown_option

_FORMATS = ("png", "svg", "html")


@click.command()
@click.argument("commit", required=False)
@click.option(
    "--bench",
    metavar="REGEX",
    default=".",
    help="Workloads to show (default: bandwidth and vectorisation).",
)
@click.option("--recorded", is_flag=True, help="Use figures in the database; measure nothing.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=in_a_folder,
    metavar="FILE.png|.svg|.html",
    help="Also draw the picture (needs matplotlib: pip install 'nbbench[plot]').",
)
@click.option("--machine", metavar="NAME", help="Whose records (default: this machine's, or the only ones).")
@markdown_option
@click.pass_obj
def roofline(
    app: App,
    commit: str | None,
    bench: str,
    recorded: bool,
    plot: Path | None,
    machine: str | None,
    markdown: str | None,
) -> int:
    """Hold the achieved bandwidth of COMMIT (default: the branch's tip) against the machine's ceilings.

    Achieved bandwidth is the ledger's bytes over the measured time. Ceilings follow STREAM's
    rules; workloads that fit in the cache are held against the cache, and workloads that mostly
    call tiny operations are told apart. Everything is measured in one session of warm processes,
    with malloc pinned.
    """
    from nbbench.errors import EXIT_OK, UsageError
    from nbbench.record.atomic import write_bytes
    from nbbench.record.branch import measured_commit
    from nbbench.record.machines import choose_machine, machine_name
    from nbbench.record.refresh import import_all, open_store
    from nbbench.report.roofline import roofline_blocks, roofline_payload
    from nbbench.report.roofline_plot import draw, matplotlib_figure
    from nbbench.subject.repository import measurable, open_subject
    from nbbench.work import roofline as pipeline

    kind = plot.suffix.lstrip(".").lower() if plot is not None else ""
    if plot is not None and kind not in _FORMATS:
        raise UsageError(
            f"--plot writes .png, .svg or .html, got {plot.name!r}",
            hint="the file's suffix chooses the format",
        )
    wanted = pattern(bench)
    if plot is not None:
        matplotlib_figure()  # missing it is said before a minute of measuring, not after
    if recorded:
        with open_store(app.settings) as store:
            import_all(app.settings, store)
            machine = choose_machine(app.settings, store, machine)
            which = measured_commit(app.settings, store, commit, machine)
            found = pipeline.recorded(app.settings, store, which, wanted, machine)
    else:
        subject = open_subject(app.settings)
        which = measurable(subject, commit or subject.branch)
        found = pipeline.measured(app.settings, which, wanted, say=app.say)
        machine = machine_name(app.settings)
    title = f"roofline of {which.short} on {machine} ({found.source})"
    blocks = roofline_blocks(title, found.roof, found.rows, found.notes)
    figures = roofline_payload(found.roof, found.rows, found.notes)
    payload = {"commit": which, "machine": machine, "source": found.source, **figures}
    emit_blocks(app, "roofline", payload, blocks, markdown)
    if plot is not None:
        write_bytes(plot, draw(kind, title, found.roof, found.rows))
        app.say(f"drawn to {plot}")
    return EXIT_OK
