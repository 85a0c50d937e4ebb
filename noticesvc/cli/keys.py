"""`noticesvc keys`: API keys are made, listed and revoked here and nowhere else."""

from pathlib import Path

import click

from noticesvc.cli.running import config_option, json_option, moment, show, with_database


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    Only a hash of a key is stored; the secret is shown once, as the last line of `create`.
    """


@keys.command()
@config_option
@click.option("--name", required=True, metavar="NAME", help="What the key is for; unique, also among revoked keys.")
@click.option("--scope", "scopes", required=True, multiple=True, metavar="SCOPE",
              help="What it may do, such as notices:write; repeat for several.")
@click.option("--category", "categories", multiple=True, metavar="CATEGORY",
              help="Limit it to notices of this category; repeat for several. Left out: all.")
def create(config_file: Path, name: str, scopes: tuple[str, ...], categories: tuple[str, ...]) -> None:
    """Make a key and print its secret as the last line.

    Scopes: notices:write notices:read contacts:write contacts:read broadcasts:write broadcasts:approve proofs:read
    inbox evidence:write ops.
    """
    from noticesvc.operations import keys as operations
    click.echo(with_database(config_file, lambda database: database.write(operations.create, name, scopes, categories)))


@keys.command(name="list")
@config_option
@json_option
def list_(config_file: Path, as_json: bool) -> None:
    """List all keys, without their secrets."""
    from noticesvc.operations import keys as operations
    rows = with_database(config_file, lambda database: database.read(operations.listed))
    shown = [row | {"created_at": moment(row["created_at"]), "revoked_at": moment(row["revoked_at"])} for row in rows]
    show(shown, {"name": "name", "scopes": "scopes", "categories": "categories", "created_at": "created at",
                 "revoked_at": "revoked at"}, as_json=as_json)


@keys.command()
@config_option
@click.argument("name")
def revoke(config_file: Path, name: str) -> None:
    """Revoke the key NAME: every process refuses it from now on."""
    from noticesvc.errors import ConfigurationError
    from noticesvc.operations import keys as operations
    if not with_database(config_file, lambda database: database.write(operations.revoke, name)):
        raise ConfigurationError("No key has this name; `noticesvc keys list` shows them.")
    click.echo(f"revoked: {name}")
