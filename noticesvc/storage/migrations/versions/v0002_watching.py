"""An index over deliveries that wait for no time, so that a dropped notice is seen without reading all of them; and the floor.

The floor names the least version whose programs still understand the tables. A migration that only adds leaves it where
it is, so that hosts of the old and of the new version work side by side; one that takes something away raises it.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_WITHOUT_TIME = "due_at is null and state in ('pending', 'claimed', 'sent', 'unknown')"


def upgrade() -> None:
    """Add it; an old version of the program works on beside it."""
    op.create_index("ix_delivery_without_time", "delivery", ["notice_id"], unique=False, postgresql_where=sa.text(_WITHOUT_TIME),
                    sqlite_where=sa.text(_WITHOUT_TIME))
    floor = op.create_table(
        "schema_floor",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("least", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_floor")),
    )
    op.bulk_insert(floor, [{"id": 1, "least": "0001"}])
