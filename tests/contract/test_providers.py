"""One suite over every provider: whatever the other side does, each answers in the protocol's words and survives it.

The other sides, and what they can be told to do, stand in tests/fakes/provider_peers.py; a provider is asked only the
questions its other side can be made to put.
"""

import asyncio
import json
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from noticesvc.provider import (
    Callback,
    ConfigurationError,
    OutcomeUnknown,
    PermanentFailure,
    Provider,
    ProviderUnavailable,
    Rejected,
    Submission,
    TemporaryFailure,
)
from providers.aliyun import Aliyun
from providers.http import Http
from providers.kannel import Kannel
from providers.mx import Mx
from providers.sandbox import Sandbox
from providers.smtp import Smtp
from providers.tencent import Tencent
from providers.twilio import Twilio
from tests.fakes.provider_peers import HASTY_S, PEERS, SECRET, Context, KannelPeer, SandboxPeer, message, opened
from tests.support.ports import free_port

FAILURES = (TemporaryFailure, PermanentFailure, Rejected, OutcomeUnknown)
VENDORS = ("aliyun", "http", "tencent", "twilio")
SCRIPTED = ("smtp", "smtp pipelined", "mx", "kannel", *VENDORS)

SMTP_ANSWERS = {
    "temporary": TemporaryFailure, "permanent": PermanentFailure, "rejected": Rejected,
    "refused for now at the end": TemporaryFailure, "refused for good at the end": Rejected,
    "hang before the content": ProviderUnavailable, "hang at the start": ProviderUnavailable,
    "hang after the content": OutcomeUnknown,
    "close at the start": ProviderUnavailable, "close before the content": ProviderUnavailable,
    "close after the content": OutcomeUnknown, "garbage before the content": ProviderUnavailable,
    "garbage after the content": OutcomeUnknown, "endless garbage after the content": OutcomeUnknown,
    "closing down": TemporaryFailure,
}
KANNEL_ANSWERS = {
    "temporary": ProviderUnavailable, "rejected": Rejected, "bad credentials": ProviderUnavailable,
    "hang after the content": OutcomeUnknown, "close after the content": OutcomeUnknown,
    "garbage after the content": OutcomeUnknown, "server error": OutcomeUnknown,
    "endless garbage after the content": OutcomeUnknown, "redirect": OutcomeUnknown,
}
# One domain's mail hosts are no trouble of the provider's: it stays available for all the others.
MX_ANSWERS = {scenario: TemporaryFailure if kind is ProviderUnavailable else kind for scenario, kind in SMTP_ANSWERS.items()}
VENDOR_ANSWERS = {
    "temporary": TemporaryFailure, "permanent": PermanentFailure, "rejected": Rejected, "out of money": ProviderUnavailable,
    "hang after the content": OutcomeUnknown, "close after the content": OutcomeUnknown, "reset after the content": OutcomeUnknown,
    "garbage after the content": OutcomeUnknown, "half a body": OutcomeUnknown, "server error": OutcomeUnknown,
    "endless garbage after the content": OutcomeUnknown, "redirect": OutcomeUnknown, "no meaning": OutcomeUnknown,
}
ANSWERS = {
    "smtp": SMTP_ANSWERS, "smtp pipelined": SMTP_ANSWERS, "mx": MX_ANSWERS, "kannel": KANNEL_ANSWERS,
    "aliyun": VENDOR_ANSWERS | {"their failure": OutcomeUnknown},
    "tencent": VENDOR_ANSWERS | {"their failure": OutcomeUnknown, "bad credentials": ProviderUnavailable, "too fast": ProviderUnavailable},
    "http": VENDOR_ANSWERS,
    "twilio": VENDOR_ANSWERS | {"bad credentials": ProviderUnavailable},
}
QUESTIONS = [(peer, scenario, kind) for peer, answers in ANSWERS.items()
             for scenario, kind in answers.items()]


@pytest.fixture(params=PEERS)
def peer(request):
    return PEERS[request.param]()


@pytest.fixture(params=SCRIPTED)
def scripted(request):
    return PEERS[request.param]()


async def test_taken_message_is_answered_with_the_whole_raw_answer(peer):
    """A taken message gives a Submission that keeps what the other side said."""
    async with peer.run(), opened(peer) as provider:
        answer = await provider.submit(message(peer.channel))
    assert isinstance(provider, Provider)
    assert isinstance(answer, Submission)
    assert answer.raw
    assert answer.code


