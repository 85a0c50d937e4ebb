"""The summary of a broadcast as PDF: totals, a chart of served over time and by channel, reasons, and who was served in time.

Called by the route of the report with the story that operations.broadcast_summary gathered; coverage.typ is its form. It is a report for
people of the platform, not a certificate: it proves nothing, and says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from noticesvc.certificate import pdf
from noticesvc.certificate.words import CHANNELS, STATES, Pair, pair
from noticesvc.domain import instant

_STATES: Mapping[str, Pair] = {"running": pair("进行中", "running"), "paused": pair("已暂停", "paused"), "completed": pair("已完成", "completed"),
                               "cancelled": pair("已取消", "cancelled")}
_ORDER = ("served", "in_progress", "queued", "unserved", "expired", "cancelled")
_DELIVERIES = ("delivered", "sent", "pending", "unknown", "failed", "undeliverable", "expired", "cancelled")
_UNITS = ((604_800, pair("周", "weeks")), (86_400, pair("天", "days")), (3600, pair("小时", "hours")), (60, pair("分钟", "minutes")),
          (1, pair("秒", "seconds")))
_MOST_TICKS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A broadcast as its summary tells it; times in microseconds. `bars`: width, start, and numbers by channel."""

    issuer: str
    sandbox: bool
    now: int
    id: str
    name: str
    state: str
    category: Pair
    created_at: int
    approved_at: int | None
    ended_at: int | None
    effective_at: int | None
    days: int
    counts: Mapping[str, Any]
    independent: int
    answers: Mapping[str, int] | None  # to a change of an agreement, as the broadcast shows them; null: it is none
    bars: Mapping[str, Any]
    reasons: Sequence[Mapping[str, Any]]


def make(story: Story, lang: Literal["zh", "en"]) -> bytes:
    """The PDF. Raises CertificateError naming a character of the name that no font has."""
    return pdf.typeset("coverage.typ", _told(story, lang), {})


def _told(story: Story, lang: str) -> dict[str, Any]:
    counts = story.counts
    total = counts["total"]
    return {
        "lang": lang, "issuer": story.issuer, "sandbox": story.sandbox, "id": story.id, "name": story.name, "now": _time(story.now),
        "state": _STATES[story.state][lang], "running": story.state in {"running", "paused"}, "category": story.category[lang],
        "created_at": _time(story.created_at), "approved_at": _time(story.approved_at), "ended_at": _time(story.ended_at),
        "effective_at": _time(story.effective_at), "days": story.days, "total": total, "served": counts["served"],
        "share": _share(counts["served"], total), "independent": story.independent, "independent_share": _share(story.independent, total),
        "answers": None if story.answers is None else dict(story.answers) | {
            "in_time_share": _share(story.answers["served_independently_in_time"], total)},
        "states": [{"name": one, "word": STATES[one][lang], "count": counts[one], "share": _share(counts[one], total)} for one in _ORDER],
        "channels": [{"name": one, "word": CHANNELS[one][lang], "served": mine["served"], "total": mine["total"],
                      "states": [mine[state] for state in _DELIVERIES]} for one, mine in counts["by_channel"].items()],
        "chart": _chart(story, lang),
        "reasons": [{"channel": one["channel"][lang], "what": one["what"][lang], "count": one["count"]} for one in story.reasons],
        "most": max((one["count"] for one in story.reasons), default=1)}


def _chart(story: Story, lang: str) -> dict[str, Any] | None:
    """Bars from the bottom up by channel, the running total over them as a share of all, and where the ticks are."""
    bars = story.bars
    if not bars["channels"]:
        return None
    names, columns = list(bars["channels"]), list(zip(*bars["channels"].values(), strict=True))
    highest = _round_up(max(sum(column) for column in columns))
    done, shares = 0, []
    for column in columns:
        done += sum(column)
        shares.append(done / max(story.counts["total"], 1))
    every = -(-len(columns) // _MOST_TICKS)
    day_wide = bars["width"] >= 86_400_000_000
    ticks, shown_day = [], ""
    for at in range(0, len(columns), every):
        text = _time(bars["start"] + at * bars["width"]) or ""
        ticks.append({"at": at, "time": "" if day_wide else text[11:16] if bars["width"] >= 60_000_000 else text[11:], "day": text[:10] if text[:10] != shown_day else ""})
        shown_day = text[:10]
    seconds = bars["width"] // 1_000_000
    size, unit = next((size, word) for size, word in _UNITS if seconds % size == 0)
    return {"names": names, "words": [CHANNELS[one][lang] for one in names], "columns": columns, "highest": highest, "shares": shares,
            "ticks": ticks, "bar": f"{seconds // size} {unit['en'].removesuffix('s') if seconds == size else unit['en']}" if lang == "en"
            else f"{seconds // size} {unit['zh']}"}


def _round_up(number: int) -> int:
    """The next round number, which four steps divide."""
    steps = (step * int(10**power) for power in range(18) for step in (4, 8, 12, 16, 20, 24, 32))
    return next(one for one in steps if one >= number)


def _share(part: int, whole: int) -> str:
    """A percentage that is 100 or 0 only where it is exactly that."""
    if whole == 0:
        return "—"
    if part in {0, whole}:
        return f"{100 * part // whole}%"
    return f"{min(max(100 * part / whole, 0.01), 99.99):.2f}%"


def _time(micros: int | None) -> str | None:
    """Beijing time, to the minute's second."""
    if micros is None:
        return None
    return instant.from_micros(micros).astimezone(instant.SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
