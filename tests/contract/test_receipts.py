"""Receipts over every database: kept before they are read, early ones, late ones, several in a body, hostile ones, and none at all."""

import pytest

from noticesvc.dispatch.housekeeping import Housekeeping
from noticesvc.operations import horizons, receipts
from noticesvc.operations.plausible import plausible
from noticesvc.provider import Receipt
from noticesvc.storage import tables as t
from tests.support import proofs
from tests.support.proofs import holds, sound

DAY = 86_400


@pytest.fixture
async def desk(database_url):
    """A desk on each database in turn."""
    async with proofs.desk(database_url) as made:
        yield made


async def text(desk, **more):
    """A notice by SMS, dispatched and not answered yet; its id."""
    await desk.recipient()
    notice_id = await desk.notice(channels=("sms",), sms="短信", sms_carries="full", **more)
    await desk.dispatch()
    desk.house.clock.move(1)
    return notice_id


async def came(desk, *told, raw=b"body", provider="sms"):
    """A body that holds these receipts is stored, and read at once; its id."""
    desk.house.clock.move(1)  # evidence is listed in the order in which it was observed
    receipt_id = await desk.write(receipts.store, provider, "callback", {"media_type": "text/plain"}, raw)
    await read(desk, {receipt_id: told})
    return receipt_id


async def read(desk, told):
    """Read what is due; `told` are the receipts in each body. Answers which bodies were due."""
    due = [stored for stored in await desk.write(receipts.due, 100) if stored.id in told]
    await desk.write(receipts.apply_all, [(stored, told[stored.id]) for stored in due])
    return [stored.id for stored in due]


def arrived(reference, **more):
    return Receipt(kind="arrived", provider_reference=reference, authenticated_by="hmac-token", **more)


async def state(desk, notice_id):
    found = (await desk.house.http.get(f"/v1/notices/{notice_id}")).json()
    return found["state"], found["deliveries"][0]["state"], [one["kind"] for one in found["evidence"]]


async def receipt_states(desk):
    return [row.state for row in await desk.house.rows(t.receipt)]


async def test_a_receipt_that_overtakes_the_answer_finds_its_attempt(desk):
    """By our reference at once; by the provider's it waits for the answer that brings it; the answer then changes nothing."""
    first, second = await text(desk), None
    await came(desk, Receipt(kind="arrived", reference=f"{first}.sms.1", authenticated_by="hmac-token"))
    assert await state(desk, first) == ("served", "delivered", ["intended", "arrived"])
    second = await text(desk)
    early = await came(desk, arrived("gw-2"))
    assert await receipt_states(desk) == ["applied", "orphan"]
    assert await state(desk, second) == ("in_progress", "claimed", ["intended"])
    desk.house.clock.move(1)
    for notice_id, reference in ((first, "gw-1"), (second, "gw-2")):
        await desk.answer(notice_id, "sms", "submitted", provider_reference=reference)
    assert await read(desk, {early: [arrived("gw-2")]}) == [early]
    for notice_id in (first, second):
        bundle = await holds(desk, notice_id)
        assert (bundle["notice"]["state"], bundle["notice"]["deliveries"][0]["state"]) == ("served", "delivered")
    assert await receipt_states(desk) == ["applied", "applied"]
    await sound(desk)


async def test_of_many_in_one_body_each_finds_its_own_attempt(desk):
    """What is known is recorded at once and once; the others wait each for its own answer, in whatever order these come."""
    notices = {name: await text(desk) for name in ("a", "b", "c")}
    await desk.answer(notices["a"], "sms", "submitted", provider_reference="gw-a")
    told = [arrived("gw-b"), arrived("gw-a"), arrived("gw-c"), arrived("gw-x")]
    body = await came(desk, *told)
    kinds = {name: (await state(desk, one))[2] for name, one in notices.items()}
    assert kinds == {"a": ["intended", "submitted", "arrived"], "b": ["intended"], "c": ["intended"]}
    for name in ("c", "b"):
        desk.house.clock.move(1)
        await desk.answer(notices[name], "sms", "submitted", provider_reference=f"gw-{name}")
        assert await read(desk, {body: told}) == [body]
        assert (await state(desk, notices[name]))[2].count("arrived") == 1
    assert [(await state(desk, one))[2].count("arrived") for one in notices.values()] == [1, 1, 1]
    assert [(row.position, row.receipt_id) for row in await desk.house.rows(t.receipt_waiting)] == [(3, body)]
    assert await receipt_states(desk) == ["orphan"]
    assert {row.sealed is not None for row in await desk.house.rows(t.receipt)} == {True}, "the bytes stay while anything waits"


