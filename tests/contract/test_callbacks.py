"""Callbacks of providers, on every engine: kept before they are read, verified by their provider, harmless when repeated."""

import pytest

from noticesvc.dispatch.housekeeping import Housekeeping
from noticesvc.operations import record
from noticesvc.operations.record import Answer, Schedule
from noticesvc.provider import CallbackAnswer, Receipt
from noticesvc.storage import tables as t
from providers.kannel import Kannel, KannelSettings
from tests.support.installation import installed
from tests.support.notices import accepted, read, recipient, sealed

PATH = "/v1/providers/gate/callbacks"
SCHEDULE = Schedule(first_s=30, max_s=3600, reconcile_after_s=5, longest_s={})


@pytest.fixture
async def here(database_url):
    providers = {"gate": Kannel.configure("gate", "sms", 20, KannelSettings())}
    async with installed(database_url, providers) as made:
        await recipient(made)
        yield made


async def submitted(here):
    """A notice whose SMS the gateway took; its id and the attempt's reference."""
    notice_id = await accepted(here, channels=["sms"])
    one, = await sealed(here, "gate")
    answer = Answer(one.notice_id, one.channel, one.number, "submitted", here.clock.micros, here.clock.micros, raw=b"0: Accepted",
                    media_type="text/plain", provider_reference="msg-1")
    await here.database.write(record.record, here.world, SCHEDULE, [answer], [0.5])
    here.clock.move(2)
    return notice_id, one.reference


async def interpreted(here):
    """Let the service read what was kept."""
    await Housekeeping(here.database, here.world, here.house.providers)._receipts()


def report(here, reference, status="1", **more):
    return {"reference": reference, "token": here.world.vault.token("callback", reference), "status": status, **more}


async def test_a_verified_report_serves_the_notice(here):
    """Kannel's GET with our token is kept, answered 200, and read later: DELIVRD is arrival."""
    notice_id, reference = await submitted(here)
    reply = await here.http.get(PATH, params=report(here, reference), headers={"Authorization": ""})
    assert reply.status_code == 200
    assert [row.state for row in await here.rows(t.receipt)] == ["new"]
    await interpreted(here)
    shown = await read(here, notice_id)
    assert (shown["state"], shown["deliveries"][0]["state"], shown["service"]["channel"]) == ("served", "delivered", "sms")
    assert [row.state for row in await here.rows(t.receipt)] == ["applied"]


async def test_a_repeated_report_is_listed_and_not_counted(here):
    """The same bytes again are kept, listed with `duplicate_of`, and change nothing; without the token in the raw bytes."""
    notice_id, reference = await submitted(here)
    for _ in range(3):
        assert (await here.http.get(PATH, params=report(here, reference))).status_code == 200
        await interpreted(here)
        here.clock.move(1)
    shown = await read(here, notice_id)
    arrivals = [one for one in shown["evidence"] if one["kind"] == "arrived"]
    assert [one["duplicate_of"] for one in arrivals] == [None, arrivals[0]["id"], arrivals[0]["id"]]
    assert shown["service"]["revision"] == 1


async def test_a_report_without_our_token_is_kept_and_does_nothing(here):
    """A missing or wrong token is 401; the bytes are kept as refused, and the notice stays as it was."""
    notice_id, reference = await submitted(here)
    before = await read(here, notice_id)
    for spoil in ({"token": "x"}, {"token": None}, {"token": "ü"}, {"reference": "another.sms.1"}):
        query = {name: value for name, value in (report(here, reference) | spoil).items() if value is not None}
        reply = await here.http.get(PATH, params=query)
        assert (reply.status_code, reply.headers["content-type"]) == (401, "application/problem+json"), spoil
    await interpreted(here)
    assert await read(here, notice_id) == before
    assert [(row.state, row.due_at) for row in await here.rows(t.receipt)] == [("refused", None)] * 4


class Credulous(Kannel):
    """A provider that believes whatever its body says, whichever token of ours the address carried."""

    def parse_callback(self, callback):
        """Read a body that is nothing but the reference of an attempt."""
        told = Receipt(kind="arrived", reference=callback.body.decode(), authenticated_by="hmac-token" if callback.ours else None)
        return CallbackAnswer(200, receipts=[told])


async def test_the_token_of_one_attempt_vouches_for_no_other(here):
    """Even through a provider that does not look: a report named by the token counts, one about another attempt does not."""
    here.house.providers["gate"] = Credulous.configure("gate", "sms", 20, KannelSettings())
    notice_id, reference = await submitted(here)
    other = "01a0c450-6fe8-7000-8001-e055710184c8.sms.1"
    for address in (other, reference):
        query = {"reference": address, "token": here.world.vault.token("callback", address)}
        assert (await here.http.post(PATH, params=query, content=reference.encode())).status_code == 200
        await interpreted(here)
        assert ((await read(here, notice_id))["state"] == "served") is (address == reference)


async def test_a_report_by_post_is_read_from_its_body(here):
    """A provider's POST is kept with its body; the reference and token stand in the address."""
    notice_id, reference = await submitted(here)
    query = {name: value for name, value in report(here, reference).items() if name != "status"}
    reply = await here.http.post(PATH, params=query, content=b"status=1&time=1790000002",
                                 headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert reply.status_code == 200
    await interpreted(here)
    assert (await read(here, notice_id))["state"] == "served"


async def test_a_report_that_comes_before_its_attempt_waits(here):
    """A verified report for an attempt that is not known yet waits as an orphan and is not lost."""
    reference = "01a0c450-6fe8-7000-8001-e055710184c8.sms.1"
    assert (await here.http.get(PATH, params=report(here, reference))).status_code == 200
    await interpreted(here)
    assert [row.state for row in await here.rows(t.receipt)] == ["orphan"]


async def test_what_is_no_callback_is_refused(here):
    """Unknown providers are 404, garbage 401 and with our token 400, bodies over 1 MiB 413, HEAD does nothing; never a 500."""
    assert (await here.http.get("/v1/providers/none/callbacks")).status_code == 404
    assert (await here.http.post("/v1/providers/%00/callbacks")).status_code == 404
    assert (await here.http.head(PATH, params=report(here, "a.sms.1"))).status_code == 404
    for query in ("", "status", "%ff%fe=%00", "&".join(f"a{i}=1" for i in range(500)), "x" * 20_000):
        assert (await here.http.get(f"{PATH}?{query}")).status_code in {400, 401, 422}
    assert (await here.http.post(PATH, content=b"\x00\xff" * 100)).status_code == 401
    vouched = {name: value for name, value in report(here, "a.sms.1").items() if name != "status"}
    assert (await here.http.post(PATH, params=vouched, content=b"\x00\xff" * 100)).status_code == 400
    assert (await here.http.post(PATH, content=bytes((1 << 20) + 1))).status_code == 413
    assert {row.state for row in await here.rows(t.receipt)} == {"refused"}
