"""`noticesvc contacts`: which contacts of a recipient were in effect at a time, and how they came and went.

Works on the installation itself, beside a live service. What it prints are whole addresses: a terminal of the legal team is
no log.
"""

from pathlib import Path

import click

from noticesvc.cli.running import config_option, json_option, with_installation

COLUMNS = {"channel": "channel", "address": "address", "confirmation": "confirmation", "state": "state", "source": "source",
           "effective_from": "in effect from (Shanghai)", "effective_to": "until", "recorded_at": "recorded", "contact_id": "contact"}


@click.group()
def contacts() -> None:
    """Which contacts of a recipient were in effect, and when (clauses 二.4 and 6.3)."""


@contacts.command()
@config_option
@json_option
@click.argument("recipient_id", metavar="RECIPIENT")
@click.option("--at", "at_text", metavar="TIME", help="An RFC 3339 time with an offset; left out: now.")
@click.option("--history", is_flag=True, help="Every version ever recorded, in order of recording, instead.")
def show(config_file: Path, as_json: bool, recipient_id: str, at_text: str | None, history: bool) -> None:
    """Show the contacts of RECIPIENT that were in effect at a time, in order of preference."""
    from noticesvc.cli import running, timeline
    from noticesvc.domain import instant
    from noticesvc.errors import Fault, InputError
    from noticesvc.operations import recipients

    if history and at_text is not None:
        raise click.UsageError("Give --at or --history, not both.")
    try:
        at = None if at_text is None else instant.to_micros(instant.parse(at_text))
    except ValueError:
        raise InputError("The time cannot be read.", (Fault("--at", "must be an RFC 3339 time with an offset"),)) from None
    if history:
        items, _ = with_installation(config_file, lambda here: here.database.read(
            recipients.history, here.world, recipient_id, None, running.EVERYTHING))
    else:
        found = with_installation(config_file, lambda here: here.database.read(recipients.get_contacts, here.world, recipient_id, at))
        items = found["contacts"]
        if not as_json:
            click.echo(f"In effect at {timeline.shanghai(found['at'])} Shanghai ({timeline.utc(found['at'])}):")
    if not as_json:
        items = [one | {name: timeline.shanghai(one[name]) for name in ("effective_from", "effective_to", "recorded_at")} for one in items]
        if not items:
            click.echo("none")
            return
    running.show(items, COLUMNS, as_json=as_json)
