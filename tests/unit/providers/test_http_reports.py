"""A gateway set up in configuration alone: what it pushes, genuine or not, and what it says when it is asked."""

import base64
import hashlib
import hmac
import json
import traceback

import pytest

from noticesvc.provider import Callback, ProviderError
from tests.fakes.odd_gateway import (
    HASTY_S,
    KEY,
    KINDS,
    PATIENT_S,
    REF,
    SECRET,
    SIGN,
    Gateway,
    answer,
    close,
    endless,
    half,
    hang,
    inquiry,
    make,
    reset,
    run,
)


@pytest.fixture
def gateway():
    server = Gateway()
    yield server
    server.close()


def pushed(provider, body, *, headers=None, method="POST", query=None, **more):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    callback = Callback(method, query or {}, headers or {}, body, **more)
    first = provider.parse_callback(callback)
    assert provider.parse_callback(callback) == first  # a duplicate gives the same
    assert first.status in {200, 400, 401}
    assert first.status != 401 or not any(one.authenticated_by for one in first.receipts)
    return first


REPORT = {"reference": REF, "id": "v-1", "status": "DELIVRD", "time": "2026-03-01T09:30:00+08:00"}


def test_a_report_at_the_registered_address():
    """Our own token is the proof; everything of the report is read."""
    got = pushed(make(), REPORT, ours=True)
    (one,) = got.receipts
    assert (got.status, got.body, one.kind, one.reference, one.provider_reference, one.code) == (
        200,
        b"ok",
        "arrived",
        REF,
        "v-1",
        "DELIVRD",
    )
    assert (one.claimed_time_raw, one.claimed_at, one.authenticated_by) == (REPORT["time"], "2026-03-01T01:30:00.000Z", "hmac-token")


def test_without_a_token_it_has_no_effect():
    """401, with the receipt as it was read."""
    got = pushed(make(), REPORT)
    assert (got.status, got.receipts[0].reference, got.receipts[0].authenticated_by) == (401, REF, None)


def test_the_token_of_an_attempt_vouches_for_it_alone():
    """A report without a reference is that attempt's; one that names another has no effect."""
    bare = {"status": "SENT", "id": "v-1"}
    (one,) = pushed(make(), bare, ours=True, reference=REF).receipts
    assert (one.kind, one.reference, one.authenticated_by) == ("relayed", REF, "hmac-token")
    got = pushed(make(), REPORT | {"reference": "other"}, ours=True, reference=REF)
    assert (got.status, got.receipts[0].reference) == (401, "other")


@pytest.mark.parametrize(
    ("report", "kind", "code"),
    [
        ({"status": "FAIL", "err": "30005"}, "rejected", "FAIL/30005"),
        ({"status": "FAIL", "err": 1}, "failed_temporary", "FAIL/1"),
        ({"status": "FAIL"}, "failed_temporary", "FAIL"),
        ({"status": "Delivrd"}, "unmapped", "Delivrd"),
    ],
)
def test_codes_of_reports(report, kind, code):
    """The code with its error first, then alone; nothing is guessed."""
    (one,) = pushed(make(callback={"codes": KINDS, "error": "err"}), report | {"reference": REF}, ours=True).receipts
    assert (one.kind, one.code) == (kind, code)


@pytest.mark.parametrize(
    ("at", "status", "claimed"),
    [
        ("2026-03-01 09:30:00", "SENT", "2026-03-01T01:30:00.000Z"),
        ("2026-03-01 09:30:00", "NOEXIST", "2026-03-01T01:30:00.999Z"),
        (1700000000, "SENT", "2023-11-14T22:13:20.000Z"),
        ("1700000000", "NOEXIST", "2023-11-14T22:13:20.999Z"),
        ("2026-03-01T01:30:00.5Z", "NOEXIST", "2026-03-01T01:30:00.500000+00:00"),
        ("2026-03-01T01:30:00Z", "NOEXIST", "2026-03-01T01:30:00.999Z"),
        ("soon", "SENT", None),
        ("", "SENT", None),
        (None, "SENT", None),
        ([], "SENT", None),
        (True, "SENT", None),
        (1e300, "SENT", None),
        (float("nan"), "SENT", None),
        (-5, "SENT", None),
        ("\ud800", "SENT", None),
        ("0001-01-01T00:00:00+23:59", "SENT", None),
        ("9999-12-31T23:59:59-23:59", "NOEXIST", None),
    ],
)
def test_times(at, status, claimed):
    """With an offset, in the zone that is set, or since 1970; a strike claims the end of its second."""
    provider = make(callback={"codes": KINDS, "zone": "Asia/Shanghai"})
    (one,) = pushed(provider, {"reference": REF, "status": status, "time": at}, ours=True).receipts
    assert one.claimed_at == claimed