@pytest.mark.parametrize(("name", "scenario", "kind"), QUESTIONS)
async def test_each_refusal_and_break_off_has_its_word(name, scenario, kind):
    """Whatever goes wrong is one of the four exceptions, without secret or address, and the next message works."""
    peer = PEERS[name]()
    if scenario.startswith("hang"):
        peer.timeout_s = HASTY_S
    async with peer.run(), opened(peer) as provider:
        await provider.submit(message(peer.channel, number=1))  # so that the trouble meets a kept connection
        peer.play(scenario)
        if peer.channel == "email" and scenario.endswith("at the start"):
            peer.server.drop_all()
        with pytest.raises(FAILURES) as caught:
            await provider.submit(message(peer.channel, number=2))
        peer.play("good")
        taken = peer.taken
        again = await provider.submit(message(peer.channel, number=3))
        assert peer.taken == taken + 1
    assert type(caught.value) is kind
    assert again.raw
    shown = repr(caught.value) + str(caught.value) + str(caught.value.__cause__)
    assert SECRET not in shown
    assert "13800138000" not in shown
    assert "li@example.cn" not in shown


async def test_nothing_is_repeated_by_itself(scripted):
    """A message whose answer was lost has been handed over once, not twice."""
    async with scripted.run(), opened(scripted) as provider:
        await provider.submit(message(scripted.channel, number=1))
        scripted.play("close after the content")
        with pytest.raises(OutcomeUnknown):
            await provider.submit(message(scripted.channel, number=2))
        assert scripted.taken == 2


async def test_refused_connection_is_temporary_and_passes(scripted):
    """With nobody listening the message was certainly not taken; once somebody listens again it goes."""
    port = free_port()
    async with scripted.run(port=port):
        provider = scripted.provider()
    await provider.open(Context())
    with pytest.raises(ProviderUnavailable if not isinstance(provider, Mx) else TemporaryFailure):
        await provider.submit(message(scripted.channel))
    async with scripted.run(port=port):
        assert (await provider.submit(message(scripted.channel))).raw
        await provider.close()


async def test_a_cancelled_submission_leaves_the_next_one_clean(scripted):
    """Cancelling in mid-command drops that connection; the next message is answered with its own reply."""
    async with scripted.run(), opened(scripted) as provider:
        scripted.play("hang after the content")
        hanging = asyncio.create_task(provider.submit(message(scripted.channel, number=1)))
        await scripted.server.reached(*(["CONTENT"] if scripted.channel == "email" else []))
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        scripted.play("good")
        assert (await provider.submit(message(scripted.channel, number=2))).outcome in {"submitted", "arrived"}


async def test_fifty_at_once(peer):
    """Fifty concurrent submissions each get their own answer."""
    context = Context()
    async with peer.run(), opened(peer, context) as provider:
        answers = await asyncio.gather(*(
            provider.submit(message(peer.channel, delivery=f"d{n}")) for n in range(50)))
    assert len(answers) == 50
    if isinstance(peer, SandboxPeer):
        assert {item["reference"] for item in context.kept} == {f"d{n}.1" for n in range(50)}
        assert len({answer.provider_reference for answer in answers}) == 50
    else:
        assert peer.taken == 50


async def test_closing_twice_and_opening_again_works(peer):
    """close() may be called twice, and open() after it."""
    async with peer.run():
        provider = peer.provider()
        for _ in range(2):
            await provider.open(Context())
            assert (await provider.submit(message(peer.channel))).raw
            await provider.close()
            await provider.close()


@pytest.mark.parametrize("name", PEERS)
def test_works_on_uvloop(name):
    """The service runs on uvloop; a provider works there as on asyncio's own loop."""
    async def scene():
        peer = PEERS[name]()
        async with peer.run(), opened(peer) as provider:
            return await provider.submit(message(peer.channel))

    assert uvloop.run(scene()).raw


HOSTILE_MAIL = ["li@example.cn>\r\nRCPT TO:<x@example.cn", "a b@example.cn", "<li@example.cn>", "li", "@example.cn",
                "li@", "li\0@example.cn", "li@exa mple.cn", "x" * 65 + "@example.cn", "li@" + "a" * 64 + ".cn"]
HOSTILE_NUMBERS = ["+86138\r\nX-Kannel-To: 1", "", "li@example.cn", "+86 138", "1" * 40, "+86138\0"]


@pytest.mark.parametrize(("name", "to"), [
    *((name, to) for name in ("smtp", "smtp pipelined", "mx", "sandbox email") for to in HOSTILE_MAIL),
    *((name, to) for name in ("kannel", *VENDORS) for to in HOSTILE_NUMBERS)])
async def test_a_hostile_address_is_rejected_before_anything_is_sent(name, to):
    """An address that would break out of its command is refused here, and its text is in no error."""
    peer = PEERS[name]()
    async with peer.run(), opened(peer) as provider:
        with pytest.raises(Rejected) as caught:
            await provider.submit(message(peer.channel, to or " "))
        if not isinstance(peer, SandboxPeer):
            assert peer.taken == 0
    assert "example" not in str(caught.value)


