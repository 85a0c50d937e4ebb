"""Reading notices: one, a page of those that fit, and counts by state. Called by the notices' routes and by the console."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select

from noticesvc.domain import instant, notice, rules, view
from noticesvc.domain.identity import lower_bound
from noticesvc.errors import NotFound
from noticesvc.operations import contents, facts
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_LAST = 253_402_214_400_000_000  # 9999-12-31, which `lower_bound` can still write


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which notices; null: any. Times in microseconds, half-open."""

    recipient_id: str | None = None
    reference: str | None = None
    category: str | None = None
    state: str | None = None
    broadcast_id: str | None = None
    accepted_from: int | None = None
    accepted_to: int | None = None
    case_number: str | None = None
    categories: frozenset[str] | None = None  # those that the caller's key is limited to


def one(tx: Tx, world: World, notice_id: str) -> dict[str, Any]:
    """A notice with deliveries and evidence. Raises NotFound."""
    row = tx.execute(select(t.notice).where(t.notice.c.id == notice_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("There is no such notice.")
    return bodies(tx, world, [row])[0]


def listed(tx: Tx, world: World, wanted: Filter, limit: int, after: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the notices that fit, the newest first, without deliveries and evidence, and the id that the next page
    follows (null: there is none).
    """
    conditions = _conditions(tx, world, wanted)
    if conditions is None:
        return [], None
    if after is not None:
        conditions.append(t.notice.c.id < after)
    rows = tx.execute(select(t.notice).where(*conditions).order_by(t.notice.c.id.desc()).limit(limit + 1)).mappings().all()
    items = bodies(tx, world, rows[:limit], whole=False)
    return items, items[-1]["id"] if len(rows) > limit else None


def counts(tx: Tx, world: World, wanted: Filter) -> dict[str, int]:
    """How many notices fit, by state, in one statement; `total` is their sum."""
    conditions = _conditions(tx, world, wanted)
    found: dict[str, int] = {}
    if conditions is not None:
        rows = tx.execute(select(t.notice.c.state, func.count().label("number")).where(*conditions).group_by(t.notice.c.state))
        found = {row.state: row.number for row in rows}
    return {"total": sum(found.values())} | {state: found.get(state, 0) for state in notice.STATES}


def bodies(tx: Tx, world: World, rows: Sequence[Mapping[Any, Any]], *, whole: bool = True) -> list[dict[str, Any]]:
    """The bodies of these notice rows, in their order."""
    keys = contents.keys_of(tx, world, {row["subject_id"] for row in rows}) if rows else {}
    hashes = contents.hashes(tx, world, rows, keys) if rows else {}
    known = facts.load(tx, world, rows, keys, {row["id"]: hashes.get(row["id"]) for row in rows})
    now = instant.from_micros(tx.now)
    return [view.body(known[row["id"]], now, rules.BUILT_IN.values(), whole=whole, more=True) for row in rows]


def _conditions(tx: Tx, world: World, wanted: Filter) -> list[ColumnElement[bool]] | None:
    """The filter as SQL; null when nothing can fit."""
    n, index, found = t.notice.c, world.vault.index, list[ColumnElement[bool]]()
    if wanted.recipient_id is not None:
        subject = tx.execute(select(t.recipient.c.subject_id).where(
            t.recipient.c.recipient_index == index("recipient", wanted.recipient_id))).scalar()
        if subject is None:
            return None
        found.append(n.subject_id == subject)
    if wanted.reference is not None:
        found.append(n.reference_index == index("reference", wanted.reference))
    if wanted.case_number is not None:
        found.append(n.case_index == index("case", wanted.case_number))
    if wanted.broadcast_id is not None:
        found.append(n.broadcast_id == wanted.broadcast_id)
    if wanted.category is not None:
        found.append(n.category == wanted.category)
    if wanted.categories is not None:
        found.append(tx.within(n.category, wanted.categories))
    if wanted.state is not None:
        found.append(n.state == wanted.state)
    # A notice's id carries the time of its acceptance, so the key's index narrows the range.
    if wanted.accepted_from is not None:
        found += [n.accepted_at >= wanted.accepted_from, n.id >= lower_bound(_within(wanted.accepted_from))]
    if wanted.accepted_to is not None:
        found += [n.accepted_at < wanted.accepted_to, n.id < lower_bound(_within(wanted.accepted_to) + 1000)]
    return found


def _within(micros: int) -> int:
    return min(max(micros, 0), _LAST)
