"""SMS through any gateway that takes JSON over HTTP and is described wholly in the configuration.

No vendor's code table is here: the operator writes `codes` (answers) and `callback.codes` (reports) from the vendor's description. A
path names a member (`data.0.id`; digits count in an array; "" is none). In `headers`, `body` and `query` a text may hold {placeholders};
what needs a missing value is left out. What is odd: a status alone takes a message only where an id came with it (a proxy's 200 is no
proof), and a 3xx says nothing, whatever is in it. One callback is one report.
"""

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, quote, urlencode

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr

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
from providers.shared.http_call import HttpCalls, require_address, require_number
from providers.shared.json_slices import word
from providers.shared.vendor_times import from_unix, in_zone, zone_fault

Kind = Literal["submitted", "relayed", "arrived", "failed_temporary", "failed_permanent", "rejected", "expired"]
Meaning = Literal["taken", "temporary", "ours", "permanent", "policy", "unknown"]
STRIKES = frozenset({"rejected", "failed_permanent", "expired"})
STATUSES: dict[str, Meaning] = {
    "200": "taken", "201": "taken", "202": "taken", "400": "policy", "422": "policy",
    "401": "ours", "402": "ours", "403": "ours", "429": "ours"}
REFUSALS = {"temporary": TemporaryFailure, "ours": ProviderUnavailable, "permanent": PermanentFailure, "policy": Rejected}
PLACE, SIGNED = re.compile(r"\{([a-z_]+)\}"), re.compile(r"\{([a-z0-9-]+)\}")
SEEN = r"(?i)^(x-.+|authorization|date|digest|.*signature.*)$"  # the headers of a callback that the service passes on
IN_BODY = {"to", "to_digits", "text", "reference", "callback_url", "from_address", "secret"}
BODY: dict[str, JsonValue] = {"to": "{to}", "text": "{text}", "reference": "{reference}", "report": "{callback_url}"}
IN_QUERY = {"to", "to_digits", "reference", "provider_reference", "secret"}


class ReportSettings(BaseModel):
    """Where a report holds what: `reference` is ours, `provider_reference` theirs; `codes` may hold `code` or `code/error`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    reference: str = "reference"
    provider_reference: str = "id"
    code: str = "status"
    error: str = ""
    time: str = "time"  # RFC 3339; the like without an offset, which is in `zone`; or seconds since 1970
    zone: str = "UTC"
    codes: dict[str, Kind] = {}


class CallbackSettings(ReportSettings):
    """How reports are pushed, how it is known that they are genuine, and what the gateway wants to hear."""

    format: Literal["json", "form"] = "json"
    auth: Literal["token", "header", "hmac-sha256", "hmac-sha512"] = "token"
    secret: SecretStr = SecretStr("")
    header: str = Field(default="x-signature", pattern=SEEN)
    prefix: str = ""
    encoding: Literal["hex", "base64"] = "hex"
    signed: str = "{body}"  # with {x-any-header} and other text around it
    ignore: dict[str, list[str]] = {}  # path = words: a ping, a reply of a phone
    answer: str = "ok"
    answer_media_type: str = "text/plain; charset=utf-8"


class QuerySettings(ReportSettings):
    """How a report is asked for, by GET; without `codes` those of `callback` hold."""

    url: str
    parameters: dict[str, str] = Field(default={}, repr=False)
    no_such: str = "error"  # path of the word that says that there is no such message …
    never_taken: list[str] = []  # … and the words that say so for certain


class HttpSettings(BaseModel):
    """Settings of this kind; the common ones (channel, priority, timeout_s …) are not listed here."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    endpoint: str
    headers: dict[str, SecretStr] = {}
    secret: SecretStr = SecretStr("")
    body: dict[str, JsonValue] = Field(default=BODY, repr=False)
    from_address: str = ""
    answer_reference: str = "id"
    answer_code: str = "code"
    codes: dict[str, Meaning] = {}
    statuses: dict[str, Meaning] = {}  # over the usual ones
    callback: CallbackSettings = CallbackSettings()
    query: QuerySettings | None = None