def unopened(name):
    """A provider as `configure` makes it, whose other side is nobody."""
    if name in VENDORS:
        peer = PEERS[name]()
        peer.server = SimpleNamespace(url="http://127.0.0.1:1")
        return peer.provider()
    return {
        "smtp": lambda: Smtp.configure("try", "email", 1, Smtp.Settings(from_address="n@example.com")),
        "mx": lambda: Mx.configure("try", "email", 1, Mx.Settings(from_address="n@example.com")),
        "kannel": lambda: Kannel.configure("try", "sms", 1, Kannel.Settings()),
        "sandbox email": lambda: Sandbox.configure("try", "email", 1, Sandbox.Settings()),
        "sandbox sms": lambda: Sandbox.configure("try", "sms", 1, Sandbox.Settings()),
    }[name]()


NAMES = ("smtp", "mx", "kannel", *VENDORS, "sandbox email", "sandbox sms")
MEDIA = st.sampled_from(["application/json", "multipart/report", "message/rfc822", "", "\ud800"])
GARBAGE = st.one_of(
    st.binary(max_size=400),
    st.binary(max_size=200).map(
        lambda raw: b"Content-Type: message/delivery-status\r\n\r\nA: b\r\n\r\nAction: failed\r\n" + raw),
    st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
      .map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=100).map(lambda raw: b"status=" + raw + b"&time=" + raw + b"&part=" + raw),
)


@pytest.mark.parametrize("name", NAMES)
@given(raw=GARBAGE, media_type=MEDIA)
def test_hostile_receipts_never_raise(name, raw, media_type):
    """Whatever bytes come in as a receipt, the parser answers with receipts that authenticate nothing by themselves."""
    for receipt in unopened(name).parse_receipt(raw, media_type):
        assert receipt.kind
        assert receipt.authenticated_by in {None, "sandbox"}


@pytest.mark.parametrize("name", NAMES)
@given(body=GARBAGE, method=st.sampled_from(["GET", "POST"]),
       query=st.dictionaries(st.sampled_from(["status", "text", "time", "part", "parts", "x"]), st.text()))
def test_hostile_callbacks_never_raise_and_grant_nothing(name, body, query, method):
    """A callback that nobody vouches for is 401, readable or not, and none of its receipts is authenticated; who takes none says 404."""
    answer = unopened(name).parse_callback(Callback(method, query, {}, body))
    assert answer.status in {401, 404}
    assert all(receipt.authenticated_by is None for receipt in answer.receipts)


@pytest.mark.parametrize("name", NAMES)
def test_deeply_nested_mail_and_json_give_nothing(name):
    """Nesting that would exhaust the parser's stack is garbage like any other."""
    nested = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(3000))
    for raw, media_type in ((nested, "multipart/report"), (b"[" * 100_000, "application/json")):
        assert list(unopened(name).parse_receipt(raw, media_type)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_channel_it_cannot_serve_is_a_configuration_error(name):
    """The message names the provider and the remedy."""
    made = unopened(name)
    kind, settings = type(made), made._settings if hasattr(made, "_settings") else type(made).Settings()
    with pytest.raises(ConfigurationError, match=r"providers\.try.*channel"):
        kind.configure("try", "postal", 1, settings)


def test_settings_refuse_unknown_members_and_hide_secrets():
    """A misspelt setting is an error, and no secret stands in a repr."""
    for kind in (Smtp, Mx, Kannel, Sandbox, Aliyun, Http, Tencent, Twilio):
        with pytest.raises(ValueError, match="pasword"):
            kind.Settings.model_validate({"pasword": "x", "from_address": "n@example.com"})
    assert SECRET not in repr(Smtp.Settings(from_address="n@example.com", username="u", password=SECRET))
    assert SECRET not in repr(Kannel.Settings(username="u", password=SECRET))
    for name in VENDORS:
        assert SECRET not in repr(unopened(name)._settings) + repr(vars(unopened(name)))


async def test_kannel_reports_come_back_to_their_attempt():
    """The address handed to Kannel leads back to ours, our token untouched by Kannel's escapes."""
    peer = KannelPeer()
    async with peer.run(), opened(peer) as provider:
        await provider.submit(message("sms"))
        url = peer.server.requests[0].report_url(1, "id:7 stat:DELIVRD err:000", 1764000000, "7")
        query = dict(parse_qsl(urlsplit(url).query))
        answer = provider.parse_callback(Callback("GET", query, {}, b"", reference="0199-d.1"))
    assert url.startswith("http://127.0.0.1:1/v1/providers/sms/callbacks?t=a%2Fb&")
    (receipt,) = answer.receipts
    assert answer.status == 200
    assert (receipt.kind, receipt.reference, receipt.authenticated_by) == ("arrived", "0199-d.1", "hmac-token")
    assert receipt.claimed_time_raw == "1764000000"
    assert receipt.claimed_at == "2025-11-24T16:00:00.000Z"  # date -u -d @1764000000
