"""What a notice looks like to a reader: the body of `GET /v1/notices/{id}`, derived from facts alone.

Operations fill the facts from the database, the verifier from ledger entries and openings; both must come to the same body.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from noticesvc.domain import delivery, notice, service_time
from noticesvc.domain.address import mask
from noticesvc.domain.evidence import Evidence, instant_of
from noticesvc.domain.instant import text
from noticesvc.domain.result import Result
from noticesvc.domain.rules import Rule


@dataclass(frozen=True, slots=True)
class AttemptFact:
    """One attempt. `address` is null where the channel has none, or once it was destroyed.

    `code` is what the provider called its answer; `passed_over` are the providers that would have gone before this one, and why not.
    """

    number: int
    provider: str | None
    contact_id: str | None
    address: str | None
    confirmation: str | None
    effective_from: datetime | None
    started_at: datetime
    outcome: str | None
    provider_reference: str | None
    code: str | None = None
    passed_over: delivery.PassedOver = ()


@dataclass(frozen=True, slots=True)
class DeliveryFact:
    """One delivery with its attempts in order, and how it was closed (null: it was not)."""

    id: str
    channel: str
    carries: str
    attempts: tuple[AttemptFact, ...]
    closed: str | None


@dataclass(frozen=True, slots=True)
class EvidenceFact:
    """One item with what is only shown: the claim as it came and the ledger index (null until sequenced)."""

    item: Evidence
    claimed_time_raw: str | None
    ledger_index: int | None


@dataclass(frozen=True, slots=True)
class DeadlineFact:
    """A deadline as it was set, and the event of independent service that it runs from."""

    kind: str
    ends_at: datetime
    without_data: bool
    evidence_id: str


@dataclass(frozen=True, slots=True)
class NoticeFacts:
    """All facts about one notice. `recipient_id` and `reference` are null once destroyed."""

    id: str
    recipient_id: str | None
    category: str
    reference: str | None
    accepted_at: datetime
    content_sha256: str | None
    effective_at: datetime | None
    rule: Rule
    revision: int
    deliveries: tuple[DeliveryFact, ...]
    evidence: tuple[EvidenceFact, ...]
    deadlines: tuple[DeadlineFact, ...]


@dataclass(frozen=True, slots=True)
class Weighing:
    """Evidence weighed once: the result under the notice's rule and the states that follow."""

    weighed: service_time.Weighed
    result: Result
    states: Mapping[str, str]  # by delivery id
    state: str


def weigh(facts: NoticeFacts, as_of: datetime | None) -> Weighing:
    """The result under the notice's own rule, and the states of the notice and its deliveries."""
    content = facts.content_sha256 or ""
    items = [fact.item for fact in facts.evidence]
    weighed = service_time.weigh(items, content)
    result = service_time.judge(facts.rule, weighed, as_of)
    standings = delivery.standings(items, weighed, content)
    states = {}
    for one in facts.deliveries:
        last = None
        if one.attempts:
            latest = one.attempts[-1]
            last = delivery.Last(latest.outcome, standings.get((one.id, latest.number), delivery.Standing()),
                                 waits=latest.provider is None and one.channel == "postal")
        states[one.id] = delivery.state(last, one.closed)
    dispatched = any(one.attempts for one in facts.deliveries)
    return Weighing(weighed, result, states, notice.state(states.values(), served=result.served, dispatched=dispatched))


def body(facts: NoticeFacts, as_of: datetime, rules: Iterable[Rule], *, whole: bool = True,
         more: bool = False) -> dict[str, Any]:
    """The body with exactly the contract's members; without `deliveries` and `evidence` for lists.

    `more`: attempts also say what the provider called its answer and which providers were passed over, which a bundle may not hold.
    """
    weighing = weigh(facts, as_of)
    result = weighing.result.to_json()
    own = ("rule", "policy_version", "served", "served_at", "served_on", "channel", "evidence_id", "basis", "provisional", "conflict",
           "independent", "without_winner")
    alternatives = [service_time.judge(rule, weighing.weighed, as_of).to_json() for rule in rules if rule.id != facts.rule.id]
    made: dict[str, Any] = {
        "id": facts.id, "recipient_id": facts.recipient_id, "category": facts.category, "reference": facts.reference,
        "state": weighing.state, "accepted_at": text(facts.accepted_at), "content_sha256": facts.content_sha256,
        "deadlines": deadlines(facts, weighing.result),
        "service": {name: result[name] for name in own} | {"revision": facts.revision, "alternatives": alternatives},
    }
    if whole:
        made["deliveries"] = [_delivery(one, weighing.states[one.id], more=more) for one in facts.deliveries]
        made["evidence"] = _evidence(facts, weighing.weighed)
    return made


def outcomes(facts: NoticeFacts, as_of: datetime, rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """The results under these rules and the notice's own, with traces: `outcomes` of a proof bundle."""
    weighed = service_time.weigh([fact.item for fact in facts.evidence], facts.content_sha256 or "")
    known = {rule.id: rule for rule in rules} | {facts.rule.id: facts.rule}
    return [service_time.judge(rule, weighed, as_of, explain=True).to_json() for rule in known.values()]


def deadlines(facts: NoticeFacts, result: Result) -> list[dict[str, Any]]:
    """Deadlines in force. One that ran from an event which no longer is the independent service is not shown."""
    found: list[dict[str, Any]] = []
    if facts.effective_at is not None:
        found.append({"kind": "effective", "ends_at": text(facts.effective_at), "provisional": False})
    own = result.independent
    if own is not None:
        found += [{"kind": fact.kind, "ends_at": text(fact.ends_at), "provisional": fact.without_data or own.provisional}
                  for fact in facts.deadlines if fact.evidence_id == own.evidence_id]
    return found


def _delivery(one: DeliveryFact, state: str, *, more: bool) -> dict[str, Any]:
    contact = None
    if one.attempts and one.channel != "announcement":
        last = one.attempts[-1]
        contact = {"contact_id": last.contact_id, "confirmation": last.confirmation,
                   "address_masked": mask(one.channel, last.address) if last.address is not None else None,
                   "effective_from": text(last.effective_from) if last.effective_from else None}
    return {"id": one.id, "channel": one.channel, "state": state, "carries": one.carries, "contact": contact,
            "attempts": [{"number": a.number, "provider": a.provider, "contact_id": a.contact_id, "started_at": text(a.started_at),
                          "outcome": a.outcome, "provider_reference": a.provider_reference} | (_more(a) if more else {})
                         for a in one.attempts]}


def _more(a: AttemptFact) -> dict[str, Any]:
    return {"code": a.code, "passed_over": [{"provider": name, "reason": reason} for name, reason in a.passed_over]}


def _evidence(facts: NoticeFacts, weighed: service_time.Weighed) -> list[dict[str, Any]]:
    duplicates = {aside.evidence_id: aside.duplicate_of for aside in weighed.sifted.set_aside if aside.duplicate_of}
    shown = []
    for fact in sorted(facts.evidence, key=lambda f: (f.item.observed_at, f.item.id)):
        item = fact.item
        moved = weighed.sifted.moved.get(item.id)
        shown.append({
            "id": item.id, "delivery_id": item.delivery_id, "attempt": item.attempt, "channel": item.channel, "kind": item.kind,
            "occurred_at": text(moved[0] if moved else instant_of(item)), "observed_at": text(item.observed_at),
            "claimed_time_raw": fact.claimed_time_raw, "source": item.source, "authenticated": item.authenticated,
            "duplicate_of": duplicates.get(item.id), "ledger_index": fact.ledger_index})
    return shown
