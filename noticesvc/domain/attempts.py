"""Steps 4, 5 and the parts of 7, 8 and 9 that concern one attempt: strikes, parts, proof, conflict, dead contact.

Called by `service_time`. An attempt is one numbered hand-over of one delivery; here it is what its events, after
steps 1 to 3, amount to. Nothing in `tally` depends on a rule; `earliest` asks the rule.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from noticesvc.domain.evidence import CHANNEL_RANK, LEVEL, STRIKING, Evidence, instant_of
from noticesvc.domain.rules import Rule
from noticesvc.domain.sifting import Sifted


class Mark(NamedTuple):
    """An event at the instant that counts; its order is the order of step 6.

    Earlier first, then in-site, SMS, email, post, announcement, then the higher level, then the smaller id as text.
    The level is negated so that tuple order does it; post that came back has no level and counts as 0.
    """

    instant: datetime
    channel_rank: int
    minus_level: int
    evidence_id: str
    item: Evidence


@dataclass(frozen=True, slots=True)
class Struck:
    """An event that counts no more, and the id of the rebuttal or of the failure that struck it."""

    evidence_id: str
    reason: str
    by: str


@dataclass(slots=True)
class Attempt:
    """What one counted attempt amounts to.

    `parts` is the largest number of parts that any item states, 1 where none does. `low` are the events of levels 1
    to 3, after step 4 only those that stand; `high` those of levels 4 and 5; `strikes` the striking ones. None holds
    what a rebuttal struck. `conflict` is step 8 for this attempt alone.
    """

    delivery_id: str
    number: int
    channel: str
    parts: int = 1
    low: list[Mark] = field(default_factory=list)
    high: list[Mark] = field(default_factory=list)
    strikes: list[Mark] = field(default_factory=list)
    conflict: bool = False

    @property
    def proven(self) -> bool:
        """Step 7: an unstruck `arrived` from a DSN, or an unstruck access or acknowledgement, ends the waiting."""
        return bool(self.high) or any(
            mark.item.kind == "arrived" and mark.item.source == "dsn" for mark in self.low
        )

    @property
    def dead(self) -> bool:
        """Step 9: no such address, or returned by the recipient's fault, and never accessed or acknowledged."""
        return not self.high and any(
            mark.item.kind == "failed_permanent" or (mark.item.kind == "returned" and mark.item.fault == "recipient")
            for mark in self.strikes
        )


def tally(sifted: Sifted) -> tuple[list[Attempt], list[Struck]]:
    """Group what is left into attempts and apply step 4; an attempt is counted while an item of it is left."""
    attempts: dict[tuple[str, int], Attempt] = {}
    for item in sifted.left:
        attempt = attempts.get((item.delivery_id, item.attempt))
        if attempt is None:
            attempt = attempts[item.delivery_id, item.attempt] = Attempt(item.delivery_id, item.attempt, item.channel)
        if item.parts is not None and item.parts > attempt.parts:
            attempt.parts = item.parts
        level = LEVEL.get(item.kind, 0)
        if (not level and item.kind not in STRIKING) or item.id in sifted.void:
            continue
        instant = sifted.moved[item.id][0] if item.id in sifted.moved else instant_of(item)
        mark = Mark(instant, CHANNEL_RANK[item.channel], -level, item.id, item)
        (attempt.high if level > 3 else attempt.low if level else attempt.strikes).append(mark)
    doubted = {
        (item.delivery_id, item.attempt) for item in sifted.unproven_strikes if item.id not in sifted.void
    }
    struck = [Struck(event, "rebutted", by) for event, by in sifted.void.items()]
    for key, attempt in attempts.items():
        if attempt.strikes or key in doubted:
            attempt.conflict = bool(attempt.high) or _arrived_whole(attempt)
        if attempt.strikes and not attempt.high:
            struck.extend(_strike(attempt))
    struck.sort(key=lambda entry: entry.evidence_id)
    return list(attempts.values()), struck


def _strike(attempt: Attempt) -> list[Struck]:
    """Step 4: the latest strike takes every event of levels 1 to 3 whose instant is not later than its own."""
    latest = max(mark.instant for mark in attempt.strikes)
    by = min(mark.evidence_id for mark in attempt.strikes if mark.instant == latest)
    fallen = [Struck(mark.evidence_id, "struck", by) for mark in attempt.low if mark.instant <= latest]
    attempt.low = [mark for mark in attempt.low if mark.instant > latest]
    return fallen


def _arrived_whole(attempt: Attempt) -> bool:
    """Step 8: whether the whole attempt arrived, asked before step 4 strikes anything."""
    seen = set()
    for mark in attempt.low:
        if mark.item.kind == "arrived":
            if mark.item.part is None:
                return True
            if mark.item.part <= attempt.parts:
                seen.add(mark.item.part)
    return len(seen) == attempt.parts


def earliest(rule: Rule, attempt: Attempt) -> Mark | None:
    """Steps 5 and 6 for one attempt: its earliest event at the rule's level or a higher one, null if there is none.

    An event without `part`, and any of levels 4 and 5, speaks for the whole attempt. The others are gathered by part:
    when each of the parts has one, the attempt counts from the last part's, and that event is the evidence. The parts
    are counted, never enumerated, because their number comes from outside.
    """
    whole = [mark for mark in attempt.high if _counts(rule, mark)]
    firsts: dict[int, Mark] = {}
    for mark in attempt.low:
        if not _counts(rule, mark):
            continue
        part = mark.item.part
        if part is None:
            whole.append(mark)
        elif part <= attempt.parts and (part not in firsts or mark < firsts[part]):
            firsts[part] = mark
    if firsts and len(firsts) == attempt.parts:
        last = max(mark.instant for mark in firsts.values())
        whole.append(_first(mark for mark in firsts.values() if mark.instant == last))
    if rule.returned:
        whole.extend(
            mark for mark in attempt.strikes
            if mark.item.kind == "returned" and mark.item.fault == "recipient" and rule.serves_returned(mark.item)
        )  # fmt: skip
    return _first(whole) if whole else None


def _counts(rule: Rule, mark: Mark) -> bool:
    needed = rule.level_needed(mark.item)
    return needed is not None and -mark.minus_level >= needed


def _first(marks: Iterable[Mark]) -> Mark:
    return min(marks)  # evidence ids are unique, so the items themselves are never compared
