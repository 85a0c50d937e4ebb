"""What passes through: receipts in, events out, and what the sandbox keeps."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, text

from noticesvc.storage.tables.base import Id, Micros, metadata

receipt = Table(  # raw bytes, committed before anybody interprets them
    "receipt", metadata,
    Column("id", Id, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("received_at", Micros, nullable=False),
    Column("due_at", Micros),  # when to interpret (again); null: done
    Column("state", Text, nullable=False),  # new | orphan | applied | refused
    Column("sealed", LargeBinary),  # the request, under the system key; emptied when applied
    Column("reference_index", LargeBinary),  # written by versions before receipt_waiting
    Index("ix_receipt_due", "due_at", postgresql_where=text("due_at is not null"), sqlite_where=text("due_at is not null")),
    Index("ix_receipt_orphan", "reference_index", postgresql_where=text("reference_index is not null"),
          sqlite_where=text("reference_index is not null")),
)

receipt_waiting = Table(  # receipts in a stored body that speak of an attempt nobody knows yet
    "receipt_waiting", metadata,
    Column("receipt_id", Id, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("reference_index", LargeBinary, nullable=False, index=True),
)

outgoing_event = Table(
    "outgoing_event", metadata,
    Column("id", Id, primary_key=True),  # also the webhook-id
    Column("type", Text, nullable=False),
    Column("subject_id", Id),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("due_at", Micros),  # null: done with
    Column("tries", SmallInteger, nullable=False, server_default="0"),
    Index("ix_outgoing_event_due", "due_at", postgresql_where=text("due_at is not null"),
          sqlite_where=text("due_at is not null")),
)

sandbox_message = Table(
    "sandbox_message", metadata,
    Column("id", Id, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("reference", Text, unique=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("received_at", Micros, nullable=False),
)

sandbox_receipt = Table(
    "sandbox_receipt", metadata,
    Column("id", Id, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("due_at", Micros, nullable=False, index=True),
    Column("media_type", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

provider_pace = Table(  # rates that the workers of one database share
    "provider_pace", metadata,
    Column("provider", Text, primary_key=True),
    Column("due", BigInteger, nullable=False),  # microseconds on the database's clock, see domain.rate
)

inquiry = Table(  # attempts of which a provider is to be asked what became of them
    "inquiry", metadata,
    Column("notice_id", Id, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("attempt", SmallInteger, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("due_at", Micros, nullable=False, index=True),
    Column("doubted", Boolean, nullable=False),  # somebody whom nobody vouches for spoke of it: ask, whatever its state
    Column("asked_at", Micros),
)
