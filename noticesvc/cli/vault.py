"""`noticesvc vault`: rotation of the master key that wraps every recipient's key."""

from pathlib import Path

import click

from noticesvc.cli.running import config_option, load_settings, with_database


@click.group()
def vault() -> None:
    """The master key of personal data."""


@vault.command()
@config_option
@click.option("--stage", type=click.Choice(["key", "rewrap", "retire"]),
              help="Do one stage. Left out: key and rewrap.")
def rotate(config_file: Path, stage: str | None) -> None:
    """Make a new master key and wrap every recipient's key under it.

    May run beside the service. Where services on several hosts share one database: `--stage key`, copy the vault key
    file to every host, then `--stage rewrap`. `--stage retire` takes the old master keys out of the file, once nothing is
    wrapped under them; backups made before that still need the old file.
    """
    from noticesvc.bootstrap import master_key

    settings = load_settings(config_file)
    if stage in (None, "key"):
        click.echo(f"new master key: version {master_key.add(settings)}")
    if stage in (None, "rewrap"):
        count = with_database(config_file, lambda database: master_key.rewrap(settings, database))
        click.echo(f"wrapped again: {count}")
    if stage == "retire":
        version = with_database(config_file, lambda database: master_key.retire(settings, database))
        click.echo(f"only version {version} is left in the vault key file")
