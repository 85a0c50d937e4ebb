"""The `aliyun` provider: short messages through Alibaba Cloud's SendSms (Dysmsapi 2017-05-25), its reports and its records.

Loaded by its name in the configuration. Requests are signed with ACS3-HMAC-SHA256 (V3 request signature). SendSms sends only
templates that Aliyun approved, so `templates` maps ours to theirs. OutId carries our reference and comes back in every report.

What a code means, of the answer to SendSms:

| code                                                    | means                                                |
|---------------------------------------------------------|------------------------------------------------------|
| `OK`                                                    | submitted                                            |
| `isv.MOBILE_NUMBER_ILLEGAL`                             | PermanentFailure: no such number can exist           |
| `isv.BUSINESS_LIMIT_CONTROL`                            | TemporaryFailure: this number had too many           |
| black-listed or unsubscribed numbers, texts and parameters that are not allowed | Rejected: policy (`_POLICY`) |
| `isp.*` `InternalError` `UnknownError` `ServiceUnavailable`, no code | OutcomeUnknown: their system failed somewhere |
| any other: balance, signature, template, throttling, rights, the account's own quota of a day | ProviderUnavailable: ours or theirs |

Reports (SmsReport, pushed as a JSON array) and records (QuerySendDetails): success is `arrived`; of failures the table below.
Platform codes (`isv.*`, `isp.*`) stand there too: of a message that never left Aliyun.
Sources, read 2026-11-26: help.aliyun.com/document_detail/101346.html (codes of the API) and 101347.html (codes of reports).
Their times are Asia/Shanghai without saying so. Pushes are unsigned: only the address with our token, which
`noticesvc providers` prints, makes one count; any other makes us ask QuerySendDetails.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

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
from providers.shared.vendor_templates import VendorTemplate, chosen, value
from providers.shared.vendor_times import SHANGHAI, in_zone, zone_fault

_ALGORITHM = "ACS3-HMAC-SHA256"
_VERSION = "2017-05-25"
_TOO_MANY = "isv.BUSINESS_LIMIT_CONTROL"
_NO_NUMBER = "isv.MOBILE_NUMBER_ILLEGAL"
_POLICY = re.compile(r"isv\.(BLACK_KEY_CONTROL_LIMIT|CUSTOMER_REFUSED|PARAM_.*|TEMPLATE_PARAMS_ILLEGAL|.*CONTENT.*)")
_FAILED = re.compile(r"isp\.(?!RAM_PERMISSION_DENY).*|InternalError|UnknownError|ServiceUnavailable")
# What carriers say of a message that did not arrive. A phone that is off, out of service or suspended may take the next one;
# none of these words says for certain that a number does not exist: the operator lists those of the carriers' codes that do.
_KIND_OF_CODE = {
    "MOBILE_NOT_ON_SERVICE": "failed_temporary", "MOBILE_ACCOUNT_ABNORMAL": "failed_temporary",
    "MOBLLE_TERMINAL_ERROR": "failed_temporary",  # so they write it
    "MOBILE_TERMINAL_ERROR": "failed_temporary", "MOBILE_SEND_LIMIT": "failed_temporary", "INVALID_NUMBER": "failed_temporary",
    "IS_CLOSE": "failed_temporary", _TOO_MANY: "failed_temporary", _NO_NUMBER: "failed_permanent",
    "PARAMS_ILLEGAL": "rejected", "SIGNATURE_BLACKLIST": "rejected", "PORT_NOT_REGISTERED": "rejected",
    "SP_UNKNOWN_ERROR": "rejected", "NO_ROUTE": "rejected", "SP_NOT_BY_INTER_SMS": "rejected", "MOBILE_IN_BLACK": "rejected",
    "USER_REJECT": "rejected", "CONTENT_KEYWORD": "rejected", "CONTENT_ERROR": "rejected", "REJECTD": "rejected",
    "UNDELIV": "rejected", "DELETED": "rejected", "EXPIRED": "expired", "REQUEST_SUCCESS": "unmapped",
}
_STRIKES = frozenset({"rejected", "failed_permanent", "expired"})
_TAKEN_CALLBACK = '{"code": 0, "msg": "接收成功"}'.encode()
_REFERENCE = re.compile(r"[0-9a-z_.-]{1,80}")


class AliyunSettings(BaseModel):
    """Settings of an `aliyun` provider, without those every provider has."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    endpoint: str = "https://dysmsapi.aliyuncs.com"
    access_key_id: str = Field(min_length=1, repr=False)
    access_key_secret: SecretStr
    sign_name: str = Field(min_length=1)
    templates: Mapping[str, VendorTemplate] = Field(default_factory=dict)
    unknown_subscriber_errors: tuple[str, ...] = ()
    zone: str = SHANGHAI

    @field_validator("zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        if fault := zone_fault(name):
            raise ValueError(fault)
        return name


class Aliyun:
    """One account at Alibaba Cloud."""

    kind: ClassVar[str] = "aliyun"
    channels: ClassVar[frozenset[str]] = frozenset({"sms"})
    Settings: ClassVar[type[AliyunSettings]] = AliyunSettings
    max_retry_s: float | None = None
    from_address = ""
    can_be_asked = True

    def __init__(self, timeout_s: float, settings: AliyunSettings) -> None:
        self.templates: frozenset[str] | None = frozenset(settings.templates)
        self._settings, self._http = settings, HttpCalls(timeout_s)

    @classmethod
    def configure(cls, name: str, channel: str, timeout_s: float, settings: AliyunSettings) -> Self:
        """Make it from its settings. Raises ConfigurationError for another channel or an endpoint that is no address."""
        if channel not in cls.channels:
            raise ConfigurationError(f'providers.{name}: kind aliyun serves channel sms only; set channel = "sms".')
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
        filled = {theirs: value(message, ours) for theirs, ours in template.params.items()}
        reply = await self._call("SendSms", {
            "PhoneNumbers": _local(number), "SignName": self._settings.sign_name, "TemplateCode": template.code,
            "TemplateParam": json.dumps(filled, ensure_ascii=False) if filled else "", "OutId": message.reference})
        answer = reply.json()
        code, biz_id = word(answer.get("Code")), word(answer.get("BizId"))
        if code == "OK" and reply.status == 200 and biz_id is not None:
            return Submission("submitted", reply.body, reply.media_type, provider_reference=biz_id, code=code)
        raise _refusal(code, reply)

    async def query(self, inquiry: Inquiry) -> InquiryAnswer | None:
        """Ask QuerySendDetails for what went to this number on that day; our reference finds the message among them."""
        first = inquiry.attempted_at.astimezone(ZoneInfo(SHANGHAI))
        for day in sorted({first.date(), (first + timedelta(minutes=10)).date()}):
            reply = await self._call("QuerySendDetails", {
                "PhoneNumber": _local(inquiry.to), "SendDate": f"{day:%Y%m%d}", "PageSize": "50", "CurrentPage": "1",
                "BizId": inquiry.provider_reference or ""})
            if word(reply.json().get("Code")) != "OK":
                return None
            for record, raw in elements(reply.body, "SmsSendDetailDTOs", "SmsSendDetailDTO") or ():
                if record.get("OutId") == inquiry.reference:
                    receipt = self._record(record, raw, known=inquiry.provider_reference is not None)
                    return InquiryAnswer(raw, reply.media_type, () if receipt is None else (receipt,))
        return InquiryAnswer(b"", "application/json")

    def parse_callback(self, callback: Callback) -> CallbackAnswer:
        """Read a push of reports. Nobody signs it, so our token in the address decides whether it counts."""
        found = self._reports(callback.body, "hmac-token" if callback.ours else None)
        if found is None:
            return CallbackAnswer(400 if callback.ours else 401)
        return CallbackAnswer(200 if callback.ours else 401, _TAKEN_CALLBACK if callback.ours else b"", "application/json", found)

    def parse_receipt(self, raw: bytes, media_type: str) -> Sequence[Receipt]:
        """Read a pushed body; not authenticated here."""
        return self._reports(raw, None) or ()

    def _reports(self, body: bytes, authenticated_by: str | None) -> list[Receipt] | None:
        """Receipts of a push; null if it is no array of objects. What is no report (a reply of a phone) is no receipt."""
        found = elements(body)
        if found is None:
            return None
        return [self._receipt(report, raw, authenticated_by) for report, raw in found if isinstance(report.get("success"), bool)]

    def _receipt(self, report: Mapping[str, Any], raw: bytes, authenticated_by: str | None) -> Receipt:
        code, out_id = word(report.get("err_code")), word(report.get("out_id"))
        kind = "arrived" if report["success"] else self._kind(code)
        at = word(report.get("report_time"), 40)
        return Receipt(
            kind, reference=out_id if out_id is not None and _REFERENCE.fullmatch(out_id) else None,
            provider_reference=word(report.get("biz_id")), recipient=word(report.get("phone_number"), 40), code=code,
            text=word(report.get("err_msg"), 1000), claimed_time_raw=at,
            claimed_at=in_zone(at, self._settings.zone, end_of_second=kind in _STRIKES), authenticated_by=authenticated_by, raw=raw)

    def _record(self, record: Mapping[str, Any], raw: bytes, *, known: bool) -> Receipt | None:
        """A record of QuerySendDetails: 1 waits for its report, 2 failed, 3 arrived. One that waits tells only that they took it."""
        status, code = word(record.get("SendStatus")), word(record.get("ErrCode"))
        if status == "1":
            return None if known else Receipt("submitted", code="1", raw=raw)
        kind = "arrived" if status == "3" else self._kind(code) if status == "2" else "unmapped"
        at = word(record.get("ReceiveDate"), 40)
        return Receipt(kind, code=code, recipient=word(record.get("PhoneNum"), 40), claimed_time_raw=at,
                       claimed_at=in_zone(at, self._settings.zone, end_of_second=kind in _STRIKES), raw=raw)

    def _kind(self, code: str | None) -> str:
        if code is not None and code in self._settings.unknown_subscriber_errors:
            return "failed_permanent"
        platform = {"isv": "rejected", "isp": "failed_temporary"}.get((code or "").partition(".")[0], "unmapped")
        return _KIND_OF_CODE.get(code or "", platform)

    async def _call(self, action: str, parameters: Mapping[str, str]) -> Reply:
        settings = self._settings
        host = urlsplit(settings.endpoint).netloc
        headers = {
            "host": host, "x-acs-action": action, "x-acs-version": _VERSION, "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
            "x-acs-date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "x-acs-signature-nonce": secrets.token_hex(16)}
        query = canonical_query({name: text for name, text in parameters.items() if text})
        headers["authorization"] = authorization(
            "POST", "/", query, headers, settings.access_key_id, settings.access_key_secret.get_secret_value())
        return await self._http.send("POST", f"{settings.endpoint.rstrip('/')}/?{query}", headers)


def canonical_query(parameters: Mapping[str, str]) -> str:
    """Parameters in order, percent-encoded by RFC 3986."""
    return "&".join(f"{quote(name, safe='~')}={quote(parameters[name], safe='~')}" for name in sorted(parameters))


def authorization(method: str, path: str, query: str, headers: Mapping[str, str], key_id: str, secret: str) -> str:
    """The Authorization header of V3 signatures, over all of `headers` (names in lower case) and the hash of the body in them."""
    names = sorted(headers)
    canonical = "\n".join((method, path, query, "".join(f"{name}:{headers[name].strip()}\n" for name in names), ";".join(names),
                           headers["x-acs-content-sha256"]))
    to_sign = f"{_ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{_ALGORITHM} Credential={key_id},SignedHeaders={';'.join(names)},Signature={signature}"


def _local(number: str) -> str:
    """The number as Aliyun wants it: a Chinese one without +86, any other with its country and without the sign."""
    return number.removeprefix("+86") if number.startswith("+861") else number.removeprefix("+")


def _refusal(code: str | None, reply: Reply) -> Exception:
    """What an answer that is not OK means, by the first table in this module's head."""
    kept: dict[str, Any] = {"code": code or str(reply.status), **reply.kept}
    if code is None or code == "OK" or _FAILED.fullmatch(code):
        return OutcomeUnknown("Aliyun's answer does not say whether the message was taken.", **kept)
    if code == _NO_NUMBER:
        return PermanentFailure("Aliyun says that this cannot be a number.", **kept)
    if code == _TOO_MANY:
        return TemporaryFailure("This number had too many messages for now; it is tried again.", **kept)
    if _POLICY.fullmatch(code):
        return Rejected("Aliyun refuses this content.", **kept)
    return ProviderUnavailable("Aliyun did not take the message: look up the code; credentials, balance, signature or template.", **kept)
