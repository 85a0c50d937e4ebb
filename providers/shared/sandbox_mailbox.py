"""The sandbox's mailbox: a small real SMTP server on loopback that acts as an MX of every recipient's domain.

Called by the `sandbox` provider, which speaks real SMTP to it. The address chooses the behaviour:

| to        | RCPT or DATA                       | afterwards                                              |
|-----------|------------------------------------|---------------------------------------------------------|
| bounce*@  | taken                              | two seconds later a DSN: failed, 5.1.1                  |
| refuse*@  | 550 5.1.1                          |                                                         |
| slow*@    | 451 4.2.1 on the first attempt     | taken on a later one                                    |
| dsn*@     | taken                              | at once a DSN: delivered                                |
| any other | taken                              |                                                         |

Which attempt it is stands at the end of the envelope id (`….2`), so this outlives a restart. aiosmtpd does the
protocol; it knows no DSN parameters (RFC 3461), so they are read here before it sees the command.
"""

import asyncio
import itertools
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from noticesvc.provider import ProviderContext
from providers.shared.dsn import write_report

HOST = "sandbox.invalid"
"""The name the mailbox goes by (RFC 6761: never a real domain)."""

MAX_BYTES = 25 * 1024 * 1024
BOUNCE_AFTER_S, REPORT_AFTER_S = 2.0, 0.1
_NO_SUCH_MAILBOX = "550 5.1.1 There is no such mailbox in the sandbox"
_PARAMETER = re.compile(r"\s(RET|ENVID|NOTIFY|ORCPT)=(\S+)", re.IGNORECASE)
_XTEXT = re.compile(r"\+([0-9A-F]{2})")


def attempt_number(reference: str) -> int | None:
    """Return the number of the attempt, which references end in (`….3`); null where one does not."""
    last = reference.rpartition(".")[2]
    return int(last) if last.isascii() and last.isdigit() and len(last) < 10 else None


@dataclass(slots=True)
class _Asked:
    """The DSN parameters of the transaction in hand."""

    envelope_id: str = ""


class Mailbox:
    """The server; `start` it inside the loop that shall run it, `stop` it there."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Transport] = set()
        self._taken = itertools.count(1)

    async def start(self) -> int:
        """Listen on a free loopback port; return it."""
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd logs addresses at lower levels
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self, loop), "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and drop every connection; safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for transport in tuple(self._open):
                transport.abort()
            await server.wait_closed()

    async def handle_EHLO(  # noqa: N802 - aiosmtpd finds its hooks by these names
        self, server: "_Session", session: Session, envelope: Envelope, hostname: str, responses: list[str],
    ) -> list[str]:
        """Offer DSN beside what aiosmtpd offers itself."""
        session.host_name = hostname
        return [*responses[:-1], "250-DSN", "250-ENHANCEDSTATUSCODES", "250-PIPELINING", *responses[-1:]]

    async def handle_RCPT(  # noqa: N802
        self, server: "_Session", session: Session, envelope: Envelope, address: str, options: list[str],
    ) -> str:
        """Refuse whom the address says to refuse; one recipient a mail."""
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        if address.startswith("refuse"):
            return _NO_SUCH_MAILBOX
        if address.startswith("slow") and attempt_number(server.asked.envelope_id) == 1:
            return "451 4.2.1 The mailbox is busy, try again later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient ok"

    async def handle_DATA(self, server: "_Session", session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the mail, arrange for what shall come later, and only then say that it is taken."""
        to, reference = str(envelope.rcpt_tos[0]), server.asked.envelope_id
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        subject, text, message_id = _look(content)
        await self._context.keep(channel="email", to=to, subject=subject, text=text, reference=reference or None)
        back = str(envelope.mail_from)
        if to.startswith("bounce"):
            await self._report(back, to, reference, message_id, "failed", "5.1.1", BOUNCE_AFTER_S)
        elif to.startswith("dsn"):
            await self._report(back, to, reference, message_id, "delivered", "2.0.0", REPORT_AFTER_S)
        return f"250 2.0.0 Ok: queued as SBX{next(self._taken):08X}"

    async def handle_exception(self, error: Exception) -> str:
        """Answer any fault of ours with a temporary refusal, without its text."""
        return "451 4.3.0 The sandbox cannot take mail at the moment"

    async def _report(
        self, to: str, recipient: str, reference: str, message_id: str, action: str, status: str, after_s: float,
    ) -> None:
        diagnostic = _NO_SUCH_MAILBOX if action == "failed" else "250 2.0.0 Delivered"
        raw = write_report(
            to=to, reporting_mta=HOST, envelope_id=reference, recipient=recipient, action=action, status=status,
            diagnostic=diagnostic, message_id=message_id, at=datetime.now(UTC) + timedelta(seconds=after_s),
        )
        await self._context.schedule(raw, "multipart/report", after_s)


class _Session(SMTP):
    """One connection: aiosmtpd's, with RFC 3461 parameters taken off MAIL and RCPT before it reads them."""

    command_size_limit = 2048

    def __init__(self, mailbox: Mailbox, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(mailbox, data_size_limit=MAX_BYTES, enable_SMTPUTF8=True, hostname=HOST, ident="sandbox",
                         loop=loop)
        self.asked = _Asked()
        self._mailbox = mailbox

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the connection, so that stopping ends it."""
        self._own = cast(asyncio.Transport, transport)
        self._mailbox._open.add(self._own)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._mailbox._open.discard(self._own)
        super().connection_lost(error)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd finds commands by these names
        """Read ENVID and leave the rest to aiosmtpd."""
        found = {name.upper(): value for name, value in _PARAMETER.findall(arg or "")}
        self.asked = _Asked(_XTEXT.sub(lambda byte: chr(int(byte[1], 16)), found.get("ENVID", "")))
        await _next(super().smtp_MAIL)(_PARAMETER.sub("", arg) if arg else arg)

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        """Take NOTIFY and ORCPT off and leave the rest to aiosmtpd."""
        await _next(super().smtp_RCPT)(_PARAMETER.sub("", arg) if arg else arg)


def _next(command: Any) -> Callable[[str | None], Awaitable[None]]:
    return cast(Callable[[str | None], Awaitable[None]], command)


def _look(content: bytes) -> tuple[str, str, str]:
    """Return subject, text and Message-ID as a reader sees them; empty where the mail cannot be read."""
    try:
        message = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
        body = message.get_body(("plain", "html"))
        text = body.get_content() if body is not None else ""
        message_id = str(message.get("Message-ID", "")).strip("<> ")
        return str(message.get("Subject", "")), str(text).replace("\r\n", "\n"), message_id
    except Exception:  # email.policy.default has no closed set of errors for what is no mail
        return "", "", ""
