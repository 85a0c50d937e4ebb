"""Steps 4 and 6 for the bundle of a notice: nothing is missing, nothing is there without need, and the entries agree.

Called by proof.verify. Each function answers one sentence for each failure.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from noticesvc.domain import content as contents
from noticesvc.domain import cure, instant, notice
from noticesvc.proof import needs, verify_statements
from noticesvc.proof.bundle import Bundle
from noticesvc.proof.entries import Entry, Values, of_notice, opened_text
from noticesvc.proof.facts_from_entries import content_entry


def complete(bundle: Bundle, entries: Sequence[Entry]) -> list[str]:
    """Step 4. The notice's entries are numbered 1 to n in the ledger's order, the last one is this reading, and beside them stand
    exactly the entries that they need.
    """
    return [*_numbering(entries), *_reading(bundle, entries), *_needed(bundle, entries)]


def _numbering(entries: Sequence[Entry]) -> Iterator[str]:
    mine = [entry for entry in entries if "notice_id" in entry.members]
    if not mine or mine[0].type != "notice.accepted" or sum(entry.type == "notice.accepted" for entry in mine) != 1:
        yield "The entries about the notice do not begin with its acceptance."
    if len({entry["notice_id"] for entry in mine}) > 1:
        yield "The entries are about more than one notice."
    if len({entry["subject_id"] for entry in entries if "subject_id" in entry.members}) > 1:
        yield "The entries are about more than one recipient."
    numbers = [entry["seq"] for entry in mine]
    if missing := sorted(set(range(1, len(numbers) + 1)) - set(numbers)):
        yield f"The notice's entries are not numbered 1 to {len(numbers)} without a gap: {missing[0]} is missing."
    elif numbers != sorted(numbers):
        yield "The notice's entries do not stand in the ledger in the order of their numbers."


def _reading(bundle: Bundle, entries: Sequence[Entry]) -> Iterator[str]:
    last = entries[-1]
    if last.type != "proof.read" or "notice_id" not in last.members:
        yield "The last entry is not the reading of this proof, so later entries may have been left out."
        return
    yield from told_by_reading(bundle, last)
    if last["in_effect_at"] is not None:
        yield "The reading of this proof names an instant, which only a reading of contacts does."


def told_by_reading(bundle: Bundle, read: Entry) -> Iterator[str]:
    """The bundle's head repeats what its own `proof.read` says."""
    for name in ("format", "issuer", "software", "issued_at"):
        if read[name] != getattr(bundle, name):
            yield f"The bundle's {name} is not the one in the entry of its own reading."
    if read["issued_at"] != read["at"]:
        yield "The reading of this proof was not recorded when the bundle says that it was issued."


def _needed(bundle: Bundle, entries: Sequence[Entry]) -> Iterator[str]:
    mine = of_notice(entries)
    others: dict[needs.Key, Entry] = {}
    for entry in entries:
        if "notice_id" not in entry.members and others.setdefault(needs.key_of(entry), entry) is not entry:
            yield f"Entry {entry.position} says again what an entry before it says."
    wanted = needs.of_notice(mine) | needs.of_announcements(others.values())
    for key, before in wanted.items():
        found = others.pop(key, None)
        if found is None:
            yield f"An entry {key[0]} that the notice needs is missing."
        elif found.index >= before:
            yield f"Entry {found.position} ({found.type}) was recorded only after what relies on it."
    for entry in others.values():
        if not (entry.type == "recipient.anonymised" and bundle.destroyed):
            yield f"Entry {entry.position} ({entry.type}) does not belong in the bundle of this notice."


def agree(entries: Sequence[Entry], values: Values) -> list[str]:
    """Step 6. Contacts, content, attempts and evidence say the same wherever they are told."""
    others = {needs.key_of(entry): entry for entry in entries if "notice_id" not in entry.members}
    accepted, *later = of_notice(entries)
    sha256 = opened_text(values, content_entry(accepted, entries), "content_sha256")
    return [*_acceptance(accepted, others, values), *_content(accepted, entries, values), *_attempts(accepted, later, others, values),
            *_evidence(later, values, sha256), *verify_statements.agree(accepted, later, values)]


