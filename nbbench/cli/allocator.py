"""`nbbench allocator [COMMIT]`."""

from __future__ import annotations

import click

from nbbench.cli.app import App
from nbbench.cli.options import pattern
from nbbench.cli.pages import emit_blocks, markdown_option


@click.command()
@click.argument("commit", required=False)
@click.option(
    "--bench",
    metavar="REGEX",
    help="Series to show (default: all), or workloads to measure (default: bandwidth).",
)
@click.option("--measure", is_flag=True, help="Measure now: default malloc, pinned, and the remedy itself.")
@click.option("--machine", metavar="NAME", help="Whose records (default: this machine's, or the only ones).")
@markdown_option
@click.pass_obj
def allocator(
    app: App,
    commit: str | None,
    bench: str | None,
    measure: bool,
    machine: str | None,
    markdown: str | None,
) -> int:
    """Tell what the default malloc costs COMMIT (default: the branch's tip), and the remedy.

    Large temporaries are mapped, page-faulted and unmapped again and again unless malloc is told
    to keep them. Without --measure: from recorded results. The verdict counts page faults, so a
    busy machine does not change it.
    """
    from nbbench.errors import EXIT_OK
    from nbbench.record.branch import measured_commit
    from nbbench.record.machines import choose_machine, machine_name
    from nbbench.record.refresh import import_all, open_store
    from nbbench.report.allocator import allocator_blocks, allocator_payload
    from nbbench.subject.repository import measurable, open_subject
    from nbbench.work import allocator as pipeline

    notes: list[str] = []
    wanted = pattern(bench or ("^bandwidth" if measure else "."))
    if measure:
        subject = open_subject(app.settings)
        which = measurable(subject, commit or subject.branch)
        rows, notes = pipeline.measured(app.settings, which, wanted, say=app.say)
    else:
        with open_store(app.settings) as store:
            import_all(app.settings, store)
            machine = choose_machine(app.settings, store, machine)
            which = measured_commit(app.settings, store, commit, machine)
            rows = pipeline.recorded(app.settings, store, which, wanted, machine)
    name = machine_name(app.settings) if measure else machine
    blocks = allocator_blocks(f"malloc at {which.short} on {name}", rows, notes)
    payload = {"commit": which, "machine": name, "measured": measure, **allocator_payload(rows, notes)}
    emit_blocks(app, "allocator", payload, blocks, markdown)
    return EXIT_OK
