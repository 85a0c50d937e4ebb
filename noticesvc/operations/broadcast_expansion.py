"""Making the notices of approved broadcasts, some recipients at a time: exactly one for each, whenever the process dies.

Called by dispatch.broadcasts. A transaction takes the next recipients of the audience in the order of their ids, makes their
notices, and moves `expanded_to` on the broadcast's row, which it holds; so whatever is behind that id has its notice and nothing
else has. Contacts are resolved at dispatch. What is the same for all is written and encoded once.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

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


def expand(tx: Tx, world: World, limit: int = TOGETHER) -> int:
    """Make the next notices of one broadcast that nobody else is at; answers how many recipients were dealt with, 0 for none left."""
    b = t.broadcast.c
    row = tx.execute(select(t.broadcast).where(
        b.due_at.is_not(None), b.state == "running", b.expanded + b.skipped < b.total).order_by(b.id).limit(1)
        .with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return 0
    found = _next(tx, row, limit)
    made, skipped = _sorted(world, found)
    if made:
        _Maker(tx, world, row).make(made)
    for one, reason in skipped:
        _skip(tx, row.id, one.subject_id, reason)
    summed = broadcast.add([json.loads(row.counts), {"queued": len(made)},
                            {f"{channel}/pending": len(made) for channel in row.channels.split()}])
    done = row.expanded + len(made), row.skipped + len(skipped)
    if not found:  # rows that were approved are gone: nobody can be told, and the counts must say so
        done = row.expanded, row.total - row.expanded
    tx.update(t.broadcast, ("id",), [{"id": row.id, "expanded": done[0], "skipped": done[1], "counts": json.dumps(summed),
                                      "expanded_to": found[-1].subject_id if found else row.expanded_to}])
    tx.wake("dispatch")
    return max(1, len(found))


class Member(NamedTuple):
    """A recipient of the audience: the row of the audience, and what is needed of the recipient's own."""

    subject_id: str
    params: bytes | None
    recipient: Any


class Ready(NamedTuple):
    """A recipient for whom a notice is made now."""

    member: Member
    key: DataKey
    recipient_id: bytes


def _next(tx: Tx, row: Any, limit: int) -> list[Member]:
    b = t.broadcast_recipient.c
    query = select(b.subject_id, b.sealed).where(b.broadcast_id == row.id).order_by(b.subject_id).limit(limit)
    rows = tx.execute(query if row.expanded_to is None else query.where(b.subject_id > row.expanded_to)).all()
    known = {one.subject_id: one for one in tx.rows(t.recipient, "subject_id", [one.subject_id for one in rows])}
    return [Member(one.subject_id, one.sealed, known[one.subject_id]) for one in rows]


def _sorted(world: World, found: Sequence[Member]) -> tuple[list[Ready], list[tuple[Member, str]]]:
    """Those for whom a notice can be made, with their keys opened, and the others, each with the reason."""
    made, skipped = [], list[tuple[Member, str]]()
    for one in found:
        recipient = one.recipient
        if recipient.wrapped_key is None or recipient.anonymised_at is not None:
            skipped.append((one, "anonymised"))
        elif recipient.account_state == "void":
            skipped.append((one, "agreement_void"))
        else:
            place = f"recipient:{one.subject_id}"
            key = world.vault.unwrap(recipient.wrapped_key, place)
            made.append(Ready(one, key, openings.unpack(key.open(recipient.sealed, place))["recipient_id"].value))
    return made, skipped


def _skip(tx: Tx, broadcast_id: str, subject_id: str, reason: str) -> None:
    b = t.broadcast_recipient.c
    tx.execute(update(t.broadcast_recipient).where(b.broadcast_id == bindparam("v_broadcast"), b.subject_id == bindparam("v_subject"))
               .values(skipped=bindparam("v_reason")), [{"v_broadcast": broadcast_id, "v_subject": subject_id, "v_reason": reason}])


