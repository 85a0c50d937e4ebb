"""Sends outgoing events: POST with a Standard Webhooks signature, at least once, repeated for three days, one stable `webhook-id`.

An event is due again before it is posted, so that a crash between answer and commit only repeats it.
"""

import asyncio
import random

import httpx
import structlog
from httpx_aiohttp import AiohttpTransport
from standardwebhooks import Webhook

from noticesvc.dispatch.loop import Loop
from noticesvc.domain import instant, retry
from noticesvc.errors import ConfigurationError
from noticesvc.operations import events
from noticesvc.operations.world import World
from noticesvc.storage.database import Database

log = structlog.get_logger()
_AT_ONCE = 50
_TIMEOUT_S = 10.0
_FIRST_S, _LONGEST_S = 5.0, 3600.0


class Events:
    """Posts events to one receiver. `start` and `stop` belong to the event loop that runs it."""

    def __init__(self, database: Database, world: World, url: str, secret: str) -> None:
        try:
            self._webhook = Webhook(secret)
        except Exception:
            raise ConfigurationError("events.secret must be `whsec_` and base64 (Standard Webhooks); an events.url needs one.") from None
        self._database, self._world, self._url = database, world, url
        self._client: httpx.AsyncClient | None = None
        self._random = random.SystemRandom()
        self._loop = Loop("events", self._once, 1.0)
        database.on_commit("events", self._loop.woken.set)

    async def start(self) -> None:
        """Begin."""
        self._client = httpx.AsyncClient(transport=AiohttpTransport(), timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False)
        self._loop.start()

    async def stop(self, grace_s: float) -> None:
        """End."""
        await self._loop.stop()
        if self._client is not None:
            await self._client.aclose()

    def faults(self) -> dict[str, str]:
        """Whether the loop has ended."""
        return {"events": "The events loop has ended; restart the process."} if self._loop.dead else {}

    async def _once(self) -> bool:
        found = await self._database.write(events.due, self._world, _AT_ONCE)
        results = await asyncio.gather(*(self._post(event) for event in found))
        for event, taken in zip(found, results, strict=True):
            delay = 0.0 if taken else retry.delay_s(event.tries + 1, _FIRST_S, _LONGEST_S, self._random.random())
            await self._database.write(events.settled, event, taken, int(delay * 1_000_000))
        return len(found) == _AT_ONCE

    async def _post(self, event: events.Outgoing) -> bool:
        assert self._client is not None  # noqa: S101 (made in start)
        now = instant.from_micros(self._database.sources.clock())
        signature = self._webhook.sign(event.id, now, event.body.decode())
        try:
            answer = await self._client.post(self._url, content=event.body, headers={
                "content-type": "application/json", "webhook-id": event.id, "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": signature})
        except (httpx.HTTPError, OSError) as error:
            log.warning("an event was not taken", error=type(error).__name__)
            return False
        if not answer.is_success:
            log.warning("an event was not taken", status=answer.status_code)
        return answer.is_success
