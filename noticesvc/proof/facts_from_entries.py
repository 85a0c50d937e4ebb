"""The facts about a notice, from ledger entries and openings alone: what `domain.view` derives the notice's body from.

Called by the verifier, and by the assembler of a bundle, so that what a bundle shows follows from what it proves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from noticesvc.domain import instant, rules
from noticesvc.domain.evidence import Evidence
from noticesvc.domain.rules import BUILT_IN, Rule
from noticesvc.domain.view import AttemptFact, DeadlineFact, DeliveryFact, EvidenceFact, NoticeFacts
from noticesvc.errors import ConfigurationError, VerificationError
from noticesvc.proof.entries import Entry, Values, of_notice, opened_text

OTHER_CONTENT = "≠"  # stands for any content hash but the notice's


@dataclass(slots=True)
class _Attempt:
    """An attempt while its entries are read: the one that intends it, and the one that answers it (perhaps the same)."""

    intent: Entry
    answer: Entry | None = None


@dataclass(slots=True)
class _Delivery:
    id: str
    channel: str
    carries: str
    closed: str | None = None
    attempts: dict[int, _Attempt] = field(default_factory=dict)


def notice_facts(entries: Sequence[Entry], values: Values) -> NoticeFacts:
    """The facts that these entries (of the notice, and those it needs) and opened values hold.

    Raises VerificationError for entries that contradict each other so that no facts follow.
    """
    mine = of_notice(entries)
    accepted = mine[0]
    content = opened_text(values, content_entry(accepted, entries), "content_sha256")
    deliveries = {one["id"]: _Delivery(one["id"], one["channel"], one["carries"]) for one in accepted["deliveries"]}
    deadlines: dict[str, DeadlineFact] = {}
    for entry in mine:
        match entry.type:
            case "attempt.intended":
                _delivery(deliveries, entry).attempts[entry["attempt"]] = _Attempt(entry)
            case "attempt.answered" if entry["intended_id"] is not None:
                _delivery(deliveries, entry).attempts[entry["attempt"]] = _Attempt(entry, entry)
            case "attempt.answered":
                attempt = _delivery(deliveries, entry).attempts.get(entry["attempt"])
                if attempt is None:
                    raise VerificationError(f"Entry {entry.position} answers an attempt that no entry intends.")
                attempt.answer = entry
            case "delivery.closed":
                _delivery(deliveries, entry).closed = entry["state"]
            case "deadline.set":
                deadlines.pop(entry["kind"], None)  # the latest stands last
                deadlines[entry["kind"]] = DeadlineFact(entry["kind"], instant.parse(entry["ends_at"]), entry["without_data"],
                                                        entry["from_evidence_id"])
    return NoticeFacts(
        id=accepted["notice_id"], recipient_id=opened_text(values, accepted, "recipient_id"), category=accepted["category"],
        reference=opened_text(values, accepted, "reference"), accepted_at=instant.parse(accepted["at"]), content_sha256=content,
        effective_at=_time(accepted["effective_at"]), rule=rule_of(accepted),
        revision=sum(entry.type == "service.determined" for entry in mine),
        deliveries=tuple(DeliveryFact(one.id, one.channel, one.carries, _attempts(one, values), one.closed) for one in deliveries.values()),
        evidence=tuple(evidence_facts(mine, values, content)), deadlines=tuple(deadlines.values()))


def _delivery(deliveries: Mapping[str, _Delivery], entry: Entry) -> _Delivery:
    found = deliveries.get(entry["delivery_id"])
    if found is None:
        raise VerificationError(f"Entry {entry.position} speaks of a delivery that the notice does not have.")
    return found


def _attempts(one: _Delivery, values: Values) -> tuple[AttemptFact, ...]:
    return tuple(_attempt(one.attempts[number], values) for number in sorted(one.attempts))


def _attempt(one: _Attempt, values: Values) -> AttemptFact:
    intent, answer = one.intent, one.answer
    started = None if answer is None else answer["call_started_at"]
    return AttemptFact(
        number=intent["attempt"], provider=intent["provider"], contact_id=intent["contact_id"],
        address=opened_text(values, intent, "contact"), confirmation=intent["confirmation"],
        effective_from=_time(intent["contact_effective_from"]), started_at=instant.parse(started or intent["observed_at"]),
        outcome=None if answer is None else answer["outcome"],
        provider_reference=None if answer is None else opened_text(values, answer, "provider_reference"))


def content_entry(accepted: Entry, entries: Iterable[Entry]) -> Entry:
    """The entry that commits to the notice's content: its own first one, or the shared one that it names."""
    if "content_sha256_commit" in accepted.members:
        return accepted
    for entry in entries:
        if entry.type == "content.shared" and entry["content_id"] == accepted["content_id"]:
            return entry
    raise VerificationError("The content that the notice shares with others is not in the bundle.")