class _Maker:
    """Makes the notices of one chunk."""

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

    def make(self, made: Sequence[Ready]) -> None:
        """Write notices, deliveries, entries, and contents where each recipient has their own."""
        tx, row, asked = self._tx, self._row, self._asked
        number, channels = len(made), self._channels
        ids = tx.new_ids(number)
        delivery_ids = [tx.new_ids(number) for _ in channels]
        own = self._own_contents(made) if row.content_id is None else None
        names = ["recipient_id", *[name for name, _ in self._fields], *(["content", "content_sha256"] if own else [])]
        writes = AcceptedEntries(self._members(names), [{"channel": c, "carries": k} for c, k in zip(channels, self._carries, strict=True)],
                                 names)
        starts = [commitment_start(name) for name in names]
        packs = [bytes([len(name)]) + name.encode() for name in names]
        lengths = [len(value).to_bytes(4, "big") for _, value in self._fields]
        shared = [value for _, value in self._fields]
        salts = tx.sources.random(32 * len(names) * number)
        entries, sealed, sealed_contents, at_ = [], list[bytes](), list[bytes](), 0
        kept = len(self._fields) + 1
        for index, one in enumerate(made):
            values = [one.recipient_id, *shared]
            if own:
                values += own[index].values
            commitments, parts = [], []
            for place, value in enumerate(values):
                salt = salts[at_:at_ + 32]
                at_ += 32
                commitments.append(sha256(starts[place] + salt + value).digest())
                size = lengths[place - 1] if 0 < place < kept else len(value).to_bytes(4, "big")
                parts.append(packs[place] + salt + size + value)
            notice_id = ids[index]
            entry = writes.encode(one.member.recipient.acceptance_id, notice_id, one.member.subject_id,
                                  [mine[index] for mine in delivery_ids], commitments, own[index].content_id if own else None)
            entries.append(entry)
            sealed.append(one.key.seal(b"".join(parts[:kept]), f"notice:{notice_id}"))
            if own:
                sealed_contents.append(one.key.seal(b"".join(parts[kept:]), f"content:{own[index].content_id}"))
        ref = tx.append_encoded(entries)
        subjects = [one.member.subject_id for one in made]
        self._insert_notices(ids, subjects, made, sealed, ref, None if own is None else [one.content_id for one in own])
        if own:
            tx.insert_columns(t.content, {}, {"id": [one.content_id for one in own], "subject_id": subjects, "sealed": sealed_contents})
        if asked.notice.documents:
            tx.insert(t.notice_document, [{"document_id": one, "notice_id": notice_id}
                                          for notice_id in ids for one in dict.fromkeys(asked.notice.documents)])
        self._insert_deliveries(ids, subjects, delivery_ids)

    def _members(self, names: Sequence[str]) -> dict[str, Any]:
        """The members of `notice.accepted` that are the same for all."""
        row, request, rule = self._row, self._asked.notice, self._resolved.rule
        members: dict[str, Any] = dict.fromkeys(
            name for name in ("recipient_id", "reference", "content", "content_sha256", "case", "metadata", "ground") if name not in names)
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

    def _own_contents(self, made: Sequence[Ready]) -> list["_Own"]:
        """The content of each recipient, filled with their parameters."""
        content_ids = self._tx.new_ids(len(made))
        found = []
        for content_id, one in zip(content_ids, made, strict=True):
            member = one.member
            params = json.loads(one.key.open(member.params, broadcast_audience.place(self._row.id, member.subject_id))) \
                if member.params is not None else {}
            content = self._asked.content(params)
            found.append(_Own(content_id, (value_bytes(content.to_json()), content.sha256.encode())))
        return found

    def _insert_notices(self, ids: Sequence[str], subjects: Sequence[str], made: Sequence[Ready], sealed: Sequence[bytes], ref: Any,
                        content_ids: Sequence[str] | None) -> None:
        row, request, index = self._row, self._asked.notice, self._world.vault.index
        same: dict[str, Any] = {
            "key_id": row.key_id, "category": request.category, "strategy": request.strategy, "ladder_after": self._ladder_after,
            "rule": self._resolved.rule.id, "state": "queued", "accepted_at": self._tx.now, "not_before": request.not_before,
            "expires_at": request.expires_at, "effective_at": request.effective_at,
            "response_window": json.dumps(dict(request.response_window)) if request.response_window else None, "broadcast_id": row.id,
            "reference_index": index("reference", request.reference) if request.reference is not None else None,
            "case_index": index("case", request.case["case_number"]) if request.case else None, "seq": 1, "entry_batch": ref.batch}
        columns: dict[str, Sequence[Any]] = {
            "id": ids, "subject_id": subjects, "acceptance_id": [one.member.recipient.acceptance_id for one in made], "sealed": sealed,
            "entry_offset": list(range(ref.offset, ref.offset + len(ids)))}
        if content_ids is None:
            same["content_id"] = row.content_id
        else:
            columns["content_id"] = content_ids
        self._tx.insert_columns(t.notice, same, columns)

    def _insert_deliveries(self, ids: Sequence[str], subjects: Sequence[str], delivery_ids: Sequence[Sequence[str]]) -> None:
        request, tx = self._asked.notice, self._tx
        due = max(tx.now, request.not_before or 0)
        after = (notice.duration_s(self._ladder_after) or 0) * 1_000_000 if self._ladder_after is not None else 0
        for position, (channel, mine) in enumerate(zip(self._channels, delivery_ids, strict=True)):
            tx.insert_columns(t.delivery, {
                "channel": channel, "position": position, "priority": broadcast.priority(self._row.lane, channel),
                "carries": self._carries[position], "state": "pending", "due_at": notice.turn(due, position, after, request.expires_at),
            }, {"notice_id": ids, "id": mine, "subject_id": subjects})


class _Own(NamedTuple):
    """A content that one notice alone has: its id, and what is committed to of it."""

    content_id: str
    values: tuple[bytes, bytes]
