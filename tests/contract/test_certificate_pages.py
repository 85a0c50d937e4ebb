"""The pages of a certificate of a bundle with outside anchors, as a clerk gets them: nothing leaves the page, nothing is lost or empty."""

import re
import subprocess
import time
from dataclasses import replace

import pytest

from noticesvc.ledger import key
from noticesvc.operations import anonymising, proving
from noticesvc.storage import tables as t
from noticesvc.witness import memory, witness
from noticesvc.witness.server import application
from tests.contract.test_anchors import KEYS, _count, anchored, serving, until
from tests.contract.test_certificates import DAY, issued, served, text_of
from tests.fakes.tsa import Authority, Tsa
from tests.support import proofs

RARE = "𠮷田㛃䶮龘先生"
SENTENCE = "请在收到本通知之日起十五日内答复，逾期将依约处理。"
LONG = "\n\n".join(f"{n}、根据《用户协议》第六条，现就您与相对方之间的合同纠纷通知如下：" + SENTENCE * 9 + (RARE if n % 5 == 0 else "")
                   for n in range(1, 31)) + "\n\nhttps://notices.example.com/" + "a-very-long-path/" * 20
KINDS = ("relayed", "arrived", "unmapped", "read_claimed")
MARGIN_PT = 28  # a printer's
_WORD = re.compile(r'<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">(.*?)</word>')
_PAGE = re.compile(r'<page width="([\d.]+)" height="([\d.]+)">(.*?)</page>', re.DOTALL)


@pytest.fixture
async def house(sqlite_url, tmp_path, needs, monkeypatch):
    """A desk with a time-stamping service and a witness, both answering and waited for; the real time, since they tell it."""
    monkeypatch.setattr(proving, "WITNESSES_S", 60.0)
    needs("openssl", "apt-get install openssl")
    authority, signer = Authority(tmp_path / "tsa"), key.generate("witness.example.cn", bytes([7]) * 32, key.COSIGNATURE)
    vkey = signer.verifier.vkey
    async with proofs.desk(sqlite_url) as made:
        made.house.database.sources.clock.micros = time.time_ns() // 1000
        made.house.world = replace(made.house.world, witnesses=(vkey,))
        made.house.house.world = made.house.world
        held = memory.Memory(tmp_path / "witness")
        judge = witness.Witness(signer, KEYS, held, lambda: int(time.time()))
        try:
            async with (Tsa(authority.own) as tsa, serving(application(judge, vkey)) as url,
                        anchored(made, tsa=[(tsa.url, [authority.root])], witnesses=[(url, signer.verifier)])):
                yield made
        finally:
            held.close()


async def story(house):
    """A long notice with rare characters, on three channels, with some forty pieces of evidence."""
    notice_id = await served(house, subject=f"应诉通知书（{RARE}）", body=LONG)
    for n in range(36):
        house.house.clock.move(1)
        await house.receipt(notice_id, "sms", KINDS[n % 4], raw=f"callback {n}".encode())
    await house.sequence()
    await until(lambda: _count(house, t.ledger_timestamp, 1))
    return notice_id


def laid_out(needs, tmp_path, pdf):
    """Words that leave the printable page, pages that are empty, and pages in all; poppler's measure."""
    (tmp_path / "c.pdf").write_bytes(pdf)
    done = subprocess.run([needs("pdftotext"), "-bbox", tmp_path / "c.pdf", "-"], capture_output=True, check=True)
    outside, empty, count = [], [], 0
    for count, (width, height, inside) in enumerate(_PAGE.findall(done.stdout.decode()), 1):
        words = _WORD.findall(inside)
        if len(words) < 5:
            empty.append(count)
        for left, top, right, bottom, word in words:
            if float(left) < MARGIN_PT or float(right) > float(width) - MARGIN_PT or float(top) < MARGIN_PT / 2 or (
                    float(bottom) > float(height) - MARGIN_PT / 2):
                outside.append((count, word))
    return outside, empty, count


@pytest.mark.parametrize("grade", ["full", "brief", "summary"])
async def test_a_long_certificate_with_anchors_stays_on_its_pages(house, needs, tmp_path, grade):
    """Timestamp and witness are told, rare characters are there, nothing leaves the page, and no page is empty."""
    notice_id = await story(house)
    number, pdf = await issued(house, notice_id, grade=grade)
    text = text_of(needs, tmp_path, pdf)
    assert number in text
    assert RARE in text
    outside, empty, pages = laid_out(needs, tmp_path, pdf)
    assert (outside, empty) == ([], [])
    assert pages >= 2
    assert re.search(r"外部时间戳timestamps20\d\d-", text)
    assert "witness.example.cn" in text
    house.house.clock.move(1)
    await house.write(anonymising.anonymise, None, "u-1001", "注销")
    house.house.clock.move(1096 * DAY)
    assert await house.house.database.write(anonymising.sweep, house.house.world) == 1
    _, pdf = await issued(house, notice_id, grade=grade)
    text = text_of(needs, tmp_path, pdf)
    assert "已销毁" in text
    assert RARE not in text
    outside, empty, _ = laid_out(needs, tmp_path, pdf)
    assert (outside, empty) == ([], [])

