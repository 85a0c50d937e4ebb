"""Rates of providers, shared by every worker of a PostgreSQL: each takes what may start now from one row a provider."""

from collections.abc import Mapping

from sqlalchemy import select

from noticesvc.domain import rate
from noticesvc.operations.claim import lease_now
from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

_SOON = 60_000_000  # microseconds beyond one message's time


def reserve(tx: Tx, wanted: Mapping[str, tuple[float, int]]) -> dict[str, tuple[int, int]]:
    """Take up to so many messages of each provider (rate per second, number), by the database's clock.

    Answers how many may start now, and the microseconds until one more may. What was taken and is not used is lost: the rate
    is never exceeded.
    """
    tx.insert_new(t.provider_pace, [{"provider": name, "due": 0} for name in sorted(wanted)])
    found = {}
    for name in sorted(wanted):
        statement = select(t.provider_pace.c.due).where(t.provider_pace.c.provider == name)
        due = tx.execute(statement.with_for_update() if tx.postgresql else statement).scalar_one()
        per_s, number = wanted[name]
        now = lease_now(tx)  # read when the row is ours: another worker may have held it for a while
        if due > now + 1_000_000 / per_s + _SOON:
            due = now  # nothing is ever due so late: the clock, on SQLite that of the host, began anew when it was started again
        granted, after, wait = rate.grant(due, now, per_s, number)
        tx.update(t.provider_pace, ("provider",), [{"provider": name, "due": after}])
        found[name] = (granted, wait)
    return found
