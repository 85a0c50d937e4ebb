"""The public check page: what it says of numbers and hashes and of dropped files, and that it says nothing personal."""

import hashlib
import json

import httpx
import pytest

from noticesvc.operations import anonymising
from noticesvc.storage import tables as t
from tests.contract.test_certificates import ADDRESS, issued, served
from tests.support import proofs

PERSONAL = ("u-1001", proofs.PHONE, proofs.MAILBOX, ADDRESS, "应诉通知书", "(2026)京0108民初1号", "海淀", "正文")


@pytest.fixture
async def desk(database_url):
    """An installation whose notices are run by hand, and somebody without a key."""
    async with proofs.desk(database_url) as made:
        transport = made.house.http._transport
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={"Accept-Language": "zh-CN"}) as anybody:
            made.anybody = anybody
            yield made


async def look(desk, number, digest):
    reply = await desk.anybody.get(f"/check/{number}", params={"h": digest})
    assert reply.status_code == 200
    assert [word for word in PERSONAL if word in reply.text] == []
    return reply.text


async def drop(desk, data, status=200):
    reply = await desk.anybody.post("/check", files={"file": ("f", data, "application/octet-stream")})
    assert reply.status_code == status
    assert [word for word in PERSONAL if word in reply.text] == []
    return reply.text


async def test_a_certificate_is_current_superseded_destroyed_or_unknown(desk):
    """By the proof's hash or the PDF's; a wrong hash tells no more than a wrong number."""
    notice_id = await served(desk)
    number, pdf = await issued(desk, notice_id)
    row, = await desk.house.rows(t.certificate)
    for digest in (row.proof_sha256, hashlib.sha256(pdf).hexdigest()):
        assert "真实，且为最新" in await look(desk, number, digest)
    wrong, nobody = await look(desk, number, "0" * 64), await look(desk, "20261126-AAAA-BBBB-CCCC", row.proof_sha256)
    for page in (wrong, nobody):
        assert "无法确认" in page
        assert "真实，且" not in page
    assert row.proof_sha256 not in wrong
    english = await desk.anybody.get(f"/check/{number}", params={"h": row.proof_sha256, "lang": "en"})
    assert "Genuine and current" in english.text
    await desk.receipt(notice_id, "sms", "arrived", raw=b"late")
    await desk.receipt(notice_id, "email", "failed_permanent", raw=b"bounce")
    assert "真实，但已被取代" in await look(desk, number, row.proof_sha256)
    assert "已被取代" in await drop(desk, pdf)
    await desk.house.http.post("/v1/recipients/u-1001/anonymise", json={"reason": "注销"})
    desk.house.clock.move(1096 * 86_400)
    await desk.house.database.write(anonymising.sweep, desk.house.world)
    assert "原件已销毁" in await look(desk, number, row.proof_sha256)


async def test_dropped_files_are_verified(desk):
    """A bundle that holds, one that was changed, a PDF with another byte, and files that are neither."""
    notice_id = await served(desk)
    bundle = await desk.proof(notice_id)
    page = await drop(desk, proofs.data(bundle))
    assert "证明文件核验通过" in page
    assert page.count("✓") == 7
    bundle["notice"]["service"]["served_at"] = "2020-01-01T00:00:00.000000Z"
    page = await drop(desk, proofs.data(bundle))
    assert "核验不通过" in page
    assert "served" in page or "service" in page
    _, pdf = await issued(desk, notice_id)
    assert "真实，且为最新" in await drop(desk, pdf)
    assert "不是本平台出具的 PDF" in await drop(desk, pdf + b"\n")
    for data in (b"", b"\x00\x01", b"hello", json.dumps([1]).encode()):
        assert "无法读取该文件" in await drop(desk, data, 400)
    for data in (b"{}", b"{" * 5000, b'{"format": "x"}'):
        assert "核验不通过" in await drop(desk, data)
    assert (await desk.anybody.post("/check", content=b"x")).status_code == 400
    assert len(await desk.house.rows(t.certificate)) == 1


async def test_it_brings_nothing_from_outside(desk):
    """No script, no resource, no cookie; a policy that forbids them; hostile queries stay text."""
    reply = await desk.anybody.get("/check", params={"number": '"><script>x</script>', "h": "'><img src=x>"})
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "unsafe" not in policy
    for mark in ("<script", "<img", "<link", "src=", "http://", "https://"):
        assert mark not in reply.text.replace('xmlns="http://www.w3.org/2000/svg"', ""), mark
    assert "set-cookie" not in reply.headers
