"""Facts about notices, read from the database for domain.view: set-based, one query a table."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from noticesvc.domain import instant, view
from noticesvc.operations import evidence as ev
from noticesvc.operations import history
from noticesvc.operations.history import History
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof.openings import unpack
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey


def load(tx: Tx, world: World, notices: Sequence[Mapping[str, Any]], keys: Mapping[str, DataKey | None] | None = None,
         contents: Mapping[str, str | None] | None = None) -> dict[str, view.NoticeFacts]:
    """Facts of these notice rows by id.

    With `keys` (data keys by subject) and `contents` (content hashes by notice) sealed members are opened, for readers;
    without, they are null and content hashes are stand-ins, which is all that states and service time need.
    """
    ids = [row["id"] for row in notices]
    if not ids:
        return {}
    past = history.load(tx, ids)
    indexes = _indexes(tx, past.attempts, past.evidence) if keys is not None else {}
    return {row["id"]: _facts(world, row, past, indexes, keys.get(row["subject_id"]) if keys else None,
                              ev.MATCH if contents is None else contents.get(row["id"])) for row in notices}


def _more(attempt: Any, answer: Any) -> dict[str, Any]:
    """What only readers are shown of an attempt."""
    return {"code": None if answer is None else answer.code,
            "passed_over": tuple((one["provider"], one["reason"]) for one in json.loads(attempt.passed_over or "[]"))}


def of_unit(unit: Unit, ids: Collection[str]) -> dict[str, view.NoticeFacts]:
    """Facts of these notices of a unit, sealed members left closed."""
    past = unit.history()
    return {i: _facts(unit.world, unit.notices[i], past, {}, None, ev.MATCH) for i in ids}


def _facts(world: World, row: Mapping[str, Any], past: History, indexes: Mapping[str, int], key: DataKey | None,
           content: str | None) -> view.NoticeFacts:
    deliveries, attempts, evidence = past.deliveries[row["id"]], past.attempts[row["id"]], past.evidence[row["id"]]
    ids = {d.channel: d.id for d in deliveries}
    carries = {d.channel: d.carries for d in deliveries}
    answers = {(e.channel, e.attempt): e for e in evidence if e.answer}
    made: dict[str, list[view.AttemptFact]] = defaultdict(list)
    items = []
    for a in sorted(attempts, key=lambda a: (a.channel, a.number)):
        answer = answers.get((a.channel, a.number))
        opened = unpack(key.open(a.sealed, f"attempt:{a.notice_id}:{a.channel}:{a.number}")) if key and a.sealed else {}
        answered = unpack(key.open(answer.sealed, f"evidence:{answer.id}")) if key and answer is not None and answer.sealed else {}
        started = a.intended_at if answer is None or answer.call_started_at is None else answer.call_started_at
        made[a.channel].append(view.AttemptFact(
            number=a.number, provider=a.provider, contact_id=a.contact_id, address=_text(opened, "contact"),
            confirmation=a.confirmation, effective_from=_time(a.contact_effective_from), started_at=instant.from_micros(started),
            outcome=a.outcome or (answer.kind if answer is not None else None),
            provider_reference=_text(answered, "provider_reference"), **(_more(a, answer) if content != ev.MATCH else {})))
        items.append(view.EvidenceFact(ev.intended_item(a, ids[a.channel], carries[a.channel]), None, _index(indexes, a)))
    for e in evidence:
        opened = unpack(key.open(e.sealed, f"evidence:{e.id}")) if key and e.sealed else {}
        items.append(view.EvidenceFact(ev.item_of(e, ids[e.channel]), _text(opened, "claimed_time_raw"), _index(indexes, e)))
    if content != ev.MATCH:  # for readers: the hash itself instead of its stand-in
        items = [view.EvidenceFact(_with_content(f.item, content), f.claimed_time_raw, f.ledger_index) for f in items]
    openings = unpack(key.open(row["sealed"], f"notice:{row['id']}")) if key and row["sealed"] else {}
    return view.NoticeFacts(
        id=row["id"], recipient_id=_text(openings, "recipient_id"), category=row["category"], reference=_text(openings, "reference"),
        accepted_at=instant.from_micros(row["accepted_at"]), content_sha256=content, effective_at=_time(row["effective_at"]),
        rule=world.rules[row["rule"]], revision=row["revision"],
        deliveries=tuple(view.DeliveryFact(d.id, d.channel, d.carries, tuple(made[d.channel]), d.closed)
                         for d in sorted(deliveries, key=lambda d: d.position)),
        evidence=tuple(items), deadlines=deadlines_of(row))


def deadlines_of(row: Mapping[str, Any]) -> tuple[view.DeadlineFact, ...]:
    """The deadlines kept on a notice's row."""
    return tuple(view.DeadlineFact(d["kind"], instant.parse(d["ends_at"]), d["without_data"], d["evidence_id"])
                 for d in json.loads(row["deadlines"] or "[]"))


def _with_content(item: Any, content: str | None) -> Any:
    if item.content_sha256 is None:
        return item
    return replace(item, content_sha256=content if item.content_sha256 == ev.MATCH else ev.OTHER)


def _indexes(tx: Tx, *groups: Mapping[str, list[Any]]) -> dict[str, int]:
    batches = {row.entry_batch for group in groups for rows in group.values() for row in rows if row.entry_batch}
    if not batches:
        return {}
    return {row.batch: row.first for row in tx.execute(select(t.ledger_index).where(tx.within(t.ledger_index.c.batch, batches)))}


def _index(indexes: Mapping[str, int], row: Any) -> int | None:
    first = indexes.get(row.entry_batch) if indexes else None
    return None if first is None else first + row.entry_offset


def _text(openings: Mapping[str, Any], name: str) -> str | None:
    opening = openings.get(name)
    return None if opening is None else opening.value.decode()


def _time(micros: int | None) -> Any:
    return None if micros is None else instant.from_micros(micros)
