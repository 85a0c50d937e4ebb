"""How fast one recipient's domain is sent to: so many messages at once, so many a second.

Called by the `mx` provider. Large mail providers refuse whoever is too fast, and all of a domain's mail with him.
"""

import asyncio
import time

from noticesvc.provider import TemporaryFailure

_MOST_KEPT = 10_000


class _Pace:
    def __init__(self, at_once: int) -> None:
        self.slots = asyncio.Semaphore(at_once)
        self.free_at = 0.0
        self.users = 0


class Slot:
    """The right to send one message; release it when it is sent."""

    def __init__(self, pace: _Pace) -> None:
        self._pace: _Pace | None = pace

    def release(self) -> None:
        """Give it back; safe to call twice."""
        pace, self._pace = self._pace, None
        if pace is not None:
            pace.users -= 1
            pace.slots.release()


class DomainPaces:
    """The pace of each domain. `rate_per_s` 0 is no limit."""

    def __init__(self, at_once: int, rate_per_s: float) -> None:
        self._at_once, self._rate_per_s = at_once, rate_per_s
        self._paces: dict[str, _Pace] = {}

    async def slot(self, domain: str, longest_wait_s: float) -> Slot:
        """Wait for a slot. Raises TemporaryFailure when the rate would make it wait longer than that."""
        pace = self._pace(domain)
        pace.users += 1
        try:
            await pace.slots.acquire()
        except BaseException:
            pace.users -= 1
            raise
        slot = Slot(pace)
        try:
            if self._rate_per_s:
                now = time.monotonic()
                wait_s = max(0.0, pace.free_at - now)
                if wait_s > longest_wait_s:
                    raise TemporaryFailure("Our rate for this domain is used up; it is tried again.", code="4.4.5")
                pace.free_at = max(now, pace.free_at) + 1 / self._rate_per_s
                await asyncio.sleep(wait_s)
        except BaseException:
            slot.release()
            raise
        return slot

    def _pace(self, domain: str) -> _Pace:
        found = self._paces.get(domain)
        if found is None:
            if len(self._paces) >= _MOST_KEPT:
                self._paces = {name: pace for name, pace in self._paces.items() if pace.users or pace.free_at > time.monotonic()}
            found = self._paces[domain] = _Pace(self._at_once)
        return found
