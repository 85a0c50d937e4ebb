"""`noticesvc broadcast report` and `follow-up`: who was not served and why, and a second broadcast to them by another way."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from noticesvc.cli.remote import ask, check, connect, remote_options, unanswered
from noticesvc.cli.running import json_option
from noticesvc.domain.evidence import CHANNELS

if TYPE_CHECKING:
    import httpx


@click.command()
@click.argument("broadcast", metavar="BROADCAST")
@remote_options
@click.option("--pdf", is_flag=True, help="The summary with its chart, as PDF, instead of every recipient as CSV.")
@click.option("--lang", type=click.Choice(["zh", "en"]), default="zh", show_default=True, help="The language of its words.")
@click.option("--excel", is_flag=True, help="Begin the CSV with a byte order mark, so that spreadsheet programs read it as UTF-8.")
@click.option("-o", "--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="Where to write it; a file that exists is not overwritten. Left out: CSV goes to stdout.")
def report(broadcast: str, config_file: Path | None, url: str | None, key_file: Path | None, pdf: bool, lang: str,
           excel: bool, out: Path | None) -> None:
    """Write the coverage report: every recipient with state, service time, channel, and the reason where not served."""
    if pdf and excel:
        raise click.UsageError("--excel goes with the CSV; leave out --pdf or --excel.")
    path = f"/v1/broadcasts/{broadcast}/report.{'pdf' if pdf else 'csv'}?lang={lang}{'&excel=true' if excel else ''}"
    if out is None:
        if pdf:
            raise click.UsageError("A PDF needs a file: --out FILE.")
        with connect(config_file, url, key_file) as http:
            _copy(http, path, sys.stdout.buffer)
        return
    try:
        file = out.open("xb")
    except FileExistsError:
        raise click.UsageError("The file exists and is not overwritten; choose another name.") from None
    try:
        with file, connect(config_file, url, key_file) as http:
            _copy(http, path, file)
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    click.echo(f"written: {out}")


def _copy(http: "httpx.Client", path: str, to: BinaryIO) -> None:
    """Stream an answer's body, of whatever length."""
    import httpx
    try:
        with http.stream("GET", path) as answer:
            check(answer)
            to.writelines(answer.iter_bytes())
    except httpx.HTTPError as error:
        raise unanswered(http, error) from None


@click.command(name="follow-up")
@click.argument("broadcast", metavar="BROADCAST")
@remote_options
@json_option
@click.option("--name", metavar="NAME", help="What people call the new one.")
@click.option("--channel", "channels", type=click.Choice(CHANNELS), multiple=True, required=True,
              help="By which channels this time; repeat for several. announcement publishes it once.")
def follow_up(broadcast: str, config_file: Path | None, url: str | None, key_file: Path | None, as_json: bool, name: str | None,
              channels: tuple[str, ...]) -> None:
    """Make a new draft for whoever this broadcast did not serve; prints its id. It is approved like any other."""
    import json
    whole: dict[str, Any] = {"channels": list(channels)} | ({"name": name} if name else {})
    with connect(config_file, url, key_file) as http:
        answer = ask(http, "POST", f"/v1/broadcasts/{broadcast}/follow-up", json=whole).json()
    click.echo(json.dumps(answer, ensure_ascii=False, indent=2) if as_json else answer["id"])
