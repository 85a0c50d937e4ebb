"""A worker's share of its providers' rates: from the database where workers share it, else from memory on the monotonic clock."""

import time
from collections.abc import Mapping

from noticesvc.domain import rate
from noticesvc.operations import rates
from noticesvc.storage.database import Database


class Rates:
    """Gives out what may start now."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._due: dict[str, int] = {}

    async def reserve(self, wanted: Mapping[str, tuple[float, int]]) -> dict[str, tuple[int, int]]:
        """How many of the wanted may start now by provider, and the microseconds until one more may."""
        if not self._database.is_sqlite:
            return await self._database.write(rates.reserve, wanted)
        now, found = time.monotonic_ns() // 1000, {}
        for name, (per_s, number) in wanted.items():
            granted, self._due[name], wait = rate.grant(self._due.get(name, 0), now, per_s, number)
            found[name] = (granted, wait)
        return found
