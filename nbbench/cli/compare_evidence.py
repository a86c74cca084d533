"""`nbbench compare-evidence A B`."""

from __future__ import annotations

import click

from nbbench.cli.app import App
from nbbench.cli.options import folder, markdown_option


@click.command(name="compare-evidence")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@markdown_option
@click.pass_obj
def compare_evidence(app: App, a: str, b: str, markdown: str | None) -> int:
    """Show evidence folder B beside A: conditions, verdicts, exit codes, figures.

    Exit code 4, with the reasons on top, where they are not comparable: machine, threads, torch, python,
    flags, command or dtype differ, or a folder's files no longer match its sha256.txt. Commits may differ:
    that is what is compared. Folders made by hand may be given; what they lack is named.
    """
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK
    from nbbench.record.evidence_folder import read_folder
    from nbbench.report.evidence import comparison_blocks, differences, figure_rows

    first, second = (
        read_folder(folder(one, "give two evidence folders (…/cluster_ID/STAMP)")) for one in (a, b)
    )
    reasons = differences(first, second)
    payload = {"comparable": not reasons, "reasons": reasons, "a": first, "b": second}
    payload["figures"] = figure_rows(first, second)
    blocks = comparison_blocks(first, second)
    app.report("evidence-comparison", payload, blocks, markdown=markdown, version=2)
    return EXIT_INCONCLUSIVE if reasons else EXIT_OK
