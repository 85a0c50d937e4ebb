"""The commonest notices, decided at a glance: one fresh attempt a delivery, each answered well or not yet, and nothing more.

Called by operations.settle for every notice before it asks `view.weigh`; null says that `view.weigh` must decide. Where this
answers, it answers the same, and a property test holds the two together. It knows no rule of its own: without duplicates,
claims, parts, strikes and rebuttals steps 1 to 5 of service time have nothing to do, and what is left are steps 6, 7 and 10.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from noticesvc.domain import instant, notice
from noticesvc.domain.evidence import CHANNEL_RANK, LEVEL
from noticesvc.domain.result import Remaining, Result, Serving
from noticesvc.domain.rules import Rule
from noticesvc.domain.service_time import BOUNCE_HORIZON

_TAKEN = {kind: LEVEL[kind] for kind in ("submitted", "relayed", "arrived")}
_OWN_CHANNELS = ("in_site", "announcement")


class Delivery(Protocol):
    """What is asked of a delivery."""

    id: str
    channel: str
    carries: str
    closed: str | None


class Attempt(Protocol):
    """What is asked of an attempt."""

    channel: str
    provider: str | None
    outcome: str | None  # `not_sent`, else null


class Item(Protocol):
    """What is asked of an item of evidence; times as they are stored, `content_matches` null where the source does not know."""

    id: str
    channel: str
    attempt: int
    kind: str
    answer: bool
    source: str
    authenticated: bool
    claimed_at: str | None
    observed_at: int
    confirmation: str | None
    contact_in_effect: bool
    part: int | None
    content_matches: bool | None


@dataclass(slots=True)
class Plain:
    """The result under the notice's rule, and the states that follow, as in `view.Weighing`."""

    result: Result
    states: dict[str, str]  # by delivery id
    state: str


def weigh(rule: Rule, deliveries: Sequence[Delivery], attempts: Sequence[Attempt], evidence: Sequence[Any],
          as_of: datetime | None) -> Plain | None:
    """The same as `view.weigh`, or null if anything is out of the ordinary. `deliveries` in their order.

    1. Each delivery is open, carries more than a pointer, and has at most one attempt, which was sent.
    2. Each attempt has at most one item of evidence: its own answer, that the message was taken; nothing is wrong with it.
    3. Steps 6 and 10: the earliest item at the rule's level or above it serves.
    """
    if rule.after is not None:
        return None
    begun = {one.channel: one for one in attempts}
    answers: dict[str, Item] = {item.channel: item for item in evidence}
    if len(begun) != len(attempts) or len(answers) != len(evidence) or not answers.keys() <= begun.keys():
        return None
    states: dict[str, str] = {}
    found: list[tuple[int, int, int, str, Item, str]] = []
    for one in deliveries:
        if one.closed is not None or one.carries == "pointer":
            return None
        attempt, item = begun.pop(one.channel, None), answers.get(one.channel)
        if attempt is None:
            states[one.id] = "pending"
            continue
        if attempt.outcome is not None or one.channel == "announcement":
            return None
        if item is None:
            states[one.id] = "pending" if attempt.provider is None and one.channel == "postal" else "claimed"
            continue
        level = _TAKEN.get(item.kind)
        if (level is None or not item.answer or not item.authenticated or item.claimed_at is not None or not item.contact_in_effect
                or item.part is not None or item.content_matches is False or item.source == "dsn" or item.attempt != 1):
            return None
        states[one.id] = "delivered" if item.kind == "arrived" else "sent"
        needed = rule.level_needed(item)  # type: ignore[arg-type]  # it asks for channel, confirmation and what is carried
        if needed is not None and level >= needed:
            found.append((item.observed_at, CHANNEL_RANK[item.channel], -level, item.id, item, one.id))
    if begun:
        return None  # an attempt without its delivery
    found.sort()
    result = _result(rule, found, as_of)
    return Plain(result, states, notice.state(states.values(), served=result.served, dispatched=bool(attempts)))


def _result(rule: Rule, found: Sequence[tuple[int, int, int, str, Item, str]], as_of: datetime | None) -> Result:
    own = next((one for one in found if one[4].channel not in _OWN_CHANNELS), None)
    winner = _serving(found[0], as_of) if found else None
    outside = None if own is None else winner if own is found[0] else _serving(own, as_of)
    rest = found[1] if len(found) > 1 else None
    basis = None
    if found:
        basis = "presumed" if (found[0][4].confirmation, found[0][4].kind) in rule.presumed else "delivered"
    return Result(
        rule=rule.id, policy_version=rule.version, served=winner is not None,
        served_at=None if winner is None else winner.served_at,
        served_on=None if winner is None else winner.deadline_from_on,
        channel=None if winner is None else winner.channel,
        evidence_id=None if winner is None else winner.evidence_id,
        basis=basis, provisional=winner is not None and winner.provisional, conflict=False, analysis=rule.analysis,
        deadline_from_on=None if winner is None else winner.deadline_from_on, independent=outside,
        without_winner=None if rest is None else Remaining(instant.from_micros(rest[0]), rest[4].channel),
        set_aside=(), struck=(), winner=winner)


def _serving(one: tuple[int, int, int, str, Item, str], as_of: datetime | None) -> Serving:
    """Step 7: mail that was taken stays provisional until no bounce can come any more."""
    item, served_at = one[4], instant.from_micros(one[0])
    final_at = served_at + BOUNCE_HORIZON if item.channel == "email" else None
    return Serving(
        served_at=served_at, channel=item.channel, evidence_id=item.id, delivery_id=one[5], attempt=item.attempt,
        deadline_from_on=instant.shanghai_date(served_at), provisional=final_at is not None and as_of is not None and as_of < final_at,
        final_at=final_at, conflict=False)
