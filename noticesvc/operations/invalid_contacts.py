"""A contact becomes `invalid` with its first permanent failure that stands, and usable again when all are rebutted (clause 二.4).

A failure of any notice but a cure notice has its cure looked at (operations.cures).
"""

from typing import Any

from sqlalchemy import select, update

from noticesvc.domain import cure, view
from noticesvc.operations import cure_marks, events
from noticesvc.operations.subjects import append_subject_entry
from noticesvc.operations.unit import Unit
from noticesvc.storage import tables as t


def apply(unit: Unit, known: dict[str, view.NoticeFacts], weighings: dict[str, view.Weighing]) -> None:
    """Compare what the evidence of these notices says of each contact with what is recorded, and record the difference."""
    failed: dict[str, set[str]] = {}  # contact -> failures that stand
    gone: dict[str, set[str]] = {}  # contact -> failures that were rebutted
    subjects: dict[str, str] = {}
    curable: set[str] = set()
    for notice_id, facts in known.items():
        weighed = weighings[notice_id].weighed
        items = [i for i in weighed.sifted.left if i.kind == "failed_permanent"]
        if not items:
            continue
        contacts = {(one.id, a.number): a.contact_id for one in facts.deliveries for a in one.attempts}
        for item in items:
            contact = contacts.get((item.delivery_id, item.attempt))
            if contact is not None:
                (gone if item.id in weighed.sifted.void else failed).setdefault(contact, set()).add(item.id)
                subjects[contact] = unit.notices[notice_id]["subject_id"]
                if unit.notices[notice_id]["category"] != cure.CATEGORY:
                    curable.add(contact)
    if subjects:
        _record(unit, failed, gone, subjects, curable)


def _record(unit: Unit, failed: dict[str, set[str]], gone: dict[str, set[str]], subjects: dict[str, str],
            curable: set[str]) -> None:
    tx = unit.tx
    statement = select(t.contact.c.id, t.contact.c.channel, t.contact.c.state, t.contact.c.invalid_by).where(
        tx.within(t.contact.c.id, list(subjects))).order_by(t.contact.c.id)
    for row in tx.execute(statement.with_for_update() if tx.postgresql else statement).all():
        before = set(row.invalid_by.split())
        after = (before | failed.get(row.id, set())) - gone.get(row.id, set())
        if after == before:
            continue
        state = "invalid" if after else "usable"
        columns: dict[str, Any] = {"invalid_by": " ".join(sorted(after)), "state": state}
        if state == "usable":
            columns["cure_due_at"] = None
        elif after - before and row.id in curable:
            columns["cure_due_at"] = tx.now
            tx.wake("cures")
        tx.execute(update(t.contact).where(t.contact.c.id == row.id).values(**columns))
        if state != row.state:
            _changed(unit, row, state, subjects[row.id], min(after - before or after or before))


def _changed(unit: Unit, row: Any, state: str, subject_id: str, evidence_id: str) -> None:
    append_subject_entry(unit.tx, unit.world, subject_id, "contact.state_changed",
                         {"contact_id": row.id, "state": state, "evidence_id": evidence_id}, {}, about_id=row.id)
    cure_marks.of_recipients(unit.tx, (subject_id,))
    if state == "invalid":
        events.queue(unit, "contact.invalid", {
            "contact_id": row.id, "channel": row.channel, "recipient_id": events.recipient_id(unit, subject_id),
            "evidence_id": evidence_id}, subject_id)
