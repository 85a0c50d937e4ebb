"""Everything a provider plug-in may import from noticesvc: the protocol, what it is given and what it answers.

A provider is a configured plug-in that hands one rendered message to one outside system (an SMTP relay, an SMS gateway)
and translates that system's words into the closed vocabulary of evidence. It never touches the database, never decides
about retries or legal effect, and keeps the raw bytes of every answer. The dispatch engine calls it with no transaction
open. A provider must not repeat a request by itself: every call that may have reached the other side is one attempt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator, ValidationInfo

from noticesvc.domain.sms_parts import SplitText, TooManyParts, alphabet_of, concatenation_header, count_parts, split, width
from noticesvc.errors import ConfigurationError, ProviderError

__all__ = [
    "Callback", "CallbackAnswer", "ConfigurationError", "Inquiry", "InquiryAnswer", "Message", "OutcomeUnknown",
    "PermanentFailure", "Provider", "ProviderContext", "ProviderError", "ProviderUnavailable", "ReadsMail", "Receipt",
    "Rejected", "SettingPath", "SplitText", "Submission", "TemporaryFailure", "TooManyParts", "alphabet_of",
    "concatenation_header", "count_parts", "split", "width",
]

Taken = Literal["submitted", "relayed", "arrived"]


def _beside_the_file(value: str, info: ValidationInfo) -> str:
    folder = (info.context or {}).get("folder")
    return str(Path(folder) / value) if value and folder is not None else value


SettingPath = Annotated[str, AfterValidator(_beside_the_file)]
"""A path in a provider's Settings: a relative one is relative to the configuration file, an empty one stays empty."""


@dataclass(frozen=True, slots=True)
class Message:
    """The rendered form of one notice for one channel, handed to a provider for one attempt.

    `reference` is ours: stable for this attempt, unique, at most 80 characters of `[0-9a-z_.-]`; providers pass it on
    (ENVID, query member, client reference) so that receipts find their attempt. `message_id` is the RFC 5322 Message-ID
    without angle brackets, made once for a delivery and kept over all its attempts. For email `mime` is the complete
    message with CRLF line ends (never a bare CR or LF); for SMS `text` is the complete text. `callback_url` is where this
    provider's receipts for this attempt may be sent, null where the service has no public address; it carries an HMAC
    token bound to the attempt. `return_token` is a word of 45 letters and digits, for email alone, by which mail that comes
    back finds the attempt: a provider may put it into the envelope sender (VERP). `commercial` is true only for notices that
    may be refused (List-Unsubscribe belongs there). `template` is the name of our template that it was made from, or null;
    `template_params` are its parameters and, where the text carries a link, `link` (the whole address) and `link_token` (its
    last part), for vendors that fill in their own template.
    """

    reference: str
    message_id: str
    channel: str
    to: str
    subject: str
    text: str
    mime: bytes
    callback_url: str | None
    commercial: bool
    template: str | None = None
    template_params: Mapping[str, str] = field(default_factory=dict)
    return_token: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """The provider's immediate answer when it took the message.

    `outcome` is how far the message is proven to have come (document levels 1 to 3). `raw` is the answer as bytes, whole;
    `provider_reference` the id under which the provider knows the message (queue id, message id) or null; `claimed_time_raw`
    the provider's own time string as it came, `claimed_at` the same as RFC 3339 with the zone assumed for this provider.
    `parts` is how many SMS parts it was split into, null if unknown.
    """

    outcome: Taken
    raw: bytes
    media_type: str = "text/plain"
    provider_reference: str | None = None
    code: str | None = None
    claimed_time_raw: str | None = None
    claimed_at: str | None = None
    parts: int | None = None


class _Refusal(ProviderError):
    """What all refusals carry: the raw answer (empty if there was none), its media type and the provider's own code."""

    outcome: ClassVar[str]

    def __init__(self, detail: str, *, raw: bytes = b"", media_type: str = "text/plain", code: str | None = None) -> None:
        super().__init__(detail)
        self.raw = raw
        self.media_type = media_type
        self.code = code


