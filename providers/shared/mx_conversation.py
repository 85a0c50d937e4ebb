"""A conversation with one mail exchanger: TLS where it is offered, or required where MTA-STS says so.

Called by the `mx` provider. Opportunistic TLS (RFC 7435) verifies no certificate, so that a self-signed one is still better than
none, and its fingerprint is kept as evidence of who was spoken to; where the handshake fails, the mail goes without. With
a policy that is enforced (RFC 8461) the certificate must be valid for the exchanger's name, and nothing goes without TLS.
"""

import hashlib
import ssl
from dataclasses import dataclass

import aiosmtplib

from noticesvc.provider import ProviderUnavailable
from providers.shared.smtp_conversation import Conversation, Route, greet
from providers.shared.smtp_wire import Wire, WireClosed, connected_transport


@dataclass(frozen=True, slots=True)
class Exchanger:
    """Where to: the host's name, one of its addresses, and whether its certificate must hold."""

    host: str
    address: str
    port: int
    enforced: bool = False


class MxConversation(Conversation):
    """Connections to one exchanger. `ca_file` are the authorities that count when TLS is enforced; empty: the system's."""

    def __init__(self, exchanger: Exchanger, connections: int, helo_name: str, ca_file: str) -> None:
        super().__init__(Route(exchanger.address, exchanger.port, connections=connections))
        self._exchanger, self._helo_name = exchanger, helo_name
        self._context = ssl.create_default_context(cafile=ca_file or None)
        if not exchanger.enforced:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._plain = False  # its handshake failed before

    async def _connect(self) -> Wire:
        if self._plain and not self._exchanger.enforced:
            return await self._connected(tls=False)
        try:
            return await self._connected(tls=True)
        except _NoHandshake:
            if self._exchanger.enforced:
                raise ProviderUnavailable("The domain's policy requires a trusted TLS connection, and its host offers none.",
                                          code="4.7.5") from None
            self._plain = True
            return await self._connected(tls=False)

    async def _connected(self, *, tls: bool) -> Wire:
        exchanger = self._exchanger
        client = aiosmtplib.SMTP(
            hostname=exchanger.address, port=exchanger.port, use_tls=False, start_tls=False, tls_context=self._context, timeout=None,
            local_hostname=self._helo_name or ("localhost" if exchanger.address in {"127.0.0.1", "::1"} else None))
        try:
            await client.connect()
            await greet(client)
            if tls and client.supports_extension("starttls"):
                await _handshake(client, exchanger.host)
                await greet(client)
            elif exchanger.enforced:
                raise _NoHandshake
            transport = connected_transport(client.transport)
            return Wire(transport, dict(client.esmtp_extensions), _facts(transport.get_extra_info("ssl_object")))
        except _NoHandshake:
            client.close()
            raise
        except (aiosmtplib.SMTPException, OSError, ValueError, WireClosed) as failure:
            client.close()
            code = str(failure.code) if isinstance(failure, aiosmtplib.SMTPResponseException) else None
            raise ProviderUnavailable("The domain's mail host cannot be spoken to; it is tried again.", code=code) from None
        except BaseException:
            client.close()
            raise


class _NoHandshake(Exception):
    """STARTTLS is not offered where it must be, or ended without a connection that can be used."""


async def _handshake(client: aiosmtplib.SMTP, host: str) -> None:
    try:
        await client.starttls(server_hostname=host)
    except (aiosmtplib.SMTPException, OSError, ValueError):
        raise _NoHandshake from None


def _facts(tls: ssl.SSLObject | None) -> str:
    """Return protocol, cipher and the certificate's SHA-256, one line; `none` for a connection without TLS."""
    if tls is None:
        return "none"
    cipher, certificate = tls.cipher(), tls.getpeercert(binary_form=True)
    fingerprint = hashlib.sha256(certificate).hexdigest() if certificate else "none"
    return f"{tls.version()} {cipher[0] if cipher else '-'} certificate-sha256={fingerprint}"
