"""A gateway on loopback that misbehaves on order, on a thread of its own, and an `http` provider set up for it.

Used by the unit tests of that provider.
"""

import asyncio
import json
import socket
import struct
import threading
import traceback
from datetime import UTC, datetime

import pytest

from noticesvc.provider import Inquiry, Message, ProviderError
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
        self.socket.shutdown(socket.SHUT_RDWR)  # which ends the waiting accept
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