def _acceptance(accepted: Entry, others: Mapping[needs.Key, Entry], values: Values) -> Iterator[str]:
    recipient = others["recipient.recorded", accepted["subject_id"]]
    if opened_text(values, accepted, "recipient_id") != opened_text(values, recipient, "recipient_id"):
        yield "The notice names another recipient than the one who was recorded."
    if accepted["mandatory"] != notice.mandatory(accepted["category"]):
        yield "The notice is said to be mandatory or not against its category."
    if accepted["broadcast_id"] is not None:
        approved = others["broadcast.approved", accepted["broadcast_id"]]
        if any(accepted[name] != approved[name] for name in ("category", "rule", "rule_definition", "effective_at")) or (
                approved["content_id"] not in (None, accepted["content_id"])):
            yield "The notice is of another category, rule or content than the broadcast that was approved."
        if [one["channel"] for one in accepted["deliveries"]] != approved["channels"]:
            yield "The notice goes by other channels than the broadcast that was approved."
    if accepted["cure_id"] is not None and accepted["category"] != cure.CATEGORY:
        yield "The notice is of another category than that of the cure that it tells of."
    for name in ("id", "channel"):
        if len({one[name] for one in accepted["deliveries"]}) != len(accepted["deliveries"]):
            yield f"Two deliveries of the notice have the same {name}."


def _content(accepted: Entry, entries: Sequence[Entry], values: Values) -> Iterator[str]:
    own = content_entry(accepted, entries)
    notices_sha256 = opened_text(values, own, "content_sha256")
    for entry in (accepted, *(entry for entry in entries if entry.type == "content.shared")):
        raw, sha256 = values.get((entry.position, "content")), opened_text(values, entry, "content_sha256")
        if ("content_commit" in entry.members) != ("content_sha256_commit" in entry.members):
            yield f"Entry {entry.position} commits to a content or to its hash, but not to both."
        if raw is None or sha256 is None:
            continue
        content = contents.from_json(json.loads(raw))
        if content.sha256 != sha256:
            yield f"The content that entry {entry.position} commits to does not have the hash that it commits to."
        if entry is own:
            carried = {"sms": content.sms_carries or "full"}
            if any(one["carries"] != carried.get(one["channel"], "full") for one in accepted["deliveries"]):
                yield "A delivery carries something else than its content says."
            if len(content.documents) != len(accepted["document_ids"]):
                yield "The notice does not name as many documents as its content."
        elif notices_sha256 not in (None, sha256):
            yield "The announcement has another content than the notice."


def _attempts(accepted: Entry, later: Sequence[Entry], others: Mapping[needs.Key, Entry], values: Values) -> Iterator[str]:
    deliveries = {one["id"]: one for one in accepted["deliveries"]}
    intents: dict[tuple[str, int], Entry] = {}
    answered: set[tuple[str, int]] = set()
    for entry in later:
        if "delivery_id" not in entry.members:
            continue
        here, one = f"Entry {entry.position} ({entry.type})", deliveries.get(entry["delivery_id"])
        if one is None or one["channel"] != entry["channel"] or entry.get("carries") not in (None, one["carries"]):
            yield f"{here} speaks of a delivery, channel or form that the notice does not have."
            continue
        if "attempt" not in entry.members:
            continue
        key = (entry["delivery_id"], entry["attempt"])
        if entry.type == "attempt.intended" or entry.get("intended_id") is not None:
            if entry["attempt"] != 1 + sum(delivery == key[0] for delivery, _ in intents):
                yield f"{here} does not have the number that follows the attempts before it."
            intents[key] = entry
            passed = [one["provider"] for one in entry.get("passed_over") or ()]
            if entry["provider"] in passed or len(set(passed)) != len(passed):
                yield f"{here} passes over its own provider, or another one twice."
            yield from (f"{here} {what}" for what in _intent(entry, others, values))
        elif key not in intents:
            yield f"{here} speaks of an attempt that no entry before it intends."
        elif not _same_course(entry, intents[key]):
            yield f"{here} names another contact or provider than its intent."
        if entry.type == "attempt.answered":
            if key in answered:
                yield f"{here} answers an attempt a second time."
            answered.add(key)
            if entry["kind"] != (None if entry["outcome"] == "not_sent" else entry["outcome"]) or (
                    (entry["kind"] is None) is not (entry["evidence_id"] is None)):
                yield f"{here} tells an outcome and another kind of evidence."


