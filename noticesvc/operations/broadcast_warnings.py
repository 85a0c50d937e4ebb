"""What to know of a broadcast before it is approved: whom it cannot reach, what is late, what the SMS cost. Called by its routes.

Counts come from one set statement each over the audience, or over everybody there is where that is the audience; nobody is named, but
`members` lists the ids behind a number.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select

from noticesvc.domain import notice
from noticesvc.domain.access import Access
from noticesvc.domain.sms_parts import TooManyParts, count_parts
from noticesvc.errors import NotFound
from noticesvc.operations import broadcast_audience, broadcast_request, broadcasts, dry_run
from noticesvc.operations.broadcast_request import Asked
from noticesvc.operations.notice_request import resolve
from noticesvc.operations.world import World
from noticesvc.proof.openings import unpack
from noticesvc.rendering import sms
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_DAY_US = 86_400_000_000
SHORT_DAYS: Final = 7
_INDEPENDENT: Final = ("sms", "email", "postal")
OF_PEOPLE: Final = ("no_acceptance", "no_contact", *(f"no_{one}" for one in _INDEPENDENT), "invalid_contact", "no_notice")
"""Warnings behind which recipients stand. Who has no contact on one channel is told where there are several, and is no `no_contact`."""
_SAMPLE = 1000  # rows of the audience whose own SMS texts are measured


def warnings(tx: Tx, world: World, access: Access, broadcast_id: str, templates: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """The warnings, and what the SMS come to. `templates` are the templates of ours that each SMS vendor with a mapping can send.

    Raises NotFound, and Forbidden for the category.
    """
    row = broadcasts.found(tx, access, broadcast_id)
    asked = broadcast_request.load(tx, world, row)
    channels = row.channels.split()
    total = _count(tx, row, None)
    several = sum(one in _INDEPENDENT for one in channels) > 1
    kinds = [one for one in OF_PEOPLE if not _is_of_channel(one) or (several and _is_of_channel(one) in channels)]
    items = [_item(kind, number, text) for kind in kinds
             if (number := _count(tx, row, _condition(tx, row, kind))) and (text := _says(kind, channels))]
    if row.effective_at is not None and row.effective_at < tx.now + SHORT_DAYS * _DAY_US:
        past = row.effective_at <= tx.now
        items.append(_item("effective_soon", total, "The change takes effect " + (
            "already before now." if past else f"in less than {SHORT_DAYS} days.")))
    texts = asked.notice if asked.template is None else asked.template
    resolved = resolve(asked.notice, world, texts.sms, texts.sms_carries, lambda _category: True)
    items += [_item("channel", total, one) for one in resolved.warnings]
    if "sms" in channels:
        items += [_item("template_unmapped", total, f"The vendor {name} has no template of its own for this notice and is passed over.")
                  for name, known in sorted(templates.items()) if asked.notice.template not in known]
    cost = _sms(tx, world, row, asked) if "sms" in channels else None
    if cost is not None and (cost["parts_each"] > 1 or cost["price"] is not None):
        about = "about " if cost["estimated"] else ""
        price = "" if cost["price"] is None else f", for {cost['price']:,.2f} {world.currency}"
        text = f"Each SMS takes {about}{cost['parts_each']:g} parts, {cost['parts']:,} in all{price}."
        items.append(_item("sms", cost["recipients"], text))
    return {"audience": total, "items": items, "sms": cost}


def members(tx: Tx, world: World, access: Access, broadcast_id: str, kind: str, limit: int,
            after: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the recipients behind a warning, in the order of our ids, and the id that the next page follows (null: none).

    An anonymised recipient has no id any more (null). Raises NotFound, and Forbidden for the category.
    """
    row = broadcasts.found(tx, access, broadcast_id)
    if kind not in OF_PEOPLE:
        raise NotFound("There are no recipients behind such a warning.")
    r = t.recipient.c
    query = _audience(row, select(r.subject_id, r.sealed, r.wrapped_key)).where(_condition(tx, row, kind)).order_by(r.subject_id)
    rows = tx.execute((query if after is None else query.where(r.subject_id > after)).limit(limit + 1)).all()
    return [{"recipient_id": name_of(world, one)} for one in rows[:limit]], rows[limit - 1].subject_id if len(rows) > limit else None


def name_of(world: World, row: Any) -> str | None:
    """The caller's id of a recipient's row; null once it was destroyed."""
    if row.sealed is None or row.wrapped_key is None:
        return None
    key = world.vault.unwrap(row.wrapped_key, f"recipient:{row.subject_id}")
    return unpack(key.open(row.sealed, f"recipient:{row.subject_id}"))["recipient_id"].value.decode()


def _is_of_channel(kind: str) -> str | None:
    """The channel on which recipients of this kind have no contact; null: it is of another kind."""
    channel = kind.removeprefix("no_")
    return channel if channel in _INDEPENDENT else None


