"""The `twilio` provider: short messages through Twilio's Messages resource (2010-04-01), its status callbacks and the resource.

Loaded by its name in the configuration. Basic authentication; form bodies. Twilio knows no reference of ours, so the address for
status callbacks carries it, and what is asked is the resource under its Sid; an attempt whose answer was lost cannot be asked.

| answer                                             | means                                                                  |
|----------------------------------------------------|------------------------------------------------------------------------|
| 201 with a Sid                                     | submitted                                                              |
| 21211 (no valid number)                            | PermanentFailure                                                       |
| 21610 (opted out) 21614 21617 21602 21635 21658 30006 | Rejected: policy, a landline, too long                              |
| 14107 (too many between the two numbers)           | TemporaryFailure                                                       |
| any other 4xx: 20003, 20429, 21401, 21408, 21606, 21611, 21612 … | ProviderUnavailable: credentials, rate, permission, sender, route |
| else                                               | OutcomeUnknown                                                         |

Status: queued, accepted, scheduled, sending say nothing new; `sent` is `relayed`, `delivered` and `read` `arrived`, `canceled`
`rejected`; `undelivered` and `failed` by ErrorCode, `rejected` for one that no table knows: it was given up for good.
Callbacks are signed: X-Twilio-Signature is the base64 HMAC-SHA1, under the auth token, of the whole address and the sorted form. (A
webhook rule may have Twilio sign with another key and algorithm, X-Twilio-Webhooks-Signature-Settings; leave that off for ours.)
Sources, read 2026-11-26: www.twilio.com/docs/api/errors/<code>, /docs/usage/webhooks/webhooks-security; their clients' test vectors.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from noticesvc.provider import (
    Callback,
    CallbackAnswer,
    ConfigurationError,
    Inquiry,
    InquiryAnswer,
    Message,
    OutcomeUnknown,
    PermanentFailure,
    ProviderContext,
    ProviderUnavailable,
    Receipt,
    Rejected,
    Submission,
    TemporaryFailure,
)
from providers.shared.http_call import HttpCalls, Reply, require_address, require_number
from providers.shared.json_slices import word

_LONGEST = 1600  # characters of a Body
_NO_NUMBER = "21211"  # 21401 speaks of our own sender, 21217 of calls
_POLICY = frozenset({"21610", "21614", "21617", "21602", "21635", "21658", "30006"})
_LATER = "14107"  # 21611, a full queue, is the sender's: another provider may take it
_KIND_OF_STATUS = {"sent": "relayed", "delivered": "arrived", "read": "arrived", "canceled": "rejected"}
_NOTHING_NEW = frozenset({"queued", "accepted", "scheduled", "sending"})
_KIND_OF_ERROR = {
    "14107": "failed_temporary", "30001": "failed_temporary",  # too many between the two numbers; queue overflow
    "30003": "failed_temporary",  # the handset cannot be reached: off, or out of service
    "30005": "failed_permanent",  # the number is unknown and may no longer exist
    "30017": "failed_temporary", "30022": "failed_temporary",  # congestion, rate
    "30036": "expired",  # its validity period ended
}
_STRIKES = frozenset({"rejected", "failed_permanent", "expired"})
_SID = re.compile(r"[A-Za-z0-9]{10,64}")
_DEFAULT_PORTS = {"https": 443, "http": 80}


class TwilioSettings(BaseModel):
    """Settings of a `twilio` provider, without those every provider has."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    endpoint: str = "https://api.twilio.com"
    account_sid: str = Field(min_length=1, pattern=r"^[A-Za-z0-9]+$")
    auth_token: SecretStr  # also what signs the callbacks
    api_key_sid: str = Field("", repr=False)  # for calls, instead of the auth token
    api_key_secret: SecretStr = SecretStr("")
    from_address: str = ""
    messaging_service_sid: str = ""


