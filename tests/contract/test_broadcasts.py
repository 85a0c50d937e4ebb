"""Broadcasts over HTTP, on every engine: drafts, audiences, verbs."""

import pytest

from noticesvc.operations import broadcast_audience
from tests.support.installation import installed
from tests.support.notices import CONTENT, recipient


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        yield made


async def draft(here, audience="upload", notice=None, **more):
    """A draft; its id."""
    body = {"name": "更新", "notice": {"category": "agreement", "content": CONTENT} | (notice or {}), "audience": {"type": audience}} | more
    reply = await here.http.post("/v1/broadcasts", json=body)
    assert reply.status_code == 201, reply.text
    assert reply.headers["location"] == f"/v1/broadcasts/{reply.json()['id']}"
    return reply.json()["id"]


async def shown(here, broadcast_id):
    reply = await here.http.get(f"/v1/broadcasts/{broadcast_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def add(here, broadcast_id, *rows):
    return await here.database.write(broadcast_audience.add, here.world, broadcast_id, list(rows))


async def test_a_draft_is_shown_as_it_was_made(here):
    """A draft has the notice's channels, no notices, and an audience of nobody yet."""
    made = await shown(here, await draft(here, effective_at="2026-12-15T00:00:00Z", rates={"sms": 50}))
    assert (made["state"], made["channels"], made["rates"]) == ("draft", ["in_site", "sms", "email"], {"sms": 50})
    assert made["effective_at"] == "2026-12-15T00:00:00.000000Z"
    assert made["counts"]["total"] == made["counts"]["expanded"] == 0
    page = (await here.http.get("/v1/broadcasts")).json()
    assert [one["id"] for one in page["items"]] == [made["id"]]


@pytest.mark.parametrize(("change", "pointer"), [
    ({"effective_at": "2026-12-15T00:00:00Z", "notice": {"category": "agreement", "content": CONTENT,
                                                         "effective_at": "2026-12-15T00:00:00Z"}}, "/effective_at"),
    ({"notice": {"category": "agreement", "content": CONTENT, "recipient_id": "u-1"}}, "/notice/recipient_id"),
    ({"notice": {"category": "agreement", "content": CONTENT, "channels": ["sms", "sms"]}}, "/notice/channels"),
    ({"notice": {"category": "agreement", "template": {"name": "none"}}}, "/notice/template/name"),
    ({"rates": {"sms": 0}}, "/rates/sms"), ({"rates": {"sms": "50"}}, "/rates/sms"), ({"rates": {"sms": True}}, "/rates/sms"),
    ({"rates": {"fax": 5}}, "/rates/fax"), ({"audience": {"type": "some"}}, "/audience/type"), ({"colour": "red"}, "/colour"),
])
async def test_what_cannot_be_a_broadcast_is_refused_at_its_place(here, change, pointer):
    """Each fault is named by a pointer into the body."""
    body = {"name": "更新", "notice": {"category": "agreement", "content": CONTENT}, "audience": {"type": "all"}} | change
    reply = await here.http.post("/v1/broadcasts", json=body)
    assert reply.status_code == 422, reply.text
    assert pointer in [error["pointer"] for error in reply.json()["errors"]]


async def test_a_recipient_belongs_to_an_audience_once(here):
    """Rows are counted once, however often and in however many calls they come; unknown recipients are rejected by their place."""
    for number in range(3):
        await recipient(here, f"u-{number}")
    broadcast_id = await draft(here)
    first = await add(here, broadcast_id, ("u-1", {}), ("nobody", {}), ("u-1", {}), ("u-0", {}))
    assert (first.accepted, first.duplicates, first.rejected) == (2, 1, [(1, broadcast_audience.UNKNOWN)])
    second = await add(here, broadcast_id, ("u-2", {}), ("u-1", {}))
    assert (second.accepted, second.duplicates, second.rejected) == (1, 1, [])
    assert (await shown(here, broadcast_id))["counts"]["total"] == 3


async def test_parameters_must_fill_the_template(here):
    """A row that leaves a hole in the text, or brings what the template does not know, is rejected without its values."""
    await here.http.put("/v1/templates/greeting", json={"subject": "更新", "body": "{{ name }}：{{ until }}"})
    for number in range(5):
        await recipient(here, f"u-{number}")
    broadcast_id = await draft(here, notice={"content": None, "template": {"name": "greeting", "params": {"until": "12-15"}},
                                             "channels": ["in_site"]})
    found = await add(here, broadcast_id, ("u-0", {"name": "李"}), ("u-1", {}), ("u-2", {"name": ""}), ("u-3", {"name": "王", "age": "9"}),
                      ("u-4", {"name": "赵", "until": "x"}))
    assert found.accepted == 1
    assert [at for at, _ in found.rejected] == [1, 2, 3, 4]
    assert not any("王" in reason or "赵" in reason for _, reason in found.rejected)


async def test_a_cancelled_draft_takes_nobody(here):
    """Cancelling twice is one cancel; what was uploaded counts as cancelled, and nothing can be added or begun any more."""
    await recipient(here, "u-0")
    broadcast_id = await draft(here)
    await add(here, broadcast_id, ("u-0", {}))
    for _ in range(2):
        reply = await here.http.post(f"/v1/broadcasts/{broadcast_id}/cancel")
        assert (reply.status_code, reply.json()["state"]) == (200, "cancelled")
    assert (await shown(here, broadcast_id))["counts"]["cancelled"] == 1
    for verb, slug in (("pause", "not-pausable"), ("resume", "not-resumable")):
        reply = await here.http.post(f"/v1/broadcasts/{broadcast_id}/{verb}")
        assert (reply.status_code, reply.json()["type"]) == (409, f"urn:noticesvc:problem:{slug}")
