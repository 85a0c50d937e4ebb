"""A private Postfix on loopback that delivers into Maildirs, and three scripted servers behind it.

Used by the acceptance tests of mail. Mail to `li@here.example` arrives; `gone.example` has no mailbox, `elsewhere.example` takes
everything and knows no DSN, `slow.example` is always busy; `back.example` is for a test to route. What comes back goes to
`notices@` and `bounces@here.example`, with whatever stands behind a `+`.
"""

import asyncio
import os
import pwd
import subprocess
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.smtp_server import SmtpServer
from tests.support.needs import missing
from tests.support.ports import free_port

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
myhostname = relay.example
recipient_delimiter = +
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = here.example
virtual_mailbox_base = {home}/mail
virtual_mailbox_maps = inline:{{ {{ li@here.example = li/ }} {{ notices@here.example = notices/ }} {{ bounces@here.example = bounces/ }} }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
relay_domains = gone.example elsewhere.example slow.example back.example
transport_maps = inline:{{ {{ gone.example = smtp:[127.0.0.1]:{gone} }}
    {{ elsewhere.example = smtp:[127.0.0.1]:{elsewhere} }} {{ slow.example = smtp:[127.0.0.1]:{slow} }} {transports} }}
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
lmtp unix - - n - - lmtp
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

    def put(self, mailbox, name, raw):
        """Lay a mail into a Maildir, whose folders stay Postfix's to write."""
        owner, folder = pwd.getpwnam("nobody"), self.mail / mailbox
        for path in (folder, *(folder / part for part in ("tmp", "new", "cur"))):
            path.mkdir(exist_ok=True)
            os.chown(path, owner.pw_uid, owner.pw_gid)
        (folder / "new" / name).write_bytes(raw)

    async def next_mail(self, mailbox):
        """The bytes of the next mail in a Maildir, taken out of it."""
        new = self.mail / mailbox / "new"
        for _ in range(1200):
            for path in sorted(new.glob("*")):
                raw = path.read_bytes()
                path.unlink()
                return raw
            await asyncio.sleep(0.05)
        pytest.fail(f"no mail came for {mailbox}; the log says:\n{self.log.read_text()}")


@asynccontextmanager
async def running_postfix(program, transports=""):
    """Start one in a folder of its own; `transports` are further lines of transport_maps.

    Not below pytest's folder: that is closed to Postfix's accounts again whenever another pytest starts.
    """
    if os.geteuid() != 0:
        missing("Postfix", "its master starts only as root; run this test as root")
    with tempfile.TemporaryDirectory(prefix="postfix-", ignore_cleanup_errors=True) as folder:
        home, port = Path(folder), free_port()
        home.chmod(0o755)
        async with _servers() as ports:
            _configure(home, port, transports, ports)
            command = [program, "-c", os.fspath(home / "conf")]
            started = await asyncio.to_thread(subprocess.run, [*command, "start"], capture_output=True, check=False)
            log = home / "log"
            assert started.returncode == 0, (started.stderr, log.read_text() if log.exists() else "no log")
            try:
                yield Postfix(port, home / "mail", log)
            finally:
                await asyncio.to_thread(subprocess.run, [*command, "stop"], capture_output=True, check=True)


@asynccontextmanager
async def _servers():
    """One without the mailbox, one that takes everything, one that is busy."""
    without, busy = SmtpServer({"RCPT": [b"550 5.1.1 No such user here\r\n"]}), SmtpServer({"RCPT": [b"451 4.2.1 Busy\r\n"]})
    async with without, busy, SmtpServer(extensions=("8BITMIME",)) as good:
        yield {"gone": without.port, "elsewhere": good.port, "slow": busy.port}


def _configure(home, port, transports, ports):
    owner, reader = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
    for name in ("conf", "queue", "data", "mail"):
        (home / name).mkdir(mode=0o755)
    os.chown(home / "data", owner.pw_uid, owner.pw_gid)
    os.chown(home / "mail", reader.pw_uid, reader.pw_gid)
    (home / "conf" / "main.cf").write_text(MAIN.format(home=home, uid=reader.pw_uid, gid=reader.pw_gid, transports=transports, **ports))
    (home / "conf" / "master.cf").write_text(f"127.0.0.1:{port} inet n - n - - smtpd\n" + SERVICES)
