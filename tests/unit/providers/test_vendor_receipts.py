"""How the reports and records of Aliyun, Tencent and Twilio are read. Samples are those of the vendors' descriptions, numbers changed."""

import json
from urllib.parse import urlencode

import pytest

from noticesvc.provider import Callback
from providers.shared.json_slices import elements
from tests.fakes.provider_peers import PEERS, inquiry, opened
from tests.fakes.vendor_server import Answer

ALIYUN = ('[{"phone_number": "13800138000", "send_time": "2026-11-22 11:04:05", "report_time": "2026-11-22 11:04:09", "success": true,\n'
          '  "err_code": "DELIVERED", "err_msg": "用户接收成功", "sms_size": "1", "biz_id": "9006195469^0", "out_id": "0199-d.1"} ,'
          '{"phone_number": "13900139000", "success": false, "err_code": "MOBILE_IN_BLACK", "report_time": "2026-11-22 11:04:10",'
          ' "biz_id": "9006195470^0", "out_id": ""}]').encode()
TENCENT = ('[{"user_receive_time": "2026-11-22 11:04:09", "nationcode": "86", "mobile": "13800138000", "report_status": "SUCCESS",'
           ' "errmsg": "DELIVRD", "description": "用户短信送达成功", "sid": "5000:00001"},'
           ' {"user_receive_time": "2026-11-22 11:04:10", "nationcode": "86", "mobile": "13900139000", "report_status": "FAIL",'
           ' "errmsg": "MK:0001", "description": "空号", "sid": "5000:00002", "ext": "0199-e.1"}]').encode()


def unopened(name, **settings):
    peer = PEERS[name]()
    peer.server = type("Nobody", (), {"url": "http://127.0.0.1:1"})
    return peer.provider(**settings)


@pytest.mark.parametrize(("name", "body", "first", "second"), [
    ("aliyun", ALIYUN, ("arrived", "0199-d.1", "9006195469^0", "DELIVERED", "2026-11-22T03:04:09.000Z"),
     ("rejected", None, "9006195470^0", "MOBILE_IN_BLACK", "2026-11-22T03:04:10.999Z")),
    ("tencent", TENCENT, ("arrived", None, "5000:00001", "DELIVRD", "2026-11-22T03:04:09.000Z"),
     ("unmapped", "0199-e.1", "5000:00002", "MK:0001", "2026-11-22T03:04:10.000Z"))])
def test_a_push_of_two_reports(name, body, first, second):
    """Each report is a receipt with its own bytes of the body and nobody else's; times are Asia/Shanghai, which nobody says."""
    answer = unopened(name).parse_callback(Callback("POST", {}, {}, body, ours=True))
    told = [(r.kind, r.reference, r.provider_reference, r.code, r.claimed_at) for r in answer.receipts]
    assert (answer.status, told) == (200, [first, second])
    assert json.loads(answer.body) in ({"code": 0, "msg": "接收成功"}, {"result": 0, "errmsg": "OK"})
    assert {r.authenticated_by for r in answer.receipts} == {"hmac-token"}
    numbers = (b"13800138000", b"13900139000")
    for receipt, there, not_there in ((answer.receipts[0], *numbers), (answer.receipts[1], *reversed(numbers))):
        assert receipt.raw in body
        assert there in receipt.raw
        assert not_there not in receipt.raw


@pytest.mark.parametrize(("name", "body"), [("aliyun", ALIYUN), ("tencent", TENCENT)])
def test_without_our_token_the_same_push_is_not_believed(name, body):
    """401, and the receipts in it authenticate nothing; `receipts parse` shows them all the same."""
    answer = unopened(name).parse_callback(Callback("POST", {}, {}, body))
    assert (answer.status, {r.authenticated_by for r in answer.receipts}) == (401, {None})
    assert [r.kind for r in unopened(name).parse_receipt(body, "")] == [r.kind for r in answer.receipts]


@pytest.mark.parametrize(("name", "body"), [
    ("aliyun", b'[{"phone_number": "13800138000", "content": "TD", "dest_code": "1"}]'),
    ("tencent", b'[{"mobile": "13800138000", "text": "TD", "nationcode": "86"}]'), ("aliyun", b"[]"), ("tencent", b'[1, "x", null]')])
def test_what_is_no_report_is_taken_and_says_nothing(name, body):
    """Replies of phones come to the same address; they are kept, and are no receipt."""
    answer = unopened(name).parse_callback(Callback("POST", {}, {}, body, ours=True))
    assert (answer.status, list(answer.receipts)) == (200, [])


