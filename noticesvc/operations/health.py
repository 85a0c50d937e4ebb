"""Whether the database can be written, and whether its tables are those of this program. Called by `/readyz`."""

from sqlalchemy import delete

from noticesvc.storage import migrate
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_PROBE = "probe"


def probe(tx: Tx) -> bool:
    """Write and take back one row, so that the commit must reach the disk; answers whether the tables are fit for this program."""
    tx.insert(t.vault_key, [{"name": f"{_PROBE}:{tx.new_id()}", "wrapped": b""}])
    tx.execute(delete(t.vault_key).where(t.vault_key.c.name.startswith(f"{_PROBE}:")))
    return migrate.supports(tx)
