"""The tables (docs/database.md explains them).

A database of other tables than these is made anew from the results, so there are no migrations. Most
tables follow the nouns: a field that is added to one is a column here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ForeignKey, MetaData, Table, UniqueConstraint
from sqlalchemy.schema import ColumnCollectionConstraint

from nbbench.ledger import Ledger
from nbbench.model import Benchmark, Commit, Decision, Event, NotJudged, ProcessRecord, Result
from nbbench.record.shapes import Shape
from nbbench.record.values import BIG, INT, TEXT


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """A ledger with the tree, the commit and the torch version that it was measured with."""

    tree: str
    commit: str
    torch: str
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a results tree as the database remembers it.

    `path` is relative to the tree, with slashes. `error` says why a file cannot be used; empty for a good
    one. `params` are what asv wrote down of the machine and the Python.
    """

    path: str
    kind: str  # results, benchmarks, machine, telemetry, ledger, decision
    size: int
    mtime_ns: int
    sha256: str
    error: str = ""
    params: tuple[tuple[str, str], ...] = ()


COMMIT = Shape(Commit)
BENCHMARK = Shape(Benchmark)
FILE = Shape(SourceFile)
RESULT = Shape(Result, without={"key", "commit", "unit"})
RECORD = Shape(ProcessRecord, renamed={"commit": "commit_hash"}, indexed={"commit_hash"})
LEDGER = Shape(Ledger, keys={"workload"})
DECISION = Shape(Decision)
EVENT = Shape(Event)
NOT_JUDGED = Shape(NotJudged)


def _id() -> Column[int]:
    return Column("id", INT, primary_key=True)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, TEXT, nullable=False, **options)


def _ref(name: str, target: str, **options: Any) -> Column[int]:
    return Column(name, INT, ForeignKey(target), nullable=False, **options)


def _of_project(**options: Any) -> Column[int]:
    return _ref("project_id", "projects.id", **options)


def _of_file() -> Column[int]:
    return Column("file_id", INT, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True)


def _ordinal() -> Column[int]:
    return Column("ordinal", INT, primary_key=True)


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

benchmarks = Table(
    "benchmarks",
    metadata,
    _id(),
    _of_project(),
    *BENCHMARK.columns(),
    UniqueConstraint("project_id", "name", "version"),
)

# `params` are the values; their names are the benchmark's. The digest stands for the whole key, which may
# be longer than what PostgreSQL can index.
series = Table(
    "series",
    metadata,
    _id(),
    _ref("benchmark_id", "benchmarks.id"),
    *(_text(name) for name in ("digest", "machine", "environment", "params")),
    UniqueConstraint("benchmark_id", "digest"),
)

# The files of results folders: the place "" is the folder beside which the database lies.
files = Table(
    "files",
    metadata,
    _id(),
    _of_project(),
    _text("place"),
    *FILE.columns(),
    UniqueConstraint("project_id", "place", "path"),
)

# `samples` are little-endian float64: lossless, a third of their JSON text, and read about
# ten times as fast; SQL has no use for single samples.
results = Table(
    "results",
    metadata,
    _of_file(),
    Column("series_id", INT, ForeignKey("series.id"), primary_key=True, index=True),
    _ref("commit_id", "commits.id", index=True),
    *RESULT.columns(),
)

process_records = Table(
    "process_records", metadata, _of_file(), Column("line", BIG, primary_key=True), *RECORD.columns()
)

ledgers = Table(
    "ledgers",
    metadata,
    _of_file(),
    _text("tree", index=True),
    _text("commit_hash"),
    _text("torch"),
    *LEDGER.columns(),
)

decisions = Table("decisions", metadata, _of_file(), *DECISION.columns())

events = Table("events", metadata, _of_project(primary_key=True), _ordinal(), *EVENT.columns())

not_judged = Table("not_judged", metadata, _of_project(primary_key=True), _ordinal(), *NOT_JUDGED.columns())


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
