"""Recording what providers answered: outcomes, evidence, entries, retries and results, many attempts in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import update

from noticesvc.domain import delivery, retry
from noticesvc.operations import contents, inquiries
from noticesvc.operations.evidence import NewEvidence, Recorder, open_code, open_word
from noticesvc.operations.settle import close, settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof.openings import commit
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

KINDS = ("submitted", "relayed", "arrived", "rejected", "failed_temporary", "failed_permanent", "unknown")


class Answer(msgspec.Struct, frozen=True):
    """How one attempt ended. `outcome` is one of KINDS, or `not_sent`: the call was never begun. Times in microseconds."""

    notice_id: str
    channel: str
    number: int
    outcome: str
    call_started_at: int | None
    observed_at: int
    raw: bytes | None = None
    media_type: str | None = None
    code: str | None = None
    provider_reference: str | None = None
    claimed_time_raw: str | None = None
    claimed_at: str | None = None
    parts: int | None = None
    message_sha256: str | None = None
    content_sha256: str | None = None  # the notice's; looked up where the answer does not bring it
    elsewhere: bool = False  # the trouble was the provider's own: another one of the channel may take it at once


@dataclass(frozen=True, slots=True)
class Schedule:
    """The retry settings of the installation; `longest_s` bounds it for deliveries through particular providers."""

    first_s: float
    max_s: float
    reconcile_after_s: float
    longest_s: Mapping[str, float]
    alternatives: Mapping[str, frozenset[str]] = field(default_factory=dict)  # providers of each channel
    can_be_asked: frozenset[str] = frozenset()  # providers that can be asked about an attempt


def record(tx: Tx, world: World, schedule: Schedule, answers: Sequence[Answer], jitter: Sequence[float]) -> None:
    """Commit what became of these attempts. An answer that was recorded before changes nothing; one that comes after the
    attempt was given up as unknown is kept as a receipt of the same attempt.
    """
    unit = Unit(tx, world, {a.notice_id for a in answers})
    past = unit.history()
    hashes = _content_hashes(unit, answers)
    recorder, again = Recorder(unit), False
    taken: list[tuple[inquiries.Place, str]] = []
    for answer, luck in sorted(zip(answers, jitter, strict=True), key=lambda pair: (pair[0].notice_id, pair[0].channel)):
        attempt = past.attempt(answer.notice_id, answer.channel, answer.number)
        before = past.answer(answer.notice_id, answer.channel, answer.number)
        if attempt is None or attempt.outcome is not None or (before is not None and before.kind != "unknown"):
            continue
        one = past.delivery(answer.notice_id, answer.channel)
        if before is not None:
            if answer.outcome not in ("unknown", "not_sent"):
                recorder.record("receipt.observed", _evidence(answer, attempt, one, hashes), {"receipt_id": None})
            continue
        if answer.outcome == "not_sent":
            _not_sent(unit, recorder, answer, attempt, one)
        else:
            _answered(unit, recorder, answer, attempt, one, hashes)
            if attempt.provider in schedule.can_be_asked and answer.outcome in ("submitted", "relayed", "unknown"):
                taken.append(((answer.notice_id, answer.channel, answer.number), attempt.provider))
        _change(unit, schedule, answer, attempt, one, luck)
        again = again or answer.outcome in ("failed_temporary", "unknown", "not_sent")
    recorder.save()
    inquiries.expect(tx, taken)
    if again:
        tx.wake("dispatch")
    settle(unit)
    unit.save()


def _content_hashes(unit: Unit, answers: Sequence[Answer]) -> dict[str, str]:
    given = {a.notice_id: a.content_sha256 for a in answers if a.content_sha256 is not None}
    missing = [unit.notices[a.notice_id] for a in answers if a.notice_id not in given and a.notice_id in unit.notices]
    if missing:
        given |= contents.hashes(unit.tx, unit.world, missing, {n["subject_id"]: unit.key(n["subject_id"]) for n in missing})
    return given


def _evidence(answer: Answer, attempt: Any, one: Any, hashes: Mapping[str, str]) -> NewEvidence:
    return NewEvidence(
        notice_id=answer.notice_id,
        delivery_id=one.id,
        channel=answer.channel,
        attempt=answer.number,
        kind=answer.outcome,
        source="smtp" if answer.channel == "email" else "gateway",
        observed_at=answer.observed_at,
        carries=one.carries,
        authenticated_by="own-session",
        call_started_at=answer.call_started_at,
        claimed_at=answer.claimed_at,
        claimed_time_raw=answer.claimed_time_raw,
        contact_id=attempt.contact_id,
        confirmation=attempt.confirmation,
        parts=answer.parts,
        provider=attempt.provider,
        provider_reference=answer.provider_reference,
        code=open_code(answer.code),
        media_type=open_word(answer.media_type),
        raw=answer.raw,
        content_sha256=hashes.get(answer.notice_id) or None,
    )


def _intent_repeated() -> dict[str, Any]:
    return {
        "intended_id": None,
        "acceptance_id": None,
        "overrode": [],
        "contact_effective_from": None,
        "contact_effective_to": None,
        "contact": None,
    }


def _answered(unit: Unit, recorder: Recorder, answer: Answer, attempt: Any, one: Any, hashes: Mapping[str, str]) -> None:
    committed, also = commit({"message_sha256": answer.message_sha256}, unit.tx.salt)
    recorder.record(
        "attempt.answered",
        _evidence(answer, attempt, one, hashes),
        _intent_repeated() | committed | {"outcome": answer.outcome},
        answer=True,
        also=also,
    )


def _not_sent(unit: Unit, recorder: Recorder, answer: Answer, attempt: Any, one: Any) -> None:
    """Close an intent that was sealed and never called: its number is used up, and it is no evidence."""
    new = NewEvidence(
        notice_id=answer.notice_id,
        delivery_id=one.id,
        channel=answer.channel,
        attempt=answer.number,
        kind=None,
        source="noticesvc",
        observed_at=answer.observed_at,
        carries=one.carries,
        authenticated_by="own-system",
        contact_id=attempt.contact_id,
        confirmation=attempt.confirmation,
        provider=attempt.provider,
    )
    members, _, _ = recorder.members(new, None, content_matches=None)
    ref = unit.append(answer.notice_id, "attempt.answered", members | _intent_repeated() | {"message_sha256": None, "outcome": "not_sent"})
    unit.tx.execute(
        update(t.attempt)
        .where(t.attempt.c.notice_id == answer.notice_id, t.attempt.c.channel == answer.channel, t.attempt.c.number == answer.number)
        .values(outcome="not_sent", closed_batch=ref.batch, closed_offset=ref.offset)
    )
    attempt.outcome = "not_sent"


def _change(unit: Unit, schedule: Schedule, answer: Answer, attempt: Any, one: Any, luck: float) -> None:
    """What the answer makes of the delivery: when it is due again, or closed because no try is left."""
    now, failures, avoid = unit.tx.now, one.failures, None
    due, row = now, unit.notices[answer.notice_id]
    if answer.elsewhere:
        # Another provider now; once every one has refused it, all of them again after the wait.
        refused = {*(one.avoid or "").split(), attempt.provider}
        avoid = " ".join(sorted(refused)) if schedule.alternatives.get(answer.channel, frozenset()) - refused else None
    elif answer.outcome == "not_sent":
        avoid = one.avoid
    if answer.outcome == "failed_temporary" and avoid is None:
        failures += 1
        longest = schedule.longest_s.get(attempt.provider, schedule.max_s)
        first = min(schedule.first_s, longest)
        due = now + int(retry.delay_s(failures, first, min(schedule.max_s, longest), luck) * 1_000_000)
        if row["expires_at"] is not None:
            due = min(due, row["expires_at"])
        elif due > _begun_at(unit, answer) + int(delivery.RETRY_FOR.total_seconds() * 1_000_000):
            close(unit, answer.notice_id, one, "failed", "no_tries_left")
    elif answer.outcome == "unknown":
        due = now + int(schedule.reconcile_after_s * 1_000_000)
    unit.set_delivery(
        answer.notice_id, answer.channel, attempts=answer.number, failures=failures, due_at=due, lease_owner=None, lease_until=None,
        **({} if avoid == one.avoid else {"avoid": avoid}),
    )


def _begun_at(unit: Unit, answer: Answer) -> int:
    """When the delivery was first tried: a late rung of a ladder has its own time for retries."""
    first = unit.history().attempt(answer.notice_id, answer.channel, 1)
    return int(first.intended_at) if first is not None else unit.tx.now
