"""Contacts: recorded versions with half-open intervals of effect, and what replacing a recipient's set changes.

Called by operations.contacts. A version never changes but in its end. Times are microseconds since 1970 UTC. Clauses 二.4 and
6.1 of the agreement: what counts is the contact in effect at dispatch, so that for every past instant exactly one answer
stands.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from noticesvc.domain import address
from noticesvc.errors import Fault, InputError

LARGEST_SET: Final = 50
"""Contacts in one set; with what is pending it bounds the entries of one change."""


class Wanted(Struct, frozen=True, kw_only=True):
    """One contact of a set as asked for, its address in normal form. `asserted_from` and `verified_at` are the source's."""

    channel: str
    address: str
    confirmation: str
    asserted_from: int | None = None
    verified_at: int | None = None

    @property
    def line(self) -> tuple[str, str]:
        """Versions of one line never overlap."""
        return self.channel, self.address


class Version(Struct, frozen=True, kw_only=True):
    """One recorded version: in effect from `effective_from` until before `effective_to` (null: no end is known).

    `effective_to` equal to `effective_from` is a version that was withdrawn before it began.
    """

    contact_id: str
    channel: str
    address: str
    confirmation: str
    source: str
    effective_from: int
    effective_to: int | None = None
    position: int = 0
    asserted_from: int | None = None
    verified_at: int | None = None
    recorded_at: int = 0
    state: str = "usable"

    def in_effect(self, at: int) -> bool:
        """Whether it was or will be in effect at an instant."""
        return self.effective_from <= at and (self.effective_to is None or at < self.effective_to)

    def over(self, at: int) -> bool:
        """Whether it is in effect neither at an instant nor later."""
        return self.effective_to is not None and self.effective_to <= max(at, self.effective_from)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replacement changes: new versions with their position, ends (null takes an announced one back), positions."""

    effective_from: int
    record: tuple[tuple[int, Wanted], ...] = ()
    end: tuple[tuple[str, int | None], ...] = ()
    reorder: tuple[tuple[str, int], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing changes."""
        return not (self.record or self.end or self.reorder)


def wanted_set(contacts: Iterable[Wanted]) -> tuple[Wanted, ...]:
    """A set as asked for, in order of preference, with addresses normalised and each address once (its first mention).

    Raises InputError with a fault at `/contacts/<n>/address` for every address that cannot be used.
    """
    found: dict[tuple[str, str], Wanted] = {}
    faults: list[Fault] = []
    for number, contact in enumerate(contacts):
        try:
            normal = replace(contact, address=address.normalise(contact.channel, contact.address))
        except InputError as error:
            faults += [Fault(f"/contacts/{number}{fault.pointer}", fault.detail) for fault in error.faults]
        else:
            found.setdefault(normal.line, normal)
    if faults:
        raise InputError("A contact cannot be used.", tuple(faults))
    return tuple(found.values())


def plan(versions: Iterable[Version], wanted: Sequence[Wanted], source: str, now: int, effective_from: int | None) -> Plan:
    """What to record so that `wanted` is the set in effect from `effective_from` (null: `now`) on.

    Whatever was planned to begin after `now` gives way: at most one future set is pending. So until `effective_from` the set
    in effect at `now` stays, and from then on exactly `wanted` is in effect.

    1. A contact of the set that is in effect now with the same address, confirmation and source keeps its version, and an
       end that was announced for it is taken back. `asserted_from` and `verified_at` alone make no new version.
    2. One that is pending for exactly that instant keeps its version too.
    3. Every other contact of the set is recorded, to begin then.
    4. What is in effect now and not kept ends then.
    5. What is pending and not kept is withdrawn: it ends where it would have begun.
    6. Kept versions take their place in the new order of preference at once: an order has no history.
    """
    begin = now if effective_from is None else max(effective_from, now)
    left = [v for v in versions if not v.over(now)]
    current = {_sameness(v): v for v in left if v.in_effect(now)}
    pending = {_sameness(v): v for v in left if v.effective_from == begin > now}
    record: list[tuple[int, Wanted]] = []
    end: list[tuple[str, int | None]] = []
    kept: dict[str, int] = {}
    for position, contact in enumerate(wanted):
        sameness = (*contact.line, contact.confirmation, source)
        version = current.get(sameness) or pending.get(sameness)
        if version is None:
            record.append((position, contact))
            continue
        kept[version.contact_id] = position
        if version.effective_to is not None:
            end.append((version.contact_id, None))
    for version in left:
        ends = begin if version.in_effect(now) else version.effective_from
        if version.contact_id not in kept and version.effective_to != ends:
            end.append((version.contact_id, ends))
    reorder = [(v.contact_id, kept[v.contact_id]) for v in left if kept.get(v.contact_id, v.position) != v.position]
    return Plan(begin, tuple(record), tuple(end), tuple(reorder))


def applied(versions: Iterable[Version], plan: Plan, recorded: Iterable[Version]) -> list[Version]:
    """The versions after a plan, with those that were recorded for it."""
    ends: Mapping[str, int | None] = dict(plan.end)
    positions = dict(plan.reorder)
    changed = [replace(v, effective_to=ends.get(v.contact_id, v.effective_to),
                       position=positions.get(v.contact_id, v.position)) for v in versions]
    return [*changed, *recorded]


def in_effect(versions: Iterable[Version], at: int) -> list[Version]:
    """The set in effect at an instant, in order of preference."""
    return sorted((v for v in versions if v.in_effect(at)), key=preference)


def preference(version: Version) -> tuple[int, int, str]:
    """Sorts by preference; versions of equal preference by when they begin."""
    return version.position, version.effective_from, version.contact_id


def _sameness(version: Version) -> tuple[str, str, str, str]:
    return version.channel, version.address, version.confirmation, version.source
