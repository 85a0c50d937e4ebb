"""What came of a broadcast, on every engine: the coverage report, and the follow-up to whoever was not served."""

import csv
import io
import subprocess

import pytest

from noticesvc.api.broadcast_report import cell
from noticesvc.certificate import coverage
from noticesvc.certificate.words import pair
from noticesvc.domain.access import Access
from noticesvc.errors import UnavailableError
from noticesvc.operations import broadcast_follow_up, broadcast_report, broadcast_summary, in_site
from noticesvc.operations.record import Answer, record
from noticesvc.storage import tables as t
from tests.support import broadcasts as made_by_hand
from tests.support.installation import START, installed
from tests.support.notices import CONTENT, recipient, sealed
from tests.support.proofs import SCHEDULE

HEADER = ["recipient_id", "notice_id", "state", "served_at", "channel", "reason"]


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        yield made


async def running(here, *recipients, **notice):
    key = (await here.rows(t.api_key))[0].id
    rows = [one if isinstance(one, tuple) else (one, {}) for one in recipients]
    texts = {"subject": "协议更新", "body": "正文", "sms": "【平台】正文", "sms_carries": "full", "channels": ("sms",)}
    return await made_by_hand.running(here.database, here.world, Access(key, frozenset()), rows, **(texts | notice))


async def report(here, broadcast_id, **query):
    reply = await here.http.get(f"/v1/broadcasts/{broadcast_id}/report.csv", params=query)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/csv; charset=utf-8; header=present")
    rows = list(csv.reader(io.StringIO(reply.text, newline="")))
    assert rows[0] == HEADER
    return [dict(zip(HEADER, row, strict=True)) for row in rows[1:]]


async def answered(here, outcomes):
    """Every due SMS is sent, and answered by outcome and code of its address."""
    for one in await sealed(here):
        outcome, code = outcomes[one.address]
        answer = Answer(one.notice_id, one.channel, one.number, outcome, here.clock(), here.clock(), content_sha256=one.content_sha256,
                        raw=b"answer", media_type="text/plain", code=code)
        await here.database.write(record, here.world, SCHEDULE, [answer], [0.5])


async def test_every_recipient_is_there_once_with_the_reason_in_words(here):
    """Served by SMS, no such number, no contact, skipped because anonymised: each in words of either language."""
    for number, name in enumerate(("u-served", "u-dead")):
        await recipient(here, name, phone=f"+861380013800{number}", mailbox=None)
    await recipient(here, "u-none", phone=None, mailbox=None)
    await recipient(here, "u-gone", phone=None, mailbox=None)
    made = await running(here, "u-served", "u-dead", "u-none", "u-gone")
    assert {row["reason"] for row in await report(here, made)} == {"尚未轮到"}
    await here.http.post("/v1/recipients/u-gone/anonymise", json={"reason": "asked"})
    await made_by_hand.expanded(here.database, here.world)
    here.clock.move(1)
    await answered(here, {"+8613800138000": ("arrived", None), "+8613800138001": ("failed_permanent", "err:001")})
    shown = {row["recipient_id"]: row for row in await report(here, made, lang="en")}
    assert shown.keys() == {"u-served", "u-dead", "u-none", "u-gone"}
    assert [(name, shown[name]["state"], shown[name]["channel"], shown[name]["reason"]) for name in sorted(shown)] == [
        ("u-dead", "unserved", "", "SMS: no such number or mailbox (err:001)"), ("u-gone", "cancelled", "", "the recipient was anonymised"),
        ("u-none", "unserved", "", "SMS: no contact in effect"), ("u-served", "served", "sms", "")]
    notice = (await here.http.get(f"/v1/notices/{shown['u-served']['notice_id']}")).json()
    assert (notice["recipient_id"], notice["service"]["served_at"]) == ("u-served", shown["u-served"]["served_at"])
    assert shown["u-gone"]["notice_id"] == ""
    chinese = {row["recipient_id"]: row["reason"] for row in await report(here, made)}
    assert (chinese["u-dead"], chinese["u-none"], chinese["u-gone"]) == (
        "短信：号码或邮箱不存在（err:001）", "短信：没有有效的联系方式", "收件人已匿名化")


async def test_nobody_is_missing_or_twice_across_pages_and_a_cancel(here, monkeypatch):
    """Pages of two, notices half made when it is cancelled: five recipients, five lines."""
    monkeypatch.setattr(broadcast_report, "PAGE", 2)
    names = [f"u-{n}" for n in range(5)]
    for name in names:
        await recipient(here, name, phone=None, mailbox=None)
    made = await running(here, *names, channels=("in_site",))
    from noticesvc.operations import broadcast_expansion
    await here.database.write(broadcast_expansion.expand, here.world, 3)
    here.clock.move(1)
    await here.database.write(in_site.deliver, here.world, 100)
    assert (await here.http.post(f"/v1/broadcasts/{made}/cancel")).status_code == 200
    rows = await report(here, made, lang="en")
    assert sorted(row["recipient_id"] for row in rows) == names
    assert sorted((row["state"], row["reason"]) for row in rows) == [
        ("cancelled", "the broadcast was cancelled before the notice was made")] * 2 + [("served", "")] * 3


