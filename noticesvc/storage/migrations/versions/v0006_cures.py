"""Cures of dead contacts.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table, and the mark on contacts; an old version of the program works on beside it and begins none."""
    op.add_column("contact", sa.Column("cure_due_at", sa.BigInteger(), nullable=True))
    op.create_index("ix_contact_cure", "contact", ["cure_due_at"], unique=False, postgresql_where=sa.text("cure_due_at is not null"),
                    sqlite_where=sa.text("cure_due_at is not null"))
    op.create_table(
        "cure",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("contact_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("evidence_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cure")),
    )
    op.create_index(op.f("ix_cure_subject_id"), "cure", ["subject_id"], unique=False)
    op.create_index(op.f("ix_cure_contact_id_id"), "cure", ["contact_id", "id"], unique=False)
    op.create_index("ix_cure_open", "cure", ["contact_id"], unique=True, postgresql_where=sa.text("state = 'open'"),
                    sqlite_where=sa.text("state = 'open'"))
    for name, column in (("ix_cure_due", "due_at"), ("ix_cure_notice", "notice_id")):
        op.create_index(name, "cure", [column], unique=False, postgresql_where=sa.text(f"{column} is not null"),
                        sqlite_where=sa.text(f"{column} is not null"))
