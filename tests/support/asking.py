"""Callers of a running service that repeat what it asks them to repeat, by 503.

Called by tests whose subject is not the refusal itself: a busy machine may make the service say "repeat the request".
"""

import asyncio
import time

import httpx

from tests.support.waiting import PATIENCE_S

_AGAIN_S = 0.1


class _Again(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        end = time.monotonic() + PATIENCE_S
        request.read()
        while (answer := super().handle_request(request)).status_code == 503 and time.monotonic() < end:
            answer.read()
            answer.close()
            time.sleep(_AGAIN_S)
        return answer


class _AgainAsync(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        end = time.monotonic() + PATIENCE_S
        await request.aread()
        while (answer := await super().handle_async_request(request)).status_code == 503 and time.monotonic() < end:
            await answer.aread()
            await answer.aclose()
            await asyncio.sleep(_AGAIN_S)
        return answer


def caller(base_url: str, key: str = "") -> httpx.Client:
    """A client with this key, to be closed."""
    return httpx.Client(base_url=base_url, headers=_headers(key), transport=_Again(), trust_env=False, timeout=PATIENCE_S)


def async_caller(base_url: str = "", key: str = "") -> httpx.AsyncClient:
    """The same in an event loop."""
    return httpx.AsyncClient(base_url=base_url, headers=_headers(key), transport=_AgainAsync(), trust_env=False, timeout=PATIENCE_S)


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}
