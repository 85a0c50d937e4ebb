"""Receipts that wait for their attempt are kept one by one, so that several in one body can each find theirs."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table; what waited by the old column is read again and waits anew. The column goes with a later version."""
    op.create_table(
        "receipt_waiting",
        sa.Column("receipt_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("reference_index", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("receipt_id", "position", name=op.f("pk_receipt_waiting")),
    )
    op.create_index(op.f("ix_receipt_waiting_reference_index"), "receipt_waiting", ["reference_index"], unique=False)
    op.execute("update receipt set state = 'new', due_at = received_at where state = 'orphan'")
