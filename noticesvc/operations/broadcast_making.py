"""The notices of some recipients of a broadcast: who gets one, what is the same in all, and what is stored when they are made.

Called by operations.broadcast_expansion, which takes the recipients and writes what was made. What differs from one to the next is made
by operations.broadcast_portion, here or in a second process, ahead of the transaction that holds the broadcast's row.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from noticesvc.domain import broadcast, instant, notice
from noticesvc.domain.identity import uuid7s
from noticesvc.ledger.entry import value_bytes
from noticesvc.operations import broadcast_audience, broadcast_portion
from noticesvc.operations.broadcast_approval import definition
from noticesvc.operations.broadcast_portion import OWN, Job, Portion
from noticesvc.operations.broadcast_process import Made
from noticesvc.operations.broadcast_request import Asked
from noticesvc.operations.evidence import at
from noticesvc.operations.notice_request import Resolved, resolve
from noticesvc.operations.world import World
from noticesvc.storage.transaction import Sources, Tx
from noticesvc.vault import DataKey

_RANDOM_OF_ID = 6
_WORTH_SENDING = 1024  # notices; for fewer a second process is not begun


class Candidate(NamedTuple):
    """A recipient of the audience who may get a notice, with what is needed of them; read by position, because there are a million."""

    subject_id: str
    subject_seq: int
    wrapped_key: bytes  # null only with an obstacle
    anonymised_at: int | None
    account_state: str
    sealed: bytes
    acceptance_id: str | None
    params: bytes | None


class Making:
    """Notices in the making for some recipients: `make` until there are none left, or `adopt` what a second process made; then `store`.

    `now` (microseconds) is the instant at which all of them are accepted; `candidates` follow the recipient `after` in the audience;
    `postgresql` is whether that is what will store them.
    """

    def __init__(self, world: World, sources: Sources, now: int, row: Any, asked: Asked, after: str | None,
                 candidates: Sequence[Candidate], *, postgresql: bool) -> None:
        self._world, self._sources, self.now, self._row, self._asked, self._postgresql = world, sources, now, row, asked, postgresql
        self.broadcast_id, self.after = str(row.id), after
        self.last: str | None = candidates[-1].subject_id if candidates else after
        self.due = max(now, asked.notice.not_before or 0)
        self.subject_ids, self.changes = [one[0] for one in candidates], sum(one[1] for one in candidates)
        self.skipped = [(one[0], reason) for one in candidates if (reason := _obstacle(*one[2:5])) is not None]
        gone = {subject_id for subject_id, _ in self.skipped}
        self._members = [one for one in candidates if one[0] not in gone] if gone else candidates
        self._channels = row.channels.split()
        request, template = asked.notice, asked.template
        sms, carries = (request.sms, request.sms_carries) if template is None else (template.sms, template.sms_carries)
        self._resolved: Resolved = resolve(request, world, sms, carries, lambda _: True)
        self._carries = [(carries or "full") if channel == "sms" else "full" for channel in self._channels]
        self._made: Made | None = None
        self.job = self._job()
        self._number = len(self.job.members)
        if self.job.content_id is not None:
            self._members = ()  # what is needed of them is in the job: several portions are on their way at once

    @property
    def elsewhere(self) -> bool:
        """Whether a second process can make them, and it is worth the while."""
        return self._postgresql and self.job.content_id is not None and self._number >= _WORTH_SENDING

    def adopt(self, made: Made) -> None:
        """Store what a second process made of `job`; its recipients are needed no longer."""
        self._made = made
        self.job = msgspec.structs.replace(self.job, members=[])

    def make(self, number: int) -> int:
        """Make the notices of the next `number` recipients; how many there were, 0 when all are made."""
        return self._portion.make(number)

    def store(self, tx: Tx) -> int:
        """Write notices, deliveries, entries, and contents where each recipient has their own; how many notices there are now."""
        if not self._number:
            return 0
        if self._made is not None:
            packed, rows = self._made.packed, broadcast_portion.rows(self.job, postgresql=True)
            for one, encoded in zip(rows, self._made.rows, strict=True):
                one.add_encoded(encoded)
        else:
            while self.make(self._number):
                pass
            packed, rows = self._portion.packed, self._portion.rows
        tx.append_packed(self.job.batch, packed)
        for one in rows:
            tx.insert_ready(one)
        return self._number

    @cached_property
    def _portion(self) -> Portion:
        own = self._own() if self.job.content_id is None else None
        return Portion(self.job, self._world.vault, self._sources.random, own, postgresql=self._postgresql)

    def _job(self) -> Job:
        """What they are made from."""
        request = self._asked.notice
        # What every notice commits to after the recipient's id, each with salts of its own.
        fields: list[tuple[str, bytes]] = [(name, value_bytes(value)) for name, value in (
            ("reference", request.reference), ("case", dict(request.case) if request.case else None),
            ("metadata", dict(request.metadata) or None), ("ground", request.ground)) if value is not None]
        committed = [*[name for name, _ in fields], *(OWN if self._row.content_id is None else ())]
        batch = uuid7s(self.now, self._sources.random(_RANDOM_OF_ID), 0)[0]
        return Job(
            self.now, batch, self._row.content_id, committed, [value for _, value in fields], self._same_members(committed), self._forms(),
            self._same_columns(batch), self._same_delivery(), list(dict.fromkeys(request.documents)),
            [broadcast_portion.Member(member[0], member[2], member[5], member[6]) for member in self._members])

    def _forms(self) -> list[dict[str, str]]:
        """The deliveries of each notice as its entry tells them, without ids."""
        return [{"channel": channel, "carries": carries} for channel, carries in zip(self._channels, self._carries, strict=True)]

    def _own(self) -> broadcast_portion.Own:
        """What is committed to of a content that one recipient alone has."""
        given = {member[0]: member[7] for member in self._members}

        def own(subject_id: str, key: DataKey) -> tuple[bytes, bytes]:
            sealed = given[subject_id]
            params = json.loads(key.open(sealed, broadcast_audience.place(self._row.id, subject_id))) if sealed else {}
            content = self._asked.content(params)
            return value_bytes(content.to_json()), content.sha256.encode()
        return own

    def _same_members(self, committed: Sequence[str]) -> dict[str, Any]:
        """The members of `notice.accepted` that are the same for all."""
        row, request, rule = self._row, self._asked.notice, self._resolved.rule
        members: dict[str, Any] = dict.fromkeys(
            name for name in ("reference", *OWN, "case", "metadata", "ground") if name not in committed)
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

    def _same_columns(self, batch: str) -> dict[str, Any]:
        """The columns of a notice's row that are the same for all."""
        row, request, index = self._row, self._asked.notice, self._world.vault.index
        return {
            "key_id": row.key_id, "category": request.category, "strategy": request.strategy, "ladder_after": self._ladder_after,
            "rule": self._resolved.rule.id, "state": "queued", "accepted_at": self.now, "not_before": request.not_before,
            "expires_at": request.expires_at, "effective_at": request.effective_at,
            "response_window": json.dumps(dict(request.response_window)) if request.response_window else None, "broadcast_id": row.id,
            "reference_index": index("reference", request.reference) if request.reference is not None else None,
            "case_index": index("case", request.case["case_number"]) if request.case else None, "seq": 1,
            "entry_batch": batch} | ({"content_id": row.content_id} if row.content_id is not None else {})

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
