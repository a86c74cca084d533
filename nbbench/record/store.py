"""What was concluded from the results: commits' places, events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from nbbench.model import Commit, Decision, Event, NotJudged, to_plain
from nbbench.record import schema
from nbbench.record.importing import Importing
from nbbench.record.read import StoreReading
from nbbench.record.shapes import digest_of, dumps


class Store(Importing, StoreReading):
    """The regression database; open it with `Store.open(url)`, best in a `with` statement."""

    def place_commits(self, line: Iterable[Commit], how: str = "") -> None:
        """Take over the order of the branch: these commits, oldest first, and no others.

        `how` stands for what the order was made from, for `placed`. Commits that are not in the line lose
        their places; those of them that have no results leave the database.
        """
        table, c = schema.commits, schema.commits.c
        mine = c.project_id == self.project_id
        new, changed = [], []
        with self.writing() as connection:
            known = {row.hash: row for row in connection.execute(sa.select(table).where(mine))}
            for rank, commit in enumerate(line, 1):
                row = schema.COMMIT.row(commit, rank=rank, project_id=self.project_id)
                if (before := known.get(commit.hash)) is None:
                    new.append(row)
                else:  # what is not said leaves what was known
                    said = {"tree": row["tree"] or before.tree, "subject": row["subject"] or before.subject}
                    changed.append({**row, **said, "number": before.id})
            connection.execute(sa.update(table).where(mine).values(rank=0, position=0))
            if changed:
                connection.execute(sa.update(table).where(c.id == sa.bindparam("number")), changed)
            if new:
                connection.execute(sa.insert(table), new)
            measured = sa.exists().where(schema.results.c.commit_id == c.id)
            connection.execute(sa.delete(table).where(mine, c.rank == 0, ~measured))
            self._set_project(connection, placed=how)

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
        found = [schema.EVENT.row(one, project_id=project, ordinal=i) for i, one in enumerate(events)]
        others = [
            schema.NOT_JUDGED.row(one, project_id=project, ordinal=i) for i, one in enumerate(not_judged)
        ]
        with self.writing() as connection:
            for table, rows in ((schema.events, found), (schema.not_judged, others)):
                connection.execute(sa.delete(table).where(table.c.project_id == project))
                if rows:
                    connection.execute(sa.insert(table), rows)
            self._set_project(connection, detected=dumps(to_plain(dict(run_info or {}))))

    def events(self) -> list[Event]:
        """The events of the last detection, in its order."""
        query = self._mine(sa.select(schema.events), schema.events).order_by(schema.events.c.ordinal)
        with self.reading() as connection:
            return [schema.EVENT.noun(row) for row in connection.execute(query)]

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
        return sorted({name for name, _ in self.places()})

    def fingerprint(self) -> str:
        """Stands for everything of the project that events rest on: files, commits and their order.

        Decisions are not among it: they are read anew with each command.
        """
        f, c = schema.files.c, schema.commits.c
        queries = (
            sa.select(f.path, f.sha256, f.error).where(f.kind != "decision").order_by(f.path, f.sha256),
            sa.select(c.hash, c.tree, c.subject, c.date, c.position, c.rank).order_by(c.hash),
        )
        tables = schema.files, schema.commits
        with self.reading() as connection:
            found = [
                [tuple(map(str, row)) for row in connection.execute(self._mine(query, table))]
                for query, table in zip(queries, tables, strict=True)
            ]
        return digest_of(found)

    def decisions(self) -> list[Decision]:
        """Every decision, oldest first; one that two files hold is one."""
        table = schema.decisions
        query = self._of_files(sa.select(table), table).order_by(table.c.date, table.c.file_id)
        with self.reading() as connection:
            return list(dict.fromkeys(schema.DECISION.noun(row) for row in connection.execute(query)))

    def bad_files(self) -> list[tuple[str, str]]:
        """The files of this project that cannot be used, by path, with the reason."""
        c = schema.files.c
        query = sa.select(c.path, c.error).where(c.error != "").order_by(c.path)
        with self.reading() as connection:
            return [tuple(row) for row in connection.execute(self._mine(query, schema.files))]

    def counts(self) -> dict[str, int]:
        """How many rows each table holds, of all projects; a series counts when it has results."""
        r, s, f = schema.results.c, schema.series.c, schema.files.c
        measured = sa.exists().where(r.series_id == s.id)
        with self.reading() as connection:
            found = {t.name: _count(connection, sa.select(t)) for t in schema.metadata.sorted_tables}
            found["series"] = _count(connection, sa.select(s.id).where(measured))
            found["bad_files"] = _count(connection, sa.select(f.path).where(f.error != ""))
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
