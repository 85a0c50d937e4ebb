"""The `http` provider: any SMS gateway that takes JSON over HTTP, set up wholly in its configuration.

Loaded by its name in the configuration. A message is one POST to `url`; `body` is the JSON to send, with `{to}` `{text}`
`{reference}` `{callback_url}` `{from}` and the parameters of our template (`{param.NAME}`) in its texts, and `headers` likewise fixed
words such as a key. A path such as `result.id` names a member of an object inside an object.

| answer                                                   | means                                                         |
|----------------------------------------------------------|---------------------------------------------------------------|
| 2xx, and the code at `code_path` is in `taken_codes`     | submitted, with the id at `id_path`; without a `code_path`, 2xx is |
| code or status in `permanent_` `rejected_` `later_codes` | PermanentFailure, Rejected, TemporaryFailure                  |
| in `unavailable_codes`, or 401, 403, 404, 429            | ProviderUnavailable                                           |
| another code with a 2xx, or another 4xx                  | `other_codes`: ProviderUnavailable, or Rejected where so set  |
| else                                                     | OutcomeUnknown                                                |

A report is one object, or those of the array at `reports_path`; the word at `status_path` means what `statuses` says. It counts by an
HMAC-SHA256 of its body in `signature_header` (hex or base64), or by our token in the address, given with the message or registered.
Where `query_url` is set (with `{id}` or `{reference}`) the gateway can be asked: GET answers a report in the same form.
"""

import base64
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

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
from providers.shared.json_slices import elements, word
from providers.shared.vendor_times import from_unix, in_zone, zone_fault

Kind = Literal["submitted", "relayed", "arrived", "failed_temporary", "failed_permanent", "rejected", "expired", "unmapped"]
_STRIKES = frozenset({"rejected", "failed_permanent", "expired"})
_OURS_TO_MEND = frozenset({"401", "403", "404", "429"})
_PLACE = re.compile(r"\{([a-z_]+(?:\.[A-Za-z_][A-Za-z0-9_]*)?)\}")
_PLACES = frozenset({"to", "text", "reference", "callback_url", "from"})
_REFERENCE = re.compile(r"[0-9a-z_.-]{1,80}")
_SMPP: Mapping[str, Kind] = {
    "DELIVRD": "arrived", "ENROUTE": "relayed", "ACCEPTD": "relayed", "EXPIRED": "expired", "UNDELIV": "rejected", "REJECTD": "rejected",
    "DELETED": "rejected",
}


