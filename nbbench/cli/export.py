"""`nbbench export`."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from nbbench.cli.app import App
from nbbench.cli.options import machine_option


@click.command()
@click.argument("commit", required=False)
@click.option("--cluster", metavar="ID", help="Cluster folder (default: the setting cluster).")
@click.option(
    "--out", metavar="DIR", help="Reports root (default: the setting reports_root, below the project)."
)
@machine_option
@click.pass_obj
def export(
    app: App,
    commit: str | None,
    cluster: str | None,
    out: str | None,
    machine: str | None,
) -> int:
    """Write one machine's results of COMMIT (default: the newest measured) as an evidence folder.

    The folder is `<root>/cluster_<ID>/<STAMP>/` with true-UTC stamp, checksums and redacted
    environment; an existing one is never overwritten. Exit 4 where the commit has no figure.
    """
    from nbbench.plan.exporting import gather
    from nbbench.record.evidence_folder import remember_place
    from nbbench.record.refresh import open_store
    from nbbench.record.stamp import create_folder, write_folder
    from nbbench.report.evidence import render
    from nbbench.report.not_judged import plain_not_judged

    name = cluster or app.settings.cluster
    root = Path(out) if out else app.settings.root / app.settings.reports_root
    with open_store(app.settings) as store:
        found = gather(app.settings, store, cluster=name, commit=commit, machine=machine)
        folder = create_folder(root, name, datetime.now(UTC))
        files = [path.name for path in write_folder(folder, render(replace(found, stamp=folder.name)))]
    remember_place(app.settings, folder.parent)
    payload = {
        "folder": str(folder),
        "stamp": folder.name,
        "machine": found.machine,
        "files": files,
        "not_judged": plain_not_judged(found.not_judged),
        "not_judged_count": len(found.not_judged),
    }
    app.emit("export", payload, "\n  ".join([str(folder), *files]))
    return found.exit_code
