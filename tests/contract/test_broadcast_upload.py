"""The upload of a broadcast's audience over HTTP, on every engine: what spreadsheets write, what programs write, and what is hostile."""

import gzip
import io
import json
import tracemalloc
import zipfile

import pytest
from starlette.requests import ClientDisconnect

from noticesvc.operations import broadcast_audience, keys
from noticesvc.storage import tables as t
from tests.support.installation import installed
from tests.support.notices import CONTENT

CSV, NDJSON = {"Content-Type": "text/csv"}, {"Content-Type": "application/x-ndjson"}
GREETING = {"template": {"name": "greeting", "params": {"until": "12-15"}}, "channels": ["in_site"]}


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        lines = [json.dumps({"recipient_id": f"u-{n}", "contacts": [], "source": "crm"}) for n in range(1, 41)]
        assert (await made.http.post("/v1/recipients/import", content="\n".join(lines).encode())).json()["accepted"] == 40
        await made.http.put("/v1/templates/greeting", json={"subject": "更新", "body": "{{ name }}：{{ until }}"})
        yield made


async def draft(here, audience="upload", **notice):
    asked = {"category": "agreement", **(notice or {"content": CONTENT})}
    reply = await here.http.post("/v1/broadcasts", json={"name": "更新", "notice": asked, "audience": {"type": audience}})
    assert reply.status_code == 201, reply.text
    return reply.json()["id"]


async def sent(here, broadcast_id, data, headers=CSV):
    return await here.http.post(f"/v1/broadcasts/{broadcast_id}/recipients", content=data, headers=headers)


async def refused(here, broadcast_id, data, headers=CSV):
    reply = await sent(here, broadcast_id, data, headers)
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    return reply.status_code, reply.json()["detail"], [error["pointer"] for error in reply.json().get("errors", ())]


async def test_csv_and_ndjson_add_up_and_duplicates_count_once(here):
    """Several uploads add; who is there already, or stands twice, is a duplicate; unknown recipients are rejected by their line."""
    broadcast_id = await draft(here)
    first = await sent(here, broadcast_id, "recipient_id\r\nu-1\r\nu-2\r\n陌生人\r\nu-1\r\na/b\r\n".encode())
    assert first.json() == {"accepted": 2, "duplicates": 1, "rejected_total": 2, "rejected": [
        {"line": 4, "reason": broadcast_audience.UNKNOWN},
        {"line": 6, "reason": "recipient_id must be 1 to 128 characters without /, control characters, and not . or ..."}]}
    second = await sent(here, broadcast_id, b'{"recipient_id": "u-2"}\n{"recipient_id": "u-3"}\n[]\n', NDJSON)
    assert second.json() == {"accepted": 1, "duplicates": 1, "rejected_total": 1, "rejected": [
        {"line": 3, "reason": "The line is no JSON object."}]}
    assert (await here.http.get(f"/v1/broadcasts/{broadcast_id}")).json()["counts"]["total"] == 3


@pytest.mark.parametrize(("encoding", "separator", "headers"), [
    ("utf-8-sig", ",", CSV), ("utf-16", "\t", CSV), ("gb18030", ";", CSV), ("gbk", ",", {"Content-Type": "text/csv; charset=GBK"})])
async def test_what_a_spreadsheet_writes_is_taken(here, encoding, separator, headers):
    """With parameters in columns of any order; they are kept as they stood."""
    broadcast_id = await draft(here, **GREETING)
    text = f'name{separator}recipient_id\r\n张三{separator}u-1\r\n"李""四"{separator}u-2\r\n"王\r\n五"{separator}u-3\r\n'
    reply = await sent(here, broadcast_id, text.encode(encoding), headers)
    assert reply.json() == {"accepted": 2, "duplicates": 0, "rejected_total": 1, "rejected": [
        {"line": 4, "reason": "A parameter is not one line of valid Unicode without control characters."}]}
    kept = []
    for row in await here.rows(t.broadcast_recipient):
        recipient = next(one for one in await here.rows(t.recipient) if one.subject_id == row.subject_id)
        key = here.world.vault.unwrap(recipient.wrapped_key, f"recipient:{row.subject_id}")
        kept.append(broadcast_audience.params_of(row, key)["name"])
    assert sorted(kept) == ["张三", '李"四']


async def test_a_header_that_does_not_fit_refuses_the_whole(here):
    """Missing, unknown and doubled columns, no header at all: 422 with the place, and nothing is recorded."""
    broadcast_id = await draft(here, **GREETING)
    cases = [(b"", "is empty", []), (b"name\nx\n", "no column recipient_id", []), (b"recipient_id,name,name\nu-1,a,b\n", "twice", []),
             (b"recipient_id\nu-1\n", "does not fit the notice", ["/name"]),
             (b"recipient_id,name,phone\nu-1,a,1\n", "does not fit the notice", ["/phone"]),
             (b"recipient_id,until\nu-1,a\n", "does not fit the notice", ["/name", "/until"])]
    for data, says, pointers in cases:
        status, detail, found = await refused(here, broadcast_id, data)
        assert (status, says in detail, found) == (422, True, pointers), data
    assert await here.rows(t.broadcast_recipient) == []


