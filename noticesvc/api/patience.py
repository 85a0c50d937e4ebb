"""How long a caller waits for the database: an answer comes within five seconds, whatever the database does.

Called wherever a route waits for a transaction; reading goes on as long as it goes.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from noticesvc.errors import DatabaseUnavailable

T = TypeVar("T")
LONGEST_WAIT_S = 4.0  # with a second to spare, which a busy machine needs


async def in_time(work: Coroutine[Any, Any, T]) -> T:
    """What a transaction gives. Raises DatabaseUnavailable if it keeps silent too long; it is then given up."""
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=LONGEST_WAIT_S)
    except asyncio.CancelledError:
        _give_up(task)
        raise
    if done:
        return task.result()
    _give_up(task)
    raise DatabaseUnavailable("The database does not answer in time; repeat the request later.")


def _give_up(task: asyncio.Task[Any]) -> None:
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody waits for it any more
    task.cancel()
