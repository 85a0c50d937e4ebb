"""Time partitions on PostgreSQL: months over the UUIDv7 that leads each growing table's key.

Every key look-up carries the time in the id and so touches one partition. A default partition catches what has no month, so
that an insert never fails; housekeeping makes the coming months ahead of time.
"""

from datetime import UTC, datetime

from sqlalchemy import Connection, text

from noticesvc.domain.identity import lower_bound
from noticesvc.domain.instant import from_micros, to_micros
from noticesvc.storage.tables import KEPT, PARTITIONED

AHEAD = 3  # months
LOCK = 7103563  # of pg_advisory_xact_lock: one process at a time makes them. The sequencer keeps a lock of its own all the time


def extend(connection: Connection, now: int) -> int:
    """Make the partitions of this month and the coming ones; answers how many were missing. Nothing on SQLite."""
    if connection.dialect.name != "postgresql":
        return 0
    there = {row[0] for row in connection.execute(text(
        "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where c.relkind = 'r'"))}
    made = 0
    laid = {row[0] for row in connection.execute(text("select relname from pg_class where relkind = 'p'"))}
    for table in PARTITIONED:
        if table not in laid:
            continue  # a later migration makes it
        if f"{table}_rest" not in there:
            connection.exec_driver_sql(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")
        start = from_micros(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        for _ in range(AHEAD + 1):
            end = _next_month(start)
            name = f"{table}_{start:%Y%m}"
            if name not in there:
                kept = f" WITH ({KEPT[table]})" if table in KEPT else ""
                connection.exec_driver_sql(
                    f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{lower_bound(to_micros(start))}') "
                    f"TO ('{lower_bound(to_micros(end))}'){kept}")
                made += 1
            start = end
    return made


def _next_month(start: datetime) -> datetime:
    return datetime(start.year + start.month // 12, start.month % 12 + 1, 1, tzinfo=UTC)
