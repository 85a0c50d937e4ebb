"""What is particular to mail among receipts: it names its attempt itself, and is believed only of the address it was sent to.

Called by operations.receipts while it records.
"""

from typing import Any

from sqlalchemy import select

from noticesvc.domain.mail_trust import MAIL_SOURCES, believed
from noticesvc.operations.unit import Unit
from noticesvc.proof.openings import unpack
from noticesvc.provider import Receipt
from noticesvc.storage import tables as t


def may_speak(provider: str, receipt: Receipt, attempt: Any) -> bool:
    """Whether what came by way of this provider may speak of an attempt: of another provider's only mail may."""
    return attempt.provider == provider or (receipt.source in MAIL_SOURCES and attempt.provider is not None)


def believed_of(unit: Unit, receipt: Receipt, attempt: Any, *, same_queue: bool) -> str | None:
    """How a mail is authenticated for this attempt, null if it is not; `same_queue`: it names the queue id of our hand-over."""
    return believed(
        source=receipt.source, vouched_by=receipt.authenticated_by, address=_address(unit, attempt), sender=receipt.sender,
        final_recipient=receipt.final_recipient, domain=receipt.aligned_domain, same_queue=same_queue)


def _address(unit: Unit, attempt: Any) -> str:
    """Whom an attempt wrote to; empty once the recipient's key is destroyed."""
    row = unit.tx.execute(select(t.attempt.c.sealed).where(
        t.attempt.c.notice_id == attempt.notice_id, t.attempt.c.channel == attempt.channel, t.attempt.c.number == attempt.number)).one()
    key = unit.key(unit.notices[attempt.notice_id]["subject_id"])
    if key is None or row.sealed is None:
        return ""
    opened = unpack(key.open(row.sealed, f"attempt:{attempt.notice_id}:{attempt.channel}:{attempt.number}"))
    return opened["contact"].value.decode() if "contact" in opened else ""
