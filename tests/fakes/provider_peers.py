"""The other side of each provider, scripted where it can be, and what the service lends a provider, in memory.

Used by the provider contract. A Peer makes its provider (`provider`), runs (`run`), is told what to do next (`play`) and
counts the messages that were handed to it (`taken`).
"""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from noticesvc.provider import Inquiry, Message
from providers.aliyun import Aliyun
from providers.http import Http
from providers.kannel import Kannel
from providers.mx import Mx
from providers.sandbox import Sandbox
from providers.smtp import Smtp
from providers.tencent import Tencent
from providers.twilio import Twilio
from tests.fakes import sms_gateway, smtp_server, vendor_server
from tests.fakes.sms_gateway import Answer, SmsGateway
from tests.fakes.smtp_server import EXTENSIONS, SmtpServer

SECRET = "tall-secret-8f31"
PATIENT_S = 60.0  # of a provider whose other side answers, however busy this machine is
ATTEMPTED_AT = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
HASTY_S = 2.0  # where the other side is told to hang


@dataclass
class Context:
    """What the service lends a provider, in memory."""

    name: str = "try"
    kept: list[dict] = field(default_factory=list)
    scheduled: list[tuple[bytes, str, float]] = field(default_factory=list)
    received: list[tuple[bytes, str]] = field(default_factory=list)

    async def receive(self, raw, media_type):
        self.received.append((raw, media_type))

    async def keep(self, *, channel, to, subject, text, reference=None):
        self.kept.append(dict(channel=channel, to=to, subject=subject, text=text, reference=reference))

    async def recall(self, reference):
        return any(item["reference"] == reference for item in self.kept)

    async def schedule(self, raw, media_type, after_s):
        self.scheduled.append((raw, media_type, after_s))


def message(channel, to=None, *, number=1, text="您好。", delivery="0199-d"):
    """One message as rendering makes it."""
    to = to or ("li@example.cn" if channel == "email" else "+8613800138000")
    mime = (f"From: notices@example.com\r\nTo: {to}\r\nSubject: Notice\r\nMessage-ID: <{delivery}@n.example>\r\n"
            "Content-Type: text/plain\r\n\r\nHello.\r\n.dot at the start\r\n").encode()
    return Message(reference=f"{delivery}.{number}", message_id=f"{delivery}@n.example", channel=channel, to=to,
                   subject="Notice", text=text, mime=mime,
                   callback_url="http://127.0.0.1:1/v1/providers/sms/callbacks?t=a%2Fb", commercial=False,
                   template="hello", template_params={"name": "李 雷+*~'", "link_token": "abc"})


def inquiry(channel, to=None, *, number=1, delivery="0199-d", provider_reference=None, attempted_at=ATTEMPTED_AT):
    """A question about the attempt that `message` makes."""
    return Inquiry(reference=f"{delivery}.{number}", message_id=f"{delivery}@n.example", channel=channel,
                   to=to or ("li@example.cn" if channel == "email" else "+8613800138000"), provider_reference=provider_reference,
                   attempted_at=attempted_at, asked_at=attempted_at + timedelta(minutes=5))