async def test_hostile_uploads_get_clear_answers(here):
    """Binary, workbooks, compressed bodies, unknown types and charsets."""
    broadcast_id = await draft(here)
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w") as archive:
        archive.writestr("xl/workbook.xml", "x" * 100)
    plain = b"recipient_id\nu-1\n"
    cases = [(book.getvalue(), CSV, 422, "workbook"), (b"\x00\x01\x02" * 100, CSV, 422, "not text"),
             (gzip.compress(plain), CSV, 422, "archive"),
             (gzip.compress(b"x" * 50_000_000), CSV | {"Content-Encoding": "gzip"}, 415, "without Content-Encoding"),
             (plain, CSV | {"Content-Encoding": "br"}, 415, "without Content-Encoding"),
             (plain, {"Content-Type": "application/json"}, 415, "text/csv"), (plain, {}, 415, "text/csv"),
             (plain, {"Content-Type": "text/csv; charset=latin1"}, 415, "utf-8"),
             (b"{}", {"Content-Type": "application/x-ndjson; charset=gbk"}, 415, "UTF-8"),
             (b"x" * (1 << 20) + b"xx", CSV, 422, "longer than 1048576")]
    for data, headers, status, says in cases:
        found = await refused(here, broadcast_id, data, headers)
        assert (found[0], says in found[1]) == (status, True), (headers, found)
    assert await here.rows(t.broadcast_recipient) == []


async def test_long_lines_and_many_bad_ones_cost_no_memory(here):
    """A 10 MB line in the middle, and 30,000 bad ones: the first thousand are listed, all are counted, and the rest is taken."""
    broadcast_id = await draft(here)

    async def body():
        yield b"recipient_id\nu-1\n"
        for _ in range(160):
            yield b"x" * 65536
        yield b"\nu-2\n"
        for _ in range(300):
            yield b"a/b\n" * 100
        yield b"u-3"

    tracemalloc.start()
    reply = await sent(here, broadcast_id, body())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    found = reply.json()
    assert (found["accepted"], found["rejected_total"], len(found["rejected"])) == (3, 30_001, 1000)
    assert [one["line"] for one in found["rejected"]] == [3, *range(5, 1004)]
    assert peak < 16 << 20


async def test_many_duplicates_are_counted_once(here):
    """Twenty thousand rows of forty recipients, more than one transaction of them; sent again, all of them are duplicates."""
    broadcast_id = await draft(here)
    data = b"recipient_id\n" + b"".join(b"u-%d\n" % (n % 40 + 1) for n in range(20_000))
    first, again = (await sent(here, broadcast_id, data)).json(), (await sent(here, broadcast_id, data)).json()
    assert (first["accepted"], first["duplicates"], first["rejected_total"]) == (40, 19_960, 0)
    assert (again["accepted"], again["duplicates"], again["rejected_total"]) == (0, 20_000, 0)
    assert (await here.http.get(f"/v1/broadcasts/{broadcast_id}")).json()["counts"]["total"] == 40


async def test_an_upload_that_breaks_off_is_sent_again(here):
    """What was recorded before the break counts as duplicates; nobody is lost or twice there."""
    broadcast_id = await draft(here)
    rows = [b"u-%d\n" % n for n in range(1, 41)]

    async def body():
        yield b"recipient_id\n" + b"".join(rows[:20]) + b"nobody\n" * 20_000
        raise ClientDisconnect

    assert (await sent(here, broadcast_id, body())).status_code == 400
    assert len(await here.rows(t.broadcast_recipient)) == 20
    found = (await sent(here, broadcast_id, b"recipient_id\n" + b"".join(rows))).json()
    assert (found["accepted"], found["duplicates"]) == (20, 20)


async def test_who_may_upload_where(here):
    """An unknown broadcast, one for everybody, one that is no draft any more, a key for other categories or without the scope."""
    plain = b"recipient_id\nu-1\n"
    assert (await sent(here, here.database.sources.new_id(), plain)).status_code == 404
    found = await refused(here, await draft(here, "all"), plain)
    assert (found[0], "everybody" in found[1]) == (409, True)
    broadcast_id = await draft(here)
    for scopes, categories in ((["broadcasts:write"], ["platform"]), (["broadcasts:approve"], [])):
        secret = await here.database.write(keys.create, f"k-{scopes[0]}", scopes, categories)
        reply = await sent(here, broadcast_id, plain, CSV | {"Authorization": f"Bearer {secret}"})
        assert reply.status_code == 403
    await here.http.post(f"/v1/broadcasts/{broadcast_id}/cancel")
    assert (await refused(here, broadcast_id, plain))[0] == 409
