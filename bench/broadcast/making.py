"""(d) How quickly the notices of an approved broadcast are made while none of them is due: expansion with nothing beside it.

In (a) delivery begins with the first notice and has its share of the processors; here nothing is due before tomorrow, and what the
import and the upload left to vacuum is done before, as it is by the time a second person approves. What one notice costs is told for
the worker's process, which also brings the entries into the ledger, and for PostgreSQL.
"""

import contextlib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from bench import meters
from bench.broadcast import exactly_once
from bench.broadcast.house import House
from bench.broadcast.watch import Poll


def measure(house: House, database: str, numbers: range) -> tuple[exactly_once.Figures, list[str]]:
    """Upload, approve, wait until all are made, cancel; figures, and what is wrong: everybody has one notice in the database."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    broadcast_id = exactly_once.draft(house, "made", exactly_once.NOTICE | {"not_before": tomorrow})
    exactly_once.upload(house, broadcast_id, numbers)
    server, worker = meters.server_pid(urlsplit(database).port or 0), house.processes["worker"].pid
    with meters.watching(database) as watch:
        watch.execute("vacuum (analyze)")
        watch.execute("checkpoint")  # a server that has been up writes into log files that it has used before
    with contextlib.closing(Poll(house.service, broadcast_id, len(numbers), every_s=0.2)) as poll:
        before = meters.cpu_s(worker), meters.cpu_s(server)
        approved = exactly_once.approve(house, broadcast_id)
        poll.until_expanded(exactly_once.STAND_STILL_S)
        took = (poll.expanded_at() or approved) - approved
        own, theirs = (now - then for now, then in zip((meters.cpu_s(worker), meters.cpu_s(server)), before, strict=True))
        house.must("POST", f"/v1/broadcasts/{broadcast_id}/cancel")
    wrong = poll.wrong + exactly_once.stored_once(database, broadcast_id, len(numbers), delivered=False)
    return {"making": len(numbers) / took, "making_s": took, "worker_us": own / len(numbers) * 1e6,
            "postgresql_us": theirs / len(numbers) * 1e6}, wrong
