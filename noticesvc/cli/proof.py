"""`noticesvc proof`: fetch proof bundles at the shell, straight from the database; the reading is recorded like any other."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noticesvc.cli.running import config_option, with_installation

if TYPE_CHECKING:
    from noticesvc.bootstrap.installation import Installation

_PATIENCE_S = 10.0
_POLL_S = 0.1

_reason = click.option("--reason", required=True, metavar="TEXT", help="Why the proof is read; recorded with the reading.")
_out = click.option("-o", "--out", required=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
                    help="Where to write the bundle; a file that exists is not overwritten.")


@click.group()
def proof() -> None:
    """Fetch proof bundles; `noticesvc verify` checks them."""


@proof.command()
@config_option
@click.argument("notice_id", metavar="ID")
@_reason
@_out
def get(config_file: Path, notice_id: str, reason: str, out: Path) -> None:
    """Write the proof bundle of the notice ID to a file.

    A running service must sign the checkpoint that covers the reading.
    """
    from noticesvc.domain import identity
    from noticesvc.errors import NotFound
    from noticesvc.operations import proving

    if not identity.is_id(notice_id):
        raise NotFound("There is no such notice.")
    _fetch(config_file, out, reason, proving.read_notice, proving.notice_proof, notice_id)


@proof.command()
@config_option
@click.argument("recipient_id", metavar="RECIPIENT_ID")
@click.option("--at", metavar="TIME", help="An RFC 3339 time with an offset; left out: now.")
@_reason
@_out
def contacts(config_file: Path, recipient_id: str, at: str | None, reason: str, out: Path) -> None:
    """Write the proof bundle of a recipient's contacts in effect at a time to a file."""
    from noticesvc.domain import instant
    from noticesvc.operations import proving

    try:
        when = None if at is None else instant.to_micros(instant.parse(at))
    except ValueError:
        raise click.UsageError("--at is no RFC 3339 time with an offset.") from None
    _fetch(config_file, out, reason, proving.read_contacts, proving.contacts_proof, recipient_id, when)


def _fetch(config_file: Path, out: Path, reason: str, read: Callable[..., Any], assemble: Callable[..., Any], *about: Any) -> None:
    import json

    if not 1 <= len(reason) <= 500 or not reason.isprintable():
        raise click.UsageError("--reason is one line of 1 to 500 characters.")
    try:
        file = out.open("x", encoding="utf-8")
    except FileExistsError:
        raise click.UsageError("The file exists and is not overwritten; choose another name.") from None
    try:
        with file:
            json.dump(with_installation(config_file, _reader(read, assemble, about, reason)), file, ensure_ascii=False)
            file.write("\n")
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    click.echo(f"written: {out}")


def _reader(read: Callable[..., Any], assemble: Callable[..., Any], about: tuple[Any, ...],
            reason: str) -> Callable[["Installation"], Awaitable[Any]]:
    async def run(installation: "Installation") -> Any:
        import asyncio

        from noticesvc.errors import UnavailableError

        database, world = installation.database, installation.world
        reading = await database.write(read, world, None, *about, reason)
        until = asyncio.get_running_loop().time() + _PATIENCE_S
        while (made := await database.read(assemble, world, reading)) is None:
            if asyncio.get_running_loop().time() > until:
                raise UnavailableError(f"No checkpoint was signed within {_PATIENCE_S:.0f} s: start `noticesvc serve`, which signs them.")
            await asyncio.sleep(_POLL_S)
        return made
    return run
