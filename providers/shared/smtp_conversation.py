"""Hand one mail over in an SMTP conversation, on connections that are kept, and say exactly how far it came.

Called by the providers that speak SMTP. RFC 5321; pipelined where offered (RFC 2920). How far it came decides:

| broken off or refused                       | result                                                              |
|---------------------------------------------|---------------------------------------------------------------------|
| connecting, greeting, EHLO, TLS, log-in     | ProviderUnavailable: the message was not even named                 |
| MAIL or DATA answered 4xx / 5xx             | TemporaryFailure / Rejected                                         |
| RCPT answered 4xx / 5.1.x / other 5xx       | TemporaryFailure / PermanentFailure / Rejected                      |
| closed, silent or garbage before the content| ProviderUnavailable: without its final dot nothing was taken        |
| closed, silent or garbage once it may be out| OutcomeUnknown                                                      |
| the final dot answered 2xx / 4xx / 5xx      | taken / TemporaryFailure / Rejected                                 |

421 is temporary wherever it comes. A kept connection may have died unnoticed: if it breaks, or says 421, before MAIL is
answered, one fresh connection is tried, for then no server has acted on any command of this message. While mails wait for a
connection, one mail's content and the next one's commands go in one write (smtp_turns).
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Literal

import aiosmtplib

from noticesvc.provider import OutcomeUnknown, PermanentFailure, ProviderError, ProviderUnavailable, Rejected, TemporaryFailure
from providers.shared.smtp_envelope import Envelope, commands, stuffed, wire_address
from providers.shared.smtp_turns import Mail, Turns
from providers.shared.smtp_wire import Reply, Wire, WireClosed, connected_transport

__all__ = ["Conversation", "Envelope", "Reply", "Route", "greet"]

_FAREWELL_S = 2.0
_NO_SUCH_RECIPIENT = "5.1."
_DONE, _GO_AHEAD, _FAREWELL = 2, 354, 421
_STAGES = ("MAIL", "RCPT", "DATA")


@dataclass(frozen=True, slots=True)
class Route:
    """Where to and how: `tls` none, starttls (required, never falling back) or implicit; the password is not shown."""

    host: str
    port: int
    tls: Literal["none", "starttls", "implicit"] = "none"
    username: str = ""
    password: str = ""
    tls_verify: bool = True
    tls_ca_file: str = ""
    connections: int = 16

    def __repr__(self) -> str:
        """Show where to, never the credentials."""
        return f"Route({self.host!r}, {self.port}, tls={self.tls!r})"


class _Stale(Exception):
    """The kept connection was dead before MAIL was answered."""


class Conversation:
    """A pool of connections to one route. Made inside the running loop; `close` it when done."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._turns = Turns(route.connections)
        self._kept: list[Wire] = []
        self._closed = False
        self._tls = _tls_context(route) if route.tls != "none" else None

    async def deliver(self, envelope: Envelope, content: bytes, timeout_s: float) -> Reply:
        """Hand one mail over within `timeout_s` seconds in all; return the reply to its final dot.

        Raises TemporaryFailure, PermanentFailure, Rejected or OutcomeUnknown by the table in this module's head.
        """
        wire_address(envelope.recipient)  # refuse what SMTP cannot carry before connecting
        mail = Mail(envelope, content, stuffed(content))
        try:
            async with asyncio.timeout(timeout_s):
                wire = await self._turns.mine(mail)
                try:
                    return await self._deliver(mail, wire)
                finally:
                    self._turns.over(mail)
        except TimeoutError:
            raise _broken(mail, "The mail server did not answer in time") from None

    async def close(self) -> None:
        """Say QUIT on every kept connection and close it; safe to call twice."""
        self._closed = True
        kept, self._kept = self._kept, []
        farewells = [asyncio.create_task(wire.quit()) for wire in kept]
        if farewells:
            _, late = await asyncio.wait(farewells, timeout=_FAREWELL_S)
            for farewell in late:
                farewell.cancel()
            await asyncio.gather(*farewells, return_exceptions=True)

    async def _deliver(self, mail: Mail, wire: Wire | None) -> Reply:
        """Deliver on a connection that already carries the commands of this mail; without one on a kept or a fresh one."""
        if wire is None:
            wire = self._take_kept()
        if wire is not None:
            try:
                return await self._transact(wire, mail, kept=True)
            except _Stale:
                mail.named = False
        return await self._transact(await self._connect(), mail, kept=False)

    async def _transact(self, wire: Wire, mail: Mail, *, kept: bool) -> Reply:
        reusable = False
        try:
            if wire.needs_reset:
                await _reset(wire)
            reply = await self._mail_transaction(wire, mail, kept=kept)
            reusable = True
        except (PermanentFailure, Rejected, TemporaryFailure) as refusal:
            wire.needs_reset = True
            reusable = refusal.raw[:1] in {b"", b"4", b"5"} and not refusal.raw.startswith(b"421")
            raise
        except WireClosed as broken:
            raise _broken(mail, "The mail server closed the connection or sent garbage", broken.heard) from None
        else:
            return reply
        finally:
            # also after a cancellation: a connection in mid-command is never kept
            if mail.follower is not None:
                wire.needs_reset = False  # its content ended this transaction, however that was answered
                self._turns.follow(mail, wire, usable=reusable and not self._closed)
            elif reusable and wire.usable and not self._closed:
                self._kept.append(wire)
            else:
                wire.abort()

    def _take_kept(self) -> Wire | None:
        while self._kept:
            wire = self._kept.pop()
            if wire.usable:
                return wire
            wire.abort()
        return None

    async def _connect(self) -> Wire:
        route = self._route
        client = aiosmtplib.SMTP(
            hostname=route.host, port=route.port, use_tls=route.tls == "implicit", start_tls=route.tls == "starttls",
            tls_context=self._tls, username=route.username or None, password=route.password or None,
            local_hostname="localhost" if route.host in {"127.0.0.1", "::1", "localhost"} else None, timeout=None,
        )
        try:
            await client.connect()
            await greet(client)
            return Wire(connected_transport(client.transport), dict(client.esmtp_extensions))
        except (aiosmtplib.SMTPException, OSError, ValueError, WireClosed) as failure:
            client.close()
            code = str(failure.code) if isinstance(failure, aiosmtplib.SMTPResponseException) else None
            # from None: the library's texts quote the server, and a server may quote what it was told
            raise ProviderUnavailable(_connect_detail(failure), code=code) from None
        except BaseException:
            client.close()
            raise


    async def _mail_transaction(self, wire: Wire, mail: Mail, *, kept: bool) -> Reply:
        pipelined = "pipelining" in wire.extensions
        named, mail.named = mail.named, False
        stages = commands(mail.envelope, mail.content, wire.extensions) if not named else (b"", b"")
        replies: list[Reply] = []
        for stage, command in zip(_STAGES, (*stages, b"DATA\r\n"), strict=True):
            try:
                if not pipelined:
                    wire.write(command)
                elif stage == "MAIL" and not named:
                    wire.write(b"".join(stages) + b"DATA\r\n")
                reply = await wire.read_reply()
            except WireClosed:
                if kept and stage == "MAIL":
                    raise _Stale from None
                raise
            if reply.code == _FAREWELL and kept and stage == "MAIL":
                raise _Stale
            replies.append(reply)
            if not pipelined or reply.code == _FAREWELL:
                _require(stage, reply)
        if replies[2].code == _GO_AHEAD and any(reply.code // 100 != _DONE for reply in replies[:2]):
            # RFC 2920 §3.1: a server may say 354 though it refused the recipient; it now waits for content, so leave it
            wire.abort()
        for stage, reply in zip(_STAGES, replies, strict=True):
            _require(stage, reply)
        # RFC 2920 §3.1: the next mail's commands may stand in one group with this one's content.
        wire.write(mail.body + self._turns.follower(mail, wire))  # raises before it writes, where the connection is known to be gone
        mail.content_sent = True
        final = await wire.read_reply()
        self._turns.answered(mail, wire)
        _require("content", final)
        return final


def _broken(mail: Mail, detail: str, heard: bytes = b"") -> ProviderError:
    """What a break-off means: everything depends on whether the content may have left."""
    if mail.content_sent:
        return OutcomeUnknown(f"{detail} after the message was sent; whether it was taken is not known.", raw=heard)
    return ProviderUnavailable(f"{detail} before the message was sent; it will be tried again.", raw=heard)


def _require(stage: str, reply: Reply) -> None:
    """Raise what a reply means at its stage, by the table in this module's head; nothing if it says to go on."""
    if (reply.code == _GO_AHEAD) if stage == "DATA" else (reply.code // 100 == _DONE):
        return
    raw, code = reply.raw, reply.shown_code
    match reply.code // 100:
        case 5 if stage == "RCPT" and code.startswith(_NO_SUCH_RECIPIENT):
            raise PermanentFailure("The mail server says that there is no such mailbox.", raw=raw, code=code)
        case 5:
            raise Rejected(f"The mail server refused the message for good at {stage}.", raw=raw, code=code)
        case 4:
            raise TemporaryFailure(f"The mail server refused the message for now at {stage}.", raw=raw, code=code)
    if stage == "content":
        raise OutcomeUnknown("The mail server answered the message with a reply without meaning.", raw=raw, code=code)
    raise TemporaryFailure(f"The mail server answered {stage} with a reply without meaning.", raw=raw, code=code)


async def _reset(wire: Wire) -> None:
    """Clear what an earlier refusal left behind; a connection that will not be reset counts as dead."""
    try:
        wire.write(b"RSET\r\n")
        reply = await wire.read_reply()
    except WireClosed:
        raise _Stale from None
    if reply.code // 100 != _DONE:
        raise _Stale
    wire.needs_reset = False


async def greet(client: aiosmtplib.SMTP) -> None:
    """Say EHLO where TLS or log-in has not yet done so, HELO to a server that knows no EHLO (RFC 5321 §3.2)."""
    if client.last_ehlo_response is None:
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError:
            await client.helo()


def _connect_detail(failure: Exception) -> str:
    match failure:
        case aiosmtplib.SMTPAuthenticationError():
            return "The mail server refused the log-in; check username and password of this provider."
        case aiosmtplib.SMTPResponseException():
            return "The mail server refused the conversation before the message; it will be tried again."
        case aiosmtplib.SMTPNotSupported():
            return "The mail server does not offer what the settings ask for; check tls and username of this provider."
        case _ if isinstance(failure, ssl.SSLError) or isinstance(failure.__cause__, ssl.SSLError):
            return "No trusted TLS connection to the mail server; check tls and tls_ca_file of this provider."
    return "The mail server cannot be reached; check host, port and tls of this provider if this lasts."


def _tls_context(route: Route) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=route.tls_ca_file or None)
    if not route.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
