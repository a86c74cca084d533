"""The tables (docs/database.md explains them).

A database of other tables than these is made anew from the results, so there are no migrations. Most
tables follow the nouns: a field that is added to one is a column here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, MetaData, Table, UniqueConstraint
from sqlalchemy.schema import ColumnCollectionConstraint

from nbbench.evidence import EvidenceFigure, Folder
from nbbench.ledger import Ledger
from nbbench.model import Benchmark, ChangePoint, Commit, Decision, Event, NotJudged, ProcessRecord, Result
from nbbench.record.shapes import Shape
from nbbench.record.values import BIG, INT, TEXT, TIME


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """A ledger with the tree, the commit and the torch version that it was measured with."""

    tree: str
    commit: str
    torch: str
    ledger: Ledger


COMMIT = Shape(Commit)
BENCHMARK = Shape(Benchmark)
RESULT = Shape(Result, without={"key", "commit", "unit"})
RECORD = Shape(ProcessRecord, renamed={"commit": "commit_hash"}, indexed={"commit_hash"})
LEDGER = Shape(Ledger, keys={"workload"})
DECISION = Shape(Decision)
EVENT = Shape(Event, without={"changes"})
CHANGE = Shape(ChangePoint, without={"key"})
NOT_JUDGED = Shape(NotJudged)
FOLDER = Shape(Folder, without={"figures"}, renamed={"commit": "commit_hash"}, keys={"path"})
FIGURE = Shape(EvidenceFigure)


def _id() -> Column[int]:
    return Column("id", INT, primary_key=True)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, TEXT, nullable=False, **options)


def _ref(name: str, target: str, **options: Any) -> Column[int]:
    return Column(name, INT, ForeignKey(target), nullable=False, **options)


def _of_project(**options: Any) -> Column[int]:
    return _ref("project_id", "projects.id", **options)


def _of_source() -> Column[int]:
    return Column("source_id", INT, ForeignKey("source_files.id"), primary_key=True)


def _ordinal(**options: Any) -> Column[int]:
    return Column("ordinal", INT, nullable=False, **options)


metadata = MetaData()

# What describes the database itself: which tables it has, and who made them.
meta = Table("meta", metadata, Column("key", TEXT, primary_key=True), _text("value"))

# `detected` says how the events were found, `placed` how the commits were ordered (JSON).
projects = Table("projects", metadata, _id(), _text("name", unique=True), _text("detected"), _text("placed"))

# `rank` counts the commits in the branch's order, from 1, measured paths touched or not; 0 where a commit
# is not of the branch.
commits = Table(
    "commits",
    metadata,
    _id(),
    _of_project(),
    *COMMIT.columns(),
    Column("rank", INT, nullable=False),
    UniqueConstraint("project_id", "hash"),
)

machines = Table(
    "machines", metadata, _id(), _of_project(), _text("name"), _text("facts"),
    UniqueConstraint("project_id", "name"),
)  # fmt: skip

# Digests stand for texts that may be longer than what PostgreSQL can index.
environments = Table(
    "environments",
    metadata,
    _id(),
    _of_project(),
    _text("digest"),
    *(_text(name) for name in ("name", "python", "requirements", "env_vars")),
    UniqueConstraint("project_id", "digest"),
)

benchmarks = Table(
    "benchmarks",
    metadata,
    _id(),
    _of_project(),
    *BENCHMARK.columns(),
    UniqueConstraint("project_id", "name", "version"),
)

# `params` are the values; their names are the benchmark's.
series = Table(
    "series",
    metadata,
    _id(),
    _ref("benchmark_id", "benchmarks.id"),
    _text("digest"),
    _ref("machine_id", "machines.id"),
    _ref("environment_id", "environments.id"),
    _text("params"),
    UniqueConstraint("benchmark_id", "digest"),
)

# A folder of results: "" is the one beside which the database lies.
trees = Table(
    "trees", metadata, _id(), _of_project(), _text("place"), UniqueConstraint("project_id", "place")
)

# What files said, by content: the same file in two checkouts is one source.
source_files = Table(
    "source_files",
    metadata,
    _id(),
    _of_project(),
    *(_text(name) for name in ("path", "sha256", "kind")),
    Column("imported_at", TIME, nullable=False),
    _text("params"),
    _text("durations"),
    UniqueConstraint("project_id", "path", "sha256"),
)

# The files as they lie in a tree; a bad one keeps the source that it was while it was good.
tree_files = Table(
    "tree_files",
    metadata,
    _ref("tree_id", "trees.id", primary_key=True),
    _text("path", primary_key=True),
    Column("size", BIG, nullable=False),
    Column("mtime_ns", BIG, nullable=False),
    *(_text(name) for name in ("sha256", "status", "error")),
    Column("source_id", INT, ForeignKey("source_files.id"), index=True),
)

# `samples` are little-endian float64: lossless, a third of their JSON text, and read about
# ten times as fast; SQL has no use for single samples.
results = Table(
    "results",
    metadata,
    _of_source(),
    Column("series_id", INT, ForeignKey("series.id"), primary_key=True, index=True),
    _ref("commit_id", "commits.id", index=True),
    *RESULT.columns(),
)

process_records = Table(
    "process_records",
    metadata,
    _of_source(),
    Column("line", INT, primary_key=True),
    *RECORD.columns(),
)

ledgers = Table(
    "ledgers",
    metadata,
    _of_source(),
    _text("tree", index=True),
    _text("commit_hash"),
    _text("torch"),
    *LEDGER.columns(),
)

decisions = Table("decisions", metadata, _of_source(), *DECISION.columns())

events = Table(
    "events", metadata, _of_project(primary_key=True), _ordinal(primary_key=True), *EVENT.columns(),
    UniqueConstraint("project_id", "id"),
)  # fmt: skip

change_points = Table(
    "change_points",
    metadata,
    _of_project(primary_key=True),
    Column("event", INT, primary_key=True),
    _ordinal(primary_key=True),
    _ref("series_id", "series.id", index=True),
    *CHANGE.columns(),
    ForeignKeyConstraint(["project_id", "event"], ["events.project_id", "events.ordinal"]),
)

not_judged = Table(
    "not_judged", metadata, _of_project(primary_key=True), _ordinal(primary_key=True), *NOT_JUDGED.columns()
)

folders = Table("folders", metadata, _of_project(primary_key=True), *FOLDER.columns())

folder_figures = Table(
    "folder_figures",
    metadata,
    _of_project(primary_key=True),
    _text("folder", primary_key=True),
    _ordinal(primary_key=True),
    *FIGURE.columns(),
    ForeignKeyConstraint(["project_id", "folder"], ["folders.project_id", "folders.path"]),
)

# The tables that hold what a source said.
OWNED = (results, process_records, ledgers, decisions)


def _digest() -> str:
    # Compiling CREATE statements takes as long as a whole command with nothing new.
    columns = [
        (c.table.name, c.name, type(c.type).__name__, c.nullable, c.primary_key, c.index, c.unique)
        for table in metadata.sorted_tables
        for c in table.c
    ]
    rules = sorted(
        f"{type(rule).__name__} {table.name} {sorted(c.name for c in rule.columns)}"
        for table in metadata.sorted_tables
        for rule in table.constraints
        if isinstance(rule, ColumnCollectionConstraint)
    )
    return hashlib.sha256(f"{columns} {rules}".encode()).hexdigest()[:16]


DIGEST = _digest()
"""Stands for these tables; a database that was made with others is made anew."""
