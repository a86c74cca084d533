"""`nbbench allocator [COMMIT]`."""

from __future__ import annotations

import click

from nbbench.cli.app import App
from nbbench.cli.options import pattern
from nbbench.cli.pages import emit_blocks, markdown_option


@click.command()
@click.argument("commit", required=False)
@click.option(
    "--bench", metavar="REGEX", default="^bandwidth", show_default=True, help="Workloads to measure."
)
@markdown_option
@click.pass_obj
def allocator(app: App, commit: str | None, bench: str, markdown: str | None) -> int:
    """Measure what the default malloc costs COMMIT (default: the branch's tip), and the remedy.

    Large temporaries are mapped, page-faulted and unmapped again and again unless malloc is told
    to keep them. The verdict counts page faults, so a busy machine does not change it.
    """
    from nbbench.errors import EXIT_OK
    from nbbench.record.machines import machine_name
    from nbbench.report.allocator import allocator_blocks, allocator_payload
    from nbbench.subject.repository import measurable, open_subject
    from nbbench.work.allocator import measure_allocations

    wanted = pattern(bench)
    subject, machine = open_subject(app.settings), machine_name(app.settings)
    which = measurable(subject, commit or f"refs/heads/{subject.branch}")
    rows, notes = measure_allocations(app.settings, which, wanted, say=app.say)
    blocks = allocator_blocks(f"malloc at {which.short} on {machine}", rows, notes)
    payload = {"commit": which, "machine": machine, **allocator_payload(rows, notes)}
    emit_blocks(app, "allocator", payload, blocks, markdown)
    return EXIT_OK
