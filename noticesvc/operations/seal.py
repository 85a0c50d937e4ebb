"""Sealing intents: contact in effect, content and policy are bound in the ledger before any provider is called.

One transaction for what starts now. Whatever must not start (expired, refused, void, no contact) is closed here instead.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any

import msgspec
from sqlalchemy import select, update

from noticesvc.domain import notice as notices
from noticesvc.domain import quiet
from noticesvc.domain.content import Content
from noticesvc.domain.delivery import PassedOver
from noticesvc.operations import contents, lanes
from noticesvc.operations.claim import Claim
from noticesvc.operations.contacts import resolve_at_dispatch
from noticesvc.operations.evidence import NewEvidence, Recorder, at
from noticesvc.operations.obstacles import obstacle
from noticesvc.operations.settle import close, settle
from noticesvc.operations.unit import Unit
from noticesvc.operations.world import World
from noticesvc.proof import openings
from noticesvc.proof.openings import unpack
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx
from noticesvc.vault import DataKey, fingerprint


class Sealed(msgspec.Struct, frozen=True):
    """An attempt whose intent is durable: what the call needs, and what its answer must repeat."""

    notice_id: str
    channel: str
    delivery_id: str
    subject_id: str
    number: int
    provider: str
    contact_id: str
    address: str
    confirmation: str
    carries: str
    content: Content
    category: str
    intended_at: int
    locale: str | None
    link_token: str | None
    content_sha256: str
    key: DataKey  # the recipient's: what the journal keeps is sealed under it

    @property
    def reference(self) -> str:
        """Our reference for this attempt, which providers pass on."""
        return f"{self.notice_id}.{self.channel}.{self.number}"


def seal(tx: Tx, world: World, owner: str, starts: Sequence[tuple[Claim, str | None]],
         passed_over: Mapping[tuple[str, str], PassedOver] = MappingProxyType({})) -> list[Sealed]:
    """Seal intents for claims that `owner` still holds, each through the named provider (null: none serves the channel).

    `passed_over` says by notice and channel which providers would have gone before that one, and why they did not.

    1. Lock the notices in id order; drop claims whose lease was lost.
    2. Give back what belongs to a broadcast that was paused or cancelled since it was claimed.
    3. Close what must not start: cancelled, expired, refused by the recipient, no contact in effect, no provider. What is
       commercial waits for the end of quiet hours.
    4. Write attempt, entry and link for the rest.
    5. Derive the notices again whose deliveries were closed.
    """
    # The recipients are held as well: what is sealed as in effect now is in effect now, and what they refused counts.
    unit = Unit(tx, world, {c.notice_id for c, _ in starts}, hold=True)
    mine = _still_held(tx, owner, [c for c, _ in starts])
    contacts = resolve_at_dispatch(tx, {(c.subject_id, c.channel) for c, _ in starts}, tx.now)
    recipients = unit.recipients
    keys = {s: unit.key(s) for s in recipients}
    texts = contents.load_texts(tx, world, list(unit.notices.values()), keys)
    held = lanes.standing(tx, {row["broadcast_id"] for row in unit.notices.values() if row["broadcast_id"] is not None})
    recorder, made = Recorder(unit), _Made(None if world.quiet is None else world.quiet.until(tx.now))
    for claim, provider in sorted(starts, key=lambda s: (s[0].notice_id, s[0].channel)):
        one = mine.get((claim.notice_id, claim.channel))
        if one is None or one.closed is not None or one.state not in ("pending", "unknown"):
            continue  # the lease was lost, or the delivery was cancelled or settled by a receipt since it was claimed
        row, recipient = unit.notices[claim.notice_id], recipients[claim.subject_id]
        if row["broadcast_id"] in held:  # paused or cancelled since it was claimed
            unit.set_delivery(row["id"], one.channel, lease_owner=None, lease_until=None)
            continue
        found = contacts[claim.subject_id, claim.channel]
        # A mandatory notice uses an invalid contact rather than none.
        contact = found.usable or (found.invalid if notices.mandatory(row["category"]) else None)
        closed = _obstacle(tx, row, recipient, one, contact, provider)
        if closed is not None:
            close(unit, row["id"], one, *closed)
            made.closed.add(row["id"])
            continue
        text = texts[row["id"]]
        if contact is None or text is None:
            continue
        if made.quiet_until is not None and one.channel in quiet.CHANNELS and not notices.mandatory(row["category"]):
            ends = min(made.quiet_until, row["expires_at"] or made.quiet_until)
            unit.set_delivery(row["id"], one.channel, due_at=ends, lease_owner=None, lease_until=None)
            continue
        passed = passed_over.get((claim.notice_id, claim.channel), ())
        _intend(unit, recorder, made, one, recipient, contact, provider, text, passed)
    tx.insert(t.attempt, made.attempts)
    _links(tx, made.links)
    if made.waiting:
        for row_id, channel in made.waiting:
            tx.execute(
                update(t.delivery)
                .where(t.delivery.c.notice_id == row_id, t.delivery.c.channel == channel)
                .values(due_at=None, lease_owner=None, lease_until=None)
            )
    # A new attempt ends the consequence of dead contacts (step 9), so a notice of which that was determined is derived again.
    redo = {i for i in made.begun if unit.notices[i]["revision"] and not unit.notices[i]["served"]}
    if made.closed or made.waiting or redo:
        settle(unit, made.closed | {n for n, _ in made.waiting} | redo)
    first = [i for i in unit.notices if unit.notices[i]["state"] == "queued" and i in made.begun]
    for notice_id in first:
        unit.set(notice_id, state="in_progress")
    unit.save()
    return made.sealed


class _Made:
    def __init__(self, quiet_until: int | None) -> None:
        self.quiet_until = quiet_until
        self.sealed: list[Sealed] = []
        self.attempts: list[dict[str, Any]] = []
        self.links: list[dict[str, Any]] = []
        self.closed: set[str] = set()
        self.waiting: list[tuple[str, str]] = []
        self.begun: set[str] = set()


def _still_held(tx: Tx, owner: str, claims: Sequence[Claim]) -> dict[tuple[str, str], SimpleNamespace]:
    rows = tx.rows(t.delivery, "notice_id", {c.notice_id for c in claims}, "notice_id", lock="update")
    return {(r.notice_id, r.channel): r for r in rows if r.lease_owner == owner and r.closed is None}  # closed since it was claimed


def _obstacle(tx: Tx, row: Mapping[str, Any], recipient: Any, one: Any, contact: Any, provider: str | None) -> tuple[str, str] | None:
    """Why this delivery must not start, as (state, reason); null if it may."""
    closed = obstacle(tx, row, recipient, one.channel)
    if closed is not None:
        return closed
    if contact is None:
        return "undeliverable", "no_contact"
    if provider is None and one.channel != "postal":
        return "failed", "no_provider"
    return None


def _intend(
    unit: Unit, recorder: Recorder, made: _Made, one: Any, recipient: Any, contact: Any, provider: str | None, text: contents.Text,
    passed_over: PassedOver,
) -> None:
    tx, row = unit.tx, unit.notices[one.notice_id]
    key = unit.key(row["subject_id"])
    assert key is not None  # noqa: S101 (an anonymised recipient is an obstacle)
    address = unpack(key.open(contact["sealed"], f"contact:{contact['id']}"))["address"].value.decode()
    number, evidence_id, (content, sha256) = one.attempts + 1, tx.new_id(), text
    new = NewEvidence(
        notice_id=row["id"],
        delivery_id=one.id,
        channel=one.channel,
        attempt=number,
        kind="intended",
        source="noticesvc",
        observed_at=tx.now,
        carries=one.carries,
        authenticated_by="own-system",
        contact_id=contact["id"],
        confirmation=contact["confirmation"],
        provider=provider,
        content_sha256=sha256,
    )
    members, opened, _ = recorder.members(new, evidence_id, content_matches=True)
    overrode = ["refusal"] if one.channel in recipient.refuse_commercial.split() else []
    overrode += ["quiet_hours"] if made.quiet_until is not None and one.channel in quiet.CHANNELS else []
    overrode += ["invalid_contact"] if contact["state"] != "usable" else []
    committed, with_address = openings.commit({"contact": address}, tx.salt)
    passed = [{"provider": name, "reason": reason} for name, reason in passed_over]
    ref = unit.append(
        row["id"],
        "attempt.intended",
        members
        | committed
        | ({"passed_over": passed} if passed else {})
        | {
            "contact_effective_from": at(contact["effective_from"]),
            "contact_effective_to": at(contact["effective_to"]),
            "acceptance_id": recipient.acceptance_id,
            "overrode": overrode,
        },
    )
    made.attempts.append(
        {
            "notice_id": row["id"],
            "channel": one.channel,
            "number": number,
            "provider": provider,
            "contact_id": contact["id"],
            "intended_at": tx.now,
            "evidence_id": evidence_id,
            "confirmation": contact["confirmation"],
            "contact_effective_from": contact["effective_from"],
            "passed_over": json.dumps(passed) if passed else None,
            **ref.columns,
            "sealed": unit.seal(row["id"], opened | with_address, f"attempt:{row['id']}:{one.channel}:{number}"),
        }
    )
    made.begun.add(row["id"])
    if provider is None:
        made.waiting.append((row["id"], one.channel))
        return
    token = None
    if one.channel == "sms" and one.carries == "link":
        token = unit.world.vault.token("link", f"{row['id']}.{one.channel}")
        made.links.append({"token_hash": fingerprint(token.encode()), "notice_id": row["id"], "channel": one.channel})
    made.sealed.append(
        Sealed(
            notice_id=row["id"], channel=one.channel, delivery_id=one.id, subject_id=row["subject_id"], number=number, provider=provider,
            contact_id=contact["id"], address=address, confirmation=contact["confirmation"], carries=one.carries, content=content,
            category=row["category"], intended_at=tx.now, locale=recipient.locale, link_token=token, content_sha256=sha256, key=key,
        )
    )


def _links(tx: Tx, links: list[dict[str, Any]]) -> None:
    if links:
        known = {
            r.token_hash
            for r in tx.execute(select(t.link.c.token_hash).where(tx.within(t.link.c.token_hash, [x["token_hash"] for x in links])))
        }
        tx.insert(t.link, [x for x in links if x["token_hash"] not in known])
