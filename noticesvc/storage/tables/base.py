"""What every table shares: metadata, types, the two columns that name a row's ledger entry, and how PostgreSQL lays out growth."""

from typing import Any

from sqlalchemy import BigInteger, Column, Integer, MetaData, Uuid

metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s",
                                       "uq": "uq_%(table_name)s_%(column_0_N_name)s"})

Id = Uuid(as_uuid=False)
Micros = BigInteger
# SQLite counts rows by its own INTEGER PRIMARY KEY only when the type is spelled so.
Serial = BigInteger().with_variant(Integer, "sqlite")

# The key column of tables that grow: on PostgreSQL they are partitioned by month over the UUIDv7 in it.
PARTITIONED = {"notice": "id", "content": "id", "delivery": "notice_id", "attempt": "notice_id", "evidence": "notice_id",
               "notice_entry": "notice_id", "inbox_message": "notice_id", "ledger_index": "batch"}
# How partitions are kept: room in each page for updates that touch no index (heap-only tuples), and no vacuum for rows that
# were only inserted, as long as a broadcast's are: each is changed soon, and counts for a vacuum then.
KEPT = {"notice": "fillfactor=60, autovacuum_vacuum_insert_threshold=-1",
        "delivery": "fillfactor=60, autovacuum_vacuum_insert_threshold=-1"}


def growing(name: str) -> dict[str, Any]:
    """Table options of a table that is partitioned by time."""
    return {"postgresql_partition_by": f"RANGE ({PARTITIONED[name]})"}


def entry_columns() -> tuple[Column[str], Column[int]]:
    """The columns by which a row names its ledger entry: the transaction's batch and the position in it."""
    return Column("entry_batch", Id), Column("entry_offset", Integer)
