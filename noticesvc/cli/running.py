"""What commands share: the --config option, opening a database or an installation, and printing for people or programs."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from noticesvc.bootstrap.installation import Installation
    from noticesvc.config import Settings
    from noticesvc.storage.database import Database

T = TypeVar("T")
_NARROWEST = 110  # columns; a narrower terminal breaks lines itself, which loses nothing
EVERYTHING = 100_000  # rows that one command shows at most

config_option = click.option(
    "--config", "config_file", metavar="FILE", envvar="NOTICESVC_CONFIG", required=True,
    type=click.Path(path_type=Path, dir_okay=False), help="The installation's config.toml [env: NOTICESVC_CONFIG].")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def load_settings(config_file: Path) -> "Settings":
    """The settings of an installation. Short commands log only what is grave: their own sentence says the rest."""
    from noticesvc import config, logs
    logs.configure("critical")
    return config.load(config_file)


def with_database(config_file: Path, work: Callable[["Database"], Awaitable[T]]) -> T:
    """Run `work` on the installation's database, without opening the rest. ConfigurationError if it is not migrated."""
    import asyncio

    from noticesvc.bootstrap import schema
    from noticesvc.bootstrap.installation import open_database
    from noticesvc.errors import DatabaseUnavailable, NoticesvcError

    async def run() -> T:
        database = open_database(load_settings(config_file))
        try:
            return await work(database)
        except Exception as error:
            if isinstance(error, DatabaseUnavailable) or not isinstance(error, NoticesvcError):
                await schema.check(database)  # a missing table looks like a broken database, or like a fault of ours
            raise
        finally:
            await database.close()
    return asyncio.run(run())


def with_installation(config_file: Path, work: Callable[["Installation"], Awaitable[T]]) -> T:
    """Run `work` on the whole installation, opened and checked."""
    import asyncio

    from noticesvc.bootstrap.installation import Installation

    async def run() -> T:
        installation = await Installation.open(load_settings(config_file))
        try:
            return await work(installation)
        finally:
            await installation.close()
    return asyncio.run(run())


def show(rows: Sequence[dict[str, Any]], columns: dict[str, str], *, as_json: bool) -> None:
    """Print rows as a table under these titles, or as JSON with all their members."""
    if as_json:
        import json
        click.echo(json.dumps(list(rows), ensure_ascii=False, indent=2))
        return
    from rich.table import Table
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in columns.values():
        table.add_column(title, overflow="fold", no_wrap=not table.columns)  # the first names the row: whole, to be copied
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in columns))
    console().print(table)


def console() -> "Console":
    """Where tables go. Into a pipe a table is as wide as its rows: no program should have to join broken lines."""
    from rich.console import Console
    made = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 10_000)
    made.width = max(made.width, _NARROWEST)
    return made


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def moment(micros: int | None) -> str | None:
    """Microseconds since 1970 as RFC 3339."""
    from noticesvc.domain import instant
    return None if micros is None else instant.text(instant.from_micros(micros))
