"""`noticesvc broadcast`: one notice to everybody, from the draft to the coverage report, over the HTTP API of a running service.

A broadcast needs two people with a key each, who may sit at other machines than the service: so every verb here is a request
to it (`cli.remote`), with the checks and the words that its API has.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from noticesvc.cli.broadcast_report import follow_up, report
from noticesvc.cli.broadcast_watch import watch
from noticesvc.cli.notice_body import body, notice_options
from noticesvc.cli.remote import Unanswered, ask, connect, remote_options
from noticesvc.cli.running import EVERYTHING, console, json_option, show

F = TypeVar("F", bound=Callable[..., Any])
COLUMNS = {"id": "broadcast", "name": "name", "state": "state", "created_at": "created at", "total": "total", "served": "served",
           "unserved": "unserved"}
_PAGE = 200
_CHUNK = 1 << 18
_SHOWN = 20  # rejected lines that are told on the screen
_TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


@click.group()
def broadcast() -> None:
    """One notice to everybody: draft, upload, approval, progress, report.

    create, upload, preview and warnings prepare a draft; approve, by the key of another person, freezes and starts it.
    """


def _verb(*words: str) -> Callable[[F], F]:
    """What every verb takes: where the service is, the key, --json; and its arguments."""
    def decorate(command: F) -> F:
        for word in reversed(words):
            command = click.argument(word.lower(), metavar=word)(command)
        return remote_options(json_option(command))
    return decorate


@broadcast.command()
@click.option("--name", required=True, metavar="NAME", help="What people call it.")
@click.option("--audience", required=True, type=click.Choice(["all", "upload"]),
              help="All recipients known when it is approved, or those that are uploaded.")
@click.option("--rate", "rates", metavar="CHANNEL=N", multiple=True, help="At most so many a second; repeat for several channels.")
@notice_options
@_verb()
def create(as_json: bool, name: str, audience: str, rates: tuple[str, ...], config_file: Path | None, url: str | None,
           key_file: Path | None, **options: Any) -> None:
    """Make a draft; prints its id."""
    whole: dict[str, Any] = {"name": name, "audience": {"type": audience}, "notice": body(**options)}
    if rates:
        whole["rates"] = dict(_rate(one) for one in rates)
    with connect(config_file, url, key_file) as http:
        answer = ask(http, "POST", "/v1/broadcasts", json=whole).json()
    _tell(answer, answer["id"], as_json=as_json)


def _rate(text: str) -> tuple[str, float]:
    channel, _, number = text.partition("=")
    try:
        rate = float(number)
    except ValueError:
        raise click.BadParameter("must be CHANNEL=N, such as sms=50", param_hint="--rate") from None
    return channel, int(rate) if rate.is_integer() else rate


@broadcast.command()
@click.option("--format", "form", type=click.Choice(list(_TYPES)), help="Left out: NDJSON for .ndjson and .jsonl, else CSV.")
@click.option("--encoding", metavar="NAME", help="The file's character encoding, such as gb18030; left out: the service finds it.")
@_verb("BROADCAST")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def upload(as_json: bool, broadcast: str, file: Path, form: str | None, encoding: str | None, config_file: Path | None, url: str | None,
           key_file: Path | None) -> None:
    """Upload recipients: CSV with the header recipient_id, or NDJSON.

    Another upload adds to the first; a recipient counts once. After an interruption the same file is uploaded again. Ends with
    status 1 if a line was rejected; the others stand.
    """
    media_type = _TYPES[form or ("ndjson" if file.suffix in {".ndjson", ".jsonl"} else "csv")]
    headers = {"Content-Type": f"{media_type}; charset={encoding}" if encoding else media_type, "Content-Length": str(file.stat().st_size)}
    with connect(config_file, url, key_file) as http:
        ask(http, "GET", f"/v1/broadcasts/{broadcast}")  # so that what fails later is the upload itself
        try:
            answer = ask(http, "POST", f"/v1/broadcasts/{broadcast}/recipients", headers=headers, timeout=None,
                         content=_sent(file, silent=as_json)).json()
        except Unanswered:
            raise Unanswered("The upload was cut short. Send the file again: whoever is there already counts as a duplicate.") from None
    rejected = answer.get("rejected_total", len(answer["rejected"]))
    if as_json:
        _tell(answer, "", as_json=True)
    else:
        click.echo(f"accepted {answer['accepted']:,}, duplicates {answer['duplicates']:,}, rejected {rejected:,}")
        if rejected:
            show(answer["rejected"][:_SHOWN], {"line": "line", "reason": "reason"}, as_json=False)
            click.echo("The rejected lines alone are missing: correct them and upload them in a file of their own; "
                       "--json shows the first thousand.", err=True)
    if rejected:
        raise click.exceptions.Exit(1)


def _sent(file: Path, *, silent: bool) -> Any:
    """The file's bytes, with a bar on a terminal."""
    with file.open("rb") as opened:
        if silent or not console().is_terminal:
            while chunk := opened.read(_CHUNK):
                yield chunk
            return
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        with Progress(TextColumn("uploading"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console(),
                      transient=True) as progress:
            task = progress.add_task("", total=file.stat().st_size)
            while chunk := opened.read(_CHUNK):
                yield chunk
                progress.advance(task, len(chunk))


@broadcast.command()
@click.option("--recipient", "recipient_id", required=True, metavar="ID", help="The caller's id of the recipient.")
@_verb("BROADCAST")
def preview(as_json: bool, broadcast: str, recipient_id: str, config_file: Path | None, url: str | None, key_file: Path | None) -> None:
    """Show what one recipient would get on each channel, and where."""
    with connect(config_file, url, key_file) as http:
        answer = ask(http, "GET", f"/v1/broadcasts/{broadcast}/preview", params={"recipient_id": recipient_id}).json()
    if as_json:
        _tell(answer, "", as_json=True)
        return
    out = console()
    for one in answer["messages"]:
        out.print(one["channel"], style="bold cyan")
        for line in (one["unavailable"] and f"not sent: {one['unavailable']}", one["subject"], one["text"]):
            if line:
                out.print(line)
    _warned(answer["warnings"])
    if not answer["in_audience"]:
        click.echo("warning: this recipient is not in the audience", err=True)


def _warned(warnings: Sequence[str]) -> None:
    for one in warnings:
        click.echo(f"warning: {one}", err=True)


@broadcast.command()
@_verb("BROADCAST")
def warnings(as_json: bool, broadcast: str, config_file: Path | None, url: str | None, key_file: Path | None) -> None:
    """Show what should be known before approval: whom it cannot reach, what is late, what it costs."""
    with connect(config_file, url, key_file) as http:
        answer = ask(http, "GET", f"/v1/broadcasts/{broadcast}/warnings").json()
    if as_json:
        _tell(answer, "", as_json=True)
        return
    click.echo(f"audience: {answer['audience']:,}")
    if (sms := answer["sms"]) is not None:
        price = "" if sms["price"] is None else f", {sms['price']:,.2f} {sms['currency']}"
        click.echo(f"SMS: {sms['parts']:,} parts to {sms['recipients']:,} recipients{price}{' (estimated)' if sms['estimated'] else ''}")
    for one in answer["items"]:
        click.echo(f"warning: {one['detail']}")
    if not answer["items"]:
        click.echo("Nothing to warn of.")


@broadcast.command()
@_verb("BROADCAST")
def approve(as_json: bool, broadcast: str, config_file: Path | None, url: str | None, key_file: Path | None) -> None:
    """Freeze audience, content and rule, and start; with another key than the creator's.

    `warnings` and `preview` show what is approved. Nothing of it can be changed afterwards.
    """
    _move("approve", broadcast, config_file, url, key_file, as_json=as_json,
          then=f"It runs; `noticesvc broadcast watch {broadcast}` shows how far it is.")


@broadcast.command()
@_verb("BROADCAST")
def pause(as_json: bool, broadcast: str, config_file: Path | None, url: str | None, key_file: Path | None) -> None:
    """Stop new dispatches within seconds; what is on its way goes on."""
    _move("pause", broadcast, config_file, url, key_file, as_json=as_json,
          then=f"`noticesvc broadcast resume {broadcast}` goes on with it.")


@broadcast.command()
@_verb("BROADCAST")
def resume(as_json: bool, broadcast: str, config_file: Path | None, url: str | None, key_file: Path | None) -> None:
    """Go on with a paused broadcast."""
    _move("resume", broadcast, config_file, url, key_file, as_json=as_json)


@broadcast.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@_verb("BROADCAST")
def cancel(as_json: bool, broadcast: str, yes: bool, config_file: Path | None, url: str | None, key_file: Path | None) -> None:
    """Cancel everything that is not dispatched yet, for good; what was sent stands."""
    if not yes:
        click.confirm("What is not sent yet will never be. Cancel it?", abort=True, err=True)
    _move("cancel", broadcast, config_file, url, key_file, as_json=as_json)


def _move(verb: str, broadcast: str, config_file: Path | None, url: str | None, key_file: Path | None, *, as_json: bool,
          then: str = "") -> None:
    with connect(config_file, url, key_file) as http:
        answer = ask(http, "POST", f"/v1/broadcasts/{broadcast}/{verb}").json()
    if not as_json:
        _warned(answer.get("warnings", ()))
    _tell(answer, f"{answer['state']}", as_json=as_json)
    if then and not as_json:
        click.echo(then, err=True)


def _tell(answer: Any, sentence: str, *, as_json: bool) -> None:
    import json
    click.echo(json.dumps(answer, ensure_ascii=False, indent=2) if as_json else sentence)


@broadcast.command(name="list")
@click.option("--state", type=click.Choice(["draft", "running", "paused", "completed", "cancelled"]))
@click.option("--limit", type=click.IntRange(1, EVERYTHING), default=50, show_default=True, help="The newest so many.")
@_verb()
def list_(as_json: bool, state: str | None, limit: int, config_file: Path | None, url: str | None, key_file: Path | None) -> None:
    """List broadcasts, the newest first."""
    rows: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": min(limit, _PAGE)} | ({"state": state} if state else {})
    with connect(config_file, url, key_file) as http:
        while True:
            page = ask(http, "GET", "/v1/broadcasts", params=query).json()
            rows += page["items"]
            if page["next_cursor"] is None or len(rows) >= limit:
                break
            query["cursor"] = page["next_cursor"]
    rows = rows[:limit]
    if not as_json:
        if not rows:
            click.echo("There is no broadcast yet; `noticesvc broadcast create` makes one.")
            return
        rows = [one | {name: one["counts"][name] for name in ("total", "served", "unserved")} for one in rows]
    show(rows, {name: title for name, title in COLUMNS.items() if all(name in one for one in rows)}, as_json=as_json)


for command in (watch, report, follow_up):
    broadcast.add_command(command)
