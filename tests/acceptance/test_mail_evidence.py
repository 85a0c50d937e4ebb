"""What a real Postfix makes of our mails ends as evidence: a running service, its relay, and the relay's reports in a Maildir."""

import asyncio
import smtplib

import pytest
from sqlalchemy import select

from bench.crash.clients import Clients
from bench.crash.lines import Lines
from bench.crash.service import installed
from noticesvc import config
from noticesvc.bootstrap.installation import open_database
from noticesvc.storage import tables as t
from tests.support import bounces
from tests.support.ports import free_port
from tests.support.postfix import running_postfix
from tests.support.process import PATIENT, Running, outcomes
from tests.support.waiting import until

pytestmark = pytest.mark.real_peer


@pytest.fixture
async def postfix(needs):
    """A private Postfix."""
    async with running_postfix(needs("postfix")) as running:
        yield running


@pytest.fixture
async def running(postfix, tmp_path):
    """A service that sends through it and reads its reports, with one recipient at each of the relay's destinations."""
    service = await installed(
        tmp_path / "service", smtp_port=postfix.port, sms_port=1, worker=PATIENT["worker"],
        mail=PATIENT["mail"] | {
            "from_address": "notices@here.example", "return_path": "bounces+{token}@here.example", "host_is": "our_relay",
            "dsn_maildir": str(postfix.mail / "bounces")})
    await service.start()
    try:
        async with Clients(service.url, service.key, Lines(tmp_path / "accepted.log"), count=0) as caller:
            await caller.put_contacts({name: [{"channel": "email", "address": f"li@{name}.example", "confirmation": "confirmed"}]
                                       for name in ("here", "gone", "elsewhere", "slow")})
            yield Running(service, None, None, caller)
    finally:
        await service.kill()


def kinds(notice):
    """Kind, source and authenticity of its evidence after the answer."""
    return {(one["kind"], one["source"], one["authenticated"]) for one in notice["evidence"] if one["source"] == "dsn"}


async def test_success_failure_and_delay_reports_end_as_evidence(running, postfix):
    """Delivered, bounced, relayed and delayed mails: each report becomes what it says, service is derived, the Maildir is empty."""
    ids = {name: await running.post(name) for name in ("here", "gone", "elsewhere", "slow")}
    expected = {"here": ("arrived", "dsn", True), "gone": ("failed_permanent", "dsn", True), "elsewhere": ("relayed", "dsn", True),
                "slow": ("unmapped", "dsn", True)}
    seen = {name: await running.until(ids[name], lambda notice, name=name: expected[name] in kinds(notice)) for name in ids}
    assert {name: kinds(seen[name]) for name in ids} == {name: {kind} for name, kind in expected.items()}
    assert {name: (seen[name]["state"], seen[name]["service"]["served"], seen[name]["deliveries"][0]["state"]) for name in ids} == {
        "here": ("served", True, "delivered"), "gone": ("unserved", False, "failed"), "elsewhere": ("in_progress", False, "sent"),
        "slow": ("in_progress", False, "sent")}
    assert seen["here"]["service"]["provisional"] is False
    contacts = (await running.caller.get("/v1/recipients/gone/contacts"))[1]["contacts"]
    assert [contact["state"] for contact in contacts] == ["invalid"]
    box = postfix.mail / "bounces"
    await until(lambda: asyncio.to_thread(lambda: [*box.glob("new/*"), *box.glob("noticesvc-claimed/*")]), lambda left: left == [])
    await running.audited()


async def test_a_forged_bounce_sent_to_the_return_path_only_raises_conflict(running, postfix):
    """The recipient copies return path, reference and queue id from our mail and sends a perfect bounce through the same relay."""
    notice_id = await running.post("here")
    served = await running.until(notice_id, lambda notice: notice["service"]["served"])
    mail = (await postfix.next_mail("li")).decode()
    return_path = mail.split("Return-Path: <", 1)[1].split(">", 1)[0]
    assert return_path.startswith("bounces+")
    attempt = served["deliveries"][0]["attempts"][0]
    forged = bounces.report(to=return_path, recipient="li@here.example", envelope_id=f"{notice_id}.email.1",
                            queue_id=attempt["provider_reference"])

    def send():
        with smtplib.SMTP("127.0.0.1", postfix.port, local_hostname="relay.example") as client:
            client.sendmail("", [return_path], forged)

    await asyncio.to_thread(send)
    shown = await running.until(notice_id, lambda notice: notice["service"]["conflict"])
    assert ("failed_permanent", "dsn", False) in kinds(shown)
    assert (shown["state"], shown["service"]["served"], shown["service"]["served_at"]) == ("served", True, served["service"]["served_at"])


async def test_our_relay_hands_its_reports_over_by_lmtp(needs, tmp_path):
    """Without any Maildir: Postfix delivers its report to the listener of the running service, which is its evidence at once."""
    lmtp = free_port()
    async with running_postfix(needs("postfix"), f"{{ back.example = lmtp:inet:127.0.0.1:{lmtp} }}") as postfix:
        service = await installed(
            tmp_path / "service", smtp_port=postfix.port, sms_port=1, worker=PATIENT["worker"],
            mail=PATIENT["mail"] | {
                "from_address": "notices@here.example", "return_path": "b+{token}@back.example", "host_is": "our_relay"})
        with service.config_file.open("a") as file:  # the last table is that of another provider
            file.write(f'[providers.mail.dsn_listener]\nhost = "127.0.0.1"\nport = {lmtp}\n')
        await service.start()
        try:
            async with Clients(service.url, service.key, Lines(tmp_path / "accepted.log"), count=0) as caller:
                here = Running(service, None, None, caller)
                await caller.put_contacts({"here": [{"channel": "email", "address": "li@here.example", "confirmation": "confirmed"}]})
                notice_id = await here.post("here")
                shown = await here.until(notice_id, lambda notice: ("arrived", "dsn", True) in kinds(notice))
                assert shown["service"]["served"]
                assert "dsn_listener" not in str((await caller.get("/readyz"))[1])
        finally:
            await service.kill()


async def test_a_mail_is_kept_until_its_bytes_are_committed_and_is_read_after_a_kill(running, postfix):
    """A report that arrives while no service runs waits in the Maildir; the next process takes it in, and what is stored is sealed."""
    notice_id = await running.post("here")
    await running.until(notice_id, lambda notice: outcomes(notice)[:1] not in ([], [None]))
    await running.service.kill()
    box = postfix.mail / "bounces" / "new"
    postfix.put("bounces", "1.left", b"Subject: nothing of ours\r\n\r\nunsealed words\r\n")
    await running.service.start()
    await running.until(notice_id, lambda notice: ("arrived", "dsn", True) in kinds(notice))
    await until(lambda: asyncio.to_thread(lambda: list(box.glob("*"))), lambda left: left == [])
    database = open_database(config.load(running.service.config_file, {}))
    try:
        sealed = await database.read(lambda tx: [row.sealed for row in tx.execute(select(t.receipt.c.sealed)) if row.sealed])
    finally:
        await database.close()
    assert sealed
    assert not any(b"unsealed words" in one for one in sealed)
