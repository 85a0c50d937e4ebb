"""`noticesvc doctor`: is this installation fit to run, and if not, what is to be done."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noticesvc.cli.running import config_option, json_option, show

if TYPE_CHECKING:
    from noticesvc.bootstrap.doctor import Finding



@click.command()
@config_option
@json_option
def doctor(config_file: Path, as_json: bool) -> None:
    """Examine an installation: configuration, keys, disk, database, clock, calendar, public address, every provider.

    Sends nothing and changes nothing. Ends with status 1 if something failed; a warning leaves it 0.
    """
    import asyncio

    from noticesvc import logs
    from noticesvc.bootstrap import doctor as bootstrap

    async def run() -> list["Finding"]:
        found = []
        async for finding in bootstrap.examine(config_file):
            found.append(finding)
            if not as_json:
                click.echo(f"{click.style(finding.state.ljust(8), fg=_color(finding.state))} {finding.subject.ljust(18)} {finding.says}")
        return found

    logs.configure("critical")
    found = asyncio.run(run())
    if as_json:
        show([{"subject": one.subject, "state": one.state, "says": one.says} for one in found], {}, as_json=True)
    if any(one.state == "failed" for one in found):
        raise click.exceptions.Exit(1)


def _color(state: str) -> str | None:
    return {"ok": "green", "warning": "yellow", "failed": "red"}.get(state)
