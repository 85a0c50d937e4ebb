"""Service time: the pure function from evidence to a legal result, in ten numbered steps.

Called by operations after each new evidence, by proof bundles to derive results again, and by `noticesvc explain`.
Steps 1-3 (duplicates, set aside, rebuttals) are in `sifting`, steps 4 and 5 (strikes, parts) in `attempts`, steps 6-10
here; `weigh` does what no rule changes, once, and `judge` the rest for each rule. The same evidence gives the same
result in whatever order it comes. Source: clauses 6.2 and 6.3 of the agreement; civil procedure law art. 90 and 95;
online litigation rules art. 31.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from noticesvc.domain import trace
from noticesvc.domain.attempts import Attempt, Mark, Struck, earliest, tally
from noticesvc.domain.evidence import Evidence
from noticesvc.domain.instant import shanghai_date
from noticesvc.domain.result import Determined, Remaining, Result, Serving, changed
from noticesvc.domain.rules import Rule
from noticesvc.domain.sifting import Sifted, sift

__all__ = ["Determined", "Remaining", "Result", "Serving", "Weighed", "changed", "determine", "judge", "weigh"]

BOUNCE_HORIZON = timedelta(days=5)
"""How long a relay may keep trying before it sends a bounce (RFC 5321 section 4.5.4.1 asks for at least 4-5 days)."""

_OWN_CHANNELS = frozenset({"in_site", "announcement"})
"""Channels whose only witness is the platform itself."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """Evidence after steps 1 to 5, as far as no rule changes it; good for judging under any number of rules.

    `conflict` is step 8, `contacts_at_fault` the facts of step 9.
    """

    sifted: Sifted
    attempts: tuple[Attempt, ...]
    struck: tuple[Struck, ...]
    conflict: bool
    contacts_at_fault: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An attempt's earliest event with the service time that follows from it."""

    served_at: datetime
    mark: Mark
    attempt: Attempt


def determine(
    rule: Rule, evidence: Iterable[Evidence], content_sha256: str, as_of: datetime | None, *, explain: bool = False
) -> Result:
    """The result of this evidence of the notice with this content hash under `rule`.

    `as_of` decides only whether a result is provisional and whether an announcement's 30 days have passed; null says
    that nothing is provisional. `explain` also writes the trace. Raises InputError when two different items have one
    id.
    """
    return judge(rule, weigh(evidence, content_sha256), as_of, explain=explain)


def weigh(evidence: Iterable[Evidence], content_sha256: str) -> Weighed:
    """Steps 1 to 5 and the facts of 8 and 9, which are the same under every rule."""
    sifted = sift(evidence, content_sha256)  # steps 1, 2, 3
    attempts, struck = tally(sifted)  # step 4; step 5 is asked by rule, in `earliest`
    conflict = any(attempt.conflict for attempt in attempts)  # step 8
    return Weighed(sifted, tuple(attempts), tuple(struck), conflict, _contacts_at_fault(attempts))


def judge(rule: Rule, weighed: Weighed, as_of: datetime | None, *, explain: bool = False) -> Result:
    """Steps 6 to 10 under one rule; arguments as for `determine`."""
    # Step 6: the earliest of all attempts, ties by channel, level and id.
    candidates = _candidates(rule, weighed.attempts, as_of)
    winner = min(candidates, key=_order, default=None)

    # Step 10, what else would carry service: without the platform's own channels, and without the winning delivery.
    # Rebuttals recorded in what is left out have already been applied in step 3.
    outside = [candidate for candidate in candidates if candidate.mark.item.channel not in _OWN_CHANNELS]
    independent = min(outside, key=_order, default=None)
    rest = [c for c in candidates if winner is not None and c.attempt.delivery_id != winner.attempt.delivery_id]
    remaining = min(rest, key=_order, default=None)

    # Step 7 is in `_serving`; steps 8 and 9 are facts of the weighed evidence.
    served = None if winner is None else _serving(winner, weighed.sifted, as_of)
    result = Result(
        rule=rule.id,
        policy_version=rule.version,
        served=served is not None,
        served_at=None if served is None else served.served_at,
        served_on=None if served is None else shanghai_date(served.served_at),
        channel=None if served is None else served.channel,
        evidence_id=None if served is None else served.evidence_id,
        basis=_basis(rule, winner, weighed),
        provisional=served is not None and served.provisional,
        conflict=weighed.conflict,
        analysis=rule.analysis,
        deadline_from_on=None if served is None else served.deadline_from_on,
        independent=(
            served if independent is winner else None if independent is None
            else _serving(independent, weighed.sifted, as_of)
        ),
        without_winner=None if remaining is None else Remaining(remaining.served_at, remaining.mark.item.channel),
        set_aside=weighed.sifted.set_aside,
        struck=weighed.struck,
        winner=served,
        trace=(),
    )  # fmt: skip
    return trace.attach(result, rule, weighed.sifted, weighed.attempts, as_of) if explain else result


