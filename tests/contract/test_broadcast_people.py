"""What people see of a broadcast before it is approved, on every engine: previews and warnings."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from noticesvc.operations import keys
from tests.support.installation import installed
from tests.support.notices import CONTENT, MAILBOX, PHONE, recipient


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        await recipient(made, "u-mail", phone=None)
        await recipient(made, "u-none", phone=None, mailbox=None)
        await made.http.put("/v1/templates/greeting", json={"subject": "致 {{ name }}", "body": "{{ name }}，您好。",
                                                           "sms": "【平台】{{ name }}，" + "请" * 64, "sms_carries": "full"})
        yield made


async def draft(here, *uploaded, audience="upload", **notice):
    asked = {"category": "agreement", **(notice or {"content": CONTENT})}
    reply = await here.http.post("/v1/broadcasts", json={"name": "更新", "notice": asked, "audience": {"type": audience}})
    assert reply.status_code == 201, reply.text
    made = reply.json()["id"]
    if uploaded:
        lines = "\n".join(json.dumps(one if isinstance(one, dict) else {"recipient_id": one}) for one in uploaded)
        sent = await here.http.post(f"/v1/broadcasts/{made}/recipients", content=lines.encode(),
                                    headers={"Content-Type": "application/x-ndjson"})
        assert sent.json()["accepted"] == len(uploaded), sent.text
    return made


async def get(here, path, status=200, **query):
    reply = await here.http.get(f"/v1/broadcasts/{path}", params=query)
    assert reply.status_code == status, reply.text
    return reply.json()


async def test_a_preview_shows_every_channel_and_no_address(here):
    """Subject, texts and parts as they would be sent; contacts in part; and why a channel has none."""
    made = await draft(here, {"recipient_id": "u-1001", "name": "李*雷*"}, {"recipient_id": "u-mail", "name": "韩梅梅"},
                       template={"name": "greeting"}, channels=["in_site", "sms", "email"])
    shown = await get(here, f"{made}/preview", recipient_id="u-1001")
    assert (shown["in_audience"], shown["warnings"]) == (True, [])
    messages = {one["channel"]: one for one in shown["messages"]}
    assert messages["email"]["subject"] == "致 李*雷*"
    assert "李*雷*，您好。" in messages["email"]["text"]
    assert "<p>李*雷*，您好。</p>" in messages["email"]["html"]
    assert (messages["sms"]["text"], messages["sms"]["parts"]) == ("【平台】李*雷*，" + "请" * 64, 2)
    assert messages["in_site"]["html"] == "<p>李*雷*，您好。</p>\n"
    assert PHONE not in json.dumps(shown)
    assert MAILBOX not in json.dumps(shown)
    assert [one["channel"] for one in shown["contacts"] if one["address_masked"]] == ["sms", "email"]
    other = await get(here, f"{made}/preview", recipient_id="u-mail")
    assert {one["channel"]: one["unavailable"] for one in other["messages"]} == {
        "in_site": None, "sms": "no contact in effect", "email": None}


async def test_a_preview_tells_the_deadlines_of_the_notice(here):
    """As a dry run of the same notice does: when the change takes effect, and when the window to respond would end."""
    notice = {"content": CONTENT, "effective_at": "2027-01-01T00:00:00+08:00", "response_window": {"days": 15}}
    shown = await get(here, f"{await draft(here, 'u-1001', **notice)}/preview", recipient_id="u-1001")
    assert ("effective", "2026-12-31T16:00:00.000000Z") in [(one["kind"], one["ends_at"]) for one in shown["deadlines"]]
    dry = await here.http.post("/v1/notices?dry_run=true", json={"recipient_id": "u-1001", "category": "agreement", **notice})
    assert dry.status_code == 200, dry.text
    assert shown["deadlines"] == dry.json()["deadlines"]
    assert len(shown["deadlines"]) == 2


async def test_a_preview_knows_who_belongs_to_the_audience(here):
    """Whoever was not uploaded is told so; without their parameters there is no text to show; strangers are unknown."""
    plain, filled = await draft(here, "u-1001"), await draft(here, template={"name": "greeting"}, channels=["in_site"])
    assert (await get(here, f"{plain}/preview", recipient_id="u-mail"))["in_audience"] is False
    assert (await get(here, f"{filled}/preview", 422, recipient_id="u-mail"))["type"].endswith(":not-in-audience")
    assert (await get(here, f"{plain}/preview", 422, recipient_id="nobody"))["type"].endswith(":unknown-recipient")
    everybody = await draft(here, audience="all")
    assert (await get(here, f"{everybody}/preview", recipient_id="u-mail"))["in_audience"] is True
    await get(here, f"{plain}/preview", 422)
    await get(here, f"{here.database.sources.new_id()}/preview", 404, recipient_id="u-1001")


async def numbers(here, made):
    return {one["kind"]: one["count"] for one in (await get(here, f"{made}/warnings"))["items"]}


@pytest.mark.parametrize("audience", ["all", "upload"])
async def test_warnings_count_whom_it_cannot_reach(here, audience):
    """Over everybody and over an upload alike; the recipients behind each number are listed, page by page."""
    await here.http.post("/v1/recipients/u-1001/acceptances", json={
        "agreement": "user", "version": "1", "accepted_at": "2026-01-01T00:00:00Z", "document_sha256": "0" * 64, "presentation": "shown"})
    await here.http.put("/v1/recipients/u-mail/account", json={"state": "active"})
    made = await draft(here, *(["u-1001", "u-mail", "u-none"] if audience == "upload" else []), audience=audience)
    assert await numbers(here, made) == {"no_acceptance": 2, "no_contact": 1, "no_sms": 1}
    page = await get(here, f"{made}/warnings/no_acceptance", limit="1")
    rest = await get(here, f"{made}/warnings/no_acceptance", limit="1", cursor=page["next_cursor"])
    assert [page["items"], rest["items"], rest["next_cursor"]] == [[{"recipient_id": "u-mail"}], [{"recipient_id": "u-none"}], None]
    assert (await get(here, f"{made}/warnings/no_contact"))["items"] == [{"recipient_id": "u-none"}]
    assert (await get(here, f"{made}/warnings/no_sms"))["items"] == [{"recipient_id": "u-mail"}]
    await get(here, f"{made}/warnings/sms", 404)


async def test_a_contact_that_ended_or_begins_later_is_none(here):
    """What is in effect now counts, on the channels of the broadcast alone."""
    made = await draft(here, "u-1001", "u-mail", content=CONTENT, channels=["in_site", "sms"])
    assert (await numbers(here, made))["no_contact"] == 1
    await recipient(here, "u-1001", phone=None)
    assert (await numbers(here, made))["no_contact"] == 2
    own = await draft(here, "u-1001", content={"subject": "s", "body": "b"}, channels=["in_site"])
    items = (await get(here, f"{own}/warnings"))["items"]
    assert [(one["count"], "channels of our own alone" in one["detail"]) for one in items if one["kind"] == "no_contact"] == [(1, True)]


async def test_dead_contacts_void_agreements_and_near_dates_are_warned_of(here):
    """A number known not to exist, an agreement that became void after the upload, a change that takes effect within a week."""
    made = await draft(here, "u-1001", "u-mail", content=CONTENT, effective_at="2026-09-25T00:00:00Z")
    assert (await numbers(here, made))["effective_soon"] == 2
    late = await draft(here, "u-1001", content=CONTENT, effective_at="2026-12-25T00:00:00Z")
    assert "effective_soon" not in await numbers(here, late)
    await here.http.put("/v1/recipients/u-mail/account", json={"state": "void"})
    assert (await numbers(here, made))["no_notice"] == 1
    from sqlalchemy import update

    from noticesvc.storage import tables as t
    await here.database.write(lambda tx: tx.execute(update(t.contact).where(t.contact.c.channel == "sms").values(state="invalid")))
    assert (await numbers(here, made))["invalid_contact"] == 1
    assert (await get(here, f"{made}/warnings/invalid_contact"))["items"] == [{"recipient_id": "u-1001"}]


async def test_sms_are_counted_and_priced(here):
    """Parts times recipients with a number times the price; from a sample where each has another text."""
    here.house.world = replace(here.world, sms_price_per_part=0.05)
    same = await draft(here, "u-1001", "u-none", content=CONTENT | {"sms": "长" * 71, "sms_carries": "full"})
    assert (await get(here, f"{same}/warnings"))["sms"] == {
        "recipients": 1, "parts_each": 2, "parts": 2, "estimated": False, "price": 0.1, "currency": "CNY"}
    own = await draft(here, {"recipient_id": "u-1001", "name": "李" * 100}, {"recipient_id": "u-mail", "name": "李"},
                      template={"name": "greeting"}, channels=["sms"])
    assert (await get(here, f"{own}/warnings"))["sms"] == {
        "recipients": 1, "parts_each": 2, "parts": 2, "estimated": True, "price": 0.1, "currency": "CNY"}


async def test_a_vendor_without_our_template_is_named(here):
    """It is passed over, which whoever approves should know."""
    here.house.providers["vendor"] = SimpleNamespace(templates=frozenset({"other"}), channels=frozenset({"sms"}))
    found = (await get(here, f"{await draft(here, 'u-1001')}/warnings"))["items"]
    assert [one["detail"] for one in found if one["kind"] == "template_unmapped"] == [
        "The vendor vendor has no template of its own for this notice and is passed over."]


async def test_who_may_see_what(here):
    """Either scope reads numbers; names and previews are for who may upload."""
    made = await draft(here, "u-1001")
    secret = await here.database.write(keys.create, "approver", ["broadcasts:approve"])
    statuses = [(await here.http.get(f"/v1/broadcasts/{made}/{rest}", headers={"Authorization": f"Bearer {secret}"})).status_code
                for rest in ("warnings", "warnings/no_contact", "preview?recipient_id=u-1001")]
    assert statuses == [200, 403, 403]
