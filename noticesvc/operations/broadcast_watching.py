"""Several broadcasts as they stand, in one read: what the streams of all readers of a process are fed from."""

from collections.abc import Sequence
from typing import Any

from noticesvc.operations import broadcast_counts, broadcasts
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def several(tx: Tx, world: World, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """These broadcasts by id, as `broadcasts.one` shows them; who may see them was asked before."""
    rows = tx.rows(t.broadcast, "id", sorted(ids))
    summed = broadcast_counts.sums(tx, rows)
    return {row.id: broadcasts.view(world, row, summed[row.id], tx.now) for row in rows}
