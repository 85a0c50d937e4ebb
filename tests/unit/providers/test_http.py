"""A gateway set up in configuration alone, against a server on loopback that misbehaves on order: messages and settings."""

import asyncio
import json
import socket

import pytest

from noticesvc.provider import (
    ConfigurationError,
    OutcomeUnknown,
    PermanentFailure,
    Provider,
    ProviderUnavailable,
    Rejected,
    TemporaryFailure,
)
from providers import http
from tests.fakes.odd_gateway import (
    HASTY_S,
    KEY,
    NUMBER,
    PATIENT_S,
    REF,
    SECRET,
    SIGN,
    TEXT,
    Gateway,
    answer,
    close,
    endless,
    half,
    half_chunked,
    half_then_hang,
    hang,
    inquiry,
    make,
    message,
    no_http,
    refused,
    reset,
    run,
    submit,
)


@pytest.fixture
def gateway():
    server = Gateway()
    yield server
    server.close()


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
