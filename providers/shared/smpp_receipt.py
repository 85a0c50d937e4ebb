"""What a carrier's delivery receipt text says (SMPP 3.4 appendix B, states of §5.2.28), as evidence.

Called by SMS providers whose gateways pass the carrier's text on (`id:… stat:UNDELIV err:001 text:…`).

| state                    | kind       | why                                                                  |
|--------------------------|------------|----------------------------------------------------------------------|
| DELIVRD                  | `arrived`  | on the phone                                                         |
| ENROUTE ACCEPTD          | `relayed`  | the carrier has it                                                   |
| EXPIRED                  | `expired`  |                                                                      |
| UNDELIV                  | `rejected` | given up for good, which is not "there is no such number": see below |
| REJECTD DELETED          | `rejected` |                                                                      |
| UNKNOWN, any other       | `unmapped` | decides nothing                                                      |

UNDELIV is `failed_permanent` only with an `err:` that the operator has listed as "unknown subscriber", none by default:
these codes are each carrier's own (appendix B). 001 is that in networks that pass on MAP errors (3GPP TS 29.002), and
"absent subscriber" at others; a phone that is switched off is not a number that does not exist.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

_STATE = re.compile(r"\bstat:([A-Z]{3,12})\b")
_ERROR = re.compile(r"\berr:([0-9A-Za-z]{1,8})\b")
_KIND_OF_STATE = {
    "DELIVRD": "arrived", "ENROUTE": "relayed", "ACCEPTD": "relayed", "EXPIRED": "expired", "UNDELIV": "rejected",
    "REJECTD": "rejected", "DELETED": "rejected",
}


@dataclass(frozen=True, slots=True)
class CarrierState:
    """The state and the carrier's own error code (empty if absent), and the evidence kind they mean."""

    state: str
    error: str
    kind: str


def read_state(text: str, unknown_subscriber_errors: Collection[str] = ()) -> CarrierState | None:
    """Read the carrier's state out of a receipt text; null where it names none."""
    found, error = _STATE.search(text), _ERROR.search(text)
    if found is None:
        return None
    state, code = found[1], error[1] if error is not None else ""
    kind = _KIND_OF_STATE.get(state, "unmapped")
    if state == "UNDELIV" and code in unknown_subscriber_errors:
        kind = "failed_permanent"
    return CarrierState(state, code, kind)
