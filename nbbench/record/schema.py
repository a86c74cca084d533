"""The tables (docs/database.md explains them); migrations/versions holds how they came about."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

# The newest revision in migrations/versions; a test compares them.
HEAD = "0004"

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def clean(text: str) -> str:
    """Text that both engines can hold: PostgreSQL refuses NUL, and neither takes half a surrogate."""
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


class CleanText(TypeDecorator[str]):
    """Text whose unstorable characters are replaced on the way in."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Clean the text that is written."""
        return None if value is None else clean(value)


class UtcTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC (SQLite has no time zones and would drop the offset)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn the time that is written into UTC."""
        if value is not None and value.tzinfo is not UTC:
            if value.tzinfo is None:
                raise ValueError(f"a time without a time zone: {value}")
            return value.astimezone(UTC)
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Mark the time that is read as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, CleanText, nullable=False, **options)


def _ref(name: str, target: str, **options: Any) -> Column[int]:
    return Column(name, Integer, ForeignKey(target), nullable=False, **options)


# Named constraints, so that a later migration can drop one on either engine.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

meta = Table("meta", metadata, Column("key", CleanText, primary_key=True), _text("value"))

commits = Table(
    "commits",
    metadata,
    _id(),
    _text("hash", unique=True),
    _text("tree"),
    Column("date", UtcTime, nullable=False),
    _text("subject"),
    Column("position", Integer, nullable=False),
)

machines = Table("machines", metadata, _id(), _text("name", unique=True), _text("facts"))

environments = Table(
    "environments",
    metadata,
    _id(),
    _text("name", unique=True),
    _text("python"),
    _text("requirements"),
    _text("env_vars"),
)

benchmarks = Table(
    "benchmarks",
    metadata,
    _id(),
    _text("name"),
    _text("version"),
    _text("unit"),
    _text("kind"),
    _text("param_names"),
    _text("params"),
    _text("description"),
    UniqueConstraint("name", "version"),
)

# `digest` stands for the whole key, because parameter values may be longer than what
# PostgreSQL can index.
series = Table(
    "series",
    metadata,
    _id(),
    _text("digest", unique=True),
    _ref("benchmark_id", "benchmarks.id"),
    _ref("machine_id", "machines.id"),
    _ref("environment_id", "environments.id"),
    _text("params"),
)

source_files = Table(
    "source_files",
    metadata,
    _id(),
    _text("path", unique=True),
    _text("kind"),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    _text("sha256"),
    _text("status"),
    _text("error"),
    Column("imported_at", UtcTime, nullable=False),
    _text("params"),
    _text("durations"),
)

# `samples` are little-endian float64: lossless, a third of their JSON text, and read about
# ten times as fast; SQL has no use for single samples.
results = Table(
    "results",
    metadata,
    Column("source_id", Integer, ForeignKey("source_files.id"), primary_key=True),
    Column("series_id", Integer, ForeignKey("series.id"), primary_key=True, index=True),
    _ref("commit_id", "commits.id", index=True),
    _text("status"),
    Column("value", Double),
    Column("ci_lo", Double),
    Column("ci_hi", Double),
    Column("number", BigInteger),
    Column("started_at", UtcTime),
    Column("duration_s", Double),
    Column("samples", LargeBinary),
)

process_records = Table(
    "process_records",
    metadata,
    Column("source_id", Integer, ForeignKey("source_files.id"), primary_key=True),
    Column("line", Integer, primary_key=True),
    _text("commit_hash", index=True),
    _text("environment"),
    _text("benchmark"),
    Column("param_index", BigInteger, nullable=False),
    _text("kind"),
    Column("started_at", UtcTime, nullable=False),
    Column("wall_s", Double),
    Column("exit_code", BigInteger, nullable=False),
    Column("timed_out", Boolean, nullable=False),
    Column("user_s", Double),
    Column("system_s", Double),
    Column("minor_faults", BigInteger, nullable=False),
    Column("major_faults", BigInteger, nullable=False),
    Column("voluntary_switches", BigInteger, nullable=False),
    Column("involuntary_switches", BigInteger, nullable=False),
    Column("max_rss_bytes", BigInteger, nullable=False),
    Column("others_cpu_s", Double),
    Column("steal_s", Double),
    _text("machine"),
    Column("round", BigInteger, nullable=False),
    _text("stderr_tail"),
    _text("extra"),
)

# `lines` and `functions` are compressed JSON: always read together, by tree and workload.
# `image_blocks` are float64 like samples.
ledgers = Table(
    "ledgers",
    metadata,
    Column("source_id", Integer, ForeignKey("source_files.id"), primary_key=True),
    Column("workload", CleanText, primary_key=True),
    _text("tree", index=True),
    _text("commit_hash"),
    _text("torch"),
    Column("pixels", BigInteger, nullable=False),
    Column("ops", BigInteger, nullable=False),
    Column("dispatched", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("upcast_bytes", BigInteger, nullable=False),
    Column("peak_live_bytes", BigInteger, nullable=False),
    _text("bytes_by_dtype"),
    _text("image_sum"),
    _text("image_digest"),
    _text("output_dtype"),
    Column("image_blocks", LargeBinary),
    _text("error"),
    Column("lines", LargeBinary, nullable=False),
    Column("fused_bytes", BigInteger, nullable=False, server_default="0"),
    Column("backward_ops", BigInteger, nullable=False, server_default="0"),
    Column("backward_bytes", BigInteger, nullable=False, server_default="0"),
    Column("peak_line", CleanText),
    Column("notes", CleanText),
    Column("functions", LargeBinary),
)

events = Table(
    "events",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("ordinal", Integer, nullable=False),
    _text("lo_commit"),
    _text("hi_commit"),
    Column("date", UtcTime, nullable=False),
    _text("subject"),
    _text("cause"),
    Column("effect", Double),
    _text("evidence"),
    Column("recovered_by", CleanText),
    _text("direction"),
    _text("phase"),
    Column("predicted", Double),
)

change_points = Table(
    "change_points",
    metadata,
    Column("event_id", CleanText, ForeignKey("events.id"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    _ref("series_id", "series.id", index=True),
    _text("unit"),
    _text("kind"),
    _text("lo_commit"),
    _text("hi_commit"),
    Column("before", Double),
    Column("after", Double),
    Column("effect", Double),
    Column("effect_lo", Double),
    Column("effect_hi", Double),
    Column("p_value", Double),
    _text("direction"),
)

decisions = Table(
    "decisions",
    metadata,
    _id(),
    _text("digest", unique=True),
    _text("event", index=True),
    _text("plan"),
    _text("state"),
    _text("reason"),
    _text("person"),
    Column("date", UtcTime, nullable=False),
    Column("expires", UtcTime),
)

folders = Table(
    "folders",
    metadata,
    Column("path", CleanText, primary_key=True),
    _text("stamp"),
    _text("cluster"),
    _text("commit_hash"),
    _text("sha256"),
    Column("kind", CleanText),
    Column("verdict", CleanText),
    Column("machine", CleanText),
    Column("exit_code", BigInteger),
)

folder_figures = Table(
    "folder_figures",
    metadata,
    Column("folder", CleanText, ForeignKey("folders.path"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    _text("name"),
    Column("value", Double, nullable=False),
    _text("unit"),
    _text("workload"),
)

noise_floors = Table(
    "noise_floors",
    metadata,
    Column("series_id", Integer, ForeignKey("series.id"), primary_key=True),
    Column("floor", Double, nullable=False),
    Column("n", Integer, nullable=False),
    Column("measured_at", UtcTime, nullable=False),
)
