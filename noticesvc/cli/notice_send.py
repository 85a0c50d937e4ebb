"""`noticesvc notice send`: one notice from the shell, with the same checks, defaults and errors as `POST /v1/notices`."""

from pathlib import Path
from typing import Any

import click

from noticesvc.cli.notice_body import body, notice_options
from noticesvc.cli.running import config_option, json_option, with_installation


@click.command()
@config_option
@json_option
@click.option("--recipient", "recipient_id", required=True, metavar="ID", help="The caller's id of the recipient.")
@notice_options
@click.option("--idempotency-key", metavar="KEY", help="The same key again does not send again.")
@click.option("--as", "key_name", default="root", show_default=True, metavar="NAME", help="The API key in whose name it is sent.")
@click.option("--dry-run", is_flag=True, help="Show contacts, texts and deadlines, and send nothing.")
def send(config_file: Path, as_json: bool, key_name: str, idempotency_key: str | None, dry_run: bool, **options: Any) -> None:
    """Send one notice; prints its id.

    The notice is durable when the id is printed; the running service dispatches it. Times are RFC 3339 with an offset.
    """
    import json

    from noticesvc.api import wire
    from noticesvc.api.notice_wire import BatchItem, request_of

    # Through the same door as over HTTP, so that the same things are refused in the same words.
    asked = wire.parse(BatchItem, json.dumps(body(**options) | ({"idempotency_key": idempotency_key} if idempotency_key else {})).encode())
    answer = with_installation(config_file, lambda here: _send(here, key_name, request_of(asked, asked.idempotency_key), dry_run))
    if as_json or dry_run:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    for warning in answer["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    if answer["replayed"]:
        click.echo("This idempotency key was used before; nothing new was sent.", err=True)
    click.echo(answer["id"])


async def _send(here: Any, key_name: str, request: Any, dry_run: bool) -> dict[str, Any]:
    from noticesvc.operations import accept, keys
    from noticesvc.operations.dry_run import dry_run as tried
    access = await here.database.read(keys.named, key_name)
    access.require(("notices:write",))
    if dry_run:
        shown: dict[str, Any] = await here.database.read(tried, here.world, access, request)
        return shown
    outcome, = await here.database.write(accept.accept, here.world, [(access, request)])
    if not isinstance(outcome, accept.Accepted):
        raise outcome
    return {"id": outcome.id, "accepted_at": outcome.accepted_at, "warnings": list(outcome.warnings), "replayed": outcome.replayed}
