"""Why a delivery must not start now although it is due: the same on every channel. Called by seal, in_site and later_announcements."""

from collections.abc import Mapping
from typing import Any

from noticesvc.domain import notice
from noticesvc.storage.transaction import Tx


def obstacle(tx: Tx, row: Mapping[str, Any], recipient: Any, channel: str) -> tuple[str, str] | None:
    """How the delivery is closed instead, as (state, reason) of `delivery.closed`; null if it may start.

    The agreement is void (clause 二.1), the recipient was anonymised (五.3), the notice expired, or the recipient refused
    commercial messages on this channel (四.7).
    """
    if recipient.account_state == "void":
        return "cancelled", "agreement_void"
    if recipient.wrapped_key is None or recipient.anonymised_at is not None:
        return "cancelled", "anonymised"
    if row["expires_at"] is not None and row["expires_at"] <= tx.now:
        return "expired", "expires_at"
    if not notice.mandatory(row["category"]) and channel in recipient.refuse_commercial.split():
        return "cancelled", "refused_by_recipient"
    return None
