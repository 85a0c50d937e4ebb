"""Callers that do what the contract asks of them: every request has an idempotency key and is repeated until it is answered.

Used by bench.crash.run. Every accepted key is written down with the id that was answered, before the next request.
"""

import asyncio
import json
from typing import Any

import aiohttp

from bench.crash.lines import Lines

_AGAIN_S = 0.1
_TIMEOUT_S = 15.0


class Clients:
    """Several callers at work on one list of requests, which grows portion by portion."""

    def __init__(self, url: str, key: str, accepted: Lines, count: int = 6) -> None:
        self._url, self._accepted, self._count = url, accepted, count
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}, timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        self._groups: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self.strange: list[str] = []  # answers that the contract does not know

    async def __aenter__(self) -> "Clients":
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def release(self, groups: list[list[dict[str, Any]]]) -> None:
        """Give them more to post."""
        for group in groups:
            self._groups.put_nowait(group)

    async def done(self) -> None:
        """Wait until everything released was accepted."""
        await self._groups.join()

    async def put_contacts(self, contacts: dict[str, list[dict[str, str]]]) -> None:
        """Make the recipients."""
        for recipient_id, mine in contacts.items():
            whole = {"contacts": mine, "source": "registration"}
            status, body = await self.request("PUT", f"/v1/recipients/{recipient_id}/contacts", whole)
            if status != 200:
                raise RuntimeError(f"a recipient was answered with {status}: {body}")

    async def get(self, path: str) -> tuple[int, Any]:
        """GET until there is an answer other than 503."""
        return await self.request("GET", path)

    async def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """One request, repeated on a broken connection, no answer and 503; status and parsed body."""
        while True:
            try:
                async with self._session.request(method, self._url + path, json=body, headers=headers) as answer:
                    if answer.status != 503:
                        text = await answer.text()
                        return answer.status, json.loads(text) if "json" in answer.content_type else text
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(_AGAIN_S)

    async def once(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """One request and no other; status and headers. Raises aiohttp.ClientError or TimeoutError."""
        async with self._session.request(method, self._url + path, json=body, headers=headers) as answer:
            await answer.read()
            return answer.status, answer.headers

    async def _work(self) -> None:
        while True:
            group = await self._groups.get()
            try:
                await self._post(group)
            except Exception as error:  # a caller that dies would leave the run waiting for ever
                self.strange.append(f"a caller failed with {type(error).__name__}: {error}")
            finally:
                self._groups.task_done()

    async def _post(self, group: list[dict[str, Any]]) -> None:
        if len(group) == 1:
            body = {name: value for name, value in group[0].items() if name != "idempotency_key"}
            status, answer = await self.request("POST", "/v1/notices", body, {"Idempotency-Key": group[0]["idempotency_key"]})
            results = [answer | {"status": status}] if isinstance(answer, dict) else [{"status": status}]
        else:
            status, answer = await self.request("POST", "/v1/notices/batch", {"notices": group})
            if status != 200:
                self.strange.append(f"a batch was answered with {status}: {answer}")
                return
            results = answer["results"]
        for wanted, result in zip(group, results, strict=True):
            if result.get("status") == 202:
                self._accepted.write(key=wanted["idempotency_key"], id=result["id"], category=wanted["category"],
                                     recipient_id=wanted["recipient_id"])
            else:
                self.strange.append(f"a notice was answered with {result}")