async def test_cells_that_would_be_computed_are_neutralised(here):
    """A recipient may be called like a formula; in the report an apostrophe stands before it, and taking it away gives the name back."""
    names = ["=1+1", "+8613800138000", "-2", "@SUM(A1)", "'quoted", "＝1", 'a,"b"', "plain"]
    for name in names:
        await recipient(here, name, phone=None, mailbox=None)
    made = await running(here, *names)
    shown = [row["recipient_id"] for row in await report(here, made)]
    assert sorted(shown) == sorted(["'=1+1", "'+8613800138000", "'-2", "'@SUM(A1)", "''quoted", "'＝1", 'a,"b"', "plain"])
    assert sorted(one.removeprefix("'") for one in shown) == sorted(names)
    assert [cell(one) for one in ("\tx", "\rx", "x=1", "")] == ["'\tx", "'\rx", "x=1", ""]
    marked = await here.http.get(f"/v1/broadcasts/{made}/report.csv", params={"excel": "true"})
    assert marked.content.startswith(b"\xef\xbb\xbfrecipient_id,")


async def test_a_follow_up_goes_to_whoever_was_not_served(here):
    """A draft with each recipient's own parameters, by other channels; who was served, or cannot be told, is not in it."""
    await here.http.put("/v1/templates/greeting", json={"subject": "更新", "body": "{{ name }}，您好。", "sms": "【平台】{{ name }}",
                                                       "sms_carries": "full"})
    for number, name in enumerate(("u-served", "u-dead", "u-void")):
        await recipient(here, name, phone=f"+861380013800{number}", mailbox=None)
    rows = [(name, {"name": name[2:]}) for name in ("u-served", "u-dead", "u-void")]
    made = await running(here, *rows, template="greeting", subject=None, body=None, sms=None, sms_carries=None)
    await made_by_hand.expanded(here.database, here.world)
    here.clock.move(1)
    dead = "failed_permanent", None
    await answered(here, {"+8613800138000": ("arrived", None), "+8613800138001": dead, "+8613800138002": dead})
    await here.http.put("/v1/recipients/u-void/account", json={"state": "void"})
    reply = await here.http.post(f"/v1/broadcasts/{made}/follow-up", json={"channels": ["in_site"]})
    assert reply.status_code == 201, reply.text
    draft = reply.json()
    assert (draft["state"], draft["channels"], draft["counts"]["total"], draft["name"]) == ("draft", ["in_site"], 1, "更新 – follow-up")
    assert reply.headers["location"] == f"/v1/broadcasts/{draft['id']}"
    shown = (await here.http.get(f"/v1/broadcasts/{draft['id']}/preview", params={"recipient_id": "u-dead"})).json()
    assert (shown["in_audience"], shown["messages"][0]["html"]) == (True, "<p>dead，您好。</p>\n")


async def test_a_follow_up_may_be_an_announcement_and_must_fit(here):
    """What cannot be published, a draft that was never approved, and channels without a text are refused."""
    await recipient(here, "u-1", phone=None, mailbox=None)
    made = await running(here, "u-1")
    await made_by_hand.expanded(here.database, here.world)
    here.clock.move(1)
    await answered(here, {})
    url = f"/v1/broadcasts/{made}/follow-up"
    reply = await here.http.post(url, json={"channels": ["announcement"], "name": "公告"})
    assert reply.status_code == 201, reply.text
    assert [reply.json()[name] for name in ("channels", "name")] == [["announcement"], "公告"]
    assert reply.json()["counts"]["total"] == 1
    for body in ({"channels": []}, {"channels": ["sms", "sms"]}, {"channels": ["fax"]}, {}):
        assert (await here.http.post(url, json=body)).status_code == 422, body
    draft = await here.http.post("/v1/broadcasts", json={"name": "n", "audience": {"type": "all"},
                                                        "notice": {"category": "agreement", "content": CONTENT}})
    refused = await here.http.post(f"/v1/broadcasts/{draft.json()['id']}/follow-up", json={"channels": ["email"]})
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (409, "not-approved")


