"""One SMTP connection after its greeting, TLS and log-in: write commands, read whole replies as bytes.

Called by `smtp_conversation` alone. aiosmtplib opens the connection (TLS, AUTH) and then hands its transport over to
this protocol, for two reasons: the evidence needs each reply's exact bytes, which aiosmtplib decodes and strips, and
MAIL, RCPT and DATA in one write (RFC 2920) are worth a factor of three in speed.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import cast

MAX_REPLY = 64 * 1024
"""Longest reply taken, in bytes; RFC 5321 §4.5.3.1.5 asks for lines up to 512, and no real reply has many."""

_LINE = re.compile(rb"([2-5]\d\d)([ -]|\r?$)")
_ENHANCED = re.compile(rb"(?m)^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\b")


class WireClosed(ConnectionError):
    """The other side closed the connection, or said what is no SMTP reply; `heard` is what came of it till then."""

    def __init__(self, heard: bytes = b"") -> None:
        super().__init__("The SMTP server closed the connection or answered with something that is no SMTP reply.")
        self.heard = heard


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: its three-digit code and all its bytes; `tls` says over which TLS it came, where that was asked for."""

    code: int
    raw: bytes
    tls: str = ""

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code (RFC 3463) if there is one of the same class as the basic code (RFC 2034 §4)."""
        found = _ENHANCED.search(self.raw)
        if found is None or found.group(1)[:1] != self.raw[:1]:
            return None
        return found.group(1).decode()

    @property
    def shown_code(self) -> str:
        """The enhanced code where there is one, else the basic code."""
        return self.enhanced or str(self.code)


class Wire(asyncio.Protocol):
    """Reads replies from a connected transport; any stray byte between commands makes it unusable."""

    def __init__(self, transport: asyncio.Transport, extensions: dict[str, str], tls: str = "") -> None:
        self.extensions = extensions
        self.tls = tls
        self.needs_reset = False
        self.swift = False  # the last final dot on it was answered at once
        self._transport = transport
        self._buffer = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether a new transaction may be tried: still connected, and nothing came unasked (a 421 farewell would)."""
        return not self._ended and not self._buffer and not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send bytes. Raises WireClosed if the connection is known to be gone, when certainly nothing was sent."""
        if self._ended or self._transport.is_closing():
            raise WireClosed(bytes(self._buffer))
        self._transport.write(data)

    @property
    def ended(self) -> bool:
        """Whether nothing more can be said or heard."""
        return self._ended or self._transport.is_closing()

    async def read_reply(self) -> Reply:
        """Wait for one whole reply. Raises WireClosed when it cannot come or is no reply."""
        while True:
            reply = self._take_reply()
            if reply is not None:
                return reply
            if self._ended:
                raise WireClosed(bytes(self._buffer))
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def abort(self) -> None:
        """Drop the connection at once."""
        self._ended = True
        self._transport.abort()

    async def quit(self) -> None:
        """Say goodbye and close, whatever the other side does; the caller bounds the time."""
        try:
            if self.usable:
                self.write(b"QUIT\r\n")
                await self.read_reply()
        except WireClosed:
            pass
        finally:
            self._ended = True
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes in (asyncio.Protocol)."""
        self._buffer += data
        self._wake()

    def eof_received(self) -> bool:
        """End the connection when the other side stops writing (asyncio.Protocol)."""
        self._ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing more will come (asyncio.Protocol)."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take_reply(self) -> Reply | None:
        start = 0
        code: bytes | None = None
        while (end := self._buffer.find(b"\n", start)) >= 0:
            line = bytes(self._buffer[start:end])
            match = _LINE.match(line)
            if match is None or (code is not None and match.group(1) != code):
                raise self._garbage()
            code, start = match.group(1), end + 1
            if match.group(2) != b"-":
                raw = bytes(self._buffer[:start])
                del self._buffer[:start]
                return Reply(int(code), raw, self.tls)
        if len(self._buffer) > MAX_REPLY:
            raise self._garbage()
        return None

    def _garbage(self) -> WireClosed:
        heard = bytes(self._buffer[:MAX_REPLY])
        self.abort()
        return WireClosed(heard)


def connected_transport(transport: asyncio.BaseTransport | None) -> asyncio.Transport:
    """Return the transport of a client that has just connected; raises WireClosed if it is gone again."""
    if transport is None or transport.is_closing():
        raise WireClosed
    return cast("asyncio.Transport", transport)