def _audience(row: Any, query: Select[Any]) -> Select[Any]:
    """The query over the recipients of the audience, present or, for everybody before approval, future."""
    r, b = t.recipient.c, t.broadcast_recipient
    if row.audience == "all" and row.approved_at is None:
        return query.where(r.wrapped_key.is_not(None), r.anonymised_at.is_(None), r.account_state != "void")
    return query.select_from(t.recipient.join(b, b.c.subject_id == r.subject_id)).where(b.c.broadcast_id == row.id)


def _count(tx: Tx, row: Any, condition: ColumnElement[bool] | None) -> int:
    query = _audience(row, select(func.count(t.recipient.c.subject_id)))
    return int(tx.execute(query if condition is None else query.where(condition)).scalar_one())


def _condition(tx: Tx, row: Any, kind: str) -> ColumnElement[bool]:
    r, channels = t.recipient.c, [one for one in row.channels.split() if one in _INDEPENDENT]
    match kind:
        case "no_acceptance":
            return r.acceptance_id.is_(None)
        case "no_contact":
            return ~_has(tx, channels, None)
        case _ if (one := _is_of_channel(kind)) is not None:
            return and_(~_has(tx, [one], None), _has(tx, channels, None))
        case "invalid_contact":
            return _has(tx, channels, "invalid")
        case _:
            return or_(r.anonymised_at.is_not(None), r.account_state == "void", r.wrapped_key.is_(None))


def _has(tx: Tx, channels: list[str], state: str | None) -> ColumnElement[bool]:
    """Whether the recipient has a contact in effect now on one of these channels."""
    c, r = t.contact.c, t.recipient.c
    # A recipient's own time may be ahead of a clock that was set back (see contacts.resolve_at_dispatch).
    at = case((r.changed_at > tx.now, r.changed_at), else_=tx.now)
    wanted = [c.subject_id == r.subject_id, c.channel.in_(channels), c.effective_from <= at,
              or_(c.effective_to.is_(None), c.effective_to > at)]
    return exists(select(1).where(and_(*wanted, *([] if state is None else [c.state == state]))).correlate(t.recipient))


def _says(kind: str, channels: list[str]) -> str:
    ways = ", ".join(one for one in channels if one in _INDEPENDENT)
    return {"no_acceptance": "No acceptance of the agreement is recorded for these recipients, so that deemed service can be disputed.",
            "no_contact": f"These recipients have no contact in effect for {ways}: nothing independent of our own systems can show service."
            if ways else "The broadcast goes by channels of our own alone: nothing independent of our own systems can show service.",
            **{f"no_{one}": f"These recipients have no contact in effect for {one}, but for another channel." for one in _INDEPENDENT},
            "invalid_contact": "These recipients have a contact in effect that is known to be dead.",
            "no_notice": "These recipients were anonymised or their agreement became void since; no notice will be made for them."}[kind]


def _item(kind: str, count: int, detail: str) -> dict[str, Any]:
    return {"kind": kind, "count": count, "detail": detail}


def _sms(tx: Tx, world: World, row: Any, asked: Asked) -> dict[str, Any]:
    """How many SMS there are and what they come to; parts are estimated from a sample where each recipient has another text."""
    number = _count(tx, row, _has(tx, ["sms"], None if notice.mandatory(row.category) else "usable"))
    sizes = [_parts(world, asked, {})] if not asked.wanted else [_parts(world, asked, params) for params in _sampled(tx, world, row)]
    each = round(sum(sizes) / len(sizes), 2) if sizes else 0.0
    parts = round(number * each)
    return {"recipients": number, "parts_each": each, "parts": parts, "estimated": bool(asked.wanted),
            "price": round(parts * world.sms_price_per_part, 2) if world.sms_price_per_part else None, "currency": world.currency}


def _parts(world: World, asked: Asked, params: Mapping[str, Any]) -> int:
    content = asked.content(params)
    try:
        return count_parts(sms.text(content, f"{world.public_url}/d/{dry_run.SAMPLE_TOKEN}" if content.sms_carries == "link" else None))
    except TooManyParts:
        return 255


def _sampled(tx: Tx, world: World, row: Any) -> list[Mapping[str, Any]]:
    b, r = t.broadcast_recipient, t.recipient
    found = tx.execute(select(b.c.broadcast_id, b.c.subject_id, b.c.sealed, r.c.wrapped_key).join(r, r.c.subject_id == b.c.subject_id)
                       .where(b.c.broadcast_id == row.id, r.c.wrapped_key.is_not(None), b.c.sealed.is_not(None))
                       .order_by(b.c.subject_id).limit(_SAMPLE))
    return [broadcast_audience.params_of(one, world.vault.unwrap(one.wrapped_key, f"recipient:{one.subject_id}")) for one in found]
