"""Contacts of recipients: replaced set by set, read at a time, resolved at dispatch.

Called by the recipients' routes, the import, and dispatch. The rules of versions and intervals are domain.contact's; here they
meet rows, sealed addresses and ledger entries. Clauses 二.4, 6.1 and 6.3.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct
from sqlalchemy import and_, bindparam, case, or_, select, update

from noticesvc.domain import contact, instant
from noticesvc.errors import Conflict, Fault, Unprocessable
from noticesvc.operations import cure_marks
from noticesvc.operations.recipient_state import RecipientState
from noticesvc.operations.world import World
from noticesvc.proof.openings import unpack
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey, Vault


class Replacement(Struct, frozen=True, kw_only=True):
    """A whole set as asked for: `wanted` from contact.wanted_set, times in microseconds; a null locale keeps the recorded one."""

    wanted: tuple[contact.Wanted, ...]
    source: str
    source_version: int | None = None
    effective_from: int | None = None
    locale: str | None = None


@dataclass(slots=True)
class Book:
    """The versions of some recipients that are not over, as changed by one transaction; `save` writes what changed."""

    versions: dict[str, list[contact.Version]] = field(default_factory=dict)  # by subject id
    fresh: dict[str, dict[str, Any]] = field(default_factory=dict)  # rows to insert, by contact id
    touched: set[str] = field(default_factory=set)  # contact ids of rows to update
    new: set[str] = field(default_factory=set)  # subject ids of recipients that had no contacts before
    sources: dict[str, bytes] = field(default_factory=dict)  # blind indexes of the sources that gave them

    def source_index(self, vault: Vault, source: str) -> bytes:
        """The blind index of a source; an import has one for all its lines."""
        if source not in self.sources:
            self.sources[source] = vault.index("source", source)
        return self.sources[source]

    def load(self, tx: Tx, states: Iterable[RecipientState]) -> None:
        """Read the versions of these recipients that are in effect or pending; those that are new have none."""
        keys: dict[str, DataKey] = {}
        for state in states:
            self.versions[state.subject_id] = []
            if state.unsaved:
                self.new.add(state.subject_id)
            else:
                keys[state.subject_id] = state.key
        if keys:
            rows = tx.execute(select(t.contact).where(
                tx.within(t.contact.c.subject_id, list(keys)),
                or_(t.contact.c.effective_to.is_(None), and_(t.contact.c.effective_to > tx.now,
                                                             t.contact.c.effective_to > t.contact.c.effective_from))))
            for row in rows.mappings():
                self.versions[row["subject_id"]].append(version(row, keys[row["subject_id"]]))

    def save(self, tx: Tx) -> None:
        """Insert new versions, and write the ends and positions of others."""
        now = {v.contact_id: v for versions in self.versions.values() for v in versions}
        tx.insert(t.contact, [row | {"effective_to": now[contact_id].effective_to, "position": now[contact_id].position}
                              for contact_id, row in self.fresh.items()])
        changed = self.touched | self.fresh.keys()
        cure_marks.of_recipients(tx, [subject_id for subject_id, versions in self.versions.items() if subject_id not in self.new
                                      and any(v.contact_id in changed for v in versions)] if changed else ())
        touched = sorted(self.touched - self.fresh.keys())
        if touched:
            tx.execute(update(t.contact).where(t.contact.c.id == bindparam("v_id")).values(
                effective_to=bindparam("v_to"), position=bindparam("v_position")),
                [{"v_id": i, "v_to": now[i].effective_to, "v_position": now[i].position} for i in touched])


def replace(tx: Tx, world: World, state: RecipientState, book: Book, asked: Replacement) -> bool:
    """Replace the whole set of one recipient; whether anything changed.

    Time never runs backwards for a recipient: each change comes at least a microsecond after the one before. Raises
    Conflict `stale-version` or `anonymised` and Unprocessable `backdated-contact`, before anything is changed.
    """
    if state.row["anonymised_at"] is not None:
        raise Conflict("anonymised", "This recipient is being anonymised; a person who registers again comes under a new id.")
    source = book.source_index(world.vault, asked.source)
    counters: dict[str, int] = json.loads(state.row["source_versions"]) if asked.source_version is not None else {}
    if asked.source_version is not None and asked.source_version < counters.get(source.hex(), 0):
        raise Conflict("stale-version", "This source has already given a later version of the contacts.",
                       (Fault("/source_version", "is lower than the one recorded"),))
    if asked.effective_from is not None and asked.effective_from < tx.now:
        raise Unprocessable("backdated-contact", "A contact cannot be used from a time that has passed.",
                            (Fault("/effective_from", "lies in the past; leave it out to begin now"),))
    now = max(tx.now, state.row["changed_at"] + 1)
    versions = book.versions[state.subject_id]
    plan = contact.plan(versions, asked.wanted, asked.source, now, asked.effective_from)
    for contact_id, ends in plan.end:
        state.append(tx, "contact.ended", {"contact_id": contact_id, "effective_to": _time(ends)}, {}, about_id=contact_id)
    recorded = [_record(tx, world, state, book, asked, position, wanted, plan.effective_from) for position, wanted in plan.record]
    book.versions[state.subject_id] = contact.applied(versions, plan, recorded)
    book.touched |= {contact_id for contact_id, _ in (*plan.end, *plan.reorder)}
    moved = state.created or not plan.empty or asked.locale not in {None, state.row["locale"]}
    state.created = False
    if not plan.empty:
        state.set(changed_at=now)
    if asked.locale is not None:
        state.set(locale=asked.locale)
    if asked.source_version is not None:
        state.set(source_versions=json.dumps(counters | {source.hex(): asked.source_version}))
    return moved


def _record(tx: Tx, world: World, state: RecipientState, book: Book, asked: Replacement, position: int, wanted: contact.Wanted,
            effective_from: int) -> contact.Version:
    new = contact.Version(
        contact_id=tx.new_id(), channel=wanted.channel, address=wanted.address, confirmation=wanted.confirmation, source=asked.source,
        effective_from=effective_from, position=position, asserted_from=wanted.asserted_from, verified_at=wanted.verified_at,
        recorded_at=tx.now)
    ref, sealed = state.append(tx, "contact.recorded", {
        "contact_id": new.contact_id, "channel": new.channel, "confirmation": new.confirmation,
        "asserted_from": _time(new.asserted_from), "verified_at": _time(new.verified_at), "effective_from": _time(effective_from)},
        {"address": new.address, "source": new.source}, about_id=new.contact_id)
    book.fresh[new.contact_id] = {
        "id": new.contact_id, "subject_id": state.subject_id, "channel": new.channel, "confirmation": new.confirmation,
        "address_index": address_index(world.vault, new.channel, new.address), "sealed": sealed,
        "source_index": book.source_index(world.vault, new.source), "asserted_from": new.asserted_from, "verified_at": new.verified_at,
        "effective_from": new.effective_from, "recorded_at": new.recorded_at, "state": new.state, **ref.columns}
    return new


def address_index(vault: Vault, channel: str, address: str) -> bytes:
    """The blind index by which the contacts with an address (in normal form) are found."""
    return vault.index("address", f"{channel}:{address}")


def version(row: Mapping[Any, Any], key: DataKey) -> contact.Version:
    """A row of `contact` as a version, opened."""
    opened = unpack(key.open(row["sealed"], f"contact:{row['id']}"))
    return contact.Version(
        contact_id=row["id"], address=opened["address"].value.decode(), source=opened["source"].value.decode(),
        **{name: row[name] for name in ("channel", "confirmation", "effective_from", "effective_to", "position", "asserted_from",
                                        "verified_at", "recorded_at", "state")})


def view(one: contact.Version) -> dict[str, Any]:
    """A version as answers and bundles show it."""
    return {"contact_id": one.contact_id, "channel": one.channel, "address": one.address, "confirmation": one.confirmation,
            "source": one.source, "asserted_from": _time(one.asserted_from), "verified_at": _time(one.verified_at),
            "effective_from": _time(one.effective_from), "effective_to": _time(one.effective_to),
            "recorded_at": _time(one.recorded_at), "state": one.state}


def left(versions: Iterable[contact.Version], at: int) -> list[contact.Version]:
    """The set as recorded: what is in effect at an instant or will be, in order of preference."""
    return sorted((one for one in versions if not one.over(at)), key=contact.preference)


def in_effect_at(tx: Tx, row: Mapping[Any, Any], key: DataKey, at: int) -> list[contact.Version]:
    """The contacts of a recipient (row and key from recipient_state.find) in effect at an instant, in order of preference."""
    rows = tx.execute(select(t.contact).where(
        t.contact.c.subject_id == row["subject_id"], t.contact.c.effective_from <= at,
        or_(t.contact.c.effective_to.is_(None), t.contact.c.effective_to > at))).mappings()
    return contact.in_effect([version(one, key) for one in rows], at)


class Resolved(NamedTuple):
    """Rows of `contact`: the preferred usable one in effect, and the preferred one that is known to be dead; null for none."""

    usable: Mapping[Any, Any] | None
    invalid: Mapping[Any, Any] | None


def resolve_at_dispatch(tx: Tx, wanted: Collection[tuple[str, str]], now: int) -> dict[tuple[str, str], Resolved]:
    """For each (subject id, channel) the contacts in effect; one statement for all of them.

    A mandatory notice uses the invalid one when there is no usable one, which is the caller's to decide. Who seals holds the
    recipients' rows before (`Unit` with `hold`), so that what is sealed now is what is in effect now. Addresses stay sealed;
    see `version`. Nothing is found for a recipient who was anonymised.
    """
    found = dict.fromkeys(wanted, Resolved(None, None))
    if not found:
        return found
    subjects = list({subject_id for subject_id, _ in found})
    # A recipient's own time may be ahead of a clock that was set back (see `replace`).
    at = case((t.recipient.c.changed_at > now, t.recipient.c.changed_at), else_=now)
    statement = select(t.contact).join(t.recipient, and_(
        t.recipient.c.subject_id == t.contact.c.subject_id, t.recipient.c.recipient_index.is_not(None))).where(
        tx.within(t.contact.c.subject_id, subjects),
        tx.within(t.contact.c.channel, list({channel for _, channel in found})),
        t.contact.c.effective_from <= at, or_(t.contact.c.effective_to.is_(None), t.contact.c.effective_to > at),
        ).order_by(t.contact.c.subject_id, t.contact.c.position, t.contact.c.id)
    for row in tx.execute(statement).mappings():
        place = row["subject_id"], row["channel"]
        before = found.get(place)
        if before is not None and getattr(before, row["state"]) is None:
            found[place] = before._replace(**{row["state"]: row})
    return found


@lru_cache(maxsize=64)  # what a transaction records has few instants
def _time(micros: int | None) -> str | None:
    return None if micros is None else instant.text(instant.from_micros(micros))