class Http:
    """One account at one gateway."""

    kind: ClassVar[str] = "http"
    channels: ClassVar[frozenset[str]] = frozenset({"sms"})
    Settings: ClassVar[Any] = HttpSettings
    max_retry_s: float | None = None
    templates: frozenset[str] | None = None

    def __init__(self, settings: HttpSettings, timeout_s: float) -> None:
        self._settings, self._reports, self._ask, self._calls = settings, settings.callback, settings.query, HttpCalls(timeout_s)
        asked = [self._ask.url, self._ask.parameters] if self._ask else []
        headers, body, asking = (set(PLACE.findall(json.dumps(one))) for one in (self._headers(), settings.body, asked))
        self._places = headers, body, headers | body, asking
        self.can_be_asked, self.from_address = self._ask is not None, settings.from_address

    def _headers(self) -> dict[str, str]:  # made for each call, so that no repr of this object shows a key
        return {"content-type": "application/json"} | {n.lower(): v.get_secret_value() for n, v in self._settings.headers.items()}

    @classmethod
    def configure(cls, name: str, channel: str, timeout_s: float, settings: HttpSettings) -> "Http":
        """Make it from validated settings; no I/O."""
        if channel not in cls.channels:
            raise ConfigurationError(f"providers.{name}.channel: kind http serves sms only.")
        made, query_url = cls(settings, timeout_s), PLACE.sub("x", settings.query.url) if settings.query else settings.endpoint
        for right, setting, remedy in made._checks():
            if not right:
                raise ConfigurationError(f"providers.{name}.{setting}: {remedy}.")
        table, end = f"providers.{name}", settings.endpoint
        if fault := require_address(f"{table}.endpoint", end) or require_address(f"{table}.query.url", query_url):
            raise ConfigurationError(fault)
        return made

    def _checks(self) -> Sequence[tuple[object, str, str]]:
        s, reports, ask, (headers, body, sent, asked) = self._settings, self._reports, self._ask, self._places
        clean = all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+\n[!-~]([ -~]*[!-~])?", f"{n}\n{v}") for n, v in self._headers().items())
        signed, by_word = set(SIGNED.findall(reports.signed)), "taken" in s.codes.values() and "reference" in sent
        return (
            (clean and headers <= {"reference", "secret"}, "headers", "write printable ASCII, no {placeholder} but reference and secret"),
            (not self._headers().keys() & {"host", "content-length", "transfer-encoding"}, "headers", "leave out what HTTP makes itself"),
            (body <= IN_BODY and "text" in body and body & {"to", "to_digits"}, "body", f"use text, to or to_digits, of {sorted(IN_BODY)}"),
            ("secret" not in sent | asked or re.fullmatch(r"[!-~]+", s.secret.get_secret_value()), "secret",
             "write it in printable ASCII without blanks"),
            (s.answer_reference or by_word, "answer_reference", "say where their id is, or name the code of taken and send {reference}"),
            (reports.auth == "token" or reports.secret.get_secret_value(), "callback.secret", "set what proves that it is the gateway"),
            ("body" in signed and all(re.search(SEEN, n) for n in signed - {"body"}), "callback.signed", "write {body} or more"),
            (not zone_fault(reports.zone) and not (ask and zone_fault(ask.zone)), "callback.zone, query.zone", "name one such as UTC"),
            (not ask or (asked <= IN_QUERY and asked - {"to", "to_digits", "secret"}), "query", f"ask by reference, of {sorted(IN_QUERY)}"),
            (not ask or not ask.never_taken or "reference" in asked & sent, "query.never_taken", "send {reference} and ask by it"),
        )

    async def open(self, context: ProviderContext) -> None:
        """Prepare for calls; connections are made with the first one."""
        await self._calls.open()

    async def submit(self, message: Message) -> Submission:
        """Hand over one message. That a gateway took it means `submitted`, no more."""
        number, (_, _, sent, asked) = require_number(message.to), self._places
        values = {
            "to": number, "to_digits": number.removeprefix("+"), "text": message.text, "reference": message.reference,
            "callback_url": message.callback_url or None, "from_address": self.from_address or None,
            "secret": self._settings.secret.get_secret_value()}
        content = json.dumps(_fill(self._settings.body, values)).encode()
        reply = await self._calls.send("POST", self._settings.endpoint, _fill(self._headers(), values), content)
        answer = _read(reply.body)
        code, their_id = _word(answer, self._settings.answer_code), _word(answer, self._settings.answer_reference)
        by_address = "callback_url" in sent and bool(message.callback_url)
        by_ours = by_address or ("reference" in sent and bool(self._reports.reference or "reference" in asked))
        meaning = self._meaning(reply.status, code, has_id=their_id is not None, by_ours=by_ours)
        shown = code if code and re.fullmatch(r"(?!.*[0-9]{7})[A-Za-z0-9/.+_:-]{1,64}", code) else str(reply.status)
        if meaning == "taken":
            return Submission("submitted", provider_reference=their_id, code=shown, **reply.kept)
        refusal = REFUSALS.get(meaning, OutcomeUnknown)
        raise refusal("The gateway did not say that it took the message; look up the code in its description.", code=shown, **reply.kept)

    def _meaning(self, status: int, code: str | None, *, has_id: bool, by_ours: bool) -> Meaning:
        codes, by_status = self._settings.codes, (STATUSES | self._settings.statuses).get(str(status), "unknown")
        if 300 <= status < 400:
            return "unknown"  # whoever sends us elsewhere does not speak for the gateway
        meaning = by_status if code is None else codes.get(code, by_status if by_status == "ours" else "unknown")
        proved = has_id or by_ours if code is not None else has_id and "taken" not in codes.values()  # who has a word for it must use it
        return meaning if meaning != "taken" or (by_status == "taken" and proved) else "unknown"

    async def query(self, inquiry: Inquiry) -> InquiryAnswer | None:
        """Their record of a message. That there is none counts only where they never gave us an id for it."""
        ask, theirs, number = self._ask, inquiry.provider_reference, require_number(inquiry.to)
        if ask is None or ("provider_reference" in self._places[3] and not (theirs or "").strip(".")):
            return None
        values = {
            "to": number, "to_digits": number.removeprefix("+"), "reference": inquiry.reference, "provider_reference": theirs,
            "secret": self._settings.secret.get_secret_value()}
        url = PLACE.sub(lambda place: quote(str(values[place[1]]), safe="", errors="replace"), ask.url)
        url += "?" + urlencode(_fill(dict(ask.parameters), values), errors="replace") if ask.parameters else ""
        reply = await self._calls.send("GET", url, _fill(self._headers(), values))
        answer, rules = _read(reply.body), ask.model_copy(update={"codes": ask.codes or self._reports.codes})
        if (reply.status == 200 or 400 <= reply.status < 500) and _word(answer, ask.no_such) in ask.never_taken:
            return InquiryAnswer(reply.body, reply.media_type, never_taken=theirs is None)
        found = _receipts(rules, answer, fallback=inquiry.reference) if reply.status == 200 else ()
        mine = [one for one in found if one.reference == inquiry.reference and (theirs is None or one.provider_reference in {None, theirs})]
        return InquiryAnswer(reply.body, reply.media_type, mine) if mine else None

    def parse_callback(self, callback: Callback) -> CallbackAnswer:
        """Verify and translate a report that was pushed. Never raises, whatever the bytes."""
        rules, get = self._reports, callback.method.upper() == "GET"
        said = (dict(callback.query) if rules.format == "form" else {}) if get else _said(rules, callback.body)
        how = None if get and rules.auth.startswith("hmac") else self._proof(callback)  # what is not signed is not said by them
        ignored = any(_word(said, path) in words for path, words in rules.ignore.items())
        found = () if ignored else _receipts(rules, said, fallback=callback.reference if how else None, how=how, own=callback.reference)
        if how is None or (found and found[0].authenticated_by is None):
            return CallbackAnswer(401, receipts=found)
        if not found and not ignored:
            return CallbackAnswer(400)
        return CallbackAnswer(200, rules.answer.encode("utf-8", "replace"), rules.answer_media_type, found)

    def _proof(self, callback: Callback) -> str | None:
        rules, made = self._reports, self._reports.secret.get_secret_value().encode()
        if rules.auth == "token":
            return "hmac-token" if callback.ours else None
        headers = {name: value.encode("utf-8", "replace") for name, value in callback.headers.items()}
        if rules.auth != "header":
            parts, pieces = headers | {"body": callback.body}, SIGNED.split(rules.signed)  # text, name, text, name, … text
            signed = b"".join(parts.get(piece, b"") if at % 2 else piece.encode() for at, piece in enumerate(pieces))
            digest = hmac.digest(made, signed, rules.auth.removeprefix("hmac-"))
            made = digest.hex().encode() if rules.encoding == "hex" else b64encode(digest)
        genuine = hmac.compare_digest(rules.prefix.encode() + made, headers.get(rules.header.lower(), b""))
        return ("header-secret" if rules.auth == "header" else rules.auth) if genuine else None

    def parse_receipt(self, raw: bytes, media_type: str) -> Sequence[Receipt]:
        """Translate a callback's body, not authenticated here; garbage gives nothing."""
        return self.parse_callback(Callback("POST", {}, {}, raw)).receipts  # nothing proves it, so that they are as they were read

    async def close(self) -> None:
        """Free the connections; safe to call twice."""
        await self._calls.close()


