"""The cure of a dead contact (clause 五.2②): told through another contact, the recipient has three working days to give a new one.

Called by operations.cures with what is known at an instant; answers what is to be done. The deadline runs from the cure notice's
independent service; nothing adverse is done while that is provisional or in conflict, or where its count crosses days without data.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from noticesvc.domain.delivery import HORIZON
from noticesvc.domain.result import Serving

WORKING_DAYS: Final = 3
CATEGORY: Final = "contact_cure"
CHANNELS: Final = ("sms", "email", "postal")
"""Channels whose contacts the recipient gave; the account (in-site) is none of them."""

Ended = Literal["new_contact", "rebutted", "agreement_over", "not_told"]
Lapsed = Literal["no_other_contact", "not_answered"]
ENDED: Final = ("new_contact", "rebutted", "agreement_over", "not_told")
LAPSED: Final = ("no_other_contact", "not_answered")
TELLING: Final = max(HORIZON.values())
"""How long at least the cure notice is given to tell somebody: the longest time for which a receipt is waited for."""
_LOOK_AGAIN: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an open cure: of the recipient's agreement and contacts, and of the cure notice's independent service.

    `under_way`: a delivery of the cure notice outside the inbox may still tell somebody. `ends_at` is the deadline that runs from
    the service, null before it is set; `without_data`: its count crosses days without data.
    """

    agreement_over: bool
    usable_again: bool
    new_contact: bool
    other_contact: bool
    begun_at: datetime
    under_way: bool
    served: Serving | None = None
    ends_at: datetime | None = None
    without_data: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """End it, let it lapse, or look again at a time (null: when something changes)."""

    ended: Ended | None = None
    lapsed: Lapsed | None = None
    again_at: datetime | None = None


def decide(known: Known, now: datetime) -> Decision:
    """What becomes of an open cure.

    1. An agreement that is over, a contact that works after all and a new usable contact end it.
    2. No other contact works and none has told the recipient: it has lapsed at once.
    3. Not told, although another contact works: it is waited for while a delivery is under way, and as long as receipts are waited
       for. Then it ends, because silence is neither failure nor arrival: nothing adverse may follow, and the next failure of the
       contact begins anew.
    4. Told: it lapses when the deadline and the service it runs from are final; a conflict in between stops that.
    """
    if known.agreement_over:
        return Decision(ended="agreement_over")
    if known.usable_again:
        return Decision(ended="rebutted")
    if known.new_contact:
        return Decision(ended="new_contact")
    if known.served is None:
        if not known.other_contact:
            return Decision(lapsed="no_other_contact")
        if now < known.begun_at + TELLING:
            return Decision(again_at=known.begun_at + TELLING)
        return Decision() if known.under_way else Decision(ended="not_told")
    if known.served.conflict:
        return Decision()
    if known.ends_at is None or known.without_data:
        return Decision(again_at=now + _LOOK_AGAIN)  # the calendar may know those days then
    final = max(known.ends_at, known.served.final_at or known.ends_at)
    return Decision(lapsed="not_answered") if now >= final else Decision(again_at=final)
