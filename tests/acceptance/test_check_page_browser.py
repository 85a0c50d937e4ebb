"""The check page in a real browser: a file is dropped and verified on a phone and a desk, nothing is blocked, nothing overflows."""

import pytest
from playwright.async_api import async_playwright

from tests.acceptance.test_document_page_browser import DESK, LOOK, PHONE
from tests.acceptance.test_document_page_browser import served as serving
from tests.contract.test_certificates import issued, served
from tests.support import proofs


@pytest.mark.real_peer
@pytest.mark.parametrize(("window", "scheme"), [(PHONE, "light"), (PHONE, "dark"), (DESK, "light")], ids=["phone", "phone-dark", "desk"])
async def test_somebody_checks_a_certificate_and_drops_its_proof(sqlite_url, needs, tmp_path, window, scheme):
    """The QR address says genuine; the proof file chosen there is verified step by step; the browser complains of nothing."""
    chromium = needs("chromium")
    async with proofs.desk(sqlite_url) as desk:
        notice_id = await served(desk)
        number, _ = await issued(desk, notice_id)
        row = (await desk.house.rows(proofs.t.certificate))[0]
        (tmp_path / "proof.json").write_bytes(proofs.data(await desk.proof(notice_id)))
        async with serving(desk.house.http._transport.app) as origin, async_playwright() as play:
            browser = await play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = await (await browser.new_context(viewport=window, color_scheme=scheme, locale="zh-CN")).new_page()
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text))
            page.on("requestfailed", lambda request: complaints.append(request.url))
            await page.goto(f"{origin}/check/{number}?h={row.proof_sha256}")
            await page.get_by_role("heading", name="真实，且为最新").wait_for()
            first = await page.evaluate(LOOK)
            await page.screenshot(path=tmp_path / "genuine.png", full_page=True)
            await page.get_by_label("核验文件").set_input_files(tmp_path / "proof.json")
            await page.get_by_role("button", name="核验", exact=True).click()
            await page.get_by_role("heading", name="证明文件核验通过").wait_for()
            second = await page.evaluate(LOOK)
            await page.screenshot(path=tmp_path / "holds.png", full_page=True)
            await browser.close()
    assert complaints == []
    for look in (first, second):
        assert look["smallest"] >= 16
        assert look["over"] <= 0
        assert (look["light"] > 0.9) is (scheme == "light")
