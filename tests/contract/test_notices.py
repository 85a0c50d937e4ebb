"""Notices over HTTP, on every engine: accepted once and durably, refused at pointers, read, listed, counted, cancelled."""

import asyncio
import contextlib
import json
import re
import sqlite3
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from noticesvc.domain.content import content_sha256
from noticesvc.domain.identity import UUID7
from noticesvc.operations import keys
from noticesvc.storage import tables as t
from tests.support.installation import installed
from tests.support.notices import CONTENT, accepted, notice, read, recipient
from tests.support.waiting import until

PATH = "/v1/notices"


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        await recipient(made)
        yield made


def without(name):
    return notice(content={k: v for k, v in CONTENT.items() if k != name})


def content(**more):
    return notice(content=CONTENT | more)


async def refused(here, body, pointer, status=422):
    """Post a body that cannot be accepted; the problem, which must name the pointer and keep nothing."""
    reply = await here.http.post(PATH, content=body if isinstance(body, bytes) else json.dumps(body).encode())
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:noticesvc:problem:")
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]], (pointer, problem)
    return problem


async def test_a_notice_is_accepted_with_its_defaults(here):
    """202 with Location; GET shows the contract's defaults for an agreement notice, and the hash of the canonical content."""
    reply = await here.http.post(PATH, json=notice(reference="agr-2026-12"))
    assert reply.status_code == 202
    body = reply.json()
    assert UUID7.fullmatch(body["id"])
    assert reply.headers["location"] == f"{PATH}/{body['id']}"
    assert (body["state"], body["accepted_at"], body["warnings"]) == ("queued", "2026-09-21T14:13:21.000000Z", [])
    shown = await read(here, body["id"])
    assert shown["content_sha256"] == content_sha256(CONTENT["subject"], CONTENT["body"], [])
    assert [shown[name] for name in ("recipient_id", "reference", "category", "state")] == ["u-1001", "agr-2026-12", "agreement", "queued"]
    assert [(d["channel"], d["state"], d["carries"], d["contact"], d["attempts"]) for d in shown["deliveries"]] == [
        ("in_site", "pending", "full", None, []), ("sms", "pending", "link", None, []), ("email", "pending", "full", None, [])]
    assert shown["service"]["rule"] == "agreement-6.2"
    assert (shown["service"]["served"], shown["service"]["revision"], shown["evidence"], shown["deadlines"]) == (False, 0, [], [])
    assert [one["rule"] for one in shown["service"]["alternatives"]] == [
        "agreement-6.2-sent", "agreement-6.3", "agreement-6.3-sent", "court-31", "court-95"]


@pytest.mark.parametrize(("category", "channels", "rule"), [
    ("judicial", ["in_site", "sms", "email", "postal"], "agreement-6.3"), ("commercial", ["in_site", "email"], "agreement-6.2"),
    ("termination", ["in_site", "sms", "email"], "agreement-6.2")])
async def test_defaults_follow_the_category(here, category, channels, rule):
    """Channels and rule of a notice that names none are those of its category."""
    shown = await read(here, await accepted(here, category=category, content=CONTENT | {"sms": "文书：{link}"}))
    assert [d["channel"] for d in shown["deliveries"]] == channels
    assert shown["service"]["rule"] == rule


