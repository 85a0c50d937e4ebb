"""A gateway set up in configuration alone, against a server on loopback that misbehaves on order; nothing is mocked, nothing sleeps."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import struct
import threading
import traceback
from datetime import UTC, datetime

import pytest

from noticesvc.provider import (
    Callback,
    ConfigurationError,
    Inquiry,
    Message,
    OutcomeUnknown,
    PermanentFailure,
    Provider,
    ProviderError,
    ProviderUnavailable,
    Rejected,
    TemporaryFailure,
)
from providers import http

PATIENT_S, HASTY_S = 60.0, 2.0  # where it answers, however busy the machine is; where it is told to hang
KEY, SECRET, SIGN = "K3y-very-secret", "b0dy-s3cret", "sign-s3cret"
NUMBER, TEXT, REF = "+8613800138000", 'Hearing {secret} {to} "quoted" \U0001f600', "n-1.a_b"


class Gateway:
    """A TCP server that reads whole requests, keeps them, and answers with `say(connection, request)`."""

    def __init__(self):
        self.taken, self.say, self.released, self.at_once, self.connections = [], answer(), threading.Event(), False, 0
        self.seen = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            if self.at_once:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                continue
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        try:
            with connection, connection.makefile("rb") as stream:
                while line := stream.readline():
                    method, path, _ = line.decode().split(" ")
                    headers = {}
                    while field := stream.readline().decode().strip():
                        name, _, value = field.partition(":")
                        headers[name.lower()] = value.strip()
                    body = stream.read(int(headers.get("content-length", 0)))
                    self.taken.append((method, path, headers, body))
                    self.seen.set()
                    if not self.say(connection, self):
                        return
        except OSError:
            pass

    def close(self):
        self.released.set()
        self.socket.close()


def answer(status=200, body=b'{"id": "v-1", "code": "0"}', extra=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def say(connection, gateway):
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        return True

    return say


def hang(connection, gateway):
    gateway.released.wait(PATIENT_S)


def close(connection, gateway):
    pass


def reset(connection, gateway):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()  # and with the last reader the peer gets RST


def half(connection, gateway):
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id": "v-1", "code": "0"}')


def half_chunked(connection, gateway):
    connection.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\n{"id": "v-1", "code": "0"}\r\n')


def half_then_hang(connection, gateway):
    half(connection, gateway)
    gateway.released.wait(PATIENT_S)


def no_http(connection, gateway):
    connection.sendall(b"\x00\xff garbage\r\n\r\n")


def endless(connection, gateway):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    while not gateway.released.is_set():
        connection.sendall(chunk)


CODES = {"0": "taken", "100": "temporary", "200": "permanent", "300": "policy", "400": "ours", "500": "unknown"}
KINDS = {"DELIVRD": "arrived", "SENT": "relayed", "NOEXIST": "failed_permanent", "FAIL": "failed_temporary", "FAIL/30005": "rejected"}


def make(url="http://127.0.0.1:9", timeout_s=PATIENT_S, **changes):
    settings = {
        "endpoint": url + "/send",
        "secret": SECRET,
        "codes": CODES,
        "callback": {"codes": KINDS},
        "headers": {"Authorization": f"Bearer {KEY}", "Idempotency-Key": "{reference}"},
        "body": {
            "msg": {"to": ["{to}"], "n": "{to_digits}", "text": "{text}"},
            "ref": "{reference}",
            "cb": "{callback_url}",
            "pw": "{secret}",
            "from": "{from_address}",
            "ttl": 60,
            "flash": False,
        },
    } | changes
    return http.Http.configure("gw", "sms", timeout_s, http.Http.Settings.model_validate(settings))


def message(to=NUMBER, callback_url="https://me.example/cb?token=t", text=TEXT):
    return Message(REF, "m@x", "sms", to, "", text, b"", callback_url, False)


def inquiry(theirs="v-1"):
    now = datetime.now(UTC)
    return Inquiry(REF, "m@x", "sms", NUMBER, theirs, now, now)


class Context:
    name = "gw"


def run(provider, call):
    async def whole():
        await provider.open(Context())
        try:
            return await call()
        finally:
            await provider.close()
            await provider.close()

    return asyncio.run(whole())


def submit(provider, **changes):
    return run(provider, lambda: provider.submit(message(**changes)))


def refused(provider, **changes):
    """The exception of a submit, after looking for secrets in all that a log would show of it."""
    with pytest.raises(ProviderError) as caught:
        submit(provider, **changes)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value.code)
    chain, error = [], caught.value
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__
    shown += "".join(repr(vars(one)) for one in chain[1:])
    for word in (KEY, SECRET, SIGN, NUMBER, NUMBER[1:], "Hearing"):
        assert word not in shown
    return caught.value


@pytest.fixture
def gateway():
    server = Gateway()
    yield server
    server.close()


# submit


def test_the_request_is_what_the_template_says(gateway):
    """Placeholders are filled once, numbers and booleans stay, and a member without a value is left out."""
    taken = submit(make(gateway.url))
    ((method, path, headers, body),) = gateway.taken
    assert (method, path) == ("POST", "/send")
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["idempotency-key"] == REF
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "msg": {"to": [NUMBER], "n": NUMBER[1:], "text": TEXT},
        "ref": REF,
        "cb": "https://me.example/cb?token=t",
        "pw": SECRET,
        "ttl": 60,
        "flash": False,
    }
    assert (taken.outcome, taken.provider_reference, taken.code) == ("submitted", "v-1", "0")
    assert taken.raw == b'{"id": "v-1", "code": "0"}'
    assert taken.media_type.startswith("application/json")


def test_without_a_public_address_the_member_is_left_out(gateway):
    """callback_url is null: no empty member, no word None."""
    submit(make(gateway.url), callback_url=None)
    assert "cb" not in json.loads(gateway.taken[0][3])


def test_a_sender_is_filled_in(gateway):
    """from_address is ours to use."""
    submit(make(gateway.url, from_address="Court"))
    assert json.loads(gateway.taken[0][3])["from"] == "Court"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"code": "100"}, TemporaryFailure),
        (200, {"code": 200}, PermanentFailure),
        (200, {"code": "300"}, Rejected),
        (200, {"code": "400"}, ProviderUnavailable),
        (200, {"code": "500"}, OutcomeUnknown),
        (200, {"code": "777", "id": "v"}, OutcomeUnknown),
        (400, {"code": "200"}, PermanentFailure),
        (503, {"code": "100"}, TemporaryFailure),
        (400, {"code": "777"}, OutcomeUnknown),
        (401, {"code": "777"}, ProviderUnavailable),
        (401, b"", ProviderUnavailable),
        (402, b"", ProviderUnavailable),
        (403, b"<html>", ProviderUnavailable),
        (429, b"", ProviderUnavailable),
        (400, b"", Rejected),
        (422, b"", Rejected),
        (404, b"", OutcomeUnknown),
        (408, b"", OutcomeUnknown),
        (500, b"", OutcomeUnknown),
        (500, b"{", OutcomeUnknown),
        (502, b"<html>", OutcomeUnknown),
        (500, {"code": "0", "id": "v-1"}, OutcomeUnknown),
        (204, b"", OutcomeUnknown),
        (206, {"code": "0", "id": "v-1"}, OutcomeUnknown),
        (200, b"", OutcomeUnknown),
        (200, b"<html>", OutcomeUnknown),
        (200, b"\xff\xfe\x00", OutcomeUnknown),
        (200, b"[" * 100_000, OutcomeUnknown),
        (200, b'{"id": ' + b"9" * 5000 + b"}", OutcomeUnknown),
        (200, {}, OutcomeUnknown),
        (200, [], OutcomeUnknown),
        (200, {"id": "v-1"}, OutcomeUnknown),
        (200, {"code": {"0": 1}, "id": []}, OutcomeUnknown),
        (302, {"code": "300"}, OutcomeUnknown),
    ],
)
def test_each_answer_is_what_is_certain(gateway, status, body, expected):
    """A code of the table decides, else the status, and what nobody knows is unknown; the bytes are kept, and it is called once."""
    gateway.say = answer(status, body)
    error = refused(make(gateway.url))
    assert type(error) is expected
    assert error.raw == (body if isinstance(body, bytes) else json.dumps(body).encode())
    assert len(gateway.taken) == 1


@pytest.mark.parametrize("way", [hang, close, reset, half, half_chunked, half_then_hang, no_http, endless])
def test_broken_off_after_it_was_sent_is_unknown(gateway, way):
    """Within its time, never repeated, though the whole JSON of a success may be in the half that came."""
    gateway.say = way
    assert type(refused(make(gateway.url, timeout_s=HASTY_S if way in {hang, half_then_hang} else PATIENT_S))) is OutcomeUnknown
    assert len(gateway.taken) == 1


def test_a_huge_answer_is_cut(gateway):
    """More than 1 MiB is not read, even where it would parse."""
    gateway.say = answer(200, b'{"id": "v-1", "code": "0", "x": "' + b"x" * 2_000_000 + b'"}')
    error = refused(make(gateway.url))
    assert type(error) is OutcomeUnknown
    assert len(error.raw) <= 1 << 20


def test_without_a_connection_it_was_certainly_not_taken():
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert type(refused(make(f"http://127.0.0.1:{port}"))) is ProviderUnavailable


def test_a_reset_before_it_was_sent_is_not_tried_again(gateway):
    """Whether the reset is seen before or after the first byte is the kernel's matter; it is no refusal, and not repeated."""
    gateway.at_once = True
    assert type(refused(make(gateway.url))) in {OutcomeUnknown, ProviderUnavailable}
    assert gateway.connections == 1


