"""`noticesvc status`: what waits, what is unknown, how far the ledger is; once, or again and again until interrupted."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noticesvc.cli.running import config_option, console, json_option, load_settings, with_database

if TYPE_CHECKING:
    from rich.console import RenderableType

    from noticesvc.operations.watching import Figures, Waiting


@click.command()
@config_option
@json_option
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C.")
def status(config_file: Path, as_json: bool, watch: bool) -> None:
    """Show what waits and for how long, by category, and whether anything was dropped.

    Reads the database alone, so it works beside a running service and where none runs. Ends with status 1 if a notice is in
    nobody's care.
    """
    from noticesvc.operations import watching

    if watch and not as_json:
        _watch(config_file)
        return
    seen = with_database(config_file, lambda database: database.read(watching.look))
    if as_json:
        import json
        from dataclasses import asdict
        click.echo(json.dumps(asdict(seen) | {"unowned": [{"notice_id": n, "channel": c} for n, c in seen.unowned]}, indent=2))
    else:
        console().print(_shown(seen))
    if seen.unowned:
        raise click.exceptions.Exit(1)


def _watch(config_file: Path) -> None:
    import asyncio

    from rich.live import Live

    from noticesvc.bootstrap import schema
    from noticesvc.bootstrap.installation import open_database
    from noticesvc.operations import watching

    async def run() -> None:
        database = open_database(load_settings(config_file))
        try:
            await schema.check(database)
            with Live(console=console(), auto_refresh=False) as live:
                while True:
                    live.update(_shown(await database.read(watching.look)), refresh=True)
                    await asyncio.sleep(1)
        finally:
            await database.close()
    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        return


def _shown(seen: "Figures") -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from noticesvc.cli.timeline import table

    queues = [[category, many(waiting), age(waiting.oldest_s)] for category, waiting in seen.queues.items()]
    rest: list[list[Any]] = [
        ["outcome unknown", _number(seen.unknown), "-"],
        ["SMS without a receipt for over an hour", _number(seen.late_receipts), "-"],
        ["receipts not read yet", many(seen.receipts), age(seen.receipts.oldest_s)],
        ["receipts of an unknown attempt", _number(seen.orphans), "-"],
        ["outgoing events due", many(seen.events), age(seen.events.oldest_s)],
        ["transactions waiting for the ledger", many(seen.ledger), age(seen.ledger.oldest_s)],
    ]
    signed = "none yet" if seen.checkpoint_age_s is None else f"{seen.checkpoint_size:,} entries, signed {age(seen.checkpoint_age_s)} ago"
    parts: list[Any] = [
        table(["due deliveries", "number", "oldest due for"], queues or [["none", "0", "-"]]), Text(""),
        table(["also", "number", "oldest for"], rest), Text(""),
        Text(f"checkpoint     {signed}"),
    ]
    if seen.unowned:
        some = ", ".join(f"{notice_id} on {channel}" for notice_id, channel in seen.unowned[:3])
        parts.append(Text(f"conservation   DROPPED: nobody is to take care of {some}; run `noticesvc ledger audit`", style="bold red"))
    else:
        parts.append(Text("conservation   every unfinished notice has an owner", style="green"))
    return Group(*parts)


def many(waiting: "Waiting") -> str:
    """How many wait."""
    return _number(waiting.count)


def _number(count: int) -> str:
    from noticesvc.operations.watching import AT_MOST
    return f"{count:,}" + (" or more" if count >= AT_MOST else "")


def age(seconds: float) -> str:
    """Seconds for people; a dash for none."""
    if seconds <= 0:
        return "-"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 120 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
