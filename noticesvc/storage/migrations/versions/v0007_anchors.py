"""Outside timestamps, cosignatures of witnesses, and what the last self-audits found.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; an old version of the program works on beside them."""
    op.create_table(
        "ledger_timestamp",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("tsa", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("stamped_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_timestamp")),
    )
    op.create_index(op.f("ix_ledger_timestamp_tsa_size"), "ledger_timestamp", ["tsa", "size"], unique=False)
    op.create_table(
        "ledger_cosignature",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("vkey", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size", "vkey", name=op.f("pk_ledger_cosignature")),
    )
    op.create_table(
        "ledger_audit",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False),
        sa.Column("says", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_audit")),
    )
