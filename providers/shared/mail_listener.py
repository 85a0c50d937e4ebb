"""An LMTP or SMTP listener as a way in: our relay hands mail over, and hears 250 only once it is committed.

Called by `mail_intake`. aiosmtpd does the protocol. Only the relays named in the settings may speak to it: whoever else could,
would write his own trace lines. One recipient a mail, so that one answer speaks for all.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import BaseModel, ConfigDict, Field

_LARGEST = 32 << 20
_AGAIN_S = 5.0


class ListenerSettings(BaseModel):
    """Where to listen, and who may speak; an empty host listens nowhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = ""
    port: int = Field(8024, ge=0, le=65535)
    protocol: str = Field("lmtp", pattern="^(lmtp|smtp)$")
    peers: list[str] = ["127.0.0.1", "::1"]


class Listener:
    """The listener; `take_in` makes bytes durable."""

    def __init__(self, settings: ListenerSettings, take_in: Callable[[bytes], Awaitable[None]]) -> None:
        self._settings, self._take_in = settings, take_in
        self._open: set[asyncio.Transport] = set()
        self.port = settings.port

    async def run(self) -> None:
        """Listen until cancelled. Raises OSError where the port is taken: another process of this host then listens."""
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd logs addresses at lower levels
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _session(self, loop), self._settings.host, self._settings.port)
        self.port = int(server.sockets[0].getsockname()[1])
        try:
            await server.serve_forever()
        finally:
            server.close()
            for transport in tuple(self._open):
                transport.abort()

    def allows(self, peer: Any) -> bool:
        """Whether this peer may hand mail over."""
        address = peer[0] if isinstance(peer, tuple) and peer else ""
        return str(address).removeprefix("::ffff:") in self._settings.peers

    async def handle_MAIL(  # noqa: N802 - aiosmtpd finds its hooks by these names
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str],
    ) -> str:
        """Refuse strangers; note the sender."""
        if not self.allows(session.peer):
            return "554 5.7.1 Only our own relays hand mail over here"
        envelope.mail_from = address  # the null sender as `<>`: without one aiosmtpd asks for MAIL again
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str],
    ) -> str:
        """Take one recipient a mail."""
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Commit, then say 250."""
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        sender = str(envelope.mail_from or "").strip("<>")
        head = f"Return-Path: <{sender}>\r\nDelivered-To: {envelope.rcpt_tos[0]}\r\n"
        await self._take_in(head.encode("utf-8", "replace") + content)
        return "250 2.0.0 Ok: committed"

    async def handle_exception(self, error: Exception) -> str:
        """Answer any fault of ours with a temporary refusal, without its text."""
        return "451 4.3.0 The mail cannot be taken in at the moment"


def _session(listener: Listener, loop: asyncio.AbstractEventLoop) -> SMTP:
    kind = _Lmtp if listener._settings.protocol == "lmtp" else _Smtp
    made = kind(listener, data_size_limit=_LARGEST, enable_SMTPUTF8=True, hostname="noticesvc", ident="noticesvc", loop=loop)
    made.known = listener._open
    return cast(SMTP, made)


class _Known:
    """Notes the connection, so that stopping ends it."""

    known: set[asyncio.Transport]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._own = cast(asyncio.Transport, transport)
        self.known.add(self._own)
        super().connection_made(transport)  # type: ignore[misc]

    def connection_lost(self, error: Exception | None) -> None:
        self.known.discard(self._own)
        super().connection_lost(error)  # type: ignore[misc]


class _Smtp(_Known, SMTP):
    command_size_limit = 2048


class _Lmtp(_Known, LMTP):
    command_size_limit = 2048
