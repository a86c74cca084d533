"""docs/database.md tells the truth about the tables, and its SQL runs."""

from __future__ import annotations

import re
from pathlib import Path

from store_trees import row, write_result, write_tree

from nbbench.record import schema
from nbbench.record.refresh import import_results
from nbbench.record.shapes import Shape

TEXT = (Path(__file__).parents[2] / "docs" / "database.md").read_text(encoding="utf-8")

SHAPES = {shape._noun.__name__: shape for shape in vars(schema).values() if isinstance(shape, Shape)}


def test_every_table_and_column_is_described():
    items = re.findall(r"^- `(\w+)`: (.*\n(?:  .*\n)*)", TEXT, re.MULTILINE)
    rows = {name: text.partition("Columns: ")[2] for name, text in items if "Columns: " in text}
    assert set(rows) == set(schema.TABLES)
    for table in schema.TABLES.values():
        described = set(re.findall(r"`(\w+)`", rows[table.name]))
        for noun in re.findall(r"fields\s+of\s+`(\w+)`", rows[table.name]):
            described |= {column.name for column in SHAPES[noun].columns}
        for column in table.columns:
            assert column.name == "id" or column.name in described, f"{table.name}.{column.name}"


def test_the_sql_runs(store, tmp_path):
    write_tree(tmp_path, 3)
    write_result(tmp_path, 4, {"suite.time_run": row([None, 0.5])})
    import_results(store, tmp_path)
    history, failed = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
    with store.reading() as connection:
        assert [r["value"] for r in connection.rows(history)] == [0.5] * 4 + [0.1, 0.2, 0.1 * 3, None]
        assert connection.cursor(failed).fetchall() == [("suite.time_run", "box", 1)]
