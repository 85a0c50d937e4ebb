"""Recipients: their contacts replaced and read, and the state of their account; each function is one transaction.

Called by the recipients' routes. The verbs on acceptances and preferences stand in operations.consents, the import in
operations.recipient_import.
"""

from typing import Any

from sqlalchemy import select

from noticesvc.domain import instant
from noticesvc.operations import account_effects, consents, contacts, recipient_state
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


def put_contacts(tx: Tx, world: World, recipient_id: str, asked: contacts.Replacement) -> dict[str, Any]:
    """Replace a recipient's whole set of contacts, and make the recipient if there is none; the set as recorded.

    Raises Conflict `stale-version` and Unprocessable `backdated-contact`.
    """
    wanted = recipient_state.indexes(world, (recipient_id,))
    states = recipient_state.locked(tx, world, wanted) or recipient_state.made(tx, world, wanted)
    state = states[recipient_id]
    book = contacts.Book()
    book.load(tx, (state,))
    if contacts.replace(tx, world, state, book, asked):
        tx.wake("dispatch")
    book.save(tx)
    recipient_state.save(tx, (state,))
    recorded = contacts.left(book.versions[state.subject_id], max(tx.now, state.row["changed_at"]))
    return {"recipient_id": recipient_id, "contacts": [contacts.view(one) for one in recorded]}


def get_contacts(tx: Tx, world: World, recipient_id: str, at: int | None) -> dict[str, Any]:
    """The set in effect at an instant (microseconds; null: now). Raises NotFound."""
    row, key = recipient_state.find(tx, world, recipient_id)
    when = max(tx.now, row["changed_at"]) if at is None else at
    return {"recipient_id": recipient_id, "at": instant.text(instant.from_micros(when)),
            "contacts": [contacts.view(one) for one in contacts.in_effect_at(tx, row, key, when)]}


def history(tx: Tx, world: World, recipient_id: str, after: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """Every version ever recorded, a page in order of recording after the contact `after`, and the id that the next page
    follows (null: there is none). Raises NotFound.
    """
    row, key = recipient_state.find(tx, world, recipient_id)
    query = select(t.contact).where(t.contact.c.subject_id == row["subject_id"]).order_by(t.contact.c.id).limit(limit + 1)
    rows = tx.execute(query.where(t.contact.c.id > after) if after else query).mappings().all()
    items = [contacts.view(contacts.version(one, key)) for one in rows[:limit]]
    return items, items[-1]["contact_id"] if len(rows) > limit else None


def get_recipient(tx: Tx, world: World, recipient_id: str) -> dict[str, Any]:
    """What is known of a recipient besides contacts. Raises NotFound."""
    row, key = recipient_state.find(tx, world, recipient_id)
    return {"recipient_id": recipient_id, "account_state": row["account_state"],
            "void_since": row["void_at"] and instant.text(instant.from_micros(row["void_at"])), "locale": row["locale"],
            "refuse_commercial": row["refuse_commercial"].split(), "acceptance": consents.in_force(tx, row, key),
            "created_at": instant.text(instant.from_micros(row["created_at"]))}


def put_account(tx: Tx, world: World, recipient_id: str, account_state: str) -> dict[str, Any]:
    """Record the state of a recipient's account; the same state again changes nothing. Raises NotFound.

    `void` (clause 二.1): the agreement never bound this recipient, so that nothing more is sent under it.
    """
    state = recipient_state.one_locked(tx, world, recipient_id)
    if state.row["account_state"] != account_state:
        state.append(tx, "account.changed", {"state": account_state}, {})
        state.set(account_state=account_state, void_at=tx.now if account_state == "void" else None)
        recipient_state.save(tx, (state,))
        account_effects.on_account_change(tx, world, state.subject_id, account_state)
        if account_state in {"active", "void"}:
            tx.wake("dispatch")
    return {"recipient_id": recipient_id, "state": account_state}