def test_it_is_a_provider():
    """All that the protocol asks for is there."""
    assert isinstance(make(), Provider)


def test_not_open_is_unavailable():
    """Submit without open, as before the worker's loop."""
    with pytest.raises(ProviderUnavailable):
        asyncio.run(make().submit(message()))


def test_cancelling_passes(gateway):
    """Being late is told by the engine, and is no answer."""
    gateway.say = hang
    provider = make(gateway.url)

    async def cancelled():
        task = asyncio.ensure_future(provider.submit(message()))
        assert await asyncio.to_thread(gateway.seen.wait, PATIENT_S)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        run(provider, cancelled)


def test_it_opens_again(gateway):
    """close() and open() again, in another loop."""
    provider = make(gateway.url)
    assert submit(provider).provider_reference == submit(provider).provider_reference == "v-1"


def test_many_at_a_time(gateway):
    """64 calls in one loop."""
    provider = make(gateway.url)

    async def many():
        return await asyncio.gather(*(provider.submit(message()) for _ in range(64)))

    assert len(run(provider, many)) == len(gateway.taken) == 64


def test_a_redirect_is_not_followed(gateway):
    """Neither 302 nor 307 goes on to another address."""
    for status in (301, 302, 307, 308):
        gateway.taken.clear()
        gateway.say = answer(status, b'{"id": "v-1", "code": "0"}', f"Location: {gateway.url}/other\r\n")
        assert type(refused(make(gateway.url))) is OutcomeUnknown
        assert [one[1] for one in gateway.taken] == ["/send"]