async def test_sms_by_default_without_a_text_is_left_out_with_a_warning(here):
    """Without content.sms a default SMS is dropped and a warning says so; the same warning comes with the replay."""
    body = notice(content={"subject": "s", "body": "b"})
    first, again = [await here.http.post(PATH, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert len(first.json()["warnings"]) == 1
    assert again.json() == first.json()
    shown = await read(here, first.json()["id"])
    assert [d["channel"] for d in shown["deliveries"]] == ["in_site", "email"]


async def test_the_same_key_and_body_is_the_same_notice(here):
    """A repeated key replays the first reply, however the JSON is spelled; another body is refused; another key is another notice."""
    body = notice(metadata={"a": 1, "b": [True, None], "c": 0.5})
    first = await here.http.post(PATH, json=body, headers={"Idempotency-Key": "k-1"})
    spelled = json.dumps(dict(reversed(body.items())), indent=3).encode()
    here.clock.move(60)
    again = await here.http.post(PATH, content=spelled, headers={"Idempotency-Key": "k-1"})
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (202, first.json(), "true")
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    other = await here.http.post(PATH, json=body | {"reference": "x"}, headers={"Idempotency-Key": "k-1"})
    assert (other.status_code, other.json()["type"]) == (422, "urn:noticesvc:problem:idempotency-key-reused")
    assert (await here.http.post(PATH, json=body, headers={"Idempotency-Key": "k-2"})).json()["id"] != first.json()["id"]
    assert len(await here.rows(t.notice)) == 2


async def test_a_refused_request_does_not_use_up_its_key(here):
    """After a 422 the same key accepts a corrected body."""
    headers = {"Idempotency-Key": "k"}
    assert (await here.http.post(PATH, json=notice(recipient_id="nobody"), headers=headers)).status_code == 422
    assert (await here.http.post(PATH, json=notice(), headers=headers)).status_code == 202


async def test_one_key_raced_by_many_makes_one_notice(here):
    """Forty concurrent posts with one key make one notice: all get its id, and one of them is the first."""
    replies = await asyncio.gather(*[here.http.post(PATH, json=notice(), headers={"Idempotency-Key": "k"}) for _ in range(40)])
    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert sum("idempotent-replayed" not in reply.headers for reply in replies) == 1
    assert len(await here.rows(t.notice)) == 1


async def test_keys_of_two_callers_are_strangers(here):
    """An idempotency key belongs to the API key that used it."""
    secret = await here.database.write(keys.create, "second", ["notices:write"])
    mine = await here.http.post(PATH, json=notice(), headers={"Idempotency-Key": "k"})
    theirs = await here.http.post(PATH, json=notice(), headers={"Idempotency-Key": "k", "Authorization": f"Bearer {secret}"})
    assert theirs.status_code == 202
    assert theirs.json()["id"] != mine.json()["id"]


async def test_an_unusable_idempotency_key_is_refused(here):
    """1 to 255 characters without control characters; anything else is a 422 and accepts nothing."""
    for key in ("", "k" * 256, "ü" * 256, "a\tb"):
        assert (await here.http.post(PATH, json=notice(), headers={"Idempotency-Key": key.encode()})).status_code == 422, key
    assert await here.rows(t.notice) == []
    assert (await here.http.post(PATH, json=notice(), headers={"Idempotency-Key": "k" * 255})).status_code == 202


REFUSED = [  # body and the member that is wrong with it
    (notice(content=...), "/content"), (notice(template={"name": "t"}), "/template"),
    (content(subject="a\r\nBcc: x@example.com"), "/content/subject"), (content(subject="x" * 251), "/content/subject"),
    (content(subject=" "), "/content/subject"), (content(body="a\x00b"), "/content/body"), (content(body="送" * 87_382), "/content/body"),
    (content(sms="x" * 1001), "/content/sms"), (without("sms_carries"), "/content/sms_carries"), (without("sms"), "/content/sms_carries"),
    (content(sms="no link"), "/content/sms"), (content(sms="{link} {link}"), "/content/sms"),
    (content(sms_carries="full"), "/content/sms"), (content(sms_carries="some"), "/content/sms_carries"),
    (notice(channels=["sms"], content={"subject": "s", "body": "b"}), "/content/sms"), (notice(channels=[]), "/channels"),
    (notice(channels=["fax"]), "/channels/0"), (notice(channels=["email", "email"]), "/channels"),
    (notice(channels=["announcement"], category="termination"), "/channels"), (notice(category="other"), "/category"),
    (notice(recipient_id="a/b"), "/recipient_id"), (notice(recipient_id=".."), "/recipient_id"), (notice(recipient_id=7), "/recipient_id"),
    (notice(recipient_id="nobody"), "/recipient_id"), (notice(reference="x" * 129), "/reference"),
    (notice(service_rule="court-31"), "/service_rule"), (notice(service_rule="none"), "/service_rule"),
    (notice(strategy="both"), "/strategy"), (notice(ladder_after="PT1H"), "/ladder_after"),
    (notice(strategy="ladder", ladder_after="soon"), "/ladder_after"), (notice(strategy="ladder", ladder_after="PT0S"), "/ladder_after"),
    (notice(not_before="2026-12-01T00:00:00"), "/not_before"), (notice(expires_at="tomorrow"), "/expires_at"),
    (notice(effective_at=1_790_000_000), "/effective_at"),
    (notice(not_before="2026-12-01T00:00:00Z", expires_at="2026-12-01T08:00:00+08:00"), "/expires_at"),
    (notice(response_window={"working_days": 0}), "/response_window/working_days"), (notice(response_window={}), "/response_window"),
    (notice(response_window={"days": 1, "working_days": 1}), "/response_window"), (notice(response_window=3), "/response_window"),
    (notice(case={"court": "c", "case_number": "1", "stage": "third", "document_type": "d"}, category="judicial"), "/case/stage"),
    (notice(case={"court": "c", "case_number": "1", "stage": "other", "document_type": "d"}), "/case"),
    (notice(documents=["x"]), "/documents/0"), (notice(documents=[str(uuid4())] * 21), "/documents"),
    (notice(metadata=[]), "/metadata"), (notice(metadata={"a": "x" * 16_384}), "/metadata"), (notice(metadata={"a": 1e300}), "/metadata"),
    (notice(metadata={"a": 2**53}), "/metadata"), (notice(colour="red"), "/colour"), (content(colour="red"), "/content/colour"), ([], ""),
    (notice(template={"name": "none"}, content=...), "/template/name"),
]


async def test_what_cannot_be_accepted_is_named_by_its_pointer(here):
    """Each fault is a 422 at the member that is wrong, keeps nothing, and never repeats the value."""
    for body, pointer in REFUSED:
        problem = await refused(here, body, pointer)
        assert not re.search("Bcc|nobody|tomorrow|court-31|a/b|xxxxx|送送", json.dumps(problem, ensure_ascii=False)), pointer
    assert await here.rows(t.notice) == []


HOSTILE = [
    (b"", {400}), (b"{", {400}), (b"\xff\xfe", {400}), (b'{"recipient_id": "\xff"}', {400}), (b"[" * 100_000, {400}), (b"null", {422}),
    (b"7", {422}), (b'{"recipient_id": "\\ud800"}', {422}), (b'{"recipient_id": NaN}', {400, 422}),
    (b'{"metadata": ' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}", {422}), (b'{"metadata": {"a": ' + b"9" * 5000 + b"}}", {400, 422}),
    (b'{"' + b"x" * 100_000 + b'": 1}', {422}), (b"x" * ((1 << 20) + 1), {413}),
]


