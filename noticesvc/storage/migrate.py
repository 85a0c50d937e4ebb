"""Brings a database to the schema of this version, and says whether it is there.

Others may work on it meanwhile, so that a migration never stands in their way for long: whoever wants a table after a migration
that waits for it waits too. So it waits LOCK_S at most, and its caller (bootstrap.schema) tries again until it had its moment.

Every start of the service and every command asks for the version, so that is answered without loading Alembic: from its
table, and from the names of the files in migrations/versions. A test holds that Alembic agrees.
"""

from pathlib import Path

from sqlalchemy import inspect, text

from noticesvc.storage.transaction import Tx

LOCK_S = 2  # under what a request waits for a lock
_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(tx: Tx, to: str = "head") -> None:
    """Run the missing migrations in this transaction, or those until version `to`; two hosts that start at once wait for each other.

    Raises DatabaseLocked (by Database.write) if a table is in use for longer than LOCK_S.
    """
    if tx.postgresql:
        tx.conn.exec_driver_sql("set local lock_timeout = '60s'")
        tx.conn.exec_driver_sql("select pg_advisory_xact_lock(7103561)")
        tx.conn.exec_driver_sql(f"set local lock_timeout = '{LOCK_S}s'")
    from alembic import command
    from alembic.config import Config
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = tx.conn
    command.upgrade(config, to)


def step(tx: Tx) -> str | None:
    """Run the next missing migration alone, so that its locks last as long as itself; the version then, null if none was missing."""
    found = missing(tx)
    if not found:
        return None
    upgrade(tx, found[0])
    return found[0]


def missing(tx: Tx) -> list[str]:
    """The versions between the database and this code, the next one first."""
    at = current(tx) or ""
    return [version for version in versions() if version > at]


def oldest(tx: Tx) -> str | None:
    """Whose transaction on this PostgreSQL database is the oldest, in words, besides our own; null if there is none."""
    found = tx.conn.execute(text(
        "select pid, application_name, extract(epoch from clock_timestamp() - xact_start)::int as s from pg_stat_activity "
        "where datname = current_database() and xact_start is not null and pid <> pg_backend_pid() order by xact_start limit 1")).first()
    return None if found is None else f"process {found.pid} ({found.application_name or 'no name'}), for {found.s} s"


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
    return max(versions(), default=None)


def versions() -> list[str]:
    """Every version that this code knows, the oldest first."""
    return sorted(path.name[1:].partition("_")[0] for path in _MIGRATIONS.glob("versions/v*_*.py"))
