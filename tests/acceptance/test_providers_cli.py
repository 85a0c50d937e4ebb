"""`noticesvc providers` and `receipts parse` for the SMS vendors, as real commands."""

import json
import os
import re

import pytest

from tests.support.asking import async_caller
from tests.support.process import running
from tests.support.shell import run

pytestmark = [pytest.mark.slow, pytest.mark.kill]

VENDOR = """[providers.cloud]
kind = "aliyun"
channel = "sms"
priority = 2
access_key_id = "k"
access_key_secret = "s"
sign_name = "x"
timeout_s = 2
"""


async def test_the_printed_address_is_the_one_that_counts(sqlite_url, tmp_path):
    """A push to it is answered as the vendor wants it; with another token it is turned away, and kept without effect."""
    async with running(tmp_path, sqlite_url, patient=True) as scene:
        with scene.service.config_file.open("a") as file:
            file.write(VENDOR)
        status, output = await scene.service.command("providers", "--config", str(scene.service.config_file), "--json")
        assert status == 0, output
        listed = json.loads(output)
        assert [(p["name"], p["kind"], p["channel"], p["priority"]) for p in listed] == [
            ("mail", "smtp", "email", 1), ("sms", "kannel", "sms", 1), ("cloud", "aliyun", "sms", 2)]
        await scene.service.start()
        async with async_caller() as vendor:
            good = await vendor.post(listed[2]["callback_url"], content=b"[]")
            bad = await vendor.post(re.sub("token=..", "token=__", listed[2]["callback_url"]), content=b"[]")
        assert (good.status_code, good.json()["code"]) == (200, 0)
        assert bad.status_code == 401


@pytest.mark.parametrize(("kind", "raw", "told"), [
    ("aliyun", (b'[{"success": true, "err_code": "DELIVERED", "biz_id": "9^0", "phone_number": "138",'
                b' "report_time": "2026-11-22 11:04:09"}]'),
     {"kind": "arrived", "provider_reference": "9^0", "recipient": "138", "claimed_time_raw": "2026-11-22 11:04:09", "code": "DELIVERED",
      "text": None}),
    ("tencent", b'[{"report_status": "FAIL", "errmsg": "EXPIRED", "sid": "5:1", "nationcode": "86", "mobile": "138"}]',
     {"kind": "expired", "provider_reference": "5:1", "recipient": "+86138", "claimed_time_raw": None, "code": "EXPIRED", "text": None}),
    ("twilio", b"MessageSid=SM1&MessageStatus=delivered&To=%2B86138",
     {"kind": "arrived", "provider_reference": "SM1", "recipient": "+86138", "claimed_time_raw": None, "code": "delivered", "text": None}),
    ("kannel", b"status=8&time=1764000000&foreign=f-1",
     {"kind": "relayed", "provider_reference": "f-1", "recipient": None, "claimed_time_raw": "1764000000", "code": "8", "text": None})])
def test_parse_shows_what_a_body_holds(tmp_path, kind, raw, told):
    """Each kind without an installation; garbage beside it gives an empty list and no traceback."""
    files = [tmp_path / name for name in ("good", "cut", "garbage")]
    for file, data in zip(files, (raw, raw[: len(raw) // 2], b"\xff\x00[[[["), strict=True):
        file.write_bytes(data)
    done = run("receipts", "parse", "--provider", kind, *map(str, files), env=dict(os.environ))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == {"file": str(files[0]), "receipts": [told]}
    assert lines[2]["receipts"] == []
    assert len(lines) == 3