def _same_course(entry: Entry, intent: Entry) -> bool:
    """Whether this speaks of the contact and provider that were intended; acts on our own pages and what
    people state come through no provider.
    """
    without = entry["provider"] is None and entry.type in ("receipt.observed", "evidence.stated")
    return (entry["contact_id"], entry["confirmation"]) == (intent["contact_id"], intent["confirmation"]) and (
        without or entry["provider"] == intent["provider"])


def _intent(entry: Entry, others: Mapping[needs.Key, Entry], values: Values) -> Iterator[str]:
    if entry["observed_at"] != entry["at"]:
        yield "was not observed when it was recorded."
    if entry["contact_id"] is None:
        begins = others["recipient.recorded", entry["subject_id"]]["at"] if entry["channel"] == "in_site" else None
        if entry["channel"] not in ("in_site", "announcement") or "contact_commit" in entry.members:
            yield "names no contact on a channel that needs one."
        elif entry["contact_effective_from"] != begins:
            yield "begins the effect of an account at another time than the recipient was recorded."
        return
    contact = others["contact.recorded", entry["contact_id"]]
    if (contact["channel"], contact["confirmation"], contact["effective_from"]) != (
            entry["channel"], entry["confirmation"], entry["contact_effective_from"]):
        yield "tells another channel, confirmation or beginning of its contact than was recorded."
    if values.get((entry.position, "contact")) != values.get((contact.position, "address")):
        yield "has another address than its contact."
    ends, now = entry["contact_effective_to"], instant.parse(entry["observed_at"])
    # A clock that was set back since may show an earlier time than the one at which the contact began.
    begun = instant.parse(contact["effective_from"]) <= max(now, instant.parse(contact["at"]))
    in_effect = begun and (ends is None or now < instant.parse(ends))
    if in_effect is not entry["contact_in_effect"]:
        yield "says of its contact that it was in effect or not, against the recorded times."


def _evidence(later: Sequence[Entry], values: Values, sha256: str | None) -> Iterator[str]:
    ids: list[str] = []
    first: dict[bytes, str] = {}
    heads: set[str] = set()
    for entry in later:
        here = f"Entry {entry.position} ({entry.type})"
        ids += [entry["intended_id"]] if entry.get("intended_id") is not None else []
        if not entry.is_evidence:
            continue
        ids.append(entry["evidence_id"])
        if entry["authenticated"] != (entry["authenticated_by"] is not None):
            yield f"{here} is authenticated by nobody, or not authenticated by somebody."
        told = opened_text(values, entry, "content_sha256")
        if told is not None and sha256 is not None and entry["content_matches"] is not (told == sha256):
            yield f"{here} says openly of its content hash what the hash itself does not say."
        has_raw, same, raw = "raw_commit" in entry.members, entry["same_raw_as"], values.get((entry.position, "raw"))
        if has_raw != ("raw_sha256_commit" in entry.members) or (same is not None and (not has_raw or same not in heads)):
            yield f"{here} names as the first evidence with its raw bytes one that it cannot be."
        if raw is not None and first.setdefault(raw, entry["evidence_id"]) != (same or entry["evidence_id"]):
            yield f"{here} does not name the first evidence with the same raw bytes."
        if has_raw and same is None:
            heads.add(entry["evidence_id"])
    if len(set(ids)) != len(ids):
        yield "Two items of evidence have the same id."
