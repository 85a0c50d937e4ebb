"""Mail that comes back, on every engine: reports, replies and read receipts become evidence only as far as they are authentic."""

import pytest

from noticesvc.dispatch.housekeeping import Housekeeping
from noticesvc.operations import receipts, record, return_token
from noticesvc.operations.record import Answer, Schedule
from noticesvc.storage import tables as t
from providers.smtp import Smtp
from tests.fakes.dns_server import DnsServer
from tests.support import bounces
from tests.support.bounces import BY_POSTFIX, FROM_OUTSIDE
from tests.support.installation import installed
from tests.support.notices import MAILBOX, accepted, read, recipient, sealed

SCHEDULE = Schedule(first_s=30, max_s=3600, reconcile_after_s=5, longest_s={})
QUEUE_ID = "4DKabc0007"
LOCAL = "Received: by relay.example.com (Postfix, from userid 33)\r\n\tid 4DKxyz0001; Mon, 21 Sep 2026 14:13:25 +0000\r\n"
EXIM = "Received: from Debian-exim by relay.example.com with local (Exim 4.96)\r\n\tid 1rX-0001; Mon, 21 Sep 2026 14:13:25 +0000\r\n"
AS_EXIM = ("Received: from Debian-exim ([203.0.113.9]) by relay.example.com with esmtp (Exim 4.96)\r\n\tid 1rX-0001; "
           "Mon, 21 Sep 2026 14:13:25 +0000\r\n")


@pytest.fixture
async def dns():
    """A resolver that knows the key and MX of the recipient's domain."""
    async with DnsServer({("s1._domainkey.example.cn", "TXT"): [bounces.key()[1]], ("example.cn", "MX"): ["10 mx.example.cn."],
                          ("s1._domainkey.example.org", "TXT"): [bounces.key()[1]]}) as server:
        yield server


@pytest.fixture
async def here(database_url, dns):
    """An installation that sends mail through a relay of ours."""
    settings = Smtp.Settings(from_address="notices@example.com", dns_servers=[dns.address], authserv_ids=["border.example.com"])
    async with installed(database_url, {"mail": Smtp.configure("mail", "email", 20, settings)}) as made:
        await recipient(made)
        yield made


async def taken(here, outcome="submitted"):
    """A notice whose mail our relay took: its id and the attempt."""
    notice_id = await accepted(here, channels=["email"])
    one, = await sealed(here, "mail")
    answer = Answer(one.notice_id, one.channel, one.number, outcome, here.clock.micros, here.clock.micros,
                    raw=b"250 2.0.0 Ok: queued as 4DKabc0007\r\n", media_type="text/plain", code="2.0.0", provider_reference=QUEUE_ID)
    await here.database.write(record.record, here.world, SCHEDULE, [answer], [0.5])
    here.clock.move(10)
    return notice_id, one


async def came(here, raw):
    """Store a mail as a way in does, a second later, and let the service read it."""
    here.clock.move(1)
    await here.database.write(receipts.store, here.world, "mail", "bytes", {"media_type": "message/rfc822"}, raw)
    await Housekeeping(here.database, here.world, here.house.providers)._receipts()


def last(shown):
    """Kind, source and authenticity of the newest evidence."""
    newest = max(shown["evidence"], key=lambda one: (one["observed_at"], one["id"]))
    return newest["kind"], newest["source"], newest["authenticated"]


async def test_a_report_of_our_own_relay_serves(here):
    """Postfix's success report names our reference: the mail arrived, and service is no longer provisional."""
    notice_id, one = await taken(here)
    assert not (await read(here, notice_id))["service"]["served"]
    await came(here, bounces.report(to="notices@example.com", recipient=MAILBOX, action="delivered", status="2.0.0",
                                    envelope_id=one.reference, queue_id=QUEUE_ID))
    shown = await read(here, notice_id)
    assert last(shown) == ("arrived", "dsn", True)
    assert (shown["state"], shown["service"]["served"], shown["service"]["provisional"]) == ("served", True, False)