def _order(candidate: _Candidate) -> tuple[datetime, Mark]:
    return candidate.served_at, candidate.mark


def _candidates(rule: Rule, attempts: Iterable[Attempt], as_of: datetime | None) -> list[_Candidate]:
    """Steps 5 and 6: each attempt's earliest event; where the rule lets time run (court-95), only once it has run."""
    found = []
    for attempt in attempts:
        mark = earliest(rule, attempt)
        if mark is None:
            continue
        served_at = mark.instant if rule.after is None else mark.instant + rule.after
        if rule.after is None or as_of is None or as_of >= served_at:
            found.append(_Candidate(served_at, mark, attempt))
    return found


def _serving(candidate: _Candidate, sifted: Sifted, as_of: datetime | None) -> Serving:
    """Step 7 and the dates of step 10 for one event, by the facts of its own attempt."""
    mark, attempt = candidate.mark, candidate.attempt
    final_at = None
    if mark.item.channel == "email" and 1 <= -mark.minus_level <= 3 and not attempt.proven:
        final_at = candidate.served_at + BOUNCE_HORIZON
    return Serving(
        served_at=candidate.served_at,
        channel=mark.item.channel,
        evidence_id=mark.evidence_id,
        delivery_id=attempt.delivery_id,
        attempt=attempt.number,
        deadline_from_on=_deadline_from_on(candidate, sifted),
        provisional=final_at is not None and as_of is not None and as_of < final_at,
        final_at=final_at,
        conflict=attempt.conflict,
    )


def _deadline_from_on(candidate: _Candidate, sifted: Sifted) -> date:
    """Step 10: nobody can act on what was not yet observed, so the later date; a moved event's time was proved."""
    served_on = shanghai_date(candidate.served_at)
    if candidate.mark.evidence_id in sifted.moved:
        return served_on
    return max(served_on, shanghai_date(candidate.mark.item.observed_at))


def _contacts_at_fault(attempts: Iterable[Attempt]) -> bool:
    """Step 9: whether outside the platform's own channels every delivery's last counted attempt met a dead contact.

    An attempt or delivery is counted while any item of it is left, so all of `attempts` are.
    """
    last: dict[str, Attempt] = {}
    for attempt in attempts:
        if attempt.channel not in _OWN_CHANNELS:
            known = last.get(attempt.delivery_id)
            if known is None or attempt.number > known.number:
                last[attempt.delivery_id] = attempt
    return bool(last) and all(attempt.dead for attempt in last.values())


def _basis(rule: Rule, winner: _Candidate | None, weighed: Weighed) -> str | None:
    """Steps 9 and 10: why service is taken to have happened, or whose consequence it is that it has not."""
    if winner is None:
        return "consequence_on_recipient" if weighed.contacts_at_fault and not rule.analysis else None
    item = winner.mark.item
    if item.kind == "returned":
        return "consequence_on_recipient"
    return "presumed" if (item.confirmation, item.kind) in rule.presumed else "delivered"
