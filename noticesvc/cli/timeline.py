"""A notice's story for people: deliveries, everything that happened with its times, service under each rule, and why.

Called by `noticesvc notice show` and by the demo, with the members of `operations.finding.story`. Every instant is shown in
Asia/Shanghai, where dates have their legal meaning, and in UTC, as the ledger and the proof have it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noticesvc.cli.running import console

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

STYLE = {"served": "green", "delivered": "green", "failed": "red", "undeliverable": "red", "unserved": "red", "expired": "red",
         "unknown": "yellow", "cancelled": "yellow"}


_FOLDS = frozenset({"note", "attempts", "text", "what was decided", ""})  # columns that may take several lines


def shanghai(text: str | None) -> str:
    """An RFC 3339 time as it was in Shanghai, to the millisecond."""
    if text is None:
        return "-"
    from noticesvc.domain import instant
    local = instant.parse(text).astimezone(instant.SHANGHAI)
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d}"


def utc(text: str | None) -> str:
    """The same in UTC, with its date only where that is another one than in Shanghai."""
    if text is None:
        return "-"
    day, time = text[:10], f"{text[11:23]}Z"
    return time if shanghai(text).startswith(day) else f"{day} {time}"


def short(identity: str | None) -> str:
    """Enough of an id to tell it from its neighbours on one page."""
    return "-" if identity is None else f"…{identity[-8:]}"


def table(titles: Sequence[str], rows: Sequence[Sequence["RenderableType | None"]]) -> "RenderableType":
    """A table without lines; where the terminal is narrow only the long columns are folded."""
    from rich.table import Table
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in titles:
        made.add_column(title, overflow="fold", no_wrap=title not in _FOLDS)
    for row in rows:
        made.add_row(*("-" if cell is None else cell for cell in row))
    return made


def state(word: str) -> "Text":
    """A state in its colour."""
    from rich.text import Text
    return Text(word, style=STYLE.get(word, ""))


def show(story: Mapping[str, Any]) -> None:
    """Print the whole story."""
    out = console()
    _head(out, story)
    out.print("\nDeliveries", style="bold cyan")
    out.print(deliveries(story))
    out.print("\nWhat happened", style="bold cyan")
    out.print(events(story))
    out.print("\nService", style="bold cyan")
    out.print(service(story))
    out.print(f"\nWhy, under {story['service']['rule']}", style="bold cyan")
    out.print(why(story))


def _head(out: "Console", story: Mapping[str, Any]) -> None:
    from rich.text import Text
    content = story.get("content")
    out.print(Text.assemble(("Notice ", "bold"), story["id"], "  ", state(story["state"])))
    accepted = f"{shanghai(story['accepted_at'])} Shanghai, {utc(story['accepted_at'])}"
    rows = [("recipient", story["recipient_id"] or "(anonymised)"), ("category", story["category"]),
            ("reference", story["reference"] or "-"), ("accepted", accepted), ("subject", content["subject"] if content else "(destroyed)"),
            ("content", f"SHA-256 {story['content_sha256'] or '(destroyed)'}")]
    rows += [(f"{one['kind']} deadline", f"{shanghai(one['ends_at'])} Shanghai{', provisional' if one['provisional'] else ''}")
             for one in story["deadlines"]]
    for name, value in rows:
        out.print(Text.assemble((f"{name:<19}", "dim"), str(value)))


def deliveries(story: Mapping[str, Any]) -> "RenderableType":
    """Each delivery with its state, the contact that was used, and its attempts."""
    rows = []
    for one in story["deliveries"]:
        contact = one["contact"] or {}
        tries = "; ".join(f"{a['number']}: {a['provider'] or 'ourselves'} {a['outcome'] or 'in flight'}{_passed(a)}"
                          for a in one["attempts"])
        rows.append([one["channel"], state(one["state"]), one["carries"],
                     contact.get("address_masked") or ("the account" if one["channel"] == "in_site" else None),
                     contact.get("confirmation"), shanghai(contact.get("effective_from")), tries or None])
    return table(("channel", "state", "carries", "contact", "confirmation", "in effect since", "attempts"), rows)


def _passed(attempt: Mapping[str, Any]) -> str:
    """Which providers an attempt passed over, and why, in brackets; nothing where it passed over none."""
    told = ", ".join(f"{one['provider']} {one['reason'].replace('_', ' ')}" for one in attempt["passed_over"])
    return f" (passed over: {told})" if told else ""


def events(story: Mapping[str, Any]) -> "RenderableType":
    """Acceptance and every item of evidence, in the order in which they were observed."""
    aside = _set_aside(story)
    rows: list[list[Any]] = [[shanghai(story["accepted_at"]), utc(story["accepted_at"]), None, "accepted", None, None, None, None]]
    for item in story["evidence"]:
        note = aside.get(item["id"])
        if item["claimed_time_raw"]:
            note = f"{note + '; ' if note else ''}claimed: {item['claimed_time_raw']}"
        index = "waits" if item["ledger_index"] is None else str(item["ledger_index"])
        rows.append([shanghai(item["occurred_at"]), utc(item["occurred_at"]), f"{item['channel']} {item['attempt']}", item["kind"],
                     item["source"], index, short(item["id"]), note])
    return table(("Asia/Shanghai", "UTC", "attempt", "fact", "source", "ledger", "evidence", "note"), rows)


def _set_aside(story: Mapping[str, Any]) -> dict[str, str]:
    """Why items do not count under the notice's own rule, by evidence id."""
    own = next((one for one in story.get("outcomes", ()) if one["rule"] == story["service"]["rule"]), None)
    if own is None:
        return {}
    found = {one["evidence_id"]: f"does not count: {one['reason'].replace('_', ' ')}" for one in own["set_aside"]}
    return found | {one["evidence_id"]: f"{one['reason']} by {short(one['by'])}" for one in own["struck"]}


