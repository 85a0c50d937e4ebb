"""Statements over what outside parties said of our checkpoints: timestamps and cosignatures. Called by operations.anchoring."""

from typing import Any

from sqlalchemy import func, select

from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def put_timestamp(tx: Tx, tsa: str, size: int, note: str, token: bytes, stamped_at: int) -> None:
    """Keep a token."""
    tx.insert(t.ledger_timestamp, [{"id": tx.new_id(), "tsa": tsa, "size": size, "note": note, "token": token, "stamped_at": stamped_at}])


def last_timestamp(tx: Tx, tsa: str) -> tuple[int, int] | None:
    """Size and time (microseconds) of the newest token of a service; null if it gave none."""
    columns = t.ledger_timestamp.c
    row = tx.execute(select(columns.size, columns.stamped_at).where(columns.tsa == tsa)
                     .order_by(columns.size.desc(), columns.stamped_at.desc()).limit(1)).one_or_none()
    return (row.size, row.stamped_at) if row else None


def services(tx: Tx) -> list[str]:
    """The services that ever gave a token."""
    return list(tx.execute(select(t.ledger_timestamp.c.tsa).distinct().order_by(t.ledger_timestamp.c.tsa)).scalars())


def first_timestamp_over(tx: Tx, tsa: str, index: int) -> Any:
    """The row of a service's first token over a checkpoint that covers an index; null if there is none yet."""
    columns = t.ledger_timestamp.c
    return tx.execute(select(t.ledger_timestamp).where(columns.tsa == tsa, columns.size > index)
                      .order_by(columns.size, columns.stamped_at).limit(1)).one_or_none()


def put_cosignature(tx: Tx, size: int, vkey: str, line: str) -> None:
    """Keep a witness's signature line; the first one stays."""
    tx.insert_new(t.ledger_cosignature, [{"size": size, "vkey": vkey, "line": line, "signed_at": tx.now}])


def last_cosigned(tx: Tx, vkey: str) -> int:
    """The size of the largest checkpoint that a witness cosigned, 0 if none."""
    columns = t.ledger_cosignature.c
    return tx.execute(select(func.max(columns.size)).where(columns.vkey == vkey)).scalar_one() or 0


def cosignatures(tx: Tx, size: int) -> list[tuple[str, str]]:
    """The witnesses' keys and signature lines under the checkpoint of this size."""
    columns = t.ledger_cosignature.c
    rows = tx.execute(select(columns.vkey, columns.line).where(columns.size == size).order_by(columns.vkey))
    return [(row.vkey, row.line) for row in rows]


def most_cosigned(tx: Tx, above: int, vkeys: list[str]) -> tuple[int, int] | None:
    """Of the checkpoints of more than `above` entries the newest with the most of these witnesses: its size, and how many they are."""
    columns = t.ledger_cosignature.c
    row = tx.execute(select(columns.size, func.count().label("number")).where(columns.size > above, tx.within(columns.vkey, vkeys))
                     .group_by(columns.size).order_by(func.count().desc(), columns.size.desc()).limit(1)).one_or_none()
    return (row.size, row.number) if row else None


def checkpoint_of(tx: Tx, size: int) -> str | None:
    """The signed checkpoint of exactly this size."""
    return tx.execute(select(t.ledger_checkpoint.c.note).where(t.ledger_checkpoint.c.size == size)).scalar_one_or_none()
