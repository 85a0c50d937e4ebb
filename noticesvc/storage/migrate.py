"""Brings a database to the schema of this version, and says whether it is there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from noticesvc.storage.transaction import Tx


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(tx: Tx) -> None:
    """Run the missing migrations in this transaction; two hosts that start at once wait for each other."""
    if tx.postgresql:
        tx.conn.exec_driver_sql("select pg_advisory_xact_lock(7103561)")
    config = _config()
    config.attributes["connection"] = tx.conn
    command.upgrade(config, "head")


def current(tx: Tx) -> str | None:
    """The version the database is at; null for an empty one."""
    return MigrationContext.configure(tx.conn).get_current_revision()


def head() -> str | None:
    """The version of this code."""
    return ScriptDirectory.from_config(_config()).get_current_head()