@pytest.mark.parametrize("to", ["", "13800138000", "+1\r\nX: y", "+86138001380\x00", "+८६१३८००१३८०००", "\ud800", "+1" * 5000])
def test_a_hostile_number_is_never_sent(gateway, to):
    """It is looked at before anything is sent."""
    assert type(refused(make(gateway.url), to=to)) is Rejected
    assert not gateway.taken


def test_a_hostile_text_stays_in_its_member(gateway):
    """Quotes, controls and lone surrogates change nothing else of the JSON."""
    text = '", "to": ["+1"], "x": "\r\n\x00\ud800 {callback_url}'
    submit(make(gateway.url), text=text)
    assert json.loads(gateway.taken[0][3])["msg"] == {"to": [NUMBER], "n": NUMBER[1:], "text": text}


def test_taken_without_an_id(gateway):
    """Reports find it by our reference or by the address; if not, nobody can say what became of it."""
    gateway.say = answer(200, {"code": "0"})
    assert submit(make(gateway.url)).provider_reference is None
    lone = {"body": {"to": "{to}", "text": "{text}"}, "headers": {}}
    assert type(refused(make(gateway.url, **lone))) is OutcomeUnknown
    lone["body"] = {"to": "{to}", "text": "{text}", "cb": "{callback_url}"}
    assert submit(make(gateway.url, **lone)).provider_reference is None
    assert type(refused(make(gateway.url, **lone), callback_url=None)) is OutcomeUnknown


