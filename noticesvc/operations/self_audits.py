"""Results of self-audits: read from what the command printed, kept in the database, told to whoever asks. Called by dispatch.self_audit."""

import re
from typing import NamedTuple

from sqlalchemy import delete, select

from noticesvc.storage import tables as t
from noticesvc.storage.transaction import Tx

KEPT = 100
_LAST_LINE = re.compile(r"(\d+) entries audited.*; (\d+|no) findings\.")


class Result(NamedTuple):
    """What one audit found. `says` is empty if nothing; times in microseconds, 0 before it is kept."""

    entries: int
    findings: int
    says: str
    ended_at: int = 0


def read(status: int, output: str) -> Result:
    """The result behind an exit status and what was printed."""
    lines = output.splitlines()
    ends = next((found for line in reversed(lines) if (found := _LAST_LINE.search(line))), None)
    if ends is None:
        return Result(0, 1, f"The audit ended with status {status} before its end.")
    findings = 0 if ends[2] == "no" else int(ends[2])
    return Result(int(ends[1]), findings, lines[0] if findings else "")


def keep(tx: Tx, result: Result) -> None:
    """Keep a result, and of the older ones the latest."""
    tx.insert(t.ledger_audit, [{"id": tx.new_id(), "ended_at": tx.now, "entries": result.entries, "findings": result.findings,
                                "says": result.says}])
    oldest = tx.execute(select(t.ledger_audit.c.id).order_by(t.ledger_audit.c.id.desc()).offset(KEPT).limit(1)).scalar_one_or_none()
    if oldest is not None:
        tx.execute(delete(t.ledger_audit).where(t.ledger_audit.c.id <= oldest))


def last(tx: Tx) -> Result | None:
    """The last result; null if there was none."""
    row = tx.execute(select(t.ledger_audit).order_by(t.ledger_audit.c.id.desc()).limit(1)).one_or_none()
    return Result(row.entries, row.findings, row.says, row.ended_at) if row else None
