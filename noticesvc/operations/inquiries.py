"""Asking providers what became of attempts: those whose receipts do not come, and those of which somebody we do not know spoke.

A row of `inquiry` says that a provider is to be asked about an attempt, and when. Pushes get lost, so an attempt that a provider
took is asked about again and again until its delivery is finished; a push that is not authenticated makes us ask at once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, or_, select, update

from noticesvc.domain import instant
from noticesvc.operations import contents, receipts, return_token
from noticesvc.operations.world import World
from noticesvc.proof.openings import unpack
from noticesvc.provider import Inquiry, InquiryAnswer, Receipt
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

Place = tuple[str, str, int]  # notice, channel, number of an attempt

_AFTER_S = (300, 1800, 3 * 3600, 12 * 3600, 36 * 3600, 71 * 3600)  # since the attempt; receipts stop being waited for after 72 h
_AGAIN = 60_000_000  # microseconds: a forger can make us ask about one attempt only so often
_MOST_PUSHED = 200  # receipts of one push that are looked at when nobody vouches for it
_LOOKED_AT = 500  # rows in one transaction
_DAY = 86_400_000_000
_WAITING = ("sent", "unknown")


@dataclass(frozen=True, slots=True)
class Question:
    """An inquiry, and which provider answers it."""

    provider: str
    place: Place
    inquiry: Inquiry


def expect(tx: Tx, places: Sequence[tuple[Place, str]]) -> None:
    """A provider that can be asked took these attempts: ask it should its receipts not come."""
    tx.insert_new(t.inquiry, [_row(place, provider, tx.now + _AFTER_S[0] * 1_000_000) for place, provider in places])


def doubt(tx: Tx, world: World, provider: str, told: Sequence[Receipt]) -> int:
    """Somebody who could not show that they are this provider told us these receipts: ask it at once; answers about how many."""
    places = receipts.places(tx, world, provider, told[:_MOST_PUSHED])
    a, q = t.attempt.c, t.inquiry.c
    real = sorted(places & {(r.notice_id, r.channel, r.number) for r in tx.execute(
        select(a.notice_id, a.channel, a.number).where(
            tx.within(a.notice_id, {n for n, _, _ in places}), a.provider == provider, a.outcome.is_(None)))}) if places else []
    if not real:
        return 0
    tx.insert_new(t.inquiry, [_row(place, provider, tx.now + _DAY) for place in real])
    for place in real:
        tx.execute(update(t.inquiry).where(*_is(place), or_(q.asked_at.is_(None), q.asked_at < tx.now - _AGAIN)).values(
            due_at=tx.now, doubted=True))
    tx.wake("inquiries")
    return len(real)


def due(tx: Tx, world: World, limit: int) -> tuple[list[Question], bool]:
    """At most `limit` questions to put now, and whether there may be more.

    Each is put off to its next time first, so that a crash asks again and no two workers ask at once. What is finished is asked
    about only if it is doubted; else the row has done its duty, and goes with many others.
    """
    q, d, a = t.inquiry.c, t.delivery.c, t.attempt.c
    chosen = select(t.inquiry).where(q.due_at <= tx.now).order_by(q.due_at).limit(_LOOKED_AT)
    rows = tx.execute(chosen.with_for_update(skip_locked=True)).all()
    if not rows:
        return [], False
    ids = {r.notice_id for r in rows}
    states = {(r.notice_id, r.channel): r.state for r in tx.execute(
        select(d.notice_id, d.channel, d.state).where(tx.within(d.notice_id, ids)))}
    begun = {(r.notice_id, r.channel, r.number): r.intended_at for r in tx.execute(
        select(a.notice_id, a.channel, a.number, a.intended_at).where(tx.within(a.notice_id, ids)))}
    wanted: list[Place] = []
    over: list[dict[str, Any]] = []
    for row in rows:
        place = (row.notice_id, row.channel, row.attempt)
        if place not in begun or not (row.doubted or states.get(place[:2]) in _WAITING):
            over.append({"v_notice": place[0], "v_channel": place[1], "v_attempt": place[2]})
            continue
        if len(wanted) == limit:
            continue
        times = [begun[place] + s * 1_000_000 for s in _AFTER_S]
        later = next((time for time in times if time > tx.now + _AGAIN), tx.now + _DAY)
        tx.execute(update(t.inquiry).where(*_is(place)).values(due_at=later, asked_at=tx.now, doubted=False))
        wanted.append(place)
    if over:
        tx.execute(delete(t.inquiry).where(q.notice_id == bindparam("v_notice"), q.channel == bindparam("v_channel"),
                                           q.attempt == bindparam("v_attempt")), over)
    return list(questions(tx, world, wanted).values()), len(rows) == _LOOKED_AT or len(wanted) == limit


def questions(tx: Tx, world: World, wanted: Collection[Place]) -> dict[Place, Question]:
    """What to ask about these attempts; nothing about those whose recipient's key is destroyed."""
    ids, places = {n for n, _, _ in wanted}, set(wanted)
    if not places:
        return {}
    n, e = t.notice.c, t.evidence.c
    subjects = {r.id: r.subject_id for r in tx.execute(select(n.id, n.subject_id).where(tx.within(n.id, ids)))}
    keys = contents.keys_of(tx, world, set(subjects.values()))
    answers = {(r.notice_id, r.channel, r.attempt): r for r in tx.execute(
        select(e.notice_id, e.channel, e.attempt, e.id, e.sealed).where(tx.within(e.notice_id, ids), e.answer.is_(True)))}
    found = {}
    for row in tx.rows(t.attempt, "notice_id", ids):
        place = (row.notice_id, row.channel, row.number)
        key = keys.get(subjects.get(row.notice_id, ""))
        if place not in places or key is None or row.sealed is None or row.provider is None:
            continue
        to = unpack(key.open(row.sealed, f"attempt:{row.notice_id}:{row.channel}:{row.number}"))["contact"].value.decode()
        reference, answer = None, answers.get(place)
        if answer is not None and answer.sealed is not None:
            opening = unpack(key.open(answer.sealed, f"evidence:{answer.id}")).get("provider_reference")
            reference = None if opening is None else opening.value.decode()
        found[place] = Question(row.provider, place, Inquiry(
            reference=f"{row.notice_id}.{row.channel}.{row.number}", channel=row.channel, to=to, provider_reference=reference,
            message_id=return_token.message_id(world, row.notice_id),
            attempted_at=instant.from_micros(row.intended_at), asked_at=instant.from_micros(tx.now)))
    return found


def answered(tx: Tx, world: World, question: Question, answer: InquiryAnswer) -> None:
    """What the provider said when it was asked is a receipt like any other, authenticated by our own question."""
    receipt_id = receipts.store(tx, world, question.provider, "query", {"media_type": answer.media_type}, answer.raw)
    stored = receipts.load(tx, world, receipt_id)
    receipts.apply(tx, world, stored, [replace(r, reference=question.inquiry.reference, authenticated_by=r.authenticated_by or "query")
                                       for r in answer.receipts])


def _row(place: Place, provider: str, due_at: int) -> dict[str, Any]:
    return {"notice_id": place[0], "channel": place[1], "attempt": place[2], "provider": provider, "due_at": due_at, "doubted": False}


def _is(place: Place) -> tuple[ColumnElement[bool], ...]:
    q = t.inquiry.c
    return q.notice_id == place[0], q.channel == place[1], q.attempt == place[2]
