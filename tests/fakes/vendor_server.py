"""Loopback servers that play SMS vendors: they verify each request's signature by themselves, keep what they took, and misbehave.

Nothing of ours is imported: the signatures are checked from the vendors' descriptions, over the bytes as they came. `moves` are
used one a request, the last again and again: GOOD (answer as the vendor does), an Answer, raw bytes, CLOSE, HANG, RESET or
LOSE (take it, and say nothing).
"""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import struct
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

from tests.fakes.door import Door


class Move(Enum):
    """What a vendor can do instead of answering."""

    GOOD = "good"
    CLOSE = "close"
    HANG = "hang"
    RESET = "reset"
    LOSE = "lose"


GOOD, CLOSE, HANG, RESET, LOSE = Move.GOOD, Move.CLOSE, Move.HANG, Move.RESET, Move.LOSE


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `half` stops in the middle of its body."""

    status: int = 200
    body: bytes = b"{}"
    media_type: str = "application/json"
    half: bool = False


@dataclass(frozen=True)
class Request:
    """One request as it came; header names in lower case, the query as the bytes of the request line."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def parameters(self):
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def form(self):
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


def answer(value, status=200):
    return Answer(status, json.dumps(value, ensure_ascii=False).encode())


@dataclass
class Vendor:
    """A vendor on loopback. `requests` is everything that came, `taken` the messages of calls with a good signature."""

    moves: list = field(default_factory=lambda: [GOOD])
    requests: list[Request] = field(default_factory=list)
    taken: list[dict] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self):
        self._over, self._came = asyncio.Event(), asyncio.Event()
        self._door = Door(self._serve)
        self.port = await self._door.open("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self._over.set()
        await self._door.close()

    async def reached(self):
        """Wait until a request has come."""
        await self._came.wait()

    def handle(self, request):
        raise NotImplementedError

    async def _serve(self, reader, writer):
        while await self._exchange(reader, writer):
            pass

    async def _exchange(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        url = urlsplit(target)
        request = Request(method, url.path, url.query, headers, body)
        self.requests.append(request)
        self._came.set()
        move = self.moves.pop(0) if len(self.moves) > 1 else self.moves[0]
        if move is HANG:
            await self._over.wait()
        if move is RESET:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if move is LOSE:
            self.handle(request)
        if move in (HANG, CLOSE, RESET, LOSE):
            return False
        if isinstance(move, bytes):
            writer.write(move)
            await writer.drain()
            return False
        done = self.handle(request) if move is GOOD else move
        writer.write(f"HTTP/1.1 {done.status} Whatever\r\nContent-Type: {done.media_type}\r\n"
                     f"Content-Length: {len(done.body)}\r\n\r\n".encode() + done.body[:len(done.body) // 2 if done.half else None])
        await writer.drain()
        return not done.half


@dataclass
class AliyunServer(Vendor):
    """Dysmsapi: SendSms and QuerySendDetails, signed by ACS3-HMAC-SHA256. `details` are what QuerySendDetails knows."""

    key_id: str = "LTAI-test"
    secret: str = "tall-secret-8f31"
    details: list[dict] = field(default_factory=list)
    code: str = "OK"

    def genuine(self, request):
        """Check the signature as the V3 description says, from the parameters that came."""
        try:
            algorithm, rest = request.headers["authorization"].split(" ", 1)
            members = dict(part.split("=", 1) for part in rest.split(","))
            signed = members["SignedHeaders"].split(";")
            given = parse_qsl(request.query, keep_blank_values=True, strict_parsing=True)
        except (KeyError, ValueError):
            return False
        if algorithm != "ACS3-HMAC-SHA256" or members["Credential"] != self.key_id or signed != sorted(signed):
            return False
        needed = {name for name in request.headers if name.startswith("x-acs-")} | {"host"}
        if not needed <= set(signed) or request.headers["x-acs-content-sha256"] != hashlib.sha256(request.body).hexdigest():
            return False
        query = "&".join(quote(k, safe="-_.~") + "=" + quote(v, safe="-_.~") for k, v in sorted(given))
        text = f"{request.method}\n{request.path}\n{query}\n"
        for name in signed:
            text += f"{name}:{request.headers[name]}\n"
        text += "\n" + members["SignedHeaders"] + "\n" + request.headers["x-acs-content-sha256"]
        to_sign = algorithm + "\n" + hashlib.sha256(text.encode()).hexdigest()
        return hmac.new(self.secret.encode(), to_sign.encode(), "sha256").hexdigest() == members["Signature"]

    def handle(self, request):
        if not self.genuine(request):
            self.refused.append(request.headers.get("authorization", ""))
            return answer({"Code": "SignatureDoesNotMatch", "Message": "no", "RequestId": "R"}, 400)
        p = request.parameters
        if request.headers["x-acs-action"] == "QuerySendDetails":
            found = [d for d in self.details if d["PhoneNum"] == p["PhoneNumber"]]
            return answer({"Code": "OK", "Message": "OK", "RequestId": "R", "TotalCount": len(found),
                           "SmsSendDetailDTOs": {"SmsSendDetailDTO": found}})
        if self.code != "OK":
            return answer({"Code": self.code, "Message": "m", "RequestId": "R"})
        self.taken.append(p)
        return answer({"Code": "OK", "Message": "OK", "BizId": f"9006{len(self.taken):05d}^0", "RequestId": "R"})


@dataclass
class TencentServer(Vendor):
    """sms 2021-01-11: SendSms and PullSmsSendStatusByPhoneNumber, signed by TC3-HMAC-SHA256. `details` are what can be pulled."""

    key_id: str = "AKID-test"
    secret: str = "tall-secret-8f31"
    details: list[dict] = field(default_factory=list)
    code: str = "Ok"

    def genuine(self, request):
        try:
            algorithm, rest = request.headers["authorization"].split(" ", 1)
            members = dict(part.strip().split("=", 1) for part in rest.split(","))
            key_id, date, service, end = members["Credential"].split("/")
            signed = members["SignedHeaders"].split(";")
        except (KeyError, ValueError):
            return False
        if (algorithm, key_id, service, end) != ("TC3-HMAC-SHA256", self.key_id, "sms", "tc3_request"):
            return False
        if not {"content-type", "host"} <= set(signed):
            return False
        # x-tc-action is signed in lower case
        lines = "".join(f"{n}:{request.headers[n].lower() if n == 'x-tc-action' else request.headers[n]}\n" for n in signed)
        text = f"{request.method}\n/\n{request.query}\n{lines}\n{';'.join(signed)}\n{hashlib.sha256(request.body).hexdigest()}"
        to_sign = f"{algorithm}\n{request.headers['x-tc-timestamp']}\n{date}/sms/tc3_request\n" + hashlib.sha256(text.encode()).hexdigest()
        key = hmac.new(b"TC3" + self.secret.encode(), date.encode(), "sha256").digest()
        key = hmac.new(key, b"sms", "sha256").digest()
        key = hmac.new(key, b"tc3_request", "sha256").digest()
        return hmac.new(key, to_sign.encode(), "sha256").hexdigest() == members["Signature"]

    def handle(self, request):
        if not self.genuine(request):
            self.refused.append(request.headers.get("authorization", ""))
            return answer({"Response": {"Error": {"Code": "AuthFailure.SignatureFailure", "Message": "no"}, "RequestId": "R"}})
        p = json.loads(request.body)
        if request.headers["x-tc-action"] == "PullSmsSendStatusByPhoneNumber":
            found = [d for d in self.details if d["PhoneNumber"] == p["PhoneNumber"]]
            return answer({"Response": {"PullSmsSendStatusSet": found, "RequestId": "R"}})
        if self.code.startswith("AuthFailure") or self.code == "RequestLimitExceeded":
            return answer({"Response": {"Error": {"Code": self.code, "Message": "m"}, "RequestId": "R"}})
        good = self.code == "Ok"
        if good:
            self.taken.append(p)
        return answer({"Response": {"SendStatusSet": [{
            "SerialNo": f"5000:{len(self.taken):05d}" if good else "", "PhoneNumber": p["PhoneNumberSet"][0], "Fee": int(good),
            "SessionContext": p["SessionContext"], "Code": self.code, "Message": "m", "IsoCode": "CN"}], "RequestId": "R"}})


@dataclass
class TwilioServer(Vendor):
    """Messages of one account, with basic authentication. `resources` are the messages by Sid, as they can be read."""

    key_id: str = "ACtest0000000000"
    secret: str = "tall-secret-8f31"
    resources: dict[str, dict] = field(default_factory=dict)
    code: str = ""
    status: int = 400

    def handle(self, request):
        expected = "Basic " + base64.b64encode(f"{self.key_id}:{self.secret}".encode()).decode()
        if request.headers.get("authorization") != expected or not request.path.startswith(f"/2010-04-01/Accounts/{self.key_id}/Messages"):
            self.refused.append(request.headers.get("authorization", ""))
            return answer({"code": 20003, "message": "Authenticate", "status": 401}, 401)
        if request.method == "GET":
            sid = request.path.rpartition("/")[2].removesuffix(".json")
            found = self.resources.get(sid)
            return answer({"code": 20404, "status": 404}, 404) if found is None else answer(found)
        if self.code:
            return answer({"code": int(self.code), "message": "m", "status": self.status}, self.status)
        self.taken.append(request.form)
        sid = f"SM{len(self.taken):032d}"
        self.resources[sid] = {"sid": sid, "status": "queued", "error_code": None, "to": request.form["To"],
                               "date_created": "Sun, 22 Nov 2026 03:04:05 +0000", "date_updated": "Sun, 22 Nov 2026 03:04:06 +0000"}
        return answer(self.resources[sid], 201)

    def callback(self, request, status, **more):
        """The form and headers of a status callback to the address that a request named."""
        url = request.form["StatusCallback"]
        sid = f"SM{[r for r in self.requests if r.method == 'POST'].index(request) + 1:032d}"
        form = {"MessageSid": sid, "MessageStatus": status, "To": request.form["To"], "AccountSid": self.key_id, **more}
        return url, form, {"X-Twilio-Signature": sign_twilio(self.secret, url, form)}


def sign_twilio(secret, url, form):
    """Twilio's signature of a form posted to an address, from its description."""
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), "sha1").digest()).decode()


@dataclass
class HttpGateway(Vendor):
    """Any JSON-over-HTTP gateway: a bearer token, messages under /send, their fate under /status/{id}."""

    secret: str = "tall-secret-8f31"
    fates: dict[str, dict] = field(default_factory=dict)
    code: str = "0"

    def handle(self, request):
        if request.headers.get("authorization") != f"Bearer {self.secret}":
            self.refused.append(request.path)
            return answer({"error": "who are you"}, 401)
        if request.method == "GET":
            return answer(self.fates.get(unquote_plus(request.path.rpartition("/")[2]), {}), 200)
        if self.code != "0":
            return answer({"result": {"code": self.code}})
        self.taken.append(json.loads(request.body))
        return answer({"result": {"id": f"m-{len(self.taken)}", "code": "0"}})
