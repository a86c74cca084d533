"""With what each result file was measured, as asv wrote it down: processor, Python, requirements."""

from __future__ import annotations

import json

import sqlalchemy as sa

from nbbench.record import schema
from nbbench.record.engine import Database
from nbbench.record.read import keyed_series


def file_setups(database: Database) -> dict[tuple[str, str, str], dict[str, str]]:
    """asv's `params` of every result file, by commit, machine and environment."""
    results, other = schema.results, schema.results.alias()
    first = sa.select(sa.func.min(other.c.series_id)).where(other.c.source_id == schema.source_files.c.id)
    query = (
        sa.select(
            schema.source_files.c.params,
            schema.commits.c.hash,
            schema.machines.c.name.label("machine"),
            schema.environments.c.name.label("environment"),
        )
        .select_from(keyed_series().join(results).join(schema.commits).join(schema.source_files))
        .where(
            results.c.series_id == first.scalar_subquery(),
            schema.source_files.c.project_id == database.project_id,
        )
    )
    with database.reading() as connection:
        return {
            (row.hash, row.machine, row.environment): {
                name: str(value) for name, value in json.loads(row.params)
            }
            for row in connection.execute(query)
            if row.params
        }