class TemporaryFailure(_Refusal):
    """The message was certainly not taken, and this provider may take it later: the recipient's side is busy, greylists, is full."""

    outcome = "failed_temporary"


class ProviderUnavailable(TemporaryFailure):
    """The message was certainly not taken, and the trouble is this way out, not the message: no connection, throttled, our
    credentials or balance, no vendor template. Another provider of the channel is tried at once, this one later.
    """


class PermanentFailure(_Refusal):
    """There is no such number or mailbox: trying again cannot help (RCPT answered 5.1.x)."""

    outcome = "failed_permanent"


class Rejected(_Refusal):
    """Refused at hand-over for policy or another reason that is not the address's non-existence (other 5xx)."""

    outcome = "rejected"


class OutcomeUnknown(_Refusal):
    """The call broke off after the message may have been taken (time-out or close after the final dot, HTTP 5xx garbage)."""

    outcome = "unknown"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A provider's later statement about one attempt, in the closed vocabulary.

    `kind` is an evidence kind (`relayed` `arrived` `failed_temporary` `failed_permanent` `rejected` `expired` …) or
    `unmapped` for a code no table knows. It is matched by `reference` (ours) where known, else by `provider_reference`.
    `authenticated_by` names how it was authenticated (`hmac-token`, `dsn-own-relay`, `query`, …) or is null: then it is
    stored and has no effect on service. `raw` is the part of the bytes that speaks of this receipt, where the whole speaks of
    several recipients (a batch): it becomes the evidence, so that nobody's proof holds what was said of others.

    Mail says more about itself, and the service holds it against the attempt's own address before it believes anything:
    `return_tokens` are words that may be tokens of ours, `final_recipient` the address that a reporting system tried,
    `sender` whose mail it is (replies, MDN), `aligned_domain` the domain that DKIM or SPF proved where
    `authenticated_by` rests on one.
    """

    kind: str
    reference: str | None = None
    provider_reference: str | None = None
    recipient: str | None = None
    claimed_time_raw: str | None = None
    claimed_at: str | None = None
    code: str | None = None
    text: str | None = None
    part: int | None = None
    parts: int | None = None
    source: str = "gateway"
    authenticated_by: str | None = None
    return_tokens: tuple[str, ...] = ()
    final_recipient: str | None = None
    sender: str | None = None
    aligned_domain: str | None = None
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question to a provider: what became of the attempt that we made under `reference`?

    `to` is its number or mailbox, `provider_reference` the provider's own id where it told us one, `attempted_at` (aware) when
    we were about to call, `asked_at` now.
    """

    reference: str
    message_id: str
    channel: str
    to: str
    provider_reference: str | None
    attempted_at: datetime
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class InquiryAnswer:
    """What a provider answered an Inquiry: the bytes, and the receipts in them (none: nothing new).

    `never_taken` only where the provider says for certain that it has no such message: then it may be sent again at once.
    """

    raw: bytes
    media_type: str
    receipts: Sequence[Receipt] = ()
    never_taken: bool = False


@dataclass(frozen=True, slots=True)
class Callback:
    """One HTTP request that arrived at /v1/providers/{name}/callbacks, as it came.

    Our tokens are checked before a provider sees it: `reference` is set only if the address carried the valid token that we
    made for that attempt, `ours` if it carried a valid token at all: the attempt's, or the one of the address that
    `noticesvc providers` prints for registering with a vendor. The token of an attempt vouches for receipts with its `reference`
    alone; the service removes `hmac-token` from others. `url` is the whole address as the outside called it, for
    vendors that sign it.
    """

    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    reference: str | None = None
    ours: bool = False
    url: str = ""


@dataclass(frozen=True, slots=True)
class CallbackAnswer:
    """What a provider made of a callback: how to answer it, and the receipts in it.

    401 means: not authenticated. It is kept and has no effect; but where the receipts name attempts of this provider and it can
    be asked (`query`), it is asked about them at once, and its answer counts.
    """

    status: int
    body: bytes = b""
    media_type: str = "text/plain; charset=utf-8"
    receipts: Sequence[Receipt] = ()


