"""Recipients over HTTP and in the database, on every engine: sets, races, entries with their openings, import, account."""

import asyncio
import json
from itertools import pairwise

import pytest
from sqlalchemy import select, update

from noticesvc.domain import instant
from noticesvc.ledger.entry import commitment
from noticesvc.operations import contacts, subjects
from noticesvc.proof.entry_types import ENTRY_TYPES
from noticesvc.storage import tables as t
from tests.support.installation import START, Installation, installed

OLD, NEW = "+8613800138000", "+8613800138001"
POST = "北京市海淀区中关村大街 1 号"


@pytest.fixture
async def here(database_url):
    async with installed(database_url) as made:
        yield made


def sms(address=OLD, **more):
    return {"channel": "sms", "address": address, "confirmation": "confirmed", **more}


def mail(address="li@example.cn", **more):
    return {"channel": "email", "address": address, "confirmation": "confirmed", **more}


async def put(here: Installation, recipient_id, *sent, **more):
    return await here.http.put(f"/v1/recipients/{recipient_id}/contacts", json={"contacts": list(sent), "source": "crm", **more})


async def current(here: Installation, recipient_id, **query):
    reply = await here.http.get(f"/v1/recipients/{recipient_id}/contacts", params=query)
    assert reply.status_code == 200, reply.text
    return [one["address"] for one in reply.json()["contacts"]]


async def history(here: Installation, recipient_id, **query):
    items, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        reply = await here.http.get(f"/v1/recipients/{recipient_id}/contacts/history", params={**query, **more})
        assert reply.status_code == 200, reply.text
        items += reply.json()["items"]
        cursor = reply.json()["next_cursor"]
        if cursor is None:
            return items


def text(micros):
    return instant.text(instant.from_micros(micros))


async def test_every_change_is_an_entry_with_the_next_number_that_its_openings_open(here):
    """subject_seq counts 1, 2, 3 …; members are those of the type; each commitment opens to what was sent."""
    await put(here, "u-1", sms(), {"channel": "postal", "address": POST, "confirmation": "identified"})
    here.clock.move(1)
    await put(here, "u-1", sms(NEW))
    await here.http.put("/v1/recipients/u-1/account", json={"state": "locked"})
    await here.http.post("/v1/recipients/u-1/acceptances", json={
        "agreement": "user-agreement", "version": "2026-06", "accepted_at": "2026-06-01T08:00:00+08:00", "document_sha256": "AB" * 32,
        "presentation": "勾选框"})
    await here.http.put("/v1/recipients/u-1/preferences", json={"refuse_commercial": ["sms"]})
    entries = await here.entries()
    assert [e["type"] for e in entries] == [
        "recipient.recorded", "contact.recorded", "contact.recorded", "contact.ended", "contact.ended", "contact.recorded",
        "account.changed", "acceptance.recorded", "preferences.recorded"]
    assert [e["subject_seq"] for e in entries] == list(range(1, 10))
    subject_id, = {e["subject_id"] for e in entries}
    found = await here.database.read(subjects.entries, here.world, subject_id)
    assert [(e.subject_seq, e.type) for e in found] == [(e["subject_seq"], e["type"]) for e in entries]
    opened = []
    for entry, known in zip(entries, found, strict=True):
        kind = ENTRY_TYPES[entry["type"]]
        closed = {f"{name}_commit" for name in kind.committed}
        assert set(entry) == {"v", "type", "at", "subject_id", "subject_seq", *kind.open, *closed}
        assert {f"{name}_commit": commitment(name, o.salt, o.value) for name, o in known.openings.items()} == {
            name: entry[name] for name in closed}
        opened += [o.value.decode() for o in known.openings.values()]
    assert opened == ["u-1", OLD, "crm", POST, "crm", NEW, "crm", "user-agreement", "2026-06", "ab" * 32, "勾选框"]


async def test_no_table_and_no_entry_holds_personal_data_in_clear(here):
    """Neither the caller's id nor an address nor a source stands anywhere unsealed, as text, bytes or hex."""
    await put(here, "customer-4711", sms(), mail(), {"channel": "postal", "address": POST, "confirmation": "unknown"}, source="hotline")
    stored = repr([[tuple(row) for row in await here.rows(table)] for table in
                   (t.recipient, t.contact, t.subject_entry, t.ledger_pending)])
    stored += json.dumps(await here.entries(), ensure_ascii=False)
    for secret in ("customer-4711", OLD, "li@example.cn", POST, "hotline"):
        assert secret not in stored
        assert secret.encode().hex() not in stored


