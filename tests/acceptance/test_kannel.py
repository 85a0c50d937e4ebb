"""The `kannel` provider against a real Kannel: bearerbox, smsbox and its own carrier for tests, fakesmsc."""

import asyncio
import os
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import pytest

from noticesvc.provider import Callback, Message, Rejected, TemporaryFailure
from providers.kannel import Kannel
from tests.fakes.door import Door
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.real_peer

CONFIG = """group = core
admin-port = {admin}
admin-password = {password}
smsbox-port = {boxes}
box-allow-ip = 127.0.0.1
admin-allow-ip = 127.0.0.1
log-file = "{folder}/bearerbox.log"
dlr-storage = internal

group = smsc
smsc = fake
smsc-id = FAKE
port = {carrier}
connect-allow-ip = 127.0.0.1
denied-prefix = "+4900"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
log-file = "{folder}/smsbox.log"

group = sendsms-user
username = tester
password = {password}
concatenation = true
max-messages = 10
"""
PASSWORD = "tall-secret"


@dataclass
class Box:
    """A running Kannel: where sendsms is, what the carrier got, and which reports came."""

    url: str
    carrier_log: object
    reports: asyncio.Queue
    report_url: str

    async def at_the_carrier(self, count):
        """The messages that reached the carrier, once they are so many: (receiver, kind, rest of the line)."""
        async def look():
            text = self.carrier_log.read_text(errors="replace")
            lines = text[:text.rfind("\n") + 1].splitlines()
            words = [line.partition("<")[2].rstrip(">").split(" ", 3) for line in lines if "Got message" in line]
            return [tuple(word[1:]) for word in words]
        return await until(look, lambda found: len(found) >= count)


async def _listening(port, process):
    for _ in range(1200):
        assert process.poll() is None, f"{process.args[0]} ended with {process.returncode}"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    pytest.fail(f"nothing listens for {process.args[0]}")


@pytest.fixture
async def kannel(needs, tmp_path):
    """A private Kannel on loopback, for this test alone."""
    bearerbox, smsbox, fakesmsc = needs("bearerbox"), needs("smsbox"), needs("fakesmsc")
    ports = {name: free_port() for name in ("admin", "boxes", "carrier", "sendsms")}
    config = tmp_path / "kannel.conf"
    config.write_text(CONFIG.format(folder=tmp_path, password=PASSWORD, **ports))
    carrier_log = tmp_path / "carrier.log"
    running = []

    def start(*command, log):
        with (tmp_path / log).open("wb") as out:
            running.append(subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=tmp_path))
        return running[-1]

    reports = asyncio.Queue()

    async def take_report(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        reports.put_nowait(request.split(b" ")[1].decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    door = Door(take_report)
    port = await door.open("127.0.0.1", 0)
    try:
        await _listening(ports["boxes"], start(bearerbox, os.fspath(config), log="bearerbox.out"))
        start(fakesmsc, "-H", "127.0.0.1", "-r", str(ports["carrier"]), "-m", "0", "1 2 text x", log="carrier.log")
        await _listening(ports["sendsms"], start(smsbox, os.fspath(config), log="smsbox.out"))
        yield Box(f"http://127.0.0.1:{ports['sendsms']}/cgi-bin/sendsms", carrier_log, reports,
                  f"http://127.0.0.1:{port}/callbacks?token=a%2FAb%3D")
    finally:
        for process in reversed(running):
            process.terminate()
        for process in reversed(running):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        await door.close()


@asynccontextmanager
async def opened(box, **settings):
    chosen = dict(url=box.url, username="tester", password=PASSWORD, from_address="10690000") | settings
    provider = Kannel.configure("sms", "sms", 10, Kannel.Settings(**chosen))
    await provider.open(None)
    yield provider
    await provider.close()


def notice(box, text, to="+8613800138000"):
    return Message(reference="0199.1", message_id="m@n", channel="sms", to=to, subject="", text=text, mime=b"",
                   callback_url=box.report_url, commercial=False)


async def receipts(box, provider, **wanted):
    """The receipts of the next reports, until there are so many of each kind; two that follow each other may change places."""
    found = []
    while any(sum(receipt.kind == kind for receipt in found) < count for kind, count in wanted.items()):
        target = urlsplit(await asyncio.wait_for(box.reports.get(), PATIENCE_S))
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        assert query["token"] == "a/Ab="
        answer = provider.parse_callback(Callback("GET", query, {}, b"", reference="0199.1"))
        assert answer.status == 200
        found += answer.receipts
    return found


async def test_a_chinese_message_arrives_and_is_reported(kannel):
    """UCS-2 text reaches the carrier unchanged, and its reports come back: taken by the carrier, then delivered."""
    async with opened(kannel) as provider:
        answer = await provider.submit(notice(kannel, "【平台】您好"))
        found = await receipts(kannel, provider, relayed=1, arrived=1)
    assert answer.outcome == "submitted"
    assert answer.raw == b"0: Accepted for delivery"
    assert sorted(receipt.kind for receipt in found) == ["arrived", "relayed"]
    assert {receipt.authenticated_by for receipt in found} == {"hmac-token"}
    assert all(receipt.claimed_at.endswith("Z") for receipt in found)
    ((to, kind, payload),) = await kannel.at_the_carrier(1)
    assert (to, kind) == ("+8613800138000", "ucs-2")
    assert unquote_to_bytes(payload.replace("+", " ")).decode("utf-16-be") == "【平台】您好"


async def test_every_part_of_a_long_message_is_reported(kannel):
    """A message in three parts is delivered only when Kannel has reported all three."""
    async with opened(kannel) as provider:
        answer = await provider.submit(notice(kannel, "协" * 150))
        found = await receipts(kannel, provider, arrived=3)
    assert answer.parts == 3  # 150 = 67 + 67 + 16
    assert {receipt.part for receipt in found if receipt.kind == "arrived"} == {1, 2, 3}
    assert {receipt.parts for receipt in found} == {3}
    assert len(await kannel.at_the_carrier(3)) == 3


async def test_gsm_text_stays_in_the_gsm_alphabet(kannel):
    """Plain text goes as 7 bit, so that 160 characters are one message."""
    async with opened(kannel) as provider:
        answer = await provider.submit(notice(kannel, "a" * 160))
        await receipts(kannel, provider, arrived=1)
    assert answer.parts == 1
    assert await kannel.at_the_carrier(1) == [("+8613800138000", "text", "a" * 160)]


async def test_a_number_without_a_route_is_rejected(kannel):
    """What Kannel refuses by policy is a rejection, not a number that does not exist."""
    async with opened(kannel) as provider:
        with pytest.raises(Rejected) as caught:
            await provider.submit(notice(kannel, "x", to="+4900123456"))
    assert caught.value.raw == b"Not routable. Do not try again."


async def test_wrong_credentials_are_our_fault_and_temporary(kannel):
    """A wrong password strikes no recipient."""
    async with opened(kannel, password="wrong") as provider:
        with pytest.raises(TemporaryFailure) as caught:
            await provider.submit(notice(kannel, "x"))
    assert caught.value.raw == b"Authorization failed for sendsms"
