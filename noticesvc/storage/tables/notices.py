"""Notices, what they say, and everything that happens to them."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, UniqueConstraint, text

from noticesvc.storage.tables.base import Id, Micros, entry_columns, growing, metadata

template = Table(
    "template", metadata,
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Micros, nullable=False),
    UniqueConstraint("name", "version"),
)

document = Table(
    "document", metadata,
    Column("id", Id, primary_key=True),
    Column("sha256", LargeBinary, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("wrapped_key", LargeBinary),
    Column("sealed", LargeBinary),
    Column("created_at", Micros, nullable=False),
    Index(None, "sha256"),  # contents name their documents by hash
)

notice_document = Table(  # which notices carry a document: it is destroyed with the last recipient who was sent it
    "notice_document", metadata,
    Column("document_id", Id, primary_key=True),
    Column("notice_id", Id, primary_key=True),
    Index(None, "notice_id"),
)

content = Table(  # what notices say; `subject_id` null: shared by many, sealed under the system key
    "content", metadata,
    Column("id", Id, primary_key=True),
    Column("subject_id", Id),
    Column("sealed", LargeBinary),  # openings: content, content_sha256
    *entry_columns(),
    **growing("content"),
)

notice = Table(
    "notice", metadata,
    Column("id", Id, primary_key=True),
    Column("subject_id", Id, nullable=False),
    Column("content_id", Id, nullable=False),
    Column("key_id", Id, nullable=False),
    Column("category", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("ladder_after", Text),
    Column("rule", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("accepted_at", Micros, nullable=False),
    Column("not_before", Micros),
    Column("expires_at", Micros),
    Column("effective_at", Micros),
    Column("response_window", Text),  # JSON
    Column("broadcast_id", Id),
    Column("reference_index", LargeBinary),
    Column("case_index", LargeBinary),
    Column("sealed", LargeBinary),  # openings of notice.accepted
    Column("acceptance_id", Id),
    Column("announcement_id", Id),
    Column("seq", Integer, nullable=False),
    # the last determined result of service, as in service.determined
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("served", Boolean, nullable=False, server_default=text("false")),
    Column("served_at", Micros),
    Column("service_channel", Text),
    Column("service_evidence_id", Id),
    Column("basis", Text),
    Column("conflict", Boolean, nullable=False, server_default=text("false")),
    Column("independent_at", Micros),
    Column("independent_channel", Text),
    Column("independent_evidence_id", Id),
    Column("determined_batch", Id),  # the first service.determined; later ones are in notice_entry
    Column("determined_offset", Integer),
    Column("deadlines", Text),  # JSON: the deadlines as last set
    *entry_columns(),
    Index(None, "subject_id", "id"),
    Index("ix_notice_reference", "reference_index", postgresql_where=text("reference_index is not null"),
          sqlite_where=text("reference_index is not null")),
    Index("ix_notice_case", "case_index", postgresql_where=text("case_index is not null"),
          sqlite_where=text("case_index is not null")),
    Index("ix_notice_broadcast", "broadcast_id", "id", postgresql_where=text("broadcast_id is not null"),
          sqlite_where=text("broadcast_id is not null")),
    **growing("notice"),
)

# Not finished and waiting for no time: parked for people or an account, or dropped.
WITHOUT_TIME = text("due_at is null and state in ('pending', 'claimed', 'sent', 'unknown')")

delivery = Table(
    "delivery", metadata,
    Column("notice_id", Id, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("id", Id, nullable=False),
    Column("subject_id", Id, nullable=False),
    Column("position", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("carries", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("closed", Text),  # the state of its last delivery.closed
    Column("due_at", Micros),  # when something is to be done next; null: nothing, or parked
    Column("attempts", SmallInteger, nullable=False, server_default="0"),  # answered ones
    Column("failures", SmallInteger, nullable=False, server_default="0"),  # temporary ones, for the retry schedule
    Column("avoid", Text),  # providers that could not take it since it last waited, by name, with blanks between
    Column("lease_owner", Id),
    Column("lease_until", Micros),
    # Due work of any kind; a claim changes no indexed column.
    Index("ix_delivery_due", "state", "priority", "due_at", postgresql_where=text("due_at is not null"),
          sqlite_where=text("due_at is not null")),
    # Few deliveries are announcements that wait; they are found without reading past all the others that are due.
    Index("ix_delivery_announcement", "due_at", postgresql_where=text("channel = 'announcement' and due_at is not null"),
          sqlite_where=text("channel = 'announcement' and due_at is not null")),
    Index("ix_delivery_without_time", "notice_id", postgresql_where=WITHOUT_TIME, sqlite_where=WITHOUT_TIME),
    **growing("delivery"),
)

attempt = Table(
    "attempt", metadata,
    Column("notice_id", Id, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("number", SmallInteger, primary_key=True),
    Column("provider", Text),
    Column("contact_id", Id),
    Column("intended_at", Micros, nullable=False),
    Column("evidence_id", Id, nullable=False),  # of `intended`
    Column("confirmation", Text),
    Column("contact_effective_from", Micros),
    Column("call_started_at", Micros),
    Column("sealed", LargeBinary),  # openings of attempt.intended
    Column("passed_over", Text),  # JSON; null where no provider was
    Column("outcome", Text),  # only `not_sent`; every other outcome is evidence
    Column("closed_batch", Id),
    Column("closed_offset", Integer),
    *entry_columns(),
    **growing("attempt"),
)

evidence = Table(
    "evidence", metadata,
    Column("notice_id", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("answer", Boolean, nullable=False),  # true: the attempt's own answer, whose kind is the outcome
    Column("source", Text, nullable=False),
    Column("authenticated", Boolean, nullable=False),
    Column("authenticated_by", Text),
    Column("carries", Text, nullable=False),
    Column("call_started_at", Micros),
    Column("claimed_at", Text),  # as given, with its offset
    Column("observed_at", Micros, nullable=False),
    Column("confirmation", Text),
    Column("contact_in_effect", Boolean, nullable=False),
    Column("part", SmallInteger),
    Column("parts", SmallInteger),
    Column("provider", Text),
    Column("same_raw_as", Id),
    Column("content_matches", Boolean),
    Column("refers_to", Text),
    Column("proved_at", Micros),
    Column("fault", Text),
    Column("code", Text),
    Column("media_type", Text),
    Column("raw_index", LargeBinary),  # keyed hash of the raw bytes, to find the first evidence with the same bytes
    Column("sealed", LargeBinary),  # openings: raw, raw_sha256, content_sha256, provider_reference, claimed_time_raw, …
    *entry_columns(),
    **growing("evidence"),
)

provider_reference = Table(  # finds the attempt that a receipt speaks of
    "provider_reference", metadata,
    Column("reference_index", LargeBinary, primary_key=True),
    Column("notice_id", Id, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
)

notice_entry = Table(  # the notice's entries that no other row names
    "notice_entry", metadata,
    Column("notice_id", Id, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("type", Text, nullable=False),
    Column("sealed", LargeBinary),
    *entry_columns(),
    **growing("notice_entry"),
)

certificate = Table(  # issued PDFs; the file is destroyed with its recipient, its hashes stay
    "certificate", metadata,
    Column("number", Text, primary_key=True),
    Column("notice_id", Id, nullable=False, index=True),
    Column("subject_id", Id, nullable=False, index=True),
    Column("grade", Text, nullable=False),
    Column("lang", Text, nullable=False),
    Column("issued_at", Micros, nullable=False),
    Column("key_id", Id),
    Column("pdf_sha256", Text, nullable=False, index=True),
    Column("proof_sha256", Text, nullable=False),
    Column("facts_sha256", Text, nullable=False),  # of the results and contact facts in it: differs once it is superseded
    Column("sealed", LargeBinary),
    *entry_columns(),
)

link = Table(  # the random address of a document page
    "link", metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("notice_id", Id, nullable=False),
    Column("channel", Text, nullable=False),
)

inbox_message = Table(
    "inbox_message", metadata,
    Column("notice_id", Id, primary_key=True),
    Column("id", Id, nullable=False),
    Column("subject_id", Id, nullable=False),
    Column("sent_at", Micros, nullable=False),
    Column("displayed_at", Micros),
    Column("opened_at", Micros),
    Column("acknowledged_at", Micros),
    Index(None, "subject_id", "notice_id"),
    **growing("inbox_message"),
)

announcement = Table(
    "announcement", metadata,
    Column("id", Id, primary_key=True),
    Column("content_id", Id, nullable=False),
    Column("content_index", LargeBinary, nullable=False, unique=True),
    Column("published_at", Micros, nullable=False),
    Column("effective_at", Micros),
    *entry_columns(),
)

idempotency = Table(
    "idempotency", metadata,
    Column("key_id", Id, primary_key=True),
    Column("key_hash", LargeBinary, primary_key=True),
    Column("body_hash", LargeBinary, nullable=False),
    Column("notice_id", Id, nullable=False),
    Column("warnings", Text),  # JSON: those of the first reply, for the same reply again
    Column("created_at", Micros, nullable=False),
    Index(None, "created_at"),
)
