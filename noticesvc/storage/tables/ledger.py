"""The ledger's own tables."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text

from noticesvc.storage.tables.base import Id, Micros, Serial, growing, metadata

ledger_pending = Table(  # one row a transaction: its entries, packed (storage.bundle)
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

ledger_timestamp = Table(  # tokens of outside time-stamping services (RFC 3161) over the text of a checkpoint
    "ledger_timestamp", metadata,
    Column("id", Id, primary_key=True),
    Column("tsa", Text, nullable=False),  # host of the service
    Column("size", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("token", LargeBinary, nullable=False),
    Column("stamped_at", Micros, nullable=False),  # the service's own time in the token
    Index(None, "tsa", "size"),
)

ledger_cosignature = Table(  # signature lines of witnesses under checkpoints
    "ledger_cosignature", metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("vkey", Text, primary_key=True),
    Column("line", Text, nullable=False),
    Column("signed_at", Micros, nullable=False),
)

ledger_audit = Table(  # what the last self-audits found
    "ledger_audit", metadata,
    Column("id", Id, primary_key=True),
    Column("ended_at", Micros, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("findings", Integer, nullable=False),
    Column("says", Text, nullable=False),  # the first finding, or why it could not be made; empty: all is well
)