class SmtpPeer:
    """A scripted SMTP server, with or without pipelining."""

    channel = "email"
    timeout_s = PATIENT_S

    def __init__(self, *, pipelining):
        self.extensions = (*EXTENSIONS, "PIPELINING") if pipelining else EXTENSIONS
        self.script = {}

    @asynccontextmanager
    async def run(self, port=0):
        async with SmtpServer(self.script, extensions=self.extensions, port=port) as self.server:
            yield

    def provider(self, **settings):
        chosen = dict(host="127.0.0.1", port=self.server.port, from_address="notices@example.com") | settings
        return Smtp.configure("try", "email", self.timeout_s, Smtp.Settings(**chosen))

    def play(self, scenario):
        self.script.clear()
        self.script.update({
            "good": {},
            "temporary": {"RCPT": [b"451 4.2.1 Busy\r\n"]},
            "permanent": {"RCPT": [b"550 5.1.1 No such user\r\n"]},
            "rejected": {"RCPT": [b"550 5.7.1 Policy\r\n"]},
            "refused for now at the end": {"CONTENT": [b"452-4.3.1 Disk\r\n452 4.3.1 full\r\n"]},
            "refused for good at the end": {"CONTENT": [b"554 5.7.1 Spam\r\n"]},
            "hang before the content": {"RCPT": [smtp_server.HANG]},
            "hang at the start": {"CONNECT": [smtp_server.HANG]},
            "hang after the content": {"CONTENT": [smtp_server.HANG]},
            "close at the start": {"CONNECT": [smtp_server.CLOSE]},
            "close before the content": {"DATA": [smtp_server.CLOSE]},
            "close after the content": {"CONTENT": [smtp_server.CLOSE]},
            "garbage before the content": {"RCPT": [b"\xff\x00 blah\r\n"]},
            "garbage after the content": {"CONTENT": [b"\xff\x00 blah\r\n"]},
            "endless garbage after the content": {"CONTENT": [b"250-more\r\n" * 20000]},
            "closing down": {"MAIL": [b"421 4.3.2 Closing\r\n"]},
        }[scenario])

    @property
    def taken(self):
        return len(self.server.contents)


class MxPeer(SmtpPeer):
    """The same server as the mail exchanger that a route names."""

    def __init__(self):
        super().__init__(pipelining=True)

    def provider(self, **settings):
        route = {"example.cn": f"127.0.0.1:{self.server.port}"}
        chosen = dict(from_address="notices@example.com", route=route) | settings
        return Mx.configure("try", "email", self.timeout_s, Mx.Settings(**chosen))


class KannelPeer:
    """A scripted HTTP gateway."""

    channel = "sms"
    timeout_s = PATIENT_S

    def __init__(self):
        self.moves = [Answer()]

    @asynccontextmanager
    async def run(self, port=0):
        async with SmsGateway(self.moves, port=port) as self.server:
            yield

    def provider(self, **settings):
        chosen = dict(url=self.server.url, username="u", password=SECRET, from_address="10690000") | settings
        return Kannel.configure("try", "sms", self.timeout_s, Kannel.Settings(**chosen))

    def play(self, scenario):
        self.moves[:] = [{
            "good": Answer(),
            "temporary": Answer(503, b"Temporal failure, try again later."),
            "rejected": Answer(403, b"Not routable. Do not try again."),
            "bad credentials": Answer(403, b"Authorization failed for sendsms"),
            "hang after the content": sms_gateway.HANG,
            "close after the content": sms_gateway.CLOSE,
            "garbage after the content": b"\xff\x00 blah\r\n\r\n",
            "server error": Answer(500, b"Sending failed."),
            "endless garbage after the content": Answer(200, b"x" * 200_000),
            "redirect": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        }[scenario]]

    @property
    def taken(self):
        return len(self.server.requests)


class VendorPeer:
    """A vendor with signed requests over HTTP."""

    channel = "sms"
    timeout_s = PATIENT_S

    def __init__(self, kind, make, codes, /, *, address="endpoint", path="", **settings):
        self.kind, self._make, self.codes, self._settings = kind, make, codes, settings
        self._address, self._path = address, path
        self.moves = [vendor_server.GOOD]

    @asynccontextmanager
    async def run(self, port=0):
        async with self._make(moves=self.moves, port=port) as self.server:
            yield

    def provider(self, **settings):
        return self.kind.configure("try", "sms", self.timeout_s, self.kind.Settings.model_validate(
            self._settings | {self._address: self.server.url + self._path} | settings))

    def play(self, scenario):
        self.server.code = self.codes.get(scenario, type(self.server).code)
        self.moves[:] = [{
            "hang after the content": vendor_server.HANG,
            "close after the content": vendor_server.CLOSE,
            "reset after the content": vendor_server.RESET,
            "garbage after the content": b"\xff\x00 blah\r\n\r\n",
            "half a body": vendor_server.Answer(200, b'{"Code": "OK", "BizId": "1^0", "sid": "SM1"' + b" " * 200 + b"}", half=True),
            "server error": vendor_server.Answer(500, b"<html>", "text/html"),
            "endless garbage after the content": vendor_server.Answer(200, b"x" * 2_000_000),
            "redirect": vendor_server.Answer(302, b""),
            "no meaning": vendor_server.Answer(200, b'[{"a": 1}]'),
        }.get(scenario, vendor_server.GOOD)]

    @property
    def taken(self):
        return len(self.server.requests)


