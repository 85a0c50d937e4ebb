"""Finding notices the way people ask for them ("what was sent to this number?"), and telling one notice's whole story.

Called by the command line's `notice` verbs and made for the console's search. An address is found through its blind index:
the contacts that ever held it lead to recipients, these to their notices, and the attempts say which of them used it.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import or_, select

from noticesvc.domain import address as addresses
from noticesvc.domain import instant, rules, view
from noticesvc.errors import Fault, InputError, NotFound
from noticesvc.operations import contacts, contents, facts, notice_reading
from noticesvc.operations.notice_reading import Filter
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx


@dataclass(frozen=True, slots=True)
class Found:
    """Notices, the newest first, as the API lists them; `sent_there` says by which channels each went to the address asked for."""

    items: list[dict[str, Any]]
    sent_there: dict[str, list[str]] = field(default_factory=dict)  # by notice id
    more: bool = False


def find(tx: Tx, world: World, wanted: Filter, address: str | None, limit: int, after: str | None = None) -> Found:
    """The notices that fit `wanted`, a page after the notice `after`; with `address` those of every recipient whose contact it
    ever was, whether or not it was used. One query a table.

    Raises InputError for an address that cannot be one on any channel.
    """
    conditions = notice_reading._conditions(tx, world, wanted)
    if conditions is None:
        return Found([])
    known: dict[str, str] = {}
    if address is not None:
        known = _contacts_with(tx, world, address)
        if not known:
            return Found([])
        conditions.append(tx.within(t.notice.c.subject_id, set(known.values())))
    if after is not None:
        conditions.append(t.notice.c.id < after)
    rows = tx.execute(select(t.notice).where(*conditions).order_by(t.notice.c.id.desc()).limit(limit + 1)).mappings().all()
    shown = rows[:limit]
    return Found(notice_reading.bodies(tx, world, shown, whole=False), _sent_there(tx, [row["id"] for row in shown], known),
                 more=len(rows) > limit)


def _contacts_with(tx: Tx, world: World, address: str) -> dict[str, str]:
    """Contacts that hold or held an address: subject ids by contact id."""
    wanted = [contacts.address_index(world.vault, channel, normal) for channel, normal in _normal_forms(address)]
    if not wanted:
        raise InputError("This is no telephone number, mail address or postal address.", (Fault("/address", "cannot be an address"),))
    c = t.contact.c
    rows = tx.execute(select(c.id, c.subject_id).where(or_(*(c.address_index == one for one in wanted))))
    return {row.id: row.subject_id for row in rows}


def _normal_forms(address: str) -> list[tuple[str, str]]:
    found = []
    for channel in addresses.CONTACT_CHANNELS:
        try:
            found.append((channel, addresses.normalise(channel, address)))
        except InputError:
            continue
    return found


def _sent_there(tx: Tx, notice_ids: Collection[str], known: Collection[str]) -> dict[str, list[str]]:
    """Channels by notice, in the order of their attempts, whose attempts used one of these contacts."""
    found: dict[str, list[str]] = defaultdict(list)
    if notice_ids and known:
        a = t.attempt.c
        for row in tx.execute(select(a.notice_id, a.channel).where(
                tx.within(a.notice_id, notice_ids), tx.within(a.contact_id, known)).order_by(a.intended_at)):
            if row.channel not in found[row.notice_id]:
                found[row.notice_id].append(row.channel)
    return dict(found)


def story(tx: Tx, world: World, notice_id: str) -> dict[str, Any]:
    """A notice as `GET /v1/notices/{id}` answers it, with `content` (null once destroyed) and `outcomes`: the result under
    every rule with its trace. Raises NotFound.
    """
    found = tx.execute(select(t.notice).where(t.notice.c.id == notice_id)).mappings().one_or_none()
    if found is None:
        raise NotFound("There is no such notice; `noticesvc notice find` looks for one.")
    row: dict[str, Any] = dict(found)
    keys = contents.keys_of(tx, world, {row["subject_id"]})
    hashes = contents.hashes(tx, world, [row], keys)
    known = facts.load(tx, world, [row], keys, {notice_id: hashes.get(notice_id)})[notice_id]
    content = contents.load(tx, world, [row], keys)[notice_id]
    now = instant.from_micros(tx.now)
    return {**view.body(known, now, rules.BUILT_IN.values(), more=True), "content": content.to_json() if content is not None else None,
            "outcomes": view.outcomes(known, now, rules.BUILT_IN.values())}
