"""The `smtp` provider: hands mail to a relay or mail server and reads the bounces and replies that come back.

Loaded by its name in the configuration. The reply to the final dot is the evidence; `host_is` says what it proves:
our own relay's 250 is `submitted`, one outside our control `relayed`, an MX of the recipient's domain `arrived`. The
envelope carries our reference (ENVID), and the return token where the return path asks for it, so that whatever comes back
finds its attempt.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field

from noticesvc.provider import (
    Callback,
    CallbackAnswer,
    ConfigurationError,
    Inquiry,
    InquiryAnswer,
    Message,
    ProviderContext,
    Receipt,
    SettingPath,
    Submission,
    Taken,
)
from providers.shared.dkim_signing import DkimSettings, DkimSigner, signer_of
from providers.shared.mail_intake import IntakeSettings, MailIntake
from providers.shared.mail_reading import receipts_in
from providers.shared.queue_id import queue_id
from providers.shared.return_path import check_addresses, return_path
from providers.shared.smtp_conversation import Conversation, Envelope, Reply, Route

_OUTCOMES: dict[str, Taken] = {"our_relay": "submitted", "outside_relay": "relayed", "recipient_mx": "arrived"}


class SmtpSettings(IntakeSettings):
    """Settings of an `smtp` provider, without those every provider has."""

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(25, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "none"
    tls_verify: bool = True
    tls_ca_file: SettingPath = ""
    username: str = Field("", repr=False)
    password: str = Field("", repr=False)
    from_address: str
    dkim: DkimSettings = DkimSettings()
    connections: int = Field(16, ge=1, le=1000)
    dsn: bool = True
    host_is: Literal["our_relay", "outside_relay", "recipient_mx"] = "our_relay"


class Smtp:
    """One mail server, over at most `connections` kept connections."""

    kind: ClassVar[str] = "smtp"
    channels: ClassVar[frozenset[str]] = frozenset({"email"})
    Settings: ClassVar[type[SmtpSettings]] = SmtpSettings
    max_retry_s: float | None = None
    can_be_asked = False
    templates: frozenset[str] | None = None

    def __init__(self, name: str, timeout_s: float, settings: SmtpSettings) -> None:
        self.name = name
        self.from_address = settings.from_address
        self._settings = settings
        self._timeout_s = timeout_s
        self._conversation: Conversation | None = None
        self._intake = MailIntake(settings)
        self._signer: DkimSigner | None = None

    @classmethod
    def configure(cls, name: str, channel: str, timeout_s: float, settings: SmtpSettings) -> Self:
        """Make it from its settings; raises ConfigurationError for an address that no envelope can carry."""
        if channel not in cls.channels:
            raise ConfigurationError(f'providers.{name}: kind smtp serves channel email only; set channel = "email".')
        check_addresses(name, settings.from_address, settings.return_path)
        if bool(settings.username) != bool(settings.password):
            raise ConfigurationError(f"providers.{name}: username and password go together; set both or neither.")
        return cls(name, timeout_s, settings)

    async def open(self, context: ProviderContext) -> None:
        """Prepare the connections of this event loop; raises ConfigurationError for an unreadable CA file."""
        settings = self._settings
        try:
            self._conversation = Conversation(Route(
                host=settings.host, port=settings.port, tls=settings.tls, username=settings.username,
                password=settings.password, tls_verify=settings.tls_verify, tls_ca_file=settings.tls_ca_file,
                connections=settings.connections,
            ))
        except OSError as unreadable:
            raise ConfigurationError(
                f"providers.{self.name}.tls_ca_file: it cannot be read as PEM; correct the path.") from unreadable
        self._signer = signer_of(self.name, settings.dkim)
        self._intake.open(self.name, context)

    async def submit(self, message: Message) -> Submission:
        """Hand one mail over; the outcomes stand in providers.shared.smtp_conversation."""
        if self._conversation is None:
            raise RuntimeError("The provider is used before open(); this is a fault in the caller.")
        envelope = Envelope(
            return_path=return_path(self._settings.return_path or self.from_address, message), recipient=message.to,
            reference=message.reference, wants_dsn=self._settings.dsn,
        )
        mime = message.mime if self._signer is None else await self._signer.signed(message.mime)
        reply = await self._conversation.deliver(envelope, mime, self._timeout_s)
        return submission_of(reply, _OUTCOMES[self._settings.host_is])

    async def query(self, inquiry: Inquiry) -> InquiryAnswer | None:
        """Return null: SMTP has no way to ask what became of a message."""
        return None

    def parse_callback(self, callback: Callback) -> CallbackAnswer:
        """Answer 404: no SMTP server calls back."""
        return CallbackAnswer(404, b"This provider takes no callbacks.\n")

    def parse_receipt(self, raw: bytes, media_type: str) -> Sequence[Receipt]:
        """Read what came back. Its receipts are not authenticated here: who wrote it is for `mail_trust` to find out."""
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
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            await conversation.close()


def submission_of(reply: Reply, outcome: Taken) -> Submission:
    """Make a submission of the reply to the final dot, with the queue id where it is recognisable."""
    return Submission(outcome=outcome, raw=reply.raw, code=reply.shown_code, provider_reference=queue_id(reply.raw))
