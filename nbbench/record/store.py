"""What was concluded from the results: commits' places, events."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from nbbench.model import Commit, Decision, Event, NotJudged, to_plain
from nbbench.record import schema
from nbbench.record.engine import Connection, lasting
from nbbench.record.importing import Importing
from nbbench.record.read import OF_FILES, RESULTS, StoreReading, measured
from nbbench.record.shapes import digest_of, dumps


class Store(Importing, StoreReading):
    """The regression database; open it with `Store.open(url)`, best in a `with` statement."""

    _found: tuple[list[Event], list[NotJudged], dict[str, Any]] | None = None

    @lasting
    def place_commits(self, line: Collection[Commit], how: str = "") -> None:
        """Take over the order of the branch: these commits, oldest first, and no others.

        `how` stands for what the order was made from, for `placed`. Commits that are not in the line lose
        their places; those of them that have no results leave the database.
        """
        new, changed = [], []
        with self.writing() as connection:
            rows = connection.rows("SELECT * FROM commits WHERE project_id = ?", [self.project_id])
            known = {row["hash"]: row for row in rows}
            for rank, commit in enumerate(line, 1):
                row = schema.COMMIT.row(commit, rank=rank, project_id=self.project_id)
                if (before := known.get(commit.hash)) is None:
                    new.append(row)
                else:  # what is not said leaves what was known
                    said = [row["tree"] or before["tree"], row["subject"] or before["subject"]]
                    changed.append([*said, row["date"], row["position"], rank, before["id"]])
            connection.cursor(
                "UPDATE commits SET rank = 0, position = 0 WHERE project_id = ?", [self.project_id]
            )
            connection.many(
                "UPDATE commits SET tree = ?, subject = ?, date = ?, position = ?, rank = ? WHERE id = ?",
                changed,
            )
            connection.insert("commits", new)
            connection.cursor(
                "DELETE FROM commits WHERE project_id = ? AND rank = 0 "
                "AND NOT EXISTS (SELECT 1 FROM columns WHERE commit_id = commits.id)",
                [self.project_id],
            )
            self._set_project(connection, "placed", how)

    def placed(self) -> str:
        """What the present order was made from, as `place_commits` was given it."""
        return str(self._of_project("placed"))

    @lasting
    def save_events(
        self,
        events: Collection[Event],
        run_info: Mapping[str, Any] | None = None,
        not_judged: Collection[NotJudged] = (),
    ) -> None:
        """Put these events in place of all that were there; `run_info` says how they were found, and
        `not_judged` which series nothing was found of.

        Who can only read keeps them until the store is closed.
        """
        if self.read_only:
            self._found = [*events], [*not_judged], dict(run_info or {})
            return
        project = self.project_id
        found = [schema.EVENT.row(one, project_id=project, ordinal=i) for i, one in enumerate(events)]
        others = [
            schema.NOT_JUDGED.row(one, project_id=project, ordinal=i) for i, one in enumerate(not_judged)
        ]
        with self.writing() as connection:
            for table, rows in (("events", found), ("not_judged", others)):
                connection.cursor(f"DELETE FROM {table} WHERE project_id = ?", [project])
                connection.insert(table, rows)
            self._set_project(connection, "detected", dumps(to_plain(dict(run_info or {}))))

    def events(self) -> list[Event]:
        """The events of the last detection, in its order."""
        if self._found:
            return self._found[0]
        return self.nouns(schema.EVENT, "SELECT * FROM events WHERE project_id = ? ORDER BY ordinal")

    def not_judged(self) -> list[NotJudged]:
        """The series of which the last detection could say nothing, in its order."""
        if self._found:
            return self._found[1]
        return self.nouns(schema.NOT_JUDGED, "SELECT * FROM not_judged WHERE project_id = ? ORDER BY ordinal")

    def run_info(self) -> dict[str, Any]:
        """How the saved events were found; empty before the first detection."""
        return self._found[2] if self._found else dict(json.loads(self._of_project("detected") or "{}"))

    def fingerprint(self) -> str:
        """Stands for everything of the project that events rest on: files, commits and their order.

        Decisions are not among it: they are read anew with each command.
        """
        queries = (
            "SELECT path, sha256, error FROM files WHERE kind <> 'decision' AND project_id = ?",
            "SELECT hash, tree, subject, date, position, rank FROM commits WHERE project_id = ?",
        )
        with self.reading() as connection:
            found = [sorted(map(list, connection.cursor(one, [self.project_id]))) for one in queries]
        return digest_of(found)

    def decisions(self) -> list[Decision]:
        """Every decision, oldest first; one that two files hold is one."""
        query = f"SELECT * FROM decisions WHERE {OF_FILES} ORDER BY date, file_id"
        return list(dict.fromkeys(self.nouns(schema.DECISION, query)))

    def bad_files(self) -> list[tuple[str, str]]:
        """The files of this project that cannot be used, by path, with the reason."""
        query = "SELECT path, error FROM files WHERE error <> '' AND project_id = ? ORDER BY path"
        with self.reading() as connection:
            return [(path, error) for path, error in connection.cursor(query, [self.project_id])]

    def counts(self) -> dict[str, int]:
        """How many rows each table holds, of all projects; a series counts when it has results."""
        asked = {name: name for name in schema.TABLES if name not in ("meta", "series", "results", "columns")}
        asked["bad_files"] = "files WHERE error <> ''"
        with self.reading() as connection:
            found = {name: int(connection.one(f"SELECT count(*) FROM {of}")) for name, of in asked.items()}
            results = int(connection.one(f"SELECT {RESULTS} FROM columns"))
            return found | {"series": len(measured(connection)), "results": results}

    def _of_project(self, column: str) -> Any:
        with self.reading() as connection:
            return connection.one(f"SELECT {column} FROM projects WHERE id = ?", [self.project_id]) or ""

    def _set_project(self, connection: Connection, column: str, value: str) -> None:
        connection.cursor(f"UPDATE projects SET {column} = ? WHERE id = ?", [value, self.project_id])
