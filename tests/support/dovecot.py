"""A private Dovecot on loopback: one IMAP mailbox over a Maildir, with or without TLS.

Used by the tests of the IMAP way in. Its daemons run as Debian's own accounts, so it starts only as root.
"""

import asyncio
import os
import pwd
import subprocess
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.needs import missing
from tests.support.ports import free_port

USER, PASSWORD = "bounces", "tall-secret-4c1e"
CONFIG = """protocols = imap
listen = 127.0.0.1
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
{tls}
disable_plaintext_auth = no
mail_location = maildir:{home}/mail
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/mail
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
    ssl = {implicit}
  }}
}}
"""


@dataclass
class Dovecot:
    """A running instance; `imaps_port` is 0 where it has no certificate."""

    port: int
    imaps_port: int
    mail: Path
    log: Path

    def put(self, name, raw):
        """Deliver a mail into the mailbox."""
        owner = pwd.getpwnam("nobody")
        for folder in (self.mail, *(self.mail / part for part in ("new", "cur", "tmp"))):
            folder.mkdir(exist_ok=True)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        path = self.mail / "tmp" / name
        path.write_bytes(raw)
        os.chown(path, owner.pw_uid, owner.pw_gid)
        path.rename(self.mail / "new" / name)

    def left(self):
        """The mails that are still there."""
        return [*self.mail.glob("new/*"), *self.mail.glob("cur/*")]


@asynccontextmanager
async def running_dovecot(program, certificate=None):
    """Start one in a folder of its own; with a certificate and key (PEM) it offers STARTTLS, and TLS on a port of its own."""
    if os.geteuid() != 0:
        missing("Dovecot", "its master starts only as root; run this test as root")
    owner = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="dovecot-", ignore_cleanup_errors=True) as folder:
        home, port, imaps_port = Path(folder), free_port(), free_port() if certificate else 0
        home.chmod(0o755)
        file = home / "dovecot.conf"
        tls = "ssl = no"
        if certificate:
            (home / "pem").write_bytes(certificate)
            tls = f"ssl = yes\nssl_cert = <{home}/pem\nssl_key = <{home}/pem"
        file.write_text(CONFIG.format(home=home, port=port, imaps_port=imaps_port, implicit="yes" if certificate else "no", tls=tls,
                                      password=PASSWORD, uid=owner.pw_uid, gid=owner.pw_gid))
        process = await asyncio.create_subprocess_exec(program, "-F", "-c", os.fspath(file), stdin=subprocess.DEVNULL,
                                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found = Dovecot(port, imaps_port, home / "mail", home / "log")
        found.put("0.first", b"Subject: removed before the test\r\n\r\n")
        for path in found.left():
            path.unlink()
        try:
            await _listens(port, process, found.log)
            yield found
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _listens(port, process, log):
    for _ in range(1200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert process.returncode is None, log.read_text() if log.exists() else "Dovecot ended"
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise AssertionError(log.read_text() if log.exists() else "Dovecot does not listen")