async def test_hostile_bodies_get_a_clear_problem(here):
    """Broken JSON, endless nesting, lone surrogates and bodies over 1 MiB are refused with a short problem, never a 500."""
    for body, statuses in HOSTILE:
        reply = await here.http.post(PATH, content=body)
        assert reply.status_code in statuses, (body[:40], reply.text)
        assert reply.headers["content-type"] == "application/problem+json"
        assert len(reply.content) < 10_000


async def test_a_key_limited_to_categories_cannot_send_others(here):
    """403 for another category, singly and in a batch, for cancelling and for reading one; its own is accepted."""
    secret = await here.database.write(keys.create, "commercial", ["notices:write", "notices:read"], ["commercial"])
    limited = {"Authorization": f"Bearer {secret}"}
    assert (await here.http.post(PATH, json=notice(), headers=limited)).status_code == 403
    assert (await here.http.post(PATH, json=notice(category="commercial"), headers=limited)).status_code == 202
    batch = await here.http.post(f"{PATH}/batch", json={"notices": [notice(), notice(category="commercial")]}, headers=limited)
    assert [result["status"] for result in batch.json()["results"]] == [403, 202]
    mandatory = await accepted(here)
    assert (await here.http.post(f"{PATH}/{mandatory}/cancel", headers=limited)).status_code == 403
    assert (await here.http.get(f"{PATH}/{mandatory}", headers=limited)).status_code == 403
    assert (await here.http.post("/v1/announcements", json={"subject": "s", "body": "b"}, headers=limited)).status_code == 403


