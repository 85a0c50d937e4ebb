"""SMS vendors for the storm of receipts: each refuses a part of what it is given, and what is thrown at us in its name.

Called by tests/support/storm.py. Behind Kannel stand Aliyun, Tencent, Twilio and a gateway that takes JSON; each speaks its own
dialect, in batches with what belongs to others, signed or not, spoilt, contradictory, and says something else again when it is asked.
"""

import json
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.fakes.vendor_server import GOOD, LOSE, AliyunServer, Answer, HttpGateway, TencentServer, TwilioServer, Vendor, sign_twilio
from tests.support.process import Running

TEMPLATE = {"subject": "S", "body": "B {{ name }}", "sms": "您好，{{ name }}，请登录平台查看通知。", "sms_carries": "full"}
_ALIYUN = ("DELIVERED", "MOBILE_NOT_ON_SERVICE", "MOBILE_IN_BLACK", "isv.SMS_SIGN_ILLEGAL", "MK:0001", "EXPIRED", "奇怪", "", None, 7)
_TENCENT = ("DELIVRD", "UNDELIV", "EXPIRED", "MK:0001", "002", "x" * 500, None)
_TWILIO = ("queued", "sent", "delivered", "undelivered", "failed", "canceled", "read", "no such word")
_ERRORS = ("30003", "30005", "30007", "30036", "x", "")
_HTTP = ("DELIVRD", "ENROUTE", "UNDELIV", "EXPIRED", "WEIRD", 3, None)
_TIMES = ("2026-11-22 11:04:09", "2099-01-01 00:00:00", "soon", "", None, 0, 2**63)
_REFUSALS: Mapping[str, tuple[int, dict[str, Any]]] = {  # which say that the trouble is the vendor's
    "aliyun": (200, {"Code": "isv.AMOUNT_NOT_ENOUGH"}), "twilio": (400, {"code": 20003, "status": 400}), "json": (429, {}),
    "tencent": (200, {"Response": {"Error": {"Code": "RequestLimitExceeded"}, "RequestId": "R"}})}
_SHARES: Mapping[str, tuple[int, int, int]] = {  # of what is taken, refused, and taken without a word
    "aliyun": (43, 55, 2), "tencent": (53, 45, 2), "twilio": (58, 40, 2), "json": (93, 5, 2)}
_SETTINGS: Mapping[str, str] = {
    "aliyun": 'kind = "aliyun"\nendpoint = "{url}"\naccess_key_id = "LTAI-test"\naccess_key_secret = "{secret}"\nsign_name = "S"\n'
              'templates = {{ storm = {{ code = "SMS_1", params = {{ name = "name" }} }} }}\nunknown_subscriber_errors = ["MK:0001"]\n',
    "tencent": 'kind = "tencent"\nendpoint = "{url}"\nsecret_id = "AKID-test"\nsecret_key = "{secret}"\napp_id = "1"\nsign_name = "S"\n'
               'templates = {{ storm = {{ code = "1110", params = ["name"] }} }}\nunknown_subscriber_errors = ["MK:0001"]\n',
    "twilio": 'kind = "twilio"\nendpoint = "{url}"\naccount_sid = "ACtest0000000000"\nauth_token = "{secret}"\n'
              'from_address = "+15005550006"\n',
    "json": 'kind = "http"\nendpoint = "{url}/send"\nheaders = {{ Authorization = "Bearer {secret}" }}\nanswer_code = "result.code"\n'
            'answer_reference = "result.id"\ncodes = {{ 0 = "taken" }}\n'
            'body = {{ to = "{{to}}", text = "{{text}}", ref = "{{reference}}", report_to = "{{callback_url}}" }}\n'
            'callback.codes = {{ DELIVRD = "arrived", ENROUTE = "relayed", EXPIRED = "expired", UNDELIV = "rejected" }}\n',
}


@dataclass(frozen=True)
class Shot:
    """One request that is thrown at the service; without data a GET."""

    url: str
    data: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """What a vendor took: its provider's name, our reference, its id, and what it was given."""

    vendor: str
    reference: str
    theirs: str
    given: Mapping[str, Any]


