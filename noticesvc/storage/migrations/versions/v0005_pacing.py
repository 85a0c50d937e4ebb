"""Shared rates, providers to avoid, and attempts to ask a provider about.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; an old version of the program works on beside them."""
    op.add_column("delivery", sa.Column("avoid", sa.Text(), nullable=True))
    op.create_table(
        "provider_pace",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_provider_pace")),
    )
    op.create_table(
        "inquiry",
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("doubted", sa.Boolean(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("notice_id", "channel", "attempt", name=op.f("pk_inquiry")),
    )
    op.create_index(op.f("ix_inquiry_due_at"), "inquiry", ["due_at"], unique=False)
