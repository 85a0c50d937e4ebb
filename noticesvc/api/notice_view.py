"""Wire models of what a reader of notices sees: they describe `noticesvc.domain.view.body` in the OpenAPI document."""

from typing import Literal

from pydantic import JsonValue

from noticesvc.api import wire
from noticesvc.domain.notice import Category, Channel, State

DeliveryState = Literal["pending", "claimed", "sent", "delivered", "failed", "undeliverable", "unknown", "cancelled", "expired"]
Outcome = Literal["submitted", "relayed", "arrived", "rejected", "failed_temporary", "failed_permanent", "unknown", "not_sent"]


class Deadline(wire.Wire):
    """A deadline in force."""

    kind: Literal["cure", "response", "appeal", "effective"]
    ends_at: wire.Instant
    provisional: bool


class Independent(wire.Wire):
    """Service with in-site messages and announcements left out."""

    served_at: wire.Instant
    channel: Channel
    evidence_id: str


class WithoutWinner(wire.Wire):
    """What remains of service if the winning delivery falls."""

    served_at: wire.Instant
    channel: Channel


class Result(wire.Wire):
    """The result under one rule."""

    rule: str
    policy_version: str
    served: bool
    served_at: wire.Instant | None
    served_on: str | None
    channel: Channel | None
    evidence_id: str | None
    basis: str | None
    provisional: bool
    conflict: bool
    independent: Independent | None
    without_winner: WithoutWinner | None


class SetAside(wire.Wire):
    """An item that never counts, and why."""

    evidence_id: str
    reason: str
    duplicate_of: str | None


class Struck(wire.Wire):
    """An item that does not count any more, why, and what struck it."""

    evidence_id: str
    reason: str
    by: str


class Alternative(Result):
    """The result under another built-in rule; `analysis`: what a court might find. `trace` stands in proofs alone."""

    analysis: bool
    deadline_from_on: str | None
    set_aside: list[SetAside]
    struck: list[Struck]
    trace: list[dict[str, JsonValue]]


class Service(Result):
    """The result under the notice's own rule; `revision` counts its determinations, `alternatives` are the other built-in rules."""

    revision: int
    alternatives: list[Alternative]


class ContactUsed(wire.Wire):
    """The contact of the last attempt."""

    contact_id: str | None
    address_masked: str | None
    confirmation: Literal["confirmed", "identified", "unknown"] | None
    effective_from: wire.Instant | None


class PassedOver(wire.Wire):
    """A provider that goes before the attempt's own by priority: its breaker was open, or it had just refused this delivery."""

    provider: str
    reason: Literal["breaker_open", "refused"]


class Attempt(wire.Wire):
    """One numbered hand-over; `outcome` is null while it is in flight, `code` what the provider called its answer."""

    number: int
    provider: str | None
    contact_id: str | None
    started_at: wire.Instant
    outcome: Outcome | None
    provider_reference: str | None
    code: str | None
    passed_over: list[PassedOver]


class Delivery(wire.Wire):
    """The duty to get the notice to the recipient on one channel."""

    id: str
    channel: Channel
    state: DeliveryState
    carries: Literal["full", "link", "pointer"]
    contact: ContactUsed | None
    attempts: list[Attempt]


class Evidence(wire.Wire):
    """One fact about a delivery, never changed once recorded."""

    id: str
    delivery_id: str
    attempt: int
    channel: Channel
    kind: str
    occurred_at: wire.Instant
    observed_at: wire.Instant
    claimed_time_raw: str | None
    source: str | None
    authenticated: bool
    duplicate_of: str | None
    ledger_index: int | None


class NoticeSummary(wire.Wire):
    """A notice as lists show it; `recipient_id`, `reference` and `content_sha256` are null once they were destroyed."""

    id: str
    recipient_id: str | None
    category: Category
    reference: str | None
    state: State
    accepted_at: wire.Instant
    content_sha256: str | None
    deadlines: list[Deadline]
    service: Service


class Notice(NoticeSummary):
    """A notice with its deliveries and evidence."""

    deliveries: list[Delivery]
    evidence: list[Evidence]


class NoticePage(wire.Wire):
    """A page."""

    items: list[NoticeSummary]
    next_cursor: str | None