@pytest.mark.parametrize(("name", "code", "kind"), [
    ("aliyun", "MOBILE_NOT_ON_SERVICE", "failed_temporary"), ("aliyun", "MOBILE_TERMINAL_ERROR", "failed_temporary"),
    ("aliyun", "MOBLLE_TERMINAL_ERROR", "failed_temporary"), ("aliyun", "IS_CLOSE", "failed_temporary"),
    ("aliyun", "isv.SMS_SIGN_ILLEGAL", "rejected"), ("aliyun", "isv.BUSINESS_LIMIT_CONTROL", "failed_temporary"),
    ("aliyun", "isp.SYSTEM_ERROR", "failed_temporary"), ("aliyun", "REQUEST_SUCCESS", "unmapped"),
    ("aliyun", "CONTENT_KEYWORD", "rejected"), ("aliyun", "USER_REJECT", "rejected"), ("aliyun", "EXPIRED", "expired"),
    ("aliyun", "MK:9999", "unmapped"), ("aliyun", None, "unmapped"), ("aliyun", "MK:0001", "failed_permanent"),
    ("tencent", "UNDELIV", "rejected"), ("tencent", "EXPIRED", "expired"), ("tencent", "REJECTD", "rejected"),
    ("tencent", "002", "failed_temporary"), ("tencent", "-106", "rejected"), ("tencent", "SHUTDOWN", "unmapped"),
    ("tencent", "DELIVRD", "unmapped"), ("tencent", "x" * 5000, "unmapped"),
    ("tencent", "MK:0001", "failed_permanent")])
def test_what_failed_and_why(name, code, kind):
    """Off, suspended or black-listed is no missing number; which of the carriers' codes say "no such number" the operator lists."""
    provider = unopened(name, unknown_subscriber_errors=["MK:0001"])
    report = ({"success": False, "err_code": code} if name == "aliyun" else {"report_status": "FAIL", "errmsg": code}) | {"sid": "1"}
    receipt, = provider.parse_receipt(json.dumps([report]).encode(), "")
    assert receipt.kind == kind


@pytest.mark.parametrize(("status", "error", "kind", "code"), [
    ("sent", None, "relayed", "sent"), ("delivered", None, "arrived", "delivered"), ("undelivered", "30003", "failed_temporary", "30003"),
    ("undelivered", "30005", "failed_permanent", "30005"), ("failed", "30007", "rejected", "30007"),
    ("undelivered", "99999", "rejected", "99999"),
    ("undelivered", None, "rejected", "undelivered"), ("undelivered", "30036", "expired", "30036"),
    ("canceled", None, "rejected", "canceled"),
    ("newword", None, "unmapped", "newword")])
def test_twilios_words(status, error, kind, code):
    """Status and error code as evidence; the unknown stays unmapped, and what is over for good is so without a known code too."""
    form = {"MessageSid": "SM1", "MessageStatus": status, "To": "+8613800138000", "RawDlrDoneDate": "2611220304"}
    receipt, = unopened("twilio").parse_receipt(urlencode(form | ({"ErrorCode": error} if error else {})).encode(), "")
    assert (receipt.kind, receipt.code, receipt.provider_reference, receipt.claimed_time_raw) == (kind, code, "SM1", "2611220304")


@pytest.mark.parametrize("status", ["queued", "accepted", "sending", "scheduled"])
def test_twilios_words_that_say_nothing_new(status):
    """That it is on its way inside Twilio is known from its answer."""
    assert unopened("twilio").parse_receipt(f"MessageSid=SM1&MessageStatus={status}".encode(), "") == ()


ALIYUN_RECORD = {"PhoneNum": "13800138000", "OutId": "0199-d.1", "SendStatus": 3, "ErrCode": "DELIVERED", "Content": "…",
                 "SendDate": "2026-11-22 11:04:06", "ReceiveDate": "2026-11-22 11:04:09", "TemplateCode": "SMS_1"}
TENCENT_RECORD = {"PhoneNumber": "+8613800138000", "SerialNo": "5000:00001", "ReportStatus": "SUCCESS", "Description": "DELIVRD",
                  "UserReceiveTime": 1795316649, "CountryCode": "86", "SubscriberNumber": "13800138000"}
TWILIO_RECORD = {"sid": "SM00000000000001", "status": "delivered", "error_code": None, "to": "+8613800138000",
                 "date_updated": "Sun, 22 Nov 2026 03:04:09 +0000"}
