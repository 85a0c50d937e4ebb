"""Many clients at once: POST /v1/notices over so many connections, each the next request when its last was answered.

usage: python -m bench.post PORT KEY COUNT CONNECTIONS RECIPIENTS; prints JSON: requests a second, p50 and p99 in ms, statuses.
Runs in a process of its own; each request is written in one go and its answer only counted, so that it costs the machine little.
"""

import asyncio
import json
import sys
import time
from collections import Counter

import uvloop

from bench.mail import BODY

_STRIDE = 7919  # a prime, so that all recipients are met, and not in the order in which they were made


class _Client(asyncio.Protocol):
    def __init__(self, run: "_Run") -> None:
        self._run, self._held, self._began = run, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = self._run.request()
        if request is None:
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._held += data
        head = self._held.find(b"\r\n\r\n")
        at = self._held.lower().find(b"content-length:", 0, head)
        if head < 0 or at < 0:
            return
        end = head + 4 + int(self._held[at + 15:self._held.index(b"\r\n", at)])
        if len(self._held) >= end:
            self._run.answered(self._held[9:12].decode(), time.perf_counter() - self._began)
            self._held = self._held[end:]
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost(exc)


class _Run:
    def __init__(self, key: str, count: int, connections: int, recipients: int) -> None:
        self.key, self.count, self.open, self.recipients = key, count, connections, recipients
        self.sent, self.times, self.statuses = 0, list[float](), Counter[str]()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def request(self) -> bytes | None:
        if self.sent == self.count:
            return None
        self.sent += 1
        body = json.dumps(BODY | {"channels": ["in_site"], "recipient_id": f"r{self.sent * _STRIDE % self.recipients}"}).encode()
        head = (f"POST /v1/notices HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.key}\r\nContent-Type: application/json\r\n"
                f"Idempotency-Key: load-{time.time_ns()}-{self.sent}\r\nContent-Length: {len(body)}\r\n\r\n")
        return head.encode() + body

    def answered(self, status: str, took: float) -> None:
        self.times.append(took)
        self.statuses[status] += 1

    def lost(self, exc: Exception | None) -> None:
        self.open -= 1
        if not self.over.done() and (exc is not None or not self.open):
            self.over.set_result(None)


async def _main(port: int, key: str, count: int, connections: int, recipients: int) -> None:
    run, loop = _Run(key, count, connections, recipients), asyncio.get_running_loop()
    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Client(run), "127.0.0.1", port)
    await run.over
    took, times = time.perf_counter() - began, sorted(run.times)
    print(json.dumps({"rate": len(times) / took, "p50": times[len(times) // 2] * 1e3, "p99": times[len(times) * 99 // 100] * 1e3,
                      "statuses": run.statuses}))


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])))
