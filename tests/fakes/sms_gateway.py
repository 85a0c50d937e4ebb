"""A scripted HTTP gateway on loopback that behaves like Kannel's smsbox, delivery reports included.

Used by the provider contract and the dispatch tests. `moves` are used one a request, the last one again and again:
an Answer, raw bytes as they stand, CLOSE (after the request was read) or HANG. What came in stands in `requests`.
"""

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import quote_plus, urlsplit

from tests.fakes.door import Door


class Move(Enum):
    """What a gateway can do instead of answering."""

    CLOSE = "close"
    HANG = "hang"


CLOSE, HANG = Move.CLOSE, Move.HANG


@dataclass(frozen=True)
class Answer:
    """One HTTP answer in Kannel's manner."""

    status: int = 202
    body: bytes = b"0: Accepted for delivery"


TAKEN = Answer()


@dataclass(frozen=True)
class Request:
    """One request as it came; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def report_url(self, status: int, text: str = "", time: int | None = None, foreign: str = "") -> str:
        """The address Kannel fetches to report `status`: its escapes filled in (`%%` is a per cent sign)."""
        values = {"d": str(status), "A": quote_plus(text), "T": "" if time is None else str(time),
                  "F": quote_plus(foreign), "%": "%"}
        pattern, filled, position = self.headers["x-kannel-dlr-url"], [], 0
        while position < len(pattern):
            if pattern[position] == "%" and position + 1 < len(pattern):
                filled.append(values.get(pattern[position + 1], pattern[position:position + 2]))
                position += 2
            else:
                filled.append(pattern[position])
                position += 1
        return "".join(filled)


@dataclass
class SmsGateway:
    """Use as `async with SmsGateway([...]) as gateway`; `gateway.url` is its sendsms."""

    moves: list[Answer | bytes | Move] = field(default_factory=lambda: [TAKEN])
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/cgi-bin/sendsms"

    async def __aenter__(self):
        self._over = asyncio.Event()
        self._came = asyncio.Event()
        self._door = Door(self._serve)
        self.port = await self._door.open("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def stop(self):
        """Stop listening and end every connection."""
        self._over.set()
        await self._door.close()

    async def reached(self):
        """Wait until a request has come."""
        await self._came.wait()

    async def report(self, request, status, text="", time=None):
        """Fetch the report address of a request as Kannel does; return the HTTP status of the answer."""
        url = urlsplit(request.report_url(status, text, time))
        reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
        writer.write(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n".encode())
        status_line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return int(status_line.split()[1])

    async def _serve(self, reader, writer):
        while await self._exchange(reader, writer):
            pass

    async def _exchange(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Request(method, urlsplit(target).path, headers, body))
        self._came.set()
        move = self.moves.pop(0) if len(self.moves) > 1 else self.moves[0]
        if move is HANG:
            await self._over.wait()
        if isinstance(move, Move):
            return False
        if isinstance(move, bytes):
            writer.write(move)
            await writer.drain()
            return False
        writer.write(f"HTTP/1.1 {move.status} Whatever\r\nContent-Type: text/html\r\n"
                     f"Content-Length: {len(move.body)}\r\n\r\n".encode() + move.body)
        await writer.drain()
        return True
