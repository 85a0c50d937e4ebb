"""A gateway that speaks JSON over HTTP, set up in configuration alone."""

import base64
import hashlib
import hmac
import json

import pytest

from noticesvc.provider import Callback, ConfigurationError
from providers.http import Http
from tests.fakes.provider_peers import PEERS, SECRET, inquiry, message, opened

REPORT = {"id": "m-1", "reference": "0199-d.1", "status": "DELIVRD", "time": "2026-11-22 03:04:09", "to": "+8613800138000"}


def provider(**settings):
    return Http.configure("gate", "sms", 5, Http.Settings.model_validate(settings))


async def test_the_configured_json_is_sent():
    """Places in it are filled at any depth, what is no text stays as it is, and the answer's id is theirs."""
    peer = PEERS["http"]()
    async with peer.run(), opened(peer, body={"a": ["{to}", {"b": "{param.name}/{reference}"}], "n": 3, "t": "{{text}} {text}"}) as gate:
        answer = await gate.submit(message("sms", text='{to} "x"'))
    assert peer.server.taken == [{"a": ["+8613800138000", {"b": "李 雷+*~'/0199-d.1"}], "n": 3, "t": '{{to} "x"} {to} "x"'}]
    assert (answer.provider_reference, answer.code) == ("m-1", "0")


@pytest.mark.parametrize(("body", "settings", "kinds"), [
    (REPORT, {}, ["arrived"]), ([REPORT, REPORT | {"status": "EXPIRED"}], {}, ["arrived", "expired"]),
    ({"data": {"list": [REPORT]}}, {"reports_path": "data.list"}, ["arrived"]), (REPORT | {"status": "XYZ"}, {}, ["unmapped"]),
    (REPORT | {"status": 3}, {"statuses": {"3": "failed_permanent"}}, ["failed_permanent"]),
    ({"m": {"state": "DELIVRD"}}, {"status_path": "m.state"}, ["arrived"])])
def test_reports_in_the_forms_that_gateways_have(body, settings, kinds):
    """One object, an array, an array inside; words and numbers as the configuration maps them."""
    found = provider(**settings).parse_receipt(json.dumps(body).encode(), "application/json")
    assert [receipt.kind for receipt in found] == kinds


@pytest.mark.parametrize(("time", "zone", "claimed"), [
    ("2026-11-22 03:04:09", "UTC", "2026-11-22T03:04:09.000Z"), ("2026-11-22 11:04:09", "Asia/Shanghai", "2026-11-22T03:04:09.000Z"),
    (1795316649, "UTC", "2026-11-22T03:04:09.000Z"), ("2026-11-22T11:04:09+08:00", "UTC", "2026-11-22T11:04:09+08:00"),
    ("soon", "UTC", None), (True, "UTC", None), (-1, "UTC", None), (10**30, "UTC", None), (None, "UTC", None)])
def test_times_with_and_without_a_zone(time, zone, claimed):
    """Without an offset the configured zone counts; what is no time is no claim."""
    receipt, = provider(zone=zone).parse_receipt(json.dumps(REPORT | {"time": time}).encode(), "")
    assert receipt.claimed_at == claimed


def test_a_report_counts_by_its_signature_or_by_our_token():
    """With a signature configured only that counts; without, only our token in the address. Else 401, and nothing counts."""
    body = json.dumps(REPORT).encode()
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256)
    signing = provider(signature_header="X-Signature", signature_key=SECRET)

    def told(gate, **callback):
        answer = gate.parse_callback(Callback("POST", {}, callback.pop("headers", {}), body, **callback))
        return answer.status, [r.authenticated_by for r in answer.receipts]

    for good in (digest.hexdigest(), base64.b64encode(digest.digest()).decode()):
        assert told(signing, headers={"x-signature": good}) == (200, ["hmac-sha256"])
    for wrong in ("", "x", digest.hexdigest()[:-1], "é"):
        assert told(signing, headers={"x-signature": wrong}, ours=True, reference="0199-d.1") == (401, [None])
    assert told(provider(), ours=True) == (200, ["hmac-token"])
    assert told(provider()) == (401, [None])


def test_the_attempt_of_the_address_is_the_one_it_speaks_of():
    """Where the call brought back the token of an attempt, no word of the body can point at another."""
    answer = provider().parse_callback(Callback("POST", {}, {}, json.dumps(REPORT).encode(), reference="0199-e.2", ours=True))
    assert [r.reference for r in answer.receipts] == ["0199-e.2"]


def test_the_token_of_one_attempt_vouches_for_no_other_of_a_batch():
    """Only the report that names the attempt of the address counts; where none does, 401. A signature vouches for all."""
    body = json.dumps([REPORT | {"reference": "0199-e.2"}, REPORT, {"status": "DELIVRD", "id": "m-2"}]).encode()

    def told(gate, **callback):
        answer = gate.parse_callback(Callback("POST", {}, callback.pop("headers", {}), body, ours=True, **callback))
        return answer.status, [(r.reference, r.authenticated_by) for r in answer.receipts]

    named = ["0199-e.2", "0199-d.1", None]
    assert told(provider(), reference="0199-e.2") == (200, list(zip(named, ["hmac-token", None, None], strict=True)))
    assert told(provider(), reference="0199-f.3") == (401, [(one, None) for one in named])
    assert told(provider()) == (200, [(one, "hmac-token") for one in named])
    sign = {"x-s": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
    signing = provider(signature_header="X-S", signature_key=SECRET)
    assert told(signing, headers=sign, reference="0199-e.2") == (200, [(one, "hmac-sha256") for one in named])


async def test_it_is_asked_where_an_address_is_configured():
    """By their id or our reference; not at all without what stands in the address."""
    peer = PEERS["http"]()
    async with peer.run():
        for place, key in (("{id}", "m/1"), ("{reference}", "0199-d.1")):
            gate = peer.provider(query_url=f"{peer.server.url}/status/{place}")
            await gate.open(None)
            peer.server.fates[key] = REPORT | {"id": "m/1"}
            answer = await gate.query(inquiry("sms", provider_reference="m/1"))
            assert ([r.kind for r in answer.receipts], gate.can_be_asked) == (["arrived"], True)
            await gate.close()
        unknown = peer.provider(query_url=f"{peer.server.url}/status/{{id}}")
        assert await unknown.query(inquiry("sms")) is None
        assert (await peer.provider().query(inquiry("sms")), peer.provider().can_be_asked) == (None, False)


@pytest.mark.parametrize(("settings", "named"), [
    ({"url": "ftp://x/"}, "url"), ({"url": "http://x/?a=1"}, "url"), ({"query_url": "http://x/{to}"}, "query_url"),
    ({"headers": {"X y": "1"}}, "headers"), ({"headers": {"X": "a\r\nb"}}, "headers"), ({"body": {"a": "{too}"}}, "body"),
    ({"signature_header": "X-S"}, "signature_key")])
def test_what_cannot_be_used_is_refused_at_start(settings, named):
    """The sentence names the setting and never a secret."""
    with pytest.raises(ConfigurationError, match=rf"providers\.gate\.{named}"):
        provider(**settings)