@dataclass
class Vendors:
    """The vendors of one service. `addresses` are those registered for pushes."""

    servers: Mapping[str, Vendor]
    addresses: dict[str, str] = field(default_factory=dict)
    _taken: dict[str, list[Taken]] = field(default_factory=dict)  # by notice
    _all: list[Taken] = field(default_factory=list)
    _read: dict[str, int] = field(default_factory=dict)

    async def look_up(self, run: Running) -> None:
        """Learn the addresses that the operator registers with the vendors."""
        status, output = await run.service.command("providers", "--json", "--config", str(run.service.config_file))
        assert status == 0, output
        self.addresses = {row["name"]: row["callback_url"] for row in json.loads(output)}

    def of(self, notice_id: str) -> list[Taken]:
        """What vendors took of a notice."""
        for name, server in self.servers.items():
            for place in range(self._read.get(name, 0), len(server.taken)):
                one = _taken(name, place + 1, server.taken[place])
                self._taken.setdefault(one.reference.partition(".")[0], []).append(one)
                self._all.append(one)
            self._read[name] = len(server.taken)
        return self._taken.get(notice_id, [])

    def shot(self, rng: random.Random, one: Taken) -> Shot:
        """A push about what was taken, perhaps spoilt; now and then the vendor will also say something when it is asked."""
        if rng.random() < 0.1:
            self._tell(rng, one)
        return _PUSHES[one.vendor](self, rng, one)

    def _tell(self, rng: random.Random, one: Taken) -> None:
        server = self.servers[one.vendor]
        if isinstance(server, AliyunServer):
            server.details.append({"PhoneNum": one.given["PhoneNumbers"], "OutId": one.reference, "SendStatus": rng.choice((1, 2, 3, 9)),
                                   "ErrCode": rng.choice(_ALIYUN), "ReceiveDate": rng.choice(_TIMES)})
        elif isinstance(server, TencentServer):
            server.details.append({"PhoneNumber": one.given["PhoneNumberSet"][0], "SerialNo": one.theirs, "UserReceiveTime": rng.choice(
                _TIMES), "ReportStatus": rng.choice(("SUCCESS", "FAIL", 1)), "Description": rng.choice(_TENCENT)})
        elif isinstance(server, TwilioServer):
            server.resources[one.theirs] |= {"status": rng.choice(_TWILIO), "error_code": rng.choice((None, 30005, 30007))}

    def _batch(self, rng: random.Random, one: Taken, report: Callable[[random.Random, Taken], Any], address: str) -> Shot:
        others = [rng.choice(self._all) for _ in range(rng.choice((0, 0, 1, 4)))]
        reports: list[Any] = [report(rng, other) for other in (one, *others)]
        reports += rng.choice(([], [], [None], [{"mobile": "1"}], [[]]))
        rng.shuffle(reports)
        body = json.dumps(reports if rng.random() < 0.95 else {"reports": reports}, ensure_ascii=rng.random() < 0.5)
        return Shot(_spoilt(rng, address), body.encode("utf-8", "replace"), {"Content-Type": "application/json"})

    def _aliyun(self, rng: random.Random, one: Taken) -> Shot:
        def report(rng: random.Random, one: Taken) -> dict[str, Any]:
            return {"phone_number": "13800138000", "success": rng.choice((True, False, False, "true")), "err_code": rng.choice(_ALIYUN),
                    "report_time": rng.choice(_TIMES), "biz_id": rng.choice((one.theirs, "1^0")),
                    "out_id": rng.choice((one.reference, "x", ""))}
        return self._batch(rng, one, report, self.addresses["aliyun"])

    def _tencent(self, rng: random.Random, one: Taken) -> Shot:
        def report(rng: random.Random, one: Taken) -> dict[str, Any]:
            return {"mobile": "13800138000", "nationcode": "86", "report_status": rng.choice(("SUCCESS", "FAIL", "FAIL", 1)),
                    "errmsg": rng.choice(_TENCENT), "user_receive_time": rng.choice(_TIMES), "sid": rng.choice((one.theirs, "5000:9")),
                    "ext": rng.choice((one.reference, "", None))}
        return self._batch(rng, one, report, self.addresses["tencent"])

    def _twilio(self, rng: random.Random, one: Taken) -> Shot:
        url = one.given["StatusCallback"]
        form = {"MessageSid": rng.choice((one.theirs, one.theirs, "SM1")), "MessageStatus": rng.choice(_TWILIO), "To": one.given["To"]}
        form |= rng.choice(({}, {"ErrorCode": rng.choice(_ERRORS)}, {"RawDlrDoneDate": "2611220304"}))
        signature = sign_twilio(rng.choice((self.servers["twilio"].secret,) * 4 + ("another",)), url, form)  # type: ignore[attr-defined]
        body = urlencode(form | ({} if rng.random() < 0.9 else {"more": "1"})).encode()
        return Shot(url if rng.random() < 0.9 else _spoilt(rng, url), body, {
            "X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"})

    def _json(self, rng: random.Random, one: Taken) -> Shot:
        def report(rng: random.Random, one: Taken) -> dict[str, Any]:
            return {"id": rng.choice((one.theirs, "m")), "reference": rng.choice((one.reference, "x")), "status": rng.choice(_HTTP),
                    "time": rng.choice(_TIMES), "to": "+8613800138000"}
        if rng.random() < 0.3:
            return self._batch(rng, one, report, self.addresses["json"])
        return Shot(_spoilt(rng, one.given["report_to"]), json.dumps(report(rng, one)).encode(), {"Content-Type": "application/json"})


