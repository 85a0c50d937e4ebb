"""The audience of a broadcast that is uploaded: recorded some rows at a time, each recipient once.

Called by the upload route with the parsed rows of a stream. Every call is one transaction that can be repeated: a recipient who
is there already counts as a duplicate and keeps the parameters that came first. So an upload that broke off is sent again whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from noticesvc.errors import Conflict, InputError, NotFound
from noticesvc.operations import broadcast_request
from noticesvc.operations.broadcast_request import Asked
from noticesvc.operations.world import World
from noticesvc.rendering import template as rendering
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey

Row = tuple[str, Mapping[str, Any]]
"""The caller's id of a recipient, and the template parameters of their row."""

LARGEST = 1000
"""Rows in one call: a transaction of a fraction of a second."""

UNKNOWN = "there is no such recipient"
VOID = "the agreement with this recipient is void"


@dataclass(slots=True)
class Added:
    """What became of the rows; `rejected` holds the place of a row in the call and why, without what stood in it."""

    accepted: int = 0
    duplicates: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)


def add(tx: Tx, world: World, broadcast_id: str, rows: Sequence[Row]) -> Added:
    """Record these rows of an upload. The rows of one broadcast are recorded one call after the other.

    Raises NotFound, and Conflict `approved` once the audience is frozen or `no-upload` where it is everybody.
    """
    broadcast = for_upload(tx, broadcast_id)
    result, asked = Added(), broadcast_request.load(tx, world, broadcast)
    index = {recipient_id: world.vault.index("recipient", recipient_id) for recipient_id, _ in rows}
    found = {row.recipient_index: row for row in tx.rows(t.recipient, "recipient_index", list(index.values()))}
    judge = _Judge(asked)
    made: dict[str, dict[str, Any]] = {}
    for at, (recipient_id, params) in enumerate(rows):
        recipient = found.get(index[recipient_id])
        reason = _refusal(recipient) or judge.fault(params)
        if recipient is None or reason is not None:
            result.rejected.append((at, reason or UNKNOWN))
        elif recipient.subject_id in made:
            result.duplicates += 1
        else:
            made[recipient.subject_id] = {"broadcast_id": broadcast_id, "subject_id": recipient.subject_id,
                                          "sealed": _sealed(world, broadcast_id, recipient, params), "skipped": None}
    b = t.broadcast_recipient.c
    there = set(tx.execute(select(b.subject_id).where(b.broadcast_id == broadcast_id, tx.within(b.subject_id, list(made)))).scalars()) \
        if made else set()
    # In the order of the key: the tree that they go into is touched from one end to the other.
    fresh = [made[subject_id] for subject_id in sorted(made) if subject_id not in there]
    result.accepted, result.duplicates = len(fresh), result.duplicates + len(there)
    if fresh:
        tx.insert(t.broadcast_recipient, fresh)
        tx.update(t.broadcast, ("id",), [{"id": broadcast_id, "total": broadcast.total + len(fresh)}])
    return result


def for_upload(tx: Tx, broadcast_id: str) -> Any:
    """The row of a broadcast whose audience may still grow, locked. Raises NotFound and Conflict."""
    found = tx.rows(t.broadcast, "id", [broadcast_id], lock="update")
    if not found:
        raise NotFound("There is no such broadcast.")
    if found[0].state != "draft":
        raise Conflict("approved", "The audience is frozen: the broadcast was approved or cancelled. Make a new broadcast.")
    if found[0].audience != "upload":
        raise Conflict("no-upload", "The audience of this broadcast is everybody; nobody can be added to it.")
    return found[0]


def place(broadcast_id: str, subject_id: str) -> str:
    """Where the parameters of a recipient are sealed for."""
    return f"broadcast_recipient:{broadcast_id}:{subject_id}"


def params_of(row: Any, key: DataKey | None) -> dict[str, Any]:
    """The template parameters of a row of the audience; none once they were destroyed."""
    if row.sealed is None or key is None:
        return {}
    found: dict[str, Any] = json.loads(key.open(row.sealed, place(row.broadcast_id, row.subject_id)))
    return found


def _refusal(recipient: Any) -> str | None:
    if recipient is None or recipient.wrapped_key is None or recipient.anonymised_at is not None:
        return UNKNOWN
    return VOID if recipient.account_state == "void" else None


def _sealed(world: World, broadcast_id: str, recipient: Any, params: Mapping[str, Any]) -> bytes | None:
    if not params:
        return None
    key = world.vault.unwrap(recipient.wrapped_key, f"recipient:{recipient.subject_id}")
    return key.seal(json.dumps(dict(params), ensure_ascii=False, separators=(",", ":")).encode(), place(broadcast_id, recipient.subject_id))


class _Judge:
    """Whether parameters fill the template, so that no approved text has a hole."""

    def __init__(self, asked: Asked) -> None:
        self._asked, self._wanted = asked, asked.wanted
        self._texts = {} if asked.template is None else asked.template.texts

    def fault(self, params: Mapping[str, Any]) -> str | None:
        """What is wrong with a row's parameters, naming the parameter but not its value; null if they fit."""
        if not params and not self._wanted:
            return None
        given = self._asked.notice.params
        for name in params:
            if name in given or name not in self._wanted:
                return "a column is no parameter that the template still lacks"
        faults = rendering.check_params(self._texts, {**given, **params})
        if faults:
            return "; ".join(f"{fault.pointer.rpartition('/')[2]}: {fault.detail}" for fault in faults[:3])
        try:
            self._asked.content(params)
        except InputError as error:
            return error.faults[0].detail if error.faults else error.detail
        return None