async def test_a_failure_report_of_our_own_relay_strikes(here):
    """What was served stands no longer, revised, and the contact at fault is no longer used."""
    notice_id, one = await taken(here, "arrived")
    assert (await read(here, notice_id))["service"]["served"]
    await came(here, bounces.report(to="notices@example.com", recipient=MAILBOX, envelope_id=one.reference, queue_id=QUEUE_ID))
    shown = await read(here, notice_id)
    assert last(shown) == ("failed_permanent", "dsn", True)
    assert (shown["state"], shown["service"]["served"], shown["service"]["revision"]) == ("unserved", False, 2)
    contacts = (await here.http.get("/v1/recipients/u-1001/contacts")).json()["contacts"]
    assert [c["state"] for c in contacts if c["channel"] == "email"] == ["invalid"]


async def test_a_delay_decides_nothing(here):
    """A delay report is evidence and changes neither state nor service."""
    notice_id, one = await taken(here)
    before = await read(here, notice_id)
    await came(here, bounces.report(to="n@example.com", recipient=MAILBOX, action="delayed", status="4.2.1", envelope_id=one.reference))
    shown = await read(here, notice_id)
    assert last(shown) == ("unmapped", "dsn", True)
    assert (shown["state"], shown["service"], shown["deliveries"][0]["state"]) == (
        before["state"], before["service"], before["deliveries"][0]["state"])


async def test_relayed_to_an_mx_of_the_domain_is_arrival(here):
    """Our relay's report that an MX of the recipient's domain took the mail is its arrival; any other system's is relaying."""
    for host, kind in (("mx.example.cn", "arrived"), ("filter.example.org", "relayed")):
        notice_id, one = await taken(here)
        await came(here, bounces.report(to="n@example.com", recipient=MAILBOX, action="relayed", status="2.0.0", envelope_id=one.reference,
                                        remote_mta=host))
        assert last(await read(here, notice_id)) == (kind, "dsn", True)


@pytest.mark.parametrize("trace", [
    FROM_OUTSIDE, FROM_OUTSIDE + BY_POSTFIX, BY_POSTFIX + BY_POSTFIX, LOCAL, AS_EXIM, "", "Return-Path: <li@example.cn>\r\n" + BY_POSTFIX,
], ids=["brought in", "brought in with our trace", "two traces", "a local user", "as Exim", "no trace", "a sender"])
async def test_a_forged_bounce_with_a_copied_token_strikes_nothing_and_shows_conflict(here, trace):
    """The recipient knows reference, return token and queue id; a report that our relay did not make only sets `conflict`."""
    notice_id, one = await taken(here, "arrived")
    token = return_token.make(here.world, notice_id, 1)
    await came(here, bounces.report(to=f"bounces+{token}@example.com", recipient=MAILBOX, envelope_id=one.reference, queue_id=QUEUE_ID,
                                    trace=trace))
    shown = await read(here, notice_id)
    assert last(shown) == ("failed_permanent", "dsn", False)
    assert (shown["state"], shown["service"]["served"], shown["service"]["conflict"]) == ("served", True, True)
    contacts = (await here.http.get("/v1/recipients/u-1001/contacts")).json()["contacts"]
    assert {c["state"] for c in contacts} == {"usable"}


async def test_exims_own_report_is_told_by_its_trace(here):
    """Exim's trace of a mail of its own making names its own account, `with local`."""
    notice_id, one = await taken(here)
    await came(here, bounces.report(to="n@example.com", recipient=MAILBOX, envelope_id=one.reference, trace=EXIM))
    assert last(await read(here, notice_id)) == ("failed_permanent", "dsn", True)


async def test_our_relays_report_on_another_mail_is_not_believed(here):
    """Somebody else can make our relay report with our reference; neither queue id nor recipient are then this attempt's."""
    notice_id, one = await taken(here)
    await came(here, bounces.report(to="n@example.com", recipient="somebody@example.com", action="delivered", status="2.0.0",
                                    envelope_id=one.reference, queue_id="4DKother01"))
    shown = await read(here, notice_id)
    assert last(shown) == ("arrived", "dsn", False)
    assert not shown["service"]["served"]


