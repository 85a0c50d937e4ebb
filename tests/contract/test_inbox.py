"""The inbox over HTTP, on every engine: messages, acts as evidence, tokens, and the stream of a real server."""

import asyncio
from uuid import uuid4

import pytest

from noticesvc.storage import tables as t
from tests.support.installation import installed
from tests.support.notices import CONTENT, accepted, delivered_in_site, read, recipient
from tests.support.served import events, served
from tests.support.waiting import until

BOX = "/v1/inbox/u-1001"


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        yield made


async def messages(here, **query):
    reply = await here.http.get(f"{BOX}/messages", params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_an_in_site_notice_becomes_a_message(here):
    """After delivery the message stands in the inbox, unread, with safe HTML, and the notice is served at that instant."""
    await here.http.post("/v1/documents", files={"file": ("x", b"%PDF-1.7")})
    document = (await here.http.post("/v1/documents", files={"file": ("x", b"%PDF-1.7")})).json()
    body = "<script>alert(1)</script>\n\n[x](javascript:alert(1)) **粗**"
    notice_id = await accepted(here, content=CONTENT | {"body": body}, documents=[document["id"]])
    assert await messages(here) == {"items": [], "unread": 0, "next_cursor": None}
    here.clock.move(5)
    assert await delivered_in_site(here) == 1
    found = await messages(here)
    assert (found["unread"], len(found["items"])) == (1, 1)
    item = found["items"][0]
    assert (item["notice_id"], item["subject"], item["sent_at"]) == (notice_id, CONTENT["subject"], "2026-09-21T14:13:26.000000Z")
    assert (item["displayed_at"], item["opened_at"], item["acknowledged_at"]) == (None, None, None)
    assert "<script" not in item["body_html"]
    assert "href" not in item["body_html"]
    assert "<strong>粗</strong>" in item["body_html"]
    assert item["documents"] == [{"id": document["id"], "sha256": document["sha256"], "media_type": "application/pdf", "size": 8}]
    shown = await read(here, notice_id)
    assert (shown["state"], shown["service"]["channel"], shown["service"]["served_at"]) == ("served", "in_site", item["sent_at"])
    contact = shown["deliveries"][0]["contact"]
    assert contact == {"contact_id": None, "address_masked": None, "confirmation": "confirmed",
                       "effective_from": "2026-09-21T14:13:20.000000Z"}


async def test_each_act_is_evidence_once(here):
    """Displayed, opened and acknowledged are recorded with their kinds, each once however often it is told; unread ends with opening."""
    notice_id = await accepted(here, channels=["in_site"])
    await delivered_in_site(here)
    message = (await messages(here))["items"][0]
    for number, act in enumerate(("displayed", "opened", "acknowledged"), 1):
        here.clock.move(1)
        first = await here.http.post(f"{BOX}/messages/{message['id']}/{act}")
        assert first.status_code == 200, first.text
        assert first.json()[f"{act}_at"] == f"2026-09-21T14:13:2{number + 1}.000000Z"
        here.clock.move(0.5)
        again = await here.http.post(f"{BOX}/messages/{message['id']}/{act}")
        assert again.json() == first.json()
        here.clock.move(-0.5)
        assert (await messages(here))["unread"] == (1 if act == "displayed" else 0)
    shown = await read(here, notice_id)
    evidence = {(one["kind"], one["source"], one["authenticated"]) for one in shown["evidence"] if one["attempt"] == 1}
    assert evidence == {("intended", "noticesvc", True), ("arrived", "inbox", True), ("displayed", "inbox", True),
                        ("accessed", "inbox", True), ("acknowledged", "inbox", True)}
    assert len(shown["evidence"]) == 5
    entries = [entry for entry in await here.entries() if entry["type"] == "receipt.observed"]
    assert [(entry["kind"], entry["receipt_id"], entry["authenticated_by"], entry["content_matches"]) for entry in entries] == [
        ("displayed", None, "session", True), ("accessed", None, "session", True), ("acknowledged", None, "session", True)]
    # Opening is level 4 and arrived came first: service stays where arrival put it.
    assert (shown["service"]["served_at"], shown["service"]["revision"]) == ("2026-09-21T14:13:21.000000Z", 1)


async def test_two_who_open_at_once_make_one_piece_of_evidence(here):
    """Ten concurrent openings are one."""
    await accepted(here, channels=["in_site"])
    await delivered_in_site(here)
    message = (await messages(here))["items"][0]
    replies = await asyncio.gather(*[here.http.post(f"{BOX}/messages/{message['id']}/opened") for _ in range(10)])
    assert {reply.status_code for reply in replies} == {200}
    assert [row.kind for row in await here.rows(t.evidence)] == ["arrived", "accessed"]


async def test_messages_come_newest_first_page_by_page(here):
    """Pages follow each other without gap or repetition; `unread` filters both ways; the count is of the whole inbox."""
    made = []
    for _ in range(5):
        made.append(await accepted(here, channels=["in_site"]))
        here.clock.move(1)
    await delivered_in_site(here)
    first = await messages(here, limit=2)
    second = await messages(here, limit=2, cursor=first["next_cursor"])
    third = await messages(here, limit=2, cursor=second["next_cursor"])
    assert [item["notice_id"] for page in (first, second, third) for item in page["items"]] == made[::-1]
    assert (third["next_cursor"], third["unread"]) == (None, 5)
    await here.http.post(f"{BOX}/messages/{first['items'][0]['id']}/opened")
    await here.http.post(f"{BOX}/messages/{first['items'][1]['id']}/acknowledged")
    assert [item["notice_id"] for item in (await messages(here, unread="true"))["items"]] == made[2::-1]
    assert [item["notice_id"] for item in (await messages(here, unread="false"))["items"]] == made[:2:-1]
    for query in ({"unread": "perhaps"}, {"limit": 0}, {"cursor": "x"}, {"x": 1}):
        assert (await here.http.get(f"{BOX}/messages", params=query)).status_code == 422


async def test_a_token_opens_one_inbox_for_an_hour(here):
    """A token works on its recipient's inbox alone, makes no further token, and ends after an hour."""
    await recipient(here, "u-2")
    reply = await here.http.post(f"{BOX}/token")
    assert (reply.status_code, reply.json()["expires_at"]) == (201, "2026-09-21T15:13:22.000000Z")
    bearer = {"Authorization": f"Bearer {reply.json()['token']}"}
    await accepted(here, channels=["in_site"])
    await delivered_in_site(here)
    found = await here.http.get(f"{BOX}/messages", headers=bearer)
    assert (found.status_code, found.json()["unread"]) == (200, 1)
    path = f"/messages/{found.json()['items'][0]['id']}/opened"
    for other in ("u-2", "nobody"):
        assert (await here.http.get(f"/v1/inbox/{other}/messages", headers=bearer)).status_code == 403
        assert (await here.http.post(f"/v1/inbox/{other}{path}", headers=bearer)).status_code == 403
        assert (await here.http.get(f"/v1/inbox/{other}/stream", headers=bearer)).status_code == 403
    assert (await here.http.post(f"{BOX}/token", headers=bearer)).status_code in {401, 403}
    assert (await here.http.get("/v1/notices", headers=bearer)).status_code in {401, 403}
    assert (await here.http.post(f"{BOX}{path}", headers=bearer)).status_code == 200
    forged = bearer["Authorization"][:-1] + ("A" if bearer["Authorization"][-1] != "A" else "B")
    assert (await here.http.get(f"{BOX}/messages", headers={"Authorization": forged})).status_code == 401
    here.clock.move(3600)
    assert (await here.http.get(f"{BOX}/messages", headers=bearer)).status_code == 401


async def test_what_is_not_in_the_inbox_is_not_found(here):
    """Unknown recipients, ids that are none, and messages of another recipient are 404."""
    await recipient(here, "u-2")
    await accepted(here, channels=["in_site"])
    await delivered_in_site(here)
    message = (await messages(here))["items"][0]["id"]
    assert (await here.http.head(f"{BOX}/stream")).status_code == 200
    for path in ("/v1/inbox/nobody/messages", "/v1/inbox/nobody/stream"):
        assert (await here.http.get(path)).status_code == 404
    for path in (f"/v1/inbox/u-2/messages/{message}/opened", f"{BOX}/messages/{uuid4()}/opened", f"{BOX}/messages/x/displayed",
                 f"{BOX}/messages/{message}/burnt", "/v1/inbox/nobody/token"):
        assert (await here.http.post(path)).status_code == 404
    assert [row.kind for row in await here.rows(t.evidence)] == ["arrived"]


async def test_the_stream_tells_of_every_change(here):
    """The stream begins with the unread count, tells of a new message with its id and of its opening, and ends with the process."""
    async with served(here) as http, http.stream("GET", f"{BOX}/stream") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        told = events(reply.aiter_lines())
        assert await anext(told) == {"unread": 0, "messages": []}
        await accepted(here, channels=["in_site"])
        await delivered_in_site(here)
        message = (await messages(here))["items"][0]["id"]
        assert await anext(told) == {"unread": 1, "messages": [message]}
        await here.http.post(f"{BOX}/messages/{message}/opened")
        assert await anext(told) == {"unread": 0, "messages": []}
        here.http._transport.app.state.stopping.set()  # type: ignore[attr-defined]
        with pytest.raises(StopAsyncIteration):
            await anext(told)


async def test_a_reader_who_leaves_a_stream_is_forgotten(here):
    """When the last reader left, nothing listens any more."""
    async with served(here) as http:
        async with http.stream("GET", f"{BOX}/stream") as reply:
            assert await anext(events(reply.aiter_lines())) == {"unread": 0, "messages": []}
            watch = here.http._transport.app.state.inbox_watch  # type: ignore[attr-defined]
            assert len(watch._listeners) == 1
        await until(lambda: asyncio.sleep(0, len(watch._listeners)), lambda count: count == 0)
    watch._task.cancel()
    await asyncio.gather(watch._task, return_exceptions=True)
