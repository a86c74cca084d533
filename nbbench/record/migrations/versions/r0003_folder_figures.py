"""Evidence folders: what kind they are, how the run ended, and their figures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TEXTS = ("kind", "verdict", "machine")


def upgrade() -> None:
    for name in _TEXTS:
        op.add_column("folders", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("folders", sa.Column("exit_code", sa.BigInteger(), nullable=True))
    op.create_table(
        "folder_figures",
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["folder"], ["folders.path"], name="fk_folder_figures_folder"),
        sa.PrimaryKeyConstraint("folder", "ordinal", name="pk_folder_figures"),
    )


def downgrade() -> None:
    op.drop_table("folder_figures")
    with op.batch_alter_table("folders") as table:
        for name in (*_TEXTS, "exit_code"):
            table.drop_column(name)