async def test_what_waits_is_looked_at_again(desk):
    """Its attempt may become known in a transaction that neither saw the receipt nor was seen: after half a minute it is read again."""
    await text(desk)
    body = await came(desk, arrived("gw-late"))
    seen = []
    for seconds in (29, 2, 600, DAY, DAY):
        desk.house.clock.move(seconds)
        seen.append(bool(await read(desk, {body: [arrived("gw-late")]})))
    assert seen == [False, True, True, True, False]


async def test_a_receipt_settles_what_is_unknown(desk):
    """Arrival, refusal for good and refusal for now each end the uncertainty; a word that nobody knows does not."""
    expected = {"arrived": "delivered", "relayed": "sent", "failed_permanent": "failed", "failed_temporary": "pending",
                "unmapped": "unknown"}
    for kind, after in expected.items():
        notice_id = await text(desk)
        await desk.answer(notice_id, "sms", "unknown", raw=None, code=None, media_type=None)
        assert (await state(desk, notice_id))[1] == "unknown"
        await came(desk, Receipt(kind=kind, reference=f"{notice_id}.sms.1", authenticated_by="hmac-token"), raw=kind.encode())
        assert (await state(desk, notice_id))[1] == after, kind
        await holds(desk, notice_id)
        if kind == "failed_temporary":
            assert [one.number for one in await desk.dispatch()] == [2], "it is sent again without waiting for the reconciliation"
    await sound(desk)


async def test_repetitions_and_contradictions_are_kept(desk):
    """The same bytes again are listed as duplicates; arrival and failure side by side are a conflict, whoever came first."""
    notice_id = await text(desk)
    await desk.answer(notice_id, "sms", "submitted")
    good = Receipt(kind="arrived", reference=f"{notice_id}.sms.1", authenticated_by="hmac-token")
    bad = Receipt(kind="failed_permanent", reference=f"{notice_id}.sms.1", authenticated_by="hmac-token")
    for told, raw in ((bad, b"2"), (bad, b"2"), (good, b"1"), (bad, b"2"), (good, b"1")):
        desk.house.clock.move(1)
        await came(desk, told, raw=raw)
    found = (await holds(desk, notice_id))["notice"]
    assert (found["state"], found["service"]["conflict"], found["deliveries"][0]["state"]) == ("served", True, "delivered")
    assert [one["duplicate_of"] is not None for one in found["evidence"]] == [False, False, False, True, False, True, True]


async def test_words_that_no_table_knows_change_nothing(desk):
    """An unmapped code is evidence with its raw bytes, and the notice stays as it was."""
    notice_id = await text(desk)
    await desk.answer(notice_id, "sms", "submitted")
    before = await state(desk, notice_id)
    await came(desk, Receipt(kind="unmapped", reference=f"{notice_id}.sms.1", authenticated_by="hmac-token", code="E:77",
                             text="余额不足"), raw="E:77 余额不足".encode())
    bundle = await holds(desk, notice_id)
    assert (bundle["notice"]["state"], bundle["notice"]["deliveries"][0]["state"]) == before[:2]
    assert [one["kind"] for one in bundle["notice"]["evidence"]] == [*before[2], "unmapped"]
    assert "E:77 余额不足".encode() in [proofs.b64decode(one["bytes"]) for one in bundle["raw"]]


