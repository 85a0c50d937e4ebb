"""The `kannel` provider: hands short messages to a Kannel smsbox (1.4) and reads its delivery reports.

Loaded by its name in the configuration. Sources: the Kannel user guide on sendsms and delivery reports, and, where that
is silent, what smsbox 1.4.5 does. Three of its ways decide how this file works:

1. Its sendsms takes POST with the message as text/plain and the rest in X-Kannel-* headers; it answers a form body with
   400. POST because a GET is repeated by HTTP clients on a dropped connection, and because a URL ends up in logs.
2. It asks for a report on the first part only when it splits a long message itself. `arrived` needs every part, so the
   parts are made here, each with its concatenation header and its own report address.
3. In a report address `%d`, `%A`, `%T`, `%F` become status, the carrier's text, Unix time and the carrier's id; every
   other per cent sign must be doubled.

The answer to a submission:

| HTTP     | text                                  | means                                                            |
|----------|---------------------------------------|------------------------------------------------------------------|
| 2xx      | `0: Accepted…`, `3: Queued…`, `Sent.` | submitted                                                        |
| 403      | `Authorization failed…`               | ProviderUnavailable: our credentials, not the number             |
| 401 404 429 | any                                | ProviderUnavailable: wrong settings or too fast; nothing taken   |
| 4xx      | any other (`Not routable…`)           | Rejected                                                         |
| 503      | `Temporal failure…`                   | ProviderUnavailable: the bearerbox refused it with these words   |
| else     |                                       | OutcomeUnknown                                                   |

A delivery report means what the carrier's state in its text means (providers.shared.smpp_receipt); without one,
Kannel's bits decide (1 delivered, 2 failed, 4 buffered, 8 taken, 16 refused by the carrier; 34 expired, 66 unknown, which decides
nothing): gw/dlr.h of Kannel 1.4.5, read 2026-11-26.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from pydantic import BaseModel, ConfigDict, Field

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
    ProviderUnavailable,
    Receipt,
    Rejected,
    Submission,
)
from providers.shared.smpp_receipt import read_state
from providers.shared.sms_parts import SplitText, TooManyParts, concatenation_header, split

_MAX_ANSWER = 16 * 1024
_KEPT_S = 10.0  # smsbox closes idle connections later than this, so a kept one is alive when it is used
_EVERY_STATE = "31"  # dlr-mask 1|2|4|8|16
_ESCAPES = "status=%d&text=%A&time=%T&foreign=%F"
_NUMBER = re.compile(r"\+?[0-9]{3,20}")
_KIND_OF_STATUS = {
    "1": "arrived", "2": "rejected", "4": "relayed", "8": "relayed", "16": "rejected", "34": "expired",
}
_STRIKES = frozenset({"rejected", "failed_permanent", "expired"})


class KannelSettings(BaseModel):
    """Settings of a `kannel` provider, without those every provider has."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = "http://127.0.0.1:13013/cgi-bin/sendsms"
    username: str = Field("", repr=False)
    password: str = Field("", repr=False)
    from_address: str = ""
    smsc: str = ""
    unknown_subscriber_errors: tuple[str, ...] = ()


