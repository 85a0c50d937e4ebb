"""What people may state about a delivery, and what a recipient may answer to a notice.

Read by operations (what is refused with 422) and by the verifier (what no honest entry says).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

SOURCE: Final = "person"
AUTHENTICATED_BY: Final = "person"
"""A named person with the scope: the key stands in the entry."""

REMOTE: Final = frozenset({"submitted", "relayed", "arrived", "acknowledged", "rejected", "failed_temporary", "failed_permanent", "expired",
                           "rebutted"})
STATABLE: Final[Mapping[str, frozenset[str]]] = {
    "sms": REMOTE,  # an operator's written confirmation, the recipient's reply
    "email": REMOTE,
    "postal": frozenset({"submitted", "relayed", "arrived", "returned", "rejected", "failed_temporary", "failed_permanent", "rebutted"}),
    # What happens on our own pages is recorded there; of it a person can only prove the contrary.
    "in_site": frozenset({"rebutted"}),
    "announcement": frozenset({"rebutted"}),
}
"""Kinds of evidence that a person may state, by channel."""

Kind = Literal["submitted", "relayed", "arrived", "acknowledged", "returned", "rejected", "failed_temporary", "failed_permanent", "expired",
               "rebutted"]
Response = Literal["accept", "refuse", "object"]
RESPONSES: Final = ("accept", "refuse", "object")


def is_express_refusal(category: str, effective_at: datetime | None, response: str, at: datetime) -> bool:
    """Whether a response refuses an agreement change expressly (clauses 五.1② and 五.2④): only before it takes effect.

    A change without an effective time has nothing before which it could be refused.
    """
    return category == "agreement" and response == "refuse" and effective_at is not None and at < effective_at
