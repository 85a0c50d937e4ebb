"""A running service with an SMS vendor behind it: what was lost is asked for and never sent twice, and rates hold over workers."""

import asyncio
import base64
import json
import re
import time

import pytest

from tests.fakes import vendor_server
from tests.fakes.sms_gateway import SmsGateway
from tests.fakes.vendor_server import AliyunServer
from tests.support.asking import async_caller
from tests.support.process import outcomes, running, state

pytestmark = [pytest.mark.kill, pytest.mark.slow]

TEXTS = {"subject": "通知", "body": "您好 {{ name }}", "sms": "{{ name }}：{link}", "sms_carries": "link"}


def vendor_only(run, server, **more):
    """Put the vendor in place of the gateway."""
    text = run.service.config_file.read_text().partition("[providers.sms]")[0]
    settings = {"kind": "aliyun", "channel": "sms", "endpoint": server.url, "access_key_id": server.key_id,
                "access_key_secret": server.secret, "sign_name": "示例", "timeout_s": 20} | more
    table = "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items())
    mapping = '[providers.sms.templates.hello]\ncode = "SMS_1"\nparams = { name = "name", code = "link_token" }\n'
    run.service.config_file.write_text(f"{text}[providers.sms]\n{table}{mapping}")


async def posted(run):
    """A notice from the mapped template; its id."""
    assert (await run.caller.request("PUT", "/v1/templates/hello", TEXTS))[0] == 201
    status, body = await run.caller.request("POST", "/v1/notices", {
        "recipient_id": await run.recipient(), "category": "platform", "channels": ["sms"],
        "template": {"name": "hello", "params": {"name": "李雷"}}})
    assert status == 202, body
    return body["id"]


def known(server, sent, status, code=""):
    return {"PhoneNum": sent["PhoneNumbers"], "OutId": sent["OutId"], "SendStatus": status, "ErrCode": code, "ReceiveDate": ""}


@pytest.mark.parametrize("fate", [1, 3])
async def test_a_lost_answer_is_asked_for_and_nothing_is_sent_twice(database_url, tmp_path, fate):
    """The vendor takes it and says nothing: the attempt is unknown, the vendor is asked by our reference, and that settles it."""
    async with AliyunServer(moves=[vendor_server.LOSE, vendor_server.GOOD]) as server, running(tmp_path, database_url, patient=True) as run:
        vendor_only(run, server)
        await run.service.start()
        notice_id = await posted(run)
        await server.reached()
        server.details[:] = [known(server, server.requests[0].parameters, fate, "DELIVERED")]
        notice = await run.until(notice_id, lambda n: state(n, "sms") in ("sent", "delivered"))
        assert (outcomes(notice, "sms"), state(notice, "sms")) == (["unknown"], "sent" if fate == 1 else "delivered")
        assert [r.headers["x-acs-action"] for r in server.requests][:2] == ["SendSms", "QuerySendDetails"]
        assert len(server.taken) == 1
        assert server.refused == []
        await run.audited()


async def test_a_push_to_the_printed_address_arrives_in_the_proof_alone(database_url, tmp_path):
    """A batch for two recipients is evidence of each without the other's number; a free text is refused with 422."""
    async with AliyunServer() as server, running(tmp_path, database_url, patient=True) as run:
        vendor_only(run, server)
        await run.service.start()
        notice_id = await posted(run)
        await run.until(notice_id, lambda n: state(n, "sms") == "sent")
        _, listed = await run.service.command("providers", "--config", str(run.service.config_file), "--json")
        address = next(p["callback_url"] for p in json.loads(listed) if p["name"] == "sms")
        sent = server.taken[0]
        push = [{"phone_number": sent["PhoneNumbers"], "success": True, "err_code": "DELIVERED", "out_id": sent["OutId"], "biz_id": "1^0"},
                {"phone_number": "13900000001", "success": True, "err_code": "DELIVERED", "out_id": "", "biz_id": "2^0"}]
        async with async_caller() as vendor:
            assert (await vendor.post(address, json=push)).json()["code"] == 0
        await run.until(notice_id, lambda n: n["state"] == "served")
        status, bundle = await run.caller.get(f"/v1/notices/{notice_id}/proof?reason=test")
        assert status == 200
        shown = b"".join(base64.b64decode(text) for text in re.findall(r'"([A-Za-z0-9+/]{80,}={0,2})"', json.dumps(bundle)))
        assert sent["PhoneNumbers"].encode() in shown
        assert b"13900000001" not in shown
        assert (await run.caller.request("POST", "/v1/notices", {
            "recipient_id": "u-1", "category": "platform", "channels": ["sms"],
            "content": {"subject": "S", "body": "B", "sms": "Hello", "sms_carries": "full"}}))[0] == 422
        await run.audited()


@pytest.mark.postgres
async def test_two_workers_share_one_rate(postgres_url, tmp_path):
    """Sixty messages through two workers at twenty a second take as long as they must."""
    arrived = []

    class Timed(SmsGateway):
        async def _exchange(self, reader, writer):
            done = await super()._exchange(reader, writer)
            arrived.append(time.monotonic())
            return done

    async with running(tmp_path, postgres_url, patient=True, worker={"concurrency": 16}, sms={"rate_per_s": 20}) as run, Timed() as gateway:
        text = run.service.config_file.read_text()
        run.service.config_file.write_text(text.replace(f":{run.sms.port}/", f":{gateway.port}/"))
        await run.service.start(only="api")
        await run.service.start(only="worker")
        await run.service.start(only="worker")
        recipient, began = await run.recipient(), time.monotonic()
        ids = await run.post_many(recipient, 60, ("sms",))
        for notice in await asyncio.gather(*(run.until(i, lambda n: state(n, "sms") == "sent") for i in ids)):
            assert outcomes(notice, "sms") == ["submitted"]
        assert len(gateway.requests) == 60
        # From before the first could go, so that nothing that holds it up makes the others look quicker. Two at once are allowed.
        assert max(arrived) - began >= (60 - 3) / 20 - 0.1
        await run.audited()
