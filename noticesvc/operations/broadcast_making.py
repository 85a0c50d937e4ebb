"""The notices of some recipients of a broadcast, made as bytes and ids: nothing here touches the database.

Called by operations.broadcast_expansion, which takes the recipients and writes what was made. What is the same for all is written and
encoded once; what is made for each is put together at once as the database takes it, so that little is kept and little is left to do
while the broadcast's row is held. It is made some at a time, so that whoever runs an event loop is not held by it.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple

from noticesvc.domain import broadcast, instant, notice
from noticesvc.domain.identity import uuid7s
from noticesvc.ledger.entry import commitment_start, value_bytes
from noticesvc.operations import broadcast_audience
from noticesvc.operations.broadcast_approval import definition
from noticesvc.operations.broadcast_request import Asked
from noticesvc.operations.evidence import at
from noticesvc.operations.notice_request import Resolved, resolve
from noticesvc.operations.world import World
from noticesvc.proof import openings
from noticesvc.proof.accepted_entries import AcceptedEntries
from noticesvc.storage import bundle
from noticesvc.storage import tables as t
from noticesvc.storage.bulk import Rows
from noticesvc.storage.transaction import Sources, Tx
from noticesvc.vault import NONCE_BYTES, DataKey

OWN = ("content", "content_sha256")  # what a notice commits to by itself only where its content is nobody else's
_NOTICE = ("id", "subject_id", "content_id", "acceptance_id", "sealed", "entry_offset")  # columns of rows that differ
_CONTENT = ("id", "subject_id", "sealed")
_DELIVERY = ("notice_id", "id", "subject_id")
_RANDOM_OF_ID = 6
_SALT = 32


class Member(NamedTuple):
    """A recipient of the audience, with what is needed of them; read by position, because there are a million."""

    subject_id: str
    subject_seq: int
    wrapped_key: bytes  # null only with an obstacle
    anonymised_at: int | None
    account_state: str
    sealed: bytes
    acceptance_id: str | None
    params: bytes | None


class Making:
    """Notices in the making for some recipients: `make` until there are none left, then `store`.

    `now` (microseconds) is the instant at which all of them are accepted; `members` follow the recipient `after` in the audience;
    `postgresql` is whether that is what will store them.
    """

    def __init__(self, world: World, sources: Sources, now: int, row: Any, asked: Asked, after: str | None,
                 members: Sequence[Member], *, postgresql: bool) -> None:
        self._world, self._sources, self.now, self._row, self._asked = world, sources, now, row, asked
        self.broadcast_id, self.after = str(row.id), after
        self.last: str | None = members[-1].subject_id if members else after
        self.due = max(now, asked.notice.not_before or 0)
        self.subject_ids, self.changes = [member[0] for member in members], sum(member[1] for member in members)
        self.skipped = [(member[0], reason) for member in members if (reason := _obstacle(*member[2:5])) is not None]
        gone = {subject_id for subject_id, _ in self.skipped}
        self._members = [member for member in members if member[0] not in gone] if gone else members
        self._left = iter(self._members)
        self._own = row.content_id is None
        self._channels = row.channels.split()
        request, template = asked.notice, asked.template
        sms, carries = (request.sms, request.sms_carries) if template is None else (template.sms, template.sms_carries)
        self._resolved: Resolved = resolve(request, world, sms, carries, lambda _: True)
        self._carries = [(carries or "full") if channel == "sms" else "full" for channel in self._channels]
        # What every notice commits to, each with salts of its own: the recipient's id first.
        fields: list[tuple[str, bytes]] = [(name, value_bytes(value)) for name, value in (
            ("reference", request.reference), ("case", dict(request.case) if request.case else None),
            ("metadata", dict(request.metadata) or None), ("ground", request.ground)) if value is not None]
        self._names = ["recipient_id", *[name for name, _ in fields]]
        self._shared = [value for _, value in fields]
        committed = [*self._names, *(OWN if self._own else ())]
        self._starts = [(commitment_start(name), openings.head(name)) for name in committed]
        self._writes = AcceptedEntries(self._same_members(), self._forms(), committed)
        number = len(self._members)
        self._ids, self._delivery_ids = self._new_ids(number, 0), [
            self._new_ids(number, at_) for at_ in range(1, len(self._channels) + 1)]
        self._content_ids = self._new_ids(number, len(self._channels) + 1) if self._own else [row.content_id] * number
        self._names_of = zip(self._ids, self._content_ids, *self._delivery_ids, strict=True)
        self._batch, self._entries, self._packed, self._made = self._new_ids(1, 0)[0], list[bytes](), b"", 0
        self._notices = Rows(t.notice, self._same_columns(), _NOTICE, postgresql=postgresql)
        self._contents = Rows(t.content, {}, _CONTENT, postgresql=postgresql)
        self._deliveries = [Rows(t.delivery, same, _DELIVERY, postgresql=postgresql) for same in self._same_delivery()]

    def make(self, number: int) -> int:
        """Make the notices of the next `number` recipients; how many there were, 0 when all are made."""
        some = list(islice(self._left, number))
        if not some:
            self._packed = self._packed or bundle.pack(self._entries)
            self._entries = []
            return 0
        unwrap, encode, shared, own, named = self._world.vault.unwrap, self._writes.encode, self._shared, self._own, len(self._names)
        # What is random is drawn for all at once: a system call for each would take as long as what it is for.
        starts, salts, at_ = self._starts, self._sources.random(_SALT * len(self._starts) * len(some)), 0
        nonces, drawn = self._sources.random(NONCE_BYTES * len(some)), 0
        only, begins = openings.only, openings.head("recipient_id")
        entries, sealed, contents = list[bytes](), list[bytes](), list[bytes]()
        for (subject_id, _, wrapped_key, _, _, kept, acceptance_id, params), (notice_id, content_id, *mine) in zip(  # noqa: B905  # as many
                some, self._names_of):
            place = f"recipient:{subject_id}"
            key = unwrap(wrapped_key, place)
            values = [only(key.open(kept, place), begins), *shared]
            if own:
                values += self._own_content(subject_id, params, key)
            commitments, packed = list[bytes](), list[bytes]()
            for (start, head), value in zip(starts, values):  # noqa: B905
                salt = salts[at_:at_ + _SALT]
                at_ += _SALT
                commitments.append(sha256(start + salt + value).digest())
                packed += (head, salt, len(value).to_bytes(4, "big"), value)
            entries.append(encode(acceptance_id, notice_id, subject_id, mine, commitments, content_id))
            if own:
                contents.append(key.seal(b"".join(packed[4 * named:]), f"content:{content_id}"))
                del packed[4 * named:]
            sealed.append(key.seal(b"".join(packed), f"notice:{notice_id}", nonces[drawn:drawn + NONCE_BYTES]))
            drawn += NONCE_BYTES
        self._keep(some, entries, sealed, contents)
        return len(some)

    def _keep(self, some: Sequence[Member], entries: list[bytes], sealed: list[bytes], contents: list[bytes]) -> None:
        """Put together what is stored of the notices that were just made."""
        made = slice(self._made, self._made + len(some))
        self._made = made.stop
        self._entries += entries
        ids, subjects, content_ids = self._ids[made], [member[0] for member in some], self._content_ids[made]
        self._notices.add(ids, subjects, content_ids, [member[6] for member in some], sealed, range(made.start, made.stop))
        for mine, rows in zip(self._delivery_ids, self._deliveries, strict=True):
            rows.add(ids, mine[made], subjects)
        if self._own:
            self._contents.add(content_ids, subjects, contents)

    def store(self, tx: Tx) -> int:
        """Write notices, deliveries, entries, and contents where each recipient has their own; how many notices there are now."""
        while self.make(len(self._members)):
            pass
        if not self._packed:
            return 0
        tx.append_packed(self._batch, self._packed)
        for rows in (self._notices, self._contents, *self._deliveries):
            tx.insert_ready(rows)
        tx.insert(t.notice_document, [{"document_id": one, "notice_id": notice_id}
                                      for one in dict.fromkeys(self._asked.notice.documents) for notice_id in self._ids])
        return self._made

    def _new_ids(self, number: int, turn: int) -> list[str]:
        return uuid7s(self.now, self._sources.random(_RANDOM_OF_ID * number), turn * number + 1)

    def _forms(self) -> list[dict[str, str]]:
        """The deliveries of each notice as its entry tells them, without ids."""
        return [{"channel": channel, "carries": carries} for channel, carries in zip(self._channels, self._carries, strict=True)]

    def _own_content(self, subject_id: str, sealed: bytes | None, key: DataKey) -> tuple[bytes, bytes]:
        """What is committed to of a content that this recipient alone has: the values of OWN."""
        params = json.loads(key.open(sealed, broadcast_audience.place(self._row.id, subject_id))) if sealed else {}
        content = self._asked.content(params)
        return value_bytes(content.to_json()), content.sha256.encode()

    def _same_members(self) -> dict[str, Any]:
        """The members of `notice.accepted` that are the same for all."""
        row, request, rule = self._row, self._asked.notice, self._resolved.rule
        members: dict[str, Any] = dict.fromkeys(
            name for name in ("recipient_id", "reference", *OWN, "case", "metadata", "ground")
            if name not in self._names and not (self._own and name in OWN))
        return members | {
            "v": 1, "type": "notice.accepted", "at": instant.text(instant.from_micros(self.now)), "seq": 1, "key_id": row.key_id,
            "category": request.category, "mandatory": notice.mandatory(request.category), "strategy": request.strategy,
            "ladder_after": self._ladder_after, "rule": rule.id, "policy_version": rule.version, "rule_definition": definition(rule),
            "content_id": row.content_id, "not_before": at(request.not_before), "expires_at": at(request.expires_at),
            "effective_at": at(request.effective_at), "response_window": dict(request.response_window) if request.response_window else None,
            "broadcast_id": row.id, "announcement_id": None, "document_ids": list(request.documents), "cure_id": None}

    @property
    def _ladder_after(self) -> str | None:
        request = self._asked.notice
        return (request.ladder_after or notice.LADDER_AFTER) if request.strategy == "ladder" else None

    def _same_columns(self) -> dict[str, Any]:
        """The columns of a notice's row that are the same for all."""
        row, request, index = self._row, self._asked.notice, self._world.vault.index
        return {
            "key_id": row.key_id, "category": request.category, "strategy": request.strategy, "ladder_after": self._ladder_after,
            "rule": self._resolved.rule.id, "state": "queued", "accepted_at": self.now, "not_before": request.not_before,
            "expires_at": request.expires_at, "effective_at": request.effective_at,
            "response_window": json.dumps(dict(request.response_window)) if request.response_window else None, "broadcast_id": row.id,
            "reference_index": index("reference", request.reference) if request.reference is not None else None,
            "case_index": index("case", request.case["case_number"]) if request.case else None, "seq": 1,
            "entry_batch": self._batch}

    def _same_delivery(self) -> list[dict[str, Any]]:
        """The columns of a delivery's row that are the same for all, channel by channel."""
        request = self._asked.notice
        after = (notice.duration_s(self._ladder_after) or 0) * 1_000_000 if self._ladder_after is not None else 0
        return [{"channel": channel, "position": position, "priority": broadcast.priority(self._row.lane, channel),
                 "carries": self._carries[position], "state": "pending",
                 "due_at": notice.turn(self.due, position, after, request.expires_at)}
                for position, channel in enumerate(self._channels)]


def _obstacle(wrapped_key: bytes | None, anonymised_at: int | None, account_state: str) -> str | None:
    """Why no notice can be made for this recipient any more; null if one can."""
    if wrapped_key is None or anonymised_at is not None:
        return "anonymised"
    return "agreement_void" if account_state == "void" else None
