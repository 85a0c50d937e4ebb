"""Looks API keys up, many callers sharing one query: whoever asks while a query runs is answered by the next one.

Each answer comes from a query that began after its request arrived, so that a revoked key is refused at once by every process.
"""

import asyncio

from noticesvc.api.patience import in_time
from noticesvc.domain.access import Access
from noticesvc.errors import Unauthenticated
from noticesvc.operations import keys
from noticesvc.storage.database import Database


class KeyLookup:
    """Made with the House; works in one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, asyncio.Future[Access | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, secret: str) -> Access:
        """The key of a secret. Raises Unauthenticated if it is not known or was revoked; DatabaseUnavailable."""
        future = self._waiting.get(secret)
        if future is None:
            future = self._waiting[secret] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer(), name="key-lookup")
        found = await asyncio.shield(future)
        if found is None:
            raise Unauthenticated("The key is not known, or was revoked.")
        return found

    async def _answer(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, {}
            try:
                found = await in_time(self._database.read(keys.find_all, list(asked)))
            except BaseException as error:
                for future in asked.values():
                    if not future.done():
                        future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                        future.exception()  # whoever went away does not leave a warning behind
                if not isinstance(error, Exception):
                    raise
            else:
                for secret, future in asked.items():
                    if not future.done():
                        future.set_result(found.get(secret))