async def test_a_signed_bounce_from_the_recipients_domain_strikes(here):
    """A report that comes DKIM-signed from the mail system of the recipient's domain is authentic, by its return token alone."""
    notice_id, _ = await taken(here, "arrived")
    token = return_token.make(here.world, notice_id, 1)
    raw = bounces.report(to=f"bounces+{token}@example.com", recipient=MAILBOX, trace=FROM_OUTSIDE, sender="postmaster@mx.example.cn")
    await came(here, bounces.signed(raw, "example.cn"))
    shown = await read(here, notice_id)
    assert last(shown) == ("failed_permanent", "dsn", True)
    assert shown["service"]["served"] is False
    assert [row.authenticated_by for row in await here.rows(t.evidence) if row.source == "dsn"] == ["dkim"]


@pytest.mark.parametrize("spoil", [
    lambda make: bounces.signed(make("MAILER-DAEMON@mx.example.org"), "example.org"),
    lambda make: bounces.signed(make("MAILER-DAEMON@mx.example.cn"), "example.org"),
    lambda make: bounces.signed(make("li@example.cn"), "example.cn"),
    lambda make: bounces.signed(make("MAILER-DAEMON@example.cn"), "example.cn").replace(b"What became", b"What becomes"),
    lambda make: bounces.signed(make("MAILER-DAEMON@example.cn"), "example.cn", length=True) + b"more",
    lambda make: bounces.signed(make("MAILER-DAEMON@example.cn"), "nokey.example.cn"),
    lambda make: b"From: MAILER-DAEMON@example.cn\r\n" + bounces.signed(make("MAILER-DAEMON@example.cn"), "example.cn"),
    lambda make: b"Authentication-Results: border.example.com; dkim=fail header.d=example.cn\r\n" + make("MAILER-DAEMON@example.cn"),
    lambda make: b"Authentication-Results: other.example.com; dkim=pass header.d=example.cn\r\n" + make("MAILER-DAEMON@example.cn"),
], ids=["another domain", "not aligned", "the recipient himself", "changed", "part of the body", "no key", "two authors", "failed there",
        "somebody else's word"])
async def test_a_signature_that_does_not_speak_for_the_recipients_mail_system_proves_nothing(here, spoil):
    """Another domain, an unaligned or person's author, a changed or partly signed body, a missing key: stored without effect."""
    notice_id, _ = await taken(here, "arrived")
    token = return_token.make(here.world, notice_id, 1)
    to = f"b+{token}@example.com"
    await came(here, spoil(lambda sender: bounces.report(to=to, recipient=MAILBOX, trace=FROM_OUTSIDE, sender=sender)))
    shown = await read(here, notice_id)
    assert last(shown) == ("failed_permanent", "dsn", False)
    assert (shown["service"]["served"], shown["service"]["conflict"]) == (True, True)


async def test_the_word_of_a_border_server_of_ours_counts(here):
    """SPF is checked where the connection was; a system that we named says so in Authentication-Results (RFC 8601)."""
    notice_id, _ = await taken(here, "arrived")
    token = return_token.make(here.world, notice_id, 1)
    raw = bounces.report(to=f"b+{token}@example.com", recipient=MAILBOX, trace=FROM_OUTSIDE, sender="MAILER-DAEMON@mx.example.cn")
    await came(here, b"Authentication-Results: border.example.com;\r\n\tspf=pass smtp.helo=mx.example.cn\r\n" + raw)
    assert last(await read(here, notice_id)) == ("failed_permanent", "dsn", True)
    assert [row.authenticated_by for row in await here.rows(t.evidence) if row.source == "dsn"] == ["spf"]


