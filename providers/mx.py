"""The `mx` provider: hands mail straight to the mail exchangers of the recipient's domain.

Loaded by its name in the configuration. A 250 after DATA from an MX of the recipient's domain is `arrived`. RFC 5321 §5.1: the
exchangers in order of preference, those of equal preference in random order, the domain's own address where it has no MX.

| what the domain says                          | result                                                          |
|-----------------------------------------------|-----------------------------------------------------------------|
| a null MX (RFC 7505)                          | PermanentFailure 5.1.10: it takes no mail                       |
| neither MX nor address                        | PermanentFailure 5.1.2: there is no such domain                 |
| the DNS does not answer                       | TemporaryFailure 4.4.3                                          |
| a policy that is enforced and allows no host  | TemporaryFailure 4.7.5 (RFC 8461 §5)                            |
| a host cannot be spoken to                    | the next one; after the last TemporaryFailure                   |
| a host refuses (4xx: busy, greylisting)       | as `smtp`: the message was named there, so no other host is asked |

One domain's trouble is not the provider's, so nothing here counts against it as a whole (ProviderUnavailable). Beside the
whole reply the evidence keeps which host took the mail, at which address, over which TLS and under which certificate.
"""

import asyncio
import ipaddress
import random
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from pydantic import Field, field_validator

from noticesvc.provider import (
    Callback,
    CallbackAnswer,
    ConfigurationError,
    Inquiry,
    InquiryAnswer,
    Message,
    PermanentFailure,
    ProviderContext,
    ProviderUnavailable,
    Receipt,
    SettingPath,
    Submission,
    TemporaryFailure,
)
from providers.shared.dkim_signing import DkimSettings, DkimSigner, signer_of
from providers.shared.dns_lookup import Unanswered
from providers.shared.domain_pace import DomainPaces
from providers.shared.mail_intake import IntakeSettings, MailIntake
from providers.shared.mail_reading import receipts_in
from providers.shared.mta_sts import Policies, Policy
from providers.shared.mx_conversation import Exchanger, MxConversation
from providers.shared.queue_id import queue_id
from providers.shared.return_path import check_addresses, return_path
from providers.shared.smtp_conversation import Envelope, Reply
from providers.shared.smtp_envelope import wire_address

_MOST_HOSTS, _MOST_CONVERSATIONS = 6, 500


class MxSettings(IntakeSettings):
    """Settings of an `mx` provider, without those every provider has."""

    from_address: str
    dkim: DkimSettings = DkimSettings()
    helo_name: str = ""
    port: int = Field(25, ge=1, le=65535)
    dsn: bool = True
    route: dict[str, str] = Field(default_factory=dict)
    domain_connections: int = Field(4, ge=1, le=100)
    domain_rate_per_s: float = Field(0, ge=0)
    mta_sts: bool = True
    mta_sts_port: int = Field(443, ge=1, le=65535)
    tls_ca_file: SettingPath = ""
    private_addresses: bool = False

    @field_validator("route")
    @classmethod
    def _routes(cls, value: dict[str, str]) -> dict[str, str]:
        for target in value.values():
            host, _, port = target.rpartition(":")
            if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError('must be like {"example.com" = "mail.example.com:25"}')
        return {domain.lower(): target for domain, target in value.items()}


