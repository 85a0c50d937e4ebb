"""A rolling upgrade from another checkout to this one, under traffic, on a private PostgreSQL: `python -m bench.upgrade OLD`.

OLD is a checkout of the version before (`git worktree add /tmp/old TAG`); its programs run with this one's Python. Its API and worker
accept and send while `noticesvc migrate` of this version runs, go on afterwards, and are replaced. Nothing may be refused, lost or sent
twice, and the audit must hold. Exit status 0: nothing found. The short form is tests/acceptance/test_rolling_upgrade.py.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from bench.crash.rolling import Rolling
from bench.crash.service import ROOT, Service, installed
from tests.fakes.smtp_server import EXTENSIONS, SmtpServer
from tests.support import postgres


async def _upgrade(old_root: Path, url: str, folder: Path) -> int:
    async with SmtpServer({}, extensions=(*EXTENSIONS, "PIPELINING")) as mail:
        old = await installed(folder / "service", smtp_port=mail.port, sms_port=9, database_url=url, root=old_root)
        new = Service(folder / "service", root=ROOT)
        try:
            rolled = await Rolling(old, new, mail, lambda text: print(text, flush=True)).roll(folder)
        finally:
            await old.kill()
            await new.kill()
    print(f"{rolled.accepted} notices accepted, {rolled.elsewhere} times the other API was asked, "
          f"the slowest took {rolled.longest_s:.2f} s; found: {rolled.findings or 'nothing'}")
    return 1 if rolled.findings else 0


def main() -> int:
    """Upgrade from the checkout that was named."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("old", type=Path, metavar="OLD", help="a checkout of the version before")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, postgres.running(durable=True) as server:
        return asyncio.run(_upgrade(chosen.old.resolve(), server.new_database(), Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