@pytest.mark.parametrize(("channel", "days"), [("sms", 3), ("email", 5)])
async def test_silence_ends_the_waiting(desk, channel, days):
    """After the horizon `no_receipt` is recorded, neither failure nor arrival; a receipt that comes later still serves."""
    await desk.recipient()
    notice_id = await desk.notice(channels=(channel,), sms="短信", sms_carries="full")
    await desk.dispatch()
    desk.house.clock.move(1)
    await desk.answer(notice_id, channel, "submitted")
    desk.house.clock.move(days * DAY - 1)
    assert await desk.write(horizons.sweep) == 0
    desk.house.clock.move(1)
    assert await desk.write(horizons.sweep) == 1
    found = (await holds(desk, notice_id))["notice"]
    assert (found["state"], found["deliveries"][0]["state"], found["service"]["served"]) == ("expired", "expired", False)
    assert [one["kind"] for one in found["evidence"]] == ["intended", "submitted", "no_receipt"]
    assert await desk.write(horizons.sweep) == 0
    desk.house.clock.move(DAY)
    await desk.receipt(notice_id, channel, "arrived")
    found = (await holds(desk, notice_id))["notice"]
    assert (found["state"], found["deliveries"][0]["state"]) == ("served", "delivered")
    await sound(desk)


async def test_what_nobody_here_can_read_is_left(desk):
    """A provider that is configured no more: its receipts are looked at again later, and what was stored stays whole."""
    notice_id = await text(desk)
    await desk.answer(notice_id, "sms", "submitted")
    await desk.write(receipts.store, "sms", "callback", {"media_type": "text/plain"}, b"later")
    await Housekeeping(desk.house.database, desk.house.world, {})._receipts()
    row, = await desk.house.rows(t.receipt)
    assert (row.state, row.due_at - desk.house.clock.micros, row.sealed is not None) == ("new", 600_000_000, True)


async def test_the_bytes_that_came_are_kept_before_anybody_reads_them(desk):
    """A provider whose parser fails reads nothing, and the bytes stay under the system key; nothing is lost or changed by it."""
    class Failing:
        def parse_receipt(self, raw, media_type):
            raise ValueError("hostile")
    notice_id = await text(desk)
    before = await state(desk, notice_id)
    receipt_id = await desk.write(receipts.store, "sms", "bytes", {"media_type": "text/plain"}, b"\xff\x00garbage")
    await Housekeeping(desk.house.database, desk.house.world, {"sms": Failing()})._receipts()
    kept = await desk.house.database.read(receipts.load, desk.house.world, receipt_id)
    assert (kept.raw, await receipt_states(desk), await state(desk, notice_id)) == (b"\xff\x00garbage", ["applied"], before)


HOSTILE = (
    {"kind": "served"}, {"kind": "intended"}, {"part": 0}, {"part": -1}, {"part": 70_000, "parts": 70_000}, {"part": 3, "parts": 2},
    {"claimed_at": "yesterday"}, {"claimed_at": "2026-09-21T22:00:00"}, {"claimed_at": "9999-12-31T23:59:59Z"}, {"source": "x" * 500},
    {"source": "张三 +8613800138000"}, {"provider_reference": "\ud800\x00" + "x" * 100_000}, {"claimed_time_raw": "\udfff" * 10},
)


async def test_whatever_a_plug_in_makes_of_hostile_bytes_can_be_kept(desk):
    """Kinds, parts, times and texts that cannot be are left out; the receipt is evidence all the same, and proved."""
    notice_id = await text(desk)
    await desk.answer(notice_id, "sms", "submitted")
    for more in HOSTILE:
        given = {"kind": "arrived", "reference": f"{notice_id}.sms.1", "authenticated_by": "hmac-token"} | more
        await came(desk, Receipt(**given), raw=repr(more).encode())
        strange = "kind" in more or more.get("part", 3) != 3
        assert (await state(desk, notice_id))[2][-1] == ("unmapped" if strange else "arrived"), more
    await holds(desk, notice_id)


def test_a_plausible_receipt_stays_as_it_is():
    """Nothing of a proper receipt is touched but the spelling of its claim."""
    told = Receipt(kind="arrived", reference="r", provider_reference="p", claimed_time_raw="raw", claimed_at="2026-09-21T22:00:00+08:00",
                   code="c", text="t", part=1, parts=2, source="dsn", authenticated_by="dsn-own-relay")
    made = plausible(told)
    assert made.claimed_at == "2026-09-21T14:00:00.000000Z"
    assert (made.kind, made.reference, made.provider_reference, made.part, made.parts, made.source) == ("arrived", "r", "p", 1, 2, "dsn")
