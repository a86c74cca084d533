"""Ledgers: fusion, the backward pass, the line at the peak, notes, functions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COUNTS = ("fused_bytes", "backward_ops", "backward_bytes")


def upgrade() -> None:
    for name in _COUNTS:
        op.add_column("ledgers", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("ledgers", sa.Column("peak_line", sa.Text(), nullable=True))
    op.add_column("ledgers", sa.Column("notes", sa.Text(), nullable=True))
    op.add_column("ledgers", sa.Column("functions", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("ledgers") as table:
        for name in (*_COUNTS, "peak_line", "notes", "functions"):
            table.drop_column(name)
