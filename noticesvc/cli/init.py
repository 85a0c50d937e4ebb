"""`noticesvc init` makes an installation, `noticesvc migrate` brings its database to this version."""

from pathlib import Path

import click

from noticesvc.cli.running import config_option, load_settings


@click.command()
@click.option("--dir", "folder", metavar="DIR", required=True, type=click.Path(path_type=Path, file_okay=False),
              help="The folder to make or to complete.")
@click.option("--database", "database_url", metavar="URL",
              help="postgresql+asyncpg://USER:PASSWORD@HOST/NAME of an empty database that exists; left out: SQLite in DIR.")
def init(folder: Path, database_url: str | None) -> None:
    """Make a new installation in DIR.

    Writes config.toml, a ledger key and a vault key (0600), migrates the database, and prints one API key with every
    scope as its last line; the key is shown this once. Nothing that exists is overwritten: an interrupted init is
    completed by the next one, and where all is there already it says so and ends with status 1, because there is no
    key to print.
    """
    import asyncio
    import os

    from noticesvc import logs
    from noticesvc.bootstrap import foundation

    logs.configure("critical")
    os.umask(0o077)  # the SQLite file too is its owner's alone
    done = asyncio.run(foundation.found(folder, database_url))
    for name in done.kept:
        click.echo(f"exists, left as it is: {name}", err=True)
    if done.secret is None:
        click.echo("noticesvc: There is an installation here already, with API keys; nothing was overwritten. "
                   "Make a further key with `noticesvc keys create`.", err=True)
        raise SystemExit(1)
    for name in done.made:
        click.echo(f"made: {name}")
    click.echo("The sandbox takes every message and sends none; replace it in config.toml before anything counts.")
    click.echo(f"Begin with: noticesvc serve --config {done.config_file}")
    click.echo("An API key with every scope, shown this once:")
    click.echo(done.secret)


@click.command()
@config_option
def migrate(config_file: Path) -> None:
    """Bring the database to the version of this program.

    On SQLite stop the service first. On PostgreSQL programs of the version before work on meanwhile and afterwards: a migration gives
    way while a table is in use, says for whom it waits, and tries again for a quarter of an hour. On an empty database it makes all
    tables.
    """
    import asyncio

    from noticesvc.bootstrap import foundation
    before, after = asyncio.run(foundation.upgrade(load_settings(config_file), lambda sentence: click.echo(sentence, err=True)))
    click.echo(f"The database was at version {before or 'none'} and is now at {after}."
               if before != after else f"The database is at version {after} already.")
