"""A caller before several APIs, as a balancer is: where one is silent or says 503, the other is asked with the same key.

Used by bench.crash.rolling and tests/acceptance/test_many_hosts.py.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Sequence

import aiohttp


class Caller:
    """Posts e-mail notices to `u-1`, one after the other with a pause between, until it is told `enough`."""

    def __init__(self, urls: Sequence[str], key: str, pause_s: float = 0.0) -> None:
        self._urls = itertools.cycle(urls)
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}, timeout=aiohttp.ClientTimeout(total=10))
        self._count, self._pause_s = 0, pause_s
        self.accepted: list[str] = []
        self.refused: list[tuple[int, str]] = []  # answers other than 202 and those that ask to be repeated
        self.elsewhere = 0
        self.longest_s = 0.0  # that one notice took from the first try to its 202
        self.enough = asyncio.Event()

    async def run(self) -> None:
        """Post."""
        while not self.enough.is_set():
            await self.post()
            await asyncio.sleep(self._pause_s)
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        await self._session.close()

    async def post(self) -> None:
        """One notice, until it is accepted or refused."""
        key, began = f"k-{self._count}", time.monotonic()
        self._count += 1
        body = {"recipient_id": "u-1", "category": "platform", "channels": ["email"], "content": {"subject": "S", "body": "B"}}
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self._session.post(next(self._urls) + "/v1/notices", json=body, headers={"Idempotency-Key": key}) as answer:
                    if answer.status == 202:
                        self.accepted.append((await answer.json())["id"])
                        self.longest_s = max(self.longest_s, time.monotonic() - began)
                        return
                    if answer.status not in (429, 503):
                        self.refused.append((answer.status, await answer.text()))
                        return
            self.elsewhere += 1
