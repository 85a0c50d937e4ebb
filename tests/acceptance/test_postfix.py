"""The `smtp` provider against a real Postfix: a private instance on loopback that delivers into Maildirs."""

import asyncio
import os
import pwd
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from noticesvc.provider import Message, PermanentFailure
from providers.smtp import Smtp
from tests.fakes.smtp_server import SmtpServer
from tests.support.needs import missing
from tests.support.postgres import free_port

pytestmark = pytest.mark.real_peer

MAIN = """compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {home}/log
maillog_file_prefixes = {home}
myhostname = relay.test
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = here.test
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = inline:{{ {{ li@here.test = li/ }} {{ notices@here.test = notices/ }} }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
relay_domains = gone.test elsewhere.test slow.test
transport_maps = inline:{{ {{ gone.test = smtp:[127.0.0.1]:{gone} }}
    {{ elsewhere.test = smtp:[127.0.0.1]:{elsewhere} }} {{ slow.test = smtp:[127.0.0.1]:{slow} }} }}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = permit_mynetworks, reject
smtp_tls_security_level = none
smtp_dns_support_level = disabled
delay_warning_time = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
"""
SERVICES = """pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass
class Postfix:
    """A running instance: its port, its Maildirs and its log."""

    port: int
    mail: Path
    log: Path

    async def next_mail(self, mailbox):
        """The bytes of the next mail in a Maildir, taken out of it."""
        new = self.mail / mailbox / "new"
        for _ in range(600):
            for path in sorted(new.glob("*")):
                raw = path.read_bytes()
                path.unlink()
                return raw
            await asyncio.sleep(0.05)
        pytest.fail(f"no mail came for {mailbox}; the log says:\n{self.log.read_text()}")


@pytest.fixture
async def postfix(needs, tmp_path_factory):
    """A private Postfix, three scripted servers behind it: one without the mailbox, one good, one busy."""
    program = needs("postfix")
    if os.geteuid() != 0:
        missing("Postfix", "its master starts only as root; run this test as root")
    owner, reader = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
    home, port = tmp_path_factory.mktemp("postfix"), free_port()
    for folder in (home, *home.parents):  # Postfix's own accounts must reach it
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o111)
    for name in ("conf", "queue", "data", "mail"):
        (home / name).mkdir(mode=0o755)
    os.chown(home / "data", owner.pw_uid, owner.pw_gid)
    os.chown(home / "mail", reader.pw_uid, reader.pw_gid)
    without = SmtpServer({"RCPT": [b"550 5.1.1 No such user here\r\n"]})
    busy = SmtpServer({"RCPT": [b"451 4.2.1 Busy\r\n"]})
    async with without, busy, SmtpServer(extensions=("8BITMIME",)) as good:
        (home / "conf" / "main.cf").write_text(MAIN.format(
            home=home, uid=reader.pw_uid, gid=reader.pw_gid, gone=without.port, elsewhere=good.port, slow=busy.port))
        (home / "conf" / "master.cf").write_text(f"127.0.0.1:{port} inet n - n - - smtpd\n" + SERVICES)
        command = [program, "-c", os.fspath(home / "conf")]
        started = await asyncio.to_thread(subprocess.run, [*command, "start"], capture_output=True, check=False)
        assert started.returncode == 0, started.stderr
        try:
            yield Postfix(port, home / "mail", home / "log")
        finally:
            await asyncio.to_thread(subprocess.run, [*command, "stop"], capture_output=True, check=True)


@asynccontextmanager
async def opened(postfix, **settings):
    chosen = dict(host="127.0.0.1", port=postfix.port, from_address="notices@here.test") | settings
    provider = Smtp.configure("mail", "email", 15, Smtp.Settings(**chosen))
    await provider.open(None)
    yield provider
    await provider.close()


def notice(to, number=1):
    mime = (f"From: notices@here.test\r\nTo: {to}\r\nSubject: Notice\r\nMessage-ID: <d{number}@n.test>\r\n\r\n"
            ".Hello,\r\n..and more\r\n").encode()
    return Message(reference=f"0199-abc.{number}", message_id=f"d{number}@n.test", channel="email", to=to,
                   subject="Notice", text="", mime=mime, callback_url=None, commercial=False)


async def test_delivered_mail_is_whole_and_its_success_report_says_arrived(postfix):
    """The mail comes through unchanged, dots included, and Postfix's own DSN finds our reference."""
    async with opened(postfix) as provider:
        answer = await provider.submit(notice("li@here.test"))
        mail = await postfix.next_mail("li")
        (receipt,) = provider.parse_receipt(await postfix.next_mail("notices"), "message/rfc822")
    assert answer.raw.startswith(b"250 2.0.0 Ok: queued as ")
    assert answer.raw == f"250 2.0.0 Ok: queued as {answer.provider_reference}\r\n".encode()
    assert mail.endswith(b"\n.Hello,\n..and more\n")
    assert (receipt.kind, receipt.reference, receipt.recipient) == ("arrived", "0199-abc.1", "li@here.test")
    assert receipt.provider_reference == answer.provider_reference


async def test_unknown_mailbox_is_refused_at_rcpt(postfix):
    """Postfix says 550 5.1.1 for a mailbox it does not have."""
    async with opened(postfix) as provider:
        with pytest.raises(PermanentFailure) as caught:
            await provider.submit(notice("nobody@here.test"))
        assert (await provider.submit(notice("li@here.test", 2))).raw
    assert caught.value.code == "5.1.1"
    assert caught.value.raw.startswith(b"550 5.1.1 <nobody@here.test>")


@pytest.mark.parametrize(("to", "kind", "code"), [
    ("zhang@gone.test", "failed_permanent", "5.1.1"),
    ("wang@elsewhere.test", "relayed", "2.0.0"),
    ("zhao@slow.test", "unmapped", "4.2.1"),
], ids=["bounced later", "relayed without DSN", "delayed"])
async def test_what_becomes_of_it_later_is_reported(postfix, to, kind, code):
    """A bounce, a hand-over to a server without DSN and a delay come back as DSNs of our own relay."""
    async with opened(postfix) as provider:
        await provider.submit(notice(to))
        (receipt,) = provider.parse_receipt(await postfix.next_mail("notices"), "message/rfc822")
    assert (receipt.kind, receipt.code, receipt.reference, receipt.recipient) == (kind, code, "0199-abc.1", to)
    assert receipt.claimed_time_raw


async def test_fifty_mails_over_four_connections(postfix):
    """Kept connections carry many mails; none is lost and each has its own queue id."""
    async with opened(postfix, connections=4, dsn=False) as provider:
        answers = await asyncio.gather(*(provider.submit(notice("li@here.test", n)) for n in range(50)))
        mails = [await postfix.next_mail("li") for _ in range(50)]
    assert len({answer.provider_reference for answer in answers}) == 50
    assert len({line for mail in mails for line in mail.split(b"\n") if line.startswith(b"Message-ID")}) == 50
    assert postfix.log.read_text().count(": connect from") <= 4
