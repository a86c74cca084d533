"""`nbbench export`."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbbench.cli.app import App

if TYPE_CHECKING:
    from nbbench.model import Commit, Flag, Result
    from nbbench.record import Store


@click.command()
@click.argument("commit", required=False)
@click.option("--cluster", metavar="ID", help="Cluster folder (default: the setting, CLUSTER-PERF-001).")
@click.option(
    "--out", metavar="DIR", help="Reports root (default: the setting reports_root, below the project)."
)
@click.option(
    "--baseline", metavar="COMMIT", help="Compare with this commit (default: the measured one before)."
)
@click.option("--machine", metavar="NAME", help="Only results of this machine.")
@click.pass_obj
def export(
    app: App,
    commit: str | None,
    cluster: str | None,
    out: str | None,
    baseline: str | None,
    machine: str | None,
) -> None:
    """Write the results of COMMIT (default: the newest measured) as an evidence folder.

    The folder is `<root>/cluster_<ID>/<STAMP>/` with true-UTC stamp, checksums and redacted
    environment; an existing one is never overwritten.
    """
    from nbbench.history.history import current_flags, up_to_date
    from nbbench.record.folders import register_folder
    from nbbench.record.refresh import open_store
    from nbbench.record.stamp import Bundle, create_folder
    from nbbench.report.evidence import render

    now = datetime.now(UTC)
    name = cluster or app.settings.cluster
    root = Path(out) if out else app.settings.root / app.settings.reports_root
    with open_store(app.settings) as store:
        flags = current_flags(store, up_to_date(app.settings, store), app.settings.plan)
        chosen, results = _chosen(store, commit, machine)
        before = _baseline(store, chosen, baseline, machine)
        evidence = _evidence(app, store, chosen, results, before, flags, name)
        folder = create_folder(root, name, now)
        with Bundle(folder) as bundle:
            for file, text in render(evidence(folder.name)).items():
                bundle.add(file, text)
            written = bundle.write()
        register_folder(app.settings, folder, name, chosen.hash, store=store)
    payload = {"folder": str(folder), "stamp": folder.name, "files": [path.name for path in written]}
    app.emit("export", payload, f"{folder}\n" + "\n".join(f"  {path.name}" for path in written))


def _chosen(store: Store, name: str | None, machine: str | None) -> tuple[Commit, list[Result]]:
    from nbbench.errors import InconclusiveError, UsageError

    if name is not None:
        found = store.commit(name)
        if found is None:
            raise UsageError(
                f"no results of commit {name!r}", hint="`nbbench run --commits HASH` measures it"
            )
        return found, _results(store, found, machine)
    for candidate in reversed(store.commits()):
        if results := _results(store, candidate, machine):
            return candidate, results
    raise InconclusiveError("there are no results to export", hint="run `nbbench run` first")


def _results(store: Store, commit: Commit, machine: str | None) -> list[Result]:
    return [r for r in store.results(commit=commit.hash) if machine in (None, r.key.machine)]


def _baseline(
    store: Store, commit: Commit, name: str | None, machine: str | None
) -> tuple[Commit | None, list[Result]]:
    """The commit to compare with: the named one, or the newest measured before on the branch."""
    from nbbench.errors import UsageError

    if name is not None:
        found = store.commit(name)
        if found is None:
            raise UsageError(f"no results of baseline {name!r}")
        return found, _results(store, found, machine)
    commits = store.commits()
    place = next((i for i, c in enumerate(commits) if c.hash == commit.hash), 0)
    for candidate in reversed(commits[:place]):
        if results := [r for r in _results(store, candidate, machine) if r.value is not None]:
            return candidate, results
    return None, []


def _evidence(
    app: App,
    store: Store,
    commit: Commit,
    results: list[Result],
    before: tuple[Commit | None, list[Result]],
    flags: list[Flag],
    cluster: str,
) -> Any:
    """A function from the final STAMP to the evidence (a twin folder gets a suffix)."""
    from nbbench.measure.machine import machine_facts, torch_env_text, torch_versions
    from nbbench.model import Status
    from nbbench.record.redact import redacted_environment
    from nbbench.report.evidence_input import EvidenceInput

    machine = results[0].key.machine if results else ""
    recorded = {m.name: m.facts for m in store.machines()}.get(machine, ())
    records = store.process_records(commit=commit.hash)
    ledgers = [s.ledger for s in store.ledgers() if s.tree == commit.tree and not s.ledger.error]
    started = min((r.started_at for r in results if r.started_at), default=None)
    ended = max((r.started_at for r in records), default=None)
    usable = [r for r in results if r.status is Status.OK]
    ceiling = [r.value for r in usable if r.key.benchmark.endswith("track_copy_ceiling") and r.value]
    base, base_results = before
    said = f"nbbench run --commits {commit.hash}"

    def build(stamp: str) -> EvidenceInput:
        return EvidenceInput(
            stamp=stamp,
            cluster=cluster,
            plan=app.settings.plan,
            commands=(said, f"nbbench export {commit.hash} --cluster {cluster}"),
            cwd=".",
            exit_code=0 if usable else 4,
            blocker="" if usable else "no benchmark of this commit gave a figure",
            commit=commit,
            tree=commit.tree,
            branch=app.settings.branch,
            started_at=started,
            ended_at=ended,
            machine_name=machine,
            machine=tuple(recorded) or tuple(machine_facts().items()),
            versions=tuple(torch_versions().items()),
            environment=tuple(redacted_environment(os.environ)),
            torch_env=torch_env_text(sys.executable),
            results=tuple(results),
            baseline=tuple(base_results),
            baseline_name=base.hash if base else "",
            floor=app.settings.floor,
            flags=tuple(f for f in flags if f.event.recovered_by is None),
            ledgers=tuple(ledgers),
            ceiling=(("copy", ceiling[0]),) if ceiling else (),
            notes=("the environment and torch_env are those of the export, not of the measurement",),
        )

    return build
