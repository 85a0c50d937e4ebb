"""How Kannel's answers and delivery reports are read."""

import pytest

from noticesvc.provider import Callback, OutcomeUnknown, ProviderUnavailable, Rejected
from providers.kannel import Kannel, _require_taken, report_url
from providers.shared.smpp_receipt import read_state

TOKEN = "0199.1"


def provider(**settings):
    return Kannel.configure("sms", "sms", 5, Kannel.Settings(**settings))


def report(members, reference=TOKEN, **settings):
    answer = provider(**settings).parse_callback(Callback("GET", members, {}, b"", reference=reference))
    return answer.status, *answer.receipts


@pytest.mark.parametrize(("status", "text", "kind", "code"), [
    ("1", "", "arrived", "1"), ("8", "ACK/", "relayed", "8"), ("4", "", "relayed", "4"),
    ("2", "", "rejected", "2"), ("16", "NACK/11/Invalid Destination Address", "rejected", "16"),
    ("34", "", "expired", "34"), ("32", "", "unmapped", "32"), ("66", "", "unmapped", "66"), ("", "", "unmapped", None),
    ("99", "", "unmapped", "99"), ("arrived", "", "unmapped", "arrived"),
    ("1", "id:1 sub:001 dlvrd:001 submit date:2611220000 done date:2611220001 stat:DELIVRD err:000 text:",
     "arrived", "1:DELIVRD:000"),
    ("2", "id:1 stat:UNDELIV err:001 text:", "rejected", "2:UNDELIV:001"),
    ("2", "id:1 stat:EXPIRED err:000", "expired", "2:EXPIRED:000"),
    ("2", "stat:REJECTD err:0B", "rejected", "2:REJECTD:0B"), ("2", "stat:DELETED", "rejected", "2:DELETED"),
    ("2", "stat:UNKNOWN", "unmapped", "2:UNKNOWN"), ("4", "stat:ACCEPTD", "relayed", "4:ACCEPTD"),
    ("4", "stat:ENROUTE", "relayed", "4:ENROUTE"), ("2", "stat:NEWWORD", "unmapped", "2:NEWWORD"),
])
def test_states_and_bits(status, text, kind, code):
    """SMPP 3.4 §5.2.28 where the carrier names a state, else Kannel's dlr-mask bits; the unknown stays unmapped."""
    http, receipt = report({"status": status, "text": text})
    assert (http, receipt.kind, receipt.code) == (200, kind, code)


def test_a_missing_number_only_by_the_operators_list():
    """err: codes are the carrier's own, so UNDELIV is permanent only for those the operator knows to mean it."""
    text = "id:1 stat:UNDELIV err:001 text:"
    assert report({"status": "2", "text": text}, unknown_subscriber_errors=("001",))[1].kind == "failed_permanent"
    assert report({"status": "2", "text": text}, unknown_subscriber_errors=("005",))[1].kind == "rejected"
    assert read_state("stat:EXPIRED err:001", ("001",)).kind == "expired"


@pytest.mark.parametrize(("members", "part"), [
    ({"part": "2", "parts": "3"}, (2, 3)), ({"part": "1", "parts": "1"}, (None, None)), ({}, (None, None)),
    ({"part": "4", "parts": "3"}, (None, None)), ({"part": "0", "parts": "3"}, (None, None)),
    ({"part": "²", "parts": "3"}, (None, None)),
])
def test_parts_are_told_only_when_they_make_sense(members, part):
    """A message in one part has no parts; nonsense is no part."""
    receipt = report({"status": "1", **members})[1]
    assert (receipt.part, receipt.parts) == part


def test_claims_have_whole_seconds():
    """An arrival claims the start of its second; a failure its end, so that it follows a submission in that second."""
    assert report({"status": "1", "time": "0999999999"})[1].claimed_at == "2001-09-09T01:46:39.000Z"
    assert report({"status": "2", "time": "999999999"})[1].claimed_at == "2001-09-09T01:46:39.999Z"
    assert report({"status": "1", "time": "-1"})[1].claimed_at is None


def test_without_our_token_it_is_recorded_and_grants_nothing():
    """A bad signature is answered 401, and its receipt is authenticated by nothing."""
    http, receipt = report({"status": "1"}, reference=None)
    assert (http, receipt.authenticated_by, receipt.reference) == (401, None, None)


def test_reports_posted_as_a_form_and_as_kept_bytes():
    """The same report as form body, and as raw bytes for `receipts parse`."""
    body = b"status=1&text=stat%3ADELIVRD&time=999999999&foreign=abc"
    answer = provider().parse_callback(Callback("POST", {}, {}, body, reference=TOKEN))
    (kept,) = provider().parse_receipt(b"/v1/providers/sms/callbacks?token=x&" + body, "text/plain")
    (bare,) = provider().parse_receipt(body, "application/x-www-form-urlencoded")
    assert answer.receipts[0].kind == kept.kind == bare.kind == "arrived"
    assert kept.provider_reference == bare.provider_reference == "abc"


@pytest.mark.parametrize(("status", "body", "kind"), [
    (202, b"0: Accepted for delivery", None), (202, b"3: Queued for later delivery", None), (202, b"Sent.", None),
    (403, b"Authorization failed for sendsms", ProviderUnavailable), (401, b"", ProviderUnavailable),
    (404, b"Unknown request.", ProviderUnavailable), (429, b"", ProviderUnavailable),
    (403, b"Not routable. Do not try again.", Rejected), (400, b"Sender missing and no global set, rejected", Rejected),
    (503, b"Temporal failure, try again later.", ProviderUnavailable), (503, b"Bad gateway", OutcomeUnknown),
    (500, b"Sending failed.", OutcomeUnknown), (502, b"", OutcomeUnknown), (200, b"<html>", OutcomeUnknown),
    (302, b"", OutcomeUnknown), (202, b"", OutcomeUnknown),
])
def test_answers(status, body, kind):
    """What smsbox 1.4.5 answers, and what proxies before it might; only certainty is told as certainty."""
    if kind is None:
        _require_taken(status, body)
        return
    with pytest.raises((ProviderUnavailable, Rejected, OutcomeUnknown)) as caught:
        _require_taken(status, body)
    assert type(caught.value) is kind
    assert caught.value.raw == body


def test_report_address_keeps_our_own_per_cent_signs():
    """Kannel reads %2 and %A as escapes of its own, so ours are doubled."""
    assert report_url("http://n/cb?t=%2F%AF", 1, 1) == "http://n/cb?t=%%2F%%AF&status=%d&text=%A&time=%T&foreign=%F"
    assert report_url("http://n/cb", 2, 3).endswith("?status=%d&text=%A&time=%T&foreign=%F&part=2&parts=3")
