"""The `tencent` provider: short messages through Tencent Cloud's SendSms (sms, 2021-01-11), its reports and its records.

Loaded by its name in the configuration. Requests are signed with TC3-HMAC-SHA256. SendSms sends only templates that Tencent
approved, so `templates` maps ours to theirs. SessionContext carries our reference; they bring it back only for accounts that had
it enabled, so a report is matched by their SerialNo.

What a code means, of the answer to SendSms (`SendStatusSet[0].Code`, or `Error.Code` where the whole call was refused):

| code                                                    | means                                                |
|---------------------------------------------------------|------------------------------------------------------|
| `Ok`                                                    | submitted                                            |
| `….IncorrectPhoneNumber`, `….PhoneNumberParseFail`      | PermanentFailure: no such number can exist           |
| `LimitExceeded.PhoneNumber*`, `….DeliveryFrequencyLimit`, `….MarketingSendTimeConstraint` | TemporaryFailure: too many, or not now |
| black-listed numbers and words, parameters too long     | Rejected: policy (`_POLICY`)                         |
| `InternalError*`, no code                               | OutcomeUnknown: their system failed somewhere        |
| any other: AuthFailure, balance, signature, template, quota, rate, our clock (`_NOT_READ`) | ProviderUnavailable: ours or theirs |

Reports (pushed as a JSON array) and records (PullSmsSendStatusByPhoneNumber; PullSmsSendStatus itself gives every record out
once and for all, so that a crash would lose it): SUCCESS is `arrived`; of FAIL the carrier's word decides. Pushed times are
Asia/Shanghai without saying so, pulled ones Unix time. Sources, read 2026-11-26: cloud.tencent.com/document/api/382/59177 and the
comments of their own client (codes of SendSms), document/product/382/3771 (codes of reports), document/product/382/43547 (pushes).
Pushes are unsigned: only the address with our token, which `noticesvc providers` prints, makes one count; any other makes us ask.
"""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

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
from providers.shared.vendor_templates import NumberedTemplate, chosen, value
from providers.shared.vendor_times import SHANGHAI, from_unix, in_zone, zone_fault

_ALGORITHM = "TC3-HMAC-SHA256"
_SERVICE, _VERSION = "sms", "2021-01-11"
_JSON = "application/json; charset=utf-8"
_NO_NUMBER = frozenset({"InvalidParameterValue.IncorrectPhoneNumber", "FailedOperation.PhoneNumberParseFail"})
_TOO_MANY = re.compile(r"LimitExceeded\.(PhoneNumber(?!Count).*|DeliveryFrequencyLimit)|FailedOperation\.MarketingSendTimeConstraint")
_NOT_READ = frozenset(f"InternalError.{name}" for name in (  # they never came to the message
    "SigFieldMissing", "SigVerificationFail", "RestApiInterfaceNotExist", "RequestTimeException", "JsonParseFail"))
_POLICY = re.compile(r"FailedOperation\.PhoneNumberInBlacklist|.*(SensitiveWord|DirtyWord|ContentLengthLimit|ProhibitedUseUrl).*"
                     r"|InvalidParameterValue\.TemplateParameter.*")
# The carriers' own words (SMPP 3.4 §5.2.28) and Tencent's. A phone that is off or suspended may take the next message; that a
# number does not exist is said only by carriers' codes, each by its own, which the operator lists.
_KIND_OF_WORD = {
    "DELIVRD": "arrived", "EXPIRED": "expired", "UNDELIV": "rejected", "REJECTD": "rejected", "DELETED": "rejected",
    "ACCEPTD": "relayed", "ENROUTE": "relayed", "002": "failed_temporary", "-106": "rejected",
}
_STRIKES = frozenset({"rejected", "failed_permanent", "expired"})
_REFERENCE = re.compile(r"[0-9a-z_.-]{1,80}")