def _fill(shape: Any, values: Mapping[str, str | None]) -> Any:
    if isinstance(shape, str):  # in one pass, so that a text with braces stays a text
        missing = any(values[name] is None for name in PLACE.findall(shape))
        return None if missing else PLACE.sub(lambda place: str(values[place[1]]), shape)
    if isinstance(shape, list):
        return [filled for one in shape if (filled := _fill(one, values)) is not None]
    if isinstance(shape, dict):
        return {name: filled for name, one in shape.items() if (filled := _fill(one, values)) is not None}
    return shape


def _read(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _said(rules: CallbackSettings, raw: bytes) -> object:
    if rules.format == "json":
        return _read(raw)
    try:
        return dict(reversed(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=200)))  # the first of a name counts
    except ValueError:
        return None


def _at(value: Any, path: str) -> Any:
    if isinstance(value, dict) and path in value:  # a form's member may have dots in its name
        return value[path]
    for step in path.split("."):
        if isinstance(value, list):
            value = value[int(step)] if step.isdecimal() and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _word(value: object, path: str) -> str | None:
    found = _at(value, path) if path else None
    return json.dumps(found) if isinstance(found, bool) else word(found)


def _receipts(
    rules: ReportSettings, said: object, *, fallback: str | None = None, how: str | None = None, own: str | None = None,
) -> tuple[Receipt, ...]:
    code, error, ours, theirs = (_word(said, path) for path in (rules.code, rules.error, rules.reference, rules.provider_reference))
    if ours is None and (theirs is None or how in {None, "hmac-token"}):
        ours = fallback  # one report at the address of one attempt, or the answer to a question about it
    if code is None or (ours is None and theirs is None):
        return ()
    full, at = f"{code}/{error}" if error is not None else code, _at(said, rules.time)
    kind = rules.codes.get(full) or rules.codes.get(code) or "unmapped"
    return (Receipt(
        kind, reference=ours, provider_reference=theirs, code=full, claimed_at=_claimed(rules.zone, at, kind),
        claimed_time_raw=at if isinstance(at, str) else json.dumps(at) if isinstance(at, int | float) else None,
        authenticated_by=None if how == "hmac-token" and own not in {None, ours} else how),)  # its token vouches for one attempt alone


def _claimed(zone: str, at: Any, kind: str) -> str | None:
    if not isinstance(at, str) or re.fullmatch(r"[0-9]{9,11}", at):
        return from_unix(int(at) if isinstance(at, str) else at, end_of_second=kind in STRIKES)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return in_zone(at, zone, end_of_second=kind in STRIKES)
    return moment.isoformat() if moment.microsecond else from_unix(moment.timestamp(), end_of_second=kind in STRIKES)
