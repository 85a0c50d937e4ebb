"""Keys, recipients and what is recorded about them."""

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text, text

from noticesvc.storage.tables.base import Id, Micros, entry_columns, metadata

api_key = Table(
    "api_key", metadata,
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", Text, nullable=False),  # words with spaces between
    Column("categories", Text),  # null: all
    Column("created_at", Micros, nullable=False),
    Column("revoked_at", Micros),
)

vault_key = Table(  # data keys of the system itself, wrapped by the master key
    "vault_key", metadata,
    Column("name", Text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
)

recipient = Table(
    "recipient", metadata,
    Column("subject_id", Id, primary_key=True),  # our random id; the caller's id is sealed
    Column("recipient_index", LargeBinary, unique=True),  # null once anonymised
    Column("wrapped_key", LargeBinary),  # null once anonymised: then nothing sealed under it can be read
    Column("sealed", LargeBinary),  # openings of recipient.recorded
    Column("account_state", Text, nullable=False),
    Column("void_at", Micros),
    Column("locale", Text),
    Column("refuse_commercial", Text, nullable=False, server_default=""),  # channels with spaces between
    Column("source_versions", Text, nullable=False, server_default="{}"),  # JSON: blind index of the source -> its counter
    Column("created_at", Micros, nullable=False),
    Column("changed_at", Micros, nullable=False),  # last contact change; intervals of effect never run backwards
    Column("subject_seq", Integer, nullable=False),
    Column("acceptance_id", Id),  # the latest acceptance
    Column("anonymised_at", Micros),  # when it was asked for: from then on nothing is processed
    Column("shred_at", Micros),  # from when plaintext and salts may be destroyed; `wrapped_key` is null once they were
    Column("held_at", Micros),  # since when a legal hold forbids destruction
    *entry_columns(),
    Index("ix_recipient_shred", "shred_at", postgresql_where=text("shred_at is not null and wrapped_key is not null"),
          sqlite_where=text("shred_at is not null and wrapped_key is not null")),
)

contact = Table(
    "contact", metadata,
    Column("id", Id, primary_key=True),
    Column("subject_id", Id, nullable=False),
    Column("channel", Text, nullable=False),
    Column("position", Integer, nullable=False),  # preference: smaller first
    Column("address_index", LargeBinary, nullable=False),
    Column("sealed", LargeBinary),  # openings of contact.recorded: recipient_id, address, source
    Column("confirmation", Text, nullable=False),
    Column("source_index", LargeBinary, nullable=False),
    Column("asserted_from", Micros),
    Column("verified_at", Micros),
    Column("effective_from", Micros, nullable=False),
    Column("effective_to", Micros),
    Column("recorded_at", Micros, nullable=False),
    Column("state", Text, nullable=False, server_default="usable"),
    Column("invalid_by", Text, nullable=False, server_default=""),  # evidence ids of permanent failures that stand
    Column("cure_due_at", Micros),  # when to see whether its cure begins; null: not
    *entry_columns(),
    Index(None, "subject_id", "channel"),
    Index(None, "address_index"),
    Index("ix_contact_cure", "cure_due_at", postgresql_where=text("cure_due_at is not null"),
          sqlite_where=text("cure_due_at is not null")),
)

cure = Table(  # dead contacts that a recipient was asked to replace
    "cure", metadata,
    Column("id", Id, primary_key=True),
    Column("subject_id", Id, nullable=False, index=True),
    Column("contact_id", Id, nullable=False),
    Column("evidence_id", Id, nullable=False),  # the failure that it began with
    Column("notice_id", Id),  # the cure notice; null where no other contact worked
    Column("state", Text, nullable=False),  # open | ended | lapsed
    Column("reason", Text),  # why it ended or lapsed
    Column("begun_at", Micros, nullable=False),
    Column("due_at", Micros),  # when to look at it; null: when something changes
    *entry_columns(),  # of cure.begun
    Index(None, "contact_id", "id"),
    Index("ix_cure_open", "contact_id", unique=True, postgresql_where=text("state = 'open'"), sqlite_where=text("state = 'open'")),
    Index("ix_cure_due", "due_at", postgresql_where=text("due_at is not null"), sqlite_where=text("due_at is not null")),
    Index("ix_cure_notice", "notice_id", postgresql_where=text("notice_id is not null"), sqlite_where=text("notice_id is not null")),
)

subject_entry = Table(  # entries about a recipient that belong to no single notice
    "subject_entry", metadata,
    Column("subject_id", Id, primary_key=True),
    Column("subject_seq", Integer, primary_key=True),
    Column("type", Text, nullable=False),
    Column("about_id", Id),  # contact or acceptance
    Column("sealed", LargeBinary),  # openings that no other row keeps
    *entry_columns(),
)

acceptance = Table(
    "acceptance", metadata,
    Column("id", Id, primary_key=True),
    Column("subject_id", Id, nullable=False),
    Column("accepted_at", Micros, nullable=False),
    Column("recorded_at", Micros, nullable=False),
    Column("sealed", LargeBinary),  # openings of acceptance.recorded
    *entry_columns(),
    Index(None, "subject_id", "recorded_at"),
)
