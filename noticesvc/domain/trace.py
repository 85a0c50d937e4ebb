"""The trace: one English sentence for each thing that the steps of service time did, in a fixed order.

Called by `service_time.judge` when an explanation is asked for. It only reports; nothing is decided here. Each entry
is `{"step", "evidence_id", "text"}`; step 0 tells which instant counts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from noticesvc.domain.attempts import Attempt
from noticesvc.domain.evidence import LEVEL, STRIKING, Evidence, claim_believed, instant_of
from noticesvc.domain.instant import text
from noticesvc.domain.result import Result, Serving
from noticesvc.domain.rules import Rule
from noticesvc.domain.sifting import DUPLICATE, Sifted

_SET_ASIDE = {
    "contact_not_in_effect": "set aside: an item of its attempt says that the contact was not in effect",
    "pointer": "set aside: its attempt carries only a pointer to the content",
    "other_content": "set aside: it is about other content than the notice's",
    "not_authenticated": "set aside: it is not authenticated",
}


def attach(
    result: Result, rule: Rule, sifted: Sifted, attempts: Iterable[Attempt], as_of: datetime | None
) -> Result:
    """The same result with its trace; all times in UTC."""
    steps = [
        *_times(sifted), *_dropped(result), *_rebutted(sifted), *_strikes(result), *_parts(attempts),
        *_decided(result, rule, as_of), *_doubts(result, attempts),
    ]  # fmt: skip
    return replace(
        result, trace=tuple({"step": step, "evidence_id": item, "text": words} for step, item, words in steps)
    )


_Step = tuple[int, str | None, str]


def _times(sifted: Sifted) -> Iterator[_Step]:
    for item in sifted.left:
        if item.kind in STRIKING or LEVEL.get(item.kind, 0) > 0:
            yield 0, item.id, f"{item.kind} on {item.channel} counts at {text(instant_of(item))}: {_why(item)}"


def _why(item: Evidence) -> str:
    if item.claimed_at is None:
        return "observed; nothing readable was claimed"
    if not claim_believed(item):
        return "observed; clock: the claim lies outside the tolerance of 5 minutes"
    if instant_of(item) != item.claimed_at:
        return "claimed, moved to the nearer of call start and observation"
    return "claimed"


def _dropped(result: Result) -> Iterator[_Step]:
    for entry in result.set_aside:
        if entry.reason == DUPLICATE:
            yield 1, entry.evidence_id, f"dropped: the same raw receipt as {entry.duplicate_of}, which stays"
    for entry in result.set_aside:
        if entry.reason != DUPLICATE:
            yield 2, entry.evidence_id, _SET_ASIDE[entry.reason]


def _rebutted(sifted: Sifted) -> Iterator[_Step]:
    for event, by in sorted(sifted.void.items()):
        yield 3, event, f"struck by rebuttal {by}"
    for event, (proved_at, by) in sorted(sifted.moved.items()):
        yield 3, event, f"moved to {text(proved_at)}, proved by rebuttal {by}"
    for rebuttal in sorted(sifted.idle):
        yield 3, rebuttal, "does nothing: it names no known event that can be rebutted"


def _strikes(result: Result) -> Iterator[_Step]:
    for entry in result.struck:
        if entry.reason == "struck":
            yield 4, entry.evidence_id, f"struck by the failure {entry.by} of the same attempt, which is not earlier"


def _parts(attempts: Iterable[Attempt]) -> Iterator[_Step]:
    for attempt in sorted(attempts, key=lambda each: (each.delivery_id, each.number)):
        if attempt.parts > 1:
            yield 5, None, f"attempt {attempt.number} of delivery {attempt.delivery_id} has {attempt.parts} parts"


def _decided(result: Result, rule: Rule, as_of: datetime | None) -> Iterator[_Step]:
    named = f"{rule.id} version {rule.version} (clause: {rule.clause})"
    winner = result.winner
    if winner is None:
        until = "" if rule.after is None or as_of is None else f" as of {text(as_of)}"
        yield 6, None, f"not served under {named}{until}"
        return
    yield 6, winner.evidence_id, f"served on {winner.channel} at {text(winner.served_at)} under {named}"
    if winner.final_at is not None:
        state = "provisional" if winner.provisional else "not provisional"
        seen = "without as_of" if as_of is None else f"as of {text(as_of)}"
        yield 7, winner.evidence_id, f"a bounce can come until {text(winner.final_at)}; {state} {seen}"


def _doubts(result: Result, attempts: Iterable[Attempt]) -> Iterator[_Step]:
    for attempt in sorted(attempts, key=lambda each: (each.delivery_id, each.number)):
        if attempt.conflict:
            yield 8, None, (
                f"conflict: attempt {attempt.number} of delivery {attempt.delivery_id} has a failure beside "
                "an arrival, an access or an acknowledgement"
            )
    if result.basis == "consequence_on_recipient":
        yield 9, result.evidence_id, "the consequence falls on the recipient, whose contacts are at fault"
    if result.winner is not None:
        yield 10, result.evidence_id, f"deadlines run from {result.winner.deadline_from_on}, which is not counted"
        yield 10, None, "without in-site and announcement: " + _remains(result.independent)
        left = result.without_winner
        yield 10, None, "without the winning delivery: " + (
            "not served" if left is None else f"served on {left.channel} at {text(left.served_at)}"
        )


def _remains(independent: Serving | None) -> str:
    return (
        "not served" if independent is None
        else f"served on {independent.channel} at {text(independent.served_at)} by {independent.evidence_id}"
    )  # fmt: skip
