"""Brings a database to the schema of this version, and says whether it is there.

Every start of the service and every command asks for the version, so that is answered without loading Alembic: from its
table, and from the names of the files in migrations/versions. A test holds that Alembic agrees.
"""

from pathlib import Path

from sqlalchemy import inspect, text

from noticesvc.storage.transaction import Tx

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(tx: Tx) -> None:
    """Run the missing migrations in this transaction; two hosts that start at once wait for each other."""
    if tx.postgresql:
        tx.conn.exec_driver_sql("set local lock_timeout = '60s'")  # longer than any request may hold up another one
        tx.conn.exec_driver_sql("select pg_advisory_xact_lock(7103561)")
    from alembic import command
    from alembic.config import Config
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = tx.conn
    command.upgrade(config, "head")


def current(tx: Tx) -> str | None:
    """The version the database is at; null for an empty one."""
    if not inspect(tx.conn).has_table("alembic_version"):
        return None
    found: str | None = tx.conn.execute(text("select version_num from alembic_version")).scalar()
    return found


def floor(tx: Tx) -> str | None:
    """The least version whose programs still understand the tables; null where no migration has said so yet."""
    if not inspect(tx.conn).has_table("schema_floor"):
        return None
    found: str | None = tx.conn.execute(text("select least from schema_floor")).scalar()
    return found


def supports(tx: Tx) -> bool:
    """Whether this program can work on the database: it is at its version, or at a later one that only added to it."""
    at, mine = current(tx), head()
    if at is None or mine is None or at < mine:
        return False
    return at == mine or (floor(tx) or at) <= mine


def head() -> str | None:
    """The version of this code: that of the last migration, whose file is named `v<version>_<word>.py`."""
    return max((path.name[1:].partition("_")[0] for path in _MIGRATIONS.glob("versions/v*_*.py")), default=None)
