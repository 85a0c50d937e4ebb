"""Upkeep of the tables: coming partitions, and idempotency keys that have lived their thirty days."""

from sqlalchemy import delete

from noticesvc.storage import partitions
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

IDEMPOTENCY_DAYS = 30


def run(tx: Tx) -> None:
    """One round; safe to run in several processes at once."""
    if tx.postgresql:
        tx.conn.exec_driver_sql(f"select pg_advisory_xact_lock({partitions.LOCK})")
        partitions.extend(tx.conn, tx.now)
    tx.execute(delete(t.idempotency).where(t.idempotency.c.created_at < tx.now - IDEMPOTENCY_DAYS * 86_400_000_000))
