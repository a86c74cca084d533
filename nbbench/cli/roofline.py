"""`nbbench roofline [COMMIT]`."""

import click

from nbbench.cli.app import App
from nbbench.cli.options import markdown_option, pattern


@click.command()
@click.argument("commit", required=False)
@click.option("--bench", metavar="REGEX", default=".", help="Workloads to show (default: all).")
@markdown_option
@click.pass_obj
def roofline(app: App, commit: str | None, bench: str, markdown: str | None) -> None:
    """Hold the achieved bandwidth of COMMIT (default: the branch's tip) against the machine's ceilings.

    Achieved bandwidth is the ledger's bytes over the measured time. Ceilings follow STREAM's
    rules; workloads that fit in the cache are held against the cache, and workloads that mostly
    call tiny operations are told apart. Everything is measured in one session of warm processes,
    with malloc pinned.
    """
    from nbbench.record.projects import machine_name
    from nbbench.report.audits import roofline_blocks, roofline_payload
    from nbbench.subject.repository import measurable, open_subject
    from nbbench.work.audits import measure_roofline

    wanted = pattern(bench)
    which, machine = measurable(open_subject(app.settings), commit), machine_name(app.settings)
    found = measure_roofline(app.settings, which, wanted, say=app.say)
    blocks = roofline_blocks(f"roofline of {which.short} on {machine}", *found)
    payload = {"commit": which, "machine": machine, **roofline_payload(*found)}
    app.report("roofline", payload, blocks, markdown=markdown)
