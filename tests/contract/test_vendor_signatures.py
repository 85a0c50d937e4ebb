"""Our requests and the vendors' own clients, each checked by the other: signatures, paths, parameters."""

import asyncio
import base64
import json
import warnings

import pytest

from noticesvc.provider import Callback
from providers.aliyun import authorization as aliyun_authorization
from providers.tencent import authorization as tencent_authorization
from tests.fakes.provider_peers import PEERS, SECRET, inquiry, message, opened
from tests.fakes.vendor_server import AliyunServer, TencentServer, sign_twilio

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the clients do at import is theirs
    from alibabacloud_dysmsapi20170525 import models as aliyun_models
    from alibabacloud_dysmsapi20170525.client import Client as AliyunClient
    from alibabacloud_tea_openapi.utils import Utils as AliyunUtils
    from alibabacloud_tea_openapi.utils_models import Config as AliyunConfig
    from tencentcloud.common.credential import Credential
    from tencentcloud.common.http.request import RequestInternal
    from tencentcloud.common.profile.client_profile import ClientProfile
    from tencentcloud.common.profile.http_profile import HttpProfile
    from tencentcloud.sms.v20210111 import models as tencent_models
    from tencentcloud.sms.v20210111.sms_client import SmsClient
    from twilio.http.http_client import TwilioHttpClient
    from twilio.request_validator import RequestValidator
    from twilio.rest import Client as TwilioClient

NAME = "李 雷+*~'!()"


async def submitted(name, **more):
    """The one request that a provider makes, and the server that took it."""
    peer = PEERS[name]()
    async with peer.run(), opened(peer, **more) as provider:
        await provider.submit(message("sms"))
    assert peer.server.refused == []
    return peer.server.requests[0], peer.server


