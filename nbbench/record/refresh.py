"""The project's database, opened and brought up to date with the results folder."""

from __future__ import annotations

from nbbench.config import Settings
from nbbench.record import ImportReport, Store, import_results
from nbbench.record.branch import branch_commits


def open_store(settings: Settings, *, create: bool = True) -> Store:
    """The project's regression database."""
    return Store.open(settings.database_url, create=create)


def import_all(settings: Settings, store: Store) -> ImportReport:
    """Import what is new in the results folder, and place its commits on the branch."""
    report = import_results(store, settings.results_dir)
    store.upsert_commits(branch_commits(settings))
    return report
