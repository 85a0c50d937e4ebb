"""The coverage report: every recipient of the audience with what became of them, a page at a time. Called by the report route.

1. The notices of the broadcast in the order of their ids, with the reason in words where one is not served.
2. Then those of the audience without a notice: for whom none could be made, or whose turn has not come. How far notices were made is
   read in the same transaction as the last page of 1, so that nobody is missing or there twice.
"""

from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

from sqlalchemy import or_, select

from noticesvc.certificate import coverage_words as words
from noticesvc.domain import notice
from noticesvc.domain.access import Access
from noticesvc.operations import broadcasts
from noticesvc.operations.broadcast_warnings import name_of
from noticesvc.operations.evidence import at
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

PAGE = 500
NEGATIVE = frozenset({"failed_permanent", "rejected", "failed_temporary", "returned", "expired", "rebutted"})
Lang = Literal["zh", "en"]


class Place(NamedTuple):
    """Where the next page begins: behind a notice, or, once `notices` is over, behind a recipient without one."""

    notices: bool = True
    after: str | None = None
    expanded_to: str | None = None


class Line(NamedTuple):
    """A line of the report; empty where there is nothing to say."""

    recipient_id: str
    notice_id: str
    state: str
    served_at: str
    channel: str
    reason: str


def page(tx: Tx, world: World, access: Access, broadcast_id: str, lang: Lang, place: Place) -> tuple[list[Line], Place | None]:
    """The lines from a place on, and the next place (null: that was all). Raises NotFound, and Forbidden for the category."""
    row = broadcasts.found(tx, access, broadcast_id)
    if place.notices:
        lines, last = _with_notice(tx, world, row, lang, place.after)
        return lines, Place(True, last) if last is not None else Place(False, None, row.expanded_to)
    lines, last = _without_notice(tx, world, row, lang, place)
    return lines, None if last is None else place._replace(after=last)


def _with_notice(tx: Tx, world: World, row: Any, lang: Lang, after: str | None) -> tuple[list[Line], str | None]:
    n = t.notice.c
    query = select(n.id, n.subject_id, n.state, n.served_at, n.service_channel, n.category).where(n.broadcast_id == row.id)
    found = tx.execute((query if after is None else query.where(n.id > after)).order_by(n.id).limit(PAGE)).all()
    people = {one.subject_id: one for one in tx.rows(t.recipient, "subject_id", [one.subject_id for one in found])}
    reasons = _reasons(tx, [one for one in found if one.state != "served"], people, lang)
    lines = [Line(name_of(world, people[one.subject_id]) or "", one.id, one.state, at(one.served_at) or "" if one.state == "served" else "",
                  one.service_channel or "" if one.state == "served" else "", reasons.get(one.id, "")) for one in found]
    return lines, found[-1].id if len(found) == PAGE else None


def _reasons(tx: Tx, notices: Sequence[Any], people: dict[str, SimpleNamespace], lang: Lang) -> dict[str, str]:
    """Why each of these is not served, by notice: its deliveries in their order."""
    ids = [one.id for one in notices]
    deliveries: dict[str, list[Any]] = defaultdict(list)
    for one in tx.rows(t.delivery, "notice_id", ids, "position"):
        deliveries[one.notice_id].append(one)
    last: dict[tuple[str, str], Any] = {}
    e = t.evidence.c
    for negative in tx.execute(select(e.notice_id, e.channel, e.kind, e.code).where(
            tx.within(e.notice_id, ids), tx.within(e.kind, NEGATIVE)).order_by(e.observed_at, e.id)) if ids else ():
        last[negative.notice_id, negative.channel] = negative
    found = {}
    for one in notices:
        person, said = people[one.subject_id], []
        gone = "anonymised" if person.anonymised_at is not None else "agreement_void" if person.account_state == "void" else None
        for delivery in deliveries[one.id]:
            if delivery.state == "cancelled" and gone is not None:
                said.append(words.SKIPPED[gone][lang])
                continue
            item: Any | None = last.get((one.id, delivery.channel))
            kind = item.kind if item is not None else None
            refused = not notice.mandatory(one.category) and delivery.channel in person.refuse_commercial.split()
            if delivery.state == "cancelled" and refused:
                kind = "refused"
            said.append(words.delivery(delivery.channel, delivery.state, kind, item.code if item is not None else None)[lang])
        found[one.id] = ("；" if lang == "zh" else "; ").join(dict.fromkeys(said))
    return found


def _without_notice(tx: Tx, world: World, row: Any, lang: Lang, place: Place) -> tuple[list[Line], str | None]:
    b, r = t.broadcast_recipient, t.recipient.c
    query = select(b.c.subject_id, b.c.skipped, r.sealed, r.wrapped_key).join(t.recipient, r.subject_id == b.c.subject_id).where(
        b.c.broadcast_id == row.id)
    if place.expanded_to is not None:
        query = query.where(or_(b.c.subject_id > place.expanded_to, b.c.skipped.is_not(None)))
    if place.after is not None:
        query = query.where(b.c.subject_id > place.after)
    found = tx.execute(query.order_by(b.c.subject_id).limit(PAGE)).all()
    over = row.state == "cancelled"
    lines = []
    for one in found:
        reason = one.skipped or ("broadcast_cancelled" if over else "waits")
        state = "cancelled" if one.skipped or over else "queued"
        lines.append(Line(name_of(world, one) or "", "", state, "", "", words.SKIPPED[reason][lang]))
    return lines, found[-1].subject_id if len(found) == PAGE else None
