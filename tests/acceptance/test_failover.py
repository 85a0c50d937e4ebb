"""A provider that goes mad is left alone and another one takes over; every step stands as an attempt in the evidence."""

import pytest

from tests.fakes import sms_gateway
from tests.fakes.sms_gateway import Answer, SmsGateway
from tests.support.process import outcomes, running
from tests.support.waiting import until

pytestmark = [pytest.mark.kill, pytest.mark.slow]

FAULTS = {
    "refuses": (Answer(503, b"Temporal failure, try again later."), "failed_temporary"),
    "does not let us in": (Answer(403, b"Authorization failed for sendsms"), "failed_temporary"),
    "hangs": (sms_gateway.HANG, "unknown"),
    "answers 500": (Answer(500, b"Sending failed."), "unknown"),
    "answers garbage": (b"\xff\x00 blah\r\n\r\n", "unknown"),
    "answers half a body": (b"HTTP/1.1 202 Accepted\r\nContent-Length: 500\r\n\r\n0: Acc", "unknown"),
    "resets": (sms_gateway.CLOSE, "unknown"),
}


def second(run, port, **more):
    """A second SMS provider behind the first."""
    settings = {"kind": "kannel", "channel": "sms", "priority": 2, "url": f"http://127.0.0.1:{port}/cgi-bin/sendsms",
                "from_address": "10690001", "timeout_s": 20} | more
    with run.service.config_file.open("a") as file:
        file.write("[providers.sms2]\n" + "".join(f"{k} = {v!r}\n" for k, v in settings.items()))


def providers(notice):
    return [a["provider"] for d in notice["deliveries"] if d["channel"] == "sms" for a in d["attempts"]]


def passed_over(notice):
    return [[(one["provider"], one["reason"]) for one in a["passed_over"]]
            for d in notice["deliveries"] if d["channel"] == "sms" for a in d["attempts"]]


def sent(notice):
    return outcomes(notice, "sms")[-1:] == ["submitted"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_breaker_opens_and_closes_and_another_takes_over(sqlite_url, tmp_path, fault):
    """After two failures the first provider rests and the second takes everything; when it is well again one probe finds out."""
    move, outcome = FAULTS[fault]
    async with running(tmp_path, sqlite_url, patient=True, worker={"concurrency": 1}, sms={
            "breaker_after": 2, "breaker_open_s": 2, "timeout_s": 1 if move is sms_gateway.HANG else 20}) as run, SmsGateway() as other:
        second(run, other.port)
        await run.service.start()
        recipient = await run.recipient()
        run.sms.moves[:] = [move]
        ids = [await run.post(recipient, channels=("sms",)) for _ in range(4)]
        notices = [await run.until(i, sent) for i in ids]
        tried = [(p, o) for n in notices for p, o in zip(providers(n), outcomes(n, "sms"), strict=True)]
        assert {p for p, _ in tried} == {"sms", "sms2"}
        assert {o for p, o in tried if p == "sms"} == {outcome}
        assert [providers(n)[-1] for n in notices] == ["sms2"] * 4
        # A switch is told by the attempt that follows it: refused just now, or left alone. The waiting of none wrote an entry of its own.
        assert {why for n in notices for p, why in zip(providers(n), map(tuple, passed_over(n)), strict=True) if p == "sms"} == {()}
        last = [passed_over(n)[-1] for n in notices]
        assert last[-1] == [("sms", "breaker_open")]
        assert {one for why in last for one in why} <= {("sms", "breaker_open"), ("sms", "refused")}
        assert all(last)
        calls = len(run.sms.requests)
        assert calls == sum(1 for p, _ in tried if p == "sms"), "every call is an attempt, and every attempt was called"

        async def another():
            """One more, which goes somewhere and tries the first where its rest is over; what /readyz says then, and by whom it went."""
            notice = await run.until(await run.post(recipient, channels=("sms",)), sent)
            return await run.caller.get("/readyz"), providers(notice)
        await until(another, lambda found: "provider sms" in str(found[0]))
        run.sms.moves[:] = [sms_gateway.TAKEN]
        await until(another, lambda found: found[1] == ["sms"])
        await until(lambda: run.caller.get("/readyz"), lambda answer: "provider sms" not in str(answer))
        await run.audited()


async def test_a_refusal_of_the_provider_goes_elsewhere_at_once(database_url, tmp_path):
    """What says nothing of the message is given to the next provider without waiting; when all refused, all again after the wait."""
    worker = {"retry_first_s": 600, "retry_max_s": 600}
    async with running(tmp_path, database_url, patient=True, worker=worker) as run, SmsGateway() as other:
        second(run, other.port)
        await run.service.start()
        run.sms.moves[:] = [FAULTS["refuses"][0]]
        notice = await run.until(await run.post(await run.recipient(), channels=("sms",)), sent)
        assert list(zip(providers(notice), outcomes(notice, "sms"), strict=True)) == [("sms", "failed_temporary"), ("sms2", "submitted")]
        assert passed_over(notice) == [[], [("sms", "refused")]]
        assert [a["code"] for d in notice["deliveries"] for a in d["attempts"]] == ["503", "0"]
        other.moves[:] = [FAULTS["refuses"][0]]
        notice_id = await run.post("u-1", channels=("sms",))
        notice = await run.until(notice_id, lambda n: len(outcomes(n, "sms")) == 2 and outcomes(n, "sms")[-1] is not None)
        assert providers(notice) == ["sms", "sms2"]
        assert await run.due_in(notice_id, "sms") > 60
        await run.audited()


async def test_a_refusal_of_the_message_goes_nowhere_else(database_url, tmp_path):
    """A number that the first provider refuses for good is not tried at the second."""
    async with running(tmp_path, database_url, patient=True) as run, SmsGateway() as other:
        second(run, other.port)
        await run.service.start()
        run.sms.moves[:] = [Answer(403, b"Not routable. Do not try again.")]
        notice = await run.until(await run.post(await run.recipient(), channels=("sms",)),
                                 lambda n: [d["state"] for d in n["deliveries"]] == ["failed"])
        assert (providers(notice), outcomes(notice, "sms")) == (["sms"], ["rejected"])
        assert other.requests == []
