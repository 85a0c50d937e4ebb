"""A recipient's response to a notice, recorded in the ledger: accepted, refused, objected to.

Called by the route `POST /v1/notices/{id}/responses`. A response is no evidence of service; it is shown by the notice's proof.
"""

from typing import Any

from noticesvc.domain import instant, statements
from noticesvc.domain.access import Access
from noticesvc.errors import Conflict, Fault, InputError, NotFound
from noticesvc.operations.evidence import at
from noticesvc.operations.recipient_state import index
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof.openings import commit
from noticesvc.storage.transaction import Tx


def respond(tx: Tx, world: World, access: Access, notice_id: str, recipient_id: str, response: str,
            statement: str | None) -> dict[str, Any]:
    """Record a response; whether it is an express refusal of an agreement change, and when that change takes effect.

    Raises NotFound, Forbidden for a category that the key may not use, Conflict once the recipient was anonymised, and
    InputError unless the notice went to this recipient.
    """
    unit = Unit(tx, world, {notice_id})
    row = unit.notices.get(notice_id)
    if row is None:
        raise NotFound("There is no such notice.")
    access.require_category(row["category"])
    recipient = unit.recipients[row["subject_id"]]
    if unit.key(row["subject_id"]) is None or recipient.anonymised_at is not None:
        raise Conflict("anonymised", "The recipient was anonymised, so no response can be recorded.")
    if recipient.recipient_index != index(world, recipient_id):
        raise InputError("The notice went to another recipient.", (Fault("/recipient_id", "is not the recipient of this notice"),))
    effective = None if row["effective_at"] is None else instant.from_micros(row["effective_at"])
    express = statements.is_express_refusal(row["category"], effective, response, instant.from_micros(tx.now))
    response_id = tx.new_id()
    committed, opened = commit({"statement": statement}, tx.salt)
    unit.note(notice_id, "response.recorded", {
        "response_id": response_id, "response": response, "express_refusal": express, "effective_at": at(row["effective_at"]),
        "key_id": access.key_id, **committed}, opened)
    unit.save()
    return {"id": response_id, "response": response, "express_refusal": express, "effective_at": at(row["effective_at"])}
