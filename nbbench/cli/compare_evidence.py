"""`nbbench compare-evidence A B`."""

from __future__ import annotations

import click

from nbbench.cli.app import App
from nbbench.cli.options import folder, markdown_option


@click.command(name="compare-evidence")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--anyway", is_flag=True, help="Show the figures of folders that are not comparable.")
@click.option("--all", "all_figures", is_flag=True, help="Show every figure, not only those that moved most.")
@markdown_option
@click.pass_obj
def compare_evidence(app: App, a: str, b: str, anyway: bool, all_figures: bool, markdown: str | None) -> int:
    """Hold evidence folder B against A: figures, environment, verdicts, exit codes.

    Refused, with the reasons, when machine, threads, torch, python, flags, command or dtype
    differ, or when a folder's files no longer match its sha256.txt. Commits may differ: that
    is what is compared. Folders made by hand may be given; what they lack is named.
    """
    from nbbench.errors import EXIT_INCONCLUSIVE, EXIT_OK, InconclusiveError
    from nbbench.model import to_plain
    from nbbench.plan import compare_evidence as analysis
    from nbbench.record.evidence_folder import read_folder
    from nbbench.record.stamp import CHECKSUMS, verify_folder
    from nbbench.report.compare_evidence import comparison_blocks

    paths = [folder(one, "give two evidence folders (…/cluster_ID/STAMP)") for one in (a, b)]
    # A folder made by hand often has no checksums at all: that is missing, not damage.
    damage = [tuple(verify_folder(path)) if (path / CHECKSUMS).exists() else () for path in paths]
    found = analysis.compare_evidence(read_folder(paths[0]), read_folder(paths[1]), *damage)
    if not found.comparable and not anyway:
        raise InconclusiveError(
            f"the folders are not comparable: {'; '.join(found.reasons)}",
            hint="--anyway shows the figures, marked as not comparable",
        )
    payload = {"comparable": found.comparable, **to_plain(found)}
    blocks = comparison_blocks(found, all_figures=all_figures)
    app.report("evidence-comparison", payload, blocks, markdown=markdown)
    return EXIT_OK if found.comparable else EXIT_INCONCLUSIVE
