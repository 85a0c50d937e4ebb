"""Certificates: issued PDFs with their hashes, sealed under their recipients' keys."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "certificate",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("grade", sa.Text(), nullable=False),
        sa.Column("lang", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("pdf_sha256", sa.Text(), nullable=False),
        sa.Column("proof_sha256", sa.Text(), nullable=False),
        sa.Column("facts_sha256", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_certificate")),
    )
    for column in ("notice_id", "subject_id", "pdf_sha256"):
        op.create_index(op.f(f"ix_certificate_{column}"), "certificate", [column], unique=False)