def test_a_status_takes_only_with_an_id(gateway):
    """A gateway without a word for success must give an id, or a proxy's page would be one."""
    provider = make(gateway.url, codes={"300": "policy"}, answer_reference="data.0.id", answer_code="error.code", statuses={"204": "taken"})
    gateway.say = answer(201, {"data": [{"id": 12}]})
    taken = submit(provider)
    assert (taken.provider_reference, taken.code) == ("12", "201")
    gateway.say = answer(200, {"data": []})
    assert type(refused(provider)) is OutcomeUnknown
    gateway.say = answer(204, b"")
    assert type(refused(provider)) is OutcomeUnknown


def test_a_boolean_may_be_the_code(gateway):
    """`success: true` is a word like others."""
    gateway.say = answer(200, {"success": False, "id": "v"})
    assert type(refused(make(gateway.url, answer_code="success", codes={"true": "taken", "false": "policy"}))) is Rejected


def test_a_code_that_echoes_is_not_shown(gateway):
    """What is no short word of the vendor's, or holds a number, does not come into `code`."""
    for code in (f"bad number {NUMBER}", NUMBER, "x" * 65, f"x{NUMBER[1:]}"):
        gateway.say = answer(200, {"code": code})
        assert refused(make(gateway.url)).code == "200"


# settings


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"endpoint": "ftp://x"}, "endpoint"),
        ({"endpoint": "https://x.example/?key=1"}, "endpoint"),
        ({"headers": {"A": f"x\r\n{SECRET}"}}, "headers"),
        ({"headers": {"A\n": "x"}}, "headers"),
        ({"headers": {"A": "é" + SECRET}}, "headers"),
        ({"headers": {"A": "{to}"}}, "headers"),
        ({"headers": {"Host": SECRET}}, "headers"),
        ({"headers": {"A: b": SECRET}}, "headers"),
        ({"body": {"to": "{to}"}}, "body"),
        ({"body": {"to": "{to}", "text": "{text}", "x": "{nothing}"}}, "body"),
        ({"body": {"text": "{text}"}}, "body"),
        ({"secret": ""}, "secret"),
        ({"answer_reference": "", "codes": {}}, "answer_reference"),
        ({"callback": {"auth": "header"}}, "callback.secret"),
        ({"callback": {"auth": "hmac-sha256"}}, "callback.secret"),
        ({"callback": {"signed": "{x-time}"}}, "callback.signed"),
        ({"callback": {"signed": "{body}{cookie}"}}, "callback.signed"),
        ({"callback": {"zone": "Mars"}}, "zone"),
        ({"query": {"url": "https://x.example/{to}"}}, "query"),
        ({"query": {"url": "https://x.example/{reference}/{x}"}}, "query"),
        ({"query": {"url": "x/{reference}"}}, "query.url"),
        ({"query": {"url": "https://x.example/{provider_reference}", "never_taken": ["no"]}}, "query.never_taken"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(changes, named):
    """At start, with the setting and the remedy, never the value."""
    with pytest.raises(ConfigurationError) as caught:
        make(**changes)
    assert f"providers.gw.{named}" in str(caught.value) or (named == "zone" and named in str(caught.value))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": SECRET},
        {"codes": {"1": SECRET}},
        {"callback": {"codes": {"1": SECRET}}},
        {"callback": {"header": "cookie" + SECRET}},
        {"headers": {"A": [SECRET]}},
        {"secret": [SECRET]},
        {"callback": {"auth": SECRET}},
        {"statuses": {"200": "maybe"}},
    ],
)
def test_pydantic_shows_no_value(changes):
    """Strict, and hidden."""
    with pytest.raises(ValueError) as caught:
        make(**changes)
    assert SECRET not in str(caught.value)


def test_nothing_secret_is_in_a_repr():
    """Settings and provider as a log would show them."""
    provider = make(body={"to": "{to}", "text": "{text}", "k": KEY}, callback={"auth": "header", "secret": SIGN})
    shown = repr(provider) + repr(provider._settings) + str(provider._settings)
    assert not any(word in shown for word in (KEY, SECRET, SIGN))


def test_defaults_can_read_bytes():
    """`noticesvc receipts parse` knows the endpoint alone."""
    provider = http.Http.configure("x", "sms", 5, http.Http.Settings(endpoint="https://x.example/"))
    assert provider.parse_receipt(b'{"reference": "r", "status": "X"}', "application/json")[0].kind == "unmapped"
    assert provider.can_be_asked is False
    assert asyncio.run(provider.query(inquiry())) is None


# callbacks


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