async def test_a_dns_that_does_not_answer_holds_a_mail_back_for_an_hour(here, dns):
    """Meanwhile it changes nothing; when the DNS is back it counts, and after an hour it counts as unauthenticated."""
    notice_id, _ = await taken(here, "arrived")
    token = return_token.make(here.world, notice_id, 1)
    raw = bounces.signed(bounces.report(to=f"b+{token}@example.com", recipient=MAILBOX, trace=FROM_OUTSIDE,
                                        sender="MAILER-DAEMON@example.cn"), "example.cn")
    dns.failing = True
    await came(here, raw)
    assert sorted(one["kind"] for one in (await read(here, notice_id))["evidence"]) == ["arrived", "intended"]
    here.clock.move(3601)
    await Housekeeping(here.database, here.world, here.house.providers)._receipts()
    assert last(await read(here, notice_id)) == ("failed_permanent", "dsn", False)
    dns.failing = False
    await came(here, raw)
    assert last(await read(here, notice_id)) == ("failed_permanent", "dsn", True)


async def test_a_reply_acknowledges_only_from_the_same_address(here):
    """A signed reply from the address itself acknowledges; from another mailbox of the domain, or unsigned, it does nothing."""
    notice_id, _ = await taken(here, "arrived")
    message_id = return_token.message_id(here.world, notice_id)
    for sender, domain, authenticated in (("wang@example.cn", "example.cn", False), (MAILBOX, None, False), (MAILBOX, "example.cn", True)):
        raw = bounces.reply(sender=sender, message_id=message_id)
        await came(here, raw if domain is None else bounces.signed(raw, domain))
        assert last(await read(here, notice_id)) == ("acknowledged", "reply", authenticated)
        here.clock.move(1)
    shown = await read(here, notice_id)
    assert next(one for one in shown["service"]["alternatives"] if one["rule"] == "court-31")["basis"] == "delivered"


async def test_a_vacation_note_is_no_acknowledgement(here):
    """Signed and from the address itself: still a program's."""
    notice_id, _ = await taken(here, "arrived")
    raw = bounces.reply(sender=MAILBOX, message_id=return_token.message_id(here.world, notice_id), Auto_Submitted="auto-replied")
    await came(here, bounces.signed(raw, "example.cn"))
    shown = await read(here, notice_id)
    assert last(shown)[:2] == ("unmapped", "reply")
    assert shown["service"]["conflict"] is False


async def test_a_read_receipt_is_access(here):
    """An MDN `displayed` (RFC 8098) from the address itself, signed by its domain; unsigned it has no effect."""
    notice_id, _ = await taken(here)
    raw = bounces.displayed(sender=MAILBOX, message_id=return_token.message_id(here.world, notice_id))
    await came(here, raw)
    assert not (await read(here, notice_id))["service"]["served"]
    await came(here, bounces.signed(raw, "example.cn"))
    shown = await read(here, notice_id)
    assert last(shown) == ("accessed", "mdn", True)
    assert shown["service"]["served"]


async def test_the_same_mail_twice_is_listed_once_counted(here):
    """A way in may bring a mail again after a crash."""
    notice_id, one = await taken(here)
    raw = bounces.report(to="n@example.com", recipient=MAILBOX, action="delivered", status="2.0.0", envelope_id=one.reference)
    await came(here, raw)
    here.clock.move(1)
    await came(here, raw)
    shown = await read(here, notice_id)
    arrivals = [one for one in shown["evidence"] if one["kind"] == "arrived"]
    assert [one["duplicate_of"] for one in arrivals] == [None, arrivals[0]["id"]]
    assert shown["service"]["revision"] == 1


async def test_mail_that_is_nothing_of_ours_is_kept_and_changes_nothing(here):
    """Spam, a token that somebody made up, garbage: the bytes stay sealed, no evidence is made."""
    await taken(here)
    before = len(await here.rows(t.evidence))
    for raw in (b"Subject: Buy\r\n\r\nnow\r\n", b"\0\xff" * 50, bounces.report(to="b+" + "a" * 45 + "@example.com", recipient=MAILBOX),
                bounces.reply(sender=MAILBOX, message_id="a" * 45 + "@notices.example.com")):
        await came(here, raw)
    rows = await here.rows(t.receipt)
    assert {row.state for row in rows} == {"applied"}
    assert all(row.sealed is not None for row in rows)
    assert len(await here.rows(t.evidence)) == before
