"""What people know of a delivery, stated as evidence: post that was signed for or came back, replies, rebuttals.

Called by the route `POST /v1/notices/{id}/evidence`. Who states it is named by the key, which stands in the entry; the
statement and the hashes of the documents that support it stand there as commitments.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from noticesvc.domain import statements
from noticesvc.domain.access import Access
from noticesvc.domain.identity import is_id
from noticesvc.errors import Conflict, Fault, InputError, NotFound
from noticesvc.operations import notice_reading
from noticesvc.operations.evidence import NewEvidence, Recorder
from noticesvc.operations.settle import settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof import openings
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What somebody states. `occurred_at` is the claim as RFC 3339, `occurred_at_raw` as it came; `attempt` null: the last."""

    delivery_id: str
    attempt: int | None
    kind: str
    occurred_at: str
    occurred_at_raw: str
    statement: str
    fault: str | None = None
    refers_to: str | None = None
    proved_at: int | None = None
    document_ids: tuple[str, ...] = ()


def state(tx: Tx, world: World, access: Access, notice_id: str, stated: Statement) -> dict[str, Any]:
    """Record a statement as evidence, and derive the notice again; the item as `GET /v1/notices/{id}` shows it.

    Raises NotFound, Forbidden for a category that the key may not use, Conflict once the recipient's data was destroyed, and
    InputError for what the delivery does not have or its channel does not know.
    """
    unit = Unit(tx, world, {notice_id})
    row = unit.notices.get(notice_id)
    if row is None:
        raise NotFound("There is no such notice.")
    access.require_category(row["category"])
    if unit.key(row["subject_id"]) is None:
        raise Conflict("anonymised", "The recipient was anonymised, so nothing more can be stated about the notice.")
    one, attempt = _attempt(unit, notice_id, stated)
    files = _documents(tx, stated.document_ids)
    answer = unit.history().answer(notice_id, one.channel, attempt.number)
    # Where nobody was called there is no call start, and the claim has only its upper bound.
    called = None if attempt.provider is None else (answer and answer.call_started_at) or attempt.intended_at
    committed, also = openings.commit({"statement": stated.statement, "documents": files or None}, tx.salt)
    recorder = Recorder(unit)
    evidence_id = recorder.record(
        "evidence.stated",
        NewEvidence(
            notice_id=notice_id, delivery_id=one.id, channel=one.channel, attempt=attempt.number, kind=stated.kind,
            source=statements.SOURCE, observed_at=tx.now, carries=one.carries, authenticated_by=statements.AUTHENTICATED_BY,
            call_started_at=called, claimed_at=stated.occurred_at, claimed_time_raw=stated.occurred_at_raw, contact_id=attempt.contact_id,
            confirmation=attempt.confirmation, proved_at=stated.proved_at, fault=stated.fault,
            # What names no evidence changes nothing; only an id of ours may stand open.
            refers_to=stated.refers_to if stated.refers_to is not None and is_id(stated.refers_to) else None),
        committed | {"key_id": access.key_id, "document_ids": list(stated.document_ids)}, also=also, content_matches=None)
    recorder.save()
    tx.insert_new(t.notice_document, [{"document_id": one, "notice_id": notice_id} for one in dict.fromkeys(stated.document_ids)])
    settle(unit)
    unit.save()
    shown = notice_reading.one(tx, world, notice_id)
    return next(item for item in shown["evidence"] if item["id"] == evidence_id)


def _attempt(unit: Unit, notice_id: str, stated: Statement) -> tuple[Any, Any]:
    """The delivery and attempt that the statement is about. InputError if there is none, or if nobody can know such a thing of it."""
    past = unit.history()
    one = next((one for one in past.deliveries[notice_id] if one.id == stated.delivery_id), None)
    if one is None:
        raise InputError("The statement names no delivery of this notice.", (Fault("/delivery_id", "names no delivery of this notice"),))
    kinds = statements.STATABLE[one.channel]
    if stated.kind not in kinds:
        detail = f"must be {'one of ' if len(kinds) > 1 else ''}{', '.join(sorted(kinds))} on the channel {one.channel}"
        raise InputError("Nobody can state this of a delivery on this channel.", (Fault("/kind", detail),))
    attempts = [a for a in past.attempts[notice_id] if a.channel == one.channel and a.outcome != "not_sent"]
    if not attempts:
        raise InputError("Nothing was dispatched on this delivery yet.", (Fault("/delivery_id", "has no attempt yet"),))
    if stated.attempt is None:
        return one, max(attempts, key=lambda a: a.number)
    found = next((a for a in attempts if a.number == stated.attempt), None)
    if found is None:
        raise InputError("The statement names no attempt of this delivery.", (Fault("/attempt", "names no attempt of this delivery"),))
    return one, found


def _documents(tx: Tx, ids: tuple[str, ...]) -> list[str]:
    """The hashes of these documents, in their order. InputError for one that is not known."""
    if not ids:
        return []
    known: Mapping[str, bytes] = {row.id: row.sha256 for row in tx.execute(
        select(t.document.c.id, t.document.c.sha256).where(tx.within(t.document.c.id, set(ids))))}
    missing = tuple(Fault(f"/document_ids/{n}", "names no document") for n, one in enumerate(ids) if one not in known)
    if missing:
        raise InputError("A document is not known; upload it first.", missing)
    return [known[one].hex() for one in ids]
