"""`noticesvc notice`: send one, show its story, list, and find what was sent to somebody, some address or in some case.

Every verb works on the installation itself (`--config`) through operations, as `keys` does, not over HTTP: it may run beside a
live service, needs no URL and no secret on the command line, and reads addresses that are sealed. Whoever can read the vault
key may do all this anyway. What is sent here is dispatched by the workers of the service.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from noticesvc.cli.running import EVERYTHING, config_option, json_option, show, with_installation
from noticesvc.domain.notice import CATEGORIES, STATES

F = TypeVar("F", bound=Callable[..., Any])
COLUMNS = {"id": "notice", "accepted_at": "accepted (Shanghai)", "recipient_id": "recipient", "category": "category",
           "reference": "reference", "state": "state", "served_at": "served (Shanghai)", "channel": "channel"}


@click.group()
def notice() -> None:
    """Send, show, list and find notices."""


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command
    return decorate


_filters = _options(
    click.option("--recipient", metavar="ID", help="The caller's id of the recipient."),
    click.option("--category", type=click.Choice(CATEGORIES)),
    click.option("--state", type=click.Choice(STATES)),
    click.option("--from", "from_text", metavar="WHEN",
                 help="Accepted on this Shanghai date (2026-10-09) or at this RFC 3339 time, or later."),
    click.option("--to", "to_text", metavar="WHEN", help="Accepted on this Shanghai date or before; or before this RFC 3339 time."),
    click.option("--limit", type=click.IntRange(1, EVERYTHING), default=50, show_default=True, help="The newest so many."),
    click.option("--after", metavar="NOTICE", help="Only older ones than this notice: the next page."),
)


@notice.command(name="list")
@config_option
@json_option
@_filters
def list_(config_file: Path, as_json: bool, **filters: Any) -> None:
    """List notices, the newest first."""
    _list(config_file, as_json, None, {}, **filters)


@notice.command()
@config_option
@json_option
@click.option("--address", metavar="ADDRESS", help="A number, mailbox or postal address that the recipient has or ever had.")
@click.option("--reference", metavar="REFERENCE", help="The caller's reference.")
@click.option("--case", "case_number", metavar="NUMBER", help="The court's case number.")
@_filters
def find(config_file: Path, as_json: bool, address: str | None, reference: str | None, case_number: str | None,
         **filters: Any) -> None:
    """Find notices by recipient, address, reference or case, the newest first.

    An address finds the notices of everybody whose contact it ever was; the column "sent there" says by which channels a notice
    really went to it.
    """
    if not (address or reference or case_number or filters["recipient"]):
        raise click.UsageError("Give --recipient, --address, --reference or --case; `notice list` lists all.")
    _list(config_file, as_json, address, {"reference": reference, "case_number": case_number}, **filters)


def _list(config_file: Path, as_json: bool, address: str | None, more: dict[str, Any], *, recipient: str | None,
          category: str | None, state: str | None, from_text: str | None, to_text: str | None, limit: int, after: str | None) -> None:
    from noticesvc.cli import timeline
    from noticesvc.domain.identity import is_id
    from noticesvc.operations import finding
    from noticesvc.operations.notice_reading import Filter

    if after is not None and not is_id(after):
        raise click.BadParameter("is no id of a notice", param_hint="--after")
    wanted = Filter(recipient_id=recipient, category=category, state=state, accepted_from=_when("--from", from_text, 0),
                    accepted_to=_when("--to", to_text, 1), **more)
    found = with_installation(config_file, lambda here: here.database.read(finding.find, here.world, wanted, address, limit, after))
    sent = {"sent_there": "sent there"} if address is not None else {}
    rows = [one | {name: found.sent_there.get(one["id"], []) for name in sent} for one in found.items]
    if not as_json:
        rows = [one | {"accepted_at": timeline.shanghai(one["accepted_at"]), "served_at": timeline.shanghai(one["service"]["served_at"]),
                       "channel": one["service"]["channel"]} | {name: one[name] or None for name in sent} for one in rows]
        if not rows:
            click.echo("No notice fits.")
            return
    show(rows, COLUMNS | sent, as_json=as_json)
    if found.more:
        click.echo(f"There are more; the next page: --after {rows[-1]['id']}", err=True)


def _when(option: str, text: str | None, days_later: int) -> int | None:
    """A Shanghai date (its midnight, or that `days_later`) or an RFC 3339 time, in microseconds."""
    from datetime import date, datetime, timedelta

    from noticesvc.domain import instant
    if text is None:
        return None
    try:
        if len(text) == len("2026-10-09"):
            day = date.fromisoformat(text) + timedelta(days=days_later)
            return instant.to_micros(datetime.combine(day, datetime.min.time(), instant.SHANGHAI))
        return instant.to_micros(instant.parse(text))
    except (ValueError, OverflowError):
        raise click.BadParameter("must be a date like 2026-10-09 or an RFC 3339 time with an offset", param_hint=option) from None


@notice.command(name="show")
@config_option
@json_option
@click.argument("notice_id", metavar="NOTICE")
def show_(config_file: Path, as_json: bool, notice_id: str) -> None:
    """Tell the whole story of a notice: deliveries, evidence, service time under each rule, and why.

    Times stand in Asia/Shanghai and in UTC. --json gives the members of GET /v1/notices/{id} with `content` and `outcomes`.
    """
    import json

    from noticesvc.cli import timeline
    from noticesvc.domain.identity import is_id
    from noticesvc.errors import NotFound
    from noticesvc.operations import finding

    if not is_id(notice_id):
        raise NotFound("This is no id of a notice; `noticesvc notice find` looks for one.")
    story = with_installation(config_file, lambda here: here.database.read(finding.story, here.world, notice_id))
    if as_json:
        click.echo(json.dumps(story, ensure_ascii=False, indent=2))
    else:
        timeline.show(story)
