"""Receipts: stored raw and committed before anybody interprets them, matched to attempts, recorded as evidence.

A receipt for an attempt that is not known yet waits as an orphan and is taken up when that attempt's answer is recorded.
Nothing is dropped: duplicates are evidence too (listed, never counted), and what no table knows stays as `unmapped`.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from noticesvc.domain.identity import is_id
from noticesvc.domain.mail_trust import MAIL_SOURCES
from noticesvc.operations import contents, mail_receipts, orphans, return_token
from noticesvc.operations.evidence import NewEvidence, Recorder, open_code, open_word
from noticesvc.operations.plausible import plausible
from noticesvc.operations.settle import settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.provider import Receipt
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_IN_HAND = 15_000_000  # microseconds for interpreting what `due` gave out
_AGAIN_AFTER = (30_000_000, 600_000_000, 86_400_000_000)  # microseconds; later only an answer that brings the reference wakes it


@dataclass(frozen=True, slots=True)
class Stored:
    """A receipt as it was stored: the request or bytes that came, to be interpreted by its provider."""

    id: str
    provider: str
    received_at: int
    kind: str  # callback | bytes | query
    data: dict[str, Any]

    @property
    def raw(self) -> bytes:
        """The bytes that are the evidence."""
        return base64.b64decode(self.data["raw"])


def store(tx: Tx, world: World, provider: str, kind: str, data: dict[str, Any], raw: bytes, *, refused: bool = False) -> str:
    """Keep what came, sealed. `refused`: its signature was bad; it is recorded and has no effect."""
    receipt_id = tx.new_id()
    text = json.dumps(data | {"kind": kind, "raw": base64.b64encode(raw).decode()})
    tx.insert(t.receipt, [{"id": receipt_id, "provider": provider, "received_at": tx.now, "state": "refused" if refused else "new",
                           "due_at": None if refused else tx.now, "sealed": world.system_key.seal(text.encode(), f"receipt:{receipt_id}")}])
    tx.wake("receipts")
    return receipt_id


def text_of(opened: bytes) -> bytes:
    """All that a stored receipt says, as bytes to search in: its members, and the bytes that came."""
    data = json.loads(opened)
    raw = base64.b64decode(data.pop("raw"))
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace") + b"\n" + raw


def postpone(tx: Tx, receipt_ids: Sequence[str], microseconds: int) -> None:
    """Leave receipts for later that nobody here can read: perhaps another process can, or this one after a change of settings."""
    if receipt_ids:
        tx.execute(update(t.receipt).where(tx.within(t.receipt.c.id, receipt_ids), t.receipt.c.due_at.is_not(None))
                   .values(due_at=tx.now + microseconds))


def due(tx: Tx, world: World, limit: int) -> list[Stored]:
    """Receipts to interpret now; those that another worker interprets are skipped until their turn comes again."""
    rows = tx.execute(select(t.receipt).where(t.receipt.c.due_at <= tx.now).order_by(t.receipt.c.due_at).limit(limit)
                      .with_for_update(skip_locked=True)).all()
    if rows:
        # So long for this worker; if it dies, the next one finds them due again.
        tx.execute(update(t.receipt).where(tx.within(t.receipt.c.id, [r.id for r in rows])).values(due_at=tx.now + _IN_HAND))
    found = []
    for row in rows:
        data = json.loads(world.system_key.open(row.sealed, f"receipt:{row.id}"))
        found.append(Stored(row.id, row.provider, row.received_at, data.pop("kind"), data))
    return found


def load(tx: Tx, world: World, receipt_id: str) -> Stored:
    """One stored receipt."""
    row = tx.execute(select(t.receipt).where(t.receipt.c.id == receipt_id)).one()
    data = json.loads(world.system_key.open(row.sealed, f"receipt:{row.id}"))
    return Stored(row.id, row.provider, row.received_at, data.pop("kind"), data)


Read = tuple[Stored, Sequence[Receipt]]  # a stored receipt, and what its provider read in it
Place = tuple[str, str, int]  # notice, channel, number of an attempt


def apply(tx: Tx, world: World, stored: Stored, receipts: Sequence[Receipt]) -> None:
    """Record what a provider read from one stored receipt, see `apply_all`."""
    apply_all(tx, world, [(stored, receipts)])


def apply_all(tx: Tx, world: World, batch: Sequence[Read]) -> None:
    """Record what providers read from stored receipts. Applied once: a receipt that is done changes nothing.

    1. Lock the receipts: two workers may have one in hand, and the slower one must see that it is done.
    2. Find the attempts they speak of, of a body that was read before only for what waited; those that nobody knows yet wait.
    3. Record, derive, and mark them as done.
    """
    rows = tx.rows(t.receipt, "id", [stored.id for stored, _ in batch], "id", lock="update")
    waiting = {row.id for row in rows if row.due_at is not None}
    batch = [(stored, [plausible(receipt) for receipt in receipts]) for stored, receipts in batch if stored.id in waiting]
    known: dict[bytes, list[Place]] = {}
    for provider in {stored.provider for stored, _ in batch}:
        known |= _known(tx, world, provider, [r for stored, receipts in batch if stored.provider == provider for r in receipts])
    left = orphans.waiting(tx, [stored.id for stored, _ in batch])
    told = [(stored, position, receipt, _place(world, known, stored.provider, receipt)) for stored, receipts in batch
            for position, receipt in enumerate(receipts) if position in left.get(stored.id, {position})]
    unit = Unit(tx, world, {place[0] for *_, found in told for place in found})
    recorder = Recorder(unit)
    hashes = contents.hashes(tx, world, unit.notices.values(), {n["subject_id"]: unit.key(n["subject_id"]) for n in unit.notices.values()})
    wait: dict[str, dict[int, bytes]] = {}
    recorded: set[str] = set()
    for stored, position, receipt, candidates in told:
        mine = known.get(_reference_index(world, stored.provider, receipt.provider_reference), []) if receipt.provider_reference else []
        if _record(unit, recorder, stored, receipt, candidates, hashes, mine):
            recorded.add(stored.id)
        elif receipt.reference or receipt.provider_reference:
            wait.setdefault(stored.id, {})[position] = _orphan_index(world, stored.provider, receipt)
    recorder.save()
    settle(unit)
    unit.save()
    orphans.replace(tx, list(left), wait)
    done: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for stored, _ in batch:
        row = {"id": stored.id, "due_at": _look_again(tx, stored) if stored.id in wait else None,
               "state": "orphan" if stored.id in wait else "applied"}
        if stored.id in wait or stored.id not in recorded:
            kept.append(row)
        else:
            done.append(row | {"sealed": None})  # the bytes now stand with the evidence, under the recipient's own key
    tx.update(t.receipt, ("id",), done)
    tx.update(t.receipt, ("id",), kept)


def _look_again(tx: Tx, stored: Stored) -> int | None:
    """When to look again for an attempt that is not known: its answer may be in a transaction that neither saw this one nor was seen."""
    age = tx.now - stored.received_at
    return next((tx.now + wait for wait in _AGAIN_AFTER if age < wait), None)


def _known(tx: Tx, world: World, provider: str, told: Sequence[Receipt]) -> dict[bytes, list[Place]]:
    """Attempts by the blind index of a provider's reference, the newest notice first."""
    indexes = {_reference_index(world, provider, receipt.provider_reference) for receipt in told if receipt.provider_reference is not None}
    found: dict[bytes, list[Place]] = {}
    for row in tx.rows(t.provider_reference, "reference_index", indexes):
        found.setdefault(row.reference_index, []).append((row.notice_id, row.channel, row.attempt))
    for candidates in found.values():
        candidates.sort(reverse=True)
    return found


