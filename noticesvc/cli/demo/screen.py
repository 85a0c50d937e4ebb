"""What the demo shows: headings, tables, a live table of deliveries on a terminal, and one line a change everywhere else."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.live import Live
from rich.markdown import Markdown
from rich.panel import Panel
from rich.text import Text

from noticesvc.cli import timeline
from noticesvc.cli.running import console

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from noticesvc.cli.demo.story import Person

CHANNELS = ("in_site", "sms", "email")
_PAGE = 100


class Screen:
    """Everything that the demo prints goes through here."""

    def __init__(self, folder: Path) -> None:
        self._out = console()
        self._folder = folder
        called = Path(sys.argv[0])
        self._program = "noticesvc"
        if called.name == "noticesvc" and called.parent != Path():
            here = os.path.relpath(called)
            self._program = here if not here.startswith("..") else str(called)

    def program(self, words: str) -> str:
        """A command as it can be typed here."""
        return f"{self._program} {words}"

    def title(self) -> None:
        """What this is."""
        self._out.print(Text.assemble(("noticesvc demo", "bold"), "  a broadcast to three people, and the proof that it was served"))
        self._out.print(f"An installation on SQLite in {self._folder}/, with the sandbox: nothing leaves this machine.", style="dim")

    def up(self, url: str) -> None:
        """The service is ready."""
        self._out.print(f"The service is ready at {url}; its log is {self._folder / 'serve.log'}.", style="dim")

    def step(self, number: int, title: str) -> None:
        """The heading of a step."""
        self._out.print()
        self._out.print(f"{number}  {title}", style="bold cyan")

    def says(self, sentence: str) -> None:
        """One sentence."""
        self._out.print(f"   {sentence}")

    def people(self, people: Iterable["Person"]) -> None:
        """The recipients."""
        self._out.print(timeline.table(("recipient", "", "sms", "email", "who"),
                                       [[p.recipient_id, p.name, p.sms, p.email, p.will] for p in people]))

    def notice(self, subject: str, body: str) -> None:
        """The notice itself."""
        self._out.print(Panel(Markdown(body), title=Text(subject, style="bold"), width=min(self._out.width, _PAGE), border_style="dim"))

    def uploaded(self, answer: Mapping[str, Any]) -> None:
        """What became of the upload."""
        self.says(f"uploaded as CSV: accepted {answer['accepted']}, duplicates {answer['duplicates']}, rejected {len(answer['rejected'])}")
        for one in answer["rejected"]:
            self.says(f"  line {one['line']}: {one['reason']}")

    def preview(self, person: "Person", answer: Mapping[str, Any]) -> None:
        """What one recipient would get by SMS."""
        self.says(f"preview for {person.recipient_id} {person.name}, sms: {answer['texts']['sms']}")

    def report(self, rows: Sequence[Mapping[str, str]]) -> None:
        """The coverage report."""
        self._out.print(timeline.table(
            ("recipient", "state", "served (Shanghai)", "channel", "reason"),
            [[one["recipient_id"], timeline.state(one["state"]), timeline.shanghai(one["served_at"] or None), one["channel"] or None,
              one["reason"] or None] for one in rows]))

    def progress(self, people: Sequence["Person"]) -> "_Progress":
        """A context in which deliveries are shown as they go."""
        return _Progress(self._out, people)

    def contacts(self, rows: Iterable[tuple[str, str, str, str, bool]]) -> None:
        """The mailbox in effect at two times, and which of them was used."""
        self._out.print(timeline.table(
            ("the notice was", "Asia/Shanghai", "mailbox in effect then", "in effect since", "used"),
            [[what, timeline.shanghai(at), address, timeline.shanghai(since), Text("yes", style="green") if used else "no"]
             for what, at, address, since, used in rows]))

    def story(self, story: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
        """Events, and service before and after the bounce."""
        for title, shown in (("Deliveries", timeline.deliveries(story)), ("What happened", timeline.events(story)),
                             ("Service under each rule, before the bounce and now", timeline.service(story, before))):
            self._out.print(f"{title}", style="bold")
            self._out.print(shown)
            self._out.print()
        self.says("The mail had been taken by the recipient's mail server, so service stood from then; the bounce struck that, "
                  "and the SMS, which arrived later, now prevails. Nothing was overwritten: both determinations stand in the ledger.")

    def command(self, words: str) -> None:
        """A command that is run now."""
        self._out.print(Text.assemble(("   $ ", "dim"), self.program(words)), soft_wrap=True)

    def verified(self, said: str) -> None:
        """What the verifier said."""
        for line in said.splitlines():
            style = "green" if line.endswith(" ok") or line.startswith("The proof holds") else "red" if "FAILED" in line else ""
            self._out.print(Text(f"   {line}", style=style), soft_wrap=True)

    def messages(self, items: Sequence[Mapping[str, Any]]) -> None:
        """What the sandbox took, oldest first."""
        rows = []
        for one in reversed(items):
            text = " ".join(one["text"].split())
            rows.append([timeline.shanghai(one["received_at"])[11:], one["channel"], one["to"], one["subject"] or None,
                         text if one["channel"] == "sms" else f"{text[:40]}…"])
        self._out.print(timeline.table(("Shanghai", "channel", "to", "subject", "text"), rows))

    def try_(self, what: str, command: str) -> None:
        """Something to try; the command stands on a line of its own, never broken, so that it can be copied."""
        self._out.print(f"   # {what}", style="dim", soft_wrap=True)
        self._out.print(f"   {command}", soft_wrap=True)

    def stays(self, url: str) -> None:
        """The service is left up."""
        self._out.print()
        self._out.print(Text.assemble(("The service stays up at ", "bold"), (url, "bold green"), (". Stop it with Ctrl-C.", "bold")))

    def end(self, sentence: str, config: Path) -> None:
        """The last words."""
        self._out.print()
        self._out.print(f"{sentence}: {self.program(f'serve --config {config}')}", soft_wrap=True)


class _Progress:
    """Recipients by channels: redrawn in place on a terminal, else one line for each change."""

    def __init__(self, out: "Console", people: Sequence["Person"]) -> None:
        self._out, self._people = out, people
        self._known: dict[str, tuple[str, ...]] = {}
        self._live = Live(console=out, refresh_per_second=10) if out.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def says(self, sentence: str) -> None:
        """A sentence above the table."""
        self._out.print(f"   {sentence}")

    def update(self, notices: Mapping[str, Mapping[str, Any]]) -> None:
        """The notices by recipient as they are now."""
        rows: list[list[RenderableType | None]] = []
        for person in self._people:
            notice = notices[person.recipient_id]
            states = {one["channel"]: one["state"] for one in notice["deliveries"]}
            cells = tuple(states[channel] for channel in CHANNELS)
            service = notice["service"]
            served = f"{timeline.shanghai(service['served_at'])[11:]} by {service['channel']}" if service["served"] else "not yet"
            shown = (*cells, served, str(service["revision"]))
            if self._live is None and self._known.get(person.recipient_id) != shown:
                words = "  ".join(f"{channel} {state}" for channel, state in zip(CHANNELS, cells, strict=True))
                self._out.print(f"   {person.recipient_id} {person.name}  {words}  served {served}, revision {service['revision']}")
            self._known[person.recipient_id] = shown
            rows.append([f"{person.recipient_id} {person.name}", *map(timeline.state, cells),
                         Text(served, style="green" if service["served"] else "dim"), str(service["revision"])])
        if self._live is not None:
            self._live.update(timeline.table(("recipient", *CHANNELS, "served (Shanghai)", "revision"), rows))
