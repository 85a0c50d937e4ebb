"""The document page behind a link, on every engine: what it shows, what a visit proves, and who cannot make it prove anything."""

import re

import pytest

from noticesvc.storage import tables as t
from tests.support.installation import installed
from tests.support.notices import CONTENT, accepted, read, recipient, sealed

SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        made.http.headers.pop("authorization")  # a reader has no key
        yield made


async def link(here, secret, **more):
    """Accept a notice with an SMS that carries a link, and seal it; the notice's id and the page's path."""
    here.http.headers["authorization"] = secret
    notice_id = await accepted(here, channels=["sms"], **more)
    one, = await sealed(here)
    here.http.headers.pop("authorization")
    return notice_id, f"/d/{one.link_token}"


@pytest.fixture
async def page(database_url):
    """An installation, the id of a notice with a link in its SMS, the path of its page, and the key's header."""
    async with installed(database_url) as here:
        await recipient(here)
        secret = here.http.headers["authorization"]
        notice_id, path = await link(here, secret, content=CONTENT | {"subject": "停用 <b>通知</b>", "body": "<i>原样</i>\n\n**重要**"})
        yield here, notice_id, path, secret


def form(reply):
    return {"form": re.search(r'name="form" value="([^"]+)"', reply.text)[1]}


async def kinds(here):
    return [row.kind for row in await here.rows(t.evidence)]


async def test_opening_takes_a_press_of_the_button(page):
    """GET shows the subject and no body and is `link_fetched`; the button's POST shows the whole text and is `accessed`."""
    here, notice_id, path, secret = page
    first = await here.http.get(path)
    assert first.status_code == 200
    assert "停用 &lt;b&gt;通知&lt;/b&gt;" in first.text
    assert "重要" not in first.text
    assert await kinds(here) == ["link_fetched"]
    here.clock.move(5)
    opened = await here.http.post(path, data=form(first), headers=SAME)
    assert opened.status_code == 200
    assert "<strong>重要</strong>" in opened.text
    assert "&lt;i&gt;原样&lt;/i&gt;" in opened.text
    here.http.headers["authorization"] = secret
    shown = await read(here, notice_id)
    assert shown["content_sha256"] in opened.text
    found = {one["kind"]: one for one in shown["evidence"]}
    assert (found["accessed"]["source"], found["accessed"]["authenticated"], found["accessed"]["channel"]) == ("page", True, "sms")
    assert (shown["service"]["served"], shown["service"]["served_at"]) == (True, "2026-09-21T14:13:26.000000Z")
    entries = {entry["kind"]: entry for entry in await here.entries() if entry["type"] == "receipt.observed"}
    assert entries["accessed"]["authenticated_by"] == "page-action"
    assert entries["link_fetched"]["authenticated_by"] == "own-system"


async def test_scanners_prove_nothing(page):
    """HEAD records nothing; many GETs in a minute are one `link_fetched`, which serves nothing."""
    here, notice_id, path, secret = page
    assert (await here.http.head(path)).status_code == 200
    assert await kinds(here) == []
    for _ in range(5):
        here.clock.move(11)
        assert (await here.http.get(path)).status_code == 200
    assert await kinds(here) == ["link_fetched"]
    here.clock.move(60)
    await here.http.get(path)
    assert await kinds(here) == ["link_fetched", "link_fetched"]
    here.http.headers["authorization"] = secret
    assert (await read(here, notice_id))["service"]["served"] is False


async def test_a_form_of_another_site_opens_nothing(page):
    """A POST that the browser says came from elsewhere is 403, shows no text and proves nothing, even with a valid form."""
    here, _, path, _ = page
    good = form(await here.http.get(path))
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
                    {"Origin": "https://evil.example"}, {"Origin": "null"}):
        reply = await here.http.post(path, data=good, headers=headers)
        assert (reply.status_code, "重要" in reply.text) == (403, False), headers
    assert await kinds(here) == ["link_fetched"]
    assert (await here.http.post(path, data=good, headers={"Origin": "http://test"})).status_code == 200