QUERIES = {
    "aliyun": (ALIYUN_RECORD, {"SendStatus": 2, "ErrCode": "USER_REJECT"}, {"SendStatus": 1, "ErrCode": ""}, "9006195469^0"),
    "tencent": (TENCENT_RECORD, {"ReportStatus": "FAIL", "Description": "UNDELIV"}, {"SerialNo": "5000:9"}, "5000:00001"),
    "twilio": (TWILIO_RECORD, {"status": "undelivered", "error_code": 30007}, {"status": "sending"}, "SM00000000000001"),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_what_they_say_when_asked(name):
    """Arrived, failed, and not yet known; the bytes are those of this message alone, and times count as the vendor means them."""
    good, failed, waiting, theirs = QUERIES[name]
    peer = PEERS[name]()
    async with peer.run(), opened(peer) as provider:
        for record, kind in ((good, "arrived"), (good | failed, "rejected"), (good | waiting, None)):
            other = {k: "13900139000" if "hone" in k else v for k, v in good.items()}
            if name == "twilio":
                peer.server.resources[theirs] = record
            else:
                peer.server.details[:] = [good | {"OutId": "another.1", "SerialNo": "5000:8"}, other, record]
            answer = await provider.query(inquiry("sms", provider_reference=theirs))
            assert [r.kind for r in answer.receipts] == ([kind] if kind else []), record
            if kind:
                assert json.loads(answer.raw) == record
                assert answer.receipts[0].claimed_at == "2026-11-22T03:04:09." + ("000Z" if kind == "arrived" else "999Z")
    assert peer.server.refused == []


async def test_an_attempt_without_an_answer_is_found_by_our_reference():
    """Aliyun brings OutId back: one that waits for its report was taken; of one it does not show nothing is said."""
    peer = PEERS["aliyun"]()
    async with peer.run(), opened(peer) as provider:
        nothing = await provider.query(inquiry("sms"))
        peer.server.details[:] = [ALIYUN_RECORD | {"SendStatus": 1}]
        taken = await provider.query(inquiry("sms"))
        peer.server.moves[:] = [Answer(200, b'{"Code": "isv.ACCOUNT_ABNORMAL"}')]
        assert await provider.query(inquiry("sms")) is None
    assert (list(nothing.receipts), nothing.never_taken) == ([], False)
    assert [r.kind for r in taken.receipts] == ["submitted"]
    assert peer.server.requests[0].parameters["PhoneNumber"] == "13800138000"
    assert peer.server.requests[0].parameters["SendDate"] == "20261122"


async def test_twilio_cannot_be_asked_without_its_sid():
    """It knows no reference of ours, and a Sid that is none is never put into an address."""
    provider = unopened("twilio")
    assert await provider.query(inquiry("sms")) is None
    assert await provider.query(inquiry("sms", provider_reference="../Accounts")) is None


async def test_numbers_templates_and_signatures_as_they_want_them():
    """A Chinese number without its country for Aliyun; parameters by name for Aliyun, in order for Tencent; no mapping goes elsewhere."""
    from dataclasses import replace

    from noticesvc.provider import ProviderUnavailable
    from tests.fakes.provider_peers import message
    sent = {}
    for name in ("aliyun", "tencent"):
        peer = PEERS[name]()
        async with peer.run(), opened(peer) as provider:
            await provider.submit(message("sms"))
            await provider.submit(message("sms", "+85291234567"))
            for wrong in ({"template": None}, {"template": "other"}, {"template_params": {"name": "x"}}):
                with pytest.raises(ProviderUnavailable) as caught:
                    await provider.submit(replace(message("sms"), **wrong))
                assert caught.value.code in {"template", "template-params"}
            assert provider.templates == {"hello"}
        sent[name] = peer.server.taken
    first, abroad = sent["aliyun"]
    assert (first["PhoneNumbers"], abroad["PhoneNumbers"]) == ("13800138000", "85291234567")
    assert (first["SignName"], first["TemplateCode"], first["OutId"]) == ("示例 & 平台", "SMS_1", "0199-d.1")
    assert json.loads(first["TemplateParam"]) == {"name": "李 雷+*~'", "code": "abc"}
    first, abroad = sent["tencent"]
    assert (first["PhoneNumberSet"], abroad["PhoneNumberSet"]) == (["+8613800138000"], ["+85291234567"])
    assert first["TemplateParamSet"] == ["李 雷+*~'", "abc"]


@pytest.mark.parametrize(("raw", "path", "found"), [
    (b'[{"a": 1} , {"b":\n2}]', (), [b'{"a": 1}', b'{"b":\n2}']), (b" [ ] ", (), []),
    (b'{"x": {"y": [{"a": []}]}}', ("x", "y"), [b'{"a": []}']),
    (b'{"z": [1], "x": [7, {"a": 1}]}', ("x",), [b'{"a": 1}']), (b"{}", (), None), (b'{"x": 1}', ("x",), None), (b"[", (), None),
    (b"\xff", (), None), (b'[{"a": 1}] x', (), None), (b'{"x": {}}', ("x", "y"), None)])
def test_elements_keep_their_bytes(raw, path, found):
    """The exact bytes of each object of the array at a path; null for what is none."""
    told = elements(raw, *path)
    assert (None if told is None else [piece for _, piece in told]) == found