async def test_racing_writers_make_one_recipient_and_no_overlap(here):
    """Eight first sets at once: one recipient, numbers without gap, one contact in effect, each version ending where the next begins."""
    replies = await asyncio.gather(*(put(here, "racer", sms(f"+861380013{n}000")) for n in range(8)))
    assert [r.status_code for r in replies] == [200] * 8
    assert len(await here.rows(t.recipient)) == 1
    assert sorted(e["subject_seq"] for e in await here.entries()) == list(range(1, 1 + 1 + 8 + 7))
    versions = sorted(await history(here, "racer"), key=lambda v: v["effective_from"])
    assert len(versions) == 8
    assert all(a["effective_to"] == b["effective_from"] for a, b in pairwise(versions))
    assert await current(here, "racer") == [versions[-1]["address"]]


async def test_a_clock_set_back_does_not_bring_old_contacts_back(here):
    """A recipient's time never runs backwards: the newest set is in effect for readers and for dispatch at once."""
    await put(here, "u", sms(OLD))
    here.clock.move(-3600)
    found = (await put(here, "u", sms(NEW))).json()["contacts"]
    assert [c["address"] for c in found] == [NEW] == await current(here, "u")
    assert found[0]["effective_from"] == text(START + 1)
    subject_id = (await here.rows(t.recipient))[0].subject_id
    resolved = await here.database.write(contacts.resolve_at_dispatch, [(subject_id, "sms")], here.clock())
    assert resolved[subject_id, "sms"].usable["id"] == found[0]["contact_id"]


async def test_dispatch_resolves_many_at_once_by_preference_and_names_the_dead_one(here):
    """The first usable contact in effect in order of preference; an invalid one apart; nothing for what is not there."""
    await put(here, "a", sms(OLD), sms(NEW), mail())
    await put(here, "b", mail("b@example.cn"))
    here.clock.move(1)
    await put(here, "b", mail("c@example.cn"), effective_from=text(START + 60_000_000))
    ids = {v["address"]: v["contact_id"] for who in "ab" for v in await history(here, who)}
    await here.database.write(lambda tx: tx.execute(update(t.contact).where(t.contact.c.id == ids[OLD]).values(state="invalid")))
    owner = {row.id: row.subject_id for row in await here.rows(t.contact)}
    a, b = owner[ids[OLD]], owner[ids["b@example.cn"]]
    assert a != b
    wanted = [(a, "sms"), (a, "email"), (a, "postal"), (b, "email")]
    now = await here.database.write(contacts.resolve_at_dispatch, wanted, here.clock())
    assert {k: tuple(row and row["id"] for row in v) for k, v in now.items()} == {
        (a, "sms"): (ids[NEW], ids[OLD]), (a, "email"): (ids["li@example.cn"], None), (a, "postal"): (None, None),
        (b, "email"): (ids["b@example.cn"], None)}
    later = await here.database.write(contacts.resolve_at_dispatch, wanted, START + 60_000_000)
    assert later[b, "email"].usable["id"] == ids["c@example.cn"]
    wrapped = {row.subject_id: row.wrapped_key for row in await here.rows(t.recipient)}
    key = here.world.vault.unwrap(wrapped[a], f"recipient:{a}")
    assert contacts.version(now[a, "sms"].usable, key).address == NEW


async def test_a_refused_set_leaves_nothing_behind(here):
    """Stale and backdated sets change nothing, and make no recipient."""
    assert (await put(here, "u", sms(), source_version=7)).status_code == 200
    stale = await put(here, "u", sms(NEW), source_version=6)
    assert (stale.status_code, stale.json()["type"]) == (409, "urn:noticesvc:problem:stale-version")
    assert (await put(here, "u", sms(NEW), source="other", source_version=1)).status_code == 200, "each source has its own counter"
    backdated = await put(here, "nobody", sms(), effective_from=text(START - 1))
    assert (backdated.status_code, backdated.json()["type"]) == (422, "urn:noticesvc:problem:backdated-contact")
    assert (await here.http.get("/v1/recipients/nobody")).status_code == 404
    assert len(await here.rows(t.recipient)) == 1


