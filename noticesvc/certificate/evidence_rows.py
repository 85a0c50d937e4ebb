"""The timeline of a notice for its certificate: what happened, when, by which channel, proved by which entry, and whether it counts.

Called by story. Each item of evidence gets a short name (E1, E2 …) by which the rest of the certificate speaks of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from noticesvc.certificate import words
from noticesvc.certificate.reasons import beijing
from noticesvc.certificate.words import ASIDE, CHANNELS, KINDS, NEGATIVE, RESPONSES, RULES, SOURCES, STATES, Pair, of, pair, same
from noticesvc.domain import instant
from noticesvc.proof.entries import Entry, Values, of_notice, opened_text


def labels(shown: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Short names of evidence by id, in the order of the timeline. The intent of an own channel has none: its arrival is shown."""
    listed = sorted((item for item in shown if not _is_within(item)), key=lambda item: (item["occurred_at"], item["ledger_index"] or 0))
    return {item["id"]: f"E{number}" for number, item in enumerate(listed, 1)}


def _is_within(item: Mapping[str, Any]) -> bool:
    """Whether one entry holds this intent together with its arrival."""
    return item["kind"] == "intended" and item["channel"] in ("in_site", "announcement")


def timeline(shown: Sequence[Mapping[str, Any]], entries: Sequence[Entry], values: Values, own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows in order of time. `shown` is the notice's evidence, `own` the outcome under its own rule (what counts under it)."""
    named = labels(shown)
    by_id = {entry["evidence_id"]: entry for entry in entries if entry.is_evidence}
    intents = {entry["intended_id"]: entry for entry in entries if entry.get("intended_id") is not None}
    without = {one["evidence_id"]: (one["reason"], one["duplicate_of"]) for one in own["set_aside"]}
    without |= {one["evidence_id"]: (one["reason"], one["by"]) for one in own["struck"]}
    rows = []
    for item in shown:
        entry = by_id.get(item["id"]) or intents.get(item["id"])
        if _is_within(item):
            continue
        reason, by = without.get(item["id"], (None, None))
        rows.append({
            "at": item["occurred_at"], "label": named[item["id"]], "channel": item["channel"],
            "mark": _mark(item, reason, own), "title": _title(item), "index": item["ledger_index"],
            "source": of(SOURCES, item["source"]), "facts": _facts(item, entry, values),
            "note": None if reason is None else _note(reason, named.get(by or "", ""))})
    rows += _milestones(entries, values)
    rows.sort(key=lambda row: (row["at"], row["index"] if row["index"] is not None else 1 << 62))
    day = ""
    for row in rows:
        local = beijing(row["at"])
        row["day"] = None if local[:10] == day else local[:10]
        day, row["time"] = local[:10], f"{local[11:]}.{instant.parse(row['at']).microsecond // 1000:03d}"
    return rows


def failures(shown: Sequence[Mapping[str, Any]], entries: Sequence[Entry], deliveries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What failed: negative evidence, and deliveries that ended without arrival."""
    named = labels(shown)
    codes = {entry["evidence_id"]: entry["code"] for entry in entries if entry.is_evidence}
    found = [{"what": pair(f"{CHANNELS[i['channel']]['zh']} 第 {i['attempt']} 次：{of(KINDS, i['kind'])['zh']}",
                           f"{CHANNELS[i['channel']]['en']}, attempt {i['attempt']}: {of(KINDS, i['kind'])['en']}"),
              "at": beijing(i["occurred_at"]), "label": named[i["id"]], "code": codes.get(i["id"])}
             for i in shown if i["kind"] in NEGATIVE]
    found += [{"what": pair(f"{CHANNELS[d['channel']]['zh']}：{STATES[d['state']]['zh']}", f"{CHANNELS[d['channel']]['en']}: {STATES[d['state']]['en']}"),
               "at": "", "label": "", "code": None} for d in deliveries if d["state"] in ("undeliverable", "cancelled", "expired", "failed")]
    return found


def _mark(item: Mapping[str, Any], reason: str | None, own: Mapping[str, Any]) -> str:
    if item["id"] == own["evidence_id"]:
        return "winner"
    if reason is not None:
        return "aside"
    if item["kind"] in NEGATIVE:
        return "negative"
    return "positive" if item["kind"] in ("submitted", "relayed", "arrived", "accessed", "acknowledged") else "neutral"


def _title(item: Mapping[str, Any]) -> Pair:
    channel, kind = of(CHANNELS, item["channel"]), of(KINDS, item["kind"])
    return pair(f"{channel['zh']}·第 {item['attempt']} 次：{kind['zh']}", f"{channel['en']}, attempt {item['attempt']}: {kind['en']}")


def _facts(item: Mapping[str, Any], entry: Entry | None, values: Values) -> list[Pair]:
    """The particulars that prove it: provider, code, parts, what was claimed, how it is authenticated."""
    found: list[Pair] = []
    if entry is not None:
        if entry["provider"] is not None:
            found.append(pair(f"服务商 {entry['provider']}", f"provider {entry['provider']}"))
        for one in entry.get("passed_over") or ():
            why = of(words.PASSED_OVER, one["reason"])
            found.append(pair(f"越过 {one['provider']}：{why['zh']}", f"passed over {one['provider']}: {why['en']}"))
        if entry["code"] is not None:
            found.append(pair(f"代码 {entry['code']}", f"code {entry['code']}"))
        if entry["parts"] is not None and entry["part"] is not None:
            found.append(pair(f"第 {entry['part']}/{entry['parts']} 段", f"part {entry['part']} of {entry['parts']}"))
        reference = opened_text(values, entry, "provider_reference")
        if reference is not None:
            found.append(pair(f"流水号 {reference}", f"reference {reference}"))
        if entry.type == "evidence.stated":
            statement = opened_text(values, entry, "statement")
            found.append(same(statement) if statement is not None else pair("（陈述已销毁）", "(statement destroyed)"))
    if item["claimed_time_raw"] is not None:
        found.append(pair(f"对方所称时间 {item['claimed_time_raw']}", f"claimed time {item['claimed_time_raw']}"))
    if not item["authenticated"]:
        found.append(pair("未经验证", "not authenticated"))
    return found


def _note(reason: str, by: str) -> Pair:
    word = of(ASIDE, reason)
    return pair(f"不计：{word['zh']}{f'（{by}）' if by else ''}", f"not counted: {word['en']}{f' ({by})' if by else ''}")


def _milestones(entries: Sequence[Entry], values: Values) -> list[dict[str, Any]]:
    rows = []

    def add(entry: Entry, title: Pair, mark: str = "milestone", channel: str | None = None, facts: Sequence[Pair] = ()) -> None:
        rows.append({"at": entry["at"], "label": "", "channel": channel, "mark": mark, "title": title, "index": entry.index,
                     "source": of(SOURCES, "noticesvc"), "facts": list(facts), "note": None})

    for entry in of_notice(entries):
        match entry.type:
            case "notice.accepted":
                add(entry, pair("通知受理并入账", "notice accepted and recorded"))
            case "notice.cancelled":
                add(entry, pair("通知被取消", "notice cancelled"))
            case "delivery.closed":
                channel, state = of(CHANNELS, entry["channel"]), of(STATES, entry["state"])
                add(entry, pair(f"{channel['zh']}：{state['zh']}", f"{channel['en']}: {state['en']}"), "aside", entry["channel"])
            case "service.determined":
                rule = of(RULES, entry["rule"])
                at = beijing(entry["served_at"])
                zh = f"第 {entry['revision']} 次认定：{f'送达，{at}' if entry['served'] else '未送达'}"
                en = f"determination {entry['revision']}: {f'served at {at}' if entry['served'] else 'not served'}"
                add(entry, pair(zh, en), facts=[rule])
            case "response.recorded":
                word = of(RESPONSES, entry["response"])
                statement = opened_text(values, entry, "statement")
                add(entry, pair(f"收件人答复：{word['zh']}", f"the recipient {word['en']}"), facts=[same(statement)] if statement else [])
    return rows