def aliyun():
    """Aliyun, with one template mapped."""
    return VendorPeer(
        Aliyun, vendor_server.AliyunServer,
        {"temporary": "isv.BUSINESS_LIMIT_CONTROL", "permanent": "isv.MOBILE_NUMBER_ILLEGAL", "rejected": "isv.BLACK_KEY_CONTROL_LIMIT",
         "out of money": "isv.AMOUNT_NOT_ENOUGH", "their failure": "isp.SYSTEM_ERROR"},
        access_key_id="LTAI-test", access_key_secret=SECRET, sign_name="示例 & 平台",
        templates={"hello": {"code": "SMS_1", "params": {"name": "name", "code": "link_token"}}})


def tencent():
    """Tencent, with one template mapped."""
    return VendorPeer(
        Tencent, vendor_server.TencentServer,
        {"temporary": "LimitExceeded.PhoneNumberDailyLimit", "permanent": "InvalidParameterValue.IncorrectPhoneNumber",
         "rejected": "FailedOperation.ContainSensitiveWord", "out of money": "FailedOperation.InsufficientBalanceInSmsPackage",
         "their failure": "InternalError.Timeout", "bad credentials": "AuthFailure.SignatureFailure", "too fast": "RequestLimitExceeded"},
        secret_id="AKID-test", secret_key=SECRET, app_id="1400006666", sign_name="示例平台",
        templates={"hello": {"code": "1110", "params": ["name", "link_token"]}})


def twilio():
    """Twilio, with its auth token."""
    return VendorPeer(
        Twilio, vendor_server.TwilioServer,
        {"temporary": "14107", "permanent": "21211", "rejected": "21610", "out of money": "21606", "bad credentials": "20003"},
        account_sid="ACtest0000000000", auth_token=SECRET, from_address="+15005550006")


def http():
    """A generic gateway, as its operator would set it up."""
    return VendorPeer(
        Http, vendor_server.HttpGateway,
        {"temporary": "17", "permanent": "4", "rejected": "9", "out of money": "2"}, path="/send",
        headers={"Authorization": f"Bearer {SECRET}"}, from_address="10690000",
        body={"to": "{to}", "message": {"text": "{from_address}: {text}", "ref": "{reference}"}, "report_to": "{callback_url}",
              "flash": False},
        answer_code="result.code", answer_reference="result.id",
        codes={"0": "taken", "4": "permanent", "9": "policy", "17": "temporary", "2": "ours"})


class SandboxPeer:
    """The sandbox is its own other side; its addresses choose."""

    def __init__(self, channel):
        self.channel = channel

    @asynccontextmanager
    async def run(self, port=0):
        yield

    def provider(self, **settings):
        return Sandbox.configure("try", self.channel, PATIENT_S, Sandbox.Settings(**settings))

    def play(self, scenario):
        assert scenario == "good"


PEERS = {
    "smtp": lambda: SmtpPeer(pipelining=False), "smtp pipelined": lambda: SmtpPeer(pipelining=True),
    "mx": MxPeer,
    "kannel": KannelPeer, "aliyun": aliyun, "tencent": tencent, "twilio": twilio, "http": http,
    "sandbox email": lambda: SandboxPeer("email"), "sandbox sms": lambda: SandboxPeer("sms"),
}


@asynccontextmanager
async def opened(peer, context=None, **settings):
    """A provider, open against its peer."""
    provider = peer.provider(**settings)
    await provider.open(context or Context())
    try:
        yield provider
    finally:
        await provider.close()
