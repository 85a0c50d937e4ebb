"""The first schema."""

import time

import sqlalchemy as sa
from alembic import op

from noticesvc.storage import partitions

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table; on PostgreSQL the growing ones are partitioned by month."""
    op.create_table(
        "acceptance",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acceptance")),
    )
    op.create_index(op.f("ix_acceptance_subject_id_recorded_at"), "acceptance", ["subject_id", "recorded_at"], unique=False)
    op.create_table(
        "announcement",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("content_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("content_index", sa.LargeBinary(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("effective_at", sa.BigInteger(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement")),
        sa.UniqueConstraint("content_index", name=op.f("uq_announcement_content_index")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("categories", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("name", name=op.f("uq_api_key_name")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_key_secret_hash")),
    )
    op.create_table(
        "attempt",
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("contact_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("intended_at", sa.BigInteger(), nullable=False),
        sa.Column("evidence_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("confirmation", sa.Text(), nullable=True),
        sa.Column("contact_effective_from", sa.BigInteger(), nullable=True),
        sa.Column("call_started_at", sa.BigInteger(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("closed_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("closed_offset", sa.Integer(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("notice_id", "channel", "number", name=op.f("pk_attempt")),
        postgresql_partition_by="RANGE (notice_id)",
    )
    op.create_table(
        "contact",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("confirmation", sa.Text(), nullable=False),
        sa.Column("source_index", sa.LargeBinary(), nullable=False),
        sa.Column("asserted_from", sa.BigInteger(), nullable=True),
        sa.Column("verified_at", sa.BigInteger(), nullable=True),
        sa.Column("effective_from", sa.BigInteger(), nullable=False),
        sa.Column("effective_to", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="usable", nullable=False),
        sa.Column("invalid_by", sa.Text(), server_default="", nullable=False),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
    )
    op.create_index(op.f("ix_contact_address_index"), "contact", ["address_index"], unique=False)
    op.create_index(op.f("ix_contact_subject_id_channel"), "contact", ["subject_id", "channel"], unique=False)
    op.create_table(
        "content",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_content")),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_table(
        "delivery",
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("carries", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("closed", sa.Text(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("lease_owner", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("notice_id", "channel", name=op.f("pk_delivery")),
        postgresql_partition_by="RANGE (notice_id)",
    )
    op.create_index(
        "ix_delivery_announcement",
        "delivery",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("channel = 'announcement' and due_at is not null"),
        sqlite_where=sa.text("channel = 'announcement' and due_at is not null"),
    )
    op.create_index(
        "ix_delivery_due",
        "delivery",
        ["state", "priority", "due_at"],
        unique=False,
        postgresql_where=sa.text("due_at is not null"),
        sqlite_where=sa.text("due_at is not null"),
    )
    op.create_table(
        "document",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document")),
    )
    op.create_index(op.f("ix_document_sha256"), "document", ["sha256"], unique=False)
    op.create_table(
        "evidence",
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("answer", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("authenticated", sa.Boolean(), nullable=False),
        sa.Column("authenticated_by", sa.Text(), nullable=True),
        sa.Column("carries", sa.Text(), nullable=False),
        sa.Column("call_started_at", sa.BigInteger(), nullable=True),
        sa.Column("claimed_at", sa.Text(), nullable=True),
        sa.Column("observed_at", sa.BigInteger(), nullable=False),
        sa.Column("confirmation", sa.Text(), nullable=True),
        sa.Column("contact_in_effect", sa.Boolean(), nullable=False),
        sa.Column("part", sa.SmallInteger(), nullable=True),
        sa.Column("parts", sa.SmallInteger(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("same_raw_as", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("content_matches", sa.Boolean(), nullable=True),
        sa.Column("refers_to", sa.Text(), nullable=True),
        sa.Column("proved_at", sa.BigInteger(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("raw_index", sa.LargeBinary(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("notice_id", "id", name=op.f("pk_evidence")),
        postgresql_partition_by="RANGE (notice_id)",
    )
    op.create_table(
        "idempotency",
        sa.Column("key_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("warnings", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "key_hash", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at"), "idempotency", ["created_at"], unique=False)
    op.create_table(
        "inbox_message",
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("displayed_at", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("notice_id", name=op.f("pk_inbox_message")),
        postgresql_partition_by="RANGE (notice_id)",
    )
    op.create_index(op.f("ix_inbox_message_subject_id_notice_id"), "inbox_message", ["subject_id", "notice_id"], unique=False)
    op.create_table(
        "ledger_bundle",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_ledger_bundle")),
    )
    op.create_table(
        "ledger_checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_ledger_checkpoint")),
    )
    op.create_table(
        "ledger_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_head")),
    )
    op.create_table(
        "ledger_index",
        sa.Column("batch", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch", name=op.f("pk_ledger_index")),
        postgresql_partition_by="RANGE (batch)",
    )
    op.create_table(
        "ledger_key",
        sa.Column("vkey", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("vkey", name=op.f("pk_ledger_key")),
    )
    op.create_table(
        "ledger_pending",
        sa.Column("pos", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("batch", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pos", name=op.f("pk_ledger_pending")),
    )
    op.create_table(
        "ledger_tile",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "n", name=op.f("pk_ledger_tile")),
    )
    op.create_table(
        "link",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_link")),
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("content_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("key_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("ladder_after", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("effective_at", sa.BigInteger(), nullable=True),
        sa.Column("response_window", sa.Text(), nullable=True),
        sa.Column("broadcast_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("reference_index", sa.LargeBinary(), nullable=True),
        sa.Column("case_index", sa.LargeBinary(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("acceptance_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("announcement_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("served", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("served_at", sa.BigInteger(), nullable=True),
        sa.Column("service_channel", sa.Text(), nullable=True),
        sa.Column("service_evidence_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("basis", sa.Text(), nullable=True),
        sa.Column("conflict", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("independent_at", sa.BigInteger(), nullable=True),
        sa.Column("independent_channel", sa.Text(), nullable=True),
        sa.Column("independent_evidence_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("determined_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("determined_offset", sa.Integer(), nullable=True),
        sa.Column("deadlines", sa.Text(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index(
        "ix_notice_broadcast",
        "notice",
        ["broadcast_id", "id"],
        unique=False,
        postgresql_where=sa.text("broadcast_id is not null"),
        sqlite_where=sa.text("broadcast_id is not null"),
    )
    op.create_index(
        "ix_notice_case",
        "notice",
        ["case_index"],
        unique=False,
        postgresql_where=sa.text("case_index is not null"),
        sqlite_where=sa.text("case_index is not null"),
    )
    op.create_index(
        "ix_notice_reference",
        "notice",
        ["reference_index"],
        unique=False,
        postgresql_where=sa.text("reference_index is not null"),
        sqlite_where=sa.text("reference_index is not null"),
    )
    op.create_index(op.f("ix_notice_subject_id_id"), "notice", ["subject_id", "id"], unique=False)
    op.create_table(
        "notice_entry",
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("notice_id", "seq", name=op.f("pk_notice_entry")),
        postgresql_partition_by="RANGE (notice_id)",
    )
    op.create_table(
        "outgoing_event",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.SmallInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outgoing_event")),
    )
    op.create_index(
        "ix_outgoing_event_due",
        "outgoing_event",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("due_at is not null"),
        sqlite_where=sa.text("due_at is not null"),
    )
    op.create_table(
        "provider_reference",
        sa.Column("reference_index", sa.LargeBinary(), nullable=False),
        sa.Column("notice_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reference_index", "notice_id", name=op.f("pk_provider_reference")),
    )
    op.create_table(
        "receipt",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("reference_index", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt")),
    )
    op.create_index(
        "ix_receipt_due",
        "receipt",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("due_at is not null"),
        sqlite_where=sa.text("due_at is not null"),
    )
    op.create_index(
        "ix_receipt_orphan",
        "receipt",
        ["reference_index"],
        unique=False,
        postgresql_where=sa.text("reference_index is not null"),
        sqlite_where=sa.text("reference_index is not null"),
    )
    op.create_table(
        "recipient",
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("recipient_index", sa.LargeBinary(), nullable=True),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("account_state", sa.Text(), nullable=False),
        sa.Column("void_at", sa.BigInteger(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("refuse_commercial", sa.Text(), server_default="", nullable=False),
        sa.Column("source_versions", sa.Text(), server_default="{}", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("subject_seq", sa.Integer(), nullable=False),
        sa.Column("acceptance_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_recipient")),
        sa.UniqueConstraint("recipient_index", name=op.f("uq_recipient_recipient_index")),
    )
    op.create_table(
        "sandbox_message",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sandbox_message")),
        sa.UniqueConstraint("reference", name=op.f("uq_sandbox_message_reference")),
    )
    op.create_table(
        "sandbox_receipt",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sandbox_receipt")),
    )
    op.create_index(op.f("ix_sandbox_receipt_due_at"), "sandbox_receipt", ["due_at"], unique=False)
    op.create_table(
        "subject_entry",
        sa.Column("subject_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("subject_seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("about_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("entry_batch", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("entry_offset", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("subject_id", "subject_seq", name=op.f("pk_subject_entry")),
    )
    op.create_table(
        "template",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_template_name_version")),
    )
    op.create_table(
        "vault_key",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_vault_key")),
    )
    partitions.extend(op.get_bind(), time.time_ns() // 1000)
