"""Cures of dead contacts (clause 五.2②): begun through another contact, ended by a new one, lapsed after three working days.

What happens to evidence and contacts only notes that there is something to look at (operations.cure_marks); the worker's
housekeeping then begins, ends or lets lapse each, in one transaction with entry and event. At most one cure of a contact is
open, and a cure notice never starts another.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from noticesvc.domain import cure, delivery, instant, view
from noticesvc.domain.access import SYSTEM
from noticesvc.domain.address import mask
from noticesvc.operations import accept, events, facts
from noticesvc.operations.notice_request import NoticeRequest
from noticesvc.operations.settle import settle
from noticesvc.operations.subjects import append_subject_entry
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof.openings import unpack
from noticesvc.rendering import cure as rendering
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class Due:
    """A dead contact whose cure may begin (`cure_id` null), or an open cure to be looked at."""

    contact_id: str
    cure_id: str | None


def due(tx: Tx, limit: int) -> list[Due]:
    """Contacts and cures to look at now, up to `limit` of each."""
    c, k = t.contact.c, t.cure.c
    dead = tx.execute(select(c.id).where(c.cure_due_at <= tx.now).order_by(c.cure_due_at).limit(limit)).scalars().all()
    open_ = tx.execute(select(k.contact_id, k.id).where(k.due_at <= tx.now).order_by(k.due_at).limit(limit)).all()
    return [*(Due(one, None) for one in dead), *(Due(one.contact_id, one.id) for one in open_)]


def look(tx: Tx, world: World, one: Due) -> None:
    """Begin, end or let lapse what is due; nothing if another worker did it."""
    if one.cure_id is None:
        _begin(tx, world, one.contact_id)
    else:
        _look(tx, world, one.cure_id)


def _begin(tx: Tx, world: World, contact_id: str) -> None:
    """Begin the cure of a contact, unless it works again, is no longer in effect, or has had its cure.

    1. Lock the recipient, then the contact; whoever came first did it.
    2. Another contact that works is told by a cure notice; where none does, the cure lapses at once.
    """
    subject_id = tx.execute(select(t.contact.c.subject_id).where(t.contact.c.id == contact_id)).scalar_one()
    unit = _unit(tx, world, subject_id)
    contact = tx.execute(select(t.contact).where(t.contact.c.id == contact_id).with_for_update()).mappings().one()
    if contact["cure_due_at"] is None:
        return
    tx.execute(update(t.contact).where(t.contact.c.id == contact_id).values(cure_due_at=None))
    if contact["state"] != "invalid" or not _in_effect(contact, tx.now) or _agreement_over(unit, subject_id) or _had(tx, contact_id):
        return
    cure_id, evidence_id = tx.new_id(), min(contact["invalid_by"].split())
    ref = append_subject_entry(tx, world, subject_id, "cure.begun", {
        "cure_id": cure_id, "contact_id": contact_id, "evidence_id": evidence_id}, {}, about_id=contact_id)
    others = _others(tx, contact)
    row = {"id": cure_id, "subject_id": subject_id, "contact_id": contact_id, "evidence_id": evidence_id, "state": "open",
           "begun_at": tx.now, "due_at": None, "notice_id": None, **ref.columns}
    if others:  # also where nothing else calls for a look, it is not open for ever
        row["due_at"] = tx.now + int(cure.TELLING.total_seconds() * 1_000_000)
    if others:
        row["notice_id"] = _tell(unit, contact, others, cure_id)
    tx.insert(t.cure, [row])
    if not others:
        _lapse(unit, row, contact, "no_other_contact", None)


def _look(tx: Tx, world: World, cure_id: str) -> None:
    """See what has become of an open cure."""
    found = tx.execute(select(t.cure).where(t.cure.c.id == cure_id)).mappings().one()
    unit = _unit(tx, world, found["subject_id"], found["notice_id"])  # the notice first, as everything that changes evidence does
    row = tx.execute(select(t.cure).where(t.cure.c.id == cure_id).with_for_update()).mappings().one()
    if row["state"] != "open":
        return
    contact = tx.execute(select(t.contact).where(t.contact.c.id == row["contact_id"])).mappings().one()
    served, deadline, under_way = None, None, False
    if row["notice_id"] is not None:
        settle(unit)  # counts again what crossed days without data
        unit.save()
        known = facts.of_unit(unit, [row["notice_id"]])[row["notice_id"]]
        weighing = view.weigh(known, instant.from_micros(tx.now))
        served = weighing.result.independent
        under_way = any(one.channel != "in_site" and weighing.states[one.id] not in delivery.FINISHED for one in known.deliveries)
        deadline = next((d for d in known.deadlines if d.kind == "cure" and served and d.evidence_id == served.evidence_id), None)
    decision = cure.decide(cure.Known(
        agreement_over=_agreement_over(unit, row["subject_id"]), usable_again=contact["state"] == "usable",
        new_contact=_renewed(tx, row), other_contact=bool(_others(tx, contact)), served=served,
        begun_at=instant.from_micros(row["begun_at"]), under_way=under_way,
        ends_at=None if deadline is None else deadline.ends_at, without_data=deadline is not None and deadline.without_data),
        instant.from_micros(tx.now))
    if decision.ended is not None:
        append_subject_entry(tx, world, row["subject_id"], "cure.ended", {
            "cure_id": cure_id, "contact_id": row["contact_id"], "cure_notice_id": row["notice_id"],
            "reason": decision.ended}, {}, about_id=row["contact_id"])
        _close(tx, cure_id, "ended", decision.ended)
    elif decision.lapsed is not None:
        _lapse(unit, row, contact, decision.lapsed, deadline)
    else:
        again = None if decision.again_at is None else instant.to_micros(decision.again_at)
        tx.execute(update(t.cure).where(t.cure.c.id == cure_id).values(due_at=again))


def _lapse(unit: Unit, row: Mapping[Any, Any], contact: Mapping[Any, Any], reason: str, deadline: view.DeadlineFact | None) -> None:
    """The ground for termination exists: an entry, and an event that tells the platform."""
    ends_at = None if reason == "no_other_contact" or deadline is None else instant.text(deadline.ends_at)
    append_subject_entry(unit.tx, unit.world, row["subject_id"], "cure.lapsed", {
        "cure_id": row["id"], "contact_id": row["contact_id"], "cure_notice_id": row["notice_id"], "reason": reason, "ends_at": ends_at,
        "from_evidence_id": None if ends_at is None or deadline is None else deadline.evidence_id}, {}, about_id=row["contact_id"])
    _close(unit.tx, row["id"], "lapsed", reason)
    events.queue(unit, "contact.cure_lapsed", {
        "contact_id": row["contact_id"], "channel": contact["channel"], "recipient_id": events.recipient_id(unit, row["subject_id"]),
        "reason": reason, "notice_id": row["notice_id"], "ends_at": ends_at, "evidence_id": row["evidence_id"]}, row["subject_id"])


def _close(tx: Tx, cure_id: str, state: str, reason: str) -> None:
    tx.execute(update(t.cure).where(t.cure.c.id == cure_id).values(state=state, reason=reason, due_at=None))


def _tell(unit: Unit, contact: Mapping[Any, Any], others: Collection[str], cure_id: str) -> str:
    """Accept the cure notice; its id. A letter takes people, so it goes by post only where nothing quicker works.

    Where the only other contact is a number and our SMS providers send nothing but texts that their vendors approved, the notice
    stands in the inbox alone: the number works, so nothing lapses, and no deadline runs before somebody is told independently.
    """
    subject_id, world = contact["subject_id"], unit.world
    key = unit.key(subject_id)
    assert key is not None  # noqa: S101 (of an agreement that is over nothing begins)
    address = unpack(key.open(contact["sealed"], f"contact:{contact['id']}"))["address"].value.decode()
    said = rendering.texts(world.issuer, contact["channel"], mask(contact["channel"], address), unit.recipients[subject_id].locale)
    quick = [channel for channel in ("sms", "email") if channel in others and (channel != "sms" or world.can_send_sms(None))]
    further = quick or [channel for channel in others if channel == "postal"]
    sms: dict[str, Any] = {"sms": said.sms, "sms_carries": "full"} if "sms" in further else {}
    recipient_id = events.recipient_id(unit, subject_id)
    assert recipient_id is not None  # noqa: S101 (as above)
    outcome, = accept.accept(unit.tx, world, [(SYSTEM, NoticeRequest(
        recipient_id=recipient_id, category=cure.CATEGORY, channels=("in_site", *further),
        subject=said.subject, body=said.body, **sms, ground="五.2②", cure_id=cure_id))])
    if not isinstance(outcome, accept.Accepted):
        raise outcome
    return outcome.id


def _unit(tx: Tx, world: World, subject_id: str, notice_id: str | None = None) -> Unit:
    """A unit that holds the recipient and, where there is one, the cure notice."""
    unit = Unit(tx, world, () if notice_id is None else {notice_id})
    tx.rows(t.recipient, "subject_id", [subject_id], lock="update")
    unit.load_recipients({subject_id})
    return unit


def _agreement_over(unit: Unit, subject_id: str) -> bool:
    """Void, terminated (the account is closed) or anonymised: nobody is to be told anything under it."""
    row = unit.recipients[subject_id]
    return row.account_state in ("void", "closed") or row.wrapped_key is None or row.anonymised_at is not None


def _in_effect(row: Mapping[Any, Any], now: int) -> bool:
    return row["effective_from"] <= now and (row["effective_to"] is None or now < row["effective_to"])


def _had(tx: Tx, contact_id: str) -> bool:
    """Whether the contact has an open cure, or had one that was not undone by a rebuttal and did tell the recipient."""
    k = t.cure.c
    last = tx.execute(select(k.state, k.reason).where(k.contact_id == contact_id).order_by(k.id.desc()).limit(1)).one_or_none()
    return last is not None and last.reason not in ("rebutted", "not_told")


def _others(tx: Tx, contact: Mapping[Any, Any]) -> list[str]:
    """The channels on which another contact of the recipient works now."""
    rows = tx.execute(select(t.contact).where(
        t.contact.c.subject_id == contact["subject_id"], t.contact.c.id != contact["id"], t.contact.c.state == "usable",
        t.contact.c.address_index.not_in(_dead(contact["subject_id"])))).mappings()
    return [row["channel"] for row in rows if _in_effect(row, tx.now)]


def _renewed(tx: Tx, row: Mapping[Any, Any]) -> bool:
    """Whether a contact was recorded since that is not over, works, and has another address than one that is dead."""
    c = t.contact.c
    rows = tx.execute(select(t.contact).where(
        c.subject_id == row["subject_id"], c.recorded_at > row["begun_at"], c.state == "usable",
        c.address_index.not_in(_dead(row["subject_id"])))).mappings()
    return any(one["effective_to"] is None or one["effective_to"] > max(tx.now, one["effective_from"]) for one in rows)


def _dead(subject_id: str) -> Any:
    """The addresses (blind indexes) that are known to be dead: another version of one is no other contact."""
    return select(t.contact.c.address_index).where(t.contact.c.subject_id == subject_id, t.contact.c.state == "invalid")