async def test_a_batch_answers_each_notice_by_itself(here):
    """Results stand in order; items that do not fit the model, are no objects or hold half a character spoil no other."""
    before = await here.http.post(PATH, json=notice(), headers={"Idempotency-Key": "before"})
    items = [json.dumps(item).encode() for item in (
        notice(), {"recipient_id": 7}, notice() | {"idempotency_key": "before"}, 5, notice(recipient_id="nobody"),
        notice() | {"idempotency_key": "new"}, notice() | {"idempotency_key": "new"}, notice(reference="x") | {"idempotency_key": "new"})]
    items += [b'{"recipient_id": "\\ud800"}', b"[" * 300 + b"]" * 300]
    reply = await here.http.post(f"{PATH}/batch", content=b'{"notices": [' + b",".join(items) + b"]}")
    assert reply.status_code == 200, reply.text
    results = reply.json()["results"]
    assert [result["status"] for result in results] == [202, 422, 202, 422, 422, 202, 202, 422, 422, 422]
    assert (results[2]["id"], results[2]["replayed"]) == (before.json()["id"], True)
    assert (results[6]["id"], results[6]["replayed"], "replayed" in results[5]) == (results[5]["id"], True, False)
    assert results[4]["problem"]["type"] == "urn:noticesvc:problem:unknown-recipient"
    assert results[7]["problem"]["type"] == "urn:noticesvc:problem:idempotency-key-reused"
    assert {error["pointer"] for error in results[1]["problem"]["errors"]} == {"/recipient_id", "/category"}
    assert len(await here.rows(t.notice)) == 3


async def test_a_batch_of_a_thousand_is_taken_and_one_more_is_not(here):
    """The limit is 1,000 notices; they are all there afterwards, each with its own entry."""
    one = notice(channels=["in_site"])
    reply = await here.http.post(f"{PATH}/batch", json={"notices": [one] * 1000})
    assert {result["status"] for result in reply.json()["results"]} == {202}
    assert len({result["id"] for result in reply.json()["results"]}) == 1000
    assert (await here.http.get(f"{PATH}/counts")).json()["counts"]["queued"] == 1000
    assert sum(entry["type"] == "notice.accepted" for entry in await here.entries()) == 1000
    assert (await here.http.post(f"{PATH}/batch", json={"notices": [one] * 1001})).status_code == 422


async def test_a_batch_without_a_frame_is_refused(here):
    """What is no list of notices is a 422, what is no JSON a 400."""
    for body, status in ((b'{"notices": []}', 422), (b'{"notices": {}}', 422), (b"{}", 422), (b"[]", 422),
                         (b'{"notices": [], "x": 1}', 422), (b'{"notices": [', 400), (b'{"notices": ["\xff"]}', 400),
                         (b"[" * 100_000, 400), (b'{"notices": [NaN]}', 400)):
        reply = await here.http.post(f"{PATH}/batch", content=body)
        assert reply.status_code == status, (body[:40], reply.text)


