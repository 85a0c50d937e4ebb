"""Approval of a broadcast by a second key: from here on audience, content, policy and rates are what they are.

Called by the route `POST /v1/broadcasts/{id}/approve`; one transaction. What is frozen is committed to in `broadcast.approved`:
the audience by the SHA-256 over the ids of its rows in their order, each with the hash of what is sealed with it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from sqlalchemy import func, literal, select

from noticesvc.domain import broadcast
from noticesvc.domain.access import Access
from noticesvc.domain.rules import BUILT_IN, Rule
from noticesvc.errors import Conflict, FourEyes
from noticesvc.operations import broadcast_request, broadcasts
from noticesvc.operations.broadcast_request import Asked
from noticesvc.operations.evidence import at
from noticesvc.operations.world import World
from noticesvc.proof import openings
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_LOCK = 7103566  # of pg_advisory_xact_lock: one approval at a time takes a lane
_PAGE = 10_000
_OURS = ("recipient_id", "idempotency_key", "body_hash", "bulk", "cure_id")  # members of a request that say nothing of the notice


def approve(tx: Tx, world: World, access: Access, broadcast_id: str) -> None:
    """Freeze and begin. Raises NotFound, Forbidden, FourEyes for the key that made it, Conflict unless it is a draft with an audience.

    What the draft names is judged once more: it is refused with InputError if a provider or a rule is no longer there.
    """
    row = broadcasts.found(tx, access, broadcast_id, lock=True)
    if row.key_id == access.key_id:
        raise FourEyes("A broadcast is approved with another key than the one that made it.")
    if broadcast.follows(row.state, "approve") is None:
        raise Conflict("not-a-draft", f"The broadcast is {row.state}: only a draft can be approved.")
    if row.audience == "upload" and row.total == 0:
        raise Conflict("no-audience", "Nobody was uploaded, so that nobody would be told.")
    name, notice = broadcast_request.opened(world, row)
    asked, resolved = broadcast_request.judge(tx, world, access, name, notice, upload=row.audience == "upload")
    total = _everybody(tx, row.id) if row.audience == "all" else row.total
    content_id = None if asked.wanted else _share(tx, world, asked)
    committed, opened = openings.commit({
        "name": name, "notice": frozen(asked), "audience_sha256": audience_sha256(tx, row.id), "rates": json.loads(row.rates)}, tx.salt)
    ref = tx.append("broadcast.approved", {
        "broadcast_id": row.id, "category": row.category, "channels": row.channels.split(), "rule": resolved.rule.id,
        "policy_version": resolved.rule.version, "rule_definition": definition(resolved.rule), "content_id": content_id,
        "audience": row.audience, "recipients": total, "effective_at": at(row.effective_at), "created_by": row.key_id,
        "approved_by": access.key_id, **committed})
    tx.update(t.broadcast, ("id",), [{
        "id": row.id, "state": "running", "approved_at": tx.now, "approved_by": access.key_id, "lane": _lane(tx),
        "content_id": content_id, "total": total, "due_at": tx.now, "samples": json.dumps([[tx.now, 0]]),
        "sealed_approval": world.system_key.seal(openings.pack(opened), place(row.id)), **ref.columns}])
    tx.wake("broadcasts")


def place(broadcast_id: str) -> str:
    """Where the openings of an approval are sealed for."""
    return f"broadcast_approval:{broadcast_id}"


def frozen(asked: Asked) -> dict[str, Any]:
    """The notice as `broadcast.approved` commits to it."""
    members = {name: value for name, value in asdict(asked.notice).items() if name not in _OURS}
    return members | {"documents": list(members["documents"]), "channels": members["channels"] and list(members["channels"])}


def definition(rule: Rule) -> Mapping[str, Any] | None:
    """A configured rule as entries hold it; null for a built-in one, which every verifier knows."""
    if rule.id in BUILT_IN:
        return None
    return {"id": rule.id, "version": rule.version, "clause": rule.clause, "levels": dict(rule.levels),
            "confirmations": sorted(rule.confirmations) if rule.confirmations is not None else None}


def audience_sha256(tx: Tx, broadcast_id: str) -> str:
    """The hash of an audience, in hex: over each row's id in sixteen bytes and the SHA-256 of its sealed parameters."""
    b = t.broadcast_recipient.c
    found, after = sha256(), None
    while True:
        query = select(b.subject_id, b.sealed).where(b.broadcast_id == broadcast_id).order_by(b.subject_id).limit(_PAGE)
        rows = tx.execute(query if after is None else query.where(b.subject_id > after)).all()
        for row in rows:
            found.update(bytes.fromhex(row.subject_id.replace("-", "")) + sha256(row.sealed or b"").digest())
        if len(rows) < _PAGE:
            return found.hexdigest()
        after = rows[-1].subject_id


def _everybody(tx: Tx, broadcast_id: str) -> int:
    """Write the audience of everybody there is now, and whom a notice can be made for."""
    r, b = t.recipient.c, t.broadcast_recipient
    now = select(literal(broadcast_id, t.Id), r.subject_id).where(
        r.wrapped_key.is_not(None), r.anonymised_at.is_(None), r.account_state != "void").order_by(r.subject_id)
    return tx.execute(b.insert().from_select(["broadcast_id", "subject_id"], now)).rowcount


def _share(tx: Tx, world: World, asked: Asked) -> str:
    """Keep the content that all notices share; its id."""
    content_id, content = tx.new_id(), asked.content({})
    committed, opened = openings.commit({"content": content.to_json(), "content_sha256": content.sha256}, tx.salt)
    ref = tx.append("content.shared", {"content_id": content_id, **committed})
    tx.insert(t.content, [{"id": content_id, "subject_id": None, **ref.columns,
                           "sealed": world.system_key.seal(openings.pack(opened), f"content:{content_id}")}])
    return content_id


def _lane(tx: Tx) -> int:
    """The lane after the last one taken. After some thousands of broadcasts they are taken again, by then free of due work."""
    if tx.postgresql:
        tx.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    b = t.broadcast.c
    last = tx.execute(select(b.lane).where(b.lane.is_not(None)).order_by(b.approved_at.desc(), b.id.desc()).limit(1)).scalar()
    open_ = set(tx.execute(select(b.lane).where(b.lane.is_not(None), b.ended_at.is_(None))).scalars())
    lane = last or 0
    for _ in range(broadcast.MOST_LANES):
        lane = lane % broadcast.MOST_LANES + 1
        if lane not in open_:
            return lane
    raise Conflict("too-many-broadcasts", "As many broadcasts are under way as there can be at one time; wait until one has ended.")