async def test_only_our_own_fresh_form_opens(page):
    """No form, a made-up one, one of another link, and one a day old are refused; a reader gets a fresh one with the refusal."""
    here, _, path, secret = page
    good = form(await here.http.get(path))
    _, other = await link(here, secret)
    for data in ({}, {"form": ""}, {"form": "x"}, {"form": "99999999999999999.aaaa"}, {"form": good["form"] + "x"},
                 form(await here.http.get(other)), {"form": "٣.x"}, {"other": good["form"]}):
        assert (await here.http.post(path, data=data, headers=SAME)).status_code == 403
    here.clock.move(86_400)
    late = await here.http.post(path, data=good, headers=SAME)
    assert late.status_code == 403
    assert "accessed" not in await kinds(here)
    assert (await here.http.post(path, data=form(late), headers=SAME)).status_code == 200
    assert (await kinds(here)).count("accessed") == 1
    assert (await here.http.post(path, data=form(late), headers=SAME)).status_code == 200
    assert (await kinds(here)).count("accessed") == 1


async def test_the_page_is_closed_to_robots_scripts_and_frames(page):
    """Every answer forbids indexing, caching, scripts, frames and foreign resources; the one style is named by its hash."""
    here, _, path, _ = page
    first = await here.http.get(path)
    for reply in (first, await here.http.post(path, data=form(first), headers=SAME), await here.http.get("/d/" + "A" * 24)):
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "noindex" in reply.headers["x-robots-tag"]
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert "<script" not in reply.text
        assert not re.search(r'(src|href)="(https?:)?//', reply.text)


async def test_the_page_speaks_the_readers_language(page):
    """Chinese unless the browser prefers English; the address overrides both; the sandbox is named in either."""
    here, _, path, _ = page
    for asked, accepts, button in (
            ("", "", "打开并阅读"), ("", "en-GB,en;q=0.9,zh;q=0.8", "Open and read"), ("", "fr,zh-TW;q=0.5,en;q=0.4", "打开并阅读"),
            ("?lang=en", "zh", "Open and read"), ("?lang=zh", "en", "打开并阅读"), ("?lang=xx", "en;q=junk,zh", "打开并阅读")):
        reply = await here.http.get(path + asked, headers={"Accept-Language": accepts})
        assert button in reply.text, (asked, accepts)
        assert ("Sandbox" if button == "Open and read" else "沙箱") in reply.text


async def test_a_link_to_nothing_says_so(here):
    """An unknown or impossible token is a 404 page, for GET and POST, and records nothing."""
    for token in ("A" * 24, "x", "A" * 25, "%00", "..%2f..", "'", "%E9%80%81" * 8, "a" * 5000):
        assert (await here.http.get(f"/d/{token}")).status_code == 404, token
        assert (await here.http.post(f"/d/{token}", data={"form": "x"}, headers=SAME)).status_code == 404, token
    assert await kinds(here) == []


async def test_documents_open_from_the_opened_page_alone(database_url):
    """The opened page leads to the notice's documents; without its key, or for another document, they are not there."""
    async with installed(database_url) as here:
        await recipient(here)
        secret = here.http.headers["authorization"]
        mine, other = [(await here.http.post("/v1/documents", files={"file": ("x", data)})).json()["id"]
                       for data in (b"%PDF-mine", b"%PDF-other")]
        _, path = await link(here, secret, documents=[mine])
        opened = await here.http.post(path, data=form(await here.http.get(path)), headers=SAME)
        href = "/d/" + re.search(r'href="([^"]+/documents/[^"]+)"', opened.text)[1].replace("&amp;", "&")
        reply = await here.http.get(href)
        assert (reply.status_code, reply.content, reply.headers["content-type"]) == (200, b"%PDF-mine", "application/pdf")
        assert reply.headers["content-disposition"].startswith("attachment")
        for wrong in (href.partition("?")[0], href[:-1], href.replace(mine, other), href.replace(mine, "x")):
            assert (await here.http.get(wrong)).status_code == 404
        here.clock.move(86_400)
        assert (await here.http.get(href)).status_code == 404


async def test_a_hostile_form_is_refused(page):
    """Bodies that are too long, no form, or hold thousands of members are a page with 4xx."""
    here, _, path, _ = page
    for body in (b"x" * 5000, b"&".join([b"a=1"] * 50), b"\xff\xfe", b"form=%ff", b"form=\x00"):
        reply = await here.http.post(path, content=body, headers=SAME | {"Content-Type": "application/x-www-form-urlencoded"})
        assert reply.status_code in {400, 403}
        assert reply.headers["content-type"].startswith("text/html")
