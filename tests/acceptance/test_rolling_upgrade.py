"""Two versions on one PostgreSQL: the database is migrated under traffic, processes are replaced in turn, and one below the floor ends.

The new version is this one with further migrations; `python -m bench.upgrade OLD` does the same from an older checkout.
"""

import shutil

import pytest

from bench.crash.rolling import Rolling
from bench.crash.service import DidNotStart, Service, installed
from noticesvc.storage import migrate
from tests.fakes.smtp_server import SmtpServer
from tests.support.process import PATIENT, PIPELINING
from tests.support.waiting import PATIENCE_S

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(300)]

ADDS = '''
"""Adds what an expanding migration may add."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9997", "{head}"

def upgrade():
    for table in ("notice", "delivery", "recipient", "contact"):
        op.add_column(table, sa.Column("later", sa.Text(), nullable=True))
    op.add_column("evidence", sa.Column("later", sa.Text(), nullable=False, server_default="x"))
    op.create_table("later", sa.Column("id", sa.BigInteger(), primary_key=True))
    op.create_index("ix_delivery_later", "delivery", ["later"])
'''
TAKES_AWAY = '''
"""Takes something away, and so raises the floor to the version that does without it."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9998", "9997"

def upgrade():
    op.drop_column("delivery", "avoid")
    op.drop_column("delivery", "later")
    op.execute("update schema_floor set least = '9997'")
'''


def version_with(folder, **further):
    """What makes a process another version of this program: its migrations, and some more by their file names."""
    shutil.copytree(migrate._MIGRATIONS, folder)
    for name, text in further.items():
        (folder / "versions" / f"{name}.py").write_text(text.format(head=migrate.head()))
    return f"from pathlib import Path; from noticesvc.storage import migrate; migrate._MIGRATIONS = Path({str(folder)!r})"


async def test_the_database_is_migrated_and_processes_are_replaced_under_traffic(durable_postgres, tmp_path):
    """No caller is refused, every notice comes once; the old version ends, and says why, when a migration takes away what it needs."""
    async with SmtpServer({}, extensions=PIPELINING) as mail:
        old = await installed(tmp_path / "service", smtp_port=mail.port, sms_port=9, database_url=durable_postgres.new_database(),
                              worker=PATIENT["worker"], mail=PATIENT["mail"])
        new = Service(old.folder, version=version_with(tmp_path / "new", v9997_adds=ADDS))
        newest = Service(old.folder, version=version_with(tmp_path / "newest", v9997_adds=ADDS, v9998_takes_away=TAKES_AWAY))
        rolling = Rolling(old, new, mail)
        try:
            rolled = await rolling.roll(tmp_path)
            assert rolled.findings == []
            assert f"was at version {migrate.head()} and is now at 9997" in rolled.migrated
            # What is below the floor: it ends by itself, and does not start again. No other is there, whose log is the same file.
            await new.kill()
            left_over = await rolling.start(old, "worker")
            status, output = await newest.command("migrate", "--config", str(newest.config_file))
            assert status == 0, output
            assert await old.gone(left_over, PATIENCE_S) == 1
            says = f"The database is at version 9998, which this program ({migrate.head()}) no longer understands"
            assert says in old.log.read_text()
            with pytest.raises(DidNotStart, match="no longer understands; install the newer program here too"):
                await rolling.start(old, "worker")
        finally:
            for one in (old, new, newest):
                await one.kill()
