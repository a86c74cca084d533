"""What was concluded from the results: commits' places, events, folders."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from nbbench.evidence import EvidenceFigure, Folder
from nbbench.model import ChangePoint, Commit, Decision, Event, NotJudged, to_plain
from nbbench.record import schema
from nbbench.record.importing import Importing
from nbbench.record.read import StoreReading, key_from, keyed_series, series_columns
from nbbench.record.rows import digest_of
from nbbench.record.shapes import dumps


class Store(Importing, StoreReading):
    """The regression database; open it with `Store.open(url)`, best in a `with` statement."""

    def place_commits(self, line: Iterable[Commit], how: str = "") -> None:
        """Take over the order of the branch: these commits, oldest first, and no others.

        `how` stands for what the order was made from, for `placed`. Commits that are not in the line lose
        their places; those of them that have no results leave the database.
        """
        table, c = schema.commits, schema.commits.c
        statement = self.insert(table)
        said: dict[str, Any] = {name: statement.excluded[name] for name in ("date", "position", "rank")}
        for name in ("tree", "subject"):  # what is not said leaves what was known
            said[name] = sa.func.coalesce(sa.func.nullif(statement.excluded[name], ""), c[name])
        new = [
            schema.COMMIT.row(commit, rank=rank, project_id=self.project_id)
            for rank, commit in enumerate(line, 1)
        ]
        mine = c.project_id == self.project_id
        with self._forgetting() as connection:
            connection.execute(sa.update(table).where(mine).values(rank=0, position=0))
            if new:
                upsert = statement.on_conflict_do_update(index_elements=["project_id", "hash"], set_=said)
                connection.execute(upsert, new)
            measured = sa.exists().where(schema.results.c.commit_id == c.id)
            connection.execute(sa.delete(table).where(mine, c.rank == 0, ~measured))
            self._set_project(connection, placed=how)
            self._ids.forget()

    def placed(self) -> str:
        """What the present order was made from, as `place_commits` was given it."""
        return str(self._of_project("placed"))

    def save_events(
        self,
        events: Iterable[Event],
        run_info: Mapping[str, Any] | None = None,
        not_judged: Iterable[NotJudged] = (),
    ) -> None:
        """Put these events in place of all that were there; `run_info` says how they were found, and
        `not_judged` which series nothing was found of."""
        project = self.project_id
        with self._forgetting() as connection:
            for table in (schema.change_points, schema.events, schema.not_judged):
                connection.execute(sa.delete(table).where(table.c.project_id == project))
            for ordinal, event in enumerate(events):
                row = schema.EVENT.row(event, project_id=project, ordinal=ordinal)
                connection.execute(sa.insert(schema.events), row)
                ids = self._ids.series(connection, [change.key for change in event.changes])
                place = {"project_id": project, "event": ordinal}
                changes = [
                    schema.CHANGE.row(change, ordinal=i, series_id=ids[change.key], **place)
                    for i, change in enumerate(event.changes)
                ]
                if changes:
                    connection.execute(sa.insert(schema.change_points), changes)
            kept = [
                schema.NOT_JUDGED.row(one, project_id=project, ordinal=i) for i, one in enumerate(not_judged)
            ]
            if kept:
                connection.execute(sa.insert(schema.not_judged), kept)
            self._set_project(connection, detected=dumps(to_plain(dict(run_info or {}))))

    def events(self) -> list[Event]:
        """The events of the last detection, in its order."""
        points, table = schema.change_points, schema.events
        query = (
            sa.select(points, *series_columns())
            .select_from(keyed_series().join(points))
            .where(points.c.project_id == self.project_id)
            .order_by(points.c.event, points.c.ordinal)
        )
        changes: defaultdict[int, list[ChangePoint]] = defaultdict(list)
        with self.reading() as connection:
            for row in connection.execute(query):
                changes[row.event].append(schema.CHANGE.noun(row, key=key_from(row)))
            found = connection.execute(self._mine(sa.select(table), table).order_by(table.c.ordinal))
            return [schema.EVENT.noun(row, changes=tuple(changes[row.ordinal])) for row in found]

    def not_judged(self) -> list[NotJudged]:
        """The series of which the last detection could say nothing, in its order."""
        table = schema.not_judged
        query = self._mine(sa.select(table), table).order_by(table.c.ordinal)
        with self.reading() as connection:
            return [schema.NOT_JUDGED.noun(row) for row in connection.execute(query)]

    def run_info(self) -> dict[str, Any]:
        """How the saved events were found; empty before the first detection."""
        return dict(json.loads(self._of_project("detected") or "{}"))

    def projects(self) -> list[str]:
        """The names of the projects that have results, sorted."""
        p, s = schema.projects.c, schema.source_files.c
        query = sa.select(p.name).where(sa.exists().where(s.project_id == p.id)).order_by(p.name)
        with self.reading() as connection:
            return list(connection.execute(query).scalars())

    def fingerprint(self) -> str:
        """Stands for everything of the project that events rest on: files, commits and their order.

        Decisions are not among it: they are read anew with each command.
        """
        s, c = schema.source_files.c, schema.commits.c
        queries = (
            sa.select(s.path, s.sha256).where(s.kind != "decision").order_by(s.path, s.sha256),
            sa.select(c.hash, c.tree, c.subject, c.date, c.position, c.rank).order_by(c.hash),
        )
        tables = schema.source_files, schema.commits
        with self.reading() as connection:
            found = [
                [tuple(map(str, row)) for row in connection.execute(self._mine(query, table))]
                for query, table in zip(queries, tables, strict=True)
            ]
        return digest_of(found)

    def decisions(self) -> list[Decision]:
        """Every decision, oldest first; one that two files hold is one."""
        table = schema.decisions
        query = self._of_sources(sa.select(table), table).order_by(table.c.date, table.c.source_id)
        with self.reading() as connection:
            return list(dict.fromkeys(schema.DECISION.noun(row) for row in connection.execute(query)))

    def add_folder(self, folder: Folder) -> None:
        """Keep an evidence folder with its figures, in place of what was known of the same path."""
        table, figures = schema.folders, schema.folder_figures
        row = schema.FOLDER.row(folder, project_id=self.project_id)
        upsert = self.insert(table).on_conflict_do_update(index_elements=["project_id", "path"], set_=row)
        place = {"project_id": self.project_id, "folder": folder.path}
        new = [schema.FIGURE.row(figure, ordinal=i, **place) for i, figure in enumerate(folder.figures)]
        with self.writing() as connection:
            connection.execute(upsert, row)
            connection.execute(self._figures_of(folder.path))
            if new:
                connection.execute(sa.insert(figures), new)

    def folders(self) -> list[Folder]:
        """Every evidence folder with its figures, by stamp."""
        c, folders = schema.folder_figures.c, schema.folders
        query = sa.select(schema.folder_figures).order_by(c.folder, c.ordinal)
        figures: defaultdict[str, list[EvidenceFigure]] = defaultdict(list)
        with self.reading() as connection:
            for row in connection.execute(self._mine(query, schema.folder_figures)):
                figures[row.folder].append(schema.FIGURE.noun(row))
            found = self._mine(sa.select(folders), folders).order_by(folders.c.stamp, folders.c.path)
            return [
                schema.FOLDER.noun(row, figures=tuple(figures[row.path])) for row in connection.execute(found)
            ]

    def forget_folder(self, path: str) -> bool:
        """Forget an evidence folder and its figures; False when it was not known."""
        c = schema.folders.c
        with self.writing() as connection:
            connection.execute(self._figures_of(path))
            mine = (c.project_id == self.project_id, c.path == path)
            return connection.execute(sa.delete(schema.folders).where(*mine)).rowcount > 0

    def _figures_of(self, path: str) -> sa.Delete:
        c = schema.folder_figures.c
        return sa.delete(schema.folder_figures).where(c.project_id == self.project_id, c.folder == path)

    def bad_files(self) -> list[tuple[str, str]]:
        """The files of this project that cannot be used, by path, with the reason."""
        f, t = schema.tree_files.c, schema.trees.c
        query = sa.select(f.path, f.error).join(schema.trees).order_by(f.path)
        with self.reading() as connection:
            rows = connection.execute(query.where(t.project_id == self.project_id, f.status == "bad"))
            return [(row.path, row.error) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many rows each table holds, of all projects; a series counts when it has results."""
        r, s, f = schema.results.c, schema.series.c, schema.tree_files.c
        measured = sa.exists().where(r.series_id == s.id)
        with self.reading() as connection:
            found = {t.name: _count(connection, sa.select(t)) for t in schema.metadata.sorted_tables}
            found["series"] = _count(connection, sa.select(s.id).where(measured))
            found["bad_files"] = _count(connection, sa.select(f.path).where(f.status == "bad"))
        found.pop(schema.meta.name)
        return found

    def _of_project(self, column: str) -> Any:
        c = schema.projects.c
        with self.reading() as connection:
            return connection.execute(sa.select(c[column]).where(c.id == self.project_id)).scalar() or ""

    def _set_project(self, connection: sa.Connection, **values: str) -> None:
        table = schema.projects
        connection.execute(sa.update(table).where(table.c.id == self.project_id).values(**values))


def _count(connection: sa.Connection, query: sa.Select[Any]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one())
