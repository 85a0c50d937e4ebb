"""One HTTP exchange with a vendor: never repeated, within its time, its answer bounded, and an honest word when it breaks off.

Called by the SMS providers that speak HTTP. httpx over the aiohttp transport, since httpx alone slows down under concurrency.
The transport tells a kept connection that broke off after the request was written as if nothing had been sent, so what
aiohttp itself said decides: only without a connection was nothing taken. aiohttp sends a GET, HEAD or PUT again when a connection
breaks off without an answer; `_once` stands between and makes of it an error that aiohttp passes on.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from noticesvc.provider import OutcomeUnknown, ProviderUnavailable, Rejected

LONGEST_ANSWER = 1 << 20
_KEPT_S = 10.0
_CONNECTIONS = 1000
_HEADER = re.compile(r"[!#-'*+.^_`|~0-9A-Za-z-]+")
_PRINTABLE = re.compile(r"[ -~]*")
_NUMBER = re.compile(r"\+[1-9][0-9]{5,18}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came."""

    status: int
    body: bytes
    media_type: str

    @property
    def kept(self) -> dict[str, Any]:
        """What every outcome keeps of it."""
        return {"raw": self.body, "media_type": self.media_type}

    def json(self) -> dict[str, Any]:
        """Its JSON object; an empty one for anything else."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class HttpCalls:
    """The connections of one provider. `open` and `close` belong to the event loop that uses them."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Prepare; connections are made with the first call."""
        trusted = httpx.create_ssl_context(trust_env=False)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEPT_S, ssl=trusted), middlewares=(_once,))
        self._client = httpx.AsyncClient(
            transport=AiohttpTransport(verify=trusted, trust_env=False, client=session),
            timeout=httpx.Timeout(self._timeout_s, connect=self._timeout_s / 2), follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Free the connections; safe to call twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes = b"") -> Reply:
        """One exchange. Raises ProviderUnavailable without a connection, OutcomeUnknown once anything may have been taken."""
        if self._client is None:
            raise ProviderUnavailable("This provider is not open; it is tried again.")
        request = _request(self._client, method, url, {"accept-encoding": "identity", **headers}, content)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._client.send(request, stream=True)
                try:
                    reply = Reply(answer.status_code, await _bounded(answer), answer.headers.get("content-type", "")[:100])
                finally:
                    await answer.aclose()
        # from None: their texts may hold headers, and so credentials
        except httpx.HTTPError as error:
            if isinstance(error.__cause__, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                raise ProviderUnavailable("The gateway cannot be reached; check its address if this lasts.", code="connect") from None
            raise OutcomeUnknown("The gateway broke off or did not answer in HTTP.", code="broken") from None
        except TimeoutError:
            raise OutcomeUnknown("The gateway did not answer in time.", code="timeout") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise OutcomeUnknown("The gateway broke off or did not answer in HTTP.", code="broken") from None
        if len(reply.body) > LONGEST_ANSWER:  # what was cut off may have said the opposite
            raise OutcomeUnknown("The gateway's answer is over 1 MiB and was cut.", code="too-long",
                                 raw=reply.body[:LONGEST_ANSWER], media_type=reply.media_type)
        return reply


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Pass a request on (a middleware of aiohttp's); what breaks off raises an error after which aiohttp does not try again."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:  # no connection, and no second try either
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        raise aiohttp.ClientConnectionError("broken off") from None


def _request(client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], content: bytes) -> httpx.Request:
    """The request, which nobody has seen yet. Raises ProviderUnavailable for one that cannot be written."""
    if not all(_HEADER.fullmatch(name) and _PRINTABLE.fullmatch(value) for name, value in headers.items()):
        raise ProviderUnavailable("A header of the request is not printable ASCII; correct the provider's settings.", code="header")
    try:
        return client.build_request(method, url, headers=headers, content=content)
    except (httpx.InvalidURL, ValueError):
        raise ProviderUnavailable("The gateway's address cannot be called; correct the provider's settings.", code="address") from None


async def _bounded(answer: httpx.Response) -> bytes:
    """The body, or so much of it that it is seen to be too long."""
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > LONGEST_ANSWER:
            break
    return bytes(body[: LONGEST_ANSWER + 1])


def require_number(to: str) -> str:
    """The number, if it is one in E.164. Raises Rejected before anything is sent."""
    if not _NUMBER.fullmatch(to):
        raise Rejected("The number is not an international telephone number; correct the contact.", code="address")
    return to


def require_address(where: str, url: str) -> str:
    """What is wrong with an endpoint, or an empty text."""
    parts = httpx.URL(url) if url.isascii() and url.isprintable() else None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.host or parts.query or parts.fragment:
        return f"{where}: write the whole address, https://… and no query."
    return ""