_PUSHES = {"aliyun": Vendors._aliyun, "tencent": Vendors._tencent, "twilio": Vendors._twilio, "json": Vendors._json}


def _taken(vendor: str, number: int, given: Mapping[str, Any]) -> Taken:
    if vendor == "aliyun":
        return Taken(vendor, given["OutId"], f"9006{number:05d}^0", given)
    if vendor == "tencent":
        return Taken(vendor, given["SessionContext"], f"5000:{number:05d}", given)
    if vendor == "twilio":
        found = re.search(r"[?&]reference=([^&]*)", given["StatusCallback"])
        return Taken(vendor, found[1] if found else "", f"SM{number:032d}", given)
    return Taken(vendor, given["ref"], f"m-{number}", given)


def _spoilt(rng: random.Random, url: str) -> str:
    """An address, one in seven times with another token or another reference."""
    dice = rng.random()
    if dice < 0.08:
        return re.sub(r"token=[^&]*", rng.choice(("token=x", "", "token=%ff%00")), url)
    return re.sub(r"reference=[^&]*", "reference=nothing", url) if dice < 0.14 else url


@asynccontextmanager
async def vendors(run: Running, seed: int, sequences: int) -> AsyncIterator[Vendors]:
    """The vendors behind the gateway of a service that was not started yet, each refusing a part of what it is given."""
    rng = random.Random(f"{seed}:vendors")
    kinds: dict[str, type[Vendor]] = {"aliyun": AliyunServer, "tencent": TencentServer, "twilio": TwilioServer, "json": HttpGateway}
    async with AsyncExitStack() as stack:
        servers: dict[str, Vendor] = {}
        for priority, (name, kind) in enumerate(kinds.items(), 2):
            status, body = _REFUSALS[name]
            refusal = Answer(status, json.dumps(body).encode())
            moves = [rng.choices((GOOD, refusal, LOSE), _SHARES[name])[0] for _ in range(sequences * 2)] + [GOOD]
            servers[name] = server = await stack.enter_async_context(kind(moves=moves))
            settings = _SETTINGS[name].format(url=server.url, secret=server.secret)  # type: ignore[attr-defined]
            with run.service.config_file.open("a") as file:
                file.write(f'[providers.{name}]\nchannel = "sms"\npriority = {priority}\ntimeout_s = 2\nbreaker_after = 1000\n{settings}')
        yield Vendors(servers)
