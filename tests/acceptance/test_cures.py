"""A dead number from outside: the sandbox says that it does not exist, and the platform hears what follows from that."""

import json
from base64 import b64decode
from contextlib import asynccontextmanager

import pytest

from bench.crash.clients import Clients
from bench.crash.lines import Lines
from bench.crash.service import Service
from tests.fakes.receiver import Receiver
from tests.support.ports import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.slow
DEAD, ALIVE = "+8613800138002", "+8613800138009"


@asynccontextmanager
async def sandbox(folder, database_url, receiver):
    """An installation as `init` makes it, serving, its events going to the receiver; a caller with every scope."""
    service = Service(folder / "service")
    status, output = await service.command("init", "--dir", str(service.folder), "--database", database_url)
    assert status == 0, output
    key, port = output.strip().splitlines()[-1], free_port()
    await service.start(environment={
        "NOTICESVC_SERVER__PORT": str(port), "NOTICESVC_SERVER__PUBLIC_URL": f"http://127.0.0.1:{port}",
        "NOTICESVC_EVENTS__URL": receiver.url, "NOTICESVC_EVENTS__SECRET": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"})
    try:
        async with Clients(f"http://127.0.0.1:{port}", key, Lines(folder / "accepted.log"), count=0) as caller:
            yield service, caller
        await service.stop()
    finally:
        await service.kill()


async def contacts(caller, recipient_id, *addresses):
    """Replace the recipient's set by these confirmed contacts."""
    status, answer = await caller.request("PUT", f"/v1/recipients/{recipient_id}/contacts", {"source": "crm", "contacts": [
        {"channel": "email" if "@" in one else "sms", "address": one, "confirmation": "confirmed"} for one in addresses]})
    assert status == 200, answer


async def told(receiver, type_, recipient_id):
    """The data of the event of this type about this recipient, once it has come."""
    async def look():
        return [one["data"] for one in receiver.events() if one["type"] == type_ and one["data"].get("recipient_id") == recipient_id]
    return (await until(look, bool))[0]


async def test_a_dead_number_is_cured_or_lapses(database_url, tmp_path):
    """With a mailbox beside it the recipient is told by mail and gives a new number; without one the cure lapses at once."""
    async with Receiver() as receiver, sandbox(tmp_path, database_url, receiver) as (service, caller):
        await contacts(caller, "alone", DEAD)
        await contacts(caller, "reachable", DEAD, "li@example.cn")
        body = {"category": "platform", "channels": ["sms"], "content": {"subject": "S", "body": "B", "sms": "T", "sms_carries": "full"}}
        for recipient_id in ("alone", "reachable"):
            status, answer = await caller.request("POST", "/v1/notices", body | {"recipient_id": recipient_id})
            assert status == 202, answer
        lapsed = await told(receiver, "contact.cure_lapsed", "alone")
        assert (lapsed["reason"], lapsed["notice_id"], lapsed["channel"]) == ("no_other_contact", None, "sms")
        assert (await told(receiver, "contact.invalid", "alone"))["contact_id"] == lapsed["contact_id"]
        assert (await told(receiver, "notice.unserved", "alone"))["service"]["basis"] == "consequence_on_recipient"

        async def cures():
            return (await caller.get("/v1/notices?recipient_id=reachable&category=contact_cure"))[1]["items"]
        cure, = await until(cures, lambda items: items and items[0]["deadlines"])
        assert [one["kind"] for one in cure["deadlines"]] == ["cure"]

        async def mails():
            return [one for one in (await caller.get("/sandbox/messages"))[1]["items"] if one["to"] == "li@example.cn"]
        mail, = await until(mails, bool)
        assert (mail["subject"], "手机号码" in mail["text"], DEAD in mail["text"]) == ("请更新您的联系方式", True, False)
        await contacts(caller, "reachable", ALIVE, "li@example.cn")

        async def ended():
            status, proof = await caller.get("/v1/recipients/reachable/contacts/proof?reason=test")
            assert status == 200, proof
            (tmp_path / "proof.json").write_text(json.dumps(proof))
            status, output = await service.command("verify", str(tmp_path / "proof.json"))
            assert status == 0, output
            return [entry for entry in map(_entry, proof["entries"]) if entry["type"].startswith("cure.")]
        begun, closed = await until(ended, lambda found: len(found) == 2)
        assert (begun["type"], closed["type"], closed["reason"], closed["cure_notice_id"]) == (
            "cure.begun", "cure.ended", "new_contact", cure["id"])
        assert [one["data"]["recipient_id"] for one in receiver.events() if one["type"] == "contact.cure_lapsed"] == ["alone"]
        status, output = await service.command("ledger", "audit", "--open", "--config", str(service.config_file))
        assert status == 0, output


def _entry(item):
    return json.loads(b64decode(item["entry"]))