def sign(body, encoding="hex", digest=hashlib.sha256, key=SIGN):
    made = hmac.new(key.encode(), body, digest).digest()
    return made.hex() if encoding == "hex" else base64.b64encode(made).decode()


def test_a_signature_over_the_body():
    """Genuine alone counts; a changed byte, another key, no header or surrogates do not. A GET is not what they signed."""
    provider, body = (
        make(callback={"codes": KINDS, "auth": "hmac-sha256", "secret": SIGN, "prefix": "sha256="}),
        json.dumps(REPORT).encode(),
    )
    genuine = {"x-signature": "sha256=" + sign(body)}
    got = pushed(provider, body, headers=genuine)
    assert (got.status, got.receipts[0].authenticated_by) == (200, "hmac-sha256")
    assert pushed(provider, body + b" ", headers=genuine).status == 401
    assert pushed(provider, b"garbage", headers=genuine).status == 401
    for given in ("", "\ud800", sign(body), "sha256=" + sign(body, key="x"), "sha256=" + sign(body, key="")):
        assert pushed(provider, body, headers={"x-signature": given}).status == 401
    assert pushed(provider, body, ours=True, reference=REF).status == 401
    empty = {"x-signature": "sha256=" + sign(b"")}
    assert pushed(provider, b"", headers=empty).status == 400
    assert pushed(provider, b"", headers=empty, method="GET", query={"reference": REF, "status": "DELIVRD"}).status == 401


def test_a_signature_with_a_time_in_a_header():
    """Signed is what the vendor says: here the time, a dot and the body, SHA-512, in Base64."""
    settings = {
        "codes": KINDS,
        "auth": "hmac-sha512",
        "secret": SIGN,
        "encoding": "base64",
        "signed": "{x-time}.{body}",
        "header": "X-Signature",
    }
    provider, body = make(callback=settings), json.dumps(REPORT).encode()
    headers = {"x-time": "17", "x-signature": sign(b"17." + body, "base64", hashlib.sha512)}
    assert pushed(provider, body, headers=headers).receipts[0].authenticated_by == "hmac-sha512"
    assert pushed(provider, body, headers=headers | {"x-time": "18"}).status == 401


def test_a_signed_report_keeps_their_id():
    """What they signed names the message; an address's token fills in only where they name none."""
    provider = make(callback={"codes": KINDS, "auth": "hmac-sha256", "secret": SIGN})
    for report, reference in (({"id": "v-9", "status": "SENT"}, None), ({"status": "SENT"}, REF)):
        body = json.dumps(report).encode()
        (one,) = pushed(provider, body, headers={"x-signature": sign(body)}, ours=True, reference=REF).receipts
        assert (one.reference, one.authenticated_by) == (reference, "hmac-sha256")


def test_a_secret_in_a_header():
    """Basic, bearer or a header of their own."""
    provider = make(callback={"codes": KINDS, "auth": "header", "secret": SIGN, "header": "Authorization", "prefix": "Bearer "})
    assert pushed(provider, REPORT, headers={"authorization": f"Bearer {SIGN}"}).receipts[0].authenticated_by == "header-secret"
    for given in ({}, {"authorization": SIGN}, {"authorization": "Bearer "}, {"authorization": f"Bearer {SIGN}\ud800"}):
        assert pushed(provider, REPORT, headers=given).status == 401


def test_a_form():
    """In the body, or in the query of a GET; the first of a name counts, and names may have dots."""
    provider = make(
        callback={"codes": KINDS, "format": "form", "provider_reference": "msg.id", "answer": "<ok/>", "answer_media_type": "text/xml"}
    )
    got = pushed(provider, b"reference=" + REF.encode() + b"&status=SENT&status=DELIVRD&msg.id=v%2D1&time=1700000000", ours=True)
    (one,) = got.receipts
    assert (one.kind, one.reference, one.provider_reference, one.claimed_time_raw) == ("relayed", REF, "v-1", "1700000000")
    assert (got.body, got.media_type) == (b"<ok/>", "text/xml")
    (one,) = pushed(provider, b"", method="GET", query={"reference": REF, "status": "DELIVRD"}, ours=True).receipts
    assert one.kind == "arrived"
    for body in (b"", b"\xff\xff", b"&".join(b"a=%d" % at for at in range(300)), json.dumps(REPORT).encode()):
        assert pushed(provider, body, ours=True).status == 400