async def test_a_withdrawn_future_contact_is_told_in_entries(here):
    """contact.ended at its own beginning withdraws it; contact.ended with null takes the other's end back."""
    kept, = (await put(here, "u", sms(OLD))).json()["contacts"]
    here.clock.move(1)
    _, pending = (await put(here, "u", sms(NEW), effective_from=text(START + 10**9))).json()["contacts"]
    here.clock.move(1)
    assert (await put(here, "u", sms(OLD))).json()["contacts"] == [kept]
    ended = [(e["contact_id"], e["effective_to"]) for e in await here.entries() if e["type"] == "contact.ended"]
    assert ended[0] == (kept["contact_id"], text(START + 10**9))
    assert set(ended[1:]) == {(kept["contact_id"], None), (pending["contact_id"], text(START + 10**9))}
    assert await current(here, "u", at=text(START + 2 * 10**9)) == [OLD]


async def test_history_is_paged_and_takes_only_its_own_cursors(here):
    """Pages of two give every version once; another cursor or limit is 422 at its name."""
    for number in range(5):
        here.clock.move(1)
        await put(here, "u", sms(f"+861380013{number}000"))
    found = await history(here, "u", limit=2)
    assert [v["address"] for v in found] == [f"+861380013{number}000" for number in range(5)]
    for query in ({"cursor": "x"}, {"cursor": "AAAAAAAAAAAAAAAAAAAAA!"}, {"cursor": "A" * 21 + "B"}, {"limit": "0"}, {"limit": "201"}):
        reply = await here.http.get("/v1/recipients/u/contacts/history", params=query)
        assert (reply.status_code, [e["pointer"] for e in reply.json()["errors"]]) == (422, [f"/{next(iter(query))}"])


async def test_an_anonymised_recipient_is_unknown_and_may_come_again(here):
    """Without its index a recipient is not found; the same id then is another recipient."""
    await put(here, "u", sms())
    await here.database.write(lambda tx: tx.execute(update(t.recipient).values(recipient_index=None, wrapped_key=None)))
    assert (await here.http.get("/v1/recipients/u/contacts")).status_code == 404
    old, = await here.rows(t.recipient)
    place = (old.subject_id, "sms")
    assert await here.database.write(contacts.resolve_at_dispatch, [place], here.clock()) == {place: (None, None)}
    assert [e.openings for e in await here.database.read(subjects.entries, here.world, old.subject_id)] == [{}, {}]
    assert (await put(here, "u", sms(NEW))).status_code == 200
    assert len(await here.rows(t.recipient)) == 2


@pytest.mark.parametrize(("method", "path", "body"), [
    ("PUT", "account", {"state": "void"}), ("PUT", "preferences", {"refuse_commercial": []}),
    ("POST", "acceptances", {"agreement": "a", "version": "1", "accepted_at": "2026-06-01T08:00:00Z", "document_sha256": "ab" * 32,
                             "presentation": "x"})])
async def test_changes_of_an_unknown_recipient_are_404(here, method, path, body):
    """Only contacts make a recipient."""
    reply = await here.http.request(method, f"/v1/recipients/nobody/{path}", json=body)
    assert reply.status_code == 404
    assert await here.rows(t.recipient) == []


async def test_ids_that_are_no_utf8_are_refused(here):
    """A path that decodes only leniently could stand for many recipients."""
    reply = await here.http.put("/v1/recipients/u%FF/contacts", json={"contacts": [], "source": "x"})
    assert reply.status_code == 422
    assert (await put(here, "%EF%BF%BD", sms())).json()["recipient_id"] == "\ufffd"


async def test_the_latest_acceptance_counts_and_the_same_told_twice_is_one(here):
    """An older acceptance told later is kept but does not count; a repeated POST answers with the first."""
    await put(here, "u")
    told = {"agreement": "user-agreement", "version": "2", "accepted_at": "2026-06-01T08:00:00Z", "document_sha256": "ab" * 32,
            "presentation": "勾选框"}
    path = "/v1/recipients/u/acceptances"
    first, again = [(await here.http.post(path, json=told)).json() for _ in range(2)]
    assert first == again
    older = (await here.http.post(path, json=told | {"version": "1", "accepted_at": "2025-06-01T08:00:00Z"})).json()
    assert older["id"] != first["id"]
    assert (await here.http.get("/v1/recipients/u")).json()["acceptance"] == first
    newer = (await here.http.post(path, json=told | {"version": "3", "accepted_at": "2026-07-01T08:00:00Z"})).json()
    seen = (await here.http.get("/v1/recipients/u")).json()
    assert seen["acceptance"] == newer
    assert len(await here.rows(t.acceptance)) == 3


