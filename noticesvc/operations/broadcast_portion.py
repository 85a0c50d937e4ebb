"""The notices of some recipients of a broadcast, made from a plain job as bytes and ids: nothing here touches the database.

Called by operations.broadcast_making in the process that stores them, or by operations.broadcast_process in a second one; from the
same job both make the same but for what is random. What is the same for all is written and encoded once; what is made for each is
put together at once as the database takes it. It is made some at a time, so that whoever runs an event loop is not held by it.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

import msgspec

from noticesvc.domain.identity import uuid7s
from noticesvc.ledger.entry import commitment_start
from noticesvc.proof import openings
from noticesvc.proof.accepted_entries import AcceptedEntries
from noticesvc.storage import bundle
from noticesvc.storage import tables as t
from noticesvc.storage.bulk import Rows
from noticesvc.vault import NONCE_BYTES, DataKey, Vault

COLUMNS = {  # of the rows, those that differ from one to the next; a notice with a content of its own names it too
    "notice": ("id", "subject_id", "acceptance_id", "sealed", "entry_offset"), "content": ("id", "subject_id", "sealed"),
    "delivery": ("notice_id", "id", "subject_id"), "notice_document": ("notice_id",)}
RECIPIENT = "recipient_id"  # what every notice commits to first
OWN = ("content", "content_sha256")  # what a notice commits to by itself only where its content is nobody else's
_RANDOM_OF_ID = 6
_SALT = 32

Own = Callable[[str, DataKey], tuple[bytes, bytes]]
"""For a recipient (our id, and their key): the values of OWN."""


class Member(msgspec.Struct, array_like=True, frozen=True):
    """A recipient who gets a notice."""

    subject_id: str
    wrapped_key: bytes
    sealed: bytes  # the recipient's id as the caller knows it
    acceptance_id: str | None


class Job(msgspec.Struct, array_like=True, frozen=True):
    """What a portion is made from: plain values, so that it can be sent."""

    now: int  # microseconds: when all of them are accepted
    batch: str  # by which their entries go
    content_id: str | None  # null: each has a content of their own
    committed: list[str]  # names of what each notice commits to after the recipient, in order
    shared: list[bytes]  # the values of these, OWN left out
    entry: dict[str, Any]  # members of `notice.accepted` that are the same for all
    forms: list[dict[str, str]]  # its deliveries without their ids
    notice: dict[str, Any]  # columns that are the same for all
    deliveries: list[dict[str, Any]]  # the same of each delivery
    documents: list[str]
    members: list[Member]


def rows(job: Job, *, postgresql: bool) -> list[Rows]:
    """What is to be inserted, still empty: notices, own contents, deliveries channel by channel, documents one by one."""
    own = ("content_id",) if job.content_id is None else ()
    found: list[tuple[Any, dict[str, Any], tuple[str, ...]]] = [(t.notice, job.notice, own)]
    found += [(t.content, {}, ()) for _ in own]
    found += [(t.delivery, same, ()) for same in job.deliveries]
    found += [(t.notice_document, {"document_id": one}, ()) for one in job.documents]
    return [Rows(table, same, (*COLUMNS[table.name], *more), postgresql=postgresql) for table, same, more in found]


class Portion:
    """Notices in the making: `make` until there are none left; then `rows` are to be inserted and `packed` are their entries."""

    def __init__(self, job: Job, vault: Vault, random: Callable[[int], bytes], own: Own | None = None, *, postgresql: bool) -> None:
        """`own` is wanted where each recipient has a content of their own."""
        self._job, self._vault, self._random, self._own = job, vault, random, own
        self.rows, self.packed = rows(job, postgresql=postgresql), b""
        self._left, self._made, self._entries = iter(job.members), 0, list[bytes]()
        self._named = len(job.shared) + 1
        committed = [RECIPIENT, *job.committed]
        self._starts = [(commitment_start(name), openings.head(name)) for name in committed]
        self._writes = AcceptedEntries(job.entry, job.forms, committed)

    def make(self, number: int) -> int:
        """Make the notices of the next `number` recipients; how many there were, 0 when all are made."""
        some = list(islice(self._left, number))
        if not some:
            self.packed = self.packed or bundle.pack(self._entries)
            self._entries = []
            return 0
        ids, *delivery_ids = [self._new_ids(len(some), at) for at in range(1 + len(self._job.deliveries))]
        content_ids = self._new_ids(len(some), 1 + len(delivery_ids)) if self._own else [self._job.content_id or ""] * len(some)
        entries, sealed, contents = self._seal(some, ids, content_ids, list(zip(*delivery_ids, strict=True)))
        subjects, made = [member.subject_id for member in some], range(self._made, self._made + len(some))
        columns: list[tuple[Sequence[Any], ...]] = [
            (ids, subjects, [member.acceptance_id for member in some], sealed, made, *([content_ids] if self._own else [])),
            *([(content_ids, subjects, contents)] if self._own else []),
            *[(ids, mine, subjects) for mine in delivery_ids],
            *[(ids,) for _ in self._job.documents]]
        for one, mine in zip(self.rows, columns, strict=True):
            one.add(*mine)
        self._entries += entries
        self._made = made.stop
        return len(some)

    def _seal(self, some: Sequence[Member], ids: Sequence[str], content_ids: Sequence[str],
              delivery_ids: Sequence[Sequence[str]]) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Commit to each notice; the entries, and the sealed openings of the notices and of their own contents."""
        unwrap, encode, shared, own, named = self._vault.unwrap, self._writes.encode, self._job.shared, self._own, self._named
        # What is random is drawn for all at once: a system call for each would take as long as what it is for.
        starts, salts, at_ = self._starts, self._random(_SALT * len(self._starts) * len(some)), 0
        nonces, drawn = self._random(NONCE_BYTES * len(some)), 0
        only, begins = openings.only, openings.head(RECIPIENT)
        entries, sealed, contents = list[bytes](), list[bytes](), list[bytes]()
        for member, notice_id, content_id, mine in zip(some, ids, content_ids, delivery_ids):  # noqa: B905  # all as many
            subject_id = member.subject_id
            place = f"recipient:{subject_id}"
            key = unwrap(member.wrapped_key, place)
            values = [only(key.open(member.sealed, place), begins), *shared]
            if own:
                values += own(subject_id, key)
            commitments, packed = list[bytes](), list[bytes]()
            for (start, head), value in zip(starts, values):  # noqa: B905
                salt = salts[at_:at_ + _SALT]
                at_ += _SALT
                commitments.append(sha256(start + salt + value).digest())
                packed += (head, salt, len(value).to_bytes(4, "big"), value)
            entries.append(encode(member.acceptance_id, notice_id, subject_id, mine, commitments, content_id))
            if own:
                contents.append(key.seal(b"".join(packed[4 * named:]), f"content:{content_id}"))
                del packed[4 * named:]
            sealed.append(key.seal(b"".join(packed), f"notice:{notice_id}", nonces[drawn:drawn + NONCE_BYTES]))
            drawn += NONCE_BYTES
        return entries, sealed, contents

    def _new_ids(self, number: int, turn: int) -> list[str]:
        """Fresh ids of the portion's instant."""
        first = turn * len(self._job.members) + self._made + 1
        return uuid7s(self._job.now, self._random(_RANDOM_OF_ID * number), first)
