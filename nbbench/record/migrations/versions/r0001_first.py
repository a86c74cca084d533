"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    _what_is_measured()
    _what_was_read()
    _side_files()
    _what_was_found()
    _what_was_decided()


def downgrade() -> None:
    for table in (
        "meta",
        "folders",
        "decisions",
        "noise_floors",
        "change_points",
        "events",
        "ledgers",
        "process_records",
        "results",
        "source_files",
        "series",
        "benchmarks",
        "environments",
        "machines",
        "commits",
    ):
        op.drop_table(table)


def _what_is_measured() -> None:
    op.create_table(
        "commits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("tree", sa.Text(), nullable=False),
        sa.Column("date", _time(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_commits"),
        sa.UniqueConstraint("hash", name="uq_commits_hash"),
    )
    op.create_table(
        "machines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_machines"),
        sa.UniqueConstraint("name", name="uq_machines_name"),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("python", sa.Text(), nullable=False),
        sa.Column("requirements", sa.Text(), nullable=False),
        sa.Column("env_vars", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
        sa.UniqueConstraint("name", name="uq_environments_name"),
    )
    op.create_table(
        "benchmarks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("param_names", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_benchmarks"),
        sa.UniqueConstraint("name", "version", name="uq_benchmarks_name_version"),
    )
    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("benchmark_id", sa.Integer(), nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["benchmark_id"], ["benchmarks.id"], name="fk_series_benchmark_id"),
        sa.ForeignKeyConstraint(["environment_id"], ["environments.id"], name="fk_series_environment_id"),
        sa.ForeignKeyConstraint(["machine_id"], ["machines.id"], name="fk_series_machine_id"),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
        sa.UniqueConstraint("digest", name="uq_series_digest"),
    )


def _what_was_read() -> None:
    op.create_table(
        "source_files",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("imported_at", _time(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("durations", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_source_files"),
        sa.UniqueConstraint("path", name="uq_source_files_path"),
    )
    op.create_table(
        "results",
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("commit_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("ci_lo", sa.Double(), nullable=True),
        sa.Column("ci_hi", sa.Double(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("started_at", _time(), nullable=True),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.Column("samples", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["commit_id"], ["commits.id"], name="fk_results_commit_id"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_results_series_id"),
        sa.ForeignKeyConstraint(["source_id"], ["source_files.id"], name="fk_results_source_id"),
        sa.PrimaryKeyConstraint("source_id", "series_id", name="pk_results"),
    )
    op.create_index("ix_results_commit_id", "results", ["commit_id"])
    op.create_index("ix_results_series_id", "results", ["series_id"])


def _side_files() -> None:
    op.create_table(
        "process_records",
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("commit_hash", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("benchmark", sa.Text(), nullable=False),
        sa.Column("param_index", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("started_at", _time(), nullable=False),
        sa.Column("wall_s", sa.Double(), nullable=True),
        sa.Column("exit_code", sa.BigInteger(), nullable=False),
        sa.Column("timed_out", sa.Boolean(), nullable=False),
        sa.Column("user_s", sa.Double(), nullable=True),
        sa.Column("system_s", sa.Double(), nullable=True),
        sa.Column("minor_faults", sa.BigInteger(), nullable=False),
        sa.Column("major_faults", sa.BigInteger(), nullable=False),
        sa.Column("voluntary_switches", sa.BigInteger(), nullable=False),
        sa.Column("involuntary_switches", sa.BigInteger(), nullable=False),
        sa.Column("max_rss_bytes", sa.BigInteger(), nullable=False),
        sa.Column("others_cpu_s", sa.Double(), nullable=True),
        sa.Column("steal_s", sa.Double(), nullable=True),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("stderr_tail", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["source_files.id"], name="fk_process_records_source_id"),
        sa.PrimaryKeyConstraint("source_id", "line", name="pk_process_records"),
    )
    op.create_index("ix_process_records_commit_hash", "process_records", ["commit_hash"])
    op.create_table(
        "ledgers",
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("tree", sa.Text(), nullable=False),
        sa.Column("commit_hash", sa.Text(), nullable=False),
        sa.Column("torch", sa.Text(), nullable=False),
        sa.Column("pixels", sa.BigInteger(), nullable=False),
        sa.Column("ops", sa.BigInteger(), nullable=False),
        sa.Column("dispatched", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("upcast_bytes", sa.BigInteger(), nullable=False),
        sa.Column("peak_live_bytes", sa.BigInteger(), nullable=False),
        sa.Column("bytes_by_dtype", sa.Text(), nullable=False),
        sa.Column("image_sum", sa.Text(), nullable=False),
        sa.Column("image_digest", sa.Text(), nullable=False),
        sa.Column("output_dtype", sa.Text(), nullable=False),
        sa.Column("image_blocks", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("lines", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["source_files.id"], name="fk_ledgers_source_id"),
        sa.PrimaryKeyConstraint("source_id", "workload", name="pk_ledgers"),
    )
    op.create_index("ix_ledgers_tree", "ledgers", ["tree"])


def _what_was_found() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("lo_commit", sa.Text(), nullable=False),
        sa.Column("hi_commit", sa.Text(), nullable=False),
        sa.Column("date", _time(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("worse", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("recovered_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_table(
        "change_points",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("lo_commit", sa.Text(), nullable=False),
        sa.Column("hi_commit", sa.Text(), nullable=False),
        sa.Column("before", sa.Double(), nullable=True),
        sa.Column("after", sa.Double(), nullable=True),
        sa.Column("effect", sa.Double(), nullable=True),
        sa.Column("effect_lo", sa.Double(), nullable=True),
        sa.Column("effect_hi", sa.Double(), nullable=True),
        sa.Column("p_value", sa.Double(), nullable=True),
        sa.Column("worse", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name="fk_change_points_event_id"),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_change_points_series_id"),
        sa.PrimaryKeyConstraint("event_id", "ordinal", name="pk_change_points"),
    )
    op.create_index("ix_change_points_series_id", "change_points", ["series_id"])
    op.create_table(
        "noise_floors",
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("floor", sa.Double(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("measured_at", _time(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name="fk_noise_floors_series_id"),
        sa.PrimaryKeyConstraint("series_id", name="pk_noise_floors"),
    )


def _what_was_decided() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("date", _time(), nullable=False),
        sa.Column("expires", _time(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.UniqueConstraint("digest", name="uq_decisions_digest"),
    )
    op.create_index("ix_decisions_event", "decisions", ["event"])
    op.create_table(
        "folders",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("stamp", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("commit_hash", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_folders"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