async def test_a_dry_run_shows_everything_and_keeps_nothing(here):
    """Contacts masked, texts with a link as long as a real one, deadlines, warnings; no row and no entry more."""
    entries = len(await here.entries())
    body = notice(channels=["in_site", "sms", "email", "postal"], effective_at="2026-12-15T00:00:00+08:00", response_window={"days": 15})
    reply = await here.http.post(PATH, params={"dry_run": "true"}, json=body, headers={"Idempotency-Key": "k"})
    assert reply.status_code == 200, reply.text
    shown = reply.json()
    assert [(one["channel"], one["address_masked"], one["state"]) for one in shown["contacts"]] == [
        ("in_site", None, "usable"), ("sms", "+86138****8000", "usable"), ("email", "l*@example.cn", "usable")]
    assert re.fullmatch(r"【平台】用户协议更新：http://test/d/.{24}", shown["texts"]["sms"])
    assert "<strong>12 月 15 日</strong>" in shown["texts"]["in_site"]
    # Posted 2026-09-21 in Shanghai: the fifteenth day after it is 10-06, whose end is 16:00 UTC.
    assert shown["deadlines"] == [
        {"kind": "effective", "ends_at": "2026-12-14T16:00:00.000000Z", "provisional": False},
        {"kind": "response", "ends_at": "2026-10-06T16:00:00.000000Z", "provisional": True}]
    assert len(shown["warnings"]) == 1
    assert "postal" in shown["warnings"][0]
    assert (await here.rows(t.notice), len(await here.entries())) == ([], entries)
    assert (await here.http.post(PATH, params={"dry_run": "true"}, json=notice(recipient_id="nobody"))).status_code == 422
    assert (await here.http.post(PATH, params={"dry_run": "perhaps"}, json=notice())).status_code == 422


async def test_what_is_no_id_of_ours_is_not_found(here):
    """A path without one of our ids is 404, whatever it holds."""
    names = ["nothing", "0", str(uuid4()), "01A202F3-AD19-78D0-8001-E5ED03CD2108", "%00", "%ff", "..%2f..", "'; drop table", "送达", "%0a"]
    for name in names:
        for method, tail in (("GET", ""), ("POST", "/cancel")):
            reply = await here.http.request(method, f"{PATH}/{name}{tail}")
            assert (reply.status_code, reply.headers["content-type"]) == (404, "application/problem+json"), name


async def test_a_void_account_takes_no_notice(here):
    """After the agreement was found void a notice is 422 `agreement-void`."""
    assert (await here.http.put("/v1/recipients/u-1001/account", json={"state": "void"})).status_code == 200
    problem = await refused(here, notice(), None)
    assert problem["type"] == "urn:noticesvc:problem:agreement-void"


@asynccontextmanager
async def stuck(url):
    """The database takes no write for as long as this lasts: somebody else holds it."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///"), isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            yield
            file.execute("ROLLBACK")
    else:
        other = await asyncpg.connect(url.replace("+asyncpg", ""))
        async with other.transaction():
            await other.execute("LOCK TABLE notice IN EXCLUSIVE MODE")
            yield
        await other.close()


async def test_a_database_that_cannot_be_written_gives_503(here, database_url):
    """While nothing can be written every caller of the group gets 503 with Retry-After, reads go on, and later the
    same key is accepted once.
    """
    notice_id = await accepted(here)
    async with stuck(database_url):
        replies = await asyncio.gather(*[here.http.post(PATH, json=notice(), headers={"Idempotency-Key": "k"}) for _ in range(3)],
                                       here.http.post(f"{PATH}/batch", json={"notices": [notice()]}), here.http.get(f"{PATH}/{notice_id}"))
    assert [reply.status_code for reply in replies] == [503, 503, 503, 503, 200]
    assert all(reply.headers["retry-after"].isdigit() for reply in replies[:4])
    await until(lambda: here.http.post(PATH, json=notice(), headers={"Idempotency-Key": "k"}), lambda reply: reply.status_code == 202)
    assert len(await here.rows(t.idempotency)) == 1


async def test_a_caller_that_gives_up_disturbs_nobody(here):
    """Of callers that share a commit, one that is cancelled leaves the others' notices accepted."""
    posts = [asyncio.create_task(here.http.post(PATH, json=notice())) for _ in range(20)]
    await asyncio.sleep(0)
    posts[3].cancel()
    done = await asyncio.gather(*posts, return_exceptions=True)
    assert [reply.status_code for place, reply in enumerate(done) if place != 3] == [202] * 19
    assert isinstance(done[3], asyncio.CancelledError)
    assert len(await here.rows(t.notice)) in {19, 20}