class Kannel:
    """One Kannel smsbox."""

    kind: ClassVar[str] = "kannel"
    channels: ClassVar[frozenset[str]] = frozenset({"sms"})
    Settings: ClassVar[type[KannelSettings]] = KannelSettings
    max_retry_s: float | None = None
    can_be_asked = False
    templates: frozenset[str] | None = None

    def __init__(self, timeout_s: float, settings: KannelSettings) -> None:
        self.from_address = settings.from_address
        self._settings = settings
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def configure(cls, name: str, channel: str, timeout_s: float, settings: KannelSettings) -> Self:
        """Make it from its settings; raises ConfigurationError for what cannot stand in a request."""
        if channel not in cls.channels:
            raise ConfigurationError(f'providers.{name}: kind kannel serves channel sms only; set channel = "sms".')
        if urlsplit(settings.url).scheme not in {"http", "https"} or not urlsplit(settings.url).hostname:
            raise ConfigurationError(f"providers.{name}.url: write the whole address of sendsms, http://… or https://….")
        for setting in ("username", "password", "from_address", "smsc"):
            if not all("!" <= character <= "~" for character in getattr(settings, setting)):
                raise ConfigurationError(
                    f"providers.{name}.{setting}: it travels in an HTTP header; use printable ASCII without spaces.")
        return cls(timeout_s, settings)

    async def open(self, context: ProviderContext) -> None:
        """Prepare the HTTP connections of this event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_S), cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=self._timeout_s / 2), trust_env=False,
        )

    async def submit(self, message: Message) -> Submission:
        """Hand over every part in turn; once one is taken, a failure of a later one leaves the outcome unknown."""
        if not _NUMBER.fullmatch(message.to):
            raise Rejected("The number is not an international telephone number; correct the contact.", code="address")
        try:
            text = split(message.text)
        except TooManyParts as too_long:
            raise Rejected(str(too_long), code="length") from None
        answers: list[bytes] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                for part in range(1, len(text.parts) + 1):
                    answer = await self._send(message, text, part)
                    answers.append(answer)
        except TimeoutError:
            raise OutcomeUnknown("The SMS gateway did not answer in time.", raw=b"\n".join(answers)) from None
        except ProviderError as refusal:
            if not answers:
                raise
            raw = b"\n".join([*answers, getattr(refusal, "raw", b"")])
            raise OutcomeUnknown("The SMS gateway took some parts of the message and not all.", raw=raw) from None
        return Submission("submitted", b"\n".join(answers), code=_leading_code(answers[-1]), parts=len(text.parts))

    async def query(self, inquiry: Inquiry) -> InquiryAnswer | None:
        """Return null: Kannel cannot be asked what became of a message."""
        return None

    def parse_callback(self, callback: Callback) -> CallbackAnswer:
        """Read one delivery report. What our token authenticates is the whole address that Kannel fetched."""
        members = callback.query if "status" in callback.query else _members(callback.body)
        authenticated_by = None if callback.reference is None else "hmac-token"
        if "status" not in members:
            return CallbackAnswer(401 if authenticated_by is None else 400)
        receipt = self._receipt(members, callback.reference, authenticated_by)
        return CallbackAnswer(401 if authenticated_by is None else 200, receipts=(receipt,))

    def parse_receipt(self, raw: bytes, media_type: str) -> Sequence[Receipt]:
        """Read a report from the query of the address that Kannel fetched; not authenticated here."""
        members = _members(raw)
        return (self._receipt(members, None, None),) if "status" in members else ()

    async def close(self) -> None:
        """Close the HTTP connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(self, message: Message, text: SplitText, part: int) -> bytes:
        """Send one part; return the answer that took it."""
        if self._session is None:
            raise RuntimeError("The provider is used before open(); this is a fault in the caller.")
        try:
            async with self._session.post(
                self._settings.url, data=text.parts[part - 1].encode(), headers=self._headers(message, text, part),
                allow_redirects=False,
            ) as response:
                status, body = response.status, await _read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            # no connection, so no request; from None here and below: aiohttp's texts hold headers, and so the password
            raise ProviderUnavailable("The SMS gateway cannot be reached; check its url if this lasts.") from None
        except (aiohttp.ClientError, OSError, ValueError, UnicodeError):
            raise OutcomeUnknown("The SMS gateway broke off or answered with something that is no HTTP.") from None
        _require_taken(status, body)
        return body

    def _headers(self, message: Message, text: SplitText, part: int) -> dict[str, str]:
        settings = self._settings
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "X-Kannel-Username": settings.username, "X-Kannel-Password": settings.password,
            "X-Kannel-From": settings.from_address, "X-Kannel-To": message.to, "X-Kannel-SMSC": settings.smsc,
            "X-Kannel-Coding": "2" if text.alphabet == "ucs2" else "0",
        }
        parts = len(text.parts)
        if parts > 1:
            headers["X-Kannel-UDH"] = concatenation_header(message.reference, part, parts).hex()
        if message.callback_url is not None:
            headers["X-Kannel-DLR-Mask"] = _EVERY_STATE
            headers["X-Kannel-DLR-Url"] = report_url(message.callback_url, part, parts)
        return {name: value for name, value in headers.items() if value}

    def _receipt(self, members: Mapping[str, str], reference: str | None, authenticated_by: str | None) -> Receipt:
        text, status = members.get("text", "")[:1000], members["status"][:20]
        carrier = read_state(text, self._settings.unknown_subscriber_errors)
        kind = carrier.kind if carrier is not None else _KIND_OF_STATUS.get(status, "unmapped")
        codes = (status,) if carrier is None else (status, carrier.state, carrier.error)
        part, parts = _count(members.get("part")), _count(members.get("parts"))
        if part is None or parts is None or part > parts or parts == 1:
            part = parts = None
        time = members.get("time", "")[:20]
        return Receipt(
            kind=kind, reference=reference, provider_reference=members.get("foreign", "")[:200] or None,
            claimed_time_raw=time or None, claimed_at=_instant(time, end_of_second=kind in _STRIKES),
            code=":".join(code for code in codes if code) or None, text=text or None,
            part=part, parts=parts, source="gateway", authenticated_by=authenticated_by,
        )