class Mx:
    """Straight to the recipients' domains."""

    kind: ClassVar[str] = "mx"
    channels: ClassVar[frozenset[str]] = frozenset({"email"})
    Settings: ClassVar[type[MxSettings]] = MxSettings
    max_retry_s: float | None = None
    can_be_asked = False
    templates: frozenset[str] | None = None

    def __init__(self, name: str, timeout_s: float, settings: MxSettings) -> None:
        self.name = name
        self.from_address = settings.from_address
        self._settings, self._timeout_s = settings, timeout_s
        self._intake = MailIntake(settings)
        self._signer: DkimSigner | None = None
        self._policies: Policies | None = None
        self._paces = DomainPaces(settings.domain_connections, settings.domain_rate_per_s)
        self._conversations: dict[Exchanger, MxConversation] = {}
        self._random = random.SystemRandom()

    @classmethod
    def configure(cls, name: str, channel: str, timeout_s: float, settings: MxSettings) -> Self:
        """Make it from its settings; raises ConfigurationError for an address that no envelope can carry."""
        if channel not in cls.channels:
            raise ConfigurationError(f'providers.{name}: kind mx serves channel email only; set channel = "email".')
        check_addresses(name, settings.from_address, settings.return_path)
        return cls(name, timeout_s, settings)

    async def open(self, context: ProviderContext) -> None:
        """Begin to take in mail; connections are made with the first messages."""
        settings = self._settings
        try:
            self._policies = Policies(self._intake.lookup, port=settings.mta_sts_port, ca_file=settings.tls_ca_file)
        except OSError as unreadable:
            raise ConfigurationError(
                f"providers.{self.name}.tls_ca_file: it cannot be read as PEM; correct the path.") from unreadable
        self._signer = signer_of(self.name, settings.dkim)
        self._intake.open(self.name, context)

    async def submit(self, message: Message) -> Submission:
        """Hand one mail to the first exchanger of its domain that can be spoken to."""
        if self._policies is None:
            raise RuntimeError("The provider is used before open(); this is a fault in the caller.")
        domain = wire_address(message.to).rpartition("@")[2].lower()
        ends = time.monotonic() + self._timeout_s
        envelope = Envelope(
            return_path=return_path(self._settings.return_path or self.from_address, message), recipient=message.to,
            reference=message.reference, wants_dsn=self._settings.dsn)
        try:
            async with asyncio.timeout(self._timeout_s):
                slot = await self._paces.slot(domain, self._timeout_s / 2)
                exchangers, mode = await self._exchangers(domain)
        except TimeoutError:
            raise TemporaryFailure("The domain's DNS or our own limits for it took too long; it is tried again.") from None
        try:
            mime = message.mime if self._signer is None else await self._signer.signed(message.mime)
            return await self._first(exchangers, mode, envelope, mime, ends)
        finally:
            slot.release()

    async def query(self, inquiry: Inquiry) -> InquiryAnswer | None:
        """Return null: SMTP has no way to ask what became of a message."""
        return None

    def parse_callback(self, callback: Callback) -> CallbackAnswer:
        """Answer 404: no mail exchanger calls back."""
        return CallbackAnswer(404, b"This provider takes no callbacks.\n")

    def parse_receipt(self, raw: bytes, media_type: str) -> Sequence[Receipt]:
        """Read what came back; who wrote it is for `authenticate` to find out."""
        return receipts_in(raw)

    async def authenticate(self, raw: bytes, receipts: Sequence[Receipt]) -> Sequence[Receipt]:
        """Find out who wrote a mail that came back."""
        return await self._intake.authenticate(raw, receipts)

    def faults(self) -> Mapping[str, str]:
        """Tell which ways in do not work now."""
        return self._intake.faults()

    async def close(self) -> None:
        """Stop taking in mail, and say QUIT on the kept connections."""
        await self._intake.close()
        self._policies = None
        conversations, self._conversations = list(self._conversations.values()), {}
        await asyncio.gather(*(one.close() for one in conversations))

    async def _first(self, exchangers: list[Exchanger], mode: str, envelope: Envelope, mime: bytes, ends: float) -> Submission:
        for left, exchanger in zip(range(len(exchangers), 0, -1), exchangers, strict=True):
            timeout_s = max(0.1, (ends - time.monotonic()) / left)
            try:
                reply = await (await self._conversation(exchanger)).deliver(envelope, mime, timeout_s)
            except ProviderUnavailable as unspoken:
                last = unspoken
                continue
            return Submission("arrived", evidence(reply, exchanger, mode), code=reply.shown_code, provider_reference=queue_id(reply.raw))
        raise TemporaryFailure("No mail host of the domain could be spoken to; it is tried again.", raw=last.raw, code=last.code)

    async def _conversation(self, exchanger: Exchanger) -> MxConversation:
        """Return the conversation with an exchanger, the one used last at the end; the one unused longest makes room."""
        found = self._conversations.pop(exchanger, None)
        if found is None:
            settings = self._settings
            found = MxConversation(exchanger, settings.domain_connections, settings.helo_name, settings.tls_ca_file)
            if len(self._conversations) >= _MOST_CONVERSATIONS:
                oldest = next(iter(self._conversations))
                await self._conversations.pop(oldest).close()
        self._conversations[exchanger] = found
        return found

    async def _exchangers(self, domain: str) -> tuple[list[Exchanger], str]:
        """Return where to try, in order, and what MTA-STS says of the domain."""
        if (target := self._settings.route.get(domain)) is not None:
            host, _, port = target.rpartition(":")
            return [Exchanger(host.strip("[]"), host.strip("[]"), int(port))], "route"
        assert self._policies is not None  # noqa: S101 (submit has seen to it)
        policy = await self._policies.of(domain) if self._settings.mta_sts else None
        enforced = policy is not None and policy.mode == "enforce"
        found: list[Exchanger] = []
        try:
            for host in await self._hosts(domain, policy if enforced else None):
                found += [Exchanger(host, address, self._settings.port, enforced) for address in await self._addresses(host)]
                if len(found) >= _MOST_HOSTS:
                    break
        except Unanswered:
            raise TemporaryFailure("The DNS does not answer for the domain; it is tried again.", code="4.4.3") from None
        if not found:
            raise TemporaryFailure("The domain's mail hosts have no address that may be spoken to; it is tried again.", code="4.4.4")
        return found[:_MOST_HOSTS], "none" if policy is None else policy.mode

    async def _hosts(self, domain: str, enforced: Policy | None) -> list[str]:
        records = await self._intake.lookup.mx(domain)
        if [host for _, host in records] == [""]:
            raise PermanentFailure("The domain says that it takes no mail (null MX).", raw=b"MX 0 .\r\n", code="5.1.10")
        if not records:
            if not await self._intake.lookup.addresses(domain):
                raise PermanentFailure("There is no such domain for mail.", raw=b"neither MX nor address\r\n", code="5.1.2")
            records = [(0, domain)]
        order = sorted((preference, self._random.random(), host.lower()) for preference, host in records if host)
        hosts = [host for _, _, host in order if enforced is None or enforced.allows(host)]
        if not hosts:
            raise TemporaryFailure("The domain's policy (MTA-STS) allows none of its mail hosts; it is tried again.", code="4.7.5")
        return hosts

    async def _addresses(self, host: str) -> list[str]:
        """Return the addresses of a host that may be spoken to: nobody's DNS leads us into our own network."""
        found = await self._intake.lookup.addresses(host)
        return [one for one in found if self._settings.private_addresses or ipaddress.ip_address(one).is_global]


def evidence(reply: Reply, exchanger: Exchanger, mode: str) -> bytes:
    """Return the whole reply as it came, and below it who gave it."""
    told = f"host: {exchanger.host}\r\naddress: {exchanger.address}\r\ntls: {reply.tls}\r\nmta-sts: {mode}\r\n"
    return reply.raw + b"\r\n" + told.encode("ascii", "replace")