class ProviderContext(Protocol):
    """What the service lends a provider while it is open."""

    name: str

    async def receive(self, raw: bytes, media_type: str) -> None:
        """Take in a receipt that came by another way than a callback (a DSN, a poll); durable when this returns.

        The bytes come back to `parse_receipt` of this provider, possibly in another process.
        """

    async def keep(self, *, channel: str, to: str, subject: str, text: str, reference: str | None = None) -> None:
        """Sandbox only: keep what was taken, for `GET /sandbox/messages`; durable when this returns.

        `reference` is the attempt's (`Message.reference`), so that `recall` finds it again.
        """

    async def recall(self, reference: str) -> bool:
        """Sandbox only: whether something was kept under this reference, by this process or another, before or now."""

    async def schedule(self, raw: bytes, media_type: str, after_s: float) -> None:
        """Sandbox only: have `raw` received after `after_s` seconds, even across a restart; durable when this returns."""


@runtime_checkable
class Provider(Protocol):
    """One configured way out. Made by its class method `configure`; opened and closed by the worker that uses it.

    Class attributes: `kind` (the word in the configuration), `channels` (channels it can serve) and `Settings`, a pydantic
    model of its own settings, `extra="forbid"`, without the common ones (kind, channel, priority, timeout_s, …).
    """

    kind: ClassVar[str]
    channels: ClassVar[frozenset[str]]
    Settings: ClassVar[Any]
    max_retry_s: float | None  # upper bound on the retry delay of deliveries through this provider (the sandbox: 2 s)
    from_address: str  # the sender address that rendering writes into messages; empty where the channel has none
    can_be_asked: bool  # whether `query` may know something; then it is asked about attempts whose receipts do not come
    templates: frozenset[str] | None  # names of our templates that it can send; null: any text, and there is no mapping

    @classmethod
    def configure(cls, name: str, channel: str, timeout_s: float, settings: Any) -> "Provider":
        """Make it from its validated Settings; no I/O. Raises ConfigurationError with the setting and the remedy."""

    async def open(self, context: ProviderContext) -> None:
        """Prepare for calls in the running event loop (no connection is needed yet)."""

    async def submit(self, message: Message) -> Submission:
        """Hand over one message, within timeout_s in all.

        Returns a Submission, or raises TemporaryFailure, ProviderUnavailable, PermanentFailure, Rejected or OutcomeUnknown.
        Any other exception is treated as OutcomeUnknown and reported as a fault of the provider.
        """

    async def query(self, inquiry: Inquiry) -> InquiryAnswer | None:
        """Ask what became of an attempt; null where this provider cannot be asked, or not about this one.

        Receipts need no `reference` and no `authenticated_by`: the service fills in the attempt and `query`. What it raises
        means that there was no answer; it is asked again later.
        """

    def parse_callback(self, callback: Callback) -> CallbackAnswer:
        """Verify and translate a callback, its own way. Pure; never raises for hostile input (answers 400 or 401)."""

    def parse_receipt(self, raw: bytes, media_type: str) -> Sequence[Receipt]:
        """Translate bytes that came through `ProviderContext.receive`. Pure; garbage gives an empty sequence."""

    async def close(self) -> None:
        """Say goodbye to the other side (QUIT) and free what was opened; safe to call twice."""


@runtime_checkable
class ReadsMail(Protocol):
    """What a provider has besides when mail comes back to it: somebody must find out who wrote it, which may ask the DNS."""

    async def authenticate(self, raw: bytes, receipts: Sequence[Receipt]) -> Sequence[Receipt]:
        """Return the receipts that `parse_receipt` found in `raw` with `authenticated_by` and `aligned_domain` where it can be
        proved who wrote the mail, within a few seconds. Raises TemporaryFailure when that cannot be told now.
        """

    def faults(self) -> Mapping[str, str]:
        """What is wrong with the ways in: a name and a sentence each, empty when mail is being taken in."""