async def test_aliyuns_client_is_verified_like_ours():
    """The client's own SendSms and QuerySendDetails have good signatures by the same independent check as ours."""
    async with AliyunServer() as server:
        config = AliyunConfig(access_key_id=server.key_id, access_key_secret=SECRET, endpoint=f"127.0.0.1:{server.port}", protocol="HTTP")
        client = AliyunClient(config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            await asyncio.to_thread(client.send_sms, aliyun_models.SendSmsRequest(
                phone_numbers="13800138000", sign_name="示例 & 平台", template_code="SMS_1", out_id="0199-d.1",
                template_param=json.dumps({"name": NAME}, ensure_ascii=False)))
            await asyncio.to_thread(client.query_send_details, aliyun_models.QuerySendDetailsRequest(
                phone_number="13800138000", send_date="20261122", page_size=50, current_page=1))
    assert server.refused == []
    ours, other = await submitted("aliyun")
    assert set(server.taken[0]) == set(other.taken[0])
    assert (server.requests[0].method, server.requests[0].path) == (ours.method, ours.path)
    assert server.requests[0].headers["x-acs-version"] == ours.headers["x-acs-version"]


async def test_aliyuns_client_would_sign_our_request_as_we_did():
    """Given what we sent, the client's signer comes to our Authorization, letter by letter."""
    request, _ = await submitted("aliyun")
    signed = {name: text for name, text in request.headers.items() if name.startswith("x-acs-") or name == "host"}

    class Sent:
        method, pathname, query, headers = request.method, request.path, request.parameters, signed

    theirs = AliyunUtils.get_authorization(Sent, "ACS3-HMAC-SHA256", request.headers["x-acs-content-sha256"], "LTAI-test", SECRET)
    assert request.headers["authorization"] == theirs


def test_aliyuns_published_example():
    """The worked example of the V3 description (RunInstances), with its key pair and its signature."""
    headers = {
        "host": "ecs.cn-shanghai.aliyuncs.com", "x-acs-action": "RunInstances", "x-acs-version": "2014-05-26",
        "x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "x-acs-date": "2023-10-26T10:22:32Z", "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d"}
    made = aliyun_authorization("POST", "/", "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai",
                                headers, "YourAccessKeyId", "YourAccessKeySecret")
    assert made == ("ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;"
                    "x-acs-signature-nonce;x-acs-version,Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0")


async def test_tencents_client_is_verified_like_ours():
    """The client's own SendSms and its query have good signatures by the same independent check as ours."""
    async with TencentServer() as server:
        profile = ClientProfile(httpProfile=HttpProfile(endpoint=f"127.0.0.1:{server.port}", protocol="http"))
        client = SmsClient(Credential(server.key_id, SECRET), "ap-guangzhou", profile)
        send, query = tencent_models.SendSmsRequest(), tencent_models.PullSmsSendStatusByPhoneNumberRequest()
        send.from_json_string(json.dumps({
            "PhoneNumberSet": ["+8613800138000"], "SmsSdkAppId": "1400006666", "TemplateId": "1110", "SignName": "示例平台",
            "TemplateParamSet": [NAME, "abc"], "SessionContext": "0199-d.1"}))
        query.from_json_string(json.dumps({"PhoneNumber": "+8613800138000", "SmsSdkAppId": "1400006666", "BeginTime": 1, "EndTime": 2,
                                           "Offset": 0, "Limit": 100}))
        await asyncio.to_thread(client.SendSms, send)
        await asyncio.to_thread(client.PullSmsSendStatusByPhoneNumber, query)
    assert server.refused == []
    ours, other = await submitted("tencent")
    assert set(server.taken[0]) == set(other.taken[0])
    for name in ("x-tc-action", "x-tc-version", "x-tc-region"):
        assert server.requests[0].headers[name] == ours.headers[name]


async def test_tencents_client_would_sign_our_request_as_we_do():
    """Over the headers that the client signs, its signature of our body is ours."""
    request, _ = await submitted("tencent")
    now = int(request.headers["x-tc-timestamp"])
    signed = {name: request.headers[name] for name in ("content-type", "host")}
    ours = tencent_authorization(request.body, signed, now, "AKID-test", SECRET)
    client = SmsClient(Credential("AKID-test", SECRET), "ap-guangzhou")
    sent = RequestInternal(method="POST", host=signed["host"], uri="/", data=request.body.decode(),
                           header={"Content-Type": signed["content-type"], "Host": signed["host"], "X-TC-Timestamp": str(now)})
    date = ours.split("/")[1]
    theirs = client._get_tc3_signature({}, sent, date, "sms", SECRET)
    assert ours.rpartition("Signature=")[2] == theirs


class Capturing(TwilioHttpClient):
    """Takes a request of Twilio's client instead of sending it."""

    def request(self, method, url, params=None, data=None, headers=None, auth=None, timeout=None, allow_redirects=False):
        self.sent = (method, url, {k: v for k, v in data.items() if v is not None and not hasattr(v, "is_unset")}, auth)
        raise ConnectionError


async def test_twilios_client_sends_what_we_send():
    """The same path, form and credentials."""
    capturing = Capturing()
    with pytest.raises(ConnectionError):
        TwilioClient("ACtest0000000000", SECRET, http_client=capturing).messages.create(
            to="+8613800138000", from_="+15005550006", body="您好。", status_callback="http://127.0.0.1:1/v1/providers/sms/callbacks?t=a%2Fb")
    request, _ = await submitted("twilio")
    method, url, form, auth = capturing.sent
    assert (request.method, request.path, request.form) == (method, url.removeprefix("https://api.twilio.com"), form)
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode() == ":".join(auth)


PUBLISHED = [  # Twilio's documentation on the security of webhooks: auth token 12345, and its examples
    ({"CallSid": "CA1234567890ABCDE", "Caller": "+14158675309", "Digits": "1234", "From": "+14158675309", "To": "+18005551212"},
     "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    ({"CallSid": "CA1234567890ABCDE", "Caller": "+12349013030", "Digits": "1234", "From": "+12349013030", "To": "+18005551212"},
     "0/KCTR6DLpKmkAf8muzZqo1nDgQ="),
]
EXAMPLE_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
PUBLISHED_BY_THEIR_CLIENTS = [  # the tests of twilio-php and twilio-csharp: repeated members, letters of the address, a port
    (EXAMPLE_URL, [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")],
     "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
    ("https://MyCompany.com/myapp.php?foo=1&bar=2", [*PUBLISHED[0][0].items()], "g9IN/x4Cft2g517EjYvEvM/W7LU="),
    ("https://MyCompany.com:1234/myapp.php?foo=1&bar=2", [*PUBLISHED[0][0].items()], "PCqOZm8cnu/L6+u5i5fuEd+Iac4="),
]


def twilio_of(token):
    peer = PEERS["twilio"]()
    peer.server = type("Nobody", (), {"url": "http://127.0.0.1:1"})
    return peer.provider(auth_token=token)


@pytest.mark.parametrize(("form", "signature"), PUBLISHED)
def test_twilios_published_signatures_hold(form, signature):
    """Of the examples in Twilio's own description, and as its own validator sees it."""
    from urllib.parse import urlencode
    assert twilio_of("12345").signature(EXAMPLE_URL, urlencode(form).encode()).decode() == signature
    assert RequestValidator("12345").validate(EXAMPLE_URL, form, signature)


@pytest.mark.parametrize(("url", "pairs", "signature"), PUBLISHED_BY_THEIR_CLIENTS)
def test_what_their_clients_publish_holds(url, pairs, signature):
    """A repeated member counts once with each value, in order; letters and port of the address are signed as they stand."""
    from urllib.parse import urlencode
    body = urlencode(pairs).encode()
    assert twilio_of("12345").signature(url, body).decode() == signature
    form = urlencode([*pairs, ("MessageSid", "SM1"), ("MessageStatus", "delivered")]).encode()
    wrong = twilio_of("12345").parse_callback(Callback("POST", {}, {"x-twilio-signature": signature}, form, url=url))
    assert (wrong.status, [r.authenticated_by for r in wrong.receipts]) == (401, [None])


@pytest.mark.parametrize("url", ["https://n.example/v1/providers/t/callbacks?reference=a.sms.1&token=x%2Fy", "https://n.example:8443/cb",
                                 "http://n.example/cb", "https://n.example:443/cb"])
def test_what_twilio_signs_we_verify_and_the_other_way(url):
    """A callback signed by Twilio's validator counts with or without the port; one letter changed and it does not."""
    from urllib.parse import urlencode
    form = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+8613800138000", "Body": "李 雷 & +"}
    provider, body = twilio_of(SECRET), urlencode(form).encode()
    with_port = url.replace("n.example/", "n.example:443/" if url.startswith("https") else "n.example:80/")
    for spelled in (url, with_port):
        signature = RequestValidator(SECRET).compute_signature(spelled, form)
        good = provider.parse_callback(Callback("POST", {}, {"x-twilio-signature": signature}, body, url=url))
        assert (good.status, [r.authenticated_by for r in good.receipts]) == (200, ["twilio-signature"])
    assert RequestValidator(SECRET).validate(url, form, provider.signature(url, body).decode())
    assert sign_twilio(SECRET, url, form) == provider.signature(url, body).decode()
    for wrong in ("", signature[:-2] + "x=", RequestValidator("other").compute_signature(url, form)):
        bad = provider.parse_callback(Callback("POST", {}, {"x-twilio-signature": wrong}, body, url=url))
        assert (bad.status, [r.authenticated_by for r in bad.receipts]) == (401, [None])
    other = provider.parse_callback(Callback("POST", {}, {"x-twilio-signature": signature}, body + b"&x=1", url=url))
    assert other.status == 401


@pytest.mark.parametrize("name", ["aliyun", "tencent", "twilio"])
async def test_a_wrong_secret_is_refused_and_is_no_fault_of_the_message(name):
    """The vendor turns us away; the question what became of a message stays unanswered too."""
    from noticesvc.provider import ProviderUnavailable
    peer = PEERS[name]()
    async with peer.run(), opened(peer) as provider:
        peer.server.secret = "another"
        with pytest.raises(ProviderUnavailable) as caught:
            await provider.submit(message("sms"))
        assert await provider.query(inquiry("sms", provider_reference="SM00000000000001")) is None
    assert caught.value.raw
    assert len(peer.server.refused) == 2
