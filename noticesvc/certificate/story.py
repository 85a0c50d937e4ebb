"""What stands in a certificate: a proof bundle's facts as plain data for the template, nothing added and nothing interpreted anew.

Called by pdf.make. The bundle was verified before; every text is a string that the template shows as it is. What was destroyed is
null here and shown as destroyed.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from noticesvc.certificate import body_text, evidence_rows, reasons, system_state
from noticesvc.certificate.reasons import beijing
from noticesvc.certificate.words import CARRIES, CATEGORIES, CHANNELS, CONFIRMATIONS, DEADLINES, RULES, STAGES, STATES, Pair, of, pair, same
from noticesvc.domain import calendar, deadline, instant
from noticesvc.domain.rules import BUILT_IN, Rule
from noticesvc.ledger import merkle
from noticesvc.ledger import proof as tlog
from noticesvc.proof import entries as bundled
from noticesvc.proof.entries import Entry, Values, of_notice, opened_text
from noticesvc.proof.facts_from_entries import content_entry, rule_of
from noticesvc.proof.verify import Report


@dataclass(frozen=True, slots=True)
class Issue:
    """What belongs to this one certificate and stands in no bundle. `reader` is the name of the key, or of the shell."""

    number: str
    grade: str  # full | brief | summary
    lang: str  # zh | en | both
    reader: str
    reason: str
    check_url: str
    credit_code: str
    service_mailbox: str
    sandbox: bool
    signed: bool  # whether the file will carry a PAdES signature


def tell(bundle: Mapping[str, Any], data: bytes, report: Report, issue: Issue) -> dict[str, Any]:
    """The whole story. `data` are the bytes of the bundle as it is attached."""
    entries, values = _opened(bundle)
    accepted, notice = of_notice(entries)[0], bundle["notice"]
    rule = rule_of(accepted)
    rules = {**BUILT_IN, rule.id: rule}
    own = next(one for one in bundle["outcomes"] if one["rule"] == rule.id)
    named = {} if issue.grade == "summary" else evidence_rows.labels(notice["evidence"])
    by_id = {item["id"]: item for item in notice["evidence"]}
    gone = next((entry for entry in entries if entry.type == "recipient.anonymised"), None)
    return {
        "number": issue.number, "grade": issue.grade, "lang": issue.lang, "sandbox": issue.sandbox, "signed": issue.signed,
        "issued_at": beijing(bundle["issued_at"]), "issued_utc": bundle["issued_at"], "software": bundle["software"],
        "issuer": {"name": bundle["issuer"], "credit_code": issue.credit_code, "mailbox": issue.service_mailbox},
        "destroyed_at": None if gone is None else beijing(gone["at"]),
        "recipient": _recipient(notice, entries, values), "case": _case(accepted, values),
        "notice": _notice(notice, accepted, entries, values, issue.grade),
        "rule": {"name": of(RULES, rule.id), "id": rule.id, "version": rule.version, "clause": rule.clause, "asks": reasons.asks(rule)},
        "contacts": _contacts(entries, values),
        "deliveries": [{"channel": of(CHANNELS, d["channel"]), "state": of(STATES, d["state"]), "attempts": len(d["attempts"]),
                        "carries": of(CARRIES, d["carries"])} for d in notice["deliveries"]],
        "timeline": evidence_rows.timeline(notice["evidence"], entries, values, own),
        "lanes": [{"id": d["channel"], "name": of(CHANNELS, d["channel"])} for d in notice["deliveries"]],
        "own": _outcome(own, rules, by_id, named),
        "weakest": reasons.weakest_link(own), "independent": reasons.independent(own, named),
        "others": [_outcome(one, rules, by_id, named) for one in bundle["outcomes"] if one["rule"] != rule.id],
        "failures": evidence_rows.failures(notice["evidence"], entries, notice["deliveries"]),
        "deadlines": _deadlines(notice, accepted, entries),
        "factors": system_state.factors(bundle, entries, report, issue.sandbox),
        "extraction": {"reader": issue.reader, "reason": issue.reason, "at": beijing(bundle["issued_at"]),
                       "entries": len(entries), "proof_sha256": sha256(data).hexdigest()},
        "ledger": _ledger(bundle, entries, report), "check_url": issue.check_url,
    }


def _opened(bundle: Mapping[str, Any]) -> tuple[list[Entry], Values]:
    entries = []
    for at, item in enumerate(bundle["entries"]):
        entries.append(Entry(at, tlog.parse(item["tlog_proof"]).index, bundled.read(base64.b64decode(item["entry"]))))
    values = {(one["entry"], one["field"]): base64.b64decode(one["value"]) for one in bundle["openings"]}
    return entries, values | {(one["entry"], "raw"): base64.b64decode(one["bytes"]) for one in bundle["raw"]}


def _recipient(notice: Mapping[str, Any], entries: Sequence[Entry], values: Values) -> dict[str, Any]:
    recorded = next(entry for entry in entries if entry.type == "recipient.recorded")
    acceptance = None
    for entry in entries:
        if entry.type == "acceptance.recorded":
            found = {name: opened_text(values, entry, name) for name in ("agreement", "version", "document_sha256", "presentation")}
            acceptance = found | {"accepted_at": beijing(entry["accepted_at"])}
    return {"id": notice["recipient_id"], "subject_id": recorded["subject_id"], "since": beijing(recorded["at"]), "acceptance": acceptance}


def _case(accepted: Entry, values: Values) -> dict[str, Any] | None:
    if "case_commit" not in accepted.members:
        return None
    opened = opened_text(values, accepted, "case")
    found = {} if opened is None else json.loads(opened)
    return {"court": found.get("court"), "number": found.get("case_number"), "document": found.get("document_type"),
            "stage": of(STAGES, found.get("stage"))}


def _notice(notice: Mapping[str, Any], accepted: Entry, entries: Sequence[Entry], values: Values, grade: str) -> dict[str, Any]:
    opened = opened_text(values, content_entry(accepted, entries), "content")
    content = None if opened is None else json.loads(opened)
    documents = [] if content is None else [
        {"number": n, "id": one, "sha256": digest}
        for n, (one, digest) in enumerate(zip(accepted["document_ids"], content["documents"], strict=True), 1)]
    return {
        "id": notice["id"], "category": of(CATEGORIES, notice["category"]), "reference": notice["reference"],
        "accepted_at": beijing(notice["accepted_at"]), "state": of(STATES, notice["state"]), "content_sha256": notice["content_sha256"],
        "ground": opened_text(values, accepted, "ground"), "subject": None if content is None else content["subject"],
        "body": [] if content is None or grade == "summary" else body_text.blocks(content["body"]),
        "sms": None if content is None or grade == "summary" else content["sms"], "destroyed": content is None, "documents": documents,
        "document_count": len(accepted["document_ids"]),
        "template": None if content is None or content["template"] is None else f"{content['template']['name']} v{content['template']['version']}"}


def _contacts(entries: Sequence[Entry], values: Values) -> list[dict[str, Any]]:
    """Each contact that an attempt used, as it was at dispatch: address, interval of effect, confirmation, source."""
    recorded = {entry["contact_id"]: entry for entry in entries if entry.type == "contact.recorded"}
    intents: dict[tuple[str, str | None], list[Entry]] = {}
    for entry in of_notice(entries):
        if entry.type == "attempt.intended" or entry.get("intended_id") is not None:
            intents.setdefault((entry["channel"], entry["contact_id"]), []).append(entry)
    found = []
    for (channel, contact_id), used in intents.items():
        if channel == "announcement":
            continue
        contact, last = recorded.get(contact_id or ""), used[-1]
        found.append({
            "channel": of(CHANNELS, channel), "confirmation": of(CONFIRMATIONS, last["confirmation"] or "confirmed"),
            "address": _address(channel, contact, values), "from": beijing(last["contact_effective_from"]),
            "to": beijing(last["contact_effective_to"]) if last["contact_effective_to"] else None,
            "source": None if contact is None else opened_text(values, contact, "source"),
            "verified_at": None if contact is None or contact["verified_at"] is None else beijing(contact["verified_at"]),
            "asserted_from": None if contact is None or contact["asserted_from"] is None else beijing(contact["asserted_from"]),
            "used": [f"{beijing(entry['observed_at'])}" for entry in used], "in_effect": all(entry["contact_in_effect"] for entry in used)})
    return found


def _address(channel: str, contact: Entry | None, values: Values) -> Pair | None:
    if channel == "in_site" or contact is None:
        return pair("平台账户", "the account on the platform")
    opened = opened_text(values, contact, "address")
    return None if opened is None else same(opened)


def _outcome(one: Mapping[str, Any], rules: Mapping[str, Rule], by_id: Mapping[str, Any], named: Mapping[str, str]) -> dict[str, Any]:
    return {"rule": of(RULES, one["rule"]), "version": one["policy_version"], "served": one["served"],
            "served_at": beijing(one["served_at"]) if one["served"] else None, "served_on": one["served_on"],
            "channel": of(CHANNELS, one["channel"]), "label": named.get(one["evidence_id"] or "", ""),
            "asks": reasons.asks(rules[one["rule"]]), "why": reasons.why(one, by_id, named), "notes": reasons.notes(one)}


def _deadlines(notice: Mapping[str, Any], accepted: Entry, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    made = {entry["kind"]: entry for entry in of_notice(entries) if entry.type == "deadline.set"}
    found = []
    for one in notice["deadlines"]:
        entry = made.get(one["kind"])
        found.append({"kind": of(DEADLINES, one["kind"]), "ends_at": _end(one["ends_at"]), "provisional": one["provisional"],
                      "counting": None if entry is None else _counting(entry, accepted)})
    return found


def _end(text: str) -> str:
    """The end of a day is written as 24:00 of it."""
    local = beijing(text)
    if not local.endswith(" 00:00:00"):
        return local
    day = instant.shanghai_date(instant.parse(text))
    return f"{day.fromordinal(day.toordinal() - 1).isoformat()} 24:00"


def _counting(entry: Entry, accepted: Entry) -> Pair:
    window = {"working_days": 3} if entry["kind"] == "cure" else accepted["response_window"]
    start = instant.parse(f"{entry['from_on']}T00:00:00+08:00")
    day = instant.shanghai_date(start)
    if "days" in window:
        counted, unit = deadline.calendar_days(day, window["days"]).counted, ("个自然日", "calendar days")
    elif entry["calendar_version"] == calendar.BUILT_IN.version:
        counted, unit = deadline.working_days(day, window["working_days"], calendar.BUILT_IN).counted, ("个工作日", "working days")
    else:
        n = window["working_days"]
        return pair(f"自 {entry['from_on']} 次日起算，第 {n} 个工作日 24:00 止（历法：{entry['calendar_version']}）。",
                    f"From the day after {entry['from_on']} to 24:00 of working day {n} (calendar: {entry['calendar_version']}).")
    days = "、".join(f"{one:%m-%d}" for one in counted[:15]) + ("……" if len(counted) > 15 else "")
    return pair(f"起算日 {entry['from_on']} 不计；计入 {len(counted)} {unit[0]}：{days}。",
                f"{entry['from_on']} is not counted; {len(counted)} {unit[1]}: {days.replace('、', ', ')}.")


def _ledger(bundle: Mapping[str, Any], entries: Sequence[Entry], report: Report) -> dict[str, Any]:
    checkpoint = report.checkpoint
    return {"origin": "" if checkpoint is None else checkpoint.origin, "size": 0 if checkpoint is None else checkpoint.size,
            "root": "" if checkpoint is None else base64.b64encode(checkpoint.root).decode(), "key": bundle["log_key"],
            "timestamps": [{"at": beijing(instant.text(at)), "size": size} for at, size in report.stamped],
            "cosigners": [vkey.split("+")[0] for vkey in bundle["cosigners"]],
            "entries": [{"index": entry.index, "type": entry.type, "hash": merkle.leaf_hash(base64.b64decode(item["entry"])).hex()}
                        for entry, item in zip(entries, bundle["entries"], strict=True)],
            "first": min(entry.index for entry in entries), "last": max(entry.index for entry in entries)}
