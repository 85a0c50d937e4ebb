"""Broadcasts: one notice to everybody of an audience, who belongs to it, and how far it has come.

The audience is written once, before approval, and read in the order of its key; `broadcast.expanded_to` says how far notices were
made. So making them changes no row of the audience, and the one row that says how far is written with the notices.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, SmallInteger, Table, Text, text

from noticesvc.storage.tables.base import Id, Micros, entry_columns, metadata

broadcast = Table(
    "broadcast", metadata,
    Column("id", Id, primary_key=True),
    Column("state", Text, nullable=False),  # domain.broadcast.STATES
    Column("audience", Text, nullable=False),  # all | upload
    Column("category", Text, nullable=False),
    Column("channels", Text, nullable=False),  # with spaces between, in the order of the notice
    Column("template", Text),  # whose parameters the upload brings; null: content, or none are missing
    Column("effective_at", Micros),
    Column("rates", Text, nullable=False, server_default="{}"),  # JSON: channel -> deliveries a second
    Column("sealed", LargeBinary, nullable=False),  # name and notice as asked for, under the system key
    Column("created_at", Micros, nullable=False),
    Column("key_id", Id, nullable=False),  # who made it
    Column("approved_at", Micros),
    Column("approved_by", Id),  # the key
    Column("ended_at", Micros),  # completed or cancelled
    Column("lane", SmallInteger),  # its place among the priorities of deliveries (domain.broadcast); null: not approved
    Column("content_id", Id),  # the shared content; null: not approved, or each recipient has their own
    Column("sealed_approval", LargeBinary),  # openings of broadcast.approved, under the system key
    Column("total", BigInteger, nullable=False, server_default="0"),  # rows of the audience
    Column("expanded", BigInteger, nullable=False, server_default="0"),  # notices made
    Column("skipped", BigInteger, nullable=False, server_default="0"),  # recipients for whom none could be made any more
    Column("expanded_to", Id),  # the last subject in hand so far; null: none
    Column("cancelled_to", Id),  # the last notice whose waiting deliveries were cancelled; null: none
    Column("counts", Text, nullable=False, server_default="{}"),  # JSON: sums of the deltas folded so far
    Column("samples", Text, nullable=False, server_default="[]"),  # JSON: [micros, finished], the latest last, for the rate
    Column("due_at", Micros),  # when housekeeping looks at it; null: never again
    *entry_columns(),  # of broadcast.approved
    Index("ix_broadcast_due", "due_at", postgresql_where=text("due_at is not null"), sqlite_where=text("due_at is not null")),
    Index("ix_broadcast_lane", "lane", postgresql_where=text("lane is not null"), sqlite_where=text("lane is not null")),
)

broadcast_recipient = Table(
    "broadcast_recipient", metadata,
    Column("broadcast_id", Id, primary_key=True),
    Column("subject_id", Id, primary_key=True),
    Column("sealed", LargeBinary),  # JSON: template parameters, under the recipient's key; null: none
    Column("skipped", Text),  # why no notice could be made: domain.broadcast.SKIPPED
)

broadcast_delta = Table(  # what one transaction changed of the counts; folded into `broadcast.counts` by housekeeping
    "broadcast_delta", metadata,
    Column("id", Id, primary_key=True),
    Column("broadcast_id", Id, nullable=False),
    Column("counts", Text, nullable=False),  # JSON
    Index(None, "broadcast_id"),
)

broadcast_response = Table(  # what recipients answered, each answer of one once, so that it counts once
    "broadcast_response", metadata,
    Column("broadcast_id", Id, primary_key=True),
    Column("notice_id", Id, primary_key=True),
    Column("response", Text, primary_key=True),
    Column("express", Boolean, nullable=False),  # an express refusal
)
