"""What was concluded from the results: commits' places, events, decisions, folders, noise floors."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from nbbench.evidence import EvidenceFigure, Folder
from nbbench.model import (
    ChangePoint,
    Commit,
    Decision,
    Event,
    NotJudged,
    NotJudgedReason,
    SeriesKey,
    to_plain,
)
from nbbench.record import rows, schema
from nbbench.record.importing import Importing
from nbbench.record.read import Reading, keyed_series, series_columns
from nbbench.record.rows import NoiseFloor

_DETECT_INFO = "detect"
_NOT_JUDGED = "not judged"


class Store(Importing, Reading):
    """The regression database; open it with `Store.open(url)`, best in a `with` statement."""

    def upsert_commits(self, commits: Iterable[Commit]) -> int:
        """Add these commits, or fill in what is known of them now; gives their number.

        What a commit does not say (an empty tree or subject, position 0) leaves what was known.
        """
        new = [rows.commit_row(commit) for commit in commits]
        insert, table = self.insert(schema.commits), schema.commits
        told: dict[str, Any] = {"date": insert.excluded.date}
        for name, nothing in (("tree", ""), ("subject", ""), ("position", 0)):
            told[name] = sa.func.coalesce(sa.func.nullif(insert.excluded[name], nothing), table.c[name])
        statement = insert.on_conflict_do_update(index_elements=["hash"], set_=told)
        with self.writing() as connection:
            if new:
                connection.execute(statement, new)
        return len(new)

    def save_events(
        self,
        events: Iterable[Event],
        run_info: Mapping[str, Any] | None = None,
        not_judged: Iterable[NotJudged] = (),
    ) -> None:
        """Put these events in place of all that were there; `run_info` says how they were found, and
        `not_judged` which series nothing was found of."""
        with self._forgetting() as connection:
            connection.execute(sa.delete(schema.change_points))
            connection.execute(sa.delete(schema.events))
            for ordinal, event in enumerate(events):
                connection.execute(sa.insert(schema.events), rows.event_row(event, ordinal))
                ids = self._ids.series(connection, [change.key for change in event.changes])
                changes = [
                    rows.change_row(change, event.id, i, ids[change.key])
                    for i, change in enumerate(event.changes)
                ]
                if changes:
                    connection.execute(sa.insert(schema.change_points), changes)
            insert = self.insert(schema.meta)
            upsert = insert.on_conflict_do_update(
                index_elements=["key"], set_={"value": insert.excluded.value}
            )
            for key, value in ((_DETECT_INFO, dict(run_info or {})), (_NOT_JUDGED, list(not_judged))):
                connection.execute(upsert, {"key": key, "value": rows.dumps(to_plain(value))})

    def events(self) -> list[Event]:
        """The events of the last detection, in its order."""
        points, table = schema.change_points, schema.events
        query = (
            sa.select(points, *series_columns())
            .select_from(keyed_series().join(points))
            .order_by(points.c.event_id, points.c.ordinal)
        )
        changes: defaultdict[str, list[ChangePoint]] = defaultdict(list)
        with self.reading() as connection:
            for row in connection.execute(query):
                changes[row.event_id].append(rows.change_from(row, rows.series_key(row)))
            found = connection.execute(sa.select(table).order_by(table.c.ordinal))
            return [rows.event_from(row, changes[row.id]) for row in found]

    def run_info(self) -> dict[str, Any]:
        """How the saved events were found; empty before the first detection."""
        return dict(self._meta(_DETECT_INFO) or {})

    def not_judged(self) -> list[NotJudged]:
        """The series of which the last detection could say nothing, in its order."""
        return [
            NotJudged(**row | {"reason": NotJudgedReason(row["reason"])})
            for row in self._meta(_NOT_JUDGED) or ()
        ]

    def _meta(self, key: str) -> Any:
        query = sa.select(schema.meta.c.value).where(schema.meta.c.key == key)
        with self.reading() as connection:
            text = connection.execute(query).scalar()
        return json.loads(text) if text else None

    def add_decision(self, decision: Decision) -> bool:
        """Keep a decision; False when the very same one is there already."""
        with self.writing() as connection:
            return bool(self._add_decision(connection, decision))

    def decisions(self) -> list[Decision]:
        """Every decision, oldest first."""
        table = schema.decisions
        with self.reading() as connection:
            found = connection.execute(sa.select(table).order_by(table.c.date, table.c.digest))
            return [rows.decision_from(row) for row in found]

    def add_folder(self, folder: Folder) -> None:
        """Keep an evidence folder with its figures, in place of what was known of the same path."""
        row, figures = rows.folder_row(folder), schema.folder_figures
        statement = self.insert(schema.folders).on_conflict_do_update(index_elements=["path"], set_=row)
        with self.writing() as connection:
            connection.execute(statement, row)
            connection.execute(sa.delete(figures).where(figures.c.folder == folder.path))
            if found := rows.figure_rows(folder):
                connection.execute(sa.insert(figures), found)

    def folders(self) -> list[Folder]:
        """Every evidence folder with its figures, by stamp."""
        c, folders = schema.folder_figures.c, schema.folders
        query = sa.select(schema.folder_figures).order_by(c.folder, c.ordinal)
        figures: defaultdict[str, list[EvidenceFigure]] = defaultdict(list)
        with self.reading() as connection:
            for row in connection.execute(query):
                figures[row.folder].append(EvidenceFigure(row.name, row.value, row.unit, row.workload))
            found = connection.execute(sa.select(folders).order_by(folders.c.stamp, folders.c.path))
            return [rows.folder_from(row, tuple(figures[row.path])) for row in found]

    def forget_folder(self, path: str) -> bool:
        """Forget an evidence folder and its figures; False when it was not known."""
        with self.writing() as connection:
            c = schema.folder_figures.c
            connection.execute(sa.delete(schema.folder_figures).where(c.folder == path))
            done = connection.execute(sa.delete(schema.folders).where(schema.folders.c.path == path))
            return done.rowcount > 0

    def save_noise_floor(
        self, key: SeriesKey, floor: float, n: int, measured_at: datetime | None = None
    ) -> None:
        """Keep the noise floor of a series, in place of an earlier one."""
        row = {"floor": floor, "n": n, "measured_at": measured_at or datetime.now(UTC)}
        insert = self.insert(schema.noise_floors)
        statement = insert.on_conflict_do_update(index_elements=["series_id"], set_=row)
        with self._forgetting() as connection:
            number = self._ids.series(connection, [key])[key]
            connection.execute(statement, row | {"series_id": number})

    def noise_floor(self, key: SeriesKey) -> NoiseFloor | None:
        """The noise floor of a series, if it was measured."""
        c = schema.noise_floors.c
        with self.reading() as connection:
            number = self._ids.find_series(connection, key)
            query = sa.select(c.floor, c.n, c.measured_at).where(c.series_id == number)
            row = connection.execute(query).first() if number is not None else None
        return NoiseFloor(key, *row) if row else None

    def noise_floors(self) -> dict[SeriesKey, NoiseFloor]:
        """Every noise floor by its series, in one query."""
        table = schema.noise_floors
        query = sa.select(table, *series_columns()).select_from(keyed_series().join(table))
        with self.reading() as connection:
            found = [(rows.series_key(row), row) for row in connection.execute(query)]
        return {key: NoiseFloor(key, row.floor, row.n, row.measured_at) for key, row in found}

    def counts(self) -> dict[str, int]:
        """How many rows each table holds; a series counts when it has results."""
        measured = sa.select(schema.results.c.series_id).where(
            schema.results.c.series_id == schema.series.c.id
        )
        bad = schema.source_files.c.status == "bad"
        with self.reading() as connection:
            found = {t.name: _count(connection, sa.select(t)) for t in schema.metadata.sorted_tables}
            found["series"] = _count(connection, sa.select(schema.series.c.id).where(measured.exists()))
            found["bad_files"] = _count(connection, sa.select(schema.source_files.c.id).where(bad))
        found.pop(schema.meta.name)
        return found


def _count(connection: sa.Connection, query: sa.Select[Any]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one())