class Twilio:
    """One account at Twilio."""

    kind: ClassVar[str] = "twilio"
    channels: ClassVar[frozenset[str]] = frozenset({"sms"})
    Settings: ClassVar[type[TwilioSettings]] = TwilioSettings
    max_retry_s: float | None = None
    can_be_asked = True
    templates: frozenset[str] | None = None

    def __init__(self, timeout_s: float, settings: TwilioSettings) -> None:
        self.from_address = settings.from_address
        self._settings, self._http = settings, HttpCalls(timeout_s)

    @classmethod
    def configure(cls, name: str, channel: str, timeout_s: float, settings: TwilioSettings) -> Self:
        """Make it from its settings. Raises ConfigurationError for another channel, no sender, or an endpoint that is no address."""
        if channel not in cls.channels:
            raise ConfigurationError(f'providers.{name}: kind twilio serves channel sms only; set channel = "sms".')
        if fault := require_address(f"providers.{name}.endpoint", settings.endpoint):
            raise ConfigurationError(fault)
        return cls(timeout_s, settings)

    async def open(self, context: ProviderContext) -> None:
        """Prepare the connections of this event loop."""
        await self._http.open()

    async def close(self) -> None:
        """Free the connections."""
        await self._http.close()

    async def submit(self, message: Message) -> Submission:
        """Hand over one message; its callbacks come to our address for this attempt."""
        number, settings = require_number(message.to), self._settings
        if len(message.text) > _LONGEST:
            raise Rejected(f"The text has {len(message.text)} characters, and at most {_LONGEST} can be sent; shorten it.", code="length")
        form = {"To": number, "Body": message.text, "From": settings.from_address, "MessagingServiceSid": settings.messaging_service_sid,
                "StatusCallback": message.callback_url or ""}
        reply = await self._call("POST", "Messages.json", urlencode({k: v for k, v in form.items() if v}).encode())
        answer = reply.json()
        sid = word(answer.get("sid"))
        if reply.status in {200, 201} and sid is not None:
            at = word(answer.get("date_created"), 60)
            return Submission("submitted", reply.body, reply.media_type, provider_reference=sid, code=word(answer.get("status")),
                              claimed_time_raw=at, claimed_at=_instant(at, end_of_second=False))
        raise _refusal(word(answer.get("code")), reply)

    async def query(self, inquiry: Inquiry) -> InquiryAnswer | None:
        """Read the message resource under the Sid that they told us."""
        sid = inquiry.provider_reference
        if sid is None or not _SID.fullmatch(sid):
            return None
        reply = await self._call("GET", f"Messages/{sid}.json", b"")
        answer = reply.json()
        if reply.status != 200 or answer.get("sid") != sid:
            return None
        receipt = _receipt(word(answer.get("status")), word(answer.get("error_code")), sid, word(answer.get("to"), 40),
                           word(answer.get("date_updated"), 60))
        return InquiryAnswer(reply.body, reply.media_type, () if receipt is None else (receipt,))

    def parse_callback(self, callback: Callback) -> CallbackAnswer:
        """Verify and read a status callback. A wrong signature is 401."""
        form = _form(callback.body)
        sid, status = form.get("MessageSid") or form.get("SmsSid"), form.get("MessageStatus") or form.get("SmsStatus")
        given = callback.headers.get("x-twilio-signature", "")
        genuine = any(hmac.compare_digest(self.signature(url, callback.body), given.encode("utf-8", "replace"))
                      for url in _spellings(callback.url))
        if sid is None or status is None:
            return CallbackAnswer(400 if genuine else 401)
        receipt = _receipt(status[:20], form.get("ErrorCode"), sid[:64], form.get("To", "")[:40] or None, None,
                           reference=callback.reference, authenticated_by="twilio-signature" if genuine else None,
                           raw_time=form.get("RawDlrDoneDate", "")[:40] or None)
        return CallbackAnswer(200 if genuine else 401, b"", "text/xml; charset=utf-8", () if receipt is None else (receipt,))

    def parse_receipt(self, raw: bytes, media_type: str) -> Sequence[Receipt]:
        """Read the form of a status callback; not authenticated here."""
        form = _form(raw)
        status, sid = form.get("MessageStatus") or form.get("SmsStatus"), form.get("MessageSid") or form.get("SmsSid")
        receipt = None if not status or not sid else _receipt(
            status[:20], form.get("ErrorCode"), sid[:64], form.get("To", "")[:40] or None, None,
            raw_time=form.get("RawDlrDoneDate", "")[:40] or None)
        return () if receipt is None else (receipt,)

    def signature(self, url: str, body: bytes) -> bytes:
        """What X-Twilio-Signature must be for a form posted to this address."""
        pairs = sorted(set(_pairs(body)))
        text = url + "".join(name + text for name, text in pairs)
        key = self._settings.auth_token.get_secret_value().encode()
        return base64.b64encode(hmac.digest(key, text.encode("utf-8", "replace"), hashlib.sha1))

    async def _call(self, method: str, path: str, body: bytes) -> Reply:
        settings = self._settings
        user, secret = settings.account_sid, settings.auth_token
        if settings.api_key_sid:
            user, secret = settings.api_key_sid, settings.api_key_secret
        basic = base64.b64encode(f"{user}:{secret.get_secret_value()}".encode()).decode()
        headers = {"authorization": f"Basic {basic}", "accept": "application/json"}
        if method == "POST":
            headers["content-type"] = "application/x-www-form-urlencoded"
        url = f"{settings.endpoint.rstrip('/')}/2010-04-01/Accounts/{settings.account_sid}/{path}"
        return await self._http.send(method, url, headers, body)