class TencentSettings(BaseModel):
    """Settings of a `tencent` provider, without those every provider has."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    endpoint: str = "https://sms.tencentcloudapi.com"
    region: str = Field("ap-guangzhou", pattern=r"^[a-z0-9-]*$")
    secret_id: str = Field(min_length=1, repr=False)
    secret_key: SecretStr
    app_id: str = Field(min_length=1)
    sign_name: str = ""  # only messages to other countries may have none
    templates: Mapping[str, NumberedTemplate] = Field(default_factory=dict)
    unknown_subscriber_errors: tuple[str, ...] = ()
    zone: str = SHANGHAI

    @field_validator("zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        if fault := zone_fault(name):
            raise ValueError(fault)
        return name


class Tencent:
    """One SMS application at Tencent Cloud."""

    kind: ClassVar[str] = "tencent"
    channels: ClassVar[frozenset[str]] = frozenset({"sms"})
    Settings: ClassVar[type[TencentSettings]] = TencentSettings
    max_retry_s: float | None = None
    from_address = ""
    can_be_asked = True

    def __init__(self, timeout_s: float, settings: TencentSettings) -> None:
        self.templates: frozenset[str] | None = frozenset(settings.templates)
        self._settings, self._http = settings, HttpCalls(timeout_s)

    @classmethod
    def configure(cls, name: str, channel: str, timeout_s: float, settings: TencentSettings) -> Self:
        """Make it from its settings. Raises ConfigurationError for another channel or an endpoint that is no address."""
        if channel not in cls.channels:
            raise ConfigurationError(f'providers.{name}: kind tencent serves channel sms only; set channel = "sms".')
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
        """Hand over one message as one of their approved templates."""
        number, template = require_number(message.to), chosen(self._settings.templates, message)
        reply = await self._call("SendSms", {
            "PhoneNumberSet": [number], "SmsSdkAppId": self._settings.app_id, "TemplateId": template.code,
            "SignName": self._settings.sign_name, "TemplateParamSet": [value(message, ours) for ours in template.params],
            "SessionContext": message.reference})
        status = next((found for found, _ in elements(reply.body, "Response", "SendStatusSet") or ()), {})
        code, serial = word(status.get("Code")) or _error(reply), word(status.get("SerialNo"))
        if code == "Ok" and reply.status == 200 and serial is not None:
            return Submission("submitted", reply.body, reply.media_type, provider_reference=serial, code=code)
        raise _refusal(code, reply)

    async def query(self, inquiry: Inquiry) -> InquiryAnswer | None:
        """Ask for the reports of this number since the attempt; SerialNo or our reference finds the message among them."""
        begin = int(inquiry.attempted_at.timestamp())
        reply = await self._call("PullSmsSendStatusByPhoneNumber", {
            "PhoneNumber": inquiry.to, "SmsSdkAppId": self._settings.app_id, "BeginTime": begin - 60,
            "EndTime": int(inquiry.asked_at.timestamp()), "Offset": 0, "Limit": 100})
        if _error(reply) is not None:
            return None
        for record, raw in elements(reply.body, "Response", "PullSmsSendStatusSet") or ():
            serial = word(record.get("SerialNo"))
            if record.get("SessionContext") == inquiry.reference or (serial is not None and serial == inquiry.provider_reference):
                return InquiryAnswer(raw, reply.media_type, (self._record(record, raw),))
        return InquiryAnswer(b"", "application/json")

    def parse_callback(self, callback: Callback) -> CallbackAnswer:
        """Read a push of reports. Nobody signs it, so our token in the address decides whether it counts."""
        found = self._reports(callback.body, "hmac-token" if callback.ours else None)
        if found is None:
            return CallbackAnswer(400 if callback.ours else 401)
        taken = b'{"result": 0, "errmsg": "OK"}' if callback.ours else b""
        return CallbackAnswer(200 if callback.ours else 401, taken, "application/json", found)

    def parse_receipt(self, raw: bytes, media_type: str) -> Sequence[Receipt]:
        """Read a pushed body; not authenticated here."""
        return self._reports(raw, None) or ()

    def _reports(self, body: bytes, authenticated_by: str | None) -> list[Receipt] | None:
        """Receipts of a push; null if it is no array of objects. What is no report (a reply of a phone) is no receipt."""
        found = elements(body)
        if found is None:
            return None
        return [self._receipt(report, raw, authenticated_by) for report, raw in found if "report_status" in report]

    def _receipt(self, report: Mapping[str, Any], raw: bytes, authenticated_by: str | None) -> Receipt:
        code, ours = word(report.get("errmsg")), word(report.get("ext"))
        kind = self._kind(word(report.get("report_status")), code)
        country, mobile, at = word(report.get("nationcode"), 8), word(report.get("mobile"), 40), word(report.get("user_receive_time"), 40)
        return Receipt(
            kind, reference=ours if ours is not None and _REFERENCE.fullmatch(ours) and "." in ours else None,
            provider_reference=word(report.get("sid")), code=code, text=word(report.get("description"), 1000),
            recipient=f"+{country}{mobile}" if country and mobile else mobile, claimed_time_raw=at,
            claimed_at=in_zone(at, self._settings.zone, end_of_second=kind in _STRIKES), authenticated_by=authenticated_by, raw=raw)

    def _record(self, record: Mapping[str, Any], raw: bytes) -> Receipt:
        code, at = word(record.get("Description")), record.get("UserReceiveTime")
        kind = self._kind(word(record.get("ReportStatus")), code)
        return Receipt(
            kind, provider_reference=word(record.get("SerialNo")), recipient=word(record.get("PhoneNumber"), 40), code=code,
            claimed_time_raw=word(at, 40),
            claimed_at=from_unix(at, end_of_second=kind in _STRIKES) if isinstance(at, int) else None, raw=raw)

    def _kind(self, status: str | None, code: str | None) -> str:
        if status == "SUCCESS":
            return "arrived"
        if code is not None and code in self._settings.unknown_subscriber_errors:
            return "failed_permanent"
        found = _KIND_OF_WORD.get(code or "", "unmapped")
        return "unmapped" if status != "FAIL" or found == "arrived" else found

    async def _call(self, action: str, parameters: Mapping[str, Any]) -> Reply:
        settings, now, body = self._settings, int(time.time()), json.dumps(parameters, ensure_ascii=False).encode()
        signed = {"content-type": _JSON, "host": urlsplit(settings.endpoint).netloc, "x-tc-action": action.lower()}
        headers = {**signed, "x-tc-action": action, "x-tc-version": _VERSION, "x-tc-timestamp": str(now),
                   "authorization": authorization(body, signed, now, settings.secret_id, settings.secret_key.get_secret_value())}
        if settings.region:
            headers["x-tc-region"] = settings.region
        return await self._http.send("POST", f"{settings.endpoint.rstrip('/')}/", headers, body)


def authorization(body: bytes, headers: Mapping[str, str], now: int, secret_id: str, secret_key: str) -> str:
    """The Authorization header of a POST of `body` to `/`, over these headers (names in lower case); `now` in Unix seconds."""
    names = sorted(headers)
    canonical = "\n".join(("POST", "/", "", "".join(f"{name}:{headers[name].strip()}\n" for name in names), ";".join(names),
                           hashlib.sha256(body).hexdigest()))
    date = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    scope = f"{date}/{_SERVICE}/tc3_request"
    to_sign = f"{_ALGORITHM}\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"TC3{secret_key}".encode()
    for step in (date, _SERVICE, "tc3_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{_ALGORITHM} Credential={secret_id}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"


def _error(reply: Reply) -> str | None:
    """The code of a call that was refused as a whole, or of an answer that is none."""
    response = reply.json().get("Response")
    if not isinstance(response, dict):
        return f"http-{reply.status}"
    error = response.get("Error")
    return word(error.get("Code")) or "Error" if isinstance(error, dict) else None


def _refusal(code: str | None, reply: Reply) -> Exception:
    """What an answer that is not Ok means, by the table in this module's head."""
    kept: dict[str, Any] = {"code": code or str(reply.status), **reply.kept}
    if code is None or code in {"Ok", "Error"} or (code.startswith(("InternalError", "http-")) and code not in _NOT_READ):
        return OutcomeUnknown("Tencent's answer does not say whether the message was taken.", **kept)
    if code in _NO_NUMBER:
        return PermanentFailure("Tencent says that this cannot be a number.", **kept)
    if _TOO_MANY.fullmatch(code):
        return TemporaryFailure("This number had too many messages, or gets none at this hour; it is tried again.", **kept)
    if _POLICY.fullmatch(code):
        return Rejected("Tencent refuses this content or number.", **kept)
    return ProviderUnavailable("Tencent did not take the message: look up the code; credentials, balance, signature or template.", **kept)