async def test_the_summary_says_what_the_counts_say(here, tmp_path, needs):
    """Totals, channels and reasons in the words of either language, as text that a reader of PDF finds; only once it was approved."""
    pdftotext = needs("pdftotext")
    for number, name in enumerate(("u-1", "u-2", "u-3")):
        await recipient(here, name, phone=f"+861380013800{number}", mailbox=None)
    made = await running(here, "u-1", "u-2", "u-3", effective_at=here.clock() + 10 * 86_400_000_000)
    await made_by_hand.expanded(here.database, here.world)
    here.clock.move(1)
    arrived, dead = ("arrived", None), ("failed_permanent", None)
    await answered(here, {"+8613800138000": arrived, "+8613800138001": arrived, "+8613800138002": dead})
    counts = (await here.http.get(f"/v1/broadcasts/{made}")).json()["counts"]
    assert (counts["served"], counts["unserved"]) == (2, 1)
    for lang, words in (("zh", ["更新", "66.67%", "号码或邮箱不存在", "生效前至少 9 天独立送达", "每柱 1 秒"]),
                        ("en", ["更新", "66.67%", "no such number or mailbox", "at least 9 days before", "each bar: 1 second"])):
        reply = await here.http.get(f"/v1/broadcasts/{made}/report.pdf", params={"lang": lang, "days": "9"})
        assert (reply.status_code, reply.headers["content-type"]) == (200, "application/pdf")
        file = tmp_path / f"{lang}.pdf"
        file.write_bytes(reply.content)
        text = subprocess.run([pdftotext, "-layout", str(file), "-"], capture_output=True, check=True, text=True).stdout
        assert [word for word in words if word not in text] == []
    draft = await here.http.post("/v1/broadcasts", json={"name": "n", "audience": {"type": "all"},
                                                        "notice": {"category": "agreement", "content": CONTENT}})
    assert (await here.http.get(f"/v1/broadcasts/{draft.json()['id']}/report.pdf")).status_code == 409


@pytest.mark.parametrize("minutes", [0, 1, 41, 60 * 24 * 400])
def test_every_span_of_time_makes_a_chart(minutes):
    """One bar, two, or a year of them; a share is 0% or 100% only where it is exactly that."""
    width = next(one for one in broadcast_summary.WIDTHS if minutes * 60_000_000 // one < 40)
    bars = [1, *[0] * (minutes * 60_000_000 // width - 1), 2][-(minutes * 60_000_000 // width + 1):]
    counts = {"total": 100_000, "served": sum(bars), "by_channel": {}} | dict.fromkeys(
        ("queued", "in_progress", "unserved", "expired", "cancelled"), 0)
    story = coverage.Story(issuer="甲", sandbox=True, now=START, id="x", name="名", state="running", category=pair("一", "one"),
                           created_at=START, approved_at=START, ended_at=None, effective_at=None, days=7, counts=counts,
                           independent=0, answers=None, bars={"width": width, "start": START, "channels": {"in_site": bars}}, reasons=[])
    for lang in ("zh", "en"):
        assert coverage.make(story, lang).startswith(b"%PDF")
    assert [coverage._share(*one) for one in ((0, 9), (9, 9), (1, 1_000_000), (999_999, 1_000_000), (1, 3), (0, 0))] == [
        "0%", "100%", "0.01%", "99.99%", "33.33%", "—"]


async def test_a_follow_up_is_filled_some_notices_at_a_time_or_cancelled(here, monkeypatch):
    """Five of seven in calls of two; where one call fails, the draft that has only some of them is cancelled."""
    monkeypatch.setattr(broadcast_follow_up, "TOGETHER", 2)
    for number in range(7):
        await recipient(here, f"u-{number}", phone=f"+861380013800{number}" if number < 2 else None, mailbox=None)
    made = await running(here, *[f"u-{number}" for number in range(7)])
    await made_by_hand.expanded(here.database, here.world)
    here.clock.move(1)
    await answered(here, {"+8613800138000": ("arrived", None), "+8613800138001": ("arrived", None)})
    url = f"/v1/broadcasts/{made}/follow-up"
    draft = (await here.http.post(url, json={"channels": ["in_site"]})).json()
    assert draft["counts"]["total"] == 5
    assert sum(row.broadcast_id == draft["id"] for row in await here.rows(t.broadcast_recipient)) == 5
    fill = broadcast_follow_up.fill

    def failing(tx, world, broadcast_id, draft_id, after):
        if after is not None:
            raise UnavailableError("not now")
        return fill(tx, world, broadcast_id, draft_id, after)
    monkeypatch.setattr(broadcast_follow_up, "fill", failing)
    assert (await here.http.post(url, json={"channels": ["in_site"], "name": "half"})).status_code == 503
    states = {one["name"]: one["state"] for one in (await here.http.get("/v1/broadcasts")).json()["items"]}
    assert states == {"更新": "running", "更新 – follow-up": "draft", "half": "cancelled"}
