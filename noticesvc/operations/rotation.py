"""Rotation of the master key: wraps every data key again under the current one, in batches beside a running service.

Called by `noticesvc vault`. One batch is one transaction; a row that changed meanwhile (a recipient who was anonymised)
is left alone. Data keys themselves and what they sealed do not change, so proofs and the ledger do not either.
"""

from typing import Any, Final

from sqlalchemy import Table, bindparam, select, update

from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import Vault

BATCH: Final = 1000

# Every column that holds a wrapped key: its table's key column, and the place it is bound to.
WRAPPED: Final[tuple[tuple[Table, str, str, str], ...]] = (
    (t.vault_key, "name", "wrapped", "vault_key"),
    (t.recipient, "subject_id", "wrapped_key", "recipient"),
    (t.document, "id", "wrapped_key", "document"),
)


def rewrap(tx: Tx, vault: Vault, number: int, after: str | None) -> tuple[str | None, int]:
    """Wrap one batch of WRAPPED[number] behind the key `after`.

    Answers the last key looked at (null: there is no more) and how many were wrapped again. VaultError if a master key
    is missing or a row was tampered with.
    """
    table, key_name, wrapped_name, kind = WRAPPED[number]
    key, wrapped = table.c[key_name], table.c[wrapped_name]
    query = select(key, wrapped).where(wrapped.is_not(None)).order_by(key).limit(BATCH)
    rows: list[Any] = list(tx.execute(query if after is None else query.where(key > after)))
    changes: list[dict[str, Any]] = []
    for identity, old in rows:
        new = vault.rewrap(old, f"{kind}:{identity}")
        if new is not None:
            changes.append({"this": identity, "old": old, "new": new})
    if changes:
        tx.execute(update(table).where(key == bindparam("this"), wrapped == bindparam("old"))
                   .values({wrapped_name: bindparam("new")}), changes)
    return (rows[-1][0] if len(rows) == BATCH else None), len(changes)


def left_behind(tx: Tx, current: int) -> bool:
    """Whether any key is still wrapped under another master key than `current`; `retire` must find none."""
    # A wrapped key begins with its master's version in one byte, and bytes compare alike on both engines.
    below, above = bytes([current]), bytes([current + 1])
    return any(
        tx.execute(select(key).where(wrapped.is_not(None), (wrapped < below) | (wrapped >= above)).limit(1)).first() is not None
        for table, key_name, wrapped_name, _ in WRAPPED
        for key, wrapped in [(table.c[key_name], table.c[wrapped_name])])
