"""The document page in a real browser: readable on a phone and a desk, in light and dark, nothing blocked, opened by its button."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import uvicorn
from playwright.async_api import async_playwright

from noticesvc.storage import tables as t
from tests.support.installation import installed
from tests.support.notices import CONTENT, accepted, recipient, sealed

BODY = f"""第一段。

## 二、对照表

| 条款 | 原来的文字 | 现在的文字 |
|---|---|---|
| 6.2 | {"以发送为准" * 12} | {"以到达为准" * 12} |
"""
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
# The smallest text on the page, how far it is wider than the window, and the lightness of what it is written on.
LOOK = """() => {
  const sizes = [...document.querySelectorAll('body *')].filter(e => e.innerText && e.getClientRects().length)
    .map(e => parseFloat(getComputedStyle(e).fontSize));
  const [r, g, b] = getComputedStyle(document.querySelector('article')).backgroundColor.match(/\\d+/g).map(Number);
  return {smallest: Math.min(...sizes), over: document.documentElement.scrollWidth - innerWidth, light: (r + g + b) / 765};
}"""


@asynccontextmanager
async def served(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


@pytest.mark.real_peer
@pytest.mark.parametrize(("window", "scheme"), [(PHONE, "light"), (PHONE, "dark"), (DESK, "light")], ids=["phone", "phone-dark", "desk"])
async def test_a_reader_opens_and_reads(sqlite_url, needs, window, scheme):
    """The browser blocks nothing, text is 16 px and more and fits the window, the button opens the text and proves access."""
    chromium = needs("chromium")
    async with installed(sqlite_url) as here, served(here.http._transport.app) as origin, async_playwright() as play:  # type: ignore[attr-defined]
        await recipient(here)
        await accepted(here, channels=["sms"], content=CONTENT | {"body": BODY})
        one, = await sealed(here)
        browser = await play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = await (await browser.new_context(viewport=window, color_scheme=scheme, locale="zh-CN")).new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        await page.goto(f"{origin}/d/{one.link_token}")
        closed = await page.evaluate(LOOK)
        assert await page.get_by_role("heading", level=1).inner_text() == CONTENT["subject"]
        await page.get_by_role("button", name="打开并阅读").click()
        await page.get_by_role("heading", name="二、对照表").wait_for()
        opened = await page.evaluate(LOOK)
        await browser.close()
        assert [row.kind for row in await here.rows(t.evidence)] == ["link_fetched", "accessed"]
    assert complaints == []
    for look in (closed, opened):
        assert look["smallest"] >= 16
        assert look["over"] <= 0
        assert (look["light"] > 0.9) is (scheme == "light")