def rule_of(accepted: Entry) -> Rule:
    """The notice's own rule: a built-in one, or the configured one whose definition was recorded with it."""
    definition = accepted["rule_definition"]
    if definition is None:
        rule = BUILT_IN.get(accepted["rule"])
        if rule is None:
            raise VerificationError("The notice names a service rule that is not built in, and its definition is not recorded.")
    else:
        table = {name: value for name, value in definition.items() if name != "id" and value is not None}
        try:
            rule = rules.configured(definition["id"], table)
        except ConfigurationError as error:
            raise VerificationError(f"The definition of the notice's service rule cannot be used: {error}") from None
    if (rule.id, rule.version) != (accepted["rule"], accepted["policy_version"]) or rule.analysis:
        raise VerificationError("The service rule and its version are not the ones that the notice was accepted under.")
    return rule


def evidence_facts(entries: Iterable[Entry], values: Values, content_sha256: str | None) -> list[EvidenceFact]:
    """Every item of evidence in these entries. An entry of an own channel holds two: intent and arrival."""
    found = []
    for entry in entries:
        if entry.get("intended_id") is not None:
            found.append(EvidenceFact(_item(entry, content_sha256, intended=True), None, entry.index))
        if entry.is_evidence:
            found.append(EvidenceFact(_item(entry, content_sha256), opened_text(values, entry, "claimed_time_raw"), entry.index))
    return found


def _item(entry: Entry, content_sha256: str | None, *, intended: bool = False) -> Evidence:
    """The domain's item. Hashes are stood in for by what the entry says openly of them, so that results survive destruction."""
    matches = entry["content_matches"]
    content = None if matches is None else (content_sha256 or "") if matches else OTHER_CONTENT
    if intended:
        return Evidence(
            id=entry["intended_id"], delivery_id=entry["delivery_id"], attempt=entry["attempt"], channel=entry["channel"], kind="intended",
            source="noticesvc", carries=entry["carries"], observed_at=instant.parse(entry["observed_at"]), content_sha256=content,
            confirmation=entry["confirmation"], provider=entry["provider"])
    return Evidence(
        id=entry["evidence_id"], delivery_id=entry["delivery_id"], attempt=entry["attempt"], channel=entry["channel"], kind=entry["kind"],
        source=entry["source"], authenticated=entry["authenticated"], carries=entry["carries"],
        call_started_at=_time(entry["call_started_at"]), claimed_at=_claim(entry["claimed_at"]),
        observed_at=instant.parse(entry["observed_at"]), content_sha256=content, confirmation=entry["confirmation"],
        contact_in_effect=entry["contact_in_effect"], part=entry["part"], parts=entry["parts"], provider=entry["provider"],
        raw_sha256=(entry["same_raw_as"] or entry["evidence_id"]) if "raw_commit" in entry.members else None,
        refers_to=entry["refers_to"], proved_at=_time(entry["proved_at"]), fault=entry["fault"])


def _time(text: str | None) -> Any:
    return None if text is None else instant.parse(text)


def _claim(text: str | None) -> Any:
    try:
        return None if text is None else instant.parse(text)
    except ValueError:
        return None
