"""Deliveries: their states, and the state that follows from evidence.

`pending`       waits for dispatch, for an account to become active, or for the next try
`claimed`       an attempt is in flight: intended, not yet answered
`sent`          the last attempt was taken (submitted, relayed); waits for a receipt until its horizon
`delivered`     the last attempt arrived, or more than that
`failed`        refused or struck for good, no try left
`undeliverable` no contact was in effect at dispatch
`unknown`       the last attempt's outcome is unknown; reconciled before anything is sent again
`cancelled`     by the caller, a refusal, a void account, or because the notice was served (ladder)
`expired`       the horizon or `expires_at` passed; later evidence still moves it
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Final, Literal

from noticesvc.domain.attempts import earliest
from noticesvc.domain.evidence import CHANNELS, Evidence
from noticesvc.domain.rules import Rule
from noticesvc.domain.service_time import Weighed, weigh

State = Literal["pending", "claimed", "sent", "delivered", "failed", "undeliverable", "unknown", "cancelled", "expired"]
STATES: Final = ("pending", "claimed", "sent", "delivered", "failed", "undeliverable", "unknown", "cancelled", "expired")
FINISHED: Final = frozenset({"delivered", "failed", "undeliverable", "cancelled", "expired"})
HORIZON: Final = {"sms": timedelta(hours=72), "email": timedelta(days=5)}
PASSED_OVER: Final = ("breaker_open", "refused")
"""Why a provider that goes before the one of an attempt was passed over: its breaker was open; it had refused this delivery since it
last waited."""
PassedOver = tuple[tuple[str, str], ...]
"""Providers by name, each with its reason."""
RETRY_FOR: Final = timedelta(hours=72)  # temporary failures, where the notice has no `expires_at`

_ARRIVED: Final = Rule(id="arrived", version="1", clause="", levels=MappingProxyType(dict.fromkeys(CHANNELS, "arrived")))
_TAKEN: Final = Rule(id="taken", version="1", clause="", levels=MappingProxyType(dict.fromkeys(CHANNELS, "submitted")))


@dataclass(frozen=True, slots=True)
class Standing:
    """What the evidence of one attempt amounts to, strikes and rebuttals applied: arrived, taken, struck for good, or said by the
    provider not to have been taken this time (`refused`).
    """

    arrived: bool = False
    taken: bool = False
    struck: bool = False
    no_receipt: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Last:
    """The last attempt of a delivery: its outcome (null in flight) and standing; `waits` for people's evidence when it has
    no provider (post).
    """

    outcome: str | None
    standing: Standing
    waits: bool = False


def standings(items: Iterable[Evidence], weighed: Weighed, content_sha256: str) -> dict[tuple[str, int], Standing]:
    """The standing of every attempt by (delivery id, number).

    What a delivery carries decides whether it can serve, not whether it was delivered: so a pointer that arrived is
    delivered, and evidence set aside for service is weighed here as if it carried the whole.
    """
    items = list(items)
    if any(i.carries == "pointer" or not i.contact_in_effect or i.content_sha256 not in (None, content_sha256) for i in items):
        weighed = weigh((replace(i, carries="full", contact_in_effect=True, content_sha256=None) for i in items), content_sha256)
    told: dict[str, set[tuple[str, int]]] = {"no_receipt": set(), "failed_temporary": set()}
    for i in weighed.sifted.left:
        if i.kind in told and i.id not in weighed.sifted.void:
            told[i.kind].add((i.delivery_id, i.attempt))
    found = {}
    for attempt in weighed.attempts:
        key = (attempt.delivery_id, attempt.number)
        found[key] = Standing(earliest(_ARRIVED, attempt) is not None, earliest(_TAKEN, attempt) is not None,
                              bool(attempt.strikes) and not attempt.high, key in told["no_receipt"], key in told["failed_temporary"])
    return found


def state(last: Last | None, closed: str | None) -> State:
    """The state of a delivery from its last attempt and how it was closed (null: it was not).

    1. Arrival or more: delivered, whatever was said before.
    2. A strike that stands: failed.
    3. Taken: sent, or expired when no receipt came in time or it was closed so.
    4. Closed: as it was closed.
    5. In flight: claimed. Unknown outcome: unknown, unless a receipt says that it was not taken. Else pending, which also is
       what a temporary failure leaves.
    """
    if last is not None:
        if last.standing.arrived:
            return "delivered"
        if last.standing.struck:
            return "failed"
        if last.standing.no_receipt:
            return "expired"
        if last.standing.taken:
            return "expired" if closed == "expired" else "sent"
    if closed is not None:
        return closed  # type: ignore[return-value]
    if last is None or last.waits:
        return "pending"
    if last.outcome is None:
        return "claimed"
    return "unknown" if last.outcome == "unknown" and not last.standing.refused else "pending"
