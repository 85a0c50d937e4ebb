"""`noticesvc certificate` and `noticesvc case`: certificates and case bundles at the shell, straight from the database.

Each reading is recorded like any other; a running service must sign the checkpoint that covers it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noticesvc.cli.running import config_option, with_installation

if TYPE_CHECKING:
    from noticesvc.bootstrap.installation import Installation

_PATIENCE_S = 10.0

_out = click.option("-o", "--out", required=True, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
                    help="Where to write it; a file that exists is not overwritten.")


@click.group()
def certificate() -> None:
    """Make certificates, and fetch those that were issued."""


@certificate.command()
@config_option
@click.argument("wanted", metavar="NOTICE|NUMBER")
@click.option("--reason", metavar="TEXT", help="Why; recorded, and printed on it. Needed for a new certificate.")
@click.option("--grade", type=click.Choice(("full", "brief", "summary")), default="full", show_default=True)
@click.option("--lang", type=click.Choice(("zh", "en", "both")), default="both", show_default=True)
@_out
def get(config_file: Path, wanted: str, reason: str | None, grade: str, lang: str, out: Path) -> None:
    """Write a new certificate of a notice (by its id), or the kept bytes of an issued one (by its number), to a file."""
    from noticesvc.domain.identity import is_id

    if is_id(wanted):
        made = _new(config_file, wanted, _checked(reason), grade, lang, out)
        click.echo(f"certificate {made}")
    else:
        from noticesvc.operations import certificates
        _write(out, lambda: with_installation(
            config_file, lambda here: here.database.write(certificates.pdf, here.world, None, wanted)))
    click.echo(f"written: {out}")


def _new(config_file: Path, notice_id: str, reason: str, grade: str, lang: str, out: Path) -> str:
    numbers = []

    async def run(here: "Installation") -> bytes:
        from noticesvc.operations import issuing
        made, _ = await issuing.issue(here.database, here.world, None, notice_id, reason, grade, lang, _PATIENCE_S)
        numbers.append(made.number)
        return made.pdf
    _write(out, lambda: with_installation(config_file, run))
    return numbers[0]


@click.group()
def case() -> None:
    """Fetch what a court asks for in a case."""


@case.command(name="get")
@config_option
@click.argument("case_number", metavar="CASE_NUMBER")
@click.option("--reason", required=True, metavar="TEXT", help="Why; recorded with each reading.")
@_out
def get_case(config_file: Path, case_number: str, reason: str, out: Path) -> None:
    """Write a zip with the proofs and certificates of all notices that name the case number."""
    async def run(here: "Installation") -> bytes:
        from noticesvc.operations import case_bundle
        with await case_bundle.make(here.database, here.world, None, case_number, _checked(reason), _PATIENCE_S) as file:
            return file.read()
    _write(out, lambda: with_installation(config_file, run))
    click.echo(f"written: {out}")


def _checked(reason: str | None) -> str:
    if reason is None or not 1 <= len(reason) <= 500 or not reason.isprintable():
        raise click.UsageError("--reason is one line of 1 to 500 characters.")
    return reason


def _write(out: Path, make: Callable[[], bytes]) -> None:
    """Write what is made to a new file, and leave none behind if it cannot be made."""
    try:
        file = out.open("xb")
    except FileExistsError:
        raise click.UsageError("The file exists and is not overwritten; choose another name.") from None
    try:
        with file:
            file.write(make())
    except BaseException:
        out.unlink(missing_ok=True)
        raise
