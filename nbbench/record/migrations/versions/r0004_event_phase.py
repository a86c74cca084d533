"""Events: their direction has three values, and they belong to a phase.

Events follow from results, so those on record are dropped; the next command finds them anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    _forget_events()
    with op.batch_alter_table("events") as table:
        table.drop_column("worse")
        table.add_column(sa.Column("direction", sa.Text(), nullable=False))
        table.add_column(sa.Column("phase", sa.Text(), nullable=False))
        table.add_column(sa.Column("predicted", sa.Double()))
    with op.batch_alter_table("change_points") as table:
        table.drop_column("worse")
        table.add_column(sa.Column("direction", sa.Text(), nullable=False))


def downgrade() -> None:
    _forget_events()
    with op.batch_alter_table("events") as table:
        table.drop_column("direction")
        table.drop_column("phase")
        table.drop_column("predicted")
        table.add_column(sa.Column("worse", sa.Boolean(), nullable=False))
    with op.batch_alter_table("change_points") as table:
        table.drop_column("direction")
        table.add_column(sa.Column("worse", sa.Boolean(), nullable=False))


def _forget_events() -> None:
    op.execute("DELETE FROM change_points")
    op.execute("DELETE FROM events")
    op.execute("DELETE FROM meta WHERE key = 'detect'")