async def test_account_and_preferences_are_recorded_once(here):
    """The same state again is no new entry; void says since when, and active takes it back."""
    await put(here, "u", locale="zh-CN")
    here.clock.move(5)
    for state in ("void", "void"):
        assert (await here.http.put("/v1/recipients/u/account", json={"state": state})).json() == {"recipient_id": "u", "state": state}
    for refused in (["email", "sms", "sms"], ["sms", "email"]):
        reply = await here.http.put("/v1/recipients/u/preferences", json={"refuse_commercial": refused})
        assert reply.json() == {"recipient_id": "u", "refuse_commercial": ["sms", "email"]}
    assert [e["type"] for e in await here.entries()] == ["recipient.recorded", "account.changed", "preferences.recorded"]
    assert (await here.http.get("/v1/recipients/u")).json() == {
        "recipient_id": "u", "account_state": "void", "void_since": text(START + 5_000_000), "locale": "zh-CN",
        "refuse_commercial": ["sms", "email"], "acceptance": None, "created_at": text(START)}
    await here.http.put("/v1/recipients/u/account", json={"state": "active"})
    assert (await here.http.get("/v1/recipients/u")).json()["void_since"] is None


async def test_an_entry_from_elsewhere_takes_the_next_number(here):
    """append_subject_entry counts on the same row and keeps its openings where `entries` finds them."""
    await put(here, "u", sms())
    recipient, = await here.rows(t.recipient)
    contact, = await here.rows(t.contact)
    await here.database.write(subjects.append_subject_entry, here.world, recipient.subject_id, "contact.state_changed",
                              {"contact_id": contact.id, "state": "invalid", "evidence_id": None}, {"reason": "court"},
                              about_id=contact.id)
    await here.http.put("/v1/recipients/u/account", json={"state": "closed"})
    assert [e["subject_seq"] for e in await here.entries()] == [1, 2, 3, 4]
    found = await here.database.read(subjects.entries, here.world, recipient.subject_id)
    assert found[2].openings["reason"].value == b"court"
    assert (found[2].about_id, found[2].type) == (contact.id, "contact.state_changed")


async def imported(here, data):
    reply = await here.http.post("/v1/recipients/import", content=data, headers={"Content-Type": "application/x-ndjson"})
    assert reply.status_code == 200, reply.text
    return reply.json()


def line(recipient_id, *sent, **more):
    return json.dumps({"recipient_id": recipient_id, "contacts": list(sent), "source": "crm", **more}).encode() + b"\n"


async def test_an_import_names_each_line_that_it_cannot_take(here):
    """Numbers are those of physical lines; what is wrong stands at a pointer, never with its value."""
    found = await imported(here, b"".join([
        line("a", sms()), b"\n", b"{broken\n", b'{"recipient_id": "\xff"}\n', b'"' + b"x" * (1 << 20) + b'"\n', line("b", sms("12345")),
        line("c", sms(), effective_from=text(START - 1)), line("d/e", sms()), line("a", sms(), source_version=3),
        line("a", sms(NEW), source_version=2), line("a", sms(NEW)), line("z", sms(NEW)).rstrip(b"\n")]))
    assert (found["accepted"], found["unchanged"], found["rejected_total"]) == (3, 1, 7)
    assert [r["line"] for r in found["rejected"]] == [3, 4, 5, 6, 7, 8, 10]
    reasons = {r["line"]: r["reason"] for r in found["rejected"]}
    assert reasons[6].startswith("/contacts/0/address")
    assert "12345" not in str(reasons)
    assert reasons[7].startswith("/effective_from")
    assert reasons[10].startswith("/source_version")
    assert await current(here, "a") == [NEW]
    assert sorted(row.subject_seq for row in await here.rows(t.recipient)) == [2, 4], "only a and z were made"


async def test_an_import_repeated_finds_everything_unchanged(here):
    """More lines than fit into one transaction's entries; the second time nothing is recorded."""
    data = b"".join(line(f"u-{n}", mail(f"u{n}@example.cn"), sms()) for n in range(300))
    first = await imported(here, data)
    assert (first["accepted"], first["unchanged"], first["rejected"]) == (300, 0, [])
    recorded = len(await here.entries())
    assert recorded == 900
    here.clock.move(60)
    again = await imported(here, data)
    assert (again["accepted"], again["unchanged"]) == (0, 300)
    assert len(await here.entries()) == recorded
    assert await current(here, "u-299") == ["u299@example.cn", OLD]


