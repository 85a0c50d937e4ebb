"""The ledger's own tables."""

from sqlalchemy import BigInteger, Column, LargeBinary, SmallInteger, Table, Text

from noticesvc.storage.tables.base import Id, Micros, Serial, growing, metadata

ledger_pending = Table(  # one row a transaction: its entries, length-prefixed
    "ledger_pending", metadata,
    Column("pos", Serial, primary_key=True, autoincrement=True),
    Column("batch", Id, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("created_at", Micros, nullable=False),
)

ledger_index = Table(
    "ledger_index", metadata,
    Column("batch", Id, primary_key=True),
    Column("first", BigInteger, nullable=False),
    **growing("ledger_index"),
)

ledger_bundle = Table(  # entry bundles of 256, zlib
    "ledger_bundle", metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

ledger_tile = Table(
    "ledger_tile", metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

ledger_checkpoint = Table(
    "ledger_checkpoint", metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("signed_at", Micros, nullable=False),
)

ledger_head = Table(  # one row: who sequences, and how far
    "ledger_head", metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("owner", Id),
    Column("size", BigInteger, nullable=False),
)

ledger_key = Table(  # public keys, current first by `since`
    "ledger_key", metadata,
    Column("vkey", Text, primary_key=True),
    Column("since", Micros, nullable=False),
)
