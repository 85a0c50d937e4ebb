"""Broadcasts, their audiences, and what changed of their counts."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "broadcast",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("channels", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=True),
        sa.Column("effective_at", sa.BigInteger(), nullable=True),
        sa.Column("rates", sa.Text(), server_default="{}", nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=True),
        sa.Column("approved_by", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("lane", sa.SmallInteger(), nullable=True),
        sa.Column("content_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("sealed_approval", sa.LargeBinary(), nullable=True),
        sa.Column("total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expanded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expanded_to", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("cancelled_to", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("counts", sa.Text(), server_default="{}", nullable=False),
        sa.Column("samples", sa.Text(), server_default="[]", nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broadcast")),
    )
    for name, column in (("ix_broadcast_due", "due_at"), ("ix_broadcast_lane", "lane")):
        op.create_index(name, "broadcast", [column], unique=False, postgresql_where=sa.text(f"{column} is not null"),
                        sqlite_where=sa.text(f"{column} is not null"))
    op.create_table(
        "broadcast_recipient",
        sa.Column("broadcast_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("skipped", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("broadcast_id", "subject_id", name=op.f("pk_broadcast_recipient")),
    )
    op.create_table(
        "broadcast_delta",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("broadcast_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broadcast_delta")),
    )
    op.create_index(op.f("ix_broadcast_delta_broadcast_id"), "broadcast_delta", ["broadcast_id"], unique=False)
    op.create_table(
        "broadcast_response",
        sa.Column("broadcast_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("express", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("broadcast_id", "notice_id", "response", name=op.f("pk_broadcast_response")),
    )
