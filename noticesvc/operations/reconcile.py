"""What is unknown after a crash or a time-out, made known before anything is sent again.

In order: the worker's journal (dispatch.adoption), a receipt, the provider's own answer where it can be asked, and then the
policy of the category: a mandatory notice is sent again with the same Message-ID and reference scheme, a commercial one is not.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, select, update

from noticesvc.domain import delivery, instant, notice
from noticesvc.operations import claim as claims
from noticesvc.operations import horizons
from noticesvc.operations.claim import Claim
from noticesvc.operations.record import Answer, Schedule, record
from noticesvc.operations.world import World
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

Key = tuple[str, str]


def never_called(tx: Tx, held: Collection[Key]) -> list[Answer]:
    """The intents among these deliveries that were sealed and not answered, as answers `not_sent`.

    Only for a caller who knows that no call was begun: from a journal, or because it is the worker that would have begun it.
    """
    if not held:
        return []
    ids, mine = {notice_id for notice_id, _ in held}, set(held)
    numbers = {
        (r.notice_id, r.channel): r.attempts + 1
        for r in tx.execute(
            select(t.delivery.c.notice_id, t.delivery.c.channel, t.delivery.c.attempts).where(tx.within(t.delivery.c.notice_id, ids))
        )
    }
    rows = tx.execute(
        select(t.attempt.c.notice_id, t.attempt.c.channel, t.attempt.c.number, t.attempt.c.outcome).where(
            tx.within(t.attempt.c.notice_id, ids)
        )
    )
    return [
        Answer(r.notice_id, r.channel, r.number, "not_sent", None, tx.now)
        for r in rows
        if (r.notice_id, r.channel) in mine and r.outcome is None and numbers[r.notice_id, r.channel] == r.number
    ]


def take_back(tx: Tx, world: World, schedule: Schedule, owner: str, doubtful: Sequence[Claim]) -> None:
    """Give back claims of which `owner` does not know whether its seal was committed; whatever it sealed was not sent."""
    held = set(claims.held_by(tx, owner)) & {(c.notice_id, c.channel) for c in doubtful}
    unsent = never_called(tx, held)
    if unsent:
        record(tx, world, schedule, unsent, [0.0] * len(unsent))
    claims.release(tx, owner, held)


def left_over(tx: Tx, world: World, schedule: Schedule, owner: str, left: Sequence[Claim]) -> set[Key]:
    """Attempts that a dead holder began and nobody answered: too early, they are put back; else their outcome is unknown.

    Answers which claims are no longer in hand: all of them.
    """
    now = claims.lease_now(tx)
    wait = int(schedule.reconcile_after_s * 1_000_000)
    early: list[tuple[Claim, int]] = []
    late: list[Claim] = []
    for one in left:
        # On SQLite the one other holder was this host's, and its journal was adopted before anything was claimed.
        since = now - one.lapsed_at if tx.postgresql and one.lapsed_at is not None else wait
        if since < wait:
            early.append((one, tx.now + wait - since))
        else:
            late.append(one)
    claims.postpone(tx, owner, early)
    if late:
        at_once = Schedule(schedule.first_s, schedule.max_s, 0.0, schedule.longest_s)
        record(
            tx,
            world,
            at_once,
            [Answer(c.notice_id, c.channel, c.unanswered or 0, "unknown", None, tx.now) for c in late],
            [0.0] * len(late),
        )
    return {(c.notice_id, c.channel) for c in left}


def send_again(tx: Tx, world: World, owner: str, unknown: Sequence[Claim], never_taken: Collection[Key]) -> set[Key]:
    """Which of these this worker may send again now. The others wait for a receipt until their horizon, and then expire."""
    d = t.delivery.c
    rows = tx.execute(
        select(t.delivery, t.notice.c.category)
        .join(t.notice, t.notice.c.id == d.notice_id)
        .where(tx.within(d.notice_id, {c.notice_id for c in unknown}), d.lease_owner == owner, d.state == "unknown")
    ).all()
    mine = {(c.notice_id, c.channel): c for c in unknown}
    again: set[Key] = set()
    waiting: list[tuple[Key, int]] = []
    over: list[tuple[Key, int]] = []
    for row in rows:
        key = (row.notice_id, row.channel)
        if key not in mine:
            continue
        if notice.mandatory(row.category) or key in never_taken:
            again.add(key)
            continue
        last = tx.execute(
            select(t.attempt.c.intended_at).where(
                t.attempt.c.notice_id == row.notice_id, t.attempt.c.channel == row.channel, t.attempt.c.number == row.attempts
            )
        ).scalar_one()
        horizon = instant.to_micros(instant.from_micros(last) + delivery.HORIZON[row.channel])
        (over if horizon <= tx.now else waiting).append((key, horizon))
    if waiting:
        tx.execute(
            update(t.delivery)
            .where(d.notice_id == bindparam("v_notice"), d.channel == bindparam("v_channel"))
            .values(due_at=bindparam("v_due"), lease_owner=None, lease_until=None),
            [{"v_notice": key[0], "v_channel": key[1], "v_due": due} for key, due in waiting],
        )
    if over:
        horizons.no_receipt(tx, world, [key for key, _ in over])
    return again