def _receipt(status: str | None, error: str | None, sid: str, to: str | None, at: str | None, *, reference: str | None = None,
             authenticated_by: str | None = None, raw_time: str | None = None) -> Receipt | None:
    """The receipt that a status is; null for one that tells nothing new."""
    if status in _NOTHING_NEW:
        return None
    code = error if error and error.isdigit() and len(error) <= 8 and error != "0" else None
    over = status in {"undelivered", "failed"}
    kind = _KIND_OF_ERROR.get(code or "", "rejected") if over else _KIND_OF_STATUS.get(status or "", "unmapped")
    return Receipt(kind, reference=reference, provider_reference=sid, recipient=to, code=code or status, claimed_time_raw=at or raw_time,
                   claimed_at=_instant(at, end_of_second=kind in _STRIKES), authenticated_by=authenticated_by)


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body[:65536].decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        return []


def _form(body: bytes) -> Mapping[str, str]:
    return dict(reversed(_pairs(body)))


def _spellings(url: str) -> tuple[str, ...]:
    """An address with and without its port, since Twilio is of two minds about that."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return (url,)
    host = f"[{host}]" if ":" in host else host
    with_port = parts._replace(netloc=f"{host}:{port or _DEFAULT_PORTS.get(parts.scheme, 443)}").geturl()
    return tuple(dict.fromkeys((url, with_port, parts._replace(netloc=host).geturl())))


def _instant(text: str | None, *, end_of_second: bool) -> str | None:
    """An RFC 2822 time as RFC 3339; null for what is none, or has no offset."""
    try:
        at = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + ("999Z" if end_of_second else "000Z")


def _refusal(code: str | None, reply: Reply) -> Exception:
    """What an answer without a Sid means, by the table in this module's head."""
    kept: dict[str, Any] = {"code": code or str(reply.status), **reply.kept}
    if not 400 <= reply.status < 500:
        return OutcomeUnknown("Twilio's answer does not say whether the message was taken.", **kept)
    if code == _NO_NUMBER:
        return PermanentFailure("Twilio says that this cannot be a number.", **kept)
    if code in _POLICY:
        return Rejected("Twilio refuses this message or number.", **kept)
    if code == _LATER:
        return TemporaryFailure("There were too many messages for now; it is tried again.", **kept)
    return ProviderUnavailable("Twilio did not take the message: look up the code; credentials, sender, permission or route.", **kept)
