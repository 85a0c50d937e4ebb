"""A follow-up: a new draft for whoever a broadcast did not serve, by other channels. Called by its route.

The draft is made first and then filled some recipients at a time, each call one transaction: who is not served when their turn comes,
and can still be told. Until the route answers nobody knows the draft; it is approved like any other.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import and_, select

from noticesvc.domain.access import Access
from noticesvc.errors import Conflict
from noticesvc.operations import broadcast_audience, broadcast_request, broadcasts
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

TOGETHER = 5000
"""Notices that one call looks at, served or not: a transaction of a fraction of a second."""
_NOT_SERVED = ("unserved", "expired")
_LONGEST_NAME = 200


def draft(tx: Tx, world: World, access: Access, broadcast_id: str, channels: Sequence[str], name: str | None) -> dict[str, Any]:
    """The new draft, without anybody yet.

    Its notice says the same by these channels, all at once; times that have passed are left out. Raises NotFound, Forbidden, Conflict for
    a draft, and InputError where the notice cannot go by these channels.
    """
    row = broadcasts.found(tx, access, broadcast_id)
    if row.approved_at is None:
        raise Conflict("not-approved", "The broadcast was never approved, so that there is nobody whom it did not serve.")
    first, asked = broadcast_request.opened(world, row)
    ahead = {one: getattr(asked, one) for one in ("not_before", "expires_at") if (getattr(asked, one) or 0) > tx.now}
    again = replace(asked, channels=tuple(channels), strategy="parallel", ladder_after=None,
                    not_before=ahead.get("not_before"), expires_at=ahead.get("expires_at"))
    return broadcasts.create(tx, world, access, name or f"{first[:_LONGEST_NAME - 12]} – follow-up", again, "upload", {})


def fill(tx: Tx, world: World, broadcast_id: str, draft_id: str, after: str | None) -> str | None:
    """Add the next recipients whom `broadcast_id` did not serve; answers behind which notice to go on, null: all are there."""
    n, r, b = t.notice.c, t.recipient.c, t.broadcast_recipient
    ahead = n.broadcast_id == broadcast_id if after is None else and_(n.broadcast_id == broadcast_id, n.id > after)
    seen = tx.execute(select(n.id).where(ahead).order_by(n.id).limit(TOGETHER)).scalars().all()
    if not seen:
        return None
    found = tx.execute(select(n.subject_id, r.wrapped_key).join(t.recipient, r.subject_id == n.subject_id).where(
        ahead, n.id <= seen[-1], n.state.in_(_NOT_SERVED), r.wrapped_key.is_not(None), r.anonymised_at.is_(None),
        r.account_state != "void")).all()
    into = broadcast_audience.for_upload(tx, draft_id)
    people = {one.subject_id: one for one in found}
    before = {one.subject_id: one for one in tx.execute(select(b).where(
        b.c.broadcast_id == broadcast_id, tx.within(b.c.subject_id, list(people))))} if people else {}
    rows = []
    for subject_id in sorted(people):
        sealed, row = None, before.get(subject_id)
        if row is not None and row.sealed is not None:
            key = world.vault.unwrap(people[subject_id].wrapped_key, f"recipient:{subject_id}")
            params = json.dumps(broadcast_audience.params_of(row, key), ensure_ascii=False, separators=(",", ":"))
            sealed = key.seal(params.encode(), broadcast_audience.place(draft_id, subject_id))
        rows.append({"broadcast_id": draft_id, "subject_id": subject_id, "sealed": sealed, "skipped": None})
    tx.insert(t.broadcast_recipient, rows)
    tx.update(t.broadcast, ("id",), [{"id": draft_id, "total": into.total + len(rows)}])
    return seen[-1] if len(seen) == TOGETHER else None
