"""The beginning of an upload to a broadcast: whether it may come, and what each of its rows must bring. Called by its route."""

from noticesvc.domain.access import Access
from noticesvc.operations import broadcast_audience, broadcast_request, broadcasts
from noticesvc.operations.world import World
from noticesvc.storage.transaction import Tx


def begin(tx: Tx, world: World, access: Access, broadcast_id: str) -> frozenset[str]:
    """The template parameters that each row must bring. Raises NotFound, Forbidden for the category, and Conflict once approved."""
    broadcasts.found(tx, access, broadcast_id, lock=True)
    return broadcast_request.load(tx, world, broadcast_audience.for_upload(tx, broadcast_id)).wanted
