"""Steps 1 to 3 of service time: duplicates, what is set aside, and rebuttals.

Called by `service_time.weigh` alone. Nothing here depends on a rule. Input order never matters: everything starts from
the items sorted by observation and id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from noticesvc.domain.evidence import STRIKING, Evidence
from noticesvc.errors import Fault, InputError

DUPLICATE = "duplicate"
CONTACT_NOT_IN_EFFECT = "contact_not_in_effect"
POINTER = "pointer"
OTHER_CONTENT = "other_content"
NOT_AUTHENTICATED = "not_authenticated"


@dataclass(frozen=True, slots=True)
class SetAside:
    """An item that is listed but never counted, why, and for a duplicate the id of the item that stayed."""

    evidence_id: str
    reason: str
    duplicate_of: str | None = None


@dataclass(frozen=True, slots=True)
class Sifted:
    """What steps 1 to 3 leave.

    `items` are all items in order of observation and id, `left` those neither dropped nor set aside, `set_aside` the
    others with their reasons. `unproven_strikes` are items set aside only because nobody vouches for them that would
    strike if somebody did. `void` maps the id of an event that counts no more to the rebuttal that says so, `moved`
    the id of an event to the instant proved and the rebuttal. `idle` are the ids of rebuttals that do nothing.
    """

    items: tuple[Evidence, ...]
    left: tuple[Evidence, ...]
    set_aside: tuple[SetAside, ...]
    unproven_strikes: tuple[Evidence, ...]
    void: dict[str, str]
    moved: dict[str, tuple[datetime, str]]
    idle: tuple[str, ...]


def sift(evidence: Iterable[Evidence], content_sha256: str) -> Sifted:
    """Apply steps 1 to 3. Raises InputError when two different items have one id, since then nothing is certain."""
    items = _in_order(evidence)
    kept, same_as = _drop_duplicates(items)
    left, aside, unproven = _set_aside(kept, content_sha256)
    void, moved, idle = _rebut(kept, left, same_as)
    aside.extend(SetAside(dropped, DUPLICATE, stayed) for dropped, stayed in same_as.items())
    aside.sort(key=lambda entry: entry.evidence_id)
    return Sifted(tuple(items), tuple(left), tuple(aside), tuple(unproven), void, moved, tuple(idle))


def _in_order(evidence: Iterable[Evidence]) -> list[Evidence]:
    items = sorted(evidence, key=lambda item: (item.observed_at, item.id))
    if len({item.id for item in items}) != len(items):
        items = list(dict.fromkeys(items))  # the very same item given twice is one item
        if len({item.id for item in items}) != len(items):
            fault = Fault("/evidence", "two different items have the same id")
            raise InputError("Evidence ids must be unique; give each item its own.", (fault,))
    return items


def _drop_duplicates(items: list[Evidence]) -> tuple[list[Evidence], dict[str, str]]:
    """Step 1. The one observed first stays, then the smaller id, which is the order of `items`.

    An item without a raw hash is never a duplicate: one callback body may hold several receipts.
    """
    stayed: dict[tuple[object, ...], str] = {}
    same_as: dict[str, str] = {}
    kept = []
    for item in items:
        if item.raw_sha256 is not None:
            key = (
                item.provider, item.raw_sha256, item.delivery_id, item.attempt,
                item.kind, item.part, item.refers_to, item.authenticated,
            )  # fmt: skip
            first = stayed.setdefault(key, item.id)
            if first != item.id:
                same_as[item.id] = first
                continue
        kept.append(item)
    return kept, same_as


def _set_aside(kept: list[Evidence], content_sha256: str) -> tuple[list[Evidence], list[SetAside], list[Evidence]]:
    """Step 2. A contact not in effect or a pointer takes its whole attempt; other content or no authenticity the item.

    An item of other content says nothing about this notice, so it is no unproven strike even if unauthenticated.
    """
    barred: dict[tuple[str, int], str] = {}
    for item in kept:
        if not item.contact_in_effect:
            barred[item.delivery_id, item.attempt] = CONTACT_NOT_IN_EFFECT
        elif item.carries == "pointer":
            barred.setdefault((item.delivery_id, item.attempt), POINTER)
    left, aside, unproven = [], [], []
    for item in kept:
        reason = barred.get((item.delivery_id, item.attempt)) if barred else None
        if reason is None:
            if item.content_sha256 is not None and item.content_sha256 != content_sha256:
                reason = OTHER_CONTENT
            elif not item.authenticated:
                reason = NOT_AUTHENTICATED
                if item.kind in STRIKING:
                    unproven.append(item)
        if reason is None:
            left.append(item)
        else:
            aside.append(SetAside(item.id, reason))
    return left, aside, unproven


def _rebut(
    kept: list[Evidence], left: list[Evidence], same_as: dict[str, str]
) -> tuple[dict[str, str], dict[str, tuple[datetime, str]], list[str]]:
    """Step 3. A rebuttal reaches any event but a rebuttal, whatever attempt it was recorded in.

    Of several on one event one without `proved_at` prevails, otherwise the latest `proved_at`.
    """
    void: dict[str, str] = {}
    moved: dict[str, tuple[datetime, str]] = {}
    idle: list[str] = []
    rebuttals = [item for item in left if item.kind == "rebutted"]
    if not rebuttals:
        return void, moved, idle
    events = {item.id for item in kept if item.kind != "rebutted"}
    for rebuttal in rebuttals:
        named = rebuttal.refers_to
        target = None if named is None else same_as.get(named, named)
        if target is None or target not in events:
            idle.append(rebuttal.id)
        elif rebuttal.proved_at is None:
            void.setdefault(target, rebuttal.id)
        elif target not in moved or rebuttal.proved_at > moved[target][0]:
            moved[target] = (rebuttal.proved_at, rebuttal.id)
    for target in void:
        moved.pop(target, None)
    return void, moved, idle