async def test_lines_that_do_not_fit_into_a_transaction_keep_their_turn(here):
    """Sets so large that most lines of a portion wait for the next transaction: whoever stands later in the list has the last word."""
    several = [mail(f"m{n}@example.cn") for n in range(7)]
    data = b"".join(line(f"u-{n}", *several) for n in range(140)) + line("x", *several, sms()) + line("x", sms(NEW))
    data += b"".join(line(f"u-{n}", mail("late@example.cn")) for n in range(130, 140))
    found = await imported(here, data)
    assert (found["accepted"], found["unchanged"], found["rejected"]) == (152, 0, [])
    assert await current(here, "x") == [NEW]
    assert await current(here, "u-139") == ["late@example.cn"]
    assert await current(here, "u-0") == [f"m{n}@example.cn" for n in range(7)]
    assert len(await here.rows(t.recipient)) == 141


async def test_only_the_first_thousand_rejected_lines_are_named(here):
    """All are counted, so that nobody takes the list for the whole."""
    found = await imported(here, b"x\n" * 1200)
    assert (len(found["rejected"]), found["rejected_total"], found["rejected"][-1]["line"]) == (1000, 1200, 1000)


async def test_imports_that_race_for_the_same_new_recipients_lose_none(here):
    """Two imports of the same lines at once: each recipient exists once, and each line is accepted by one or unchanged."""
    data = b"".join(line(f"u-{n}", sms()) for n in range(60))
    one, other = await asyncio.gather(imported(here, data), imported(here, data))
    assert one["accepted"] + other["accepted"] == 60
    assert one["unchanged"] + other["unchanged"] == 60
    assert len(await here.rows(t.recipient)) == 60
    assert {row.subject_seq for row in await here.rows(t.recipient)} == {2}


async def test_going_active_makes_parked_in_site_deliveries_due(here):
    """Only in-site deliveries that wait without a time are touched, and only this recipient's."""
    await put(here, "u")
    await put(here, "v")
    await here.http.put("/v1/recipients/u/account", json={"state": "locked"})
    await here.database.write(_parked)
    here.clock.move(10)
    await here.http.put("/v1/recipients/u/account", json={"state": "active"})
    due = {(row.subject_id, row.channel): row.due_at for row in await here.rows(t.delivery)}
    mine, other = await here.database.read(_subjects, here.world)
    assert due == {(mine, "in_site"): START + 10_000_000, (mine, "sms"): None, (other, "in_site"): None}


def _subjects(tx, world):
    by_index = {row.recipient_index: row.subject_id for row in tx.execute(select(t.recipient))}
    return by_index[world.vault.index("recipient", "u")], by_index[world.vault.index("recipient", "v")]


def _parked(tx):
    by_created = tx.execute(select(t.recipient.c.subject_id, t.recipient.c.account_state)).all()
    for row in by_created:
        notice_id = tx.new_id()
        tx.insert(t.notice, [{
            "id": notice_id, "subject_id": row.subject_id, "content_id": tx.new_id(), "key_id": tx.new_id(), "category": "agreement",
            "strategy": "parallel", "rule": "agreement-6.2", "state": "queued", "accepted_at": tx.now, "seq": 1}])
        for position, channel in enumerate(["in_site", "sms"] if row.account_state == "locked" else ["in_site"]):
            tx.insert(t.delivery, [{
                "notice_id": notice_id, "channel": channel, "id": tx.new_id(), "subject_id": row.subject_id, "position": position,
                "priority": 0, "carries": "full", "state": "pending", "due_at": None}])


async def test_an_acceptance_that_is_still_to_come_is_refused(here):
    """Nobody can have accepted tomorrow; a clock that is some minutes ahead is borne with."""
    await here.http.put("/v1/recipients/u-1/contacts", json={"contacts": [], "source": "crm"})
    told = {"agreement": "user-agreement", "version": "2", "document_sha256": "cd" * 32, "presentation": "checkbox"}
    ahead = instant.text(instant.from_micros(here.clock.micros + 240_000_000))
    late = instant.text(instant.from_micros(here.clock.micros + 86_400_000_000))
    reply = await here.http.post("/v1/recipients/u-1/acceptances", json=told | {"accepted_at": late})
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "/accepted_at")
    assert (await here.http.get("/v1/recipients/u-1")).json()["acceptance"] is None
    assert (await here.http.post("/v1/recipients/u-1/acceptances", json=told | {"accepted_at": ahead})).status_code == 201