def test_a_ping_is_answered():
    """What the settings name is genuine and nothing to report; without proof it is 401 all the same."""
    provider = make(callback={"codes": KINDS, "ignore": {"type": ["ping", "inbound"]}})
    got = pushed(provider, REPORT | {"type": "inbound"}, ours=True)
    assert (got.status, got.receipts) == (200, ())
    assert pushed(provider, {"type": "ping"}).status == 401
    assert provider.parse_receipt(b'{"type": "ping", "reference": "r", "status": "SENT"}', "") == ()


HOSTILE = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b"[1]",
    b'"x"',
    b"\xff\xfe",
    b"{",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"status": "SENT"}',
    b'{"reference": "r"}',
    b'{"status": {"a": 1}, "reference": ["x"]}',
    b'{"status": ' + b"9" * 5000 + b', "reference": "r"}',
    b'{"status": null, "reference": "r"}',
    b"\x00" * 1000,
    b"a=1&b=2",
    b"%" * 1000,
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("form", ["json", "form"])
@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:20]))
def test_hostile_callbacks_never_raise(body, form):
    """Whatever the bytes: 401 without proof, 400 with it, and nothing from parse_receipt."""
    provider = make(callback={"codes": KINDS, "format": form, "reference": "reference.a"})
    odd = {"": "\ud800", "\ud800": "", "x-signature": "[" * 100_000}
    assert pushed(provider, body, headers=odd, query=odd).status == 401
    assert pushed(provider, body, headers=odd, query=odd, ours=True).status == 400
    assert pushed(provider, body, method="GET", query=odd, ours=True).status == 400
    assert pushed(provider, body, method="\ud800", query=odd, url="\ud800").status == 401
    assert list(provider.parse_receipt(body, "\ud800")) == []


def test_surrogates_in_a_report_do_not_raise():
    """They stay what they are; the service makes them a question mark."""
    (one,) = pushed(make(), b'{"reference": "\\ud800", "status": "\\ud800", "time": "\\ud800"}', ours=True).receipts
    assert one.kind == "unmapped"


# query


def ask(provider, **changes):
    return run(provider, lambda: provider.query(inquiry(**changes)))


def asker(gateway, **query):
    settings = {"url": gateway.url + "/msg/{provider_reference}", "parameters": {"ref": "{reference}", "k": "{secret}"}} | query
    return make(gateway.url, query=settings, callback={"codes": KINDS})


def test_asked_by_their_id(gateway):
    """GET once, everything quoted; the codes are those of reports."""
    gateway.say = answer(200, {"id": "../a?b#c d", "status": "DELIVRD"})
    got = ask(asker(gateway), theirs="../a?b#c d")
    ((method, path, headers, body),) = gateway.taken
    assert (method, path, body) == ("GET", f"/msg/..%2Fa%3Fb%23c%20d?ref={REF}&k={SECRET}", b"")
    assert headers["authorization"] == f"Bearer {KEY}"
    assert (got.never_taken, got.receipts[0].kind, got.raw) == (False, "arrived", b'{"id": "../a?b#c d", "status": "DELIVRD"}')


@pytest.mark.parametrize("theirs", [None, "", ".", ".."])
def test_without_a_usable_id_it_is_not_asked(gateway, theirs):
    """Null, and nothing is sent."""
    assert ask(asker(gateway), theirs=theirs) is None
    assert not gateway.taken


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, b""),
        (200, []),
        (200, {"id": "v-2", "status": "SENT"}),
        (200, {"reference": "other", "status": "SENT"}),
        (404, {"status": "SENT", "reference": REF}),
        (500, {"error": "no such"}),
        (302, {"error": "no such"}),
        (404, b""),
        (404, {"error": "x"}),
    ],
)
def test_no_answer_is_null(gateway, status, body):
    """Unreadable, of another message, or not said for certain."""
    gateway.say = answer(status, body)
    assert ask(asker(gateway, never_taken=["no such"])) is None


def test_never_taken_is_for_certain_only(gateway):
    """By our reference and without an id: never taken. Where they once gave an id, they only forgot it."""
    gateway.say = answer(404, {"error": "no such"})
    provider = asker(gateway, url=gateway.url + "/ref/{reference}", never_taken=["no such"])
    assert ask(provider, theirs=None).never_taken is True
    assert ask(provider).never_taken is False


@pytest.mark.parametrize("way", [hang, half, endless, reset, close])
def test_a_broken_inquiry_is_no_answer(gateway, way):
    """It raises within its time, which means the same as null, and shows no secret."""
    gateway.say = way
    with pytest.raises(ProviderError) as caught:
        ask(make(
            gateway.url,
            timeout_s=HASTY_S if way is hang else PATIENT_S,
            query={"url": gateway.url + "/{reference}", "parameters": {"k": "{secret}"}},
        ))
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert len(gateway.taken) == 1
