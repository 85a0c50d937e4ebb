"""The `sandbox` provider: tries everything without reaching anybody; what `noticesvc init` configures.

Loaded by its name in the configuration, for mail and for SMS. Mail goes through a real SMTP conversation into a mailbox
of its own (providers.shared.sandbox_mailbox says which addresses do what). SMS goes to a gateway inside this process,
which answers and later sends receipts like a real one, by the last two digits of the number:

| ending | answer                                | receipts                                                     |
|--------|---------------------------------------|--------------------------------------------------------------|
| 02     | taken                                 | there is no such number                                      |
| 03     | refused for now on the first attempt  | on a later one: delivered                                    |
| 04     | taken                                 | never                                                        |
| 05     | taken                                 | delivered, then on its way, then delivered again, unchanged  |
| other  | taken                                 | delivered                                                    |

Everything taken is kept, and later receipts are scheduled, through the context before the answer: they outlive a crash.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from noticesvc.provider import (
    Callback,
    CallbackAnswer,
    ConfigurationError,
    Inquiry,
    InquiryAnswer,
    Message,
    OutcomeUnknown,
    ProviderContext,
    ProviderError,
    Receipt,
    Rejected,
    Submission,
    TemporaryFailure,
)
from providers.shared.dsn import receipts_of
from providers.shared.sandbox_mailbox import HOST, Mailbox, attempt_number
from providers.shared.sms_parts import TooManyParts, count_parts
from providers.shared.smtp_conversation import Conversation, Envelope, Route

_RECEIPT_AFTER_S = 0.1
_MAX_RECEIPT = 64 * 1024
_ANSWER = "application/json"

_KIND_OF_STATE = {"DELIVRD": "arrived", "ENROUTE": "relayed", "NOSUCHNUMBER": "failed_permanent"}
_STATES_OF_ENDING: dict[str, tuple[str, ...]] = {
    "02": ("NOSUCHNUMBER",), "04": (), "05": ("DELIVRD", "ENROUTE", "DELIVRD"),
}


class SandboxSettings(BaseModel):
    """Settings of a `sandbox` provider: none is needed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    from_address: str = ""


class Sandbox:
    """One pretended way out, for one channel."""

    kind: ClassVar[str] = "sandbox"
    channels: ClassVar[frozenset[str]] = frozenset({"email", "sms"})
    Settings: ClassVar[type[SandboxSettings]] = SandboxSettings
    max_retry_s: float | None = 2.0
    can_be_asked = False  # it may be asked about what is unknown, but its receipts never get lost
    templates: frozenset[str] | None = None

    def __init__(self, channel: str, timeout_s: float, settings: SandboxSettings) -> None:
        self.from_address = settings.from_address or (f"notices@{HOST}" if channel == "email" else "")
        self._channel = channel
        self._timeout_s = timeout_s
        self._context: ProviderContext | None = None
        self._mailbox: Mailbox | None = None
        self._conversation: Conversation | None = None

    @classmethod
    def configure(cls, name: str, channel: str, timeout_s: float, settings: SandboxSettings) -> Self:
        """Make it from its settings; raises ConfigurationError for a channel it does not pretend to serve."""
        if channel not in cls.channels:
            raise ConfigurationError(f"providers.{name}: kind sandbox serves email and sms; choose one channel.")
        return cls(channel, timeout_s, settings)

    async def open(self, context: ProviderContext) -> None:
        """Start the mailbox (email) in the running loop."""
        self._context = context
        if self._channel == "email":
            self._mailbox = Mailbox(context)
            port = await self._mailbox.start()
            self._conversation = Conversation(Route("127.0.0.1", port))

    async def submit(self, message: Message) -> Submission:
        """Hand one message to the mailbox or to the gateway."""
        if self._context is None:
            raise RuntimeError("The provider is used before open(); this is a fault in the caller.")
        if self._conversation is None:
            return await self._submit_sms(message, self._context)
        envelope = Envelope(self.from_address, message.to, message.reference)
        reply = await self._conversation.deliver(envelope, message.mime, self._timeout_s)
        reference = reply.raw.rpartition(b" ")[2].strip().decode("ascii", "replace")
        return Submission("arrived", reply.raw, code=reply.shown_code, provider_reference=reference)

    async def query(self, inquiry: Inquiry) -> InquiryAnswer | None:
        """Tell what was taken under this reference: by this process or another, before a crash or after."""
        if self._context is None:
            return None
        if not await self._context.recall(inquiry.reference):
            return InquiryAnswer(b'{"known": false}', _ANSWER, never_taken=True)
        kind = "arrived" if self._channel == "email" else "submitted"
        return InquiryAnswer(b'{"known": true}', _ANSWER, (Receipt(kind, source="query"),))

    def parse_callback(self, callback: Callback) -> CallbackAnswer:
        """Answer 404: the sandbox sends its receipts from within."""
        return CallbackAnswer(404, b"This provider takes no callbacks.\n")

    def parse_receipt(self, raw: bytes, media_type: str) -> Sequence[Receipt]:
        """Translate a receipt of the gateway (JSON) or of the mailbox (a DSN)."""
        if media_type.partition(";")[0].strip() != _ANSWER:
            return receipts_of(raw, authenticated_by="sandbox")
        receipt = _read_receipt(raw)
        return () if receipt is None else (receipt,)

    async def close(self) -> None:
        """Say QUIT to the mailbox and stop it."""
        conversation, self._conversation = self._conversation, None
        mailbox, self._mailbox = self._mailbox, None
        self._context = None
        if conversation is not None:
            await conversation.close()
        if mailbox is not None:
            await mailbox.stop()

    async def _submit_sms(self, message: Message, context: ProviderContext) -> Submission:
        try:
            parts = count_parts(message.text)
        except TooManyParts as too_long:
            raise Rejected(str(too_long), code="length") from None
        ending = message.to[-2:]
        if ending == "03" and attempt_number(message.reference) == 1:
            raw = b'{"status": "busy"}'
            raise TemporaryFailure("The sandbox refuses this number once.", raw=raw, media_type=_ANSWER, code="busy")
        try:
            async with asyncio.timeout(self._timeout_s):
                await context.keep(channel="sms", to=message.to, subject="", text=message.text,
                                   reference=message.reference)
                for position, state in enumerate(_STATES_OF_ENDING.get(ending, ("DELIVRD",)), start=1):
                    receipt = json.dumps({"reference": message.reference, "state": state, "to": message.to})
                    await context.schedule(receipt.encode(), _ANSWER, _RECEIPT_AFTER_S * position)
        except ProviderError:
            raise
        except Exception:
            raise OutcomeUnknown("The sandbox broke off while it kept the message; look at the database.") from None
        answer = json.dumps({"status": "accepted", "id": message.reference, "parts": parts})
        return Submission("submitted", answer.encode(), _ANSWER, provider_reference=message.reference, code="accepted",
                          parts=parts)


def _read_receipt(raw: bytes) -> Receipt | None:
    """Read one of the gateway's own receipts; null for garbage."""
    try:
        members = json.loads(raw[:_MAX_RECEIPT].decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict):
        return None
    reference, state, to = (members.get(name) for name in ("reference", "state", "to"))
    if not isinstance(reference, str) or not isinstance(state, str) or not isinstance(to, str):
        return None
    return Receipt(
        kind=_KIND_OF_STATE.get(state, "unmapped"), reference=reference, provider_reference=reference, recipient=to,
        code=state, source="gateway", authenticated_by="sandbox",
    )