def service(story: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> "RenderableType":
    """Service time under each rule, the notice's own first; with `before` (an earlier body) what it was then."""
    from rich.text import Text
    then = {one["rule"]: one for one in _results(before)} if before is not None else {}
    rows = []
    for one in _results(story):
        own = one["rule"] == story["service"]["rule"]
        name = Text(one["rule"], style="bold" if own else "") + Text(" (analysis)" if one.get("analysis") else "", style="dim")
        marks = [word for word in ("provisional", "conflict") if one[word]]
        was = [] if before is None else [_when(then.get(one["rule"]), one)]
        rows.append([name, *was, _when(one), utc(one["served_at"]), one["basis"], short(one["evidence_id"]), " ".join(marks) or None])
    titles = ["rule", *([] if before is None else ["before"]), "served (Asia/Shanghai)" if before is None else "now (Asia/Shanghai)",
              "UTC", "basis", "evidence", "note"]
    revision = f"Revision {story['service']['revision']}. " if story["service"]["revision"] else "Nothing was determined yet. "
    own = story["service"]["independent"]
    apart = "not served" if own is None else f"{own['channel']} at {shanghai(own['served_at'])}"
    from rich.console import Group
    return Group(table(titles, rows), Text(f"{revision}Without in-site and announcement, from which deadlines run: {apart}.", style="dim"))


def _results(story: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [story["service"], *story["service"]["alternatives"]]


def _when(result: Mapping[str, Any] | None, beside: Mapping[str, Any] | None = None) -> "RenderableType":
    """When and by what; without the date where it is that of the result `beside` it."""
    from rich.text import Text
    if result is None or not result["served"]:
        return Text("not served", style="red")
    when = shanghai(result["served_at"])
    if beside is not None and shanghai(beside["served_at"])[:11] == when[:11]:
        when = when[11:]
    return Text(f"{when} {result['channel']}", style="green")


def why(story: Mapping[str, Any]) -> "RenderableType":
    """The steps that led to the result under the notice's own rule."""
    own = next(one for one in story["outcomes"] if one["rule"] == story["service"]["rule"])
    names = sorted({item["id"] for item in story["evidence"]} | {one["id"] for one in story["deliveries"]})
    rows = []
    for step in own["trace"]:
        words = step["text"]
        for name in names:
            words = words.replace(name, short(name))
        rows.append([str(step["step"]), short(step["evidence_id"]), words])
    return table(("step", "evidence", "what was decided"), rows)
