"""`nbbench dtypes [COMMIT]`."""

import click

from nbbench.cli.app import App
from nbbench.cli.options import markdown_option


@click.command()
@click.argument("commit", required=False)
@markdown_option
@click.pass_obj
def dtypes(app: App, commit: str | None, markdown: str | None) -> int:
    """Audit the dtypes of COMMIT (default: the branch's tip).

    Tricubic interpolation (scalar, batch, grid, column, out of range, mixed inputs), a whole
    simulation and source generation run in float32 and float64. Each case tells the dtypes,
    shapes and devices that went in and came out, source lines that computed wider than asked,
    and warnings; `--json` prints the whole dtype_snapshot.json. Exit code 0: neutral;
    3: not neutral; 4: nothing ran.
    """
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REGRESSION
    from nbbench.probe.verdicts import NEUTRAL, NOTHING
    from nbbench.report.audits import dtypes_blocks
    from nbbench.subject.repository import measurable, open_subject
    from nbbench.work.audits import dtype_snapshot

    chosen = measurable(open_subject(app.settings), commit)
    snapshot = dtype_snapshot(app.settings, chosen, say=app.say)
    app.report("dtype-snapshot", snapshot, dtypes_blocks(snapshot), markdown=markdown)
    return {NEUTRAL: EXIT_OK, NOTHING: EXIT_INCONCLUSIVE}.get(snapshot["verdict"], EXIT_REGRESSION)