class HttpSettings(BaseModel):
    """Settings of an `http` provider, without those every provider has."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = "http://127.0.0.1:8000/send"
    from_address: str = ""
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    body: Mapping[str, Any] = Field(default_factory=lambda: {"to": "{to}", "text": "{text}", "reference": "{reference}"})
    id_path: str = "id"
    code_path: str = ""
    taken_codes: tuple[str, ...] = ("0",)
    permanent_codes: tuple[str, ...] = ()
    rejected_codes: tuple[str, ...] = ()
    later_codes: tuple[str, ...] = ()
    unavailable_codes: tuple[str, ...] = ()
    other_codes: Literal["unavailable", "rejected"] = "unavailable"
    reports_path: str = ""
    status_path: str = "status"
    statuses: Mapping[str, Kind] = Field(default_factory=lambda: dict(_SMPP))
    report_id_path: str = "id"
    report_reference_path: str = "reference"
    report_to_path: str = "to"
    report_time_path: str = "time"
    zone: str = "UTC"  # of times without an offset
    report_answer: str = "ok"
    signature_header: str = ""
    signature_key: SecretStr = SecretStr("")
    query_url: str = ""

    @field_validator("zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        if fault := zone_fault(name):
            raise ValueError(fault)
        return name


class Http:
    """One gateway."""

    kind: ClassVar[str] = "http"
    channels: ClassVar[frozenset[str]] = frozenset({"sms"})
    Settings: ClassVar[type[HttpSettings]] = HttpSettings
    max_retry_s: float | None = None
    templates: frozenset[str] | None = None

    def __init__(self, timeout_s: float, settings: HttpSettings) -> None:
        self.from_address, self.can_be_asked = settings.from_address, bool(settings.query_url)
        self._settings, self._http = settings, HttpCalls(timeout_s)

    @classmethod
    def configure(cls, name: str, channel: str, timeout_s: float, settings: HttpSettings) -> Self:
        """Make it from its settings. Raises ConfigurationError for what cannot be an address, a header or a place in the body."""
        where = f"providers.{name}"
        if channel not in cls.channels:
            raise ConfigurationError(f'{where}: kind http serves channel sms only; set channel = "sms".')
        asked = _PLACE.sub("x", settings.query_url)
        if fault := require_address(f"{where}.url", settings.url) or (asked and require_address(f"{where}.query_url", asked)):
            raise ConfigurationError(fault)
        for header, value in settings.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]+", header) or not re.fullmatch(r"[ -~]*", value.get_secret_value()):
                raise ConfigurationError(f"{where}.headers: names are letters, digits and -, values printable ASCII.")
        for place in _PLACE.findall(str(settings.body)):
            if place not in _PLACES and not place.startswith("param."):
                raise ConfigurationError(f"{where}.body: {{{place}}} is none of {', '.join(sorted(_PLACES))} and param.NAME.")
        if set(_PLACE.findall(settings.query_url)) - {"id", "reference"}:
            raise ConfigurationError(f"{where}.query_url: only {{id}} and {{reference}} can stand in it.")
        if settings.signature_header and not settings.signature_key.get_secret_value():
            raise ConfigurationError(f"{where}.signature_key: a signature_header needs one.")
        return cls(timeout_s, settings)

    async def open(self, context: ProviderContext) -> None:
        """Prepare the connections of this event loop."""
        await self._http.open()

    async def close(self) -> None:
        """Free the connections."""
        await self._http.close()

    async def submit(self, message: Message) -> Submission:
        """Hand over one message as the configured JSON."""
        require_number(message.to)
        reply = await self._call("POST", self._settings.url, json.dumps(self._filled(self._settings.body, message)).encode())
        code = word(_at(reply.json(), self._settings.code_path)) if self._settings.code_path else None
        if 200 <= reply.status < 300 and (code in self._settings.taken_codes if self._settings.code_path else bool(reply.json())):
            theirs = word(_at(reply.json(), self._settings.id_path))
            return Submission("submitted", reply.body, reply.media_type, provider_reference=theirs, code=code or str(reply.status))
        raise self._refusal(code, reply)

    async def query(self, inquiry: Inquiry) -> InquiryAnswer | None:
        """Ask for the report of one message, where an address to ask at is configured and what stands in it is known."""
        known = {"id": inquiry.provider_reference, "reference": inquiry.reference}
        if not self._settings.query_url or any(known.get(place) is None for place in _PLACE.findall(self._settings.query_url)):
            return None
        url = _PLACE.sub(lambda found: quote(known[found[1]] or "", safe=""), self._settings.query_url)
        reply = await self._call("GET", url, b"")
        if reply.status != 200:
            return None
        found = [r for r in self._reports(reply.body, None) or () if r.kind != "submitted" or inquiry.provider_reference is None]
        mine = [r for r in found if r.provider_reference in {None, inquiry.provider_reference} or r.reference == inquiry.reference]
        return InquiryAnswer(reply.body, reply.media_type, mine)

    def parse_callback(self, callback: Callback) -> CallbackAnswer:
        """Verify and read a pushed report: by its signature where one is configured, else by our token in the address."""
        by = self._signed(callback) if self._settings.signature_header else "hmac-token" if callback.ours else None
        found = self._reports(callback.body, by, callback.reference)
        if found is None:
            return CallbackAnswer(401 if by is None else 400)
        if by is None or (found and all(receipt.authenticated_by is None for receipt in found)):
            return CallbackAnswer(401, receipts=found)
        return CallbackAnswer(200, self._settings.report_answer.encode(), receipts=found)

    def parse_receipt(self, raw: bytes, media_type: str) -> Sequence[Receipt]:
        """Read a pushed body; not authenticated here."""
        return self._reports(raw, None) or ()

    def _signed(self, callback: Callback) -> str | None:
        given = callback.headers.get(self._settings.signature_header.lower(), "").encode("utf-8", "replace")
        digest = hmac.digest(self._settings.signature_key.get_secret_value().encode(), callback.body, "sha256")
        good = [hmac.compare_digest(form, given) for form in (digest.hex().encode(), base64.b64encode(digest))]
        return "hmac-sha256" if any(good) else None

    def _reports(self, body: bytes, by: str | None, reference: str | None = None) -> list[Receipt] | None:
        """Receipts of a body; null if it holds no report."""
        path = [name for name in self._settings.reports_path.split(".") if name]
        found = elements(body, *path) if path else elements(body) or elements(b"[" + body + b"]")
        if found is None:
            return None
        told = [pair for pair in found if _at(pair[0], self._settings.status_path) is not None]
        alone = len(told) == 1  # then it speaks of the attempt whose address was called
        return [self._receipt(report, raw, by, reference, alone=alone) for report, raw in told] or ([] if path else None)

    def _receipt(self, report: Mapping[str, Any], raw: bytes, by: str | None, bound: str | None, *, alone: bool) -> Receipt:
        settings = self._settings
        code, ours = word(_at(report, settings.status_path)), word(_at(report, settings.report_reference_path))
        named = ours if ours is not None and _REFERENCE.fullmatch(ours) else None
        reference = bound or named if alone else named
        if by == "hmac-token" and bound not in {None, reference}:
            by = None  # the token of one attempt vouches for no other
        kind = settings.statuses.get(code or "", "unmapped")
        at = _at(report, settings.report_time_path)
        end = kind in _STRIKES
        claimed = from_unix(at, end_of_second=end) if isinstance(at, int) and not isinstance(at, bool) else None
        if isinstance(at, str):
            claimed = in_zone(at, settings.zone, end_of_second=end) or (at if re.search(r"[Tt].*([Zz]|[+-]\d\d:\d\d)$", at) else None)
        return Receipt(
            kind, reference=reference,
            provider_reference=word(_at(report, settings.report_id_path)), recipient=word(_at(report, settings.report_to_path), 40),
            code=code, claimed_time_raw=word(at, 60), claimed_at=claimed, authenticated_by=by, raw=raw)

    def _filled(self, value: Any, message: Message) -> Any:
        """The configured JSON with the message in its places."""
        if isinstance(value, Mapping):
            return {name: self._filled(inner, message) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._filled(inner, message) for inner in value]
        if not isinstance(value, str):
            return value
        known = {"to": message.to, "text": message.text, "reference": message.reference, "from": self.from_address,
                 "callback_url": message.callback_url or "", **{f"param.{k}": v for k, v in message.template_params.items()}}
        for place in _PLACE.findall(value):
            if place not in known:
                raise ProviderUnavailable("The configured body wants a parameter that the notice does not have.", code="template-params")
        return _PLACE.sub(lambda found: known[found[1]], value)

    async def _call(self, method: str, url: str, body: bytes) -> Reply:
        headers = {name.lower(): value.get_secret_value() for name, value in self._settings.headers.items()}
        return await self._http.send(method, url, {"content-type": "application/json", "accept": "application/json"} | headers, body)

    def _refusal(self, code: str | None, reply: Reply) -> Exception:
        """What an answer that did not take the message means, by the table in this module's head."""
        settings, status = self._settings, str(reply.status)
        kept: dict[str, Any] = {"code": code or status, **reply.kept}
        for told in (code, status):
            if told in settings.permanent_codes:
                return PermanentFailure("The gateway says that there is no such number.", **kept)
            if told in settings.rejected_codes:
                return Rejected("The gateway refuses this message or number.", **kept)
            if told in settings.later_codes:
                return TemporaryFailure("The gateway does not take this message for now; it is tried again.", **kept)
            if told in settings.unavailable_codes or (told in _OURS_TO_MEND and told == status):
                return ProviderUnavailable("The gateway does not let us in; look up the code in its description.", **kept)
        certain = 400 <= reply.status < 500 or (code is not None and 200 <= reply.status < 300 and code not in settings.taken_codes)
        if not certain:
            return OutcomeUnknown("The gateway's answer does not say whether the message was taken.", **kept)
        if settings.other_codes == "rejected":
            return Rejected("The gateway refuses the message.", **kept)
        return ProviderUnavailable("The gateway did not take the message; look up the code in its description.", **kept)


def _at(value: Any, path: str) -> Any:
    """The member that a dotted path names; null where there is none."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
