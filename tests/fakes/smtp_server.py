"""A scripted SMTP server on loopback: what it answers to each command is written down beforehand.

Used by the provider contract and the dispatch tests. A script maps a stage (CONNECT EHLO MAIL RCPT DATA CONTENT RSET
QUIT AUTH STARTTLS) to a list of moves, used one after the other, the last one again and again: bytes are a reply as it
stands, CLOSE ends the connection, HANG says nothing until the server stops. Stages without a script go well.
"""

import asyncio
import base64
import contextlib
import ssl
from dataclasses import dataclass, field
from enum import Enum

from tests.fakes.door import Door

EXTENSIONS = ("SIZE 10240000", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")


class Move(Enum):
    """What a server can do instead of answering."""

    CLOSE = "close"
    HANG = "hang"


CLOSE, HANG = Move.CLOSE, Move.HANG

_GOOD = {
    "CONNECT": b"220 fake ESMTP\r\n", "MAIL": b"250 2.1.0 Ok\r\n", "RCPT": b"250 2.1.5 Ok\r\n",
    "DATA": b"354 Go ahead\r\n", "CONTENT": b"250 2.0.0 Ok: queued as 4XYZ123\r\n", "RSET": b"250 2.0.0 Ok\r\n",
    "QUIT": b"221 2.0.0 Bye\r\n", "AUTH": b"235 2.7.0 Welcome\r\n", "STARTTLS": b"220 2.0.0 Go\r\n",
}


class _Closed(Exception):
    pass


@dataclass
class Taken:
    """One message whose content came in whole."""

    mail: str
    rcpt: str
    content: bytes


@dataclass
class SmtpServer:
    """Use as `async with SmtpServer({...}) as server`; `server.port` is where it listens."""

    script: dict[str, list[bytes | Move]] = field(default_factory=dict)
    extensions: tuple[str, ...] = EXTENSIONS
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    port: int = 0
    host: str = "127.0.0.1"
    commands: list[str] = field(default_factory=list)
    contents: list[Taken] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    connections: int = 0

    async def __aenter__(self):
        self._over = asyncio.Event()
        self._reached: dict[str, asyncio.Event] = {}
        self._door = Door(self._serve)
        self.port = await self._door.open(self.host, self.port, ssl=self.tls if self.implicit else None, limit=1 << 24)
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def stop(self):
        """Stop listening and end every conversation."""
        self._over.set()
        await self._door.close()

    def drop_all(self):
        """Break every connection at once, as a restarting server does."""
        self._door.drop_all()

    async def reached(self, stage):
        """Wait until a conversation has come to this stage."""
        await self._reached.setdefault(stage, asyncio.Event()).wait()

    async def _serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(_Closed):
            await self._converse(reader, writer)

    async def _converse(self, reader, writer):
        await self._answer("CONNECT", writer)
        mail = rcpt = ""
        encrypted = self.implicit
        while line := (await reader.readuntil(b"\n")).decode("utf-8", "replace").strip():
            self.commands.append(line)
            verb = line.split()[0].upper()
            if verb in {"EHLO", "HELO"}:
                offers = [*self.extensions, *(["STARTTLS"] if self.tls and not encrypted else [])]
                lines = ["fake greets you", *offers]
                good = "".join(f"250{'-' if n < len(lines) else ' '}{text}\r\n" for n, text in enumerate(lines, 1))
                await self._answer("EHLO", writer, good.encode())
                continue
            if verb == "MAIL":
                mail = line
            elif verb == "RCPT":
                rcpt = line
            elif verb == "AUTH":
                _, name, password = base64.b64decode(line.split()[2]).decode().split("\0")
                self.logins.append((name, password))
            answer = await self._answer(verb, writer)
            if verb == "STARTTLS" and answer.startswith(b"220"):
                await writer.start_tls(self.tls)
                encrypted = True
            elif verb == "DATA" and answer.startswith(b"354"):
                content = await reader.readuntil(b"\r\n.\r\n")
                await self._answer("CONTENT", writer, taken=Taken(mail, rcpt, content))
            elif verb == "QUIT":
                return

    async def _answer(self, stage, writer, good=None, taken=None):
        self._reached.setdefault(stage, asyncio.Event()).set()
        moves = self.script.get(stage, [])
        move = (moves.pop(0) if len(moves) > 1 else moves[0]) if moves else (good or _GOOD.get(stage, b"500 What?\r\n"))
        if taken is not None and (isinstance(move, Move) or move.startswith(b"2")):
            self.contents.append(taken)
        if move is HANG:
            await self._over.wait()
        if isinstance(move, Move):
            raise _Closed
        writer.write(move)
        await writer.drain()
        return move
