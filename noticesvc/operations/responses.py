"""A recipient's response to a notice, recorded in the ledger: accepted, refused, objected to.

Called by the route `POST /v1/notices/{id}/responses`. A response is no evidence of service; it is shown by the notice's proof.
"""

import json
from collections.abc import Mapping
from typing import Any

from noticesvc.domain import instant, statements
from noticesvc.domain.access import Access
from noticesvc.errors import Conflict, Fault, InputError, NotFound
from noticesvc.operations import broadcast_counts, consents, contents
from noticesvc.operations.evidence import at
from noticesvc.operations.recipient_state import index
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof.openings import commit, unpack
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
    if row["broadcast_id"] is not None:
        broadcast_counts.respond(tx, row, response, express=express)
    if response == "accept" and row["category"] == "agreement":
        _accept(unit, row, recipient_id, response_id)
    return {"id": response_id, "response": response, "express_refusal": express, "effective_at": at(row["effective_at"])}


def _accept(unit: Unit, row: Mapping[str, Any], recipient_id: str, response_id: str) -> None:
    """The acceptance of the new version, beside the response.

    Agreement and version are those that the notice's `metadata` name; without them the version is the notice's reference, or the
    day from which it applies, of the agreement that the recipient accepted last. Its text is the notice's document, or the notice.
    """
    tx, world, key = unit.tx, unit.world, unit.key(row["subject_id"])
    if key is None:
        return
    opened = unpack(key.open(row["sealed"], f"notice:{row['id']}"))
    metadata = json.loads(opened["metadata"].value) if "metadata" in opened else {}
    reference = opened["reference"].value.decode() if "reference" in opened else None
    text = contents.load_texts(tx, world, [row], {row["subject_id"]: key})[row["id"]]
    if text is None:
        return
    known = consents.in_force(tx, vars(unit.recipients[row["subject_id"]]), key)
    effective = instant.shanghai_date(instant.from_micros(row["effective_at"])).isoformat() if row["effective_at"] is not None else None
    consents.record_acceptance(tx, world, recipient_id, tx.now, consents.Acceptance(
        agreement=_word(metadata, "agreement") or (known["agreement"] if known else "agreement"),
        version=_word(metadata, "version") or reference or effective or row["id"],
        document_sha256=text.content.documents[0] if text.content.documents else text.sha256,
        presentation=f"response {response_id} to notice {row['id']}"))


def _word(metadata: Mapping[str, Any], name: str) -> str | None:
    value = metadata.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= 128 else None
