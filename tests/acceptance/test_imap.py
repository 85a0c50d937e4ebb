"""A running service reads its return path from an IMAP mailbox over TLS: a private Dovecot under a private authority."""

import asyncio

import pytest

from tests.support import bounces
from tests.support.certificates import authority_pem, signed_pem
from tests.support.dovecot import PASSWORD, USER, running_dovecot
from tests.support.process import running, state
from tests.support.waiting import until

pytestmark = pytest.mark.real_peer


@pytest.fixture
async def dovecot(needs):
    """A private Dovecot that is called localhost."""
    async with running_dovecot(needs("dovecot"), signed_pem("localhost")[0]) as made:
        yield made


def reads(run, dovecot, tls, *, host="localhost", authority=True):
    """The service's provider of mail reads this mailbox."""
    file = run.service.config_file.parent / "authority.pem"
    file.write_bytes(authority_pem())
    settings = {"host": host, "port": dovecot.imaps_port if tls == "implicit" else dovecot.port, "tls": tls, "username": USER,
                "password": PASSWORD, "tls_ca_file": file.name if authority else ""}
    with run.service.config_file.open("a") as config:
        config.write("[providers.mail.dsn_imap]\npoll_s = 0.1\n"
                     + "".join(f"{name} = {value if isinstance(value, int) else repr(value)}\n" for name, value in settings.items()))


def relayed(folder):
    """A service whose relay took a mail, which says nothing yet of its arrival."""
    return running(folder, None, patient=True, mail={"host_is": "our_relay"})


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_a_bounce_in_the_mailbox_becomes_evidence(tmp_path, dovecot, tls):
    """Put there by our relay, it fails the delivery and the contact, is deleted from the mailbox, and the audit holds."""
    async with relayed(tmp_path) as run:
        reads(run, dovecot, tls)
        await run.service.start()
        notice_id = await run.post(await run.recipient())
        sent = await run.until(notice_id, lambda notice: state(notice) == "sent")
        attempt = sent["deliveries"][0]["attempts"][0]
        dovecot.put("1.bounce", bounces.report(to="notices@example.com", recipient="u-1@sink.example", envelope_id=f"{notice_id}.email.1",
                                               queue_id=attempt["provider_reference"]))
        failed = await run.until(notice_id, lambda notice: state(notice) == "failed")
        told = [(one["kind"], one["source"], one["authenticated"]) for one in failed["evidence"] if one["source"] == "dsn"]
        assert told == [("failed_permanent", "dsn", True)]
        assert failed["service"]["basis"] == "consequence_on_recipient"
        await until(lambda: asyncio.to_thread(dovecot.left), lambda left: left == [])
        await until(lambda: run.caller.get("/readyz"), lambda answer: "dsn_imap" not in str(answer[1]))
        await run.audited()


@pytest.mark.parametrize(("tls", "more"), [("implicit", {"authority": False}), ("starttls", {"authority": False}),
                                           ("implicit", {"host": "127.0.0.1"}), ("starttls", {"host": "127.0.0.1"})], ids=str)
async def test_a_certificate_that_nobody_we_trust_signed_is_refused(tmp_path, dovecot, tls, more):
    """Unknown authority, or another name: /readyz names the setting, the password was not sent, and the mail stays where it is."""
    async with relayed(tmp_path) as run:
        reads(run, dovecot, tls, **more)
        await run.service.start()
        dovecot.put("1.bounce", b"Subject: not read\r\n\r\n")
        _, ready = await until(lambda: run.caller.get("/readyz"), lambda answer: "dsn_imap" in str(answer[1]))
        assert "No trusted TLS connection; check dsn_imap.tls and tls_ca_file." in str(ready)
        assert PASSWORD not in str(ready)
        assert len(dovecot.left()) == 1
        assert f"user=<{USER}>" not in dovecot.log.read_text()