def places(tx: Tx, world: World, provider: str, told: Sequence[Receipt]) -> set[Place]:
    """The attempts that receipts may speak of; whether these exist and went through this provider is for the caller to see."""
    known = _known(tx, world, provider, told)
    return {place for receipt in told for place in _place(world, known, provider, receipt)[:1]}


def _place(world: World, known: dict[bytes, list[Place]], provider: str, receipt: Receipt) -> list[Place]:
    """Where a receipt may belong: by a return token of ours, by our reference, else by the provider's. Number 0: the last attempt."""
    named: list[Place] = [(notice_id, "email", number) for notice_id, number in return_token.read(world, receipt.return_tokens)]
    if receipt.reference is not None:
        notice_id, _, rest = receipt.reference.partition(".")
        channel, _, number = rest.partition(".")
        if is_id(notice_id) and number.isascii() and number.isdigit() and len(number) <= 4:
            named.append((notice_id, channel, int(number)))
    if named:
        return sorted(named, key=lambda place: place[2] == 0)
    if receipt.provider_reference is not None:
        return known.get(_reference_index(world, provider, receipt.provider_reference), [])
    return []


def _reference_index(world: World, provider: str, reference: str) -> bytes:
    return world.vault.index("provider_reference", f"{provider}\0{reference}")


def _orphan_index(world: World, provider: str, receipt: Receipt) -> bytes:
    return _reference_index(world, provider, receipt.provider_reference or receipt.reference or "")


def _record(
    unit: Unit, recorder: Recorder, stored: Stored, receipt: Receipt, candidates: Sequence[Place], hashes: dict[str, str],
    by_reference: Sequence[Place],
) -> bool:
    """Record a receipt with the first attempt of its provider that it may belong to; whether there was one."""
    past = unit.history()
    for notice_id, channel, named in candidates:
        number = named or max((a.number for a in past.attempts[notice_id] if a.channel == channel), default=0)
        attempt = past.attempt(notice_id, channel, number)
        if attempt is None or not mail_receipts.may_speak(stored.provider, receipt, attempt):
            continue
        one, answer = past.delivery(notice_id, channel), past.answer(notice_id, channel, number)
        vouched_by = receipt.authenticated_by
        if receipt.source in MAIL_SOURCES and vouched_by is not None:
            vouched_by = mail_receipts.believed_of(unit, receipt, attempt, same_queue=(notice_id, channel, number) in by_reference)
        new = NewEvidence(
            notice_id=notice_id, delivery_id=one.id, channel=channel, attempt=number, kind=receipt.kind, source=receipt.source,
            observed_at=stored.received_at, carries=one.carries, authenticated_by=vouched_by,
            call_started_at=(answer.call_started_at if answer is not None else None) or attempt.intended_at, claimed_at=receipt.claimed_at,
            claimed_time_raw=receipt.claimed_time_raw, contact_id=attempt.contact_id, confirmation=attempt.confirmation, part=receipt.part,
            parts=receipt.parts, provider=attempt.provider, provider_reference=receipt.provider_reference,
            code=open_code(receipt.code), media_type=open_word(stored.data.get("media_type")),
            raw=stored.raw if receipt.raw is None else receipt.raw, content_sha256=hashes.get(notice_id))
        recorder.record("receipt.observed", new, {"receipt_id": stored.id})
        return True
    return False
