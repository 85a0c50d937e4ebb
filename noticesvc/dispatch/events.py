"""Sends outgoing events: POST with a Standard Webhooks signature, at least once, repeated for three days, one stable `webhook-id`.

An event is due again before it is posted, so that a crash between answer and commit only repeats it. A receiver has taken an
event when it answers 2xx; redirects are not followed, and what it says is not read.
"""

import asyncio
import random
from collections.abc import Sequence

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver
from standardwebhooks import Webhook

from noticesvc.dispatch import outside
from noticesvc.dispatch.loop import Loop
from noticesvc.domain import instant, retry
from noticesvc.errors import ConfigurationError
from noticesvc.operations import events
from noticesvc.operations.world import World
from noticesvc.storage.database import Database

log = structlog.get_logger()
AT_ONCE = 50
TIMEOUT_S = 10.0
_FIRST_S, _LONGEST_S = 5.0, 3600.0


class Events:
    """Posts events to one receiver. `start` and `stop` belong to the event loop that runs it."""

    def __init__(self, database: Database, world: World, url: str, secret: str, *, allow_private: bool = False,
                 timeout_s: float = TIMEOUT_S, resolver: AbstractResolver | None = None) -> None:
        try:
            self._webhook = Webhook(secret)
        except Exception:
            raise ConfigurationError("events.secret must be `whsec_` and base64 (Standard Webhooks); an events.url needs one.") from None
        self._database, self._world, self._url = database, world, url
        self._private = allow_private or outside.names_itself(url)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._random = random.SystemRandom()
        self._loop = Loop("events", self._once, 1.0)
        database.on_commit("events", self._loop.woken.set)

    async def start(self) -> None:
        """Begin."""
        self._open()
        self._loop.start()

    async def stop(self, grace_s: float) -> None:
        """End. What is being posted now is posted again after the next start."""
        await self._loop.stop()
        if self._session is not None:
            await self._session.close()

    def faults(self) -> dict[str, str]:
        """Whether the loop has ended."""
        return {"events": "The events loop has ended; restart the process."} if self._loop.dead else {}

    def _open(self) -> None:
        connector = aiohttp.TCPConnector(
            limit=AT_ONCE, resolver=self._resolver, use_dns_cache=False,
            socket_factory=outside.sockets(private=self._private))
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False, auto_decompress=False,
                                              cookie_jar=aiohttp.DummyCookieJar())

    async def _once(self) -> bool:
        found, dropped = await self._database.write(events.due, self._world, AT_ONCE)
        if dropped:
            log.error("events were given up after three days", count=dropped)
        results = await asyncio.gather(*(self._post(event) for event in found))
        if found:
            await self._database.write(events.settled, [(event, self._again(event, taken=taken)) for event, taken in zip(
                found, results, strict=True)])
        return len(found) == AT_ONCE

    def _again(self, event: events.Outgoing, *, taken: bool) -> int | None:
        """In how many microseconds to post it again; null if it was taken."""
        if taken:
            return None
        return int(retry.delay_s(event.tries + 1, _FIRST_S, _LONGEST_S, self._random.random()) * 1_000_000)

    async def _post(self, event: events.Outgoing) -> bool:
        """Whether the receiver took it."""
        assert self._session is not None  # noqa: S101 (made in start)
        try:
            async with self._session.post(self._url, data=event.body, headers=self._headers(event), allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("an event was not taken", error=_kind(error))
            return False
        except Exception as error:  # whatever a hostile answer makes the client raise is an event that was not taken
            log.error("an event could not be posted", error=type(error).__name__)
            return False
        if not 200 <= status < 300:
            log.warning("an event was not taken", status=status)
            return False
        return True

    def _headers(self, event: events.Outgoing) -> dict[str, str]:
        now = instant.from_micros(self._database.sources.clock())
        return {"content-type": "application/json", "webhook-id": event.id, "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": self._webhook.sign(event.id, now, event.body.decode())}


def _kind(error: BaseException) -> str:
    """The name of an error; of a refused address its own, which the client wraps."""
    inner: Sequence[BaseException] = (error, *(one for one in (getattr(error, "os_error", None), error.__cause__) if one is not None))
    return next((type(one).__name__ for one in inner if isinstance(one, outside.PrivateAddress)), type(error).__name__)