def report_url(callback_url: str, part: int, parts: int) -> str:
    """Return the address Kannel shall fetch for a report on one part, with its escapes and all other `%` doubled."""
    joint = "&" if "?" in callback_url else "?"
    numbered = f"&part={part}&parts={parts}" if parts > 1 else ""
    return f"{callback_url.replace('%', '%%')}{joint}{_ESCAPES}{numbered}"


def _require_taken(status: int, body: bytes) -> None:
    """Raise what an answer means if it is not "taken", by the first table in this module's head."""
    text = body[:200].decode("utf-8", "replace").strip()
    code = f"{status}:{lead}" if (lead := _leading_code(body)) else str(status)
    if 200 <= status < 300 and text.startswith(("0:", "3:", "Sent.")):
        return
    if status in {401, 404, 429} or (status == 403 and text.startswith("Authorization failed")):
        raise ProviderUnavailable("The SMS gateway did not let us in; check url, username and password of this provider.",
                                  raw=body, code=code)
    if 400 <= status < 500:
        raise Rejected("The SMS gateway refused the message for good.", raw=body, code=code)
    if status == 503 and text.startswith("Temporal failure"):
        raise ProviderUnavailable("The SMS gateway refused the message for now.", raw=body, code=code)
    raise OutcomeUnknown("The SMS gateway answered with something that does not say whether it took the message.",
                         raw=body, code=code)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read an answer whole, but never more than it can sensibly be."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(4096):
        body += chunk
        if len(body) > _MAX_ANSWER:
            response.close()
            break
    return bytes(body[:_MAX_ANSWER])


def _leading_code(body: bytes) -> str | None:
    found = re.match(rb"\s*(-?\d{1,4}):", body)
    return found[1].decode() if found else None


def _members(raw: bytes) -> dict[str, str]:
    """Read a query or form body, first value first; garbage gives none."""
    try:
        query = raw[:65536].decode("utf-8", "replace").strip()
        pairs = parse_qsl(query.rpartition("?")[2] if "?" in query.partition("=")[0] else query, keep_blank_values=True,
                          max_num_fields=100)
    except ValueError:
        return {}
    return dict(reversed(pairs))


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and re.fullmatch(r"[0-9]{1,3}", value) and 1 <= int(value) <= 255 else None


def _instant(unix_time: str, *, end_of_second: bool) -> str | None:
    """Return Kannel's Unix time as RFC 3339; a striking report claims the end of its second.

    The claim has whole seconds, and a failure reported within the second of the submission still comes after it.
    """
    if not re.fullmatch(r"[0-9]{9,10}", unix_time):
        return None
    at = datetime.fromtimestamp(int(unix_time), UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + ("999Z" if end_of_second else "000Z")
