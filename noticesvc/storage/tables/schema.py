"""Which programs may work on these tables."""

from sqlalchemy import Column, SmallInteger, Table, Text

from noticesvc.storage.tables.base import metadata

schema_floor = Table(  # one row
    "schema_floor", metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("least", Text, nullable=False),  # programs that need a lower version than this no longer understand the tables
)
