"""`noticesvc broadcast watch`: a bar for each channel, from the server-sent events of the service, until everything is finished.

A broken stream is opened again until Ctrl-C: the service may be restarted, a watched broadcast goes on without us.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from noticesvc.cli.remote import Refused, Unanswered, ask, check, connect, remote_options, unanswered
from noticesvc.cli.running import console, json_option

if TYPE_CHECKING:
    import httpx
    from rich.progress import Progress, TaskID

STATES = ("queued", "in_progress", "served", "unserved", "cancelled", "expired")
ENDED = ("completed", "cancelled")
_SILENCE_S = 45.0  # three heartbeats
_AGAIN_S = 1.0
_FINISHED = ("delivered", "failed", "undeliverable", "cancelled", "expired")


@click.command()
@click.argument("broadcast", metavar="BROADCAST")
@remote_options
@json_option
@click.option("--once", is_flag=True, help="Show it as it is now, and do not wait.")
def watch(broadcast: str, config_file: Path | None, url: str | None, key_file: Path | None, as_json: bool, once: bool) -> None:
    """Show how far a broadcast is, with a bar for each channel, until it is completed or cancelled.

    Ctrl-C ends the watching alone. Into a pipe one line is written for each change, with --json one object a line.
    """
    import json
    with connect(config_file, url, key_file) as http:
        path = f"/v1/broadcasts/{broadcast}"
        seen = ask(http, "GET", path).json()
        try:
            if as_json:
                for one in _seen(http, path, seen, once=once):
                    click.echo(json.dumps(one, ensure_ascii=False))
                return
            with _Bars(seen) as bars:
                for one in _seen(http, path, seen, once=once):
                    bars.update(one)
        except KeyboardInterrupt:
            click.echo("The broadcast goes on; only the watching ended.", err=True)


def _seen(http: "httpx.Client", path: str, first: dict[str, Any], *, once: bool) -> Iterator[dict[str, Any]]:
    """The broadcast as it is, again and again, until it has ended."""
    yield first
    quiet = True
    while not once and first["state"] not in ENDED:
        try:
            for one in _stream(http, f"{path}/events"):
                first, quiet = one, True
                yield one
        except (Unanswered, Refused) as error:
            if isinstance(error, Refused) and error.slug != "unavailable":
                raise
            if quiet:
                click.echo("The service does not answer; trying again until Ctrl-C.", err=True)
            quiet = False
        if first["state"] not in ENDED:
            time.sleep(_AGAIN_S)


def _stream(http: "httpx.Client", path: str) -> Iterator[dict[str, Any]]:
    """The data of each event of one stream (WHATWG HTML, 9.2)."""
    import json

    import httpx
    try:
        with http.stream("GET", path, timeout=httpx.Timeout(60, read=_SILENCE_S), headers={"Accept": "text/event-stream"}) as reply:
            check(reply)
            for line in reply.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))
    except httpx.HTTPError as error:
        raise unanswered(http, error) from None


def channels_of(counts: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
    """Of each channel how many deliveries are finished, how many of them were delivered, and how many there are."""
    return {channel: (sum(states[name] for name in _FINISHED), states["delivered"], states["total"])
            for channel, states in counts["by_channel"].items()}


def sentence(seen: Mapping[str, Any]) -> str:
    """Counts, rate and the time that is left, on one line."""
    counts = seen["counts"]
    words = [seen["state"], f"{counts['total']:,} recipients"]
    words += [f"{name.replace('_', ' ')} {counts[name]:,}" for name in STATES if counts[name]]
    if counts["expanded"] < counts["total"] and seen["state"] != "draft":
        words.append(f"notices made {counts['expanded']:,}")
    return ", ".join([*words, *_pace(seen)])


def _pace(seen: Mapping[str, Any]) -> list[str]:
    """How many notices a second are finished, and how long the rest takes."""
    if seen["state"] != "running":
        return []
    return ([f"{seen['rate_per_s']:,.0f}/s"] if seen["rate_per_s"] else []) + (
        [f"{_span(seen['eta_s'])} left"] if seen["eta_s"] is not None else [])


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


class _Bars:
    """A bar for each channel on a terminal; elsewhere a line for each change of the counts."""

    def __init__(self, seen: Mapping[str, Any]) -> None:
        self._out, self._said = console(), ""
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        if self._out.is_terminal:
            from rich import progress
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            self._progress = progress.Progress(TextColumn("{task.description:<14}"), BarColumn(bar_width=40), MofNCompleteColumn(),
                                               TextColumn("{task.fields[note]}"), console=self._out)
            self._tasks["recipients"] = self._progress.add_task("recipients", total=seen["counts"]["total"], note="")

    def __enter__(self) -> "_Bars":
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            click.echo(self._said)

    def update(self, seen: Mapping[str, Any]) -> None:
        """Show it as it is now."""
        said, counts = sentence(seen), seen["counts"]
        if self._progress is None and said != self._said:
            click.echo(said)
        self._said = said
        if self._progress is None:
            return
        done = counts["total"] - counts["queued"] - counts["in_progress"]
        note = ", ".join([seen["state"], f"served {counts['served']:,}", *_pace(seen)])
        self._progress.update(self._tasks["recipients"], completed=done, total=counts["total"], note=note)
        for channel, (finished, delivered, whole) in channels_of(counts).items():
            if channel not in self._tasks:
                self._tasks[channel] = self._progress.add_task(channel, note="")
            self._progress.update(self._tasks[channel], completed=finished, total=max(whole, 1), note=f"delivered {delivered:,}")
