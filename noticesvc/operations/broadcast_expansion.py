"""Making the notices of approved broadcasts, some recipients at a time: exactly one for each, whenever the process dies.

Called by dispatch.broadcasts. A transaction takes the next recipients of the audience in the order of their ids, makes their
notices, and moves `expanded_to` on the broadcast's row, which it holds; so whatever is behind that id has its notice and nothing
else has. Contacts are resolved at dispatch. What is the same for all is written and encoded once.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam, select, update

from noticesvc.domain import broadcast, notice
from noticesvc.ledger.entry import BUNDLE_ENTRIES, commitment_start, value_bytes
from noticesvc.operations import broadcast_audience, broadcast_request
from noticesvc.operations.broadcast_approval import definition
from noticesvc.operations.evidence import at
from noticesvc.operations.notice_request import Resolved, resolve
from noticesvc.operations.world import World
from noticesvc.proof import openings
from noticesvc.proof.accepted_entries import AcceptedEntries
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey

TOGETHER = 4 * BUNDLE_ENTRIES
"""Recipients in one transaction: their entries fill whole bundles."""
OWN = ("content", "content_sha256")  # what a notice commits to by itself only where its content is nobody else's


def expand(tx: Tx, world: World, limit: int = TOGETHER) -> int:
    """Make the next notices of one broadcast that nobody else is at; answers how many recipients were dealt with, 0 for none left."""
    b = t.broadcast.c
    row = tx.execute(select(t.broadcast).where(
        b.due_at.is_not(None), b.state == "running", b.expanded + b.skipped < b.total).order_by(b.id).limit(1)
        .with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return 0
    rows = _next(tx, row, limit)
    ready, skipped = _Maker(tx, world, row).make(rows)
    for subject_id, reason in skipped:
        _skip(tx, row.id, subject_id, reason)
    summed = broadcast.add([json.loads(row.counts), {"queued": ready}, {f"{channel}/pending": ready for channel in row.channels.split()}])
    done = row.expanded + ready, row.skipped + len(skipped)
    if not rows:  # rows that were approved are gone: nobody can be told, and the counts must say so
        done = row.expanded, row.total - row.expanded
    tx.update(t.broadcast, ("id",), [{"id": row.id, "expanded": done[0], "skipped": done[1], "counts": json.dumps(summed),
                                      "expanded_to": rows[-1].subject_id if rows else row.expanded_to}])
    tx.wake("dispatch")
    return max(1, len(rows))


def _next(tx: Tx, row: Any, limit: int) -> Sequence[Any]:
    """The next rows of the audience, each with what is needed of its recipient."""
    b, r = t.broadcast_recipient.c, t.recipient.c
    query = select(b.subject_id, b.sealed.label("params"), r.wrapped_key, r.sealed, r.account_state, r.anonymised_at, r.acceptance_id).join(
        t.recipient, r.subject_id == b.subject_id).where(b.broadcast_id == row.id).order_by(b.subject_id).limit(limit)
    return tx.execute(query if row.expanded_to is None else query.where(b.subject_id > row.expanded_to)).all()


def _skip(tx: Tx, broadcast_id: str, subject_id: str, reason: str) -> None:
    b = t.broadcast_recipient.c
    tx.execute(update(t.broadcast_recipient).where(b.broadcast_id == bindparam("v_broadcast"), b.subject_id == bindparam("v_subject"))
               .values(skipped=bindparam("v_reason")), [{"v_broadcast": broadcast_id, "v_subject": subject_id, "v_reason": reason}])


class _Maker:
    """Makes the notices of some recipients."""

    def __init__(self, tx: Tx, world: World, row: Any) -> None:
        self._tx, self._world, self._row = tx, world, row
        self._asked = broadcast_request.load(tx, world, row)
        self._channels = row.channels.split()
        request = self._asked.notice
        template = self._asked.template
        sms, carries = (request.sms, request.sms_carries) if template is None else (template.sms, template.sms_carries)
        self._resolved: Resolved = resolve(request, world, sms, carries, lambda _: True)
        self._carries = [(carries or "full") if channel == "sms" else "full" for channel in self._channels]
        # What every notice commits to, each with salts of its own: the recipient's id first.
        self._fields: list[tuple[str, bytes]] = [(name, value_bytes(value)) for name, value in (
            ("reference", request.reference), ("case", dict(request.case) if request.case else None),
            ("metadata", dict(request.metadata) or None), ("ground", request.ground)) if value is not None]

    def make(self, rows: Sequence[Any]) -> tuple[int, list[tuple[str, str]]]:
        """Write notices, deliveries, entries, and contents where each recipient has their own; how many notices there are now, and
        the others with the reasons why they have none.

        One pass in which little is kept: what is made for each is bytes and ids, column by column.
        """
        tx, row, vault, own = self._tx, self._row, self._world.vault, self._row.content_id is None
        skipped = [(one.subject_id, reason) for one in rows if (reason := _obstacle(one)) is not None]
        gone = {subject_id for subject_id, _ in skipped}
        members = [one for one in rows if one.subject_id not in gone] if gone else rows
        number = len(members)
        if not number:
            return 0, skipped
        names = ["recipient_id", *[name for name, _ in self._fields]]
        writes = AcceptedEntries(self._members(names, own=own), self._forms(), [*names, *(OWN if own else ())])
        starts = [(commitment_start(name), bytes([len(name)]) + name.encode()) for name in (*names, *(OWN if own else ()))]
        shared = [value for _, value in self._fields]
        ids, delivery_ids = tx.new_ids(number), [tx.new_ids(number) for _ in self._channels]
        content_ids = tx.new_ids(number) if own else [row.content_id] * number
        salts, at_ = tx.sources.random(32 * len(starts) * number), 0
        entries, sealed, contents = list[bytes](), list[bytes](), list[bytes]()
        for one, notice_id, content_id, *mine in zip(members, ids, content_ids, *delivery_ids, strict=True):
            place = f"recipient:{one.subject_id}"
            key = vault.unwrap(one.wrapped_key, place)
            values = [openings.unpack(key.open(one.sealed, place))["recipient_id"].value, *shared]
            if own:
                values += self._own(one, key)
            commitments, packed = [], []
            for (start, head), value in zip(starts, values, strict=True):
                salt = salts[at_:at_ + 32]
                at_ += 32
                commitments.append(sha256(start + salt + value).digest())
                packed.append(head + salt + len(value).to_bytes(4, "big") + value)
            entries.append(writes.encode(one.acceptance_id, notice_id, one.subject_id, mine, commitments, content_id))
            sealed.append(key.seal(b"".join(packed[:len(names)]), f"notice:{notice_id}"))
            if own:
                contents.append(key.seal(b"".join(packed[len(names):]), f"content:{content_id}"))
        ref = tx.append_encoded(entries)
        subjects = [one.subject_id for one in members]
        tx.insert_columns(t.notice, self._same(ref.batch), {
            "id": ids, "subject_id": subjects, "content_id": content_ids, "acceptance_id": [one.acceptance_id for one in members],
            "sealed": sealed, "entry_offset": list(range(ref.offset, ref.offset + number))})
        if own:
            tx.insert_columns(t.content, {}, {"id": content_ids, "subject_id": subjects, "sealed": contents})
        tx.insert(t.notice_document, [{"document_id": one, "notice_id": notice_id}
                                      for one in dict.fromkeys(self._asked.notice.documents) for notice_id in ids])
        self._insert_deliveries(ids, subjects, delivery_ids)
        return number, skipped

    def _forms(self) -> list[dict[str, str]]:
        """The deliveries of each notice as its entry tells them, without ids."""
        return [{"channel": channel, "carries": carries} for channel, carries in zip(self._channels, self._carries, strict=True)]

    def _own(self, member: Any, key: DataKey) -> tuple[bytes, bytes]:
        """What is committed to of a content that this recipient alone has: the values of OWN."""
        params = json.loads(key.open(member.params, broadcast_audience.place(self._row.id, member.subject_id))) if member.params else {}
        content = self._asked.content(params)
        return value_bytes(content.to_json()), content.sha256.encode()

    def _members(self, names: Sequence[str], *, own: bool) -> dict[str, Any]:
        """The members of `notice.accepted` that are the same for all."""
        row, request, rule = self._row, self._asked.notice, self._resolved.rule
        members: dict[str, Any] = dict.fromkeys(
            name for name in ("recipient_id", "reference", *OWN, "case", "metadata", "ground")
            if name not in names and not (own and name in OWN))
        return members | {
            "v": 1, "type": "notice.accepted", "at": self._tx.at, "seq": 1, "key_id": row.key_id, "category": request.category,
            "mandatory": notice.mandatory(request.category), "strategy": request.strategy, "ladder_after": self._ladder_after,
            "rule": rule.id, "policy_version": rule.version, "rule_definition": definition(rule), "content_id": row.content_id,
            "not_before": at(request.not_before), "expires_at": at(request.expires_at), "effective_at": at(request.effective_at),
            "response_window": dict(request.response_window) if request.response_window else None, "broadcast_id": row.id,
            "announcement_id": None, "document_ids": list(request.documents), "cure_id": None}

    @property
    def _ladder_after(self) -> str | None:
        request = self._asked.notice
        return (request.ladder_after or notice.LADDER_AFTER) if request.strategy == "ladder" else None

    def _same(self, batch: str) -> dict[str, Any]:
        """The columns of a notice's row that are the same for all."""
        row, request, index = self._row, self._asked.notice, self._world.vault.index
        return {
            "key_id": row.key_id, "category": request.category, "strategy": request.strategy, "ladder_after": self._ladder_after,
            "rule": self._resolved.rule.id, "state": "queued", "accepted_at": self._tx.now, "not_before": request.not_before,
            "expires_at": request.expires_at, "effective_at": request.effective_at,
            "response_window": json.dumps(dict(request.response_window)) if request.response_window else None, "broadcast_id": row.id,
            "reference_index": index("reference", request.reference) if request.reference is not None else None,
            "case_index": index("case", request.case["case_number"]) if request.case else None, "seq": 1, "entry_batch": batch}

    def _insert_deliveries(self, ids: Sequence[str], subjects: Sequence[str], delivery_ids: Sequence[Sequence[str]]) -> None:
        request, tx = self._asked.notice, self._tx
        due = max(tx.now, request.not_before or 0)
        after = (notice.duration_s(self._ladder_after) or 0) * 1_000_000 if self._ladder_after is not None else 0
        for position, (channel, mine) in enumerate(zip(self._channels, delivery_ids, strict=True)):
            tx.insert_columns(t.delivery, {
                "channel": channel, "position": position, "priority": broadcast.priority(self._row.lane, channel),
                "carries": self._carries[position], "state": "pending", "due_at": notice.turn(due, position, after, request.expires_at),
            }, {"notice_id": ids, "id": mine, "subject_id": subjects})


def _obstacle(member: Any) -> str | None:
    """Why no notice can be made for this recipient any more; null if one can."""
    if member.wrapped_key is None or member.anonymised_at is not None:
        return "anonymised"
    return "agreement_void" if member.account_state == "void" else None
