"""Anonymising: when it was asked for and is due, legal holds, and which notices carry which documents."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add columns to recipient, an index of those that are due, and notice_document."""
    for name in ("anonymised_at", "shred_at", "held_at"):
        op.add_column("recipient", sa.Column(name, sa.BigInteger(), nullable=True))
    due = sa.text("shred_at is not null and wrapped_key is not null")
    op.create_index("ix_recipient_shred", "recipient", ["shred_at"], unique=False, postgresql_where=due, sqlite_where=due)
    op.create_table(
        "notice_document",
        sa.Column("document_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.PrimaryKeyConstraint("document_id", "notice_id", name=op.f("pk_notice_document")),
    )
    op.create_index(op.f("ix_notice_document_notice_id"), "notice_document", ["notice_id"], unique=False)
