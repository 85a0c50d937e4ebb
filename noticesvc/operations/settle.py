"""Derives again whatever new facts may have changed: service, states, deadlines, unusable contacts, outgoing events.

Called by every operation that records evidence, an attempt or a closing, in the same transaction; it knows nothing of where
the facts came from. What it writes follows from the facts alone, so calling it again changes nothing.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from noticesvc.domain import cure, deadline, delivery, instant, notice, plain, service_time, view
from noticesvc.operations import cure_marks, events, facts, invalid_contacts
from noticesvc.operations.history import History
from noticesvc.operations.unit import Unit

Weighing = view.Weighing | plain.Plain


def settle(unit: Unit, ids: Collection[str] | None = None) -> None:
    """Derive these notices of the unit (all by default) again. The caller saves the unit afterwards."""
    rows = [unit.notices[i] for i in (unit.notices if ids is None else ids)]
    past, as_of = unit.history(), instant.from_micros(unit.tx.now)
    weighings: dict[str, Weighing] = {}
    for row in rows:
        i = row["id"]
        seen = plain.weigh(unit.world.rules[row["rule"]], past.deliveries[i], past.attempts[i], past.evidence[i], as_of)
        if seen is not None:
            weighings[i] = seen
    known = facts.of_unit(unit, [row["id"] for row in rows if row["id"] not in weighings])
    whole = {i: view.weigh(found, as_of) for i, found in known.items()}
    weighings |= whole
    for row in rows:
        _service(unit, row, weighings[row["id"]])
        _deadlines(unit, row, weighings[row["id"]])
        _state(unit, row, weighings[row["id"]])
    ladder = _deliveries(unit, rows, weighings)
    invalid_contacts.apply(unit, known, whole)
    cure_marks.of_notices(unit.tx, [row["id"] for row in rows if row["category"] == cure.CATEGORY])
    if ladder:
        settle(unit, ladder)


def _service(unit: Unit, row: dict[str, Any], weighing: Weighing) -> None:
    """A changed result is a new determination: entry, columns, deadlines, events."""
    new = weighing.result.determined()
    if not service_time.changed(_last(row), new):
        return
    revision = row["revision"] + 1
    shown = weighing.result.to_json()
    members = {name: shown[name] for name in (
        "rule", "policy_version", "served", "served_at", "served_on", "channel", "evidence_id", "basis", "conflict", "analysis",
        "deadline_from_on", "independent")} | {"revision": revision}
    columns: dict[str, Any] = {}
    if revision == 1:
        ref = unit.append(row["id"], "service.determined", members)
        columns = {"determined_batch": ref.batch, "determined_offset": ref.offset}
    else:
        unit.note(row["id"], "service.determined", members)
    was_served = row["served"]
    unit.set(row["id"], revision=revision, served=new.served, served_at=_micros(new.served_at), service_channel=new.channel,
             service_evidence_id=new.evidence_id, basis=new.basis, conflict=new.conflict,
             independent_at=new.independent and _micros(new.independent[0]),
             independent_channel=new.independent and new.independent[1],
             independent_evidence_id=new.independent and new.independent[2], **columns)
    if new.served and not was_served:
        events.notice(unit, row, "notice.served", weighing)
    if revision > 1:
        events.notice(unit, row, "service.revised", weighing)


def _last(row: dict[str, Any]) -> service_time.Determined | None:
    if row["revision"] == 0:
        return None
    own = None
    if row["independent_at"] is not None:
        own = (instant.from_micros(row["independent_at"]), row["independent_channel"], row["independent_evidence_id"])
    return service_time.Determined(row["served"], row["served_at"] and instant.from_micros(row["served_at"]), row["service_channel"],
                                   row["service_evidence_id"], row["basis"], row["conflict"], own)


def _deadlines(unit: Unit, row: dict[str, Any], weighing: Weighing) -> None:
    """The deadlines that the notice has, counted from independent service; set again when that changed, or when the calendar has
    learned the days that a count crosses.
    """
    own = weighing.result.independent
    if own is None:
        return
    for kind, window in notice.windows(row["category"], json.loads(row["response_window"]) if row["response_window"] else None).items():
        _set_deadline(unit, row, own, kind, window)


def _set_deadline(unit: Unit, row: dict[str, Any], own: service_time.Serving, kind: str, window: Mapping[str, int]) -> None:
    found = (deadline.working_days(own.deadline_from_on, window["working_days"], unit.world.calendar) if "working_days" in window
             else deadline.calendar_days(own.deadline_from_on, window["days"]))
    made = {"kind": kind, "ends_at": instant.text(found.ends_at), "without_data": found.provisional, "evidence_id": own.evidence_id}
    known = json.loads(row["deadlines"] or "[]")
    if made in known:
        return
    others = [d for d in known if d["kind"] != kind]
    unit.note(row["id"], "deadline.set", {
        "kind": kind, "ends_at": made["ends_at"], "without_data": found.provisional, "from_evidence_id": own.evidence_id,
        "from_on": own.deadline_from_on.isoformat(), "calendar_version": (found.calendar_version or "calendar days")[:128]})
    unit.set(row["id"], deadlines=json.dumps([*others, made]))


def _state(unit: Unit, row: dict[str, Any], weighing: Weighing) -> None:
    if row["state"] != weighing.state:
        unit.set(row["id"], state=weighing.state)
        if weighing.state == "unserved":
            events.notice(unit, row, "notice.unserved", weighing)


def _deliveries(unit: Unit, rows: list[dict[str, Any]], weighings: dict[str, Weighing]) -> set[str]:
    """Write delivery states and when each is due next; answers the notices whose ladder closed deliveries."""
    again: set[str] = set()
    past = unit.history()
    for row in rows:
        weighing, mine = weighings[row["id"]], past.deliveries[row["id"]]
        failed: set[str] = set()
        for one in mine:
            state = weighing.states[one.id]
            # `claimed` is only shown: the stored row stays claimable state, with its lease.
            kept = "pending" if state == "claimed" else state
            due = _due(row, one, kept, past, unit.tx.now)
            if kept in delivery.FINISHED and kept != "delivered" and one.state not in delivery.FINISHED:
                failed.add(one.id)
            if (kept, due) != (one.state, one.due_at):
                unit.set_delivery(row["id"], one.channel, state=kept, due_at=due)
        if row["strategy"] == "ladder" and _ladder(unit, row, weighing, mine, failed):
            again.add(row["id"])
    return again


def _due(row: dict[str, Any], one: Any, state: str, past: History, now: int) -> int | None:
    """When a delivery in this state needs somebody: the horizon of a sent one, the set time of a waiting one."""
    if state in delivery.FINISHED:
        return None
    if state == "sent" and one.state != "sent":
        last = max((a for a in past.attempts[row["id"]] if a.channel == one.channel), key=lambda a: int(a.number))
        answer = past.answer(row["id"], one.channel, last.number)
        started = last.intended_at if answer is None or answer.call_started_at is None else answer.call_started_at
        horizon = delivery.HORIZON.get(one.channel)
        ends = [row["expires_at"]] if row["expires_at"] is not None else []
        if horizon is not None:
            ends.append(started + int(horizon.total_seconds()) * 1_000_000)
        return min(ends, default=None)
    if state == "pending" and (one.state == "sent" or one.state in delivery.FINISHED):
        return None  # what it had was rebutted: nothing is sent again by itself
    due: int | None = one.due_at
    if state == "pending" and one.state == "unknown" and due is not None:
        return min(due, now)  # a receipt says that it was not taken
    return due


def _ladder(unit: Unit, row: dict[str, Any], weighing: Weighing, mine: list[Any], failed: Collection[str]) -> bool:
    """Once served, cancel what never started. When the rung before has just `failed`, let the next one start now, and those
    after it each `ladder_after` later than the one before.
    """
    waiting = [one for one in mine if weighing.states[one.id] == "pending" and one.attempts == 0 and one.closed is None]
    if weighing.result.served:
        for one in waiting:
            close(unit, row["id"], one, "cancelled", "served_already")
        return bool(waiting)
    # Only at the moment of failure: an in-site rung that is parked until the account is active must not be called up again.
    before = mine[mine.index(waiting[0]) - 1].id if waiting and waiting[0] is not mine[0] else None
    now = max(unit.tx.now, row["not_before"] or 0)
    if before in failed and waiting[0].due_at is not None and waiting[0].due_at > now:
        after = (notice.duration_s(row["ladder_after"] or notice.LADDER_AFTER) or 0) * 1_000_000
        for steps, one in enumerate(waiting):
            unit.set_delivery(row["id"], one.channel, due_at=notice.turn(now, steps, after, row["expires_at"]))
        unit.tx.wake("dispatch")
    return False


def close(unit: Unit, notice_id: str, one: Any, state: str, reason: str) -> None:
    """Close a delivery that evidence alone would leave open; the caller settles the notice afterwards."""
    unit.note(notice_id, "delivery.closed", {"delivery_id": one.id, "channel": one.channel, "state": state, "reason": reason})
    unit.set_delivery(notice_id, one.channel, closed=state)


def _micros(moment: Any) -> int | None:
    return None if moment is None else instant.to_micros(moment)


__all__ = ["close", "settle"]
